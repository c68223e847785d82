"""Images beside what they were made of, with their labels and what models say."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from .pictures import bare, show_image
from .registry import figure


@figure
def outputs_of_inputs(data: pd.DataFrame, *, root: Path, inputs: str = "degradation"):
    """What was made of some inputs, one a row: the pristine image, the degraded input, and its
    outputs from the best label on; under each its restorer, its place by the label and, where
    scores are given, by the model's score.

    data     rows of a table, whole inputs: image, reference, degraded, restorer, content, label and
             the column `inputs`; optionally predicted
    root     the project
    """
    groups = list(data.groupby(["content", inputs], sort=False))
    columns = 2 + max(len(rows) for _, rows in groups)
    size = 0.95 * columns + 0.3, 1.06 * len(groups) + 0.2
    fig, grid = plt.subplots(
        len(groups), columns, figsize=size, squeeze=False, layout="constrained"
    )
    shown = []
    for line, ((_, given), rows) in zip(grid, groups, strict=True):
        rows = rows.sort_values("label", ascending=False)
        ranks = pd.DataFrame({"label": rows.label.rank(ascending=False, method="first")})
        if "predicted" in rows:
            ranks["score"] = rows.predicted.rank(ascending=False, method="first")
        show_image(line[0], root / rows.reference.iloc[0], "pristine")
        show_image(line[1], root / rows.degraded.iloc[0], f"{given}: input")
        for axes, row, places in zip(
            line[2:], rows.itertuples(), ranks.itertuples(index=False), strict=False
        ):
            name = row.restorer.replace("_", " ").replace("richardson lucy", "Rich.-Lucy")
            text = ", ".join(f"{what} {place:.0f}" for what, place in places._asdict().items())
            show_image(axes, root / row.image, f"{name}\n{text}")
        for axes in line:
            bare(axes)
        shown.append(rows.assign(**{f"{name} place": ranks[name] for name in ranks}))
    return fig, pd.concat(shown)
