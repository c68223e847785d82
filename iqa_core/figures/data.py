"""What a data set holds: labels, sizes, distortions by level, and pictures that leak across a
split.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from ..splits import PARTS
from .predictions import bare, show_image

KIND_NAMES = {"mos": "MOS", "pseudo_mos": "pseudo-MOS", "mmos": "MMOS"}


def label_name(table: pd.DataFrame) -> str:
    """What an axis of labels is called, "label (pseudo-MOS)" for one, after the table's column
    label_kind.
    """
    return f"label ({', '.join(KIND_NAMES[kind] for kind in table.label_kind.unique())})"


def label_histogram(
    table: pd.DataFrame, split: pd.Series | None = None, *, label_name: str = "label"
):
    """Labels of the images, stacked by the part of the split that they are in.

    `table`: column label. `split`: part of every row, as `splits.load_split` gives it; none: one
    colour."""
    figure, axes = plt.subplots(figsize=(4.2, 2.6))
    parts = pd.Series("all", index=table.index) if split is None else split.fillna("left out")
    names = [name for name in (*PARTS, "left out", "all") if (parts == name).any()]
    edges = np.histogram_bin_edges(table.label, bins=min(40, max(10, len(table) // 10)))
    values = [table.label[parts == name] for name in names]
    axes.hist(
        values,
        bins=edges,
        stacked=True,
        label=[f"{n} ({len(v)})" for n, v in zip(names, values, strict=True)],
    )
    axes.set(xlabel=label_name, ylabel="images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncol=len(names), handlelength=1, columnspacing=1
    )
    counts = {name: np.histogram(v, edges)[0] for name, v in zip(names, values, strict=True)}
    return figure, pd.DataFrame({"from": edges[:-1], "to": edges[1:], **counts})


def image_sizes(sizes: pd.DataFrame):
    """Width and height of the images, both on logarithmic scales; the area of a disc grows with the
    number of images of that size, lines are the aspect ratios 16:9, 4:3, 1:1 and 3:4.

    `sizes`: columns width and height, in pixels, one row an image.
    """
    counts = sizes.value_counts(["width", "height"]).rename("images").reset_index()
    figure, axes = plt.subplots(figsize=(3.6, 3.2))
    sides = counts[["width", "height"]].to_numpy()
    ends = np.array([sides.min() / 1.5, sides.max() * 1.5])
    for name, ratio in (("16:9", 16 / 9), ("4:3", 4 / 3), ("1:1", 1), ("3:4", 3 / 4)):
        axes.plot(ends, ends / ratio, color="0.75", lw=0.8, zorder=0)
        right = ratio > 1  # where the line leaves the axes
        place, ha = (
            ((ends[1], ends[1] / ratio), "left")
            if right
            else ((ends[1] * ratio, ends[1]), "center")
        )
        axes.annotate(
            name,
            place,
            fontsize=7,
            color="0.45",
            ha=ha,
            va="center" if right else "bottom",
            annotation_clip=False,
        )
    axes.scatter(
        counts.width, counts.height, s=6 + 90 * counts.images / counts.images.max(), alpha=0.6, lw=0
    )
    axes.set(
        xlabel="width in pixels",
        ylabel="height in pixels",
        xscale="log",
        yscale="log",
        xlim=ends,
        ylim=ends,
        aspect="equal",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=2, numticks=9))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(NullLocator())
    axes.set_title(
        f"{len(sizes)} images, {len(counts)} size{'s' * (len(counts) > 1)}", loc="left", pad=12
    )
    return figure, counts.assign(aspect=counts.width / counts.height)


def by_label(table: pd.DataFrame, *, count: int = 12) -> pd.DataFrame:
    """Rows at `count` quantiles of the label, lowest first, for `image_grid`."""
    order = table.sort_values("label", kind="stable")
    return order.iloc[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]


def distortion_levels(table: pd.DataFrame, *, root: Path):
    """One row a distortion type, columns its levels from the lowest to the highest, five quantiles
    where there are more; of the images with that distortion alone, and from one content where it
    has all; under each its level and label. Where levels are not known, from the highest label to
    the lowest.

    `table`: columns image, label, distortion, level, and optionally distortion2, content. At least
    one row with a distortion."""
    alone = table[table.distortion.notna() & (table.distortion != "")]
    alone = (
        alone[alone.distortion2.isna() | (alone.distortion2 == "")]
        if "distortion2" in alone
        else alone
    )
    if alone.empty:
        raise ValueError("no image has one distortion alone; there are no levels to show")
    chosen = pd.concat([_five_levels(rows) for _, rows in alone.groupby("distortion", sort=False)])
    kinds = chosen.groupby("distortion", sort=False)
    figure, axes = plt.subplots(len(kinds), 5, figsize=(7, 1.28 * len(kinds)), squeeze=False)
    for line, (kind, rows) in zip(axes, kinds, strict=True):
        line[0].set_ylabel(
            str(kind).replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=7
        )
        for axis, row in zip(line, rows.to_dict("records"), strict=False):
            level = f"level {row['level']:.3g}, " if pd.notna(row["level"]) else ""
            show_image(axis, root / row["image"], f"{level}label {row['label']:.3g}")
    for axis in axes.flat:
        bare(axis)
    return figure, chosen


def _five_levels(rows):
    """At most five rows of rising level, of the first content among those of one level; of falling
    label without levels.
    """
    if rows.level.isna().all():
        rows = rows.sort_values("label", ascending=False)
    else:
        rows = rows.sort_values("content", kind="stable") if "content" in rows else rows
        rows = rows.drop_duplicates("level").sort_values("level")
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, 5).round().astype(int))]


def leaking_pairs(pairs: pd.DataFrame, *, root: Path, columns: int = 4):
    """Pictures that stand in two parts of a split, one above the other; under each its part and
    file.

    `pairs`: columns image, split, image2, split2, as `leakage.leakage` gives them, at least one
    row; the first are drawn."""
    some = pairs.head(columns)
    figure, axes = plt.subplots(
        2, len(some), figsize=(1.75 * max(2, len(some)), 3.4), squeeze=False
    )
    for column, row in zip(axes.T, some.to_dict("records"), strict=True):
        for axis, suffix in zip(column, ("", "2"), strict=True):
            show_image(
                axis,
                root / row["image" + suffix],
                f"{row['split' + suffix]}\n{Path(row['image' + suffix]).name}",
            )
            bare(axis)
    return figure, some
