"""How sure a correlation is: resampling of whole contents, Student's t over contents, both on
Fisher's z scale.

Functions that take a statistic call it with resampled arrays; a statistic that is undefined returns
NaN, silently. What the intervals cover by simulation stands in docs/statistics.md: below 15
contents prefer values per content, joined over rotations, to a pooled figure."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import stdtrit

# above this many rows bootstraps draw less often, so that an interval stays a matter of a minute
FEW_ROWS = 50_000
ROUNDING = 1e-12  # of correlations and their errors


# ---- arrays in


def vectors(**arrays) -> list[np.ndarray]:
    """The named arrays as float vectors of one length, in the order given.

    Errors: ValueError for another shape than (n,), for lengths that differ and for values that are
    not finite."""
    arrays = {name: np.asarray(values, dtype=float) for name, values in arrays.items()}
    for name, values in arrays.items():
        if values.ndim != 1:
            raise ValueError(
                f"{name} has shape {values.shape}, not (n,): pass one number an image, e.g. "
                f"{name}.ravel()"
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"{name} holds {len(bad)} values that are not finite, the first in row {bad[0]}: "
                "leave those rows out of every array, or mend what made them"
            )
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"lengths differ, {lengths}: pass one value an image in each, in the same order"
        )
    return list(arrays.values())


def groups(content, n: int) -> tuple[np.ndarray, list]:
    """Group number of each of the n rows, (n,) in 0..len(names)-1, and the sorted names; without
    content a group a row.

    Errors: ValueError for a missing content or a length other than n.
    """
    codes, names = pd.factorize(np.arange(n) if content is None else np.asarray(content), sort=True)
    if len(codes) != n or (codes < 0).any():
        raise ValueError(
            f"content has {len(codes)} values, {(codes < 0).sum()} of them missing, for {n} rows: "
            "pass one content a row, or content=None to treat every image as its own"
        )
    return codes, names.tolist()


def unit_name(units: int, n: int) -> str:
    """What `units` contents of n rows are called where they are resampled or exchanged: "content"
    where some hold several images, "image" where each is one."""
    return "content" if units < n else "image"


def own_contents(table: pd.DataFrame) -> pd.Series | None:
    """The column content where images share contents, three or more a content on average, so that
    order within contents can be judged; else None: tables without that column, or of photographs
    each of which is a content."""
    content = table.get("content")
    few = content is None or content.isna().any() or 3 * content.nunique() > len(table)
    return None if few else content


# ---- ranks and correlations, made to be called on thousands of resamples


def codes(values) -> np.ndarray:
    """Position of each value among the sorted distinct ones, integers (n,): sorts once, `midranks`
    then never again.
    """
    return np.unique(values, return_inverse=True)[1]


def midranks(codes: np.ndarray) -> np.ndarray:
    """Ranks 1..n of the values behind `codes` or behind any resample of it, ties averaged, in
    O(n).
    """
    counts = np.bincount(codes)
    return (np.cumsum(counts) - (counts - 1) / 2)[codes]


def plcc(predicted: np.ndarray, label: np.ndarray) -> float:
    """Pearson's linear correlation in [-1, 1]; NaN when either is constant."""
    # A constant becomes exactly 0 so, whatever the rounding of its mean.
    x, y = predicted - predicted[0], label - label[0]
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 0 else np.nan


def srcc(predicted: np.ndarray, label: np.ndarray) -> float:
    """Spearman's rank correlation in [-1, 1], ties averaged; NaN when either is constant."""
    return plcc(midranks(codes(predicted)), midranks(codes(label)))


def rank_correlations(*ranked: np.ndarray) -> np.ndarray:
    """SRCC of every array but the last with the last, from `codes` or a resample of them; NaN as
    `plcc`.
    """
    centre = (len(ranked[-1]) + 1) / 2  # the mean of ranks, exactly 0 away from all of a constant
    *predicted, label = (midranks(values) - centre for values in ranked)
    found = []
    for values in predicted:
        scale = np.sqrt((values @ values) * (label @ label))
        found.append(values @ label / scale if scale > 0 else np.nan)
    return np.clip(found, -1, 1)


# ---- intervals


