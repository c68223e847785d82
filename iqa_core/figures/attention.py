"""What stage weights are on images, and where a model looks; the numbers come from
`iqa_core.attention`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from ..metrics import per_content
from ..pixels import read_image
from ..stats import (
    codes,
    correlation_interval,
    own_contents,
    rank_correlations,
    standard_error,
    t_interval,
)
from .predictions import bare, show_image

STAGES = ["stage1", "stage2", "stage3", "stage4"]
CELLS = 32  # along the longer side of a map that is drawn
RAISES, LOWERS = "#0072B2", "#D55E00"


def stage_bars(selected: pd.DataFrame, *, root: Path):
    """Test images chosen by their label alone, and the weights that the gate gives the four stages
    of each, from the finest to the coarsest (dotted: a quarter each). A weight scales what the
    hyper-network reads of a stage; it holds no place in the image, and is no share in the score.
    The demo's photographs are credited in data/demo/CREDITS.md, and these pictures keep their
    licences.

    `selected`: columns image, quality, label, predicted, stage1 to stage4.
    """
    figure, axes = plt.subplots(
        2, len(selected), figsize=(2.3 * len(selected), 3.7), squeeze=False, height_ratios=(1, 0.9)
    )
    for (above, below), row in zip(axes.T, selected.to_dict("records"), strict=True):
        show_image(
            above,
            root / row["image"],
            f"{row['quality']}: label {row['label']:.3g}, predicted {row['predicted']:.3g}",
        )
        bare(above)
        weights = [row[stage] for stage in STAGES]
        below.bar(range(4), weights, color=[f"C{i}" for i in range(4)])
        below.axhline(0.25, color="0.3", lw=0.8, ls=":")
        below.set(ylim=(0, 1), xticks=range(4))
        below.set_xticklabels(
            [f"stage {i}\n{weight:.3f}" for i, weight in enumerate(weights, 1)], fontsize=7
        )
    axes[1][0].set_ylabel("stage weight")
    return figure, selected[["image", "quality", "label", "predicted", *STAGES]]


def tint(selected: pd.DataFrame, *, root: Path):
    """The published overlay: each image under one even tint a stage, whose opacity is .8 times the
    stage weight. A scalar gate holds no spatial information, so the tint shows nothing that the
    number above it does not. The demo's photographs are credited in data/demo/CREDITS.md, and these
    pictures keep their licences.

    `selected`: columns image, quality, stage1 to stage4.
    """
    figure, axes = plt.subplots(
        len(selected), 5, figsize=(7.4, 1.22 * len(selected)), squeeze=False
    )
    for line, row in zip(axes, selected.to_dict("records"), strict=True):
        for axis, stage in zip(line, ["", *STAGES], strict=True):
            show_image(axis, root / row["image"], "")
            (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
            if stage:
                colour = np.full((1, 1, 4), (1, 0, 0, 0.8 * row[stage]))
                axis.imshow(colour, extent=(left, right, bottom, top), aspect="auto")
                axis.set_title(f"stage {stage[-1]}: {row[stage]:.3f}", fontsize=7, pad=2)
            axis.set(xlim=(left, right), ylim=(bottom, top))
            bare(axis)
        line[0].set_title(row["quality"], fontsize=7, pad=2)
    return figure, selected[["image", "quality", *STAGES]]


def entropy_scatter(weights: pd.DataFrame, *, label_name: str = "label"):
    """Entropy of the four stage weights, in bits, against the label of each test image, on the
    whole scale (2 bits, dotted: all weights equal; 0: one stage has everything) and closer. Colours
    are the contents, or black where images share none. SRCC over all images has an interval by
    content, or by image, its mean within contents one over contents; it says that the two go
    together, not that the gate sees quality.

    `weights`: columns label, entropy and, optionally, content.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.9))
    contents = own_contents(weights)
    palette = ["black"] if contents is None else plt.get_cmap("tab20").colors
    drawn = pd.Series("", weights.index) if contents is None else contents
    for number, (_, rows) in enumerate(weights.groupby(drawn.values)):
        for axis in axes:
            axis.plot(
                rows.label,
                rows.entropy,
                ".",
                ms=3.5,
                alpha=0.7,
                color=palette[number % len(palette)],
            )
    axes[0].axhline(2, color="0.3", lw=0.8, ls=":")
    axes[0].set(ylabel="entropy of the stage weights, bits", ylim=(-0.05, 2.1))
    for axis in axes:
        axis.set_xlabel(label_name)
    ranked = codes(weights.entropy), codes(weights.label)
    (value,) = rank_correlations(*ranked)
    (error,), units, _ = standard_error(
        rank_correlations, *ranked, content=weights.get("content"), fisher=True
    )
    low, high = correlation_interval(value, error, units)
    axes[0].set_title(f"n = {len(weights)}, SRCC {value:.2f} [{low:.2f}, {high:.2f}]", loc="left")
    within = None if contents is None else per_content(weights.entropy, weights.label, contents)
    inside = within and "SRCC within contents {:.2f} [{:.2f}, {:.2f}]".format(
        within["srcc"], *within["interval"]
    )
    axes[1].set_title(inside or "the same, closer", loc="left")
    return figure, pd.DataFrame(
        {"label": weights.label, "entropy": weights.entropy, "content": drawn}
    )


