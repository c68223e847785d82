"""How sure a figure is, whether two differ, how noisy the labels are, and what is earned without
looking at the picture.

`intervals`: ranks, resampling, intervals; `comparison`: paired tests, Holm, seeds, power; `raters`:
significant pairs and the noise ceiling; `blind`: the content-blind row and the content-specific
correlation. Which is for what, and what they cover: docs/statistics.md."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["blind", "comparison", "intervals", "raters"],
    submod_attrs={
        "blind": [
            "compare_specific",
            "content_blind",
            "content_specific",
            "is_crossed",
            "versions",
        ],
        "comparison": [
            "compare",
            "compare_seeds",
            "holm",
            "least_holm",
            "power",
            "steiger",
            "within_contents",
        ],
        "intervals": [
            "bootstrap",
            "codes",
            "correlation_interval",
            "groups",
            "midranks",
            "over_contents",
            "own_contents",
            "percentile_interval",
            "plcc",
            "rank_correlations",
            "resampled_interval",
            "srcc",
            "standard_error",
            "t_interval",
            "unit_name",
            "vectors",
        ],
        "raters": ["drawn_ceiling", "noise_ceiling", "significant_pairs"],
    },
)
