"""How sure a correlation is, and what of it is earned without looking at the picture.

Intervals by bootstrap (whole contents, since pictures of one content are not independent) and by Student's t over contents;
the content-blind baseline and the partial rank correlation given it.

Functions that take a statistic call it with resampled arrays; a statistic that is undefined returns NaN, silently.
Below 15 contents prefer `t_interval` over per-content values to a bootstrap by content: with 6 contents a nominal 95 %
covered 87 to 91 %.
"""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression
from scipy.special import stdtrit

FEW_ROWS = 50_000  # above this many rows bootstraps draw less often, so that an interval stays a matter of a minute
POLYNOMIALS = (1, 2, 3)  # degrees of severity in the content-blind baseline
FOLDS = 5  # of training contents, to choose the content-blind rule that tables show


# ---- arrays in


def vectors(**arrays) -> list[np.ndarray]:
    """The named arrays as float vectors of one length, in the order given.

    Errors: ValueError for another shape than (n,), for lengths that differ and for values that are not finite.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in arrays.items()}
    for name, values in arrays.items():
        if values.ndim != 1:
            raise ValueError(f"{name} has shape {values.shape}, not (n,): pass one number an image, e.g. {name}.ravel()")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"{name} holds {len(bad)} values that are not finite, the first in row {bad[0]}: "
                "leave those rows out of every array, or mend what made them"
            )
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lengths differ, {lengths}: pass one value an image in each, in the same order")
    return list(arrays.values())


def groups(content, n: int) -> tuple[np.ndarray, list]:
    """Group number of each of the n rows, (n,) in 0..len(names)-1, and the sorted names.

    Errors: ValueError for a missing content or a length other than n.
    """
    codes, names = pd.factorize(np.asarray(content), sort=True)
    if len(codes) != n or (codes < 0).any():
        raise ValueError(
            f"content has {len(codes)} values, {(codes < 0).sum()} of them missing, for {n} rows: "
            "pass one content a row, or content=None to treat every image as its own"
        )
    return codes, names.tolist()


# ---- ranks and correlations, made to be called on thousands of resamples


def codes(values) -> np.ndarray:
    """Position of each value among the sorted distinct ones, integers (n,): sorts once, `midranks` then never again."""
    return np.unique(values, return_inverse=True)[1]


def midranks(codes: np.ndarray) -> np.ndarray:
    """Ranks 1..n of the values behind `codes` or behind any resample of it, ties averaged, in O(n)."""
    counts = np.bincount(codes)
    return (np.cumsum(counts) - (counts - 1) / 2)[codes]


def plcc(predicted: np.ndarray, label: np.ndarray) -> float:
    """Pearson's linear correlation in [-1, 1]; NaN when either is constant."""
    x, y = predicted - predicted[0], label - label[0]  # a constant becomes exactly 0, whatever the rounding of its mean
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 0 else np.nan


def srcc(predicted: np.ndarray, label: np.ndarray) -> float:
    """Spearman's rank correlation in [-1, 1], ties averaged; NaN when either is constant."""
    return plcc(midranks(codes(predicted)), midranks(codes(label)))


# ---- intervals


