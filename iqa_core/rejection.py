"""Error-versus-reject curves: what a vision model gets right of the images that a quality score
keeps (Grother and Tabassi 2007, 10.1109/TPAMI.2007.1019; the "filtering curves" of arXiv
2508.19850).

Nearly every measure beats rejecting at random, and over all images so does one that merely knows
which photographs are difficult. So the area is read between random and oracle, and there is a curve
within contents, which rejects the same share of each.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .detections import Matches, average_precision, image_precisions
from .stats import bootstrap, groups, percentile_interval, unit_name, vectors

SHARES = np.linspace(0, 0.7, 15)  # of the images that are rejected
SHUFFLES = 10  # orders of images of equal score, where performance is no mean
ROUNDING = 1e-12  # below this the oracle gains nothing
DRAWS = 2000  # of contents, for an interval
DRAWS_OF_PRECISION = 200  # where every draw is an average precision anew


def kept_means(
    quality: np.ndarray, right: np.ndarray, shares: Sequence[float] = SHARES
) -> np.ndarray:
    """The mean of `right` over the images that are left when the share of lowest quality is gone.

    quality, right   (n,): higher is better; 1 where the model is right, 0 where not, or between
    shares           of the images that are rejected, each in [0, 1)

    Images of equal quality stand for each other: each has the mean of them all, which is what
    rejecting some of them at random comes to. At least one image is kept.
    """
    order = np.argsort(-quality, kind="stable")
    _, place, count = np.unique(-quality, return_inverse=True, return_counts=True)
    typical = (np.bincount(place, right) / count)[place]
    sums = np.cumsum(typical[order])
    kept = number_kept(len(quality), shares)
    return sums[kept - 1] / kept


def number_kept(n: int, shares: Sequence[float]) -> np.ndarray:
    """How many of n images are left when these shares of them are rejected, one at least."""
    return np.maximum(np.rint(n * (1 - np.asarray(shares))).astype(int), 1)


def curve(
    quality,
    right,
    *,
    content=None,
    shares: Sequence[float] = SHARES,
    threshold: float = 0.75,
) -> pd.DataFrame:
    """One row a share: what is rejected, and how good the model is on the rest.

    quality     (n,), higher is better
    right       (n,) values of which the mean is the performance; or `detections.Matches` of the
                same n images, whose average precision at `threshold` is computed anew from the
                objects of the images that are kept, never as a mean over images
    content     (n,), optional: the same share of each content is rejected then, so that difficult
                photographs stay
    threshold   of the overlap of boxes or masks

    Returns columns rejected (share), n (images kept), quality (the least that is kept; NaN within
    contents, where each has its own), performance, and with Matches objects (true ones that are
    left). ValueError for lengths that differ and for values that are not numbers.
    """
    (quality,) = vectors(quality=quality)
    members = _members(content, len(quality))
    kept = sum(number_kept(len(some), shares) for some in members)
    data = pd.DataFrame({"rejected": np.asarray(shares, float), "n": kept, "quality": np.nan})
    if content is None:
        data["quality"] = np.sort(quality)[::-1][kept - 1]
    if isinstance(right, Matches):
        if right.images != len(quality):
            raise ValueError(f"{len(quality)} scores, but matches of {right.images} images")
        found = _precisions(quality, right, members, shares, threshold)
        data["performance"], data["objects"] = found
        return data
    quality, right = vectors(quality=quality, right=right)
    data["performance"] = _means(quality, right, members, shares)
    return data


def _members(content, n):
    """The rows of each content, or of all together."""
    if content is None:
        return [np.arange(n)]
    number, _ = groups(content, n)
    return np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])


def _means(quality, right, members, shares):
    """The performance (shares,) where it is a mean, the same share of each part rejected."""
    sums = 0.0
    total = 0
    for some in members:
        kept = number_kept(len(some), shares)
        sums = sums + kept * kept_means(quality[some], right[some], shares)
        total = total + kept
    return sums / total


def _precisions(quality, matches, members, shares, threshold, shuffles=SHUFFLES):
    """The performance (shares,) where it is an average precision, and the objects behind it."""
    # Equal scores have no order of their own: several at random, and their mean.
    generator = np.random.default_rng(0)
    shuffles = shuffles if len(np.unique(quality)) < len(quality) else 1
    values, objects = np.zeros((2, shuffles, len(shares)))
    for shuffle in range(shuffles):
        mixed = [generator.permutation(some) for some in members]
        ordered = [some[np.argsort(-quality[some], kind="stable")] for some in mixed]
        for column, share in enumerate(shares):
            kept = [some[: number_kept(len(some), [share])[0]] for some in ordered]
            images = np.concatenate(kept)
            values[shuffle, column] = average_precision(matches, images=images, threshold=threshold)
            objects[shuffle, column] = matches.count(images)
    return values.mean(axis=0), objects.mean(axis=0)


def oracle(right, *, threshold: float = 0.75) -> np.ndarray:
    """The score (n,) that knows the answer: `right` itself, which nothing can exceed; or each
    image's own average precision at `threshold`, where nothing is there the lowest. Since the
    precision of many images is no mean over them, that is a good order and not always the best one.
    """
    if isinstance(right, Matches):
        return np.nan_to_num(image_precisions(right, threshold=threshold), nan=-1.0)
    return np.asarray(right, float)


def area(
    quality,
    right,
    *,
    content=None,
    within: bool = False,
    shares: Sequence[float] = SHARES,
    threshold: float = 0.75,
    seed: int = 0,
) -> dict:
    """How much of the way from random (0) to oracle (1) the curve's area goes; below 0 it rejects
    the better images first. Of a detector, whose oracle is a good order only, it can pass 1.

    content   (n,), optional: contents are resampled for the interval, else images
    within    the curve within contents (`curve`), not over all images

    Returns a dict of value, interval (95 %, percentiles of a bootstrap by `unit`), n, unit, units
    and draws. NaN with a RuntimeWarning where the oracle is no better than random; ValueError for
    `within` without content, and as `curve`.
    """
    (quality,) = vectors(quality=quality)
    if within and content is None:
        raise ValueError("a curve within contents needs `content`")
    best = oracle(right, threshold=threshold)
    scores = (quality, best, np.zeros(len(quality)))  # the last: rejected at random
    number, names = groups(content, len(quality))
    precise = isinstance(right, Matches)

    def of_rows(some, shuffles=1):
        """The area on rows, drawn with all of their content."""
        members = _members(number[some] if within else None, len(some))
        if precise:
            given = (right.take(some), members, shares, threshold, shuffles)
            lines = [_precisions(score[some], *given)[0] for score in scores]
        else:
            lines = [_means(score[some], best[some], members, shares) for score in scores]
        return _normalised(*lines, shares)

    if within and not precise:
        value, samples = _within_means(scores, best, number, shares, seed)
    else:
        rows = np.arange(len(quality))
        value = of_rows(rows, SHUFFLES)
        draws = DRAWS_OF_PRECISION if precise else DRAWS
        samples = bootstrap(of_rows, rows, group=content, draws=draws, seed=seed)
    if np.isnan(value):
        warnings.warn(
            "no area: all images are equally right, so that even the oracle gains nothing",
            RuntimeWarning,
            stacklevel=2,
        )
    result = {"value": float(value), "interval": percentile_interval(samples), "n": len(quality)}
    unit = unit_name(len(names), len(quality))
    return result | {"unit": unit, "units": len(names), "draws": len(samples)}


def _normalised(found, top, base, shares):
    """The area of a line between random and oracle, as a share of what is possible."""
    gained, possible = (np.trapezoid(line - base, shares) for line in (found, top))
    return gained / possible if possible > ROUNDING else np.nan


def _within_means(scores, right, number, shares, seed):
    """The area within contents and its resamples: each content's lines once, drawn again and
    again.
    """
    members = _members(number, len(number))
    kept = np.array([number_kept(len(some), shares) for some in members])
    lines = [
        kept * np.array([kept_means(score[some], right[some], shares) for some in members])
        for score in scores
    ]

    def of_contents(some):
        total = kept[some].sum(axis=0)
        return _normalised(*(line[some].sum(axis=0) / total for line in lines), shares)

    contents = np.arange(len(members))
    return of_contents(contents), bootstrap(of_contents, contents, draws=DRAWS, seed=seed)
