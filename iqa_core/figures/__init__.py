"""Figures and tables from files alone: one function each, the docstring is the caption, the CSV
holds the plotted numbers.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from ..tables.ablations import (
    ablations,
    on_left_out,
    readable_ablations,
    seed_differences,
    shuffle_loss,
    transfers,
)
from ..tables.results import (
    differences,
    has_blind_rule,
    headline,
    over_splits,
    readable,
    results,
    results_caption,
    results_tex,
    verdicts,
)
from .attention import (
    entropy_scatter,
    gradient_maps,
    stage_bars,
    tint,
    weights_by,
    window_attention,
)
from .curves import training_curves
from .data import (
    by_label,
    distortion_levels,
    image_sizes,
    label_histogram,
    label_name,
    leaking_pairs,
)
from .predictions import content_blind_column, distortion_bars, examples, image_grid, scatter
from .sheets import distortion_sheet
from .variants import transfer_matrix, variant_points

__all__ = [
    "ablations", "by_label", "caption", "content_blind_column", "differences", "distortion_bars", "distortion_levels",
    "distortion_sheet", "entropy_scatter", "examples", "export", "export_table", "gradient_maps", "has_blind_rule", "headline",
    "image_grid", "image_sizes", "label_histogram", "label_name", "leaking_pairs", "on_left_out", "over_splits", "readable",
    "readable_ablations", "results", "results_caption", "results_tex", "scatter", "seed_differences", "shuffle_loss",
    "stage_bars", "style", "tint", "training_curves", "transfer_matrix", "transfers", "variant_points", "verdicts",
    "weights_by", "window_attention",
]  # fmt: skip


def style() -> None:
    """Use the paper style for every figure drawn from here on."""
    plt.style.use(Path(__file__).with_name("paper.mplstyle"))


def export(drawing: Callable, *args, folder: Path, name: str = "", **kwargs):
    """Draw `drawing(*args, **kwargs) -> (figure, data)` and write <folder>/<name>.pdf .png .svg
    .csv and .tex (with caption).

    `name` defaults to the function's. Returns the figure.
    """
    name = name or drawing.__name__
    folder.mkdir(parents=True, exist_ok=True)
    figure, data = drawing(*args, **kwargs)
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {}), ("svg", {"Date": None})):
        figure.savefig(folder / f"{name}.{suffix}", metadata=metadata)
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / f"{name}.tex").write_text(_tex(name, drawing), encoding="utf-8")
    return figure


def export_table(data: pd.DataFrame, tex: str, *, folder: Path, name: str) -> pd.DataFrame:
    """Write a table as <folder>/<name>.csv and .tex; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / f"{name}.tex").write_text(tex, encoding="utf-8")
    return data


def caption(drawing: Callable) -> str:
    """A figure's caption: the first paragraph of its docstring, on one line."""
    return " ".join(inspect.getdoc(drawing).split("\n\n")[0].split())


def _tex(name, drawing):
    text = caption(drawing).replace("%", r"\%").replace("_", r"\_")
    return (
        f"\\begin{{figure}}\n  \\centering\n  \\includegraphics[width=\\linewidth]{{{name}.pdf}}\n"
        f"  \\caption{{{text}}}\n  \\label{{fig:{name}}}\n\\end{{figure}}\n"
    )
