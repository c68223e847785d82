"""What a data set holds: labels, sizes, distortions by level, and pictures that leak across a
split.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from ..splits import PARTS
from .pictures import bare, described, show_image
from .registry import figure

ASPECTS = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1, "3:4": 3 / 4}


@figure
def label_histogram(
    table: pd.DataFrame, split: pd.Series | None = None, *, label_name: str = "label"
):
    """Labels of the images, stacked by the part of the split that they are in.

    table   column label
    split   part of every row, as `splits.load_split` gives it; None: one colour
    """
    parts = pd.Series("all", index=table.index) if split is None else split.fillna("left out")
    names = [name for name in (*PARTS, "left out", "all") if (parts == name).any()]
    labels = {name: table.label[parts == name] for name in names}
    edges = np.histogram_bin_edges(table.label, bins=min(40, max(10, len(table) // 10)))
    fig, axes = plt.subplots(figsize=(4.2, 2.6))
    legend = [f"{name} ({len(values)})" for name, values in labels.items()]
    axes.hist(list(labels.values()), bins=edges, stacked=True, label=legend)
    axes.set(xlabel=label_name, ylabel="images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncol=len(names), handlelength=1, columnspacing=1
    )
    counts = {name: np.histogram(values, edges)[0] for name, values in labels.items()}
    return fig, pd.DataFrame({"from": edges[:-1], "to": edges[1:], **counts})


@figure
def image_sizes(sizes: pd.DataFrame):
    """Width and height of the images, both on logarithmic scales; the area of a disc grows with the
    number of images of that size, lines are the aspect ratios 16:9, 4:3, 1:1 and 3:4.

    sizes   columns width and height, in pixels, one row an image
    """
    counts = sizes.value_counts(["width", "height"]).rename("images").reset_index()
    sides = counts[["width", "height"]].to_numpy()
    least, most = sides.min() / 1.5, sides.max() * 1.5
    ends = np.array([least, most])
    fig, axes = plt.subplots(figsize=(3.6, 3.2))
    for name, ratio in ASPECTS.items():
        axes.plot(ends, ends / ratio, color="0.75", lw=0.8, zorder=0)
        # Its name stands where the line leaves the axes: on the right, or above.
        text = dict(fontsize=7, color="0.45", annotation_clip=False)
        if ratio > 1:
            axes.annotate(name, (most, most / ratio), ha="left", va="center", **text)
        else:
            axes.annotate(name, (most * ratio, most), ha="center", va="bottom", **text)
    area = 6 + 90 * counts.images / counts.images.max()
    axes.scatter(counts.width, counts.height, s=area, alpha=0.6, lw=0)
    axes.set(xlabel="width in pixels", ylabel="height in pixels", xscale="log", yscale="log")
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=2, numticks=9))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(NullLocator())
    plural = "s" if len(counts) > 1 else ""
    axes.set_title(f"{len(sizes)} images, {len(counts)} size{plural}", loc="left", pad=12)
    return fig, counts.assign(aspect=counts.width / counts.height)


@figure
def image_grid(table: pd.DataFrame, *, root: Path, columns: int = 6):
    """Images of the data set; under each its content, distortions with their levels, and label.

    table   columns image, label, and optionally content, distortion, level, distortion2, level2
    root    the folder that images are named from
    """
    lines = -(-len(table) // columns)
    size = 1.45 * columns, 1.55 * lines
    fig, grid = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for axes, row in zip(grid.flat, table.to_dict("records"), strict=False):
        show_image(axes, root / row["image"], f"{described(row)}\nlabel {row['label']:.3g}")
    for axes in grid.flat:
        bare(axes)
    return fig, table


@figure
def distortion_levels(table: pd.DataFrame, *, root: Path):
    """One row a distortion type, columns its levels from the lowest to the highest, five quantiles
    where there are more; of the images with that distortion alone, whole images first where some
    have a background of another level, and from one content where it has all; under each its level
    and label. Where levels are not known, from the highest label to the lowest.

    table   columns image, label, distortion, level, and optionally distortion2, background_level,
            content; at least one row with a distortion alone, else ValueError
    root    the folder that images are named from
    """
    alone = table[table.distortion.notna() & (table.distortion != "")]
    if "distortion2" in alone:
        alone = alone[alone.distortion2.isna() | (alone.distortion2 == "")]
    if alone.empty:
        raise ValueError("no image has one distortion alone; there are no levels to show")
    chosen = pd.concat([_five_levels(rows) for _, rows in alone.groupby("distortion", sort=False)])
    kinds = chosen.groupby("distortion", sort=False)
    columns = kinds.size().max()
    size = 0.9 + 1.25 * columns, 1.28 * len(kinds)
    fig, grid = plt.subplots(len(kinds), columns, figsize=size, squeeze=False)
    for line, (kind, rows) in zip(grid, kinds, strict=True):
        name = str(kind).replace("_", "\n")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
        for axes, row in zip(line, rows.to_dict("records"), strict=False):
            level = f"level {row['level']:.3g}, " if pd.notna(row["level"]) else ""
            show_image(axes, root / row["image"], f"{level}label {row['label']:.3g}")
    for axes in grid.flat:
        bare(axes)
    return fig, chosen


def _five_levels(rows):
    """At most five rows of rising level, of those of one level whole images first, then the first
    content; of falling label without levels.
    """
    if rows.level.isna().all():
        rows = rows.sort_values("label", ascending=False)
    else:
        rows = rows.sort_values("content", kind="stable") if "content" in rows else rows
        if "background_level" in rows:
            apart = rows.background_level.notna() & (rows.background_level != rows.level)
            rows = rows.loc[apart.sort_values(kind="stable").index]
        rows = rows.drop_duplicates("level").sort_values("level")
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, 5).round().astype(int))]


@figure
def leaking_pairs(pairs: pd.DataFrame, *, root: Path, columns: int = 4):
    """Pictures that stand in two parts of a split, one above the other; under each its part and
    file.

    pairs   columns image, split, image2, split2, as `leakage.leakage` gives them, at least one row;
            the first are drawn
    root    the folder that images are named from
    """
    shown = pairs.head(columns)
    size = 1.75 * max(2, len(shown)), 3.4
    fig, grid = plt.subplots(2, len(shown), figsize=size, squeeze=False)
    for column, row in zip(grid.T, shown.to_dict("records"), strict=True):
        for axes, suffix in zip(column, ("", "2"), strict=True):
            image = row["image" + suffix]
            show_image(axes, root / image, f"{row['split' + suffix]}\n{Path(image).name}")
            bare(axes)
    return fig, shown
