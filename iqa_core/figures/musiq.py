"""MUSIQ's figures: scores of stretched pictures, attention by scale, and the hashed positions."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from .pictures import bare
from .registry import figure


@figure
def aspect_curves(data: pd.DataFrame):
    """What a change of shape does to predicted scores. Left: one photograph stretched to ratios of
    height to width at a constant area, its own ratio dotted. Right: mean distance of a stretched
    photograph's score from that of its own shape, over the photographs, in standard deviations of
    the method's scores; 0 is a method that does not see shapes.

    data   as `ablations.aspect_curves` gives it
    """
    first = data[data.photograph == data.photograph.iloc[0]]
    own = first[first.own].ratio.iloc[0]
    photographs = data.photograph.nunique()
    fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.9), layout="constrained")
    plotted = []
    for number, method in enumerate(dict.fromkeys(data.method)):
        look = {"color": f"C{number % 7}", "ls": ("-", "--", ":")[number // 7 % 3]}
        look |= {"marker": "o", "ms": 3, "lw": 1.2}
        rows = first[(first.method == method) & ~first.own].sort_values("ratio")
        left.plot(rows.ratio, rows.predicted, label=method, **look)
        plotted.append(rows[["photograph", "method", "ratio", "predicted"]])
        moved = _moved(data[data.method == method])
        right.plot(moved.ratio, moved.moved, **look)
        mean = f"mean of {photographs}"
        plotted.append(moved.assign(photograph=mean, method=method))
    left.axvline(own, color="0.5", ls=":", lw=1)
    left.set(xlabel="height / width", ylabel="predicted label")
    left.set_title(first.photograph.iloc[0], loc="left")
    right.set(xlabel="height / width", ylabel="distance, std of scores", ylim=(0, None))
    right.set_title(f"mean of n = {photographs} photographs", loc="left")
    for axes in (left, right):
        ends = data.ratio[~data.own].agg(["min", "max"])
        axes.set_xticks([r for r in (0.25, 0.5, 1, 1.5, 2) if ends["min"] <= r <= ends["max"]])
    fig.legend(loc="outside lower center", ncols=4, fontsize=8)
    return fig, pd.concat(plotted)


def _moved(rows):
    """Of one method the mean distance from the score of the own shape at each ratio."""
    own = rows[rows.own].set_index("photograph").predicted
    others = rows[~rows.own]
    distance = (others.predicted - others.photograph.map(own)).abs() / others.spread
    return distance.groupby(others.ratio).mean().rename("moved").reset_index()


@figure
def scale_attention(examples: list[dict]):
    """Where the scored token looks: attention of the last layer, mean over heads, over the patches
    of each scale by itself, as brightness of the picture: the most attended patch of a scale is
    shown as it is, an unattended one black. Columns are the picture, then its scales, all shown at
    one size.

    examples   mappings of image uint8 (h, w, 3), title, and maps: name of a scale -> attention of
               its patches (rows, columns), and sizes: its height and width in pixels, which patches
               of 32 cover with as much to spare before as after
    """
    names = list(examples[0]["maps"])
    # All pictures of a column are as wide, but tall ones no taller than 1.3 times that.
    heights = [
        min(1.3, example["image"].shape[0] / example["image"].shape[1]) for example in examples
    ]
    size = 1.75 * (1 + len(names)), 1.75 * sum(heights) + 0.22 * len(examples) + 0.2
    fig, grid = plt.subplots(
        len(examples),
        1 + len(names),
        figsize=size,
        squeeze=False,
        layout="constrained",
        height_ratios=heights,
    )
    shown = []
    for line, example in zip(grid, examples, strict=True):
        picture = Image.fromarray(example["image"])
        picture.thumbnail((480, 480))
        pixels = np.asarray(picture)
        line[0].imshow(pixels)
        line[0].set_xlabel(example["title"], fontsize=7)
        for axes, name in zip(line[1:], names, strict=True):
            attention = example["maps"][name]
            light = _on_picture(attention, example["sizes"][name], pixels.shape[:2])
            axes.imshow((pixels * light[..., None]).astype(np.uint8))
            rows, columns = np.indices(attention.shape)
            table = {"image": example["title"], "scale": name, "row": rows.ravel()}
            table |= {"column": columns.ravel(), "attention": attention.ravel()}
            shown.append(pd.DataFrame(table))
        for axes in line:
            bare(axes)
    for axes, name in zip(grid[0], ["picture", *names], strict=True):
        longer = name if name in ("picture", "native") else f"longer side {name}"
        axes.set_title(longer, fontsize=8)
    return fig, pd.concat(shown)


def _on_picture(attention, size, shape):
    """Attention of patches (rows, columns), over all that they cover, on the pixels of a picture of
    that shape: 0 to 1.
    """
    height, width = size
    whole = np.kron(attention / attention.max(), np.ones((32, 32)))
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    part = Image.fromarray((255 * whole[top : top + height, left : left + width]).astype(np.uint8))
    return np.asarray(part.resize(shape[::-1], Image.BILINEAR)) / 255


@figure
def hash_similarity(embedding: np.ndarray):
    """How alike the embeddings of the cells are to which patches are hashed: the small map in row
    i, column j shows the cosine of cell (i, j) with every cell (k, l).

    embedding   (g * g, width), the cells row by row
    """
    side = round(len(embedding) ** 0.5)
    normal = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    cosine = (normal @ normal.T).reshape(side, side, side, side)
    # One picture, a cell of empty border around each small map: 100 axes would take ten seconds.
    step = side + 1
    tiled = np.full((side * step - 1, side * step - 1), np.nan)
    for row, column in np.ndindex(side, side):
        corner = slice(row * step, row * step + side), slice(column * step, column * step + side)
        tiled[corner] = cosine[row, column]
    fig, axes = plt.subplots(figsize=(5.2, 4.4), layout="constrained")
    drawn = axes.imshow(tiled, cmap="viridis", vmin=-1, vmax=1, interpolation="nearest")
    middles = np.arange(side) * step + (side - 1) / 2
    axes.set_xticks(middles, range(1, side + 1))
    axes.set_yticks(middles, range(1, side + 1))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    fig.colorbar(drawn, ax=axes, label="cosine", fraction=0.045)
    places = np.indices(cosine.shape).reshape(4, -1)
    columns = dict(zip(("row", "column", "row2", "column2"), places + 1, strict=True))
    return fig, pd.DataFrame({**columns, "cosine": cosine.ravel()})
