"""What a rule earns that sees no pixel, and what only looking at the picture can earn.

Both need the version of an image, what was done to its photograph: the type and level of one
distortion or two. The second needs a crossed design, all contents in the same versions.
"""

import math
import warnings
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from .intervals import correlation_interval, groups, midranks, vectors

TIED = 1e-6  # of the range: values nearer to each other than this are ties
FEWEST = 3  # versions that the contents must share
PERMUTATIONS = 10_000  # of contents, where all of them are more than that


# ---- without a pixel


def versions(table: pd.DataFrame) -> pd.Series:
    """The version of each row of `table` as text, "blur 3" or "blur 3, jpeg 2"; "" for a pristine
    image.

    table   columns distortion, level; optional distortion2, level2. A type of which no level is
            known is a version by itself.

    Errors: ValueError for a row with a distortion and no level, where its type has levels.
    """
    names = pd.Series("", table.index)
    for suffix in ("", "2"):
        if "distortion" + suffix not in table:
            continue
        name = table["distortion" + suffix].astype(object).fillna("").astype(str).str.strip()
        level = pd.to_numeric(table["level" + suffix])
        with_levels = set(name[level.notna()])
        lost = np.flatnonzero((name != "") & level.isna() & name.isin(with_levels))
        if len(lost):
            raise ValueError(
                f"{len(lost)} rows have a distortion{suffix} but no level{suffix}, the first "
                f"{name.iloc[lost[0]]!r} in row {lost[0]}: give its severity, or no distortion"
            )
        text = name + level.map(lambda value: "" if np.isnan(value) else f" {value:.9g}")
        text = text.where(name != "", "")
        names += text.where((text == "") | (names == ""), ", " + text)
    return names


def content_blind(table: pd.DataFrame, split, *, label: str = "label") -> np.ndarray:
    """The mean training label of each row's version (n, 1), in label units: what can be told
    without a pixel.

    table   columns distortion, level, `label`; optional distortion2, level2; image where split is
            a frame
    split   train, val or test for each row, in row order, or a frame with image and split

    A version that no training row has: NaN, and a RuntimeWarning that counts the rows. In a set
    that is not crossed these are most.

    Errors: ValueError for a split that does not fit the table, no training row or training labels
    that are missing, and as `versions`.
    """
    train = _aligned(table, split) == "train"
    labels = table[label].astype(float)
    missing = int(labels[train].isna().sum())
    if missing or not train.any():
        raise ValueError(
            f"{train.sum()} training rows, {missing} training labels missing in {label!r}: the "
            "rule is learnt from labelled training rows"
        )
    version = versions(table)
    predicted = version.map(labels[train].groupby(version[train]).mean()).to_numpy(float)
    unknown = int(np.isnan(predicted).sum())
    if unknown:
        warnings.warn(
            f"{unknown} of {len(table)} rows have a version that no training row has: NaN",
            RuntimeWarning,
            stacklevel=2,
        )
    return predicted[:, None]


def _aligned(table: pd.DataFrame, split) -> np.ndarray:
    """The split of each row of `table`, (n,) of train, val, test."""
    if isinstance(split, pd.DataFrame):
        split = table["image"].map(split.set_index("image")["split"])
    elif isinstance(split, pd.Series) and not split.index.equals(table.index):
        raise ValueError(
            "split and table have different indices: pass split.loc[table.index], or an array in "
            "row order"
        )
    split = np.asarray(split, dtype=object)
    wrong = sorted({str(name) for name in split} - {"train", "val", "test"})
    if len(split) != len(table) or wrong:
        raise ValueError(
            f"split has {len(split)} rows for a table of {len(table)} and holds {wrong}: "
            "every row needs one of train, val, test (nan: an image that the split does not name)"
        )
    return split


# ---- by looking


def is_crossed(content, version) -> bool:
    """Whether half of the rows or more, and three versions, are of versions that every content has
    exactly once: then `content_specific` is defined.
    """
    counts = pd.crosstab(np.asarray(content), np.asarray(version))
    shared = int((counts == 1).all().sum())
    contents = len(counts)
    half = counts.to_numpy().sum() / 2
    return bool(contents > 1 and shared >= FEWEST and shared * contents >= half)


