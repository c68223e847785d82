"""The colour of a score, the same on pictures, sheets and videos."""

from collections.abc import Sequence

import numpy as np

# From bad to good. Orange and blue are told apart whatever the colour vision, and all are light
# enough for black text, and on a dark panel (contrast above 7).
SCALE = np.array([(245, 130, 48), (240, 228, 190), (86, 180, 240)])


def score_range(facts: dict, scores: Sequence[float]) -> tuple[float, float, str]:
    """The ends of the colours, and whose they are: the "scorer"'s, or, where it has none, those of
    what is "shown", the lowest and the highest of `scores`.
    """
    low, high = facts["low"], facts["high"]
    if low is not None and high is not None:
        return float(low), float(high), "scorer"
    low, high = float(min(scores)), float(max(scores))
    if low == high:
        margin = abs(low) / 2 or 0.5
        return low - margin, high + margin, "shown"
    return low, high, "shown"


def score_colour(score: float, low: float, high: float, *, higher_is_better: bool) -> tuple:
    """RGB of a score, 0 to 255: orange where it is bad, over a pale yellow, to blue where it is
    good.
    """
    ends = (0.0, 1.0) if higher_is_better else (1.0, 0.0)
    place = np.interp(score, (low, high), ends)
    return tuple(round(np.interp(place, (0, 0.5, 1), channel)) for channel in SCALE.T)
