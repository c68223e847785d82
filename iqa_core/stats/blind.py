"""The content-blind baseline: what of a correlation is earned without looking at the picture
(`partial_srcc` takes it out).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from .intervals import groups, srcc

POLYNOMIALS = (1, 2, 3)  # degrees of severity in the content-blind baseline
FOLDS = 5  # of training contents, to choose the content-blind rule that tables show


def content_blind(table: pd.DataFrame, split, *, label: str = "label") -> np.ndarray:
    """k predictions (n, k) for every row of `table`, in label units, from distortion type and level
    alone.

    Learnt on the rows that `split` calls train: no pixel, no content and no other label enters.

    table   columns distortion, level, `label`; optional distortion2, level2; content where levels
            are continuous; image where split is a frame
    split   train, val or test for each row, in row order, or a frame with image and split

    Discrete levels (training rows share them, two or more a (type, level), and there are at most 30
    a type): the mean label per (type, level), k = 1.

    Continuous levels, k = 4: per type an isotonic fit, whose direction the training rows choose,
    and polynomials of degree 1, 2 and 3, all held constant beyond the levels trained on. Column 0
    is the one of the four with the highest SRCC over training rows in a 5-fold cross-validation by
    content, the rest follow in that order; show column 0, partial out all (`partial_srcc`):
    isotonic alone leaves .31 to .36 to rules that see no pixels.

    Two distortions (columns distortion2, level2): a linear fit on [1, min, max, product] of the two
    single predictions, learnt on training pairs; the smaller of the two where training has fewer
    than 8 pairs. No distortion (NaN or ""): the mean of such training rows, else the highest
    training label. A type that training never shows alone: the mean label of distorted training
    rows.

    Errors: ValueError for a split that does not fit the table, for no distorted training row, for a
    level that is missing.
    """
    train = _aligned(table, split) == "train"
    # Other rows' labels are gone from here on.
    y = np.where(train, pd.to_numeric(table[label]), np.nan).astype(float)
    severities = *_severity(table, ""), *_severity(table, "2")
    names, levels, names2, _ = severities
    distorted = names != ""
    judged = train & distorted
    if not np.isfinite(y[train]).all() or not judged.any():
        raise ValueError(
            f"{judged.sum()} distorted training rows, {np.isnan(y[train]).sum()} training labels "
            f"missing in {label!r}: the baseline needs training rows with a distortion and a label"
        )
    single = judged & (names2 == "")
    cells = len(set(zip(names[single], levels[single], strict=True)))
    if single.sum() >= 2 * cells and cells <= 30 * len(set(names[single])):
        return _blind_rule("mean", train, y, *severities)[:, None]

    contents, known = groups(table["content"], len(table))
    fold = contents % min(FOLDS, len(known))

    def srcc_on_unseen(rule):
        """SRCC of a rule over training rows, each predicted from the other folds."""
        predicted = np.full(len(y), np.nan)
        for held_out in np.unique(fold[judged]):
            rest = train & (fold != held_out)
            if (rest & distorted).any():
                of_fold = fold == held_out
                predicted[of_fold] = _blind_rule(rule, rest, y, *severities)[of_fold]
        scored = judged & np.isfinite(predicted)
        if not scored.any():
            return -1
        return np.nan_to_num(srcc(predicted[scored], y[scored]), nan=-1)

    rules = sorted(["isotonic", *POLYNOMIALS], key=srcc_on_unseen, reverse=True)
    return np.column_stack([_blind_rule(rule, train, y, *severities) for rule in rules])


def boosted_blind(table: pd.DataFrame, split, *, label: str = "label") -> np.ndarray:
    """Predictions (n,) of another rule that sees no pixels: gradient boosting on distortion types
    and levels.

    It is none of the columns of `content_blind`, so its partial correlation given them tests that
    instrument: well above 0 would mean that type and level are not fully taken out. Arguments and
    errors as `content_blind`."""
    from sklearn.ensemble import GradientBoostingRegressor

    train = _aligned(table, split) == "train"
    columns = []
    for suffix in ("", "2"):
        names, levels = _severity(table, suffix)
        columns += [np.where(names == name, levels, 0.0) for name in sorted(set(names) - {""})]
    columns = np.column_stack(columns)
    rule = GradientBoostingRegressor(
        n_estimators=300, learning_rate=0.05, min_samples_leaf=10, random_state=0
    )
    rule.fit(columns[train], table[label].to_numpy(float)[train])
    return rule.predict(columns)


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


def _severity(table: pd.DataFrame, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """Names (n,) and levels (n,) of the first ("") or second ("2") distortion; "" and NaN where
    there is none.

    A type of which no severity is known stands at one level, 0: its rule is its mean label.
    """
    if "distortion" + suffix not in table:
        return np.full(len(table), ""), np.full(len(table), np.nan)
    column = table["distortion" + suffix]
    names = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    names = names.to_numpy(dtype=object)
    levels = pd.to_numeric(table["level" + suffix]).to_numpy(dtype=float, copy=True)
    for name in set(names) - {""}:
        if np.isnan(levels[names == name]).all():
            levels[names == name] = 0
    lost = np.flatnonzero((names != "") & ~np.isfinite(levels))
    if len(lost):
        raise ValueError(
            f"{len(lost)} rows have a distortion{suffix} but no level{suffix}, the first "
            f"{names[lost[0]]!r} in row {lost[0]}: give its severity, or no distortion"
        )
    return names, levels


def _blind_rule(rule, rows, y, names, levels, names2, levels2) -> np.ndarray:
    """One rule's predictions for every row (n,), learnt on `rows` (mask)."""
    distorted, pair = names != "", names2 != ""
    mean = y[rows & distorted].mean()
    alone = rows & distorted & ~pair
    curves = {}
    for name in sorted(set(names[alone])):
        of_type = alone & (names == name)
        curves[name] = _curve(rule, levels[of_type], y[of_type])

    def predict(names, levels):
        predicted = np.full(len(names), mean)
        for name, curve in curves.items():
            predicted[names == name] = curve(levels[names == name])
        return predicted

    first, second = predict(names, levels), predict(names2, levels2)
    # Of two distortions: a linear fit, or the worse of the two where few pairs were trained on.
    low, high = np.minimum(first, second), np.maximum(first, second)
    joint, pairs = low, rows & pair
    if pairs.sum() >= 8:
        design = np.column_stack([np.ones(len(y)), low, high, low * high])
        joint = design @ np.linalg.lstsq(design[pairs], y[pairs], rcond=None)[0]
    pristine = rows & ~distorted
    untouched = y[pristine].mean() if pristine.any() else y[rows].max()
    return np.where(~distorted, untouched, np.where(pair, joint, first))


def _curve(rule, level: np.ndarray, label: np.ndarray) -> Callable:
    """Label as a function of one type's level; constant beyond the levels seen."""
    known, where, counts = np.unique(level, return_inverse=True, return_counts=True)
    if rule in POLYNOMIALS:
        polynomial = np.polynomial.Polynomial.fit(level, label, min(rule, len(known) - 1))
        return lambda level: polynomial(np.clip(level, known[0], known[-1]))
    means = np.bincount(where, label) / counts
    if rule == "isotonic":
        fits = [isotonic_regression(means, weights=counts, increasing=up).x for up in (True, False)]
        means = min(fits, key=lambda fit: counts @ (fit - means) ** 2)
    return lambda level: np.interp(level, known, means)
