"""Correlations: properties first, then agreement with SciPy, then the fits, then what is refused or
said.
"""

import json
import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from iqa_core import metrics, stats
from iqa_core.metrics import (
    apply_scale,
    correlations,
    fit_scale,
    logistic4,
    logistic5,
    per_content,
    polynomial3,
)

POINTS = ("srcc", "plcc", "plcc_poly3", "plcc4", "plcc5", "krcc")
pairs = st.lists(
    st.tuples(st.integers(-30, 30), st.integers(-30, 30)), min_size=6, max_size=40
)  # small range: many ties
# a fitted curve takes 50 ms
properties = settings(max_examples=12, deadline=None)


def quiet(*arrays, **keywords):
    """`correlations` where a fit may have too few different predictions, which other tests are
    about.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return correlations(*arrays, **{"draws": 2, **keywords})


def varied(data):
    x, y = np.array(data, dtype=float).T
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    return x, y


def noisy(n=200, seed=0, noise=0.3):
    generator = np.random.default_rng(seed)
    y = generator.uniform(1, 5, n)
    return y + noise * generator.normal(size=n), y


# ---- properties


@given(pairs)
@properties
def test_rank_correlations_ignore_any_rising_map(data):
    x, y = varied(data)
    before, after = quiet(x, y), quiet(np.exp(x / 10), y**3 + y)
    assert after["srcc"] == pytest.approx(before["srcc"], abs=1e-12)
    assert after["krcc"] == pytest.approx(before["krcc"], abs=1e-12)


@given(pairs)
@properties
def test_sign_flips_with_the_prediction_and_fitted_figures_do_not(data):
    x, y = varied(data)
    before, after = quiet(x, y), quiet(-x, y)
    for name in ("srcc", "plcc", "krcc"):
        assert after[name] == pytest.approx(-before[name], abs=1e-12)
    assert after["plcc_poly3"] == pytest.approx(before["plcc_poly3"], abs=1e-6, nan_ok=True)


@given(pairs, st.randoms(use_true_random=False))
@properties
def test_row_order_does_not_matter(data, random):
    x, y = varied(data)
    order = random.sample(range(len(x)), len(x))
    before, after = quiet(x, y), quiet(x[order], y[order])
    for name in POINTS:
        assert after[name] == pytest.approx(before[name], abs=1e-6, nan_ok=True), name


@given(pairs)
@example(
    [(-20, 28), (25, -18), (-26, -27), (4, 29), (-9, -16), (16, -19), (20, -18)]
)  # once fitted rounding errors
@properties
def test_bounds_and_no_fit_is_worse_than_a_straight_line(data):
    x, y = varied(data)
    result = quiet(x, y, draws=20)
    for name in POINTS:
        assert np.isnan(result[name]) or -1 <= result[name] <= 1, name
    for low, high in result["intervals"].values():
        assert np.isnan(low) or -1 <= low <= high <= 1
    for name in ("plcc_poly3", "plcc4", "plcc5"):
        assert np.isnan(result[name]) or result[name] >= abs(result["plcc"]) - 1e-4, name
    if not np.isnan(result["plcc5"]):
        assert result["rmse"] == pytest.approx(
            y.std() * np.sqrt(1 - result["plcc5"] ** 2), abs=1e-5 * np.ptp(y)
        )


def test_perfect_and_reversed():
    y = np.linspace(1, 5, 30)
    assert all(correlations(y, y, draws=10)[name] == pytest.approx(1) for name in POINTS)
    assert all(
        correlations(-y, y, draws=10)[name] == pytest.approx(-1)
        for name in ("srcc", "plcc", "krcc")
    )


# ---- agreement with SciPy


@pytest.mark.parametrize("values", [3, 7, 10_000], ids=["heavy ties", "ties", "hardly a tie"])
def test_agrees_with_scipy(values):
    generator = np.random.default_rng(values)
    y = generator.integers(values, size=400)
    x = np.round(y + values / 3 * generator.normal(size=400))
    result = quiet(x, y)
    assert result["srcc"] == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert result["plcc"] == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-12)
    assert result["krcc"] == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("content", [None, np.arange(60) // 6])
def test_intervals_are_those_of_scipy_on_the_same_resamples(content):
    x, y = (np.round(values, 1) for values in noisy(60))
    result = correlations(x, y, content=content, draws=100, seed=3)
    tools = dict(srcc=scipy.stats.spearmanr, plcc=scipy.stats.pearsonr, krcc=scipy.stats.kendalltau)
    for name, tool in tools.items():
        samples = stats.bootstrap(
            lambda x, y, tool=tool: tool(x, y).statistic, x, y, group=content, draws=100, seed=3
        )
        units = 60 if content is None else 10
        half = (
            scipy.stats.t.ppf(0.975, units - 1)
            * np.arctanh(samples).std()
            * np.sqrt(units / (units - 1))
        )
        ends = np.tanh(np.arctanh(tool(x, y).statistic) + np.array([-half, half]))
        assert result["intervals"][name] == pytest.approx(ends, abs=1e-12), name


def test_interval_brackets_the_point_repeats_with_the_seed_and_names_its_unit():
    x, y = noisy()
    one, two, other = correlations(x, y), correlations(x, y), correlations(x, y, seed=1)
    assert one["intervals"] == two["intervals"] != other["intervals"]
    for name, (low, high) in one["intervals"].items():
        assert low < one[name] < high
    assert (one["n"], one["unit"], one["draws"]) == (200, "image", 2000)
    assert correlations(x, y, content=np.arange(200) // 10, draws=10)["unit"] == "content"


@pytest.mark.parametrize(("of_a_content", "unit"), [(1, "image"), (2, "content")])
def test_a_content_of_one_image_is_an_image_in_every_statistic(of_a_content, unit):
    """KonIQ-10k has a content for each image: its unit of resampling is the image."""
    x, y = noisy(24)
    content = np.arange(24) // of_a_content
    found = [
        correlations(x, y, content=content, draws=2),
        stats.compare(x, y[::-1], y, content=content, draws=2),
        stats.compare_seeds([x, x + y], [y[::-1], -x], y, content=content, draws=2),
        stats.significant_pairs(x, y, label_std=np.ones(24), votes=9, content=content),
    ]
    with pytest.warns(RuntimeWarning, match="constant predictions"):
        found.append(correlations(np.ones(24), y, content=content))
    assert [row["unit"] for row in found] == [unit] * 5


def test_clustered_images_have_a_wider_interval_by_content():
    generator = np.random.default_rng(0)
    content = np.repeat(np.arange(30), 20)
    y = generator.normal(size=30)[content] + 0.2 * generator.normal(size=600)
    x = y + generator.normal(size=30)[content] + 0.2 * generator.normal(size=600)
    low, high = correlations(x, y, draws=300)["intervals"]["srcc"]
    low_content, high_content = correlations(x, y, content=content, draws=300)["intervals"]["srcc"]
    assert high_content - low_content > 2 * (high - low)


def test_many_rows_draw_less_and_say_so(monkeypatch):
    monkeypatch.setattr("iqa_core.stats.intervals.FEW_ROWS", 100)
    assert correlations(*noisy(200), draws=1000)["draws"] == 500


# ---- fitted curves

UNITS = {"0..1": (0, 1), "dB": (20, 50), "Elo": (900, 1900), "large": (-3e6, 7e6)}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("fall", [False, True], ids=["rising", "falling"])
@pytest.mark.parametrize(("fit", "line"), [(logistic4, 0), (logistic5, 0.7)])
def test_a_planted_curve_is_recovered(unit, fall, fit, line):
    x = np.linspace(*UNITS[unit], 300)
    share = (x - x[0]) / np.ptp(x)
    y = 10 + 60 / (1 + np.exp(-12 * (share - 0.35))) + line * 60 * share
    y = -y if fall else y
    curve, grid = fit(x, y), np.linspace(x[0], x[-1], 7).reshape(7, 1)
    assert curve(x) == pytest.approx(y, abs=1e-2)
    assert curve(grid).shape == grid.shape  # a scatter figure draws it over any grid
    assert correlations(x, y, draws=2)["plcc5"] > 0.99999


@pytest.mark.parametrize("seed", range(5))
def test_fits_are_no_worse_than_curve_fit_from_the_usual_start(seed):
    generator = np.random.default_rng(seed)
    x = generator.uniform(20, 50, 250)
    y = (
        90 - 70 / (1 + np.exp(-0.4 * (x - 33))) + 6 * generator.normal(size=250)
    )  # falling, as PSNR against DMOS
    z = (x - x.mean()) / x.std()

    def four(z, b1, b2, b3, b4):
        return (b1 - b2) / (1 + np.exp(-(z - b3) / abs(b4))) + b2

    def five(z, b1, b2, b3, b4, b5):
        return b1 * (0.5 - 1 / (1 + np.exp(b2 * (z - b3)))) + b4 * z + b5

    usual = {
        logistic4: (four, [y.min(), y.max(), 0, 0.5]),
        logistic5: (five, [-np.ptp(y), 1, 0, 0, y.mean()]),
    }
    for fit, (formula, start) in usual.items():
        theirs = formula(z, *scipy.optimize.curve_fit(formula, z, y, start, maxfev=20_000)[0])
        assert np.mean((fit(x, y)(x) - y) ** 2) <= np.mean((theirs - y) ** 2) * (1 + 1e-6)


def test_logistic4_is_monotone():
    x, y = noisy(150)
    rising = np.diff(logistic4(x, y)(np.sort(x)))
    assert (rising >= -1e-9).all()


def least_error(x, y, parameters):
    """Mean squared error of the best curve: of a cubic by Gram and Schmidt in exact fractions, of a
    sigmoid by a global search over its centre (by rank, and beyond the ends) and slope.
    """
    if parameters == 3:
        rest, powers = np.array([Fraction(value) for value in y]), []
        for power in range(4):
            column = np.array([Fraction(value) ** power for value in x])
            for other in powers:
                column = column - other * (column @ other / (other @ other))
            powers.append(column)
            rest = rest - column * (rest @ column / (column @ column))
        return float(rest @ rest) / len(x)
    ordered = np.sort(x)
    low, high = np.quantile(x, [0.1, 0.9])

    def error(shape):
        rank, slope = shape[0], np.exp(shape[1]) / (high - low)
        centre = np.interp(rank, np.linspace(0, 1, len(x)), ordered)
        centre += (high - low) * (max(rank - 1, 0) + min(rank, 0))
        columns = [scipy.special.expit(slope * (x - centre)), np.ones(len(x)), x / abs(x).max()]
        columns = np.column_stack(columns[: parameters - 2])
        return np.mean((columns @ np.linalg.lstsq(columns, y, rcond=1e-12)[0] - y) ** 2)

    bounds = [(-1, 2), (-3, 6)]
    return scipy.optimize.differential_evolution(error, bounds, maxiter=40, rng=0).fun


SHAPES = {
    "rising": lambda x: 5 / (1 + np.exp(-2 * (x - 3))),
    "falling": lambda x: 90 - 70 / (1 + np.exp(-1.5 * (x - 2))),
    "straight": lambda x: 20 + 10 * x,
    "humped": lambda x: (x - 2) ** 2,
}
FITS = {3: polynomial3, 4: logistic4, 5: logistic5}


@pytest.mark.parametrize("far", [None, 1e6, -1e3])
@pytest.mark.parametrize("shape", SHAPES)
def test_fits_reach_the_best_that_a_global_search_finds(shape, far):
    generator = np.random.default_rng(1)
    x = generator.uniform(0, 5, 40)
    y = SHAPES[shape](x)
    y = y + 0.1 * np.ptp(y) * generator.normal(size=40)
    x[0] = x[0] if far is None else far
    for parameters, fit in FITS.items():
        found = np.mean((fit(x, y)(x) - y) ** 2)
        assert found <= least_error(x, y, parameters) + 1e-4 * y.var(), parameters


@pytest.mark.parametrize("far", [1e4, 1e6, 1e9, -1e6])
def test_one_prediction_far_out_moves_no_other(far):
    x, y = noisy(200)
    before = correlations(x, y, draws=2)
    x[0] = far
    after = correlations(x, y, draws=2)
    for name in ("plcc_poly3", "plcc4", "plcc5"):
        assert after[name] == pytest.approx(before[name], abs=0.02), name
    scale = fit_scale(x, y)
    assert stats.srcc(apply_scale(scale, x[1:]), x[1:]) == 1
    assert stats.plcc(apply_scale(scale, x), y) == pytest.approx(after["plcc4"], abs=1e-9)


def test_polynomial_is_numpys():
    x, y = noisy()
    assert polynomial3(x, y)(x) == pytest.approx(np.polynomial.Polynomial.fit(x, y, 3)(x))


def test_a_fit_that_fails_is_nan_and_said():
    x, y = np.repeat([1.0, 2, 3, 4], 10), np.arange(40.0)
    with pytest.warns(
        RuntimeWarning, match="fit of 5 parameters failed, with 4 different predictions"
    ):
        result = correlations(x, y, draws=10)
    assert np.isnan([result["plcc5"], result["rmse"]]).all()
    assert result["plcc4"] > result["plcc"] - 1e-4
    with pytest.warns(RuntimeWarning, match="4 parameters failed"):
        assert np.isnan(polynomial3(x[:20], y[:20])(x)).all()


# ---- a scale for scores


@pytest.mark.parametrize("unit", UNITS)
def test_a_scale_is_the_fitted_logistic_survives_json_and_keeps_every_rank(unit):
    low, high = UNITS[unit]
    x, y = noisy(150)
    x = low + (high - low) * x / 6
    scale = json.loads(json.dumps(fit_scale(x, y), allow_nan=False))
    assert (scale["kind"], scale["n"]) == ("logistic4", 150)
    assert apply_scale(scale, x) == pytest.approx(logistic4(x, y)(x), abs=1e-9)
    far = np.linspace(low - (high - low), high + (high - low), 200).reshape(
        2, 100
    )  # beyond what was fitted
    scores = apply_scale(scale, far)
    assert scores.shape == (2, 100) and (np.diff(scores.ravel()) > 0).all()
    assert stats.srcc(apply_scale(scale, x), x) == 1
    assert abs(np.mean(apply_scale(scale, x) - y)) < 1e-6  # scores are on the label's scale


def test_a_falling_scale_is_said():
    x, y = noisy()
    with pytest.warns(RuntimeWarning, match="the scale falls"):
        scale = fit_scale(-x, y)
    assert (np.diff(apply_scale(scale, np.linspace(-6, 0, 50))) < 0).all()


@pytest.mark.parametrize(
    ("x", "y"), [([2.0] * 5, [1, 2, 3, 4, 5]), ([1, 2, 3, 1], [1, 2, 3, 4]), (range(9), [4.0] * 9)]
)
def test_a_scale_that_cannot_be_fitted_is_the_mean_label_and_said(x, y):
    with pytest.warns(RuntimeWarning, match=r"no scale: \d different predictions \(4 needed\)"):
        scale = fit_scale(x, list(y))
    assert scale == dict(kind="constant", coefficients=[np.mean(y)], n=len(y))
    assert (apply_scale(scale, [[1.0, 9.0]]) == np.full((1, 2), np.mean(y))).all()


def test_scales_that_are_refused():
    with pytest.raises(ValueError, match="no rows to fit a scale on"):
        fit_scale([], [])
    with pytest.raises(
        ValueError, match="kind 'isotonic'; fit_scale makes 'logistic4' and 'constant'"
    ):
        apply_scale(dict(kind="isotonic", coefficients=[]), [1.0])


# ---- per content


def test_per_content_is_the_mean_of_scipys():
    content = np.repeat(["b", "a", "c"], [30, 40, 2])
    x, y = noisy(72)
    result = per_content(x, y, content)
    values = {
        name: scipy.stats.spearmanr(x[content == name], y[content == name]).statistic
        for name in "ab"
    }
    assert result["values"] == pytest.approx(values)
    assert result["srcc"] == pytest.approx(np.mean(list(values.values())))
    mean, error = result["srcc"], scipy.stats.sem(list(values.values()))
    half = scipy.stats.t.ppf(0.975, 1) * error / (1 - mean**2)
    assert result["interval"] == pytest.approx(np.tanh(np.arctanh(mean) + np.array([-half, half])))
    assert (result["n"], result["contents"], result["left_out"]) == (70, 2, 1)


def test_offsets_between_contents_drop_out_per_content():
    x, y = noisy(100)
    content = np.arange(100) // 10
    moved = per_content(x + 100 * content, y - 50 * content, content)
    assert moved["srcc"] == pytest.approx(per_content(x, y, content)["srcc"])
    assert correlations(x + 100 * content, y - 50 * content, draws=2)["srcc"] < -0.9


def test_per_content_says_which_contents_have_no_value():
    x, y = noisy(40)
    x[:10] = 3
    with pytest.warns(RuntimeWarning, match="1 of 4 contents"):
        result = per_content(x, y, np.arange(40) // 10)
    assert np.isnan(result["values"][0])
    assert result["contents"] == 3
    assert np.isfinite(result["srcc"])


# ---- what is refused, and what is said


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_rows(n):
    with pytest.warns(RuntimeWarning, match="fewer than three rows"):
        result = correlations(np.arange(n), np.arange(n))
    assert result["n"] == n
    assert np.isnan([result[name] for name in (*POINTS, "rmse")]).all()


@pytest.mark.parametrize("n", [3, 4, 5])
def test_few_rows_have_rank_correlations_and_the_fits_they_can_bear(n):
    result = quiet(np.arange(n), np.arange(n) ** 2, draws=50)
    assert (result["srcc"], result["krcc"]) == pytest.approx((1, 1))
    assert np.isfinite(result["plcc4"]) == (n >= 4)
    assert np.isfinite(result["plcc5"]) == (n >= 5)


@pytest.mark.parametrize(
    ("x", "y", "what"),
    [([0.1] * 7, range(7), "constant predictions"), (range(7), [0.3] * 7, "constant labels")],
)
def test_constants_are_nan_and_said(x, y, what):
    with pytest.warns(RuntimeWarning, match=what):
        result = correlations(x, list(y))
    assert np.isnan([result[name] for name in (*POINTS, "rmse")]).all()
    assert np.isnan(result["intervals"]["srcc"]).all()


def test_one_content_has_no_interval():
    with pytest.warns(RuntimeWarning, match="1 content or image to resample"):
        result = correlations(*noisy(20), content=["a"] * 20)
    assert result["srcc"] > 0.9
    assert np.isnan(result["intervals"]["plcc"]).all()


@pytest.mark.parametrize(
    ("x", "y", "content", "message"),
    [
        (
            [1, 2, np.nan, 4],
            [1, 2, 3, 4],
            None,
            "predicted holds 1 values that are not finite, the first in row 2",
        ),
        ([1, 2, 3, 4], [1, np.inf, 3, 4], None, "label holds 1 values"),
        (
            [1, 2, 3],
            [1, 2, 3, 4],
            None,
            r"lengths differ, \{'predicted': 3, 'label': 4\}: pass one value",
        ),
        ([[1], [2], [3]], [1, 2, 3], None, r"predicted has shape \(3, 1\).*ravel"),
        ([1, 2, 3], [1, 2, 4], ["a", "b"], "content has 2 values, 0 of them missing, for 3 rows"),
        ([1, 2, 3], [1, 2, 4], ["a", None, "b"], "1 of them missing"),
    ],
)
def test_input_that_is_refused(x, y, content, message):
    with pytest.raises(ValueError, match=message):
        correlations(x, y, content=content)


@pytest.mark.parametrize("kind", ["logistic4", "logistic5"])
def test_a_fit_of_very_many_rows_begins_on_some_and_ends_on_all(kind, monkeypatch):
    generator = np.random.default_rng(0)
    x = generator.normal(size=70_000)
    y = np.tanh(1.3 * x - 0.4) + 0.1 * x + generator.normal(0, 0.3, 70_000)
    curve = getattr(metrics, kind)(x, y)
    left = np.sum((curve(x) - y) ** 2)
    monkeypatch.setattr(metrics, "COARSE", 10**9)
    whole = np.sum((getattr(metrics, kind)(x, y)(x) - y) ** 2)
    assert left == pytest.approx(whole, rel=1e-9)
