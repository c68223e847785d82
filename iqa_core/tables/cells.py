"""What the tables share: names of rules and columns, and a figure with its interval."""

import pandas as pd

LABELS = ("label", "label2")  # those that a table may hold, in the order they are shown
BLIND, BOOSTED = "content-blind", "boosted, content-blind"  # rules that see no pixel
STATISTICS = {  # column -> what a reader is told it is
    "content_srcc": "mean SRCC within contents",
    "srcc": "SRCC over all images",
    "partial": "partial SRCC",
}


def has_blind_rule(table: pd.DataFrame) -> bool:
    """Whether a table can have a content-blind baseline.

    Tables of sets without distortions hold the columns too, but empty.
    """
    if not {"distortion", "level", "content"} <= set(table.columns):
        return False
    return bool(table.distortion.notna().any())


def labels_in(table: pd.DataFrame, labels) -> list[str]:
    """Those of `labels` that the table has a column of."""
    return [label for label in labels if label in table]


def with_interval(name: str, value: float, interval: tuple[float, float]) -> dict:
    """A value and the ends of its interval as columns: name, name_low, name_high."""
    low, high = interval
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def cell(row: dict, name: str) -> str:
    """A value of a row with its interval as text, ".512 [.430, .581]"; -- where there is none."""
    if pd.isna(row.get(name)):
        return "--"
    return f"{row[name]:.3f} [{row[name + '_low']:.3f}, {row[name + '_high']:.3f}]"
