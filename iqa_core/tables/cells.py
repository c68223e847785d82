"""What the tables share: names of rules and columns, and a figure with its interval."""

import pandas as pd

from ..stats import content_blind, is_crossed, own_contents, versions

LABELS = ("label", "label2")  # those that a table may hold, in the order they are shown
BLIND = "content-blind"  # the rule that sees no pixel: the mean training label of the version
NOT_CROSSED = (
    "The set is not crossed (its contents do not stand in the same versions), so it has no "
    "content-blind row and no content-specific correlation."
)
STATISTICS = {  # column -> what a reader is told it is
    "content_srcc": "mean SRCC within contents",
    "srcc": "SRCC over all images",
    "specific": "content-specific correlation",
}


def crossed(table: pd.DataFrame) -> bool:
    """Whether the contents of a table stand in the same versions (`stats.is_crossed`), so that the
    content-blind row and the content-specific correlation are defined.

    Sets without distortions have these columns too, but empty.
    """
    if not {"distortion", "level", "content"} <= set(table) or table.distortion.isna().all():
        return False
    return own_contents(table) is not None and is_crossed(table.content, versions(table))


def blind_rule(table: pd.DataFrame, part: pd.Series, *, label: str = "label") -> pd.Series:
    """The mean training label of each image's version, by image, for the rows of `table` that the
    split names; nan, with a warning, where no training image has the version.
    """
    named = table[part.notna()]
    predicted = content_blind(named, part.dropna(), label=label)[:, 0]
    return pd.Series(predicted, index=named.image, name=BLIND)


def labels_in(table: pd.DataFrame, labels) -> list[str]:
    """Those of `labels` that the table has a column of."""
    return [label for label in labels if label in table]


def with_interval(name: str, value: float, interval: tuple[float, float]) -> dict:
    """A value and the ends of its interval as columns: name, name_low, name_high."""
    low, high = interval
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def cell(row: dict, name: str) -> str:
    """A value of a row with its interval as text, "0.512 [0.430, 0.581]"; -- where there is
    none.
    """
    if pd.isna(row.get(name)):
        return "--"
    return f"{row[name]:.3f} [{row[name + '_low']:.3f}, {row[name + '_high']:.3f}]"
