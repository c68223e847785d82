"""Scores of pictures: all at a glance, one by one, and of one photograph at rising levels."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from ..distortions import distort
from ..pixels import read_image
from .colours import score_colour, score_range
from .pictures import bare, show_image
from .registry import figure


def annotated(image: np.ndarray, text: str, colour: tuple) -> np.ndarray:
    """A uint8 image (h, w, 3) with text in a box of that colour in its upper left corner; the box
    takes a tenth of the height, and never more than the width.
    """
    height, width = image.shape[:2]
    size = max(8, height // 14)
    while size > 8 and _text_width(text, size) > 0.9 * width:
        size -= 1
    margin = max(1, size // 3)
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    box = (margin, margin, 3 * margin + _text_width(text, size), 3 * margin + size)
    draw.rectangle(box, fill=colour)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    draw.text(middle, text, fill="black", font=ImageFont.load_default(size), anchor="mm")
    return np.asarray(picture)


def _text_width(text, size):
    return ImageFont.load_default(size).getlength(text)


@figure
def score_sheet(scores: pd.DataFrame, scorer: str, *, root: Path, most: int = 48, columns: int = 8):
    """Pictures in the order of their scores, the best first; where there are more than are shown,
    evenly chosen out of that order, with the best and the worst.

    scores   as `apps.scoring.score` makes them
    scorer   the column that sorts
    root     the folder that images are named from
    """
    facts = _facts(scores, scorer)
    ordered = scores.dropna(subset=[scorer])
    ordered = ordered.sort_values(scorer, ascending=not facts["higher_is_better"], kind="stable")
    places = np.unique(
        np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int)
    )
    shown = ordered.iloc[places]
    lines = max(1, math.ceil(len(shown) / columns))
    fig, grid = plt.subplots(lines, columns, figsize=(0.89 * columns, 0.98 * lines), squeeze=False)
    low, high, _ = score_range(facts, ordered[scorer])
    for axes, row in zip(grid.flat, shown.to_dict("records"), strict=False):
        show_image(axes, root / row["image"], f"{_short(row['image'])}\n{row[scorer]:.4g}")
        colour = score_colour(row[scorer], low, high, higher_is_better=facts["higher_is_better"])
        axes.set_anchor("S")
        axes.axhline(axes.get_ylim()[0], color=np.array(colour) / 255, lw=5, solid_capstyle="butt")
    for axes in grid.flat:
        bare(axes)
    better = "higher" if facts["higher_is_better"] else "lower"
    fig.suptitle(
        f"{scorer}, {facts['units']}, {better} is better: {len(shown)} of {len(ordered)}, "
        "best first",
        fontsize=9,
    )
    return fig, shown[["image", scorer]].assign(rank=places + 1)


def _short(image, most=14):
    name = Path(image).name
    return name if len(name) <= most else f"{name[: most - 9]}…{name[-8:]}"


@figure
def score_histogram(scores: pd.DataFrame):
    """How the scores of each scorer are spread, with their mean (line); the axis is the scorer's
    range where it is known.

    scores   as `apps.scoring.score` makes them
    """
    scorers = [facts for facts in scores.attrs["scorers"] if scores[facts["name"]].notna().any()]
    size = (3.6 * len(scorers), 2.6)
    fig, grid = plt.subplots(1, len(scorers), figsize=size, squeeze=False, layout="constrained")
    rows = []
    for axes, facts in zip(grid[0], scorers, strict=True):
        values = scores[facts["name"]].dropna()
        low, high, _ = score_range(facts, values)
        low, high = min(low, values.min()), max(high, values.max())
        counts, edges = np.histogram(values, bins=20, range=(low, high))
        axes.stairs(counts, edges, fill=True, alpha=0.8)
        axes.axvline(values.mean(), color="black", lw=1)
        better = "higher" if facts["higher_is_better"] else "lower"
        axes.set_title(f"{facts['name']}: n = {len(values)}, mean {values.mean():.4g}", loc="left")
        axes.set(xlabel=f"{facts['units']}, {better} is better", ylabel="pictures")
        bins = zip(edges[:-1], edges[1:], counts, strict=True)
        rows += [(facts["name"], *one) for one in bins]
    return fig, pd.DataFrame(rows, columns=["scorer", "from", "to", "pictures"])


@figure
def level_ladder(scores: pd.DataFrame, photo: Path, distortion: str, *, seed: int = 0):
    """A photograph as it is and at rising levels of a distortion, with what each scorer gives it
    below; every scorer has its own axis, in its own units.

    scores   as `apps.scoring.ladder` makes them of the same photograph, distortion and seed
    """
    scorers = scores.attrs["scorers"]
    image = read_image(photo)
    height, width = image.shape[:2]
    count = len(scores)
    tall = 7.2 / count * height / width + 0.3
    heights = [tall, *[1.1] * len(scorers)]
    fig = plt.figure(figsize=(7.2, sum(heights) + 0.5), layout="constrained")
    grid = fig.add_gridspec(1 + len(scorers), count, height_ratios=heights)
    for place, level in enumerate(scores.level):
        axes = fig.add_subplot(grid[0, place])
        axes.imshow(distort(image, distortion, level, seed) if level else image)
        axes.set_title(f"level {level:g}" if level else "as it is", fontsize=7)
        bare(axes)
    for line, facts in enumerate(scorers, 1):
        axes = fig.add_subplot(grid[line, :])
        values = scores[facts["name"]]
        axes.plot(range(count), values, "o-", color=f"C{line - 1}", ms=4)
        for place, value in enumerate(values):
            axes.annotate(
                f"{value:.3g}", (place, value), (0, 5), textcoords="offset points", ha="center",
                fontsize=7,
            )  # fmt: skip
        better = "higher" if facts["higher_is_better"] else "lower"
        axes.set_ylabel(f"{facts['name']}\n({better}: better)", fontsize=7)
        axes.set(xlim=(-0.5, count - 0.5), xticks=range(count))
        axes.set_xticklabels([])
        axes.margins(y=0.35)
    fig.suptitle(distortion.replace("_", " "), fontsize=9)
    return fig, scores


@figure
def clip_scores(frames: pd.DataFrame, facts: dict):
    """What a scorer makes of clips of one photograph, frame by frame; the grey area is how strongly
    each is distorted at that time, from not at all to its worst.

    frames   columns clip, seconds, score and amount (0 to 1)
    facts    of the scorer
    """
    clips = list(dict.fromkeys(frames["clip"]))
    size = (1.9 * len(clips), 2.3)
    fig, grid = plt.subplots(1, len(clips), figsize=size, sharey=True, squeeze=False)
    for axes, clip in zip(grid[0], clips, strict=True):
        rows = frames[frames["clip"] == clip]
        behind = axes.twinx()
        behind.fill_between(rows.seconds, rows.amount, color="0.9", lw=0)
        behind.set(ylim=(0, 1.02), yticks=[])
        behind.spines[:].set_visible(False)
        axes.set_zorder(behind.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.plot(rows.seconds, rows.score, color="C0")
        axes.set(xlabel="time (s)")
        axes.set_title(f"{clip}\nmean {rows.score.mean():.3g}, std {rows.score.std(ddof=0):.2g}")
    low, high, _ = score_range(facts, frames.score)
    better = "higher" if facts["higher_is_better"] else "LOWER"
    grid[0, 0].set(
        ylabel=f"{facts['name']}\n({better} is better)",
        ylim=(min(low, frames.score.min()), max(high, frames.score.max())),
    )
    return fig, frames


def _facts(scores, scorer):
    return next(facts for facts in scores.attrs["scorers"] if facts["name"] == scorer)
