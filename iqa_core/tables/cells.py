"""What the tables share: names of rules and columns, and a figure with its interval."""

import pandas as pd

from ..stats import content_blind, content_specific, is_crossed, own_contents, versions

LABELS = ("label", "label2")  # those that a table may hold, in the order they are shown
BLIND = "content-blind"  # the rule that sees no pixel: the mean training label of the version
NOT_CROSSED = (
    "The set is not crossed (its contents do not stand in the same versions), so it has no "
    "content-blind row and no content-specific correlation."
)
STATISTICS = {  # column -> what a reader is told it is
    "input_srcc": "mean SRCC within inputs",
    "content_srcc": "mean SRCC within contents",
    "srcc": "SRCC over all images",
    "specific": "content-specific correlation",
}


def crossed(tested: pd.DataFrame) -> bool:
    """Whether the contents of test rows stand in the same versions (`stats.is_crossed`), so that
    the content-blind row and the content-specific correlation are defined.

    tested   rows of the table; optionally a column together, which rows one network judged. Sets
             without distortions have columns of these too, but empty.
    """
    if not {"distortion", "level", "content"} <= set(tested) or tested.distortion.isna().all():
        return False
    together = tested.get("together")
    return own_contents(tested) is not None and is_crossed(
        tested.content, versions(tested), together=together
    )


def specific_to_contents(tested: pd.DataFrame, predicted, label: str) -> dict:
    """The content-specific correlation of predictions (n,), or (runs, n), with the column `label`,
    as columns: specific with its interval, specific_p and specific_least_p (the smallest that so
    many contents allow), specific_n and specific_contents (what is behind it).
    """
    found = content_specific(
        predicted,
        tested[label],
        tested.content,
        versions(tested),
        together=tested.get("together"),
    )
    row = with_interval("specific", found["value"], found["interval"])
    row |= {"specific_p": found["p"], "specific_least_p": found["least_p"]}
    return row | {"specific_n": found["n"], "specific_contents": found["contents"]}


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
    return bracketed(row[name], (row[f"{name}_low"], row[f"{name}_high"]))


def bracketed(value: float, interval: tuple[float, float], *, digits: int = 3) -> str:
    """A value and its interval as text, "0.512 [0.430, 0.581]", or "1.000 [--]" without one."""
    ends = ", ".join(f"{end:.{digits}f}" for end in interval)
    return f"{value:.{digits}f} [{'--' if pd.isna(interval[0]) else ends}]"
