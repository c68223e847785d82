"""Methods beside each other, as points: backbones, sizes, the state of the art, learning rates and
losses. All take the common comparison frame:

method, own (the workbook's own model), kind (reported or measured), srcc, srcc_low, srcc_high,
plcc, plcc_low, plcc_high (NaN where unknown), and the columns that each figure names.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from matplotlib.transforms import blended_transform_factory

from . import marks, page
from .marks import DASHES, STATISTICS
from .registry import figure

BACKBONES = ("ResNet-50", "Swin-T", "Swin-S", "Swin-B")
SIZES = (1, 2, 5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000)  # millions, of ticks
TWIN_COLOURS = {"srcc": "black", "plcc": "C2"}


@figure
def model_lines(data: pd.DataFrame, *, axes: str = "side"):
    """SRCC and PLCC with backbones of rising size. Filled: SMART-IQA, hollow: others; solid lines
    and wide or round marks: measured, dashed lines and narrow or square marks: reported; whiskers:
    95 % intervals where known. The axes do not begin at 0. Lines only guide the eye.

    data   the comparison frame with the column backbone: ResNet-50, Swin-T, Swin-S, Swin-B
    axes   side: a panel each; twin: SRCC on the left axis and PLCC on the right, of one scale
    """
    data = data[data.srcc.notna() & data.backbone.isin(BACKBONES)]
    order = {name: place for place, name in enumerate(BACKBONES)}
    data = data.assign(place=data.backbone.map(order)).sort_values(["kind", "place"])
    statistics = marks.known(data)
    if axes == "twin":
        fig, (left,) = marks.panels(1, 2.6)
        drawn = [left, left.twinx()][: len(statistics)]
    else:
        fig, drawn = marks.panels(len(statistics), 2.2)
    for panel, statistic in zip(drawn, statistics, strict=True):
        colour = TWIN_COLOURS[statistic] if axes == "twin" else ""
        for kind, rows in data.dropna(subset=[statistic]).groupby("kind"):
            line = dict(color=colour or marks.COLOURS[kind], ls=DASHES[kind], lw=1.2)
            panel.plot(rows.place, rows[statistic], **line, label="_line")
        marks.points(panel, data, statistic, "place", along="y", colour=colour)
        present = sorted(data.place.unique())
        panel.set_xticks(present, [BACKBONES[place] for place in present])
        panel.set(ylabel=STATISTICS[statistic])
        panel.margins(x=0.12, y=0.15)
    keys = marks.point_keys(data, "0.35" if axes == "twin" else "")
    if axes == "twin":
        keys += _told_apart(drawn, statistics)
    marks.legend(fig, keys)
    return fig, marks.columns(data, "backbone")


def _told_apart(drawn, statistics):
    """Both axes of a twin figure in the colour of what they show, and of one scale, since two
    scales can make any two lines meet; returns their legend entries.
    """
    ends = np.ravel([panel.get_ylim() for panel in drawn])
    sides = dict(zip(("left", "right"), drawn, strict=False))
    keys = []
    for (side, panel), statistic in zip(sides.items(), statistics, strict=True):
        colour = TWIN_COLOURS[statistic]
        panel.set_ylim(ends.min(), ends.max())
        panel.set_ylabel(f"{STATISTICS[statistic]} ({side} axis)", color=colour)
        panel.tick_params(axis="y", colors=colour)
        panel.grid(side == "left")
        keys.append(Line2D([], [], color=colour, label=f"{STATISTICS[statistic]} ({side} axis)"))
    if len(drawn) > 1:
        drawn[1].spines["right"].set(visible=True, color=TWIN_COLOURS["plcc"])
    return keys


@figure
def size_against_performance(data: pd.DataFrame):
    """SRCC against the number of parameters, on a log axis. Filled diamonds: SMART-IQA, hollow:
    others; blue: measured, vermilion and narrow or square: reported; whiskers: 95 % intervals where
    known. Line: least squares of SRCC on the logarithm of the size, through the sizes of SMART-IQA
    alone, and only as far as these go. The SRCC axis does not begin at 0.

    data   the comparison frame with the column params_m, millions
    """
    data = data.dropna(subset=["params_m", "srcc"])
    fig, (axes,) = marks.panels(1, 2.6)
    marks.points(axes, data, "srcc", "params_m", along="y")
    lines = []
    for kind, rows in data[data.own].groupby("kind"):
        if rows.params_m.nunique() > 1:
            ends = np.array([rows.params_m.min(), rows.params_m.max()])
            fitted = np.polyval(np.polyfit(np.log(rows.params_m), rows.srcc, 1), np.log(ends))
            look = dict(color=marks.COLOURS[kind], ls=DASHES[kind], lw=1)
            axes.plot(ends, fitted, **look, label=f"trend, {kind}")
            line = pd.DataFrame({"params_m": ends, "srcc": fitted})
            lines.append(line.assign(method="trend", own=True, kind=kind))
    _name_points(axes, data, "params_m", "srcc")
    axes.set(xlabel="parameters (millions, log axis)", ylabel="SRCC")
    axes.margins(y=0.15)
    _log_ticks(axes, data.params_m, SIZES)
    trends = axes.get_legend_handles_labels()[0]
    marks.legend(fig, marks.point_keys(data) + [key for key in trends if isinstance(key, Line2D)])
    points = marks.columns(data, "params_m")
    if lines:
        points = pd.concat([points, *lines], ignore_index=True)
    return fig, points


def _name_points(axes, data, x, y):
    """Each method's name once, beside its points."""
    middle = np.sqrt(data[x].min() * data[x].max())
    reach = np.log(data[x].max() / middle) or 1
    for method, rows in data.groupby("method", sort=False):
        below, above = np.nan_to_num(marks.interval(rows, y))
        at = rows[x].mean(), (rows[y] - below).min()
        # Turned inwards near the ends; above the largest, whose name would meet its neighbour's.
        beyond = np.log(at[0] / middle) / reach
        place = dict(xytext=(0, -4), ha="left" if beyond < -0.5 else "center", va="top")
        if beyond > 0.5:
            at = at[0], (rows[y] + above).max()
            place = dict(xytext=(0, 5), ha="right", va="bottom")
        axes.annotate(method, at, textcoords="offset points", fontsize=7.5, **place)


