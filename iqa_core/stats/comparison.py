"""Whether two predictors differ, on one set of labels: paired intervals and tests, many rows,
seeds, power.

Differences are signed, first minus second. Images of one content are not independent: pass
`content` where there is one."""

import warnings

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtr, stdtrit

from .intervals import (
    codes,
    groups,
    midranks,
    over_contents,
    plcc,
    rank_correlations,
    standard_error,
    t_interval,
    unit_name,
    vectors,
)

BLOCK = 2**22  # signs held at a time, 32 MB


def compare(predicted, other, label, *, content=None, draws: int = 2000, seed: int = 0) -> dict:
    """Difference of the SRCC of two predictors (n,) with one label (n,), as a row of a table.

    content   (n,), optional: what each image shows; whole contents are resampled and exchanged then

    Returns a dict of
    srcc, other_srcc       of either
    difference             srcc - other_srcc
    interval               95 %: paired bootstrap (the same rows of both), difference
                           +- t(units - 1) x its standard error
    p                      two-sided, by exchanging the two predictors' ranks within whole contents
                           at random (or, where all 2 ** contents exchanges are no more than
                           `draws`, all of them): see `_exchanged`
    least_p                the smallest p that so many units allow: 2 / 2 ** units, so with 5
                           contents or fewer none is below .05; 1 / draws where exchanges are drawn
    n, unit, units         rows; "content" or "image", and how many
    draws, exchanges       bootstrap draws; exchanges tried
    within                 with content, the same by the mean of the SRCC within each content:
                           difference, interval (t over contents), p (signs of the contents'
                           differences), least_p, contents used; else None, and where contents have
                           less than three rows on average

    Constant predictions or labels: NaN and a RuntimeWarning.

    Errors: ValueError as `vectors` and `groups`.

    Source: paired bootstrap, Efron and Tibshirani 1993; exchange within blocks, Fisher 1935, The
    design of experiments, and Good 2005, DOI 10.1007/b138696.
    """
    ranked = [codes(values) for values in vectors(predicted=predicted, other=other, label=label)]
    n = len(ranked[0])
    number, names = groups(content, n)
    ranks = [midranks(values) for values in ranked]
    first, second = (plcc(values, ranks[2]) if n else np.nan for values in ranks[:2])
    difference = first - second
    row = {"srcc": first, "other_srcc": second, "difference": difference}
    row |= {"interval": (np.nan, np.nan), "p": np.nan, "least_p": np.nan, "n": n}
    row |= {"unit": unit_name(len(names), n), "units": len(names)}
    row |= {"draws": 0, "exchanges": 0, "within": None}
    if len(names) < 2 or not np.isfinite(difference):
        reason = "constant predictions or labels"
        if len(names) < 2:
            reason = "fewer than two contents or images"
        warnings.warn(f"no comparison: {reason}", RuntimeWarning, stacklevel=2)
        return row
    error, units, row["draws"] = standard_error(
        _difference, *ranked, content=content, draws=draws, seed=seed
    )
    row["interval"] = _student(difference, error, units - 1)
    row["p"], row["exchanges"] = _exchanged(*ranks, number, draws=row["draws"], seed=seed)
    row["least_p"] = _least_p(units, row["draws"])
    if content is not None and 3 * units <= n:
        row["within"] = _within(*ranked, content, row["draws"], seed)
    return row


def _student(value, error, df) -> tuple[float, float]:
    """95 % interval (low, high) of a difference, Student's t."""
    half = stdtrit(df, 0.975) * error
    return float(value - half), float(value + half)


def _difference(x, other, y) -> float:
    """SRCC of the first minus SRCC of the second, from `codes` or a resample of them."""
    first, second = rank_correlations(x, other, y)
    return first - second


def _rank_correlation(x, y) -> float:
    """SRCC, from `codes` or some of them."""
    return rank_correlations(x, y)[0]


def _few(units: int, draws: int) -> bool:
    """Whether all 2 ** units patterns of signs are tried."""
    return units < 63 and 2**units <= draws


def _least_p(units: int, draws: int) -> float:
    """The smallest p that `_signs` can give: of all patterns the observed one and its
    opposite are as far out; of drawn ones the observed one.
    """
    return 2 / 2**units if _few(units, draws) else 1 / draws


