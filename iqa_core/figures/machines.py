"""Quality for machines: error-versus-reject curves, and where machine labels and others part."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .pictures import bare, show_image
from .registry import figure

MEASURES = ("psnr", "ssim", "vsi", "lpips", "dists", "mdsi", "haarpsi")
RULES = {  # lines that are no prediction
    "random": dict(color="0.6", ls=":", lw=1),
    "oracle": dict(color="0.35", ls="--", lw=1),
    "content-blind": dict(color="0.6", ls="-", lw=1.2),
}


@figure
def reject_curves(data: pd.DataFrame):
    """What each vision model (column) gets right of the images that are kept, when those of lowest
    score are rejected: on top of all images, below the same share of each photograph, so that
    difficult photographs stay. Random: without a score; oracle: knowing the answers. The
    content-blind line is told the distortion and its level and sees no pixel. Each model has its
    own axis, which does not begin at 0.

    data   as `tables.reject_curves` gives it
    """
    machines, ways = (list(dict.fromkeys(data[name])) for name in ("machine", "way"))
    methods = [name for name in dict.fromkeys(data.method) if name not in RULES]
    colours = {name: f"C{place}" for place, name in enumerate(methods)}
    size = (0.9 + 2.1 * len(machines), 1.3 + 1.9 * len(ways))
    fig, grid = plt.subplots(
        len(ways), len(machines), figsize=size, sharex=True, sharey="col", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, way in enumerate(ways):
        for place, machine in enumerate(machines):
            axes = grid[line, place]
            part = data[(data.way == way) & (data.machine == machine)]
            for method, rows in part.groupby("method", sort=False):
                look = RULES.get(method, dict(color=colours.get(method), lw=1.4))
                axes.plot(rows.rejected, rows.performance, label=_shown(method), **look)
            if line == 0:
                axes.set_title(machine.replace(":", ":\n", 1), fontsize=8)
            if line == len(ways) - 1:
                axes.set_xlabel("share rejected")
        grid[line, 0].set_ylabel(f"{way}\nright on what is kept", fontsize=8)
    handles, names = grid[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", fontsize=7, ncols=3)
    return fig, data


def _shown(method):
    """PSNR for psnr; other names as they are."""
    return method.upper() if method in MEASURES else method


@figure
def filtering_curves(data: pd.DataFrame, method: str):
    """What vision models, one line each, get right of the images that are kept when a quality score
    rejects the worst: the "filtering curves" of the MIQA paper (arXiv 2508.19850).

    data     as `tables.reject_curves` gives it
    method   the score that rejects
    """
    data = data[(data.method == method) & (data.way == "over all images")]
    fig, axes = plt.subplots(figsize=(4.2, 3))
    ordered = data[data.rejected == 0].sort_values("performance").machine
    shades = plt.get_cmap("viridis")(np.linspace(0.75, 0.1, len(ordered)))
    for machine, colour in zip(ordered, shades, strict=True):
        rows = data[data.machine == machine]
        axes.plot(rows.rejected, rows.performance, "o-", ms=3, color=colour, label=machine)
    axes.set(xlabel="share of images rejected, worst first", ylabel="right on what is kept")
    axes.set_title(f"rejected by {method}", loc="left")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], fontsize=7)
    return fig, data


@figure
def labels_apart(table: pd.DataFrame, apart: pd.Series, *, root: Path, number: int = 5):
    """Pictures of which two labels think most differently, as ranks among the versions of one
    photograph (0 the worst, 1 the best): on top those that machines mind least for what the other
    label says of them, below those that they mind most.

    table    columns image, distortion, level
    apart    how much higher a row stands under the machines' label (`tables.apart`)
    """
    order = np.argsort(-apart.to_numpy(), kind="stable")
    lines = {"machines mind less": order[:number], "machines mind more": order[::-1][:number]}
    size = (1.5 * number, 3.6)
    fig, grid = plt.subplots(2, number, figsize=size, squeeze=False, layout="constrained")
    rows = []
    for axes_of_line, (title, some) in zip(grid, lines.items(), strict=True):
        for axes, place in zip(axes_of_line, some, strict=True):
            row = table.iloc[place]
            what = "as it is"
            if isinstance(row.distortion, str) and row.distortion:
                what = f"{row.distortion.replace('_', ' ')} {row.level:.2g}"
            if isinstance(row.get("distortion2"), str) and row.distortion2:
                what += f"\n+ {row.distortion2.replace('_', ' ')} {row.level2:.2g}"
            show_image(axes, root / row.image, f"{what}\n{apart.iloc[place]:+.2f}")
            bare(axes)
            rows.append({"image": row.image, "line": title, "apart": apart.iloc[place]})
        axes_of_line[0].set_ylabel(title, fontsize=8)
    return fig, pd.DataFrame(rows)