def affordable(draws: int, n: int) -> int:
    """Bootstrap draws for n rows: `draws` up to 50,000 rows, then fewer in proportion, at least
    200.
    """
    return draws if n <= FEW_ROWS else min(draws, max(200, draws * FEW_ROWS // n))


def bootstrap(
    statistic: Callable, *arrays, group=None, draws: int = 2000, seed: int = 0
) -> np.ndarray:
    """`statistic(*arrays)` on `draws` resamples: (draws,) or, for a statistic of m numbers, (draws,
    m).

    arrays   (n,) each: rows are drawn with replacement, the same rows of every array
    group    (n,), optional: whole groups are drawn then, as many as there are, each with all its
             rows

    Fewer than two groups (or rows): NaN and a RuntimeWarning.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap; by group: Davison and
    Hinkley 1997, section 3.8.
    """
    arrays = [np.asarray(values) for values in arrays]
    number = groups(group, len(arrays[0]))[0]
    rows = np.argsort(number, kind="stable")
    sizes = np.bincount(number)
    if len(sizes) < 2:
        warnings.warn(
            f"{len(sizes)} content or image to resample: no interval", RuntimeWarning, stacklevel=2
        )
        return np.full((draws, *np.shape(statistic(*arrays))), np.nan)
    starts = np.cumsum(sizes) - sizes
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(draws):
        picked = generator.integers(len(sizes), size=len(sizes))
        size = sizes[picked]
        # The rows of the groups that were picked, one group after the other.
        first = starts[picked] - np.cumsum(size) + size
        drawn = rows[np.repeat(first, size) + np.arange(size.sum())]
        samples.append(statistic(*(values[drawn] for values in arrays)))
    return np.array(samples, dtype=float)


def percentile_interval(samples) -> tuple[float, float]:
    """95 % percentile interval (low, high) of bootstrap samples (draws,); resamples without a value
    (NaN) are left out.
    """
    samples = np.asarray(samples, dtype=float)
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return np.nan, np.nan
    return tuple(np.quantile(samples, [0.025, 0.975]).tolist())


def t_interval(values) -> tuple[float, float]:
    """95 % Student interval (low, high) for the mean of `values`, e.g. one per content; NaN for
    fewer than two.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def resampled_interval(values, *, train: int, test: int) -> tuple[float, float]:
    """95 % Student interval (low, high) for the mean of `values`, one a random split of the same
    images; NaN below two splits.

    Such splits share images, so their figures are less alone than k values look: the variance of
    the mean is taken as (1 / k + test / train) times theirs, where `test` images are tested a split
    and `train` others learnt from or chosen by.

    Source: Nadeau and Bengio 2003, Machine Learning 52, 239, DOI 10.1023/A:1024068626366.
    """
    values = np.asarray(values, dtype=float)
    low, high = t_interval(values)
    wider = np.sqrt(1 + len(values) * test / train)
    half = wider * (high - low) / 2
    return float(values.mean() - half), float(values.mean() + half)


def correlation_interval(value: float, error: float, units: int) -> tuple[float, float]:
    """95 % interval (low, high) for a correlation from `units` independent contents or images.

    Student's t with units - 1 degrees of freedom on Fisher's z scale, where correlations are nearly
    symmetric; it cannot leave [-1, 1]. `error` is the standard error of z = atanh(correlation):
    `standard_error(..., fisher=True)`, or that of the correlation over 1 - value^2. NaN for fewer
    than two units, an error that is 0 or not finite, and value +-1, up to rounding: where nothing
    differs between units, nothing tells how much others would. What it covers beside plainer ones:
    docs/statistics.md.

    Source: Fisher 1921, Metron 1(4), 3.
    """
    if units < 2 or not np.isfinite([value, error]).all():
        return np.nan, np.nan
    if error < ROUNDING or abs(value) > 1 - ROUNDING:
        return np.nan, np.nan
    centre, half = np.arctanh(value), stdtrit(units - 1, 0.975) * error
    return float(np.tanh(centre - half)), float(np.tanh(centre + half))


def standard_error(
    statistic: Callable,
    *arrays,
    content=None,
    draws: int = 2000,
    seed: int = 0,
    fisher: bool = False,
) -> tuple:
    """Standard error of `statistic(*arrays)` by `bootstrap`, the number of contents (or images)
    drawn from, and of draws.

    The standard deviation over draws times sqrt(units / (units - 1)), which resamples of few units
    lack; one error for each number of the statistic; `fisher`: of their atanh. Resamples without a
    value (NaN) are left out; fewer than two units: NaN and a RuntimeWarning."""
    n = len(arrays[0])
    units = len(groups(content, n)[1])
    draws = affordable(draws, n)
    samples = bootstrap(statistic, *arrays, group=content, draws=draws, seed=seed)
    if fisher:
        samples = np.arctanh(np.clip(samples, -1 + 1e-12, 1 - 1e-12))
    known = np.isfinite(samples)
    if not known.any():
        return np.full(samples.shape[1:], np.nan)[()], units, draws
    return np.std(samples, axis=0, where=known) * np.sqrt(units / (units - 1)), units, draws


def over_contents(statistic: Callable, *arrays: np.ndarray, content, least: int = 3) -> dict:
    """`statistic`, a correlation, within each content, averaged over contents.

    arrays, content   (n,) each; contents of fewer than `least` rows are left out

    Returns a dict of value (the mean), interval (95 %, Student's t over contents on Fisher's z
    scale), n and contents (rows and contents behind them), left_out (contents of fewer than `least`
    rows) and values {content: statistic}, in which a content whose statistic is undefined stands as
    NaN: it is outside the mean, and a RuntimeWarning counts such contents.
    """
    number, names = groups(content, len(arrays[0]))
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    members = {name: rows for name, rows in zip(names, members, strict=True) if len(rows) >= least}
    values = {
        name: float(statistic(*(array[rows] for array in arrays))) for name, rows in members.items()
    }
    finite = [name for name in values if np.isfinite(values[name])]
    if not finite or len(finite) < len(values):
        warnings.warn(
            f"{len(values) - len(finite)} of {len(values)} contents with at least {least} rows "
            "have no value (constant, or explained without rest): the mean is over the others",
            RuntimeWarning,
            stacklevel=3,
        )
    used = np.array([values[name] for name in finite])
    value = float(used.mean()) if len(used) else np.nan
    error = np.nan
    if len(used) > 1:
        error = used.std(ddof=1) / np.sqrt(len(used)) / max(1 - value**2, 1e-300)
    return {
        "value": value,
        "interval": correlation_interval(value, error, len(used)),
        "n": sum(len(members[name]) for name in finite),
        "contents": len(used),
        "left_out": len(names) - len(values),
        "values": values,
    }
