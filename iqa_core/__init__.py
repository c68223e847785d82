"""The verbs of the IQA workbook. The recipes are in `notebooks/`, the experiments in `params/`, the
results in `data/runs/`.
"""

__version__ = "0.1.0"


def __getattr__(name: str):
    """`iqa_core.score`, which brings torch with it, when it is first asked for."""
    if name == "score":
        from .apps.scoring import score

        return score
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