def content_specific(predicted, label, content, version, *, together=None) -> dict:
    """How well a prediction knows what a version does to this content and not to the others: a
    correlation in [-1, 1] that only looking at the picture can earn.

    Prediction and label are ranked within each content. From both, the mean rank of the same
    version over the contents that one network judged is taken away, and what is left of the two is
    correlated within each content. A rule that is told the version and sees no pixel is the same
    for all contents, so nothing of it is left, whatever rule it is.

    predicted   (n,), or (runs, n): the correlations are averaged over the runs then
    label, content, version   (n,); version as `versions` has it, or any names
    together    (n,), optional: which rows one network judged, a rotation for instance. A content
                stands in one of them.

    Only versions that every content of such a group has enter. Values nearer than 1e-6 of the
    range are ties.

    Returns a dict of
    value              mean over contents; nan where nothing is left ("no pixel used"), with a
                       RuntimeWarning
    interval           95 %, Student's t over contents on Fisher's z scale, times
                       sqrt((k - 1) / (k - 2)) for what centring k contents takes away; nan where a
                       group has fewer than three contents
    p                  of "it is 0", two-sided, by permuting whose predictions stand beside whose
                       labels within a group: all permutations, or 10,000 at random
    n, contents        rows and contents behind the value
    left_out           rows of versions that some content of their group lacks
    values             {content: correlation}

    Errors: ValueError as `vectors`, for a version that stands twice in a content, for a content in
    two groups, and for contents that share fewer than three versions: the set is not crossed.
    """
    judged = _judged(label, content, version, together)
    beside, sizes, n = _correlations(predicted, *judged)
    contents = [name for square in beside for name in square.index]
    values = np.concatenate([np.diag(square) for square in beside])
    known = np.isfinite(values)
    if not known.all():
        warnings.warn(
            f"nothing is left in {(~known).sum()} of {len(known)} contents: the same for all, or "
            "constant; no pixel used",
            RuntimeWarning,
            stacklevel=2,
        )
    result = {"value": np.nan, "interval": (np.nan, np.nan), "p": np.nan}
    if known.any():
        value = values[known].mean()
        error = _error(values[known], sizes[known]) / max(1 - value**2, 1e-300)
        interval = correlation_interval(value, error, known.sum())
        result = {"value": float(value), "interval": interval, "p": _permuted(beside)}
    result |= {"n": n, "contents": int(known.sum()), "left_out": len(judged[0]) - n}
    return result | {"values": dict(zip(contents, values.tolist(), strict=True))}


def compare_specific(predicted, other, label, content, version, *, together=None) -> dict:
    """How much the content-specific correlation of one prediction exceeds that of another on the
    same rows.

    Arguments and errors as `content_specific`. Returns a dict of difference, interval and p (95 %
    and two-sided, Student's t over contents, widened as there), n and contents; nan, with a
    RuntimeWarning, where nothing is left.
    """
    judged = _judged(label, content, version, together)
    first, sizes, n = _correlations(predicted, *judged)
    second, _, _ = _correlations(other, *judged)
    pairs = zip(first, second, strict=True)
    gains = np.concatenate([np.diag(one) - np.diag(two) for one, two in pairs])
    known = np.isfinite(gains)
    gains, difference = gains[known], np.nan
    if known.any():
        difference = float(gains.mean())
    else:
        message = "no comparison: nothing is left of one of the two, no pixel used"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    error = _error(gains, sizes[known])
    half = stdtrit(len(gains) - 1, 0.975) * error if error > 0 else error
    result = {"difference": difference, "interval": (difference - half, difference + half)}
    result["p"] = float(2 * stdtr(len(gains) - 1, -abs(difference) / error)) if error > 0 else error
    return result | {"n": n, "contents": len(gains)}


def _judged(label, content, version, together) -> tuple[pd.DataFrame, np.ndarray]:
    """Content, version and group of each row, and the labels, checked."""
    (y,) = vectors(label=label)
    content, version = np.asarray(content), np.asarray(version)
    if {len(content), len(version)} != {len(y)}:
        raise ValueError(
            f"{len(content)} contents and {len(version)} versions for {len(y)} labels: pass one a "
            "row"
        )
    group = np.zeros(len(y), int) if together is None else groups(together, len(y))[0]
    rows = pd.DataFrame({"content": content, "version": version, "group": group})
    judges = rows.groupby("content").group.nunique()
    if (judges > 1).any():
        raise ValueError(
            f"content {judges.idxmax()} was judged by {judges.max()} networks: give each content "
            "once, for a content tested twice is not two"
        )
    twice = rows[rows.duplicated(["content", "version"])]
    if len(twice):
        raise ValueError(
            f"version {str(twice.version.iloc[0])!r} stands twice in content "
            f"{twice.content.iloc[0]}: give every version its own name"
        )
    return rows, y


