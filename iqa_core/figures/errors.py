"""Where a model is wrong, image by image and by distortion."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap, Normalize

from ..metrics import logistic4
from ..stats import srcc, t_interval
from . import page
from .registry import figure

LARGEST = 0.1  # the share of images whose errors are called large
TYPES = 12  # distortion types that are drawn
# The lighter end of the map is left out: pale points are lost on paper.
SHADES = ListedColormap(plt.get_cmap("Blues")(np.linspace(0.35, 1, 256)))


@figure
def error_analysis(predictions: pd.DataFrame, *, label: str = "label"):
    """Errors of the test images: predicted against true labels, the darker the larger the absolute
    error, triangles the tenth of the images with the largest; line: the monotone logistic of 4
    parameters fitted to all, dotted: equality. Beside it, where distortions are known, the mean
    absolute error by distortion type with 95 % t intervals over contents (over images where these
    share none), at most the 12 types with the largest; in brackets how many of the type's images
    are triangles. Images with a second distortion are left out there.

    predictions   columns image, `label`, predicted and, optionally, distortion, distortion2,
                  content
    """
    rows = predictions.assign(error=(predictions.predicted - predictions[label]).abs())
    count = int(np.ceil(LARGEST * len(rows)))
    rows["large"] = rows.error.rank(ascending=False, method="first") <= count
    types = _by_type(rows)
    fig, grid = _axes(len(types))
    curve = _scatter(grid[0], rows, label)
    if len(types):
        _types(grid[1], types)
    images = rows.rename(columns={label: "label"})[
        ["image", "label", "predicted", "error", "large"]
    ]
    parts = [images.assign(kind="image"), curve.assign(kind="logistic"), types.assign(kind="type")]
    return fig, pd.concat([part for part in parts if len(part)], ignore_index=True)


def _axes(types):
    """A figure with the scatter and, where there are types, their panel beside or below it."""
    width = page.current_width()
    if not types:
        fig = plt.figure(figsize=(width, min(width, 4)))
        return fig, [fig.add_subplot()]
    # Figures within the figure: long names of types take no room from the scatter.
    if page.is_narrow():
        heights = [0.95 * width, 0.6 + 0.2 * types]
        fig = plt.figure(figsize=(width, sum(heights)))
        parts = fig.subfigures(2, 1, height_ratios=heights)
    else:
        fig = plt.figure(figsize=(width, min(4, 0.48 * width)))
        parts = fig.subfigures(1, 2)
    return fig, [part.add_subplot() for part in parts]


def _scatter(axes, rows, label):
    """Draw the images; returns the points of the fitted curve, none where too few can be fitted."""
    scale = Normalize(0, rows.error.max() or 1)
    for part, marker, size, name in (
        (rows[~rows.large], "o", 9, "images"),
        (rows[rows.large], "^", 22, f"largest {LARGEST:.0%} of errors"),
    ):
        looks = dict(cmap=SHADES, norm=scale, marker=marker, s=size, lw=0, label=name)
        drawn = axes.scatter(part.predicted, part[label], c=part.error, **looks)
    axes.figure.colorbar(drawn, ax=axes, label="absolute error", fraction=0.05, pad=0.02)
    line, fitted = np.array([]), np.array([])
    if rows.predicted.nunique() > 3:
        line = np.linspace(rows.predicted.min(), rows.predicted.max(), 200)
        fitted = logistic4(rows.predicted, rows[label])(line)
        axes.plot(line, fitted, color="C1", label="logistic")
    both = np.concatenate([rows.predicted, rows[label]])
    margin = 0.04 * np.ptp(both) or 1
    ends = both.min() - margin, both.max() + margin
    axes.plot(ends, ends, color="black", ls=":", lw=1, label="equal")
    axes.set(xlabel="predicted", ylabel=label, xlim=ends, ylim=ends, aspect="equal")
    value = srcc(rows.predicted.to_numpy(), rows[label].to_numpy())
    axes.set_title(f"n = {len(rows)}, SRCC {value:.3f}", loc="left")
    look = dict(loc="outside lower center", ncol=2, handletextpad=0.4, columnspacing=1)
    axes.figure.legend(*axes.get_legend_handles_labels(), **look)
    return pd.DataFrame({"label": fitted, "predicted": line})


def _by_type(rows):
    """The mean absolute error of each distortion type, the largest first."""
    names = ["distortion", "error", "low", "high", "n", "contents", "large"]
    if "distortion" not in rows:
        return pd.DataFrame(columns=names)
    alone = rows[rows.distortion.notna() & (rows.distortion != "")]
    if "distortion2" in rows:
        alone = alone[alone.distortion2.isna()]
    found = []
    for distortion, group in alone.groupby("distortion"):
        units = group.get("content", group.image)
        of_units = group.groupby(units).error.mean()
        low, high = t_interval(of_units)
        row = (distortion, of_units.mean(), low, high, len(group), len(of_units), group.large.sum())
        found.append(row)
    table = pd.DataFrame(found, columns=names)
    return table.sort_values("error", ascending=False, ignore_index=True).head(TYPES)


def _types(axes, types):
    """Draw the types, the largest error on top."""
    places = np.arange(len(types))
    ends = np.array([types.error - types.low, types.high - types.error])
    axes.errorbar(types.error, places, xerr=ends, fmt="o", ms=5, capsize=2, color="C0")
    names = [
        f"{row.distortion.replace('_', ' ')} ({row.large} of {row.n})" for row in types.itertuples()
    ]
    axes.set_yticks(places, names)
    axes.set(xlabel="mean absolute error, label units", ylim=(len(types) - 0.5, -0.5))
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
