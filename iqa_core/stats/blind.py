"""What a rule earns that sees no pixel, and what only looking at the picture can earn.

Both need the version of an image, what was done to its photograph: the type and level of one
distortion or two, and the level of the background where that differs. The second needs a crossed
design, all contents in the same versions.
"""

import math
import warnings
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from .intervals import correlation_interval, midranks, vectors

TIED = 1e-6  # of a content's range: values nearer to each other than this are ties
FEWEST = 3  # contents judged together, and versions that they share
PERMUTATIONS = 10_000  # of contents, where all of them are more than that


# ---- without a pixel


def versions(table: pd.DataFrame) -> pd.Series:
    """The version of each row of `table` as text, "blur at 3", "blur at 3, jpeg at 2" or, where the
    background has another level, "blur at 3, background at 1"; "" for a pristine image.

    table   columns distortion, level; optional distortion2, level2, background_level. A type of
            which no level is known is a version by itself.

    Errors: ValueError for a row with a distortion and no level, where its type has levels.
    """
    names = pd.Series("", table.index)
    for suffix in ("", "2"):
        if "distortion" + suffix not in table:
            continue
        name = table["distortion" + suffix].astype(object).fillna("").astype(str).str.strip()
        level = pd.to_numeric(table.get("level" + suffix, pd.Series(np.nan, table.index)))
        with_levels = set(name[level.notna()])
        lost = np.flatnonzero((name != "") & level.isna() & name.isin(with_levels))
        if len(lost):
            raise ValueError(
                f"{len(lost)} rows have a distortion{suffix} but no level{suffix}, the first "
                f"{name.iloc[lost[0]]!r} in row {lost[0]}: give its severity, or no distortion"
            )
        text = name + level.map(lambda value: "" if np.isnan(value) else f" at {value:.9g}")
        if not suffix and "background_level" in table:
            background = pd.to_numeric(table["background_level"])
            apart = background.notna() & (background != level)
            text += background.map(", background at {:.9g}".format).where(apart, "")
        text = text.where(name != "", "")
        names += text.where((text == "") | (names == ""), ", " + text)
    return names


def content_blind(table: pd.DataFrame, split, *, label: str = "label") -> np.ndarray:
    """The mean training label of each row's version (n, 1), in label units: what can be told
    without a pixel.

    table   columns distortion, level, `label`; optional distortion2, level2; image where split is
            a frame
    split   train, val or test for each row, in row order, or a frame with image and split

    A version that no training row has: NaN, and a RuntimeWarning that counts the rows; so are all
    rows of a set without distortions. It is a rule for unseen contents where the set is crossed
    (`is_crossed`); tables show it there alone.

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
    known = labels[train].groupby(version[train]).mean()
    predicted = version.map(known if (version != "").any() else {}).to_numpy(float)
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


def is_crossed(content, version, *, together=None) -> bool:
    """Whether `content_specific` is defined for these rows: in one group judged together at least,
    three contents or more have three versions or more once each, and these are half of its rows.
    """
    return bool(_shared_cells(_judged(content, version, together)))


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

    Groups enter that are crossed (`is_crossed`), and of them the versions that every content has
    once. Values nearer than 1e-6 of a content's range, the median one's, are ties.

    Returns a dict of
    value              mean over contents; nan, with a RuntimeWarning, where nothing is left of
                       predictions or labels in all contents but one: no difference between
                       contents, so nothing that a rule without pixels could not have said
    interval           95 %, Student's t over contents on Fisher's z scale, times
                       sqrt((k - 1) / (k - 2)) for what centring k contents takes away
    p, least_p         of "it is 0", two-sided, by permuting whose predictions stand beside whose
                       labels within a group: all permutations, or 10,000 at random; and the
                       smallest that so many contents allow
    n, contents        rows and contents behind the value
    left_out           rows that do not enter
    values             {content: correlation}

    Errors: ValueError as `vectors`, for names that are missing, for a content in two groups, and
    where no group is crossed.
    """
    (y,) = vectors(label=label)
    rows = _judged(content, version, together)
    beside, sizes, used = _correlations(predicted, y, rows)
    contents = [name for square in beside for name in square.index]
    values = np.concatenate([np.diag(square) for square in beside])
    known = np.isfinite(values)
    if not known.all():
        warnings.warn(
            f"nothing is left in {(~known).sum()} of {len(known)} contents: predictions or labels "
            "are the same for all of them, or constant",
            RuntimeWarning,
            stacklevel=2,
        )
    orders = _orders(beside)
    n = int(used[known].sum())
    result = {"value": np.nan, "interval": (np.nan, np.nan), "p": np.nan}
    if known.sum() > 1:
        value = values[known].mean()
        error = _error(values[known], sizes[known]) / max(1 - value**2, 1e-300)
        interval = correlation_interval(value, error, known.sum())
        result = {"value": float(value), "interval": interval, "p": _permuted(beside, orders)}
    patterns = math.prod(math.factorial(len(square)) for square in beside)
    least_p = max(1 / len(orders[0]), 1 / patterns)
    result |= {"least_p": least_p, "n": n, "contents": int(known.sum())}
    values = dict(zip(contents, values.tolist(), strict=True))
    return result | {"left_out": len(rows) - n, "values": values}