def _signs(units: int, draws: int, seed: int):
    """Blocks (m, units) of signs -1 and 1: all 2 ** units patterns if these are no more than
    `draws`, else that many at random.

    The pattern of ones, which is what was observed, is always among them, so a p-value never is 0.
    """
    few = _few(units, draws)
    total = 2**units if few else draws
    block = max(1, BLOCK // units)
    generator = np.random.default_rng(seed)
    for start in range(0, total, block):
        rows = np.arange(start, min(total, start + block))
        if few:
            bits = rows[:, None] >> np.arange(units) & 1
        else:
            bits = generator.integers(2, size=(len(rows), units), dtype=np.int8)
        bits[rows == 0] = 0
        yield 1.0 - 2 * bits


def _exchanged(x, other, y, number, *, draws: int, seed: int) -> tuple[float, int]:
    """p-value and number of exchanges of the difference of the correlations of ranks x and other
    (n,) with ranks y (n,).

    Within each unit of `number` (n,) the two rank vectors are exchanged as a whole, with
    probability 1/2. With mean m and half difference d of the two, an exchange turns the sign of d
    in that unit, so all sums that a correlation needs are linear in the signs. Exchanged ranks are
    not ranked anew."""
    y = (y - y.mean()) / np.linalg.norm(y - y.mean())
    # Ranks of either have the mean (n + 1) / 2.
    m = (x + other) / 2 - x.mean()
    d = (x - other) / 2
    sums = np.column_stack([np.bincount(number, weights) for weights in (d * y, d, 2 * m * d)])
    base, total, squares = m @ y, m.sum(), m @ m + d @ d
    blocks = []
    for signs in _signs(len(sums), draws, seed):
        covariance, shift, cross = (signs @ sums).T
        pair = []
        for side in (1, -1):
            variance = squares + side * cross - (total + side * shift) ** 2 / len(y)
            pair.append((base + side * covariance) / np.sqrt(np.maximum(variance, 1e-300)))
        blocks.append(np.abs(pair[0] - pair[1]))
    differences = np.concatenate(blocks)
    observed = differences[0]  # without any exchange
    return float(np.mean(differences >= observed - 1e-12)), len(differences)


def _within(x, other, y, content, draws, seed) -> dict:
    """Mean difference of the SRCC within contents, paired: t interval and the exact or random signs
    of the differences.
    """
    values = over_contents(_difference, x, other, y, content=content)["values"]
    gains = np.array([value for value in values.values() if np.isfinite(value)])
    row = {
        "difference": float(gains.mean()) if len(gains) else np.nan,
        "interval": t_interval(gains),
        "contents": len(gains),
        "p": np.nan,
        "least_p": np.nan,
    }
    if len(gains) > 1:
        sums = [np.abs(signs @ gains) for signs in _signs(len(gains), draws, seed)]
        sums = np.concatenate(sums)
        row["p"] = float(np.mean(sums >= sums[0] - 1e-12))
        row["least_p"] = _least_p(len(gains), draws)
    return row


def steiger(predicted, other, label) -> dict:
    """Steiger's test that two dependent Pearson correlations are equal. For Pearson only, never for
    SRCC.

    Takes images as independent and all three (n,) as jointly normal; with contents, prefer
    `compare`.

    Returns a dict of plcc, other_plcc, difference, z, p (two-sided) and n. Fewer than 4 rows or a
    constant: NaN and a RuntimeWarning.

    Source: Steiger 1980, DOI 10.1037/0033-2909.87.2.245, equation 14 (averaged correlations).
    """
    x, o, y = vectors(predicted=predicted, other=other, label=label)
    first = second = between = np.nan
    if len(x) > 3:
        first, second, between = plcc(x, y), plcc(o, y), plcc(x, o)
    if not np.isfinite([first, second, between]).all():
        warnings.warn(
            "Steiger's test is NaN: fewer than 4 rows, or a constant", RuntimeWarning, stacklevel=2
        )
    square = ((first + second) / 2) ** 2
    shared = between * (1 - 2 * square) - square * (1 - 2 * square - between**2) / 2
    variance = max(2 - 2 * shared / (1 - square) ** 2, 1e-300) / max(len(x) - 3, 1)
    z = 0.0
    if first != second:
        z = float((np.arctanh(first) - np.arctanh(second)) / np.sqrt(variance))
    row = {"plcc": first, "other_plcc": second, "difference": first - second}
    return row | {"z": z, "p": float(2 * ndtr(-abs(z))), "n": len(x)}


def holm(p) -> np.ndarray:
    """p-values (m,) of one table, adjusted so that .05 bounds the chance of any false finding among
    them.

    NaN (a row that could not be tested) stays NaN and is not counted.
    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65, www.jstor.org/stable/4615733.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)  # NaN last
    factors = np.isfinite(p).sum() - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def least_holm(p, least_p) -> np.ndarray:
    """What each of the p-values (m,) of one table would be after Holm's adjustment, were it the
    smallest that its test can give, `least_p` (m,), and the others as they are: where that is .05
    or more, nothing could have been found.
    """
    p, least_p = np.asarray(p, dtype=float), np.asarray(least_p, dtype=float)
    found = []
    for row in range(len(p)):
        at_best = np.where(np.arange(len(p)) == row, least_p, p)
        found.append(holm(at_best)[row])
    return np.array(found)


def compare_seeds(
    predicted, other, label, *, content=None, inner=None, draws: int = 2000, seed: int = 0
) -> dict:
    """Difference of the mean SRCC of two methods over their training runs, seeds taken as a random
    effect.

    predicted, other   (k, n) and (m, n): one row a run, two or more of each, of the same n test
                       images
    label, content     (n,); content is optional
    inner              (n,), optional: groups within contents, as the inputs that restorers were
                       given; within is then of the mean SRCC within a content's groups

    Model: SRCC = method + image sampling + seed; the variance of the difference of means is
    V + s1^2 / k + s2^2 / m, with V from a bootstrap over contents (or images) of that difference
    and s1, s2 the standard deviations of SRCC over the runs of either method. Interval and p are
    Student's with Satterthwaite's degrees of freedom. What seeds and images do jointly is counted
    in both terms, which errs to the safe side.

    Returns a dict of
    srcc, other_srcc       means over runs
    difference, interval, p, df
    n, unit, units         rows; "content" or "image", and how many
    runs, draws            (k, m); bootstrap draws
    images_error, seeds_error, other_seeds_error
                           the three standard errors
    within                 with content, the same by the mean of the SRCC within each content of
                           three rows or more (in which every run has one), contents being how many,
                           and V the variance of that mean's difference over contents; else None.
                           With fewer than two contents p and interval are NaN.

    Errors: ValueError for fewer than two runs and as `vectors`.

    Source: Satterthwaite 1946, DOI 10.2307/3002019.
    """
    first = np.atleast_2d(np.asarray(predicted, dtype=float))
    second = np.atleast_2d(np.asarray(other, dtype=float))
    k, m = len(first), len(second)
    if min(k, m) < 2:
        raise ValueError(
            f"{k} and {m} runs: one run says nothing about its seeds; train two or more a method, "
            f"or use compare"
        )
    named = {f"predicted[{i}]": run for i, run in enumerate(first)}
    named |= {f"other[{i}]": run for i, run in enumerate(second)}
    *runs, y = (codes(values) for values in vectors(**named, label=label))

    def gain(*arrays):
        values = rank_correlations(*arrays)
        return values[:k].mean() - values[k:].mean()

    error, units, draws = standard_error(gain, *runs, y, content=content, draws=draws, seed=seed)
    row = {"n": len(y), "unit": unit_name(units, len(y)), "units": units}
    row |= {"runs": (k, m), "draws": draws}
    row |= _with_seeds(rank_correlations(*runs, y), k, error, units)
    row["within"] = None
    if content is not None and 3 * units <= len(y):
        row["within"] = _seeds_within(runs, k, y, content, inner)
    return row


def _with_seeds(values, k, images_error, units) -> dict:
    """How far k runs of the first method exceed the others, from their figures (k + m,) and what
    images add to the error.
    """
    first, second = values[:k], values[k:]
    difference = float(first.mean() - second.mean())
    seeds_errors = [np.std(runs, ddof=1) / np.sqrt(len(runs)) for runs in (first, second)]
    parts = np.array([images_error, *seeds_errors])
    error = np.sqrt((parts**2).sum())
    df = p = np.nan
    if error > 0:
        dfs = [max(units - 1, 1), len(first) - 1, len(second) - 1]
        df = error**4 / (parts**4 / dfs).sum()
        p = 2 * stdtr(df, -abs(difference) / error)
    return {
        "srcc": float(first.mean()),
        "other_srcc": float(second.mean()),
        "difference": difference,
        "p": float(p),
        "df": float(df),
        "interval": _student(difference, error, df),
        "images_error": float(parts[0]),
        "seeds_error": float(parts[1]),
        "other_seeds_error": float(parts[2]),
    }


def within_contents(runs, label, content, inner=None) -> np.ndarray:
    """SRCC within each content (k, contents) of runs (k, n) with a label (n,), for the contents in
    which every run has one.

    inner   (n,), optional: groups within contents; the value of a content is then the mean over its
            groups of three rows or more
    """
    *runs, label = (codes(np.asarray(values)) for values in (*runs, label))
    groups_of = pd.Series(np.asarray(content)).astype(str)
    if inner is not None:
        groups_of += "\n" + pd.Series(np.asarray(inner)).astype(str)
    with warnings.catch_warnings():
        if inner is not None:  # of a few outputs all may be alike
            warnings.simplefilter("ignore", RuntimeWarning)
        of_runs = [
            over_contents(_rank_correlation, run, label, content=groups_of)["values"]
            for run in runs
        ]
    values = pd.DataFrame(of_runs).T.dropna()  # a row a group
    if values.empty:
        return np.empty((len(of_runs), 0))
    return values.groupby(values.index.str.partition("\n").get_level_values(0)).mean().T.to_numpy()


def _seeds_within(runs, k, y, content, inner) -> dict:
    """The same by the mean of the SRCC within contents; what contents add to the error is that of a
    paired t over them.
    """
    values = within_contents(runs, y, content, inner)  # (k + m, contents)
    contents = values.shape[1]
    if contents < 2:
        row = {"difference": np.nan, "interval": (np.nan, np.nan), "p": np.nan}
        return row | {"contents": contents}
    gains = values[:k].mean(axis=0) - values[k:].mean(axis=0)
    error = np.std(gains, ddof=1) / np.sqrt(contents)
    return _with_seeds(values.mean(axis=1), k, error, contents) | {"contents": contents}


def power(
    n: int,
    srcc: float,
    other: float,
    *,
    errors: float,
    runs: int = 1000,
    draws: int = 500,
    seed: int = 0,
) -> dict:
    """How often n independent images tell SRCC `srcc` from `other` with p < .05 by `compare`'s
    exchange test, simulated.

    errors   correlation of what the two predictors get wrong, in (-1, 1): about .5 for unlike
             methods, .9 for variants of one
    runs     simulations; draws: exchanges in each

    Labels and predictions are drawn from a Gaussian copula with these two SRCCs. One trained
    network each: the noise of seeds comes on top. With contents, n images count as fewer.

    Returns a dict of power, its Monte-Carlo error, sd (standard deviation of the difference over
    runs) and detectable, the difference that n images find with power .8: (1.960 + .842) sd.

    Errors: ValueError for arguments out of range.
    """
    if not (max(abs(srcc), abs(other), abs(errors)) < 1 and n > 3):
        raise ValueError(
            f"srcc {srcc}, other {other}, errors {errors}, n {n}: the first three lie within -1 "
            f"and 1, n above 3"
        )
    generator = np.random.default_rng(seed)
    images = np.arange(n)
    # Pearson's correlations of the copula
    first, second = (2 * np.sin(np.pi * value / 6) for value in (srcc, other))
    significant, differences = 0, []
    for run in range(runs):
        y, noise, further = generator.normal(size=(3, n))
        mixed = errors * noise + np.sqrt(1 - errors**2) * further
        x = first * y + np.sqrt(1 - first**2) * noise
        o = second * y + np.sqrt(1 - second**2) * mixed
        ranks = [midranks(codes(values)) for values in (x, o, y)]
        differences.append(plcc(ranks[0], ranks[2]) - plcc(ranks[1], ranks[2]))
        p, _ = _exchanged(*ranks, images, draws=draws, seed=run)
        significant += p < 0.05
    power = significant / runs
    error = float(np.sqrt(power * (1 - power) / runs))
    sd = float(np.std(differences, ddof=1))
    return {"power": power, "error": error, "sd": sd, "detectable": 2.802 * sd}
