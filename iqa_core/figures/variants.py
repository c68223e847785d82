"""Drawings of `ablations`' tables: variants beside each other, and what was trained on against what
was tested on.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..tables.ablations import MEASURES
from ..tables.results import BLIND, BOOSTED


def variant_points(data: pd.DataFrame, variants: list[str], *, label: str = "label"):
    """Variants of the model on the same test images: mean over the trainings (disc) with a 95 % t
    interval over contents, and every single training (ring); an open square is a variant that was
    trained once, of which nothing is concluded. On the right, where there is a content-blind
    baseline, the SRCC given that. Rules that see no pixel are below, in grey. The axes do not begin
    at 0.

    `data`: as `ablations` gives it; `variants`: those to draw, from the top.
    """
    own = data[(data.label == label) & (data.seed.isna() | (data.seeds > 1))]
    names = [*variants, *(name for name in (BLIND, BOOSTED) if name in set(own.variant))]
    headline = "content_srcc" if "content_srcc" in own else "srcc"
    measures = [headline] + ["partial"] * ("partial" in own)
    figure, panels = plt.subplots(
        1,
        len(measures),
        figsize=(3.5 * len(measures), 0.9 + 0.3 * len(names)),
        sharey=True,
        squeeze=False,
    )
    for axes, measure in zip(panels[0], measures, strict=True):
        for place, name in enumerate(names):
            colour = "0.45" if name in (BLIND, BOOSTED) else "C0"
            rows = own[own.variant == name]
            mean, single = rows[rows.seed.isna()].iloc[0], rows[rows.seed.notna()]
            ends = np.array(
                [
                    [mean[measure] - mean[f"{measure}_low"]],
                    [mean[f"{measure}_high"] - mean[measure]],
                ]
            )
            mark = dict(fmt="s", mfc="white") if mean.seeds == 1 else dict(fmt="o")
            axes.errorbar(mean[measure], place, xerr=ends, ms=5, color=colour, capsize=2, **mark)
            axes.plot(
                single[measure],
                np.full(len(single), place + 0.28),
                "o",
                ms=3.5,
                mfc="none",
                mew=0.8,
                color=colour,
            )
        axes.set(xlabel=MEASURES[measure], ylim=(len(names) - 0.4, -0.6))
        axes.grid(axis="y", visible=False)
    panels[0][0].set_yticks(range(len(names)), names)
    first = own.iloc[0]
    counts = f"n = {first.n}" + (
        f", {first.contents:.0f} contents" if pd.notna(first.contents) else ""
    )
    panels[0][0].set_title(counts, loc="left")
    drawn = pd.concat([own[own.variant == name] for name in names])
    ends = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
    return figure, drawn[["variant", "seed", "n", "contents", "seeds", *ends]]


def transfer_matrix(data: pd.DataFrame, *, trained: str = "trained on", tested: str = "tested on"):
    """SRCC averaged over the trainings, with its 95 % interval; rows are what a model was trained
    on, columns what it was tested on. Within contents (t over contents) where all that was tested
    has contents of three images or more, else over all images (bootstrap of contents or images).
    Cells with a frame: the training had no such images. n: images, of the set trained on those of
    its test part alone.

    `data`: as `transfers` gives it.
    """
    rows, columns = list(dict.fromkeys(data.trained)), list(dict.fromkeys(data.tested))
    figure, axes = plt.subplots(figsize=(1.6 + 1.15 * len(columns), 0.9 + 0.5 * len(rows)))
    measure = (
        "content_srcc" if "content_srcc" in data and data.content_srcc.notna().all() else "srcc"
    )
    values = (
        data.pivot(index="trained", columns="tested", values=measure).loc[rows, columns].to_numpy()
    )
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for cell in data.to_dict("records"):
        place, value = (columns.index(cell["tested"]), rows.index(cell["trained"])), cell[measure]
        text = f"{value:.2f}\n[{cell[measure + '_low']:.2f}, {cell[measure + '_high']:.2f}]"
        axes.text(
            *place,
            text,
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if value > 0.6 else "black",
        )
        if not cell["seen"]:
            corner = place[0] - 0.48, place[1] - 0.46
            axes.add_patch(plt.Rectangle(corner, 0.96, 0.92, fill=False, color="C1", lw=2))
    counts = {
        name: ", ".join(f"{n}" for n in own.n.unique()) for name, own in data.groupby("tested")
    }
    axes.set_xticks(
        range(len(columns)), [f"{c.replace('_', ' ')}\nn = {counts[c]}" for c in columns]
    )
    axes.set_yticks(range(len(rows)), [row.replace("_", " ").replace("-", " ") for row in rows])
    axes.set(xlabel=tested, ylabel=trained)
    axes.set_title(MEASURES[measure], loc="left")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure, data
