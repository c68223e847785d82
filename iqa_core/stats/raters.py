"""How noisy the labels are: which pairs of images their raters tell apart, and what correlation the
noise leaves possible.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from .intervals import correlation_interval, groups, srcc, unit_name, vectors

# |z| with a normal distribution function of .95, the published threshold: 10 % two-sided
SIGNIFICANT = 1.6449
BINS = 2**16  # of |difference of predictions|: AUCs are exact to about 1e-8
BLOCK = 2**18  # pairs held at a time: 60 MB, whatever n


def significant_pairs(predicted, label, *, label_std, votes, content=None) -> dict:
    """How well predictions (n,) tell pairs of images apart that the raters tell apart, over all n
    (n - 1) / 2 pairs.

    A pair is different if |difference of labels| >= 1.645 sqrt(std1^2 / votes1 + std2^2 / votes2) >
    0, else similar. Pairs that share an image are not independent; the published tests of these
    figures take them to be. Time in O(n^2): see docs/statistics.md.

    label_std   standard deviation of an image's votes, in label units (KonIQ-10k prints MOS on
                0-100 and SD on 1-5!)
    votes       number of votes an image, (n,) or one number
    content     (n,), optional: what each image shows

    Returns a dict of
    auc_different       do |differences of predictions| separate different from similar pairs?
    auc_better          do signed ones order the different pairs?
    correct             share of different pairs that are ordered as the labels order them; equal
                        predictions are wrong. All three in [0, 1].
    intervals           of the three, 95 %, from the influence of each image, or of each content, on
                        the figure (infinitesimal jackknife), Student's t on Fisher's z scale of
                        2 x - 1
    pairs, different    counts
    n, unit             rows; "content" or "image"
    No different or no similar pair: NaN for what needs them, a RuntimeWarning.

    Errors: ValueError as `vectors` and `groups`, for negative label_std and for votes below 1.

    Source: Krasula, Fliegel, Le Callet and Klima 2016, DOI 10.1109/QoMEX.2016.7498936; threshold,
    ITU-T J.149; intervals, Efron 1982, DOI 10.1137/1.9781611970319, chapter 6.
    """
    x, y, noise = _standard_error(label, label_std, votes, predicted=predicted)
    number = groups(content, len(x))[0]
    # Histograms of |code| over similar pairs, and of the code towards the better over different.
    similar = np.zeros(BINS + 1)
    better = np.zeros(2 * BINS + 1)
    for _, _, code, apart, pair in _blocks(x, y, noise):
        similar += np.bincount(np.abs(code[pair & ~apart]), minlength=BINS + 1)
        better += np.bincount(code[apart] + BINS, minlength=2 * BINS + 1)
    counts = similar.sum(), better.sum()
    if min(counts) == 0:
        warnings.warn(
            f"{counts[1]:.0f} pairs of images differ significantly and {counts[0]:.0f} do not: "
            "what needs both kinds is NaN",
            RuntimeWarning,
            stacklevel=2,
        )
    with np.errstate(invalid="ignore"):
        points, of_different, of_similar = _areas(similar, better)

    # What each image adds to each figure, over the pairs that it stands in.
    influence = np.zeros((3, len(x)))
    for rows, columns, code, apart, pair in _blocks(x, y, noise):
        of_pairs = np.where(apart, of_different[:, code + BINS], 0)
        of_pairs[0] += np.where(pair & ~apart, of_similar[np.abs(code)], 0)
        influence[:, rows] += of_pairs.sum(axis=2)
        influence[:, columns] += of_pairs.sum(axis=1)
    parts = np.array([np.bincount(number, row) for row in influence])
    units = parts.shape[1]
    errors = np.sqrt((parts**2).sum(axis=1) * units / max(units - 1, 1))
    errors_of_z = errors / np.maximum(2 * points * (1 - points), 1e-300)

    result, intervals = {}, {}
    names = "auc_different", "auc_better", "correct"
    for name, point, error in zip(names, points, errors_of_z, strict=True):
        result[name] = float(point)
        low, high = correlation_interval(2 * point - 1, error, units)
        intervals[name] = (1 + low) / 2, (1 + high) / 2
    result |= {"intervals": intervals, "pairs": int(sum(counts)), "different": int(counts[1])}
    return result | {"n": len(x), "unit": unit_name(units, len(x))}


def _standard_error(label, label_std, votes, **more) -> list[np.ndarray]:
    """The arrays of `more`, the labels and the standard error of each label, (n,) each, checked."""
    votes = np.broadcast_to(votes, np.shape(label)) if np.ndim(votes) == 0 else votes
    *arrays, std, votes = vectors(**more, label=label, label_std=label_std, votes=votes)
    if len(std) and (std.min() < 0 or votes.min() < 1):
        raise ValueError(
            f"label_std from {std.min():g} and votes from {votes.min():g}: they must be at least 0 "
            f"and at least 1"
        )
    return [*arrays, std / np.sqrt(votes)]


def _blocks(x, y, noise) -> Iterator[tuple]:
    """All pairs, by blocks: slices of rows and columns, code, apart (the raters tell them apart),
    pair (column after row).

    code: the difference of predictions d as a whole number, BINS d / (|d| + scale), rising towards
    the image with the better label: a rising map, so that the AUCs stay, which no outlier can
    squeeze."""
    n = len(x)
    centred = x - np.median(x)
    scale = np.median(np.abs(centred)) or np.abs(centred).mean() or 1.0
    size = max(1, BLOCK // max(n, 1))
    for start in range(0, n, size):
        rows, columns = slice(start, min(n, start + size)), slice(start, n)
        difference = x[rows, None] - x[columns]
        gap = y[rows, None] - y[columns]
        pair = np.arange(start, n) > np.arange(rows.start, rows.stop)[:, None]
        threshold = SIGNIFICANT * np.hypot(noise[rows, None], noise[columns])
        apart = pair & (np.abs(gap) >= threshold) & (gap != 0)
        code = np.rint(BINS * difference / (np.abs(difference) + scale)).astype(np.int32)
        code = code * np.where(gap < 0, -1, 1)
        yield rows, columns, code, apart, pair


def _areas(similar, better) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three figures, what a different pair of each code adds to them (3, 2 BINS + 1), and a
    similar one to the first.
    """

    def below(histogram):
        return (np.cumsum(histogram) - histogram / 2) / histogram.sum()

    different = better[BINS:] + better[BINS::-1]
    different[0] /= 2
    signed = np.arange(-BINS, BINS + 1)
    placed = np.array([below(similar)[np.abs(signed)], (1 - below(better))[::-1], signed > 0])
    points = placed @ better / better.sum()
    # Different pairs meet each other in the second figure: each counts there twice.
    times = np.array([[1], [2], [1]])
    of_different = times * (placed - points[:, None]) / better.sum()
    of_similar = (1 - below(different) - points[0]) / similar.sum()
    return points, of_different, of_similar


