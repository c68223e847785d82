"""Paired comparison: properties, then brute force, SciPy, statsmodels and published examples, then
what is refused or said.
"""

import itertools

import numpy as np
import pytest
import scipy.stats
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from iqa_core.stats import compare, compare_seeds, holm, least_holm, power, srcc, steiger

properties = settings(max_examples=25, deadline=None)


def two_models(n=240, seed=0, noise=(0.3, 1.0)):
    """Two predictions and a label (n,); the first predicts better, by less noise."""
    generator = np.random.default_rng(seed)
    y = generator.normal(size=n)
    return y + noise[0] * generator.normal(size=n), y + noise[1] * generator.normal(size=n), y


# ---- paired comparison


@given(st.integers(0, 1000), st.sampled_from([None, np.arange(24) // 4]))
@properties
def test_exchanging_the_two_turns_the_difference_and_nothing_else(seed, content):
    x, other, y = (np.round(values, 1) for values in two_models(24, seed))
    one, two = (compare(*pair, y, content=content, draws=50) for pair in ((x, other), (other, x)))
    assert one["difference"] == pytest.approx(-two["difference"])
    assert one["interval"] == pytest.approx((-two["interval"][1], -two["interval"][0]))
    assert one["p"] == two["p"]
    if content is not None:
        assert one["within"]["difference"] == pytest.approx(-two["within"]["difference"])
        assert one["within"]["p"] == two["within"]["p"]


def test_rising_maps_of_predictions_and_labels_change_nothing():
    x, other, y = two_models(60)
    content = np.arange(60) // 6
    mapped = compare(np.exp(x), other**3, 1 / (1 + np.exp(-y)), content=content, draws=50)
    assert mapped == compare(x, other, y, content=content, draws=50)


def test_a_better_predictor_is_found_and_a_predictor_beside_itself_is_not():
    x, other, y = two_models()
    row = compare(x, other, y)
    assert row["difference"] == pytest.approx(row["srcc"] - row["other_srcc"]) and row[
        "srcc"
    ] == srcc(x, y)
    assert 0 < row["interval"][0] < row["difference"] < row["interval"][1]
    assert row["p"] == 1 / 2000
    assert (row["n"], row["unit"], row["units"], row["draws"], row["exchanges"], row["within"]) == (
        (240, "image", 240, 2000, 2000, None)
    )
    same = compare(x, x, y, content=np.arange(240) // 10, draws=100)
    assert (same["difference"], same["interval"], same["p"]) == (0, (0, 0), 1)
    assert (same["within"]["difference"], same["within"]["interval"], same["within"]["p"]) == (
        0,
        (0, 0),
        1,
    )


def test_exchanges_are_those_of_brute_force():
    """Every exchange of whole contents written out: ranks over all images, Pearson's correlation of
    the exchanged ranks.
    """
    x, other, y = (np.round(values, 1) for values in two_models(42, noise=(0.6, 0.8)))
    content = np.repeat(list("abcdefg"), [3, 9, 4, 6, 8, 5, 7])
    ranks = [scipy.stats.rankdata(values) for values in (x, other, y)]
    found = []
    for exchanged in itertools.product([False, True], repeat=7):
        turned = np.array(exchanged)[np.unique(content, return_inverse=True)[1]]
        pair = np.where(turned, ranks[1], ranks[0]), np.where(turned, ranks[0], ranks[1])
        found.append(
            abs(np.corrcoef(pair[0], ranks[2])[0, 1] - np.corrcoef(pair[1], ranks[2])[0, 1])
        )
    row = compare(x, other, y, content=content, draws=200)
    assert row["exchanges"] == 128
    assert row["p"] == np.mean(np.array(found) >= found[0] - 1e-12) and 2 / 128 <= row["p"] < 1
    assert (
        compare(x, other, y, content=content, draws=127)["exchanges"] == 127
    )  # not all of them any more: at random


def test_random_exchanges_agree_with_all_of_them():
    x, other, y = two_models(60, noise=(0.6, 0.7))
    content = np.arange(60) // 6
    exact = compare(x, other, y, content=content, draws=1024)
    drawn = compare(x, other, y, content=content, draws=1023)
    assert (exact["exchanges"], drawn["exchanges"]) == (1024, 1023)
    assert drawn["p"] == pytest.approx(exact["p"], abs=0.06)
    assert drawn["within"]["p"] == pytest.approx(exact["within"]["p"], abs=0.06)


def test_within_contents_it_is_scipys_paired_test():
    x, other, y = two_models(80, noise=(0.5, 0.6))
    content = np.arange(80) // 10
    gains = [
        scipy.stats.spearmanr(x[rows], y[rows]).statistic
        - scipy.stats.spearmanr(other[rows], y[rows]).statistic
        for rows in np.split(np.arange(80), 8)
    ]
    within = compare(x, other, y, content=content, draws=300)["within"]
    theirs = scipy.stats.permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert within["p"] == pytest.approx(theirs.pvalue)
    assert within["interval"] == pytest.approx(
        scipy.stats.t.interval(0.95, 7, np.mean(gains), scipy.stats.sem(gains))
    )
    assert within["contents"] == 8


def test_errors_of_whole_contents_widen_the_interval_and_raise_p():
    generator = np.random.default_rng(0)
    content = np.repeat(np.arange(12), 20)
    y = generator.normal(size=240)
    x, other = (
        y + generator.normal(size=12)[content] + 0.3 * generator.normal(size=240) for _ in range(2)
    )
    by_image, by_content = (
        compare(x, other, y, draws=300),
        compare(x, other, y, content=content, draws=300),
    )
    assert np.diff(by_content["interval"]) > 1.5 * np.diff(by_image["interval"])
    assert by_content["p"] > by_image["p"]
    assert (by_content["unit"], by_content["units"]) == ("content", 12)


def test_five_contents_cannot_prove_anything():
    x, other, y = two_models(50, noise=(0.1, 3.0))
    row = compare(x, other, y, content=np.arange(50) // 10)
    assert row["p"] == row["within"]["p"] == 2 / 32
    assert row["least_p"] == row["within"]["least_p"] == 2 / 32


def test_many_images_are_compared_in_blocks(monkeypatch):
    x, other, y = two_models(90, noise=(0.6, 0.62))
    whole = compare(x, other, y, draws=100)["p"]
    monkeypatch.setattr("iqa_core.stats.comparison.BLOCK", 900)
    assert compare(x, other, y, draws=100)["p"] == pytest.approx(
        whole, abs=0.15
    )  # other signs: drawn block by block


def test_what_cannot_be_compared_is_nan_and_said():
    x, other, y = two_models(20)
    for arrays in ((x, np.ones(20), y), (x, other, np.ones(20)), ([], [], [])):
        with pytest.warns(RuntimeWarning, match="no comparison"):
            row = compare(*arrays)
        assert np.isnan([row["difference"], *row["interval"], row["p"]]).all() and row["draws"] == 0
    with pytest.warns(RuntimeWarning, match="fewer than two contents"):
        assert compare(x, other, y, content=["a"] * 20)["difference"] != 0
    with pytest.raises(ValueError, match="'other': 19"):
        compare(x, other[1:], y)


# ---- Steiger and Holm


def with_correlations(first, second, between, n):
    """Predictions and label whose sample correlations are exactly these."""
    sample = np.random.default_rng(0).normal(size=(3, n))
    sample -= sample.mean(axis=1, keepdims=True)
    white = np.linalg.solve(np.linalg.cholesky(sample @ sample.T), sample)
    return (
        np.linalg.cholesky([[1, between, first], [between, 1, second], [first, second, 1]]) @ white
    )


@pytest.mark.parametrize(
    ("correlations", "n", "z", "p"),
    [
        # Steiger 1980, page 249, case A; printed there as -.8913, from a covariance rounded to
        # .0042
        ((0.4, 0.5, 0.1), 103, -0.8887185, None),
        # Silver, Hittner and May 2006, DEPCOR, DOI 10.1177/0146621605277132
        ((0.3, 0.4, 0.5), 100, -1.0718, 0.2838),
    ],
)
def test_steiger_gives_the_published_examples(correlations, n, z, p):
    result = steiger(*with_correlations(*correlations, n))
    assert (result["plcc"], result["other_plcc"]) == pytest.approx(correlations[:2])
    assert result["z"] == pytest.approx(z, abs=5e-5)
    assert p is None or result["p"] == pytest.approx(p, abs=5e-5)


def test_steiger_turns_with_the_order_and_says_what_it_cannot():
    x, other, y = two_models()
    one, two = steiger(x, other, y), steiger(other, x, y)
    assert (one["z"], one["p"]) == pytest.approx((-two["z"], two["p"]))
    assert one["p"] < 1e-6
    assert (steiger(x, x, y)["z"], steiger(x, x, y)["p"]) == (0, 1)
    for arrays in ((x[:3], other[:3], y[:3]), (np.ones(240), other, y)):
        with pytest.warns(RuntimeWarning, match="Steiger's test is NaN"):
            assert np.isnan(steiger(*arrays)["p"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@properties
def test_holm_is_that_of_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([*p, np.nan])[:-1] == pytest.approx(
        holm(p)
    )  # a row that could not be tested is not counted
    assert np.isnan(holm([*p, np.nan])[-1])


def test_the_least_that_holm_allows_takes_the_other_rows_as_they_are():
    assert least_holm([0.5, 0.5, np.nan], [1 / 64] * 3)[:2].tolist() == [2 / 64] * 2
    # A row that is found leaves a factor less to the others.
    assert least_holm([1e-4, 0.5], [1e-4, 1 / 64]) == pytest.approx([2e-4, 1 / 64])
    p, least = np.random.default_rng(0).uniform(size=(2, 9)) ** 2
    assert (least_holm(np.maximum(p, least), least) <= holm(np.maximum(p, least))).all()


# ---- seeds


def trained(generator, y, runs, *, spread=0.0, noise=0.6):
    """Predictions (runs, n) of one method: a skill that differs between runs, errors half
    shared.
    """
    rho = np.tanh(np.arctanh(0.85) + spread * generator.normal(size=(runs, 1)))
    shared, own = generator.normal(size=len(y)), generator.normal(size=(runs, len(y)))
    return rho * y + np.sqrt(1 - rho**2) * (shared + own) / np.sqrt(2)


@pytest.mark.parametrize("content", [None, np.arange(120) // 10])
def test_runs_that_agree_leave_the_images_alone(content):
    x, other, y = two_models(120)
    seeds = compare_seeds([x, x, x], [other, other], y, content=content, draws=200)
    one = compare(x, other, y, content=content, draws=200)
    assert seeds["interval"] == pytest.approx(one["interval"])
    assert (seeds["difference"], seeds["df"]) == pytest.approx(
        (one["difference"], one["units"] - 1)
    )
    assert (seeds["seeds_error"], seeds["other_seeds_error"], seeds["runs"]) == (0, 0, (3, 2))
    assert (seeds["n"], seeds["unit"], seeds["units"]) == (one["n"], one["unit"], one["units"])
    if content is None:
        assert seeds["within"] is None
    else:
        assert {
            name: seeds["within"][name] for name in ("difference", "contents")
        } == pytest.approx({name: one["within"][name] for name in ("difference", "contents")})
        assert seeds["within"]["interval"] == pytest.approx(one["within"]["interval"])


def test_the_three_errors_join_as_satterthwaite_has_it():
    generator = np.random.default_rng(0)
    y = generator.normal(size=200)
    first, second = trained(generator, y, 4, spread=0.2), trained(generator, y, 3, spread=0.2)
    row = compare_seeds(first, second, y, draws=200)
    values = [[scipy.stats.spearmanr(run, y).statistic for run in runs] for runs in (first, second)]
    assert (row["srcc"], row["other_srcc"]) == pytest.approx([np.mean(part) for part in values])
    assert (row["seeds_error"], row["other_seeds_error"]) == pytest.approx(
        [scipy.stats.sem(part) for part in values]
    )
    parts = np.array([row["images_error"], row["seeds_error"], row["other_seeds_error"]]) ** 2
    df = parts.sum() ** 2 / (parts**2 / [199, 3, 2]).sum()
    assert row["df"] == pytest.approx(df)
    ends = scipy.stats.t.interval(0.95, df, row["difference"], np.sqrt(parts.sum()))
    assert row["interval"] == pytest.approx(ends)
    assert row["p"] == pytest.approx(
        2 * scipy.stats.t.sf(abs(row["difference"]) / np.sqrt(parts.sum()), df)
    )


def test_within_contents_the_errors_are_of_contents_and_of_runs():
    """Contents of unlike size, of which those of one and two images do not count, and ties."""
    generator = np.random.default_rng(3)
    content = np.repeat(np.arange(9), [1, 2, 3, 5, 8, 13, 4, 6, 18])
    y = generator.normal(size=60).round(1)
    first, second = (trained(generator, y, runs, spread=0.2).round(1) for runs in (4, 3))
    rows = [content == c for c in range(2, 9)]
    values = [
        [[scipy.stats.spearmanr(run[r], y[r]).statistic for r in rows] for run in runs]
        for runs in (first, second)
    ]
    gains = np.mean(values[0], axis=0) - np.mean(values[1], axis=0)
    parts = (
        np.array(
            [scipy.stats.sem(gains), *(scipy.stats.sem(np.mean(runs, axis=1)) for runs in values)]
        )
        ** 2
    )
    df = parts.sum() ** 2 / (parts**2 / [6, 3, 2]).sum()
    within = compare_seeds(first, second, y, content=content, draws=20)["within"]
    assert (within["difference"], within["contents"]) == pytest.approx((gains.mean(), 7), abs=1e-12)
    assert within["interval"] == pytest.approx(
        scipy.stats.t.interval(0.95, df, gains.mean(), np.sqrt(parts.sum()))
    )
    assert within["p"] == pytest.approx(
        2 * scipy.stats.t.sf(abs(gains.mean()) / np.sqrt(parts.sum()), df)
    )


def test_a_content_in_which_a_run_says_nothing_is_left_out_within():
    x, other, y = two_models(40)
    content, mute = np.arange(40) // 10, np.where(np.arange(40) < 10, 0.0, x)
    with pytest.warns(RuntimeWarning, match="1 of 4 contents"):
        within = compare_seeds([x, mute], [other, other], y, content=content, draws=20)["within"]
    known = compare_seeds([x[10:]] * 2, [other[10:]] * 2, y[10:], content=content[10:], draws=20)[
        "within"
    ]
    assert within["contents"] == 3 and within["difference"] == pytest.approx(known["difference"])
    few = compare_seeds([x, x], [other, other], y, content=np.repeat([0, 1], [38, 2]), draws=20)
    assert few["within"]["contents"] == 1 and np.isnan(few["within"]["p"])


def test_seeds_that_differ_widen_the_interval():
    y = np.random.default_rng(1).normal(size=300)
    widths = []
    for spread in (0.0, 0.3):
        generator = np.random.default_rng(2)
        methods = [trained(generator, y, 3, spread=spread) for _ in range(2)]
        widths.append(np.diff(compare_seeds(*methods, y, draws=100)["interval"]))
    assert widths[1] > 2 * widths[0]


def test_one_run_a_method_is_refused():
    x, other, y = two_models(30)
    with pytest.raises(ValueError, match="1 and 2 runs: one run says nothing about its seeds"):
        compare_seeds(x, [other, other], y)
    with pytest.raises(ValueError, match=r"'other\[0\]': 29"):
        compare_seeds([x, x], [other[:29], other[:29]], y)


# ---- power


def test_power_rises_with_n_with_the_difference_and_with_shared_errors():
    base = power(200, 0.9, 0.87, errors=0.5, runs=60, draws=100)["power"]
    assert power(600, 0.9, 0.87, errors=0.5, runs=60, draws=100)["power"] > base
    assert power(200, 0.9, 0.8, errors=0.5, runs=60, draws=100)["power"] > base
    assert power(200, 0.9, 0.87, errors=0.95, runs=60, draws=100)["power"] > base
    assert power(200, 0.9, 0.9, errors=0.5, runs=200, draws=100)["power"] < 0.12


def test_what_is_detectable_falls_with_the_root_of_n_and_the_copula_has_the_srcc_asked_for():
    few, many = (
        power(n, 0.9, 0.9, errors=0.5, runs=300, draws=2)["detectable"] for n in (200, 800)
    )
    assert few / many == pytest.approx(2, rel=0.15)
    large = power(100_000, 0.9, 0.8, errors=0.0, runs=2, draws=2)
    assert large["sd"] < 0.01 and large["power"] in (0, 1)


@pytest.mark.parametrize("wrong", [dict(srcc=1.0), dict(other=-1.2), dict(errors=1.0), dict(n=3)])
def test_power_of_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="lie within -1 and 1, n above 3"):
        power(**(dict(n=100, srcc=0.9, other=0.8, errors=0.5) | wrong))


# ---- what the tests promise


@pytest.fixture
def simulations(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    import simulate_statistics

    return simulate_statistics


@pytest.mark.slow
def test_sizes_stay_at_05_where_images_are_independent(simulations):
    for name, found in simulations.sizes(200, 1, 400, clustered=0.0, draws=100).items():
        assert found["value"] < 0.05 + 3 * 0.011, name


@pytest.mark.slow
@pytest.mark.parametrize("contents", [6, 21])
def test_sizes_stay_at_05_by_content_and_tests_by_image_do_not(simulations, contents):
    found = {
        name: one["value"]
        for name, one in simulations.sizes(contents, 24, 400, clustered=0.4, draws=100).items()
    }
    by_image = {found.pop("exchange by image"), found.pop("Steiger (Pearson)")}
    assert min(by_image) > 0.12
    assert max(found.values()) < 0.05 + 3 * 0.011, found


@pytest.mark.slow
def test_the_size_with_seeds_stays_at_05_and_one_run_each_does_not(simulations):
    found = simulations.size_of_seeds(300, draws=100)
    assert found["seeds as a random effect"]["value"] < 0.05 + 3 * 0.013
    assert found["one run each"]["value"] > 0.12


@pytest.mark.slow
@pytest.mark.parametrize("contents", [6, 21])
def test_the_size_with_seeds_within_contents_stays_at_05(simulations, contents):
    found = simulations.size_of_seeds_within(contents, 300)
    assert found["seeds as a random effect"]["value"] < 0.05 + 3 * 0.013
    assert found["t over contents of the means"]["value"] > 0.08 or contents == 6
