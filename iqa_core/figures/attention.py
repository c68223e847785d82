"""What stage weights are on images, and where a model looks; the numbers come from
`iqa_core.attention`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from PIL import Image

from .. import tables
from ..pixels import read_image
from ..tables.cells import bracketed
from ..tables.images import STAGES
from .pictures import bare, show_image
from .predictions import content_colours
from .registry import figure

CELLS = 32  # along the longer side of a map that is drawn
RAISES, LOWERS = "#0072B2", "#D55E00"


@figure
def stage_bars(selected: pd.DataFrame, *, root: Path):
    """Test images chosen by their label alone, and the weights that the gate gives the four stages
    of each, from the finest to the coarsest (dotted: a quarter each). A weight scales what the
    hyper-network reads of a stage; it holds no place in the image, and is no share in the score.

    selected   columns image, quality, label, predicted, stage1 to stage4
    root       the folder that images are named from
    """
    size = 2.3 * len(selected), 3.7
    fig, grid = plt.subplots(2, len(selected), figsize=size, squeeze=False, height_ratios=(1, 0.9))
    for (above, below), row in zip(grid.T, selected.to_dict("records"), strict=True):
        text = f"{row['quality']}: label {row['label']:.3g}, predicted {row['predicted']:.3g}"
        show_image(above, root / row["image"], text)
        bare(above)
        weights = [row[stage] for stage in STAGES]
        below.bar(range(4), weights, color=["C0", "C1", "C2", "C3"])
        below.axhline(0.25, color="0.3", lw=0.8, ls=":")
        below.set(ylim=(0, 1), xticks=range(4))
        names = [f"stage {number}\n{weight:.3f}" for number, weight in enumerate(weights, 1)]
        below.set_xticklabels(names, fontsize=7)
    grid[1][0].set_ylabel("stage weight")
    return fig, selected[["image", "quality", "label", "predicted", *STAGES]]


@figure
def tint(selected: pd.DataFrame, *, root: Path):
    """The published overlay: each image under one even tint a stage, whose opacity is .8 times the
    stage weight. A scalar gate holds no spatial information, so the tint shows nothing that the
    number above it does not.

    selected   columns image, quality, stage1 to stage4
    root       the folder that images are named from
    """
    size = 7.4, 1.22 * len(selected)
    fig, grid = plt.subplots(len(selected), 5, figsize=size, squeeze=False)
    for line, row in zip(grid, selected.to_dict("records"), strict=True):
        for axes, stage in zip(line, ["", *STAGES], strict=True):
            show_image(axes, root / row["image"], "")
            (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
            if stage:
                colour = np.full((1, 1, 4), (1, 0, 0, 0.8 * row[stage]))
                axes.imshow(colour, extent=(left, right, bottom, top), aspect="auto")
                axes.set_title(f"stage {stage[-1]}: {row[stage]:.3f}", fontsize=7, pad=2)
            axes.set(xlim=(left, right), ylim=(bottom, top))
            bare(axes)
        line[0].set_title(row["quality"], fontsize=7, pad=2)
    return fig, selected[["image", "quality", *STAGES]]


@figure
def entropy_scatter(weights: pd.DataFrame, *, label_name: str = "label"):
    """Entropy of the four stage weights, in bits, against the label of each test image, on the
    whole scale (2 bits, dotted: all weights equal; 0: one stage has everything) and closer. Colours
    are the contents, or black where images share none. SRCC over all images has an interval by
    content, or by image, its mean within contents one over contents; it says that the two go
    together, not that the gate sees quality.

    weights   columns label, entropy and, optionally, content
    """
    contents, palette = content_colours(weights)
    fig, (whole, closer) = plt.subplots(1, 2, figsize=(7, 2.9))
    for number, (_, rows) in enumerate(weights.groupby(contents.values)):
        colour = palette[number % len(palette)]
        for axes in (whole, closer):
            axes.plot(rows.label, rows.entropy, ".", ms=3.5, alpha=0.7, color=colour)
    whole.axhline(2, color="0.3", lw=0.8, ls=":")
    whole.set(ylabel="entropy of the stage weights, bits", ylim=(-0.05, 2.1))
    for axes in (whole, closer):
        axes.set_xlabel(label_name)
    agreement = tables.entropy_agreement(weights)
    pooled = bracketed(agreement["srcc"], agreement["interval"], digits=2)
    whole.set_title(f"n = {len(weights)}, SRCC {pooled}", loc="left")
    title = "the same, closer"
    if (within := agreement["within"]) is not None:
        title = f"SRCC within contents {bracketed(within['srcc'], within['interval'], digits=2)}"
    closer.set_title(title, loc="left")
    columns = {"label": weights.label, "entropy": weights.entropy, "content": contents}
    return fig, pd.DataFrame(columns)


@figure
def weights_by(weights: pd.DataFrame, by: str):
    """Mean stage weights of the test images of each group, and their mean entropy in bits; lines
    are 95 % Student intervals over the means of contents, or over images where a set has no
    contents. Dotted: a quarter each, and the 2 bits of that.

    weights, by   as `tables.mean_stage_weights` takes them
    """
    data = tables.mean_stage_weights(weights, by)
    names = list(data[by].unique())
    size = 5 + 0.07 * max(map(len, names)), 1.1 + 0.3 * len(names)
    fig, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=[2.4, 1])
    places = np.arange(len(names))
    for number, stage in enumerate(STAGES):
        place = places + (number - 1.5) * 0.16  # four points one below the other
        _means(left, data[data.stage == stage], place, f"C{number}", f"stage {number + 1}")
    _means(right, data[data.stage == "entropy"], places, "black", "entropy")
    left.axvline(0.25, color="0.3", lw=0.8, ls=":")
    right.axvline(2, color="0.3", lw=0.8, ls=":")
    right.set_xlabel("entropy, bits")
    shown = [name.replace("_", " ") for name in names] if by == "distortion" else names
    left.set_yticks(places, shown)
    left.set(xlabel="mean stage weight, 95 % interval", ylim=(len(names) - 0.5, -0.5))
    left.legend(
        ncol=4, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1, handletextpad=0.2
    )
    return fig, data


def _means(axes, rows, place, colour, name):
    ends = [rows["mean"] - rows.low, rows.high - rows["mean"]]
    axes.errorbar(
        rows["mean"], place, xerr=ends, fmt="o", ms=3.5, elinewidth=0.9, color=colour, label=name
    )


@figure
def gradient_maps(selected: pd.DataFrame, maps: list[np.ndarray], *, root: Path):
    """Gradient times activation of each stage's feature map (HiResCAM, Draelos and Carin 2020,
    signed), stages held apart: blue raises the predicted label, orange lowers it, each against an
    absent activation, to first order; the deeper the colour the more, on one scale a row. Above
    each map the stage's weight and its part of all colour in the row: the two need not go together.
    The image is judged in crops, whose seams show.

    selected   columns image, quality, label, predicted, stage1 to stage4
    maps       (4, h, w) of each, of `attention.gradient_maps`
    root       the folder that images are named from
    """
    cells = [_in_cells(values) for values in maps]
    titles, drawn = [], []
    for row, values in zip(selected.to_dict("records"), cells, strict=True):
        strength = np.abs(values)
        parts = strength.sum((1, 2)) / strength.sum()
        titles.append(
            [
                f"weight {row[stage]:.2f}, colour {part:.0%}"
                for stage, part in zip(STAGES, parts, strict=True)
            ]
        )
        drawn.append(values / max(np.quantile(strength, 0.99), 1e-30))
    legend = "blue raises the predicted label, orange lowers it"
    return _maps(selected, cells, drawn, titles, legend, root=root)


@figure
def window_attention(selected: pd.DataFrame, maps: list[np.ndarray], *, root: Path):
    """Attention received within the windows of the last block of each Swin stage, mean of heads and
    queries: blue more than an even share, orange less, by its logarithm, full colour at eight
    shares and at an eighth. Every window averages one share whatever the image holds, so only
    differences within a window (7 x 7 tokens; a 224 crop has 64, 16, 4 and 1 of them) mean
    anything. Drawn are means over cells, 32 along the longer side, and over crops that overlap;
    above each map the range before cells are made. It tells what the backbone mixes, not what the
    score depends on.

    selected   columns image, quality, label, predicted
    maps       (4, h, w) of each, of `attention.window_attention`
    root       the folder that images are named from
    """
    cells = [_in_cells(values) for values in maps]
    titles = [
        [f"{stage.min():.2f} to {stage.max():.2f} shares" for stage in values] for values in maps
    ]
    drawn = [np.log2(np.maximum(values, 1 / 8)) / 3 for values in cells]
    legend = (
        "attention received: blue more than an even share, orange less; compare within windows "
        "(28 to 224 pixels) only"
    )
    return _maps(selected, cells, drawn, titles, legend, root=root)


def _in_cells(values):
    """(4, h, w) -> means over cells, 32 along the longer side."""
    sides = np.array(values.shape[1:])
    height, width = np.maximum(1, (CELLS * sides / sides.max()).round()).astype(int)
    stages = []
    for value in values:
        image = Image.fromarray(value.astype(np.float32))
        stages.append(np.asarray(image.resize((width, height), Image.Resampling.BOX)))
    return np.stack(stages)


def _maps(selected, cells, drawn, titles, legend, *, root):
    """An image a row, and its four maps over it in grey.

    cells    (4, rows, columns) of each image: what the CSV holds
    drawn    the same brought to -1 (orange) to 1 (blue)
    titles   four texts of each image, above its maps
    """
    size = 7.4, 1.3 * len(selected) + 0.4
    fig, grid = plt.subplots(len(selected), 5, figsize=size, squeeze=False)
    data = []
    for place, row in enumerate(selected.to_dict("records")):
        picture, *axes_of_stages = grid[place]
        show_image(picture, root / row["image"], "")
        picture.set_title(row["quality"].replace("_", " "), fontsize=7, pad=2)
        text = f"label {row['label']:.3g}, predicted {row['predicted']:.3g}"
        picture.set_xlabel(text, fontsize=7, labelpad=1)
        grey = Image.fromarray(read_image(root / row["image"])).convert("L")
        grey.thumbnail((400, 400))
        for stage, axes in enumerate(axes_of_stages):
            _coloured(axes, grey, drawn[place][stage])
            name = f"stage {stage + 1}\n" if place == 0 else ""
            axes.set_title(name + titles[place][stage], fontsize=7, pad=2)
            data.append(_cell_rows(row["image"], stage + 1, cells[place][stage]))
        for axes in grid[place]:
            bare(axes)
    fig.supxlabel(legend, fontsize=7)
    return fig, pd.concat(data)


def _coloured(axes, grey, signed):
    """A map of -1 to 1 over a grey picture: blue above 0, orange below, the deeper the more."""
    extent = 0, grey.width, grey.height, 0
    axes.imshow(grey, cmap="gray", vmin=-150, vmax=300, extent=extent)
    colour = np.where(signed[..., None] > 0, to_rgb(RAISES), to_rgb(LOWERS))
    strength = np.clip(np.abs(signed), 0, 1)[..., None]
    axes.imshow(np.dstack([colour, 0.9 * strength]), extent=extent, interpolation="nearest")


def _cell_rows(image, stage, values):
    rows, columns = np.indices(values.shape).reshape(2, -1)
    cells = {"row": rows, "column": columns, "value": values.ravel()}
    return pd.DataFrame({"image": image, "stage": stage, **cells})