def weights_by(weights: pd.DataFrame, by: str):
    """Mean stage weights of the test images of each group, and their mean entropy in bits; lines
    are 95 % Student intervals over the means of contents, or over images where a set has no
    contents. Dotted: a quarter each, and the 2 bits of that.

    `weights`: columns stage1 to stage4, entropy, `by` and, optionally, content. `by`: distortion,
    or run."""
    rows, contents = [], own_contents(weights)
    for name, group in weights.groupby(by, sort=by == "distortion"):
        drawn = [*STAGES, "entropy"]
        means = group[drawn] if contents is None else group.groupby("content")[drawn].mean()
        for stage in drawn:
            low, high = t_interval(means[stage])
            rows.append(
                {
                    by: name,
                    "n": len(group),
                    "stage": stage,
                    "mean": means[stage].mean(),
                    "low": low,
                    "high": high,
                }
            )
    data = pd.DataFrame(rows)
    names = list(data[by].unique())
    size = 5 + 0.07 * max(map(len, names)), 1.1 + 0.3 * len(names)
    figure, (axes, right) = plt.subplots(1, 2, figsize=size, sharey=True, width_ratios=[2.4, 1])
    for number, stage in enumerate([*STAGES, "entropy"]):
        part, of_stage = data[data.stage == stage], stage != "entropy"
        place = np.arange(len(names)) + (number - 1.5) * 0.16 * of_stage
        (axes if of_stage else right).errorbar(
            part["mean"], place, xerr=[part["mean"] - part.low, part.high - part["mean"]], fmt="o", ms=3.5, elinewidth=0.9,
            color=f"C{number}" if of_stage else "black", label=f"stage {number + 1}",
        )  # fmt: skip
    axes.axvline(0.25, color="0.3", lw=0.8, ls=":")
    right.axvline(2, color="0.3", lw=0.8, ls=":")
    right.set_xlabel("entropy, bits")
    axes.set_yticks(
        range(len(names)),
        [name.replace("_", " ") if by == "distortion" else name for name in names],
    )
    axes.set(xlabel="mean stage weight, with 95 %", ylim=(len(names) - 0.5, -0.5))
    axes.legend(
        ncol=4, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1, handletextpad=0.2
    )
    return figure, data


def gradient_maps(selected: pd.DataFrame, maps: list[np.ndarray], *, root: Path):
    """Gradient times activation of each stage's feature map (HiResCAM, Draelos and Carin 2020,
    signed), stages held apart: blue raises the predicted label, orange lowers it, each against an
    absent activation, to first order; the deeper the colour the more, on one scale a row. Above
    each map the stage's weight and its part of all colour in the row: the two need not go together.
    The image is judged in crops, whose seams show. The demo's photographs are credited in
    data/demo/CREDITS.md, and these pictures keep their licences.

    `selected`: columns image, quality, label, predicted, stage1 to stage4. `maps`: (4, h, w) of
    each, of `attention.gradient_maps`."""
    cells = [_in_cells(values) for values in maps]
    shares = [np.abs(values).sum((1, 2)) / np.abs(values).sum() for values in cells]
    told = [
        [
            f"weight {row[stage]:.2f}, colour {part:.0%}"
            for stage, part in zip(STAGES, share, strict=True)
        ]
        for row, share in zip(selected.to_dict("records"), shares, strict=True)
    ]
    drawn = [values / max(np.quantile(np.abs(values), 0.99), 1e-30) for values in cells]
    return _maps(
        selected, cells, drawn, told, "blue raises the predicted label, orange lowers it", root=root
    )