# ---- what the raters' noise leaves possible


def noise_ceiling(counts, *, draws: int = 100, seed: int = 0) -> dict:
    """How well the raters agree with themselves: SRCC of the mean votes of two random halves of
    each image's raters.

    counts   (n, k) whole numbers: votes for the grades 1..k, an image two or more (KonIQ-10k's
             file has shares: multiply by c_total and round)

    Returns a dict of
    split_half        mean over `draws` splits, votes drawn without replacement
    spearman_brown    2 r / (1 + r), the correlation to expect between these labels and those of as
                      many other raters
    ceiling           its square root, what the true quality itself would reach with these labels;
                      both hold for Pearson and are near for SRCC
    n, votes, draws   rows; votes of an image (median); splits

    Errors: ValueError for other shapes, shares instead of numbers, fewer than two votes.

    Source: Spearman 1910, DOI 10.1111/j.2044-8295.1910.tb00206.x, and Brown 1910, DOI
    10.1111/j.2044-8295.1910.tb00207.x.
    """
    counts = np.asarray(counts, dtype=float)
    whole = np.rint(counts).astype(int)
    are_votes = np.abs(counts - whole).max(initial=0) <= 1e-6 and whole.min(initial=0) >= 0
    if counts.ndim != 2 or not are_votes or (whole.sum(1) < 2).any():
        raise ValueError(
            f"counts has shape {counts.shape} and sums from "
            f"{counts.sum(-1).min(initial=np.inf):g}: pass votes (n, grades) as "
            "whole numbers, two or more an image (shares: multiply by the number of votes and "
            "round)"
        )
    generator = np.random.default_rng(seed)
    grades = np.arange(1, whole.shape[1] + 1)
    total, votes = whole @ grades, whole.sum(axis=1)

    def halves():
        """Mean votes of two halves of each image's raters, drawn grade by grade."""
        wanted, rest, drawn = votes // 2, votes, 0
        for grade, number in zip(grades, whole.T, strict=True):
            rest = rest - number
            taken = generator.hypergeometric(number, rest, wanted)
            wanted = wanted - taken
            drawn = drawn + grade * taken
        return drawn / (votes // 2), (total - drawn) / (votes - votes // 2)

    return _ceiling(halves, len(total), votes, draws)


def drawn_ceiling(label, *, label_std, votes, draws: int = 100, seed: int = 0) -> dict:
    """As `noise_ceiling`, from labels (n,), the standard deviation of an image's votes and their
    number alone.

    The two halves are drawn: label +- normal noise of label_std / sqrt(votes), as halves of the
    same votes lie opposite about their mean. label_std in label units.

    Errors: ValueError as `significant_pairs`.
    """
    y, noise = _standard_error(label, label_std, votes)
    generator = np.random.default_rng(seed)

    def halves():
        shift = noise * generator.normal(size=len(y))
        return y + shift, y - shift

    return _ceiling(halves, len(y), votes, draws)


def _ceiling(halves, n, votes, draws) -> dict:
    half = float(np.mean([srcc(*halves()) for _ in range(draws)]))
    whole = 2 * max(half, 0) / (1 + max(half, 0))
    result = {"split_half": half, "spearman_brown": whole, "ceiling": float(np.sqrt(whole))}
    return result | {"n": n, "votes": float(np.median(votes)), "draws": draws}
