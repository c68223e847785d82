"""What a model predicted, against labels, by distortion and image by image."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from .. import tables
from ..metrics import logistic4
from ..stats import own_contents, srcc
from .page import in_column
from .pictures import bare, described, show_image
from .registry import figure


def content_colours(table: pd.DataFrame) -> tuple[pd.Series, list]:
    """The content of each row and the colours they take in turn; "" and black where images share
    none.
    """
    contents = own_contents(table)
    if contents is None:
        return pd.Series("", table.index), ["black"]
    return contents, plt.get_cmap("tab20").colors


@figure
def scatter(predictions: pd.DataFrame, *, label: str = "label", label_name: str = "label"):
    """Predicted against true labels of the test images, with the monotone logistic of 4 parameters
    fitted to them (line) and equality (dotted). Colours are the contents, or black where images
    share none.

    predictions   columns predicted, `label` and, optionally, content
    """
    predicted, truth = predictions.predicted, predictions[label]
    contents, palette = content_colours(predictions)
    fig, axes = plt.subplots(figsize=(3.6, 3.3))
    for number, (_, rows) in enumerate(predictions.groupby(contents.values)):
        colour = palette[number % len(palette)]
        axes.plot(rows.predicted, rows[label], ".", ms=3.5, alpha=0.7, color=colour)
    line = np.linspace(predicted.min(), predicted.max(), 200)
    fitted = logistic4(predicted, truth)(line)
    axes.plot(line, fitted, color="black")
    axes.plot(line, line, color="black", ls=":", lw=1)
    both = np.concatenate([predicted, truth])
    margin = 0.03 * np.ptp(both)
    ends = both.min() - margin, both.max() + margin
    axes.set(xlabel="predicted", ylabel=label_name, xlim=ends, ylim=ends, aspect="equal")
    value = srcc(predicted.to_numpy(), truth.to_numpy())
    axes.set_title(f"n = {len(predictions)}, pooled SRCC {value:.3f}", loc="left")
    points = pd.DataFrame({"predicted": predicted, "label": truth, "content": contents})
    curve = pd.DataFrame({"predicted": line, "label": fitted, "content": ""})
    return fig, pd.concat([points.assign(kind="image"), curve.assign(kind="logistic")])


@figure
def distortion_bars(
    predictions: pd.DataFrame, methods: dict[str, str], *, label: str = "label", draws: int = 500
):
    """SRCC within each distortion type on the test images with that distortion alone; lines are 95
    % bootstrap intervals by content, too narrow below 15 contents. Level alone earns much of a bar:
    compare with the content-blind one, which knows type and level and sees no pixel, not with zero.

    predictions, methods, draws   as `tables.by_distortion` takes them
    """
    data = tables.by_distortion(predictions, methods, label=label, draws=draws)
    kinds, width = sorted(data.distortion.unique()), 0.8 / len(methods)
    fig, axes = plt.subplots(figsize=(7, 2.8))
    for number, shown in enumerate(methods.values()):
        rows = data[data.method == shown].set_index("distortion").loc[kinds]
        place = np.arange(len(kinds)) + (number - (len(methods) - 1) / 2) * width
        axes.bar(place, rows.srcc, width, label=shown, color=f"C{number}")
        ends = np.maximum(0, [rows.srcc - rows.low, rows.high - rows.srcc])
        axes.errorbar(place, rows.srcc, ends, fmt="none", ecolor="0.25", elinewidth=0.8)
    names = [kind.replace("_", " ") for kind in kinds]
    axes.set_xticks(range(len(kinds)), names, rotation=35, ha="right")
    counts = " to ".join(map(str, sorted({data.n.min(), data.n.max()})))
    axes.set(ylabel=f"SRCC within the type\n(n = {counts} a type)")
    axes.axhline(0, color="black", lw=0.8)
    axes.legend(ncol=len(methods), loc="lower left", bbox_to_anchor=(0, 1))
    return fig, data


@figure
def examples(predictions: pd.DataFrame, *, root: Path, label: str = "label"):
    """The test images predicted best (above) and worst (below) by absolute error, one a content at
    most in each row; under each its content, distortion and level, then predicted / label.

    predictions   columns image, predicted, `label`, and optionally content, distortion, level,
                  distortion2, level2
    root          the folder that images are named from
    """
    columns = 3 if in_column() else 5
    error = (predictions.predicted - predictions[label]).abs()
    ranked = predictions.assign(error=error).sort_values("error")
    key = "content" if "content" in ranked else "image"
    best = ranked.drop_duplicates(key).head(columns)
    worst = ranked[::-1].drop_duplicates(key).head(columns)
    fig, grid = plt.subplots(2, columns, figsize=(1.75 * columns, 4.2), squeeze=False)
    for line, name, rows in zip(grid, ("best", "worst"), (best, worst), strict=True):
        line[0].set_ylabel(name)
        for axes, row in zip(line, rows.to_dict("records"), strict=False):
            values = f"{row['predicted']:.3g} / {row[label]:.3g}"
            show_image(axes, root / row["image"], f"{described(row)}\n{values}")
    for axes in grid.flat:
        bare(axes)
    return fig, pd.concat([best.assign(shown="best"), worst.assign(shown="worst")])