def window_attention(selected: pd.DataFrame, maps: list[np.ndarray], *, root: Path):
    """Attention received within the windows of the last block of each Swin stage, mean of heads and
    queries: blue more than an even share, orange less, by its logarithm, full colour at eight
    shares and at an eighth. Every window averages one share whatever the image holds, so only
    differences within a window (7 x 7 tokens; a 224 crop has 64, 16, 4 and 1 of them) mean
    anything. Drawn are means over cells, 32 along the longer side, and over crops that overlap;
    above each map the range before cells are made. It tells what the backbone mixes, not what the
    score depends on. The demo's photographs are credited in data/demo/CREDITS.md, and these
    pictures keep their licences.

    `selected`: columns image, quality, label, predicted. `maps`: (4, h, w) of each, of
    `attention.window_attention`."""
    cells = [_in_cells(values) for values in maps]
    told = [
        [f"{values[i].min():.2f} to {values[i].max():.2f} shares" for i in range(4)]
        for values in maps
    ]
    drawn = [np.log2(np.maximum(values, 1 / 8)) / 3 for values in cells]
    words = "attention received: blue more than an even share, orange less; compare within windows (28 to 224 pixels) only"
    return _maps(selected, cells, drawn, told, words, root=root)


def _in_cells(values):
    """(4, h, w) -> means over cells, 32 along the longer side."""
    sides = np.array(values.shape[1:])
    height, width = np.maximum(1, (CELLS * sides / sides.max()).round()).astype(int)
    images = (Image.fromarray(value.astype(np.float32)) for value in values)
    return np.stack(
        [np.asarray(image.resize((width, height), Image.Resampling.BOX)) for image in images]
    )


def _maps(selected, cells, drawn, told, legend, *, root):
    """`drawn`: what `cells` hold, brought to -1 (orange) to 1 (blue); `told`: words above each."""
    figure, axes = plt.subplots(
        len(selected), 5, figsize=(7.4, 1.3 * len(selected) + 0.4), squeeze=False
    )
    told = [[f"stage {i}\n{words}" for i, words in enumerate(told[0], 1)], *told[1:]]
    colours, rows = [np.array(plt.matplotlib.colors.to_rgb(name)) for name in (RAISES, LOWERS)], []
    for line, row, values, signed, words in zip(
        axes, selected.to_dict("records"), cells, drawn, told, strict=True
    ):
        show_image(line[0], root / row["image"], "")
        line[0].set_title(row["quality"].replace("_", " "), fontsize=6.5, pad=2)
        line[0].set_xlabel(
            f"label {row['label']:.3g}, predicted {row['predicted']:.3g}", fontsize=6.5, labelpad=1
        )
        grey = Image.fromarray(read_image(root / row["image"])).convert("L")
        grey.thumbnail((400, 400))
        for i, axis in enumerate(line[1:]):
            strength = np.clip(np.abs(signed[i]), 0, 1)[..., None]
            colour = np.where(signed[i][..., None] > 0, *colours)
            axis.imshow(
                grey, cmap="gray", vmin=-150, vmax=300, extent=(0, grey.width, grey.height, 0)
            )
            axis.imshow(
                np.dstack([colour, 0.9 * strength]),
                extent=(0, grey.width, grey.height, 0),
                interpolation="nearest",
            )
            axis.set_title(words[i], fontsize=6.5, pad=2)
            at = np.indices(values[i].shape).reshape(2, -1)
            cell = {"row": at[0], "column": at[1], "value": values[i].ravel()}
            rows.append(pd.DataFrame({"image": row["image"], "stage": i + 1, **cell}))
        for axis in line:
            bare(axis)
    figure.supxlabel(legend, fontsize=7)
    return figure, pd.concat(rows)