def _shared_cells(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """For each group of contents judged together, which row is which content (index) in which
    version (column), for the versions that all have.
    """
    cells = []
    for _, of_group in rows.assign(row=np.arange(len(rows))).groupby("group"):
        grid = of_group.pivot(index="content", columns="version", values="row")
        shared = grid.dropna(axis=1).astype(int)
        if len(shared) < 2 or shared.shape[1] < FEWEST:
            raise ValueError(
                f"{len(shared)} contents share {shared.shape[1]} versions of {grid.shape[1]}: a "
                "content-specific correlation needs a crossed design, two contents or more in the "
                "same versions, three or more"
            )
        cells.append(shared)
    return cells


def _correlations(predicted, rows, y) -> tuple[list[pd.DataFrame], np.ndarray, int]:
    """For each group judged together a frame (k, k): whose predictions, a row, beside whose labels,
    a column; what was observed is its diagonal. Then the size of each content's group, and the
    number of rows that entered.
    """
    runs = [vectors(predicted=run)[0] for run in np.atleast_2d(predicted)]
    if {len(run) for run in runs} != {len(y)}:
        raise ValueError(f"{len(runs[0])} predictions for {len(y)} rows: pass one a row")
    beside, sizes, n = [], [], 0
    for cells in _shared_cells(rows):
        at = cells.to_numpy()
        of_label = _left(y[at])
        square = np.mean([_left(run[at]) @ of_label.T for run in runs], axis=0)
        beside.append(pd.DataFrame(square, cells.index, cells.index))
        sizes += [len(cells)] * len(cells)
        n += cells.size
    return beside, np.array(sizes), n


def _left(values: np.ndarray) -> np.ndarray:
    """What is left of values (contents, versions) as ranks within a content when the mean rank of
    each version is taken away, each row of length 1; nan where nothing is left.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    apart = np.diff(ordered, axis=1, prepend=ordered[:, :1]) > TIED * np.ptp(values)
    codes = np.empty(values.shape, int)
    np.put_along_axis(codes, order, apart.cumsum(axis=1), axis=1)
    ranks = np.array([midranks(row) for row in codes])
    rest = ranks - ranks.mean(axis=0)
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    constant = codes.max(axis=1, keepdims=True) == 0
    # Ranks of n versions vary by about n ** 1.5 / sqrt(12): beside that, this is rounding.
    nothing = (length <= 1e-9 * values.shape[1] ** 1.5) | constant
    return rest / np.where(nothing, np.nan, length)


def _error(values: np.ndarray, sizes: np.ndarray) -> float:
    """Standard error of the mean of values, one a content that was centred with `sizes` - 1
    others.

    Centring ties the contents of a group: their sample variance falls short of what the mean varies
    by (k - 1) / (k - 2).
    """
    if len(values) < 2 or sizes.min() < 3:
        return np.nan
    wider = np.mean((sizes - 1) / (sizes - 2))
    return float(values.std(ddof=1) * np.sqrt(wider / len(values)))


def _permuted(beside: list[pd.DataFrame]) -> float:
    """p of the sum of the diagonals of frames (k, k), rows permuted within each; the frames as they
    are count among the permutations.
    """
    beside = [np.nan_to_num(square) for square in beside]
    if len(beside) == 1 and math.factorial(len(beside[0])) <= PERMUTATIONS:
        orders = [np.array(list(permutations(range(len(beside[0])))))]
    else:
        generator = np.random.default_rng(0)
        orders = [np.tile(np.arange(len(square)), (PERMUTATIONS, 1)) for square in beside]
        orders = [generator.permuted(order, axis=1) for order in orders]
        for order in orders:
            order[0] = np.arange(order.shape[1])
    pairs = zip(beside, orders, strict=True)
    sums = sum(square[order, np.arange(len(square))].sum(axis=1) for square, order in pairs)
    return float(np.mean(np.abs(sums) >= abs(sums[0]) - 1e-12))
