"""Images beside what they were made of, with their labels and what models say."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from ..pixels import read_image
from .page import inches
from .pictures import bare, show_image
from .registry import figure


@figure
def outputs_of_inputs(data: pd.DataFrame, *, root: Path, inputs: str = "degradation"):
    """What was made of some inputs, one a row: the whole photograph, then the middle third of each
    side, magnified, of the photograph, of the degraded input and of its outputs from the best label
    on; under each its restorer, its place by the label and, where scores are given, by the model's
    score.

    data     rows of a table, whole inputs: image, reference, degraded, restorer, content, label and
             the column `inputs`; optionally predicted
    root     the project
    """
    groups = list(data.groupby(["content", inputs], sort=False))
    columns = 3 + max(len(rows) for _, rows in groups)
    lines = 4 if "predicted" in data else 3
    size = inches("page"), (0.5 + 0.13 * lines) * len(groups) + 0.1
    fig, grid = plt.subplots(
        len(groups), columns, figsize=size, squeeze=False, layout="constrained"
    )
    fig.get_layout_engine().set(w_pad=0.01, wspace=0.02)
    shown = []
    for line, ((_, given), rows) in zip(grid, groups, strict=True):
        rows = rows.sort_values("label", ascending=False)
        ranks = pd.DataFrame({"label": rows.label.rank(ascending=False, method="first")})
        if "predicted" in rows:
            ranks["score"] = rows.predicted.rank(ascending=False, method="first")
        reference, degraded = root / rows.reference.iloc[0], root / rows.degraded.iloc[0]
        show_image(line[0], reference, "photo")
        _show_middle(line[1], reference, "pristine")
        _show_middle(line[2], degraded, f"input\n{given}")
        for axes, row, places in zip(
            line[3:], rows.itertuples(), ranks.itertuples(index=False), strict=False
        ):
            name = row.restorer.replace("_", " ").replace("richardson lucy", "Rich.-Lucy")
            text = "\n".join(f"{what} {place:.0f}" for what, place in places._asdict().items())
            _show_middle(axes, root / row.image, f"{name}\n{text}")
        for axes in line:
            bare(axes)
        shown.append(rows.assign(**{f"{name} place": ranks[name] for name in ranks}))
    return fig, pd.concat(shown)


def _show_middle(axes, path, text):
    """The middle third of an image, both ways, pixel by pixel."""
    image = read_image(path)
    height, width = (side // 3 for side in image.shape[:2])
    axes.imshow(image[height:-height, width:-width], interpolation="nearest")
    axes.set_xlabel(text, fontsize=7)
