"""Whether two predictors differ, on one set of labels: paired intervals and tests, many rows,
seeds, power.

Differences are signed, first minus second. Images of one content are not independent: pass
`content` where there is one."""

import warnings

import numpy as np
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
    vectors,
)

BLOCK = 2**22  # signs held at a time, 32 MB


def compare(predicted, other, label, *, content=None, draws: int = 2000, seed: int = 0) -> dict:
    """Difference of the SRCC of two predictors (n,) with one label (n,), as a row of a table.

    Returns
      srcc, other_srcc, difference   difference = srcc - other_srcc interval         95 %: paired
      bootstrap (the same rows of both), difference +- t(units - 1) x its standard error p
      two-sided, by exchanging the two predictors' ranks within whole contents at random (or, where
      all
                       2 ** contents exchanges are no more than `draws`, all of them): see
                       `_exchanged`
      n, unit, units, draws, exchanges   rows; "content" or "image" and how many; bootstrap draws;
      exchanges tried within           with content, the same by the mean of the SRCC within each
      content: difference, interval (t over
                       contents), p (signs of the contents' differences), contents used; else None,
                       and where contents have less than three rows on average
    With 5 contents or fewer no p can be below .05: the smallest is 2 / 2 ** contents. Constant
    predictions or labels: NaN and a RuntimeWarning. Errors: ValueError as `vectors` and `groups`.
    Sources: paired bootstrap, Efron and Tibshirani 1993; exchange within blocks, Fisher 1935, The
    design of experiments, and Good 2005, DOI 10.1007/b138696."""
    ranked = [codes(values) for values in vectors(predicted=predicted, other=other, label=label)]
    n = len(ranked[0])
    number, names = groups(content, n)
    unit = "content" if len(names) < n else "image"
    ranks = [midranks(values) for values in ranked]
    first, second = (plcc(values, ranks[2]) if n else np.nan for values in ranks[:2])
    row = dict(
        srcc=first,
        other_srcc=second,
        difference=first - second,
        interval=(np.nan, np.nan),
        p=np.nan,
        n=n,
        unit=unit,
    )
    row |= dict(units=len(names), draws=0, exchanges=0, within=None)
    if not np.isfinite(first - second) or len(names) < 2:
        why = (
            "constant predictions or labels"
            if len(names) > 1
            else "fewer than two contents or images"
        )
        warnings.warn(f"no comparison: {why}", RuntimeWarning, stacklevel=2)
        return row
    error, units, draws = standard_error(
        _difference, *ranked, content=content, draws=draws, seed=seed
    )
    p, exchanges = _exchanged(*ranks, number, draws=draws, seed=seed)
    row |= dict(
        interval=_student(first - second, error, units - 1), p=p, draws=draws, exchanges=exchanges
    )
    return (
        row
        if content is None or 3 * units > n
        else row | dict(within=_within(*ranked, content, draws, seed))
    )


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