def affordable(draws: int, n: int) -> int:
    """Bootstrap draws for n rows: `draws` up to 50,000 rows, then fewer in proportion, at least 200."""
    return draws if n <= FEW_ROWS else min(draws, max(200, draws * FEW_ROWS // n))


def bootstrap(statistic: Callable, *arrays, group=None, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """`statistic(*arrays)` on `draws` resamples: (draws,) or, for a statistic of m numbers, (draws, m).

    Rows are drawn with replacement, the same rows of every array; with `group` (n,) whole groups are drawn, as many as
    there are, each with all its rows. Fewer than two groups (or rows): NaN and a RuntimeWarning.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap; by group: Davison and Hinkley 1997, section 3.8.
    """
    arrays = [np.asarray(values) for values in arrays]
    number = np.arange(len(arrays[0])) if group is None else groups(group, len(arrays[0]))[0]
    rows, sizes = np.argsort(number, kind="stable"), np.bincount(number)
    if len(sizes) < 2:
        warnings.warn(f"{len(sizes)} content or image to resample: no interval", RuntimeWarning, stacklevel=2)
        return np.full((draws, *np.shape(statistic(*arrays))), np.nan)
    starts, generator, samples = np.cumsum(sizes) - sizes, np.random.default_rng(seed), []
    for _ in range(draws):
        picked = generator.integers(len(sizes), size=len(sizes))
        size = sizes[picked]
        drawn = rows[np.repeat(starts[picked] - np.cumsum(size) + size, size) + np.arange(size.sum())]
        samples.append(statistic(*(values[drawn] for values in arrays)))
    return np.array(samples, dtype=float)


def percentile_interval(samples) -> tuple[float, float]:
    """95 % percentile interval (low, high) of bootstrap samples (draws,); resamples without a value (NaN) are left out."""
    samples = np.asarray(samples, dtype=float)
    samples = samples[np.isfinite(samples)]
    return tuple(np.quantile(samples, [0.025, 0.975]).tolist()) if len(samples) else (np.nan, np.nan)


def t_interval(values) -> tuple[float, float]:
    """95 % Student interval (low, high) for the mean of `values`, e.g. one per content; NaN for fewer than two."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def over_contents(statistic: Callable, *arrays: np.ndarray, content, least: int = 3) -> dict:
    """`statistic` within each content, averaged over contents.

    Returns value (the mean), interval (95 % t over contents), n and contents (rows and contents behind them), left_out
    (contents of fewer than `least` rows) and values {content: statistic}, in which a content whose statistic is undefined
    stands as NaN: it is outside the mean, and a RuntimeWarning counts such contents.
    """
    number, names = groups(content, len(arrays[0]))
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    members = {name: rows for name, rows in zip(names, members, strict=True) if len(rows) >= least}
    values = {name: float(statistic(*(array[rows] for array in arrays))) for name, rows in members.items()}
    finite = [name for name in values if np.isfinite(values[name])]
    if not finite or len(finite) < len(values):
        warnings.warn(
            f"{len(values) - len(finite)} of {len(values)} contents with at least {least} rows have no value "
            "(constant, or explained without rest): the mean is over the others",
            RuntimeWarning,
            stacklevel=3,
        )
    used = [values[name] for name in finite]
    return dict(
        value=float(np.mean(used)) if used else np.nan,
        interval=t_interval(used),
        n=sum(len(members[name]) for name in finite),
        contents=len(used),
        left_out=len(names) - len(values),
        values=values,
    )


# ---- the content-blind baseline


def content_blind(table: pd.DataFrame, split, *, label: str = "label") -> np.ndarray:
    """k predictions (n, k) for every row of `table`, in label units, from distortion type and level alone.

    Learnt on the rows that `split` calls train: no pixel, no content and no other label enters.
    Discrete levels (training rows share them, two or more a (type, level), and there are at most 30 a type): the mean label
    per (type, level), k = 1. Continuous levels, k = 4: per type an isotonic fit, whose direction the training rows choose,
    and polynomials of degree 1, 2 and 3, all held constant beyond the levels trained on. Column 0 is the one of the four
    with the highest SRCC over training rows in a 5-fold cross-validation by content, the rest follow in that order; show
    column 0, partial out all (`partial_srcc`): isotonic alone leaves .31 to .36 to rules that see no pixels.
    Two distortions (columns distortion2, level2): a linear fit on [1, min, max, product] of the two single predictions,
    learnt on training pairs; the smaller of the two where training has fewer than 8 pairs.
    No distortion (NaN or ""): the mean of such training rows, else the highest training label. A type that training never
    shows alone: the mean label of distorted training rows.

    table   columns distortion, level, `label`; optional distortion2, level2; content where levels are continuous; image
            where split is a frame. split   train, val or test for each row, in row order, or a frame with image and split.
    Errors: ValueError for a split that does not fit the table, for no distorted training row, for a level that is missing.
    """
    train = _aligned(table, split) == "train"
    y = np.where(train, pd.to_numeric(table[label]), np.nan).astype(float)  # other rows' labels are gone from here on
    names, levels, names2, levels2 = (column for suffix in ("", "2") for column in _severity(table, suffix))
    distorted = names != ""
    if not np.isfinite(y[train]).all() or not (train & distorted).any():
        raise ValueError(
            f"{(train & distorted).sum()} distorted training rows, {np.isnan(y[train]).sum()} training labels "
            f"missing in {label!r}: the baseline needs training rows with a distortion and a label"
        )

    def predict(rows, rule):
        return _blind_rule(rule, rows, y, names, levels, names2, levels2)

    single = train & distorted & (names2 == "")
    cells = len(set(zip(names[single], levels[single], strict=True)))
    if single.sum() >= 2 * cells and cells <= 30 * len(set(names[single])):
        return predict(train, "mean")[:, None]
    rules = ["isotonic", *POLYNOMIALS]
    contents, known = groups(table["content"], len(table))
    fold = contents % min(FOLDS, len(known))
    judged = train & distorted

    def unseen(rule):  # each training row predicted from the other folds
        predicted = np.full(len(y), np.nan)
        for held_out in np.unique(fold[judged]):
            rest = train & (fold != held_out)
            if (rest & distorted).any():
                predicted[fold == held_out] = predict(rest, rule)[fold == held_out]
        scored = judged & np.isfinite(predicted)
        return np.nan_to_num(srcc(predicted[scored], y[scored]), nan=-1) if scored.any() else -1

    rules.sort(key=unseen, reverse=True)
    return np.column_stack([predict(train, rule) for rule in rules])


def boosted_blind(table: pd.DataFrame, split, *, label: str = "label") -> np.ndarray:
    """Predictions (n,) of another rule that sees no pixels: gradient boosting on distortion types and levels.

    It is none of the columns of `content_blind`, so its partial correlation given them tests that instrument: well above 0
    would mean that type and level are not fully taken out. Arguments and errors as `content_blind`.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    train = _aligned(table, split) == "train"
    columns = []
    for suffix in ("", "2"):
        names, levels = _severity(table, suffix)
        columns += [np.where(names == name, levels, 0.0) for name in sorted(set(names) - {""})]
    rule = GradientBoostingRegressor(n_estimators=300, learning_rate=0.05, min_samples_leaf=10, random_state=0)
    return rule.fit(np.column_stack(columns)[train], table[label].to_numpy(float)[train]).predict(np.column_stack(columns))


def _aligned(table: pd.DataFrame, split) -> np.ndarray:
    """The split of each row of `table`, (n,) of train, val, test."""
    if isinstance(split, pd.DataFrame):
        split = table["image"].map(split.set_index("image")["split"])
    elif isinstance(split, pd.Series) and not split.index.equals(table.index):
        raise ValueError("split and table have different indices: pass split.loc[table.index], or an array in row order")
    split = np.asarray(split, dtype=object)
    wrong = sorted({str(name) for name in split} - {"train", "val", "test"})
    if len(split) != len(table) or wrong:
        raise ValueError(
            f"split has {len(split)} rows for a table of {len(table)} and holds {wrong}: "
            "every row needs one of train, val, test (nan: an image that the split does not name)"
        )
    return split


def _severity(table: pd.DataFrame, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """Names (n,) and levels (n,) of the first ("") or second ("2") distortion; "" and NaN where there is none.

    A type of which no severity is known stands at one level, 0: its rule is its mean label.
    """
    if "distortion" + suffix not in table:
        return np.full(len(table), ""), np.full(len(table), np.nan)
    column = table["distortion" + suffix]
    names = column.astype(object).where(column.notna(), "").astype(str).str.strip().to_numpy(dtype=object)
    levels = pd.to_numeric(table["level" + suffix]).to_numpy(dtype=float, copy=True)
    for name in set(names) - {""}:
        if np.isnan(levels[names == name]).all():
            levels[names == name] = 0
    lost = np.flatnonzero((names != "") & ~np.isfinite(levels))
    if len(lost):
        raise ValueError(
            f"{len(lost)} rows have a distortion{suffix} but no level{suffix}, the first {names[lost[0]]!r} "
            f"in row {lost[0]}: give its severity, or no distortion"
        )
    return names, levels


def _blind_rule(rule, rows, y, names, levels, names2, levels2) -> np.ndarray:
    """One rule's predictions for every row (n,), learnt on `rows` (mask)."""
    distorted, pair = names != "", names2 != ""
    mean = y[rows & distorted].mean()
    alone = rows & distorted & ~pair
    curves = {
        name: _curve(rule, levels[alone & (names == name)], y[alone & (names == name)]) for name in sorted(set(names[alone]))
    }

    def one(names, levels):
        predicted = np.full(len(names), mean)
        for name, curve in curves.items():
            predicted[names == name] = curve(levels[names == name])
        return predicted

    first, second = one(names, levels), one(names2, levels2)
    low, high = np.minimum(first, second), np.maximum(first, second)
    design, both = np.column_stack([np.ones(len(y)), low, high, low * high]), rows & pair
    joint = design @ np.linalg.lstsq(design[both], y[both], rcond=None)[0] if both.sum() >= 8 else low
    pristine = y[rows & ~distorted].mean() if (rows & ~distorted).any() else y[rows].max()
    return np.where(~distorted, pristine, np.where(pair, joint, first))


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


def partial_srcc(predicted, label, baseline, *, content=None, draws: int = 2000, seed: int = 0) -> dict:
    """Partial rank correlation in [-1, 1] of prediction and label given all baseline columns jointly.

    Everything is ranked, the ranks of prediction and label are regressed on those of the k baseline columns (and a
    constant), and what is left of the two is correlated. With `content` this is done within each content and averaged, with
    a 95 % t interval over contents; contents of k + 3 rows or fewer are left out. Without, over all rows at once, with a
    percentile bootstrap over images.

    baseline   (n,) or (n, k), e.g. from `content_blind`.
    Returns value, interval, n (rows used), contents (number used; None without content), left_out, values ({content:
    value}; empty without content) and draws (0 with content). A prediction that the baseline explains without rest, such
    as the baseline itself, has NaN and a RuntimeWarning. Errors: as `vectors` and `groups`.
    """
    columns = np.asarray(baseline, dtype=float)
    columns = columns[:, None] if columns.ndim == 1 else columns
    named = {f"baseline_{i}": column for i, column in enumerate(columns.T)}
    ranked = [codes(values) for values in vectors(predicted=predicted, label=label, **named)]
    least, n = len(named) + 4, len(ranked[0])
    if content is not None:
        return over_contents(_partial, *ranked, content=content, least=least) | dict(draws=0)
    value = _partial(*ranked) if n >= least else np.nan
    draws = affordable(draws, n) if np.isfinite(value) else 0
    if not draws:
        warnings.warn(
            f"no partial correlation: {n} rows, {least} needed, or a prediction or label that the baseline "
            "explains without rest",
            RuntimeWarning,
            stacklevel=2,
        )
    interval = percentile_interval(bootstrap(_partial, *ranked, draws=draws, seed=seed) if draws else [])
    return dict(value=value, interval=interval, n=n, contents=None, left_out=0, values={}, draws=draws)


def _partial(*ranked: np.ndarray) -> float:
    """Correlation of the first two columns' ranks given the others', from `codes`; NaN where nothing is left."""
    ranks = np.column_stack([midranks(column) for column in ranked])
    given = np.column_stack([np.ones(len(ranks)), ranks[:, 2:]])
    rest = ranks[:, :2] - given @ np.linalg.lstsq(given, ranks[:, :2], rcond=None)[0]
    nothing = np.linalg.norm(rest, axis=0) <= 1e-9 * len(ranks) ** 1.5  # ranks spread over about n ** 1.5 / sqrt(12)
    return np.nan if nothing.any() else plcc(rest[:, 0], rest[:, 1])