def _log_ticks(axes, values, ticks):
    """A log axis somewhat wider than the values; `ticks`, but those too near to another."""
    low, high = values.min(), values.max()
    room = (high / low) ** 0.1 * 1.1
    if len(set(values)) > 1 and not any(low <= tick <= high for tick in ticks):
        ticks = [float(f"{value:.2g}") for value in (low, high)]
    kept = []
    for tick in sorted(ticks):
        far = not kept or tick / kept[-1] > (high / low) ** 0.08
        if low / room <= tick <= high * room and far:
            kept.append(tick)
    # Powers of ten would be set with exponents too small to read in print.
    names = [_plain(tick) for tick in kept]
    axes.set(xscale="log", xlim=(low / room, high * room))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(kept, names)


def _plain(value):
    """A number as it is written by hand: 5e-7, 0.001, 30."""
    return f"{value:g}".replace("e-0", "e-")


@figure
def state_of_the_art(data: pd.DataFrame, *, reference: str = "HyperIQA"):
    """SRCC and PLCC of methods, the best on top, kept apart by protocol: only methods below one
    heading were tested alike. Filled: SMART-IQA, hollow: others; round: measured, square or narrow:
    reported; whiskers: 95 % intervals where known. Dotted line: HyperIQA, under the same heading.
    The axes do not begin at 0.

    data        the comparison frame with the column protocol
    reference   how the method's name begins, at whose value the dashed line stands
    """
    data = data.dropna(subset=["srcc"])
    best = data.groupby(["protocol", "method"], sort=False).srcc.transform("max")
    protocols = {name: place for place, name in enumerate(data.protocol.unique())}
    data = data.assign(best=best, group=data.protocol.map(protocols))
    data = data.sort_values(["group", "best", "method"], ascending=[True, False, True])
    names, headings, lines = _lines(data)
    data["line"] = [names[key] for key in zip(data.protocol, data.method, strict=True)]
    fig, grid = _beside(marks.known(data), 0.8 + 0.185 * lines)
    for axes, statistic in zip(grid, marks.known(data), strict=True):
        _reference_lines(axes, data, statistic, reference)
        marks.points(axes, data, statistic, "line")
        axes.set(xlabel=STATISTICS[statistic], ylim=(lines - 0.4, -0.7))
        axes.margins(x=0.1)
        axes.locator_params(axis="x", nbins=2 if page.is_narrow() else 4)
    grid[0].set_yticks(list(names.values()), [method for _, method in names])
    # Headings span the figure; the layout would make room for them beside the panel.
    across = blended_transform_factory(fig.transFigure, grid[0].transData)
    for line, protocol in headings.items():
        text = dict(va="center", fontsize=8, fontweight="bold", transform=across)
        text |= dict(bbox=dict(facecolor="white", lw=0, pad=1))
        fig.text(0.01, line, protocol, **text).set_in_layout(False)
    keys = marks.point_keys(data)
    if data.method.str.startswith(reference).any():
        keys.append(Line2D([], [], color="0.4", ls=":", label=reference))
    marks.legend(fig, keys)
    return fig, marks.columns(data, "protocol")


def _lines(data):
    """On which line each method of each protocol is, the headings by their lines, and how many
    lines there are.
    """
    letters = int(14 * page.current_width())
    line, names, headings = 0, {}, {}
    for protocol, rows in data.groupby("protocol", sort=False):
        text = marks.wrapped(protocol, letters)
        tall = text.count("\n")
        headings[line + tall / 2] = text
        line += tall
        for method in rows.method.unique():
            line += 1
            names[protocol, method] = line
        line += 1.3
    return names, headings, line - 0.3