def _signs(units: int, draws: int, seed: int):
    """Blocks (m, units) of signs -1 and 1: all 2 ** units patterns if these are no more than
    `draws`, else that many at random.

    The pattern of ones, which is what was observed, is always among them, so a p-value never is 0.
    """
    few = units < 63 and 2**units <= draws
    generator, total = np.random.default_rng(seed), 2**units if few else draws
    for start in range(0, total, max(1, BLOCK // units)):
        rows = np.arange(start, min(total, start + max(1, BLOCK // units)))
        bits = (
            rows[:, None] >> np.arange(units) & 1
            if few
            else generator.integers(2, size=(len(rows), units), dtype=np.int8)
        )
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
    m, d = (x + other) / 2 - x.mean(), (x - other) / 2  # ranks of either have the mean (n + 1) / 2
    sums = np.column_stack([np.bincount(number, weights) for weights in (d * y, d, 2 * m * d)])
    base, total, squares = m @ y, m.sum(), m @ m + d @ d
    found, observed = [], None
    for signs in _signs(len(sums), draws, seed):
        covariance, shift, cross = (signs @ sums).T
        pair = []
        for side in (1, -1):
            variance = squares + side * cross - (total + side * shift) ** 2 / len(y)
            pair.append((base + side * covariance) / np.sqrt(np.maximum(variance, 1e-300)))
        found.append(np.abs(pair[0] - pair[1]))
        observed = found[0][0] if observed is None else observed
    found = np.concatenate(found)
    return float(np.mean(found >= observed - 1e-12)), len(found)


def _within(x, other, y, content, draws, seed) -> dict:
    """Mean difference of the SRCC within contents, paired: t interval and the exact or random signs
    of the differences.
    """
    values = over_contents(_difference, x, other, y, content=content)["values"]
    gains = np.array([value for value in values.values() if np.isfinite(value)])
    row = dict(
        difference=float(gains.mean()) if len(gains) else np.nan,
        interval=t_interval(gains),
        contents=len(gains),
    )
    if len(gains) < 2:
        return row | dict(p=np.nan)
    means = np.concatenate([np.abs(signs @ gains) for signs in _signs(len(gains), draws, seed)])
    return row | dict(p=float(np.mean(means >= means[0] - 1e-12)))


def steiger(predicted, other, label) -> dict:
    """Steiger's test that two dependent Pearson correlations are equal. For Pearson only, never for
    SRCC.

    Takes images as independent and all three as jointly normal; with contents, prefer `compare`.
    Returns plcc, other_plcc, difference, z, p (two-sided) and n. Fewer than 4 rows or a constant:
    NaN and a RuntimeWarning. Source: Steiger 1980, DOI 10.1037/0033-2909.87.2.245, equation 14
    (averaged correlations)."""
    x, o, y = vectors(predicted=predicted, other=other, label=label)
    first, second, between = (
        plcc(*pair) if len(x) > 3 else np.nan for pair in ((x, y), (o, y), (x, o))
    )
    if not np.isfinite([first, second, between]).all():
        warnings.warn(
            "Steiger's test is NaN: fewer than 4 rows, or a constant", RuntimeWarning, stacklevel=2
        )
    square = ((first + second) / 2) ** 2
    shared = between * (1 - 2 * square) - square * (1 - 2 * square - between**2) / 2
    spread = max(2 - 2 * shared / (1 - square) ** 2, 1e-300) / max(len(x) - 3, 1)
    z = (
        float((np.arctanh(first) - np.arctanh(second)) / np.sqrt(spread))
        if first != second
        else 0.0
    )
    return dict(
        plcc=first,
        other_plcc=second,
        difference=first - second,
        z=z,
        p=float(2 * ndtr(-abs(z))),
        n=len(x),
    )


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


def compare_seeds(
    predicted, other, label, *, content=None, draws: int = 2000, seed: int = 0
) -> dict:
    """Difference of the mean SRCC of two methods over their training runs, seeds taken as a random
    effect.

    predicted, other   (k, n) and (m, n): one row a run, two or more of each, of the same n test
    images. Model: SRCC = method + image sampling + seed; the variance of the difference of means is
    V + s1^2 / k + s2^2 / m, with V from a bootstrap over contents (or images) of that difference
    and s1, s2 the standard deviations of SRCC over the runs of either method. Interval and p are
    Student's with Satterthwaite's degrees of freedom. What seeds and images do jointly is counted
    in both terms, which errs to the safe side. Returns srcc, other_srcc (means), difference,
    interval, p, n, unit, units, runs (k, m), draws, df, and the three standard errors images_error,
    seeds_error, other_seeds_error; and within: with content, the same by the mean of the SRCC
    within each content of three rows or more (in which every run has one), contents being how many,
    and V the variance of that mean's difference over contents; else None. With fewer than two
    contents p and interval are NaN. Errors: ValueError for fewer than two runs and as `vectors`.
    Source: Satterthwaite 1946, DOI 10.2307/3002019."""
    first, second = (
        np.atleast_2d(np.asarray(predicted, dtype=float)),
        np.atleast_2d(np.asarray(other, dtype=float)),
    )
    k, m = len(first), len(second)
    if min(k, m) < 2:
        raise ValueError(
            f"{k} and {m} runs: one run says nothing about its seeds; train two or more a method, "
            f"or use compare"
        )
    named = {
        f"{name}[{i}]": run
        for name, runs in (("predicted", first), ("other", second))
        for i, run in enumerate(runs)
    }
    *runs, y = (codes(values) for values in vectors(**named, label=label))

    def gain(*arrays):
        values = rank_correlations(*arrays)
        return values[:k].mean() - values[k:].mean()

    error, units, draws = standard_error(gain, *runs, y, content=content, draws=draws, seed=seed)
    row = dict(
        n=len(y),
        unit="image" if content is None else "content",
        units=units,
        runs=(k, m),
        draws=draws,
    )
    row |= _with_seeds(rank_correlations(*runs, y), k, error, units)
    return row | dict(
        within=None if content is None or 3 * units > len(y) else _seeds_within(runs, k, y, content)
    )


def _with_seeds(values, k, images_error, units) -> dict:
    """How far k runs of the first method exceed the others, from their figures (k + m,) and what
    images add to the error.
    """
    arms = values[:k], values[k:]
    gain = float(arms[0].mean() - arms[1].mean())
    parts = np.array([images_error, *(np.std(arm, ddof=1) / np.sqrt(len(arm)) for arm in arms)])
    error = np.sqrt((parts**2).sum())
    df = (
        error**4 / (parts**4 / [max(units - 1, 1), *(len(arm) - 1 for arm in arms)]).sum()
        if error > 0
        else np.nan
    )
    p = 2 * stdtr(df, -abs(gain) / error) if error > 0 else np.nan
    row = dict(
        srcc=float(arms[0].mean()),
        other_srcc=float(arms[1].mean()),
        difference=gain,
        p=float(p),
        df=float(df),
    )
    row |= dict(interval=_student(gain, error, df), images_error=float(parts[0]))
    return row | dict(seeds_error=float(parts[1]), other_seeds_error=float(parts[2]))


def _seeds_within(runs, k, y, content) -> dict:
    """The same by the mean of the SRCC within contents; what contents add to the error is that of a
    paired t over them.
    """
    values = [
        over_contents(_rank_correlation, run, y, content=content)["values"].values() for run in runs
    ]
    values = np.array([list(one) for one in values])  # (k + m, contents)
    values = values[:, np.isfinite(values).all(axis=0)]
    if (contents := values.shape[1]) < 2:
        return dict(difference=np.nan, interval=(np.nan, np.nan), p=np.nan, contents=contents)
    gains = values[:k].mean(axis=0) - values[k:].mean(axis=0)
    return _with_seeds(
        values.mean(axis=1), k, np.std(gains, ddof=1) / np.sqrt(contents), contents
    ) | dict(contents=contents)


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
    methods, .9 for variants of one. Labels and predictions are drawn from a Gaussian copula with
    these two SRCCs. One trained network each: the noise of seeds comes on top. With contents, n
    images count as fewer. Returns power, its Monte-Carlo error, sd (standard deviation of the
    difference over runs) and detectable, the difference that n images find with power .8: (1.960 +
    .842) sd. Errors: ValueError for arguments out of range."""
    if not (max(abs(srcc), abs(other), abs(errors)) < 1 and n > 3):
        raise ValueError(
            f"srcc {srcc}, other {other}, errors {errors}, n {n}: the first three lie within -1 "
            f"and 1, n above 3"
        )
    generator, number = np.random.default_rng(seed), np.arange(n)
    first, second = (
        2 * np.sin(np.pi * value / 6) for value in (srcc, other)
    )  # Pearson's of the copula
    found, gains = 0, []
    for run in range(runs):
        y, noise, own = generator.normal(size=(3, n))
        mixed = errors * noise + np.sqrt(1 - errors**2) * own
        x, o = (
            first * y + np.sqrt(1 - first**2) * noise,
            second * y + np.sqrt(1 - second**2) * mixed,
        )
        ranks = [midranks(codes(values)) for values in (x, o, y)]
        gains.append(plcc(ranks[0], ranks[2]) - plcc(ranks[1], ranks[2]))
        found += _exchanged(*ranks, number, draws=draws, seed=run)[0] < 0.05
    share, sd = found / runs, float(np.std(gains, ddof=1))
    return dict(
        power=share, error=float(np.sqrt(share * (1 - share) / runs)), sd=sd, detectable=2.802 * sd
    )
