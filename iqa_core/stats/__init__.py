"""How sure a figure is, whether two differ, how noisy the labels are, and what is earned without
looking at the picture.

`intervals`: ranks, resampling, intervals; `comparison`: paired tests, Holm, seeds, power; `raters`:
significant pairs and the noise ceiling; `blind`: the content-blind baseline. Which is for what, and
what they cover: docs/statistics.md."""
# ruff: noqa: F401 - what is imported here is what the package offers

from .blind import boosted_blind, content_blind
from .comparison import compare, compare_seeds, holm, power, steiger
from .intervals import (
    bootstrap,
    codes,
    correlation_interval,
    midranks,
    over_contents,
    own_contents,
    partial_srcc,
    percentile_interval,
    plcc,
    rank_correlations,
    resampled_interval,
    srcc,
    standard_error,
    t_interval,
    vectors,
)
from .raters import drawn_ceiling, noise_ceiling, significant_pairs