def compare_specific(predicted, other, label, content, version, *, together=None) -> dict:
    """How much the content-specific correlation of one prediction exceeds that of another on the
    same rows.

    Arguments and errors as `content_specific`. Returns a dict of difference, interval and p (95 %
    and two-sided, Student's t over contents, widened as there), n and contents; nan, with a
    RuntimeWarning, where nothing is left.
    """
    (y,) = vectors(label=label)
    rows = _judged(content, version, together)
    first, sizes, used = _correlations(predicted, y, rows)
    second, _, _ = _correlations(other, y, rows)
    pairs = zip(first, second, strict=True)
    gains = np.concatenate([np.diag(one) - np.diag(two) for one, two in pairs])
    known = np.isfinite(gains)
    counts = {"n": int(used[known].sum()), "contents": int(known.sum())}
    if known.sum() < 2:
        message = "no comparison: nothing is left of one of the two predictions, or of the labels"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return {"difference": np.nan, "interval": (np.nan, np.nan), "p": np.nan} | counts
    gains = gains[known]
    difference, error = float(gains.mean()), _error(gains, sizes[known])
    half = stdtrit(len(gains) - 1, 0.975) * error
    p = float(difference == 0)  # where all gains are equal
    if error > 0:
        p = float(2 * stdtr(len(gains) - 1, -abs(difference) / error))
    interval = difference - half, difference + half
    return {"difference": difference, "interval": interval, "p": p} | counts


def _judged(content, version, together) -> pd.DataFrame:
    """Content, version and group of each row, checked."""
    n = len(content)
    rows = {"content": content, "version": version, "group": np.zeros(n, int)}
    if together is not None:
        rows["group"] = together
    rows = {name: np.asarray(values) for name, values in rows.items()}
    for name, values in rows.items():
        missing = int(pd.isna(values).sum())
        if len(values) != n or missing or not n:
            raise ValueError(
                f"{name} has {len(values)} values, {missing} of them missing, for {n} rows: pass "
                "one a row, one row or more"
            )
    rows = pd.DataFrame(rows)
    judges = rows.groupby("content").group.nunique()
    if (judges > 1).any():
        raise ValueError(
            f"content {judges.idxmax()} was judged by {judges.max()} networks: give each content "
            "once, for a content tested twice is not two"
        )
    return rows


def _shared_cells(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """For each group that is crossed, which row is which content (index) in which version
    (column), for the versions that all its contents have once.
    """
    cells = []
    for _, of_group in rows.assign(row=np.arange(len(rows))).groupby("group"):
        once = of_group[~of_group.duplicated(["content", "version"], keep=False)]
        grid = once.pivot(index="content", columns="version", values="row")
        shared = grid.reindex(of_group.content.unique()).dropna(axis=1).astype(int)
        if min(shared.shape) >= FEWEST and 2 * shared.size >= len(of_group):
            cells.append(shared)
    return cells


def _correlations(predicted, y, rows) -> tuple[list[pd.DataFrame], np.ndarray, np.ndarray]:
    """For each group judged together a frame (k, k): whose predictions, a row, beside whose labels,
    a column; what was observed is its diagonal. Then for each content the size of its group, and
    how many rows of it entered.
    """
    predicted = np.asarray(predicted, dtype=float)
    if predicted.shape == (len(y), 1):
        predicted = predicted[:, 0]
    runs = [vectors(predicted=run)[0] for run in np.atleast_2d(predicted)]
    if {len(run) for run in runs} != {len(y)} or len(y) != len(rows):
        raise ValueError(
            f"{len(runs[0])} predictions and {len(y)} labels for {len(rows)} contents: pass one a "
            "row"
        )
    groups = _shared_cells(rows)
    if not groups:
        raise ValueError(
            f"the {rows.content.nunique()} contents do not stand in the same versions: a "
            "content-specific correlation needs a crossed design, three contents or more judged "
            "together in the same three versions or more"
        )
    beside, sizes, used = [], [], []
    for cells in groups:
        at = cells.to_numpy()
        of_label = _left(y[at])
        square = np.mean([_left(run[at]) @ of_label.T for run in runs], axis=0)
        beside.append(pd.DataFrame(square, cells.index, cells.index))
        sizes += [len(cells)] * len(cells)
        used += [cells.shape[1]] * len(cells)
    return beside, np.array(sizes), np.array(used)


def _left(values: np.ndarray) -> np.ndarray:
    """What is left of values (contents, versions) as ranks within a content when the mean rank of
    each version is taken away, each row of length 1; nan where nothing is left.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    # The median range, for one prediction may be far out; and the step of floating point.
    step = TIED * np.median(np.ptp(values, axis=1)) + 4 * np.spacing(np.abs(values).max())
    apart = np.diff(ordered, axis=1, prepend=ordered[:, :1]) > step
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
    wider = np.mean((sizes - 1) / (sizes - 2))
    return float(values.std(ddof=1) * np.sqrt(wider / len(values)))


def _orders(beside: list[pd.DataFrame]) -> list[np.ndarray]:
    """For each group the permutations of its contents that are tried (m, k), as they are first."""
    if len(beside) == 1 and math.factorial(len(beside[0])) <= PERMUTATIONS:
        return [np.array(list(permutations(range(len(beside[0])))))]
    generator = np.random.default_rng(0)
    orders = [np.tile(np.arange(len(square)), (PERMUTATIONS, 1)) for square in beside]
    orders = [generator.permuted(order, axis=1) for order in orders]
    for order in orders:
        order[0] = np.arange(order.shape[1])
    return orders


def _permuted(beside: list[pd.DataFrame], orders: list[np.ndarray]) -> float:
    """p of the sum of the diagonals, rows permuted within each group by `orders`."""
    squares = [np.nan_to_num(square) for square in beside]
    pairs = zip(squares, orders, strict=True)
    sums = sum(square[order, np.arange(len(square))].sum(axis=1) for square, order in pairs)
    return float(np.mean(np.abs(sums) >= abs(sums[0]) - 1e-12))
