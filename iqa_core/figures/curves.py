"""How a training went."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .page import in_column
from .registry import figure


@figure
def training_curves(histories: dict[str, pd.DataFrame]):
    """Training: mean absolute error, in label units, on training crops since the row before
    (dashed, hollow) and on the validation images (solid), and the validation SRCC that chooses the
    weights (mean over contents where the set has them). A circle marks the chosen row.

    histories   run name -> its history.csv
    """
    shape, size = ((2, 1), (3.4, 4.2)) if in_column() else ((1, 2), (7, 2.6))
    fig, (left, right) = plt.subplots(*shape, figsize=size)
    for number, (run, history) in enumerate(histories.items()):
        colour = f"C{number}"
        left.plot(history.epoch, history.train_l1, color=colour, ls="--", marker="o", ms=4, mfc="w")
        left.plot(history.epoch, history.val_l1, color=colour, marker=".")
        name = run.rpartition("/")[2].rpartition("--")[2]
        right.plot(history.epoch, history.val_score, color=colour, marker=".", label=name)
        best = history.loc[history.val_score.idxmax()]
        right.plot(best.epoch, best.val_score, "o", ms=8, mfc="none", color=colour)
    left.margins(y=0.2)  # room above the highest mark
    left.set(xlabel="epoch", ylabel="mean absolute error")
    left.set_ylim(bottom=0)
    left.set_title("hollow: training crops, solid: validation", loc="left", fontsize=8)
    by_content = all("val_content_srcc" in history for history in histories.values())
    score = "validation SRCC\nwithin contents" if by_content else "validation SRCC"
    right.set(xlabel="epoch", ylabel=score)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    fig.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncol=4)
    data = pd.concat([history.assign(run=run) for run, history in histories.items()])
    return fig, data[["run", "epoch", "step", "train_l1", "val_l1", "val_score"]]
