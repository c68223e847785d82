"""Figures that compare methods: what the CSV holds is what is drawn, at every printed width. All
numbers here are invented."""

import ast
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.text import Text

from iqa_core import figures
from iqa_core.figures import page


@pytest.fixture(autouse=True)
def paper():
    with plt.rc_context():
        figures.style()
        yield
    plt.close("all")


def invented():
    """Four methods, reported and measured; PLCC and intervals of the measured ones alone."""
    methods = ["HyperIQA", "SMART-IQA Swin-T", "SMART-IQA Swin-S", "SMART-IQA Swin-B"]
    frame = pd.DataFrame({"method": methods, "own": [False, True, True, True]})
    frame["backbone"] = ["ResNet-50", "Swin-T", "Swin-S", "Swin-B"]
    frame = frame.assign(step=range(4), params_m=[20.0, 30, 55, 90], gmacs=[4.0, 5, 9, 16])
    frame = frame.assign(lr=[1e-7, 5e-7, 1e-6, 5e-6], epochs=[5, 5, 10, 10])
    frame["loss"] = ["L1", "L2", "fidelity", "rank"]
    frame["protocol"] = ["a split of invented photographs", *["random splits"] * 3]
    frame["tested"], frame["source"] = "elsewhere", "invented"
    srcc = pd.Series([0.5, 0.6, 0.64, 0.62])
    unknown = dict.fromkeys(["srcc_low", "srcc_high", "plcc", "plcc_low", "plcc_high"], np.nan)
    reported = frame.assign(kind="reported", srcc=srcc, **unknown, ms=[3.0, np.nan, 8, 9])
    measured = frame.assign(kind="measured", srcc=srcc - 0.05, plcc=srcc - 0.02, ms=np.nan)
    for name in ("srcc", "plcc"):
        measured[f"{name}_low"] = measured[name] - 0.03
        measured[f"{name}_high"] = measured[name] + 0.02
    return pd.concat([reported, measured], ignore_index=True)


def predictions():
    number = np.arange(120)
    random = np.random.default_rng(0)
    table = pd.DataFrame({"image": [f"{n}.png" for n in number]})
    table["content"] = [f"c{n // 12}" for n in number]
    table["distortion"] = np.array(["gaussian_blur", "noise", "jpeg"])[number % 3]
    table["label"] = random.uniform(0, 100, 120)
    noise = random.normal(0, 1, 120) * (3 + 4 * (number % 3))
    return table.assign(predicted=20 + 0.6 * table.label + noise)


# figure, its arguments, and the columns that are drawn along x and y ("" a place in a list)
POINTS = {
    "model_lines": ({}, "", "srcc plcc"),
    "size_against_performance": ({}, "params_m", "srcc"),
    "state_of_the_art": ({}, "srcc plcc", ""),
    "learning_rates": ({}, "lr", "srcc plcc"),
    "losses": ({}, "srcc plcc", ""),
}
BARS = {
    "component_bars": ({}, "srcc plcc"),
    "complexity_bars": ({}, "params_m gmacs ms"),
}
ARGUMENTS = {name: found[0] for name, found in (POINTS | BARS).items()} | {"transfer_reported": {}}


def draw(name, data, **more):
    figure, drawn = getattr(figures, name)(data, **(ARGUMENTS.get(name, {}) | more))
    figure.canvas.draw()
    return figure, drawn


def marked(axes):
    """Points with or without intervals, (n, 2)."""
    lines = [one.lines[0] for one in axes.containers if isinstance(one, ErrorbarContainer)]
    return np.concatenate([line.get_xydata() for line in lines if line is not None])


def barred(axes):
    """Lengths of bars."""
    bars = [one.patches for one in axes.containers if isinstance(one, BarContainer)]
    return [patch.get_width() for patches in bars for patch in patches]


def same(values, expected):
    values, expected = np.asarray(values, dtype=float), np.asarray(expected, dtype=float)
    np.testing.assert_allclose(np.sort(values[~np.isnan(values)]), np.sort(expected))


@pytest.mark.parametrize("name", POINTS)
def test_points_are_those_of_the_csv(name):
    _, x, y = POINTS[name]
    figure, drawn = draw(name, invented())
    points = drawn[drawn.method != "trend"]
    assert len(points) == 8
    for place, columns in enumerate((x, y)):
        names = columns.split()
        for axes, column in zip(figure.axes, names * len(figure.axes), strict=False):
            same(marked(axes)[:, place], points[column].dropna())
    assert len(figure.axes) == max(len(x.split()), len(y.split()))


@pytest.mark.parametrize("name", BARS)
def test_bars_are_those_of_the_csv(name):
    figure, drawn = draw(name, invented())
    for axes, column in zip(figure.axes, BARS[name][1].split(), strict=True):
        same(barred(axes), drawn[column].dropna())


