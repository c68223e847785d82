"""Variants of a model beside each other, and what was trained on against what was tested on."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..tables.cells import BLIND, STATISTICS, bracketed
from .registry import figure


@figure
def variant_points(data: pd.DataFrame, variants: list[str], *, label: str = "label"):
    """Variants of the model on the same test images: mean over the trainings (disc) with a 95 % t
    interval over contents, and every single training (ring); an open square is a variant that was
    trained once, of which nothing is concluded. On the right, where the contents stand in the
    same versions, the content-specific correlation, which only looking can earn. The rule that sees
    no pixel is below, in grey. The axes do not begin at 0.

    data       as `tables.ablations` gives it
    variants   those to draw, from the top
    """
    data = data[(data.label == label) & (data.seed.isna() | (data.trainings > 1))]
    names = [*variants, *({BLIND} & set(data.variant))]
    statistics = [next(s for s in ("input_srcc", "content_srcc", "srcc") if s in data)]
    if "specific" in data:
        statistics.append("specific")
    size = 3.5 * len(statistics), 0.9 + 0.3 * len(names)
    fig, grid = plt.subplots(1, len(statistics), figsize=size, sharey=True, squeeze=False)
    for axes, statistic in zip(grid[0], statistics, strict=True):
        for place, name in enumerate(names):
            _points(axes, place, data[data.variant == name], statistic)
        axes.set(xlabel=STATISTICS[statistic], ylim=(len(names) - 0.4, -0.6))
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=6)
    first = data.iloc[0]
    contents = f", {first.contents:.0f} contents" if pd.notna(first.contents) else ""
    grid[0][0].set_yticks(range(len(names)), names)
    grid[0][0].set_title(f"n = {first.n}{contents}", loc="left")
    drawn = pd.concat([data[data.variant == name] for name in names])
    columns = ["variant", "seed", "n", "contents", "trainings"]
    columns += [f"{statistic}{end}" for statistic in statistics for end in ("", "_low", "_high")]
    return fig, drawn[columns]


def _points(axes, place, rows, statistic):
    """One variant on the line `place`: its mean with the interval, and below it each training."""
    mean, single = rows[rows.seed.isna()].iloc[0], rows[rows.seed.notna()]
    colour = "0.45" if mean.variant == BLIND else "C0"
    mark = dict(fmt="s", mfc="white") if mean.trainings == 1 else dict(fmt="o")
    value, low, high = mean[[statistic, f"{statistic}_low", f"{statistic}_high"]]
    ends = np.array([[value - low], [high - value]])
    axes.errorbar(value, place, xerr=ends, ms=5, color=colour, capsize=2, **mark)
    below = np.full(len(single), place + 0.28)
    axes.plot(single[statistic], below, "o", ms=3.5, mfc="none", mew=0.8, color=colour)


@figure
def transfer_matrix(data: pd.DataFrame, *, trained: str = "trained on", tested: str = "tested on"):
    """SRCC averaged over the trainings, with its 95 % interval; rows are what a model was trained
    on, columns what it was tested on. Within contents (t over contents) where all that was tested
    has contents of three images or more, else over all images (bootstrap of contents or images).
    Cells with a frame: the training had no such images. content-blind: the rule that is told the
    version and sees no pixel. [--]: all contents alike, so no interval. n: images, of the set
    trained on those of its test part alone.

    data              as `tables.transfers` gives it
    trained, tested   names of the axes
    """
    rows = sorted(data.trained.unique(), key=lambda name: name == BLIND)  # that last
    columns = list(data.tested.unique())
    within = "content_srcc" in data and data.content_srcc.notna().all()
    statistic = "content_srcc" if within else "srcc"
    values = data.pivot(index="trained", columns="tested", values=statistic)
    values = values.loc[rows, columns].to_numpy()
    fig, axes = plt.subplots(figsize=(1.6 + 1.15 * len(columns), 0.9 + 0.5 * len(rows)))
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for cell in data.to_dict("records"):
        x, y = columns.index(cell["tested"]), rows.index(cell["trained"])
        value, *interval = (cell[statistic + end] for end in ("", "_low", "_high"))
        text = bracketed(value, interval, digits=2).replace(" [", "\n[")
        colour = "white" if value > 0.6 else "black"
        axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color=colour)
        if not cell["seen"]:
            corner = x - 0.48, y - 0.46
            axes.add_patch(plt.Rectangle(corner, 0.96, 0.92, fill=False, color="C1", lw=2))
    counts = {name: ", ".join(map(str, group.n.unique())) for name, group in data.groupby("tested")}
    under = [f"{column.replace('_', ' ')}\nn = {counts[column]}" for column in columns]
    axes.set_xticks(range(len(columns)), under)
    axes.set_yticks(range(len(rows)), [row.replace("_", " ").replace("-", " ") for row in rows])
    axes.set(xlabel=tested, ylabel=trained)
    axes.set_title(STATISTICS[statistic], loc="left")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return fig, data
