"""Methods beside each other, as bars and as a matrix; the common comparison frame as in
`comparisons`.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import marks, page
from .marks import STATISTICS
from .registry import figure

POINTS = 100  # a point is a hundredth of a correlation
COSTS = {"params_m": "parameters (M)", "gmacs": "GMACs", "ms": "ms per image"}


@figure
def component_bars(data: pd.DataFrame):
    """Components added one by one, from the baseline on top: SRCC and PLCC with all
    components so far. Beside a bar: how much more than the bar before, in points (a point is .01 of
    a correlation), with its 95 % interval in brackets where known; above: what all add to the
    baseline. Filled: SMART-IQA, hollow: baseline; plain: measured, hatched: reported; whiskers: 95
    % intervals where known. The axes do not begin at 0.

    data   the comparison frame with the column step (order) and, optionally, srcc_gain_low,
           srcc_gain_high (and of plcc): the interval of the difference from the step before
    """
    data = data.dropna(subset=["srcc"]).sort_values(["step", "kind"], kind="stable")
    base = data.method.iloc[0]
    statistics = marks.known(data)
    for statistic in statistics:
        data[f"{statistic}_points"] = POINTS * data.groupby("kind")[statistic].diff()
    steps = {step: place for place, step in enumerate(data.step.unique())}
    data = data.assign(line=data.step.map(steps))
    data, thick = _side_by_side(data)
    fig, grid = marks.panels(len(statistics), 0.9 + 0.42 * len(steps), share="y")
    for axes, statistic in zip(grid, statistics, strict=True):
        _component_panel(axes, data, statistic, thick)
    names = data.drop_duplicates("line").method.map(marks.wrapped)
    for axes in grid:
        axes.set_yticks(range(len(steps)), names)
    marks.legend(fig, marks.bar_keys(data))
    unit = " or ".join(STATISTICS[statistic] for statistic in statistics)
    marks.note(fig, f"+: points of {unit} × 100 over the step above; {_in_all(data, base)}")
    more = [f"{statistic}_points" for statistic in statistics]
    more += [name for name in data if "_gain_" in name]
    return fig, marks.columns(data, "step", *more)


def _side_by_side(data):
    """Where bars of several kinds on one line are, as the column place, and how thick."""
    kinds = marks.kinds(data)
    thick = 0.8 / len(kinds)
    shift = data.kind.map(kinds.index) - (len(kinds) - 1) / 2
    return data.assign(place=data.line + shift * thick), thick


def _component_panel(axes, data, statistic, thick):
    """Bars of one statistic with what each has more than the one before."""
    rows = data.dropna(subset=[statistic])
    for row in rows.to_dict("records"):
        looks = marks.bar(row["own"], row["kind"])
        axes.barh(row["place"], row[statistic], 0.9 * thick, **looks)
    ends = marks.interval(rows, statistic)
    whiskers = dict(fmt="none", ecolor="black", elinewidth=0.9, capsize=2)
    axes.errorbar(rows[statistic], rows.place, xerr=ends, **whiskers)
    right = np.nan_to_num(ends[1]) + rows[statistic]
    for end, row in zip(right, rows.to_dict("records"), strict=True):
        beside = dict(xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
        axes.annotate(_gained(row, statistic), (end, row["place"]), **beside)
    # Room for the words: letters of 0.055 inches in a panel that names take some 2/5 of.
    letters = max(len(_gained(row, statistic)) for row in rows.to_dict("records"))
    inches = 0.6 * page.current_width() / (1 if page.is_narrow() else 2)
    share = min(0.7, (0.055 * letters + 0.1) / inches)
    start = _start(rows[statistic] - np.nan_to_num(ends[0]))
    axes.set_xlim(start, start + (right.max() - start) / (1 - share))
    axes.set_ylim(data.line.max() + 0.5, -0.5)
    # No ticks below the words, where a correlation may be past 1.
    ticks = MaxNLocator(max(2, round(4 * (1 - share)))).tick_values(start, right.max())
    axes.set_xticks(ticks[(ticks >= start) & (ticks <= right.max())])
    axes.set_xlabel(f"{STATISTICS[statistic]} (axis begins at {start:g}, not at 0)")
    axes.grid(axis="y", visible=False)


def _start(values):
    """A round beginning of the axis, somewhat below the lowest value."""
    room = max(np.ptp(values), 0.02) / 2
    return np.floor((values.min() - room) * 50) / 50


def _gained(row, statistic):
    """What a bar has more than the one before, "+0.15 [-0.10, +0.40]"; the first its value."""
    more = row[f"{statistic}_points"]
    if pd.isna(more):
        return f"{row[statistic]:.4f}".lstrip("0")
    text = f"{more:+.2f}"
    low, high = (row.get(f"{statistic}_gain_{end}", np.nan) for end in ("low", "high"))
    if pd.notna(low):
        text += f" [{POINTS * low:+.2f}, {POINTS * high:+.2f}]"
    return text


def _in_all(data, base):
    """What all components add to the base, of each kind that has both ends."""
    said = []
    for kind, rows in data.groupby("kind"):
        if rows.method.iloc[0] == base and len(rows) > 1:
            all_of_them = POINTS * (rows.srcc.iloc[-1] - rows.srcc.iloc[0])
            said.append(f"{all_of_them:+.2f} {kind}")
    return f"in all over {base}: SRCC {', '.join(said)}" if said else f"base: {base}"


@figure
def complexity_bars(data: pd.DataFrame):
    """What a method costs: parameters in millions, multiply-accumulates for an image in billions
    (GMACs, which papers often print as FLOPs), and milliseconds for an image. Filled: SMART-IQA,
    hollow: others; plain: measured, hatched: reported. No bar: not known. Times of different
    machines are not comparable.

    data   the comparison frame with columns params_m, gmacs and ms, those that are known
    """
    costs = [name for name in COSTS if name in data and data[name].notna().any()]
    methods = list(data.method.unique())
    data = data.assign(line=data.method.map(methods.index))
    data, thick = _side_by_side(data)
    size = page.current_width(), 0.8 + 0.3 * len(methods)
    fig, grid = plt.subplots(1, len(costs), figsize=size, sharey=True, squeeze=False)
    for axes, cost in zip(grid[0], costs, strict=True):
        for row in data.dropna(subset=[cost]).to_dict("records"):
            looks = marks.bar(row["own"], row["kind"])
            axes.barh(row["place"], row[cost], 0.9 * thick, **looks)
            beside = dict(xytext=(2, 0), textcoords="offset points", va="center", fontsize=7)
            axes.annotate(f"{row[cost]:.3g}", (row[cost], row["place"]), **beside)
        axes.set(xlabel=COSTS[cost], ylim=(len(methods) - 0.5, -0.5))
        axes.set_xlim(0, 1.4 * data[cost].max())
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3, prune="upper"))
        axes.grid(axis="y", visible=False)
    grid[0, 0].set_yticks(range(len(methods)), [marks.wrapped(name, 14) for name in methods])
    marks.legend(fig, marks.bar_keys(data))
    shown = ["method", "own", "kind", *costs]
    return fig, data.dropna(subset=costs, how="all")[shown].reset_index(drop=True)


@figure
def transfer_reported(data: pd.DataFrame):
    """SRCC of methods (rows) trained on one set and tested on others (columns), the darker the
    higher; in brackets 95 % intervals where known. Filled diamond: SMART-IQA, hollow: others. A row
    is of figures that were reported, or of figures measured here, as it says.

    data   the comparison frame with the column tested: the name of the test set
    """
    data = data.dropna(subset=["srcc"]).reset_index(drop=True)
    rows = list(data.groupby(["method", "own", "kind"], sort=False).groups)
    columns = list(data.tested.unique())
    table = data.pivot(index=["method", "own", "kind"], columns="tested", values="srcc")
    values = table.reindex(index=pd.MultiIndex.from_tuples(rows), columns=columns).to_numpy()
    names = [f"{marks.wrapped(name, 24)} {'◆' if own else '◇'}\n{kind}" for name, own, kind in rows]
    tallest = max(name.count("\n") + 1 for name in names)
    size = page.current_width(), 0.6 + (0.14 * tallest + 0.1) * len(rows)
    fig, axes = plt.subplots(figsize=size)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for cell in data.to_dict("records"):
        place = rows.index((cell["method"], cell["own"], cell["kind"]))
        colour = "white" if cell["srcc"] > 0.6 else "black"
        text = dict(ha="center", va="center", fontsize=7.5, color=colour)
        axes.text(columns.index(cell["tested"]), place, _cell(cell), **text)
    axes.set_yticks(range(len(rows)), names)
    axes.set_xticks(range(len(columns)), [name.replace("_", " ") for name in columns])
    axes.set(xlabel="tested on", title="SRCC")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return fig, marks.columns(data, "tested")


def _cell(cell):
    """A value, and below it its interval where there is one."""
    low, high = cell.get("srcc_low", np.nan), cell.get("srcc_high", np.nan)
    value = f"{cell['srcc']:.3f}"
    return value if pd.isna(low) else f"{value}\n[{low:.2f}, {high:.2f}]"