def test_increments_are_written_in_points_over_the_step_before():
    data = invented().assign(srcc_gain_low=0.02, srcc_gain_high=0.05)
    figure, drawn = draw("component_bars", data[data.kind == "reported"])
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == [
        ".5000",
        *(f"{more} [+2.00, +5.00]" for more in ("+10.00", "+4.00", "-2.00")),
    ]
    same(drawn.srcc_points.dropna(), [10, 4, -2])
    above = " ".join(figure.get_suptitle().split())
    assert "points of SRCC × 100" in above and "over HyperIQA: SRCC +12.00 reported" in above
    start = figure.axes[0].get_xlim()[0]
    assert start > 0 and f"begins at {start:g}, not at 0" in figure.axes[0].get_xlabel()


def test_the_trend_goes_through_the_own_sizes_alone():
    data = invented()
    figure, drawn = draw("size_against_performance", data)
    trends = drawn[drawn.method == "trend"]
    lines = [line for line in figure.axes[0].lines if line.get_label().startswith("trend")]
    for line, kind in zip(lines, ("measured", "reported"), strict=True):
        np.testing.assert_allclose(
            line.get_xydata(), trends.loc[trends.kind == kind, ["params_m", "srcc"]]
        )
        own = data[data.own & (data.kind == kind)]
        assert line.get_xdata().tolist() == [own.params_m.min(), own.params_m.max()]
        # least squares on the logarithm: what is left has neither mean nor slope
        left = own.srcc - np.interp(
            np.log(own.params_m), np.log(line.get_xdata()), line.get_ydata()
        )
        assert abs(left.sum()) < 1e-9 and abs(left @ np.log(own.params_m)) < 1e-9


def test_the_best_rate_has_a_ring_and_every_point_its_epochs():
    figure, drawn = draw("learning_rates", invented())
    axes = figure.axes[0]
    ring = next(line for line in axes.lines if line.get_label() == "_ring")
    assert drawn[drawn.best].lr.tolist() == [1e-6, 1e-6]
    same(ring.get_ydata(), drawn[drawn.best].srcc)
    same([float(text.get_text()) for text in axes.texts], drawn.epochs)


def test_methods_are_sorted_within_their_protocol_with_a_line_at_the_reference():
    figure, drawn = draw("state_of_the_art", invented())
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["HyperIQA", *(f"SMART-IQA Swin-{size}" for size in "SBT")]
    assert {text.get_text() for text in figure.texts} == set(drawn.protocol)
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    same([line.get_xdata()[0] for line in dotted], [0.45, 0.5])
    # it ends with its protocol
    assert all(max(line.get_ydata()) < 2 for line in dotted)


def test_the_matrix_holds_every_cell():
    data = pd.concat([invented(), invented().assign(tested="there", srcc=0.3)])
    figure, drawn = draw("transfer_reported", data)
    same(figure.axes[0].images[0].get_array().ravel(), drawn.srcc)
    same([float(text.get_text().split("\n")[0]) for text in figure.axes[0].texts], drawn.srcc)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "HyperIQA ◇\nreported" in names and "SMART-IQA Swin-B ◆\nmeasured" in names


def test_both_axes_of_a_twin_figure_have_one_scale():
    figure, drawn = draw("model_lines", invented(), axes="twin")
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim()
    same(marked(left)[:, 1], drawn.srcc)
    same(marked(right)[:, 1], drawn.plcc.dropna())


def test_errors_are_those_of_the_images():
    table = predictions()
    figure, drawn = draw("error_analysis", table)
    images = drawn[drawn.kind == "image"]
    same(images.error, (table.predicted - table.label).abs())
    few, many = (drawn_points.get_offsets() for drawn_points in figure.axes[0].collections[::-1])
    assert len(few) == images.large.sum() == 12
    large = images.large.astype(bool)
    assert images[large].error.min() >= images[~large].error.max()
    same(np.concatenate([few, many])[:, 0], table.predicted)
    same(np.concatenate([few, many])[:, 1], table.label)
    types = drawn[drawn.kind == "type"]
    panel = next(axes for axes in figure.axes if "mean absolute" in axes.get_xlabel())
    same(marked(panel)[:, 0], types.error)
    jpeg = table[table.distortion == "jpeg"]
    of_contents = (jpeg.predicted - jpeg.label).abs().groupby(jpeg.content).mean()
    assert types[types.distortion == "jpeg"].error.item() == pytest.approx(of_contents.mean())
    assert types.error.is_monotonic_decreasing and (types.contents == 10).all()
    line = next(one for one in figure.axes[0].lines if one.get_label() == "logistic")
    same(line.get_ydata(), drawn[drawn.kind == "logistic"].label)