def _beside(statistics, height):
    """Panels beside each other at every width, with the names on the left of the first."""
    size = page.current_width(), height
    fig, grid = plt.subplots(1, len(statistics), figsize=size, sharey=True, squeeze=False)
    for axes in grid[0]:
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    return fig, list(grid[0])


def _reference_lines(axes, data, statistic, reference):
    """A line over the methods of a protocol at the value that the reference has there."""
    for _, rows in data.groupby("protocol", sort=False):
        values = rows[rows.method.str.startswith(reference)][statistic].dropna()
        for value in values:
            ends = rows.line.min() - 0.4, rows.line.max() + 0.4
            axes.plot([value, value], ends, color="0.4", ls=":", lw=1.2, zorder=1)


@figure
def learning_rates(data: pd.DataFrame):
    """SRCC and PLCC against the learning rate of the backbone; the number above a point is that
    of its epochs, and a line joins only trainings of as many. Ring: the highest SRCC, of reported
    and of measured, the lower rate where two are alike. Filled: SMART-IQA, hollow: others; wide
    marks: measured, narrow or square: reported; whiskers: 95 % intervals where known. The SRCC and
    PLCC axes do not begin at 0.

    data   the comparison frame with the columns lr and epochs
    """
    data = data.dropna(subset=["lr", "srcc"]).sort_values(["kind", "lr"])
    best = data.groupby("kind").srcc.idxmax()
    data = data.assign(best=data.index.isin(best))
    statistics = marks.known(data)
    fig, grid = marks.panels(len(statistics), 2.1)
    for axes, statistic in zip(grid, statistics, strict=True):
        for (kind, _), rows in data.groupby(["kind", "epochs"]):
            look = dict(color=marks.COLOURS[kind], ls=DASHES[kind], lw=1, label="_line")
            axes.plot(rows.lr, rows[statistic], **look)
        marks.points(axes, data, statistic, "lr", along="y")
        chosen = data[data.best]
        ring = dict(marker="o", ms=13, mfc="none", color="black", mew=1, ls="none")
        axes.plot(chosen.lr, chosen[statistic], **ring, label="_ring")
        for row in data.dropna(subset=[statistic, "epochs"]).to_dict("records"):
            above = dict(xytext=(0, 8), textcoords="offset points", ha="center", fontsize=7.5)
            axes.annotate(f"{row['epochs']:g}", (row["lr"], row[statistic]), **above)
        axes.set(xlabel="learning rate (log axis)", ylabel=STATISTICS[statistic])
        axes.margins(y=0.25)
        _log_ticks(axes, data.lr, data.lr)
    keys = marks.point_keys(data)
    ring = dict(marker="o", ms=9, mfc="none", color="black", ls="none")
    marks.legend(fig, [*keys, Line2D([], [], label="highest SRCC", **ring)])
    marks.note(fig, "above the points: epochs trained; a line joins equal numbers")
    return fig, marks.columns(data, "lr", "epochs", "best")


@figure
def losses(data: pd.DataFrame):
    """SRCC and PLCC of models trained with one loss each, the highest SRCC on top; where they are
    known, learning rate and epochs stand below a loss, for trainings of other ones differ in more
    than the loss. Filled: SMART-IQA, hollow: others; wide marks: measured, narrow or square:
    reported; whiskers: 95 % intervals where known. The axes do not begin at 0.

    data   the comparison frame with the column loss and, optionally, lr and epochs
    """
    data = data.dropna(subset=["srcc"])
    data = data.assign(name=[_trained_with(row) for row in data.to_dict("records")])
    best = data.groupby("name").srcc.transform("max")
    data = data.assign(best=best).sort_values(["best", "name"], ascending=[False, True])
    names = list(data.name.unique())
    data["line"] = [names.index(name) for name in data.name]
    lines = sum(1 + name.count("\n") for name in names)
    fig, grid = _beside(marks.known(data), 1 + 0.2 * lines)
    for axes, statistic in zip(grid, marks.known(data), strict=True):
        marks.points(axes, data, statistic, "line")
        axes.set(xlabel=STATISTICS[statistic], ylim=(len(names) - 0.4, -0.6))
        axes.margins(x=0.1)
        axes.locator_params(axis="x", nbins=2 if page.is_narrow() else 4)
    grid[0].set_yticks(range(len(names)), names)
    marks.legend(fig, marks.point_keys(data))
    return fig, marks.columns(data, *(name for name in ("loss", "lr", "epochs") if name in data))


def _trained_with(row):
    """The loss and, below, what else is known of the training."""
    more = [f"{name} {_plain(row[name])}" for name in ("lr", "epochs") if pd.notna(row.get(name))]
    return "\n".join([str(row["loss"]), ", ".join(more)]) if more else str(row["loss"])
