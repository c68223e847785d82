"""What a model predicted, against labels, by distortion and image by image."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from ..metrics import logistic5
from ..pixels import read_image
from ..stats import bootstrap, content_blind, own_contents, percentile_interval, srcc


def scatter(predictions: pd.DataFrame, *, label: str = "label", label_name: str = "label"):
    """Predicted against true labels of the test images, with the 5-parameter logistic fitted to
    them (line) and equality (dotted). Colours are the contents, or black where images share none.

    `predictions`: columns predicted, `label` and, optionally, content.
    """
    figure, axes = plt.subplots(figsize=(3.6, 3.3))
    contents = own_contents(predictions)
    palette = ["black"] if contents is None else plt.get_cmap("tab20").colors
    contents = pd.Series("", predictions.index) if contents is None else contents
    for number, (_, rows) in enumerate(predictions.groupby(contents.values)):
        axes.plot(
            rows.predicted,
            rows[label],
            ".",
            ms=3.5,
            alpha=0.7,
            color=palette[number % len(palette)],
        )
    line = np.linspace(predictions.predicted.min(), predictions.predicted.max(), 200)
    fitted = logistic5(predictions.predicted, predictions[label])(line)
    axes.plot(line, fitted, color="black")
    axes.plot(line, line, color="black", ls=":", lw=1)
    both = np.concatenate([predictions.predicted, predictions[label]])
    margin = 0.03 * np.ptp(both)
    ends = both.min() - margin, both.max() + margin
    axes.set(xlabel="predicted", ylabel=label_name, xlim=ends, ylim=ends, aspect="equal")
    value = srcc(predictions.predicted.to_numpy(), predictions[label].to_numpy())
    axes.set_title(f"n = {len(predictions)}, pooled SRCC {value:.3f}", loc="left")
    points = pd.DataFrame(
        {
            "predicted": predictions.predicted,
            "label": predictions[label],
            "content": contents,
            "kind": "image",
        }
    )
    curve = pd.DataFrame({"predicted": line, "label": fitted, "content": "", "kind": "logistic"})
    return figure, pd.concat([points, curve])


def distortion_bars(
    predictions: pd.DataFrame, methods: dict[str, str], *, label: str = "label", draws: int = 500
):
    """SRCC within each distortion type on the test images with that distortion alone; lines are 95
    % bootstrap intervals by content, too narrow below 15 contents. Level alone earns much of a bar:
    compare with the content-blind one, which knows type and level and sees no pixel, not with zero.

    `predictions`: columns of `methods` (column -> name shown), `label`, distortion, distortion2,
    content."""
    alone = (
        predictions[predictions.distortion2.isna()] if "distortion2" in predictions else predictions
    )
    rows = []
    for distortion, group in alone.groupby("distortion"):
        for column, shown in methods.items():
            values, truth = group[column].to_numpy(), group[label].to_numpy()
            low, high = percentile_interval(
                bootstrap(srcc, values, truth, group=group.get("content"), draws=draws)
            )
            point = srcc(values, truth)
            rows.append(
                {
                    "distortion": distortion,
                    "method": shown,
                    "n": len(group),
                    "srcc": point,
                    "low": low,
                    "high": high,
                }
            )
    data = pd.DataFrame(rows)
    kinds, width = sorted(data.distortion.unique()), 0.8 / len(methods)
    figure, axes = plt.subplots(figsize=(7, 2.8))
    for number, shown in enumerate(methods.values()):
        part = data[data.method == shown].set_index("distortion").loc[kinds]
        place = np.arange(len(kinds)) + (number - (len(methods) - 1) / 2) * width
        axes.bar(place, part.srcc, width, label=shown, color=f"C{number}")
        axes.errorbar(
            place,
            part.srcc,
            np.maximum(0, [part.srcc - part.low, part.high - part.srcc]),
            fmt="none",
            ecolor="0.25",
            elinewidth=0.8,
        )
    axes.set_xticks(
        range(len(kinds)), [k.replace("_", " ") for k in kinds], rotation=35, ha="right"
    )
    counts = " to ".join(map(str, sorted({data.n.min(), data.n.max()})))
    axes.set(ylabel=f"SRCC within the type\n(n = {counts} a type)")
    axes.axhline(0, color="black", lw=0.8)
    axes.legend(ncol=len(methods), loc="lower left", bbox_to_anchor=(0, 1))
    return figure, data


def examples(predictions: pd.DataFrame, *, root: Path, label: str = "label", columns: int = 5):
    """The test images predicted best (above) and worst (below) by absolute error, one a content at
    most in each row; under each its content, distortion and level (1 to 5), then predicted / label.
    The demo's photographs are credited in data/demo/CREDITS.md, and these pictures keep their
    licences.

    `predictions`: columns image, predicted, `label`, and optionally content, distortion, level,
    distortion2, level2."""
    ranked = predictions.assign(
        error=(predictions.predicted - predictions[label]).abs()
    ).sort_values("error")
    key = "content" if "content" in ranked else "image"
    chosen = [
        ranked.drop_duplicates(key).head(columns),
        ranked[::-1].drop_duplicates(key).head(columns),
    ]
    figure, axes = plt.subplots(2, columns, figsize=(1.75 * columns, 4.0), squeeze=False)
    for line, (part, name) in enumerate(zip(chosen, ("best", "worst"), strict=True)):
        for axis, row in zip(axes[line], part.to_dict("records"), strict=False):
            show_image(
                axis,
                root / row["image"],
                f"{_what(row)}\n{row['predicted']:.3g} / {row[label]:.3g}",
            )
        axes[line][0].set_ylabel(name)
    for axis in axes.flat:
        bare(axis)
    return figure, pd.concat(
        [part.assign(shown=name) for part, name in zip(chosen, ("best", "worst"), strict=True)]
    )


def image_grid(table: pd.DataFrame, *, root: Path, columns: int = 6):
    """Images of the data set; under each its content, distortions with their levels, and label. The
    demo's photographs are credited in data/demo/CREDITS.md, and these pictures keep their licences.

    `table`: columns image, label, and optionally content, distortion, level, distortion2, level2.
    """
    lines = -(-len(table) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(1.45 * columns, 1.55 * lines), squeeze=False
    )
    for axis, row in zip(axes.flat, table.to_dict("records"), strict=False):
        show_image(axis, root / row["image"], f"{_what(row)}\nlabel {row['label']:.3g}")
    for axis in axes.flat:
        bare(axis)
    return figure, table


def content_blind_column(
    table: pd.DataFrame, split: pd.Series, *, label: str = "label"
) -> pd.DataFrame:
    """Columns image and content_blind: the baseline that tables show, for the rows that the split
    names.
    """
    known = table[split.notna()]
    return pd.DataFrame(
        {
            "image": known.image,
            "content_blind": content_blind(known, split.dropna(), label=label)[:, 0],
        }
    )


def show_image(axis, path: Path, text: str) -> None:
    """The image of a file as models see it, but at most 400 pixels a side, with text under it."""
    image = Image.fromarray(read_image(path))
    image.thumbnail((400, 400))
    axis.imshow(image)
    axis.set_xlabel(text, fontsize=6.5)


def bare(axis) -> None:
    """Takes ticks, grid and frame from an axis."""
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(False)


def _what(row):
    if not row.get("distortion"):
        return Path(row["image"]).stem
    lines = [str(row.get("content", ""))]
    for suffix in ("", "2"):
        name, level = row.get("distortion" + suffix), row.get("level" + suffix)
        if name and pd.notna(name):
            lines.append(name.replace("_", " ") + (f" at {level:.1f}" if pd.notna(level) else ""))
    return "\n".join(lines)