@pytest.mark.parametrize("name", ["error_analysis", *ARGUMENTS])
@pytest.mark.parametrize("width", ["column", "page"])  # a slide has room for what a page has
def test_nothing_is_cut_off_and_all_can_be_read_in_print(name, width):
    data = predictions() if name == "error_analysis" else invented()
    plt.rcParams["figure.figsize"] = (page.inches(width), 2.4)
    figure, _ = draw(name, data)
    assert figure.get_figwidth() == pytest.approx(page.inches(width))
    box = figure.get_tightbbox()
    wide, high = figure.get_size_inches()
    assert box.x0 > -0.01 and box.y0 > -0.01 and box.x1 < wide + 0.01 and box.y1 < high + 0.01
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 7
    assert not [text for text in texts if "^" in text.get_text()]  # exponents would be smaller


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("rows", ["reported", "one"])
def test_few_rows_are_drawn_too(name, rows):
    data = invented()
    data = data[:1] if rows == "one" else data[data.kind == rows]
    _, drawn = draw(name, data)
    points = drawn[drawn.method != "trend"]
    assert len(points) == len(data)


def test_few_predictions_are_drawn_too():
    table = predictions()
    with np.errstate(all="raise"):
        draw("error_analysis", table[["image", "label", "predicted"]])
        draw("error_analysis", table[:3])
    figure, drawn = draw("error_analysis", table.assign(distortion=np.nan))
    assert "type" not in set(drawn.kind)
    assert not [axes for axes in figure.axes if "mean absolute" in axes.get_xlabel()]


@pytest.mark.parametrize("name", [*POINTS, *BARS])
def test_own_and_other_and_reported_and_measured_look_different(name):
    figure, _ = draw(name, invented())
    looks = {}
    for key, text in zip(
        figure.legends[0].legend_handles, figure.legends[0].get_texts(), strict=True
    ):
        if name in BARS:
            look = key.get_facecolor(), key.get_edgecolor(), key.get_hatch()
            filled = key.get_facecolor()[:3] != (1, 1, 1)
        else:
            look = key.get_marker(), key.get_markerfacecolor()
            filled = key.get_markerfacecolor() != "white"
        looks[text.get_text()] = look, filled
    for kind in ("reported", "measured"):
        assert looks[f"SMART-IQA, {kind}"][1] and not looks[f"others, {kind}"][1]
    for who in ("SMART-IQA", "others"):
        reported, measured = (looks[f"{who}, {kind}"][0] for kind in ("reported", "measured"))
        # in grey too: the mark of a point or the hatching of a bar
        assert reported[-1 if name in BARS else 0] != measured[-1 if name in BARS else 0]


# ---- no result stands in the code of a figure


def results_in(code):
    """Numbers from .5 to 1 of three or more decimals, however they are written: as literals, as
    arithmetic of literals, or within strings that are no docstrings.
    """
    tree = ast.parse(code)
    said = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if _documented(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value not in said:
                numbers = re.findall(r"(?<![\w.])\d*\.\d+(?:[eE][-+]?\d+)?(?![\w.])", node.value)
                found += [float(number) for number in numbers]
        elif isinstance(node, (ast.Constant, ast.BinOp, ast.UnaryOp)):
            found.append(_value(node))
    return [value for value in found if 0.5 <= value <= 1 and abs(value * 100 % 1 - 0.5) < 0.499999]


def _documented(node):
    return isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))


def _value(node):
    """What literals come to; 0 where a name or anything else takes part."""
    literals = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    if not all(isinstance(part, literals) for part in ast.walk(node)):
        return 0
    try:
        value = eval(compile(ast.Expression(node), "", "eval"), {})
    except (TypeError, ArithmeticError):
        return 0
    return value if isinstance(value, (int, float)) else 0


def test_no_result_is_written_in_the_code_of_a_figure():
    files = sorted((REPOSITORY / "iqa_core/figures").glob("*.py"))
    assert len(files) > 15
    assert {path.name: found for path in files if (found := results_in(path.read_text()))} == {}


WRITTEN = """\
x = .612
x = 0.61200
x = 612e-3
x = -.612
x = 6_12 / 1_000
f(1 - 0.388)
x = float(".612")
axes.text(0, 0, f"SRCC {name} 0.612")
x = 100 * [0.612]
"""


@pytest.mark.parametrize("code", WRITTEN.splitlines())
def test_a_result_is_found_however_it_is_written(code):
    assert results_in(f'"""A module of 0.777."""\n{code}\n') == [pytest.approx(0.612)]


@pytest.mark.parametrize("code", ["x = 0.61", "x = 0.045", "x = 1.0", "x = 5.125", "x = 0.5"])
def test_sizes_and_margins_are_no_results(code):
    assert results_in(code) == []
