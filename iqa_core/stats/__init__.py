"""How sure a figure is, whether two differ, how noisy the labels are, and what is earned without looking at the picture.

`intervals`: ranks, resampling, intervals; `comparison`: paired tests, Holm, seeds, power; `raters`: significant pairs and the
noise ceiling; `blind`: the content-blind baseline. Which is for what, and what they cover: docs/statistics.md.
"""

from .blind import boosted_blind, content_blind
from .comparison import compare, compare_seeds, holm, power, steiger
from .intervals import (
    bootstrap,
    codes,
    correlation_interval,
    midranks,
    over_contents,
    partial_srcc,
    percentile_interval,
    plcc,
    srcc,
    standard_error,
    t_interval,
    vectors,
)
from .raters import drawn_ceiling, noise_ceiling, significant_pairs

__all__ = [
    "boosted_blind", "bootstrap", "codes", "compare", "compare_seeds", "content_blind", "correlation_interval", "drawn_ceiling",
    "holm", "midranks", "noise_ceiling", "over_contents", "partial_srcc", "percentile_interval", "plcc", "power",
    "significant_pairs", "srcc", "standard_error", "steiger", "t_interval", "vectors",
]  # fmt: skip
