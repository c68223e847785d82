"""How methods are told apart, the same in all comparisons: the workbook's own model is filled and
others are hollow; measured and reported differ in shape and colour, as lines in their dashes, as
bars in their hatching.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import page

OWN = "SMART-IQA"
STATISTICS = {"srcc": "SRCC", "plcc": "PLCC"}
COLOURS = {"measured": "C0", "reported": "C1"}
DASHES = {"measured": "-", "reported": "--"}
HATCHES = {"measured": "", "reported": "////"}
SHAPES = {  # own, kind
    (True, "measured"): "D",
    (True, "reported"): "d",
    (False, "measured"): "o",
    (False, "reported"): "s",
}


def known(data: pd.DataFrame) -> list[str]:
    """Those of srcc and plcc that some row has a value of."""
    return [name for name in STATISTICS if name in data and data[name].notna().any()]


def kinds(data: pd.DataFrame) -> list[str]:
    """measured, reported: those that there are."""
    return [kind for kind in COLOURS if (data.kind == kind).any()]


def columns(data: pd.DataFrame, *more: str) -> pd.DataFrame:
    """The rows as they are plotted: name, own, kind, `more`, and the values that are known with
    their intervals.
    """
    names = ["method", "own", "kind", *more]
    names += [f"{name}{end}" for name in known(data) for end in ("", "_low", "_high")]
    return data.reindex(columns=list(dict.fromkeys(names))).reset_index(drop=True)


def panels(count: int, height: float, *, share: str = ""):
    """A figure of the current width and its axes, beside each other, or on narrow paper below.

    height   inches, of one panel
    share    x or y: the axis that all panels have in common
    """
    lines = count if page.is_narrow() else 1
    size = page.current_width(), height * lines
    shared = {f"share{share}": True} if share else {}
    fig, grid = plt.subplots(lines, count // lines, figsize=size, squeeze=False, **shared)
    return fig, list(grid.flat)


def interval(rows: pd.DataFrame, statistic: str) -> np.ndarray:
    """How far the ends of the intervals are from the values (2, n); NaN where there is none."""
    low = rows.get(f"{statistic}_low", pd.Series(np.nan, rows.index))
    high = rows.get(f"{statistic}_high", pd.Series(np.nan, rows.index))
    value = rows[statistic]
    return np.maximum(0, np.array([value - low, high - value], dtype=float))


def mark(own: bool, kind: str, colour: str = "") -> dict:
    """A point as `plot` and `errorbar` take it; the colour is that of its kind unless given."""
    colour = colour or COLOURS[kind]
    face = colour if own else "white"
    return dict(marker=SHAPES[own, kind], color=colour, mfc=face, ms=6, mew=1.3, ls="none")


def points(axes, rows: pd.DataFrame, statistic: str, place: str, *, along: str = "x", colour=""):
    """Draw `statistic` along an axis, at the column `place` of the other, with its intervals."""
    for (own, kind), part in rows.groupby(["own", "kind"]):
        looks = mark(own, kind, colour) | dict(elinewidth=1, capsize=2, zorder=3)
        ends = interval(part, statistic)
        if along == "x":
            axes.errorbar(part[statistic], part[place], xerr=ends, **looks)
        else:
            axes.errorbar(part[place], part[statistic], yerr=ends, **looks)


def bar(own: bool, kind: str) -> dict:
    """A bar as `barh` takes it."""
    colour = COLOURS[kind]
    if own:
        return dict(facecolor=colour, edgecolor="white", hatch=HATCHES[kind], lw=0)
    return dict(facecolor="white", edgecolor=colour, hatch=HATCHES[kind], lw=1)


def said(own: bool, kind: str) -> str:
    """What a legend calls it."""
    return f"{OWN if own else 'others'}, {kind}"


def _combinations(data):
    """Own or not, and kind, of all rows: the own model first."""
    found = data[["own", "kind"]].drop_duplicates().sort_values(["own", "kind"])
    return found.sort_values("own", ascending=False, kind="stable").itertuples(index=False)


def point_keys(data: pd.DataFrame, colour: str = "") -> list:
    """Legend entries of the points."""
    return [
        Line2D([], [], label=said(own, kind), **mark(own, kind, colour))
        for own, kind in _combinations(data)
    ]


def bar_keys(data: pd.DataFrame) -> list:
    """Legend entries of the bars."""
    return [Patch(label=said(own, kind), **bar(own, kind)) for own, kind in _combinations(data)]


def legend(fig, keys: list) -> None:
    """The legend, below the panels."""
    across = 2 if page.is_narrow() else 4
    fig.legend(handles=keys, loc="outside lower center", ncol=min(across, len(keys)))


def note(fig, text: str) -> None:
    """What has to be known of the numbers, above the panels."""
    letters = int(15 * page.current_width())
    fig.suptitle(textwrap.fill(text, letters), x=0.01, ha="left", fontsize=8)


def wrapped(name: str, letters: int = 18) -> str:
    """A name on lines of that many letters."""
    return textwrap.fill(name, letters, break_long_words=False)
