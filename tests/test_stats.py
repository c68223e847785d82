"""Intervals, the content-blind baseline and the instrument built on it; slow: what the intervals
cover.
"""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from iqa_core import stats
from iqa_core.stats import (
    bootstrap,
    correlation_interval,
    own_contents,
    percentile_interval,
    resampled_interval,
    srcc,
    standard_error,
    t_interval,
)
from iqa_core.stats.intervals import affordable

properties = settings(max_examples=40, deadline=None)


# ---- ranks


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.randoms(use_true_random=False))
@properties
def test_midranks_of_a_resample_are_scipys(values, random):
    values = np.array(values)
    drawn = np.array(random.choices(range(len(values)), k=len(values)))
    assert (stats.midranks(stats.codes(values)[drawn]) == scipy.stats.rankdata(values[drawn])).all()


# ---- intervals


def test_bootstrap_draws_the_same_rows_of_every_array_and_whole_groups():
    group, seen = np.array(["b", "a", "b", "c", "a", "b"]), []

    def statistic(rows, names):
        seen.append(rows)
        assert (group[rows] == names).all()
        return rows.min(), rows.mean()

    assert bootstrap(statistic, np.arange(6), group, group=group, draws=50).shape == (50, 2)
    assert len({tuple(rows) for rows in seen}) > 5
    for rows in seen:
        times = np.bincount(rows, minlength=6)
        assert all(
            len(set(times[group == name])) == 1 for name in "abc"
        )  # a group comes with all its rows
        assert sum(times[group == name][0] for name in "abc") == 3  # as many groups as there are
    assert (
        bootstrap(np.mean, np.arange(6), draws=20, seed=1)
        == bootstrap(np.mean, np.arange(6), draws=20, seed=1)
    ).all()


def coverage(simulate, group, runs=200):
    """Share of simulations whose nominal 95 % interval for a mean of 0 holds 0."""
    intervals = [
        percentile_interval(
            bootstrap(
                np.mean, simulate(np.random.default_rng(run)), group=group, draws=200, seed=run
            )
        )
        for run in range(runs)
    ]
    return np.mean([low <= 0 <= high for low, high in intervals])


def test_bootstrap_covers_about_95_percent():
    assert 0.88 <= coverage(lambda generator: generator.normal(size=50), None) <= 0.99


def test_clustered_data_are_covered_by_content_and_not_by_image():
    content = np.repeat(np.arange(25), 8)

    def simulate(generator):
        return generator.normal(size=25)[content] + 0.3 * generator.normal(size=200)

    assert 0.85 <= coverage(simulate, content) <= 0.99
    assert coverage(simulate, None) < 0.7


def test_the_interval_over_splits_holds_though_they_share_images():
    random, held, plain = np.random.default_rng(0), [], []
    truth = 6 / np.pi * np.arcsin(0.8 / 2)  # SRCC of two normal variables with correlation .8
    for _ in range(300):
        x, y = random.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=200).T
        parts = [random.permutation(200)[:40] for _ in range(10)]
        values = [srcc(x[part], y[part]) for part in parts]
        held.append(np.subtract(truth, resampled_interval(values, train=160, test=40)).prod() < 0)
        plain.append(np.subtract(truth, t_interval(values)).prod() < 0)
    assert np.mean(held) > 0.88 and np.mean(plain) < 0.8
    low, high = resampled_interval(values, train=160, test=40)
    assert (low + high) / 2 == pytest.approx(np.mean(values))
    assert (high - low) / np.subtract(*t_interval(values)[::-1]) == pytest.approx(
        np.sqrt(1 + 10 * 40 / 160)
    )


def test_contents_are_a_sets_own_where_images_share_them():
    content = pd.Series(list("aaabbb"))
    assert own_contents(pd.DataFrame({"content": content})).equals(content)
    for none in ({"image": content}, {"content": list("aabbcc")}, {"content": ["a"] * 5 + [None]}):
        assert own_contents(pd.DataFrame(none)) is None


def test_t_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=6)
    assert t_interval(values) == pytest.approx(
        scipy.stats.t.interval(0.95, 5, values.mean(), scipy.stats.sem(values))
    )
    assert np.isnan(t_interval([1.0])).all()
    assert np.isnan(t_interval([])).all()


def test_draws_fall_above_50000_rows():
    assert [affordable(2000, n) for n in (50_000, 100_000, 10**7)] == [2000, 1000, 200]
    assert affordable(100, 10**7) == 100


def test_resamples_without_a_value_are_left_out():
    assert percentile_interval([np.nan, 1, 1, np.nan]) == (1, 1)
    assert np.isnan(percentile_interval([np.nan])).all()


@given(st.floats(-0.999, 0.999), st.floats(1e-9, 5), st.integers(2, 500))
@properties
def test_a_correlations_interval_holds_it_stays_within_one_and_turns_with_it(value, error, units):
    low, high = correlation_interval(value, error, units)
    assert -1 <= low <= value + 1e-12 and value - 1e-12 <= high <= 1
    assert correlation_interval(-value, error, units) == pytest.approx((-high, -low))


def test_a_correlations_interval_is_the_textbook_one_with_t_for_z():
    """Fisher's interval of Pearson's r, SciPy's: error 1 / sqrt(n - 3), normal, hence many
    units.
    """
    x, y = np.random.default_rng(0).normal(size=(2, 60))
    expected = scipy.stats.pearsonr(x, y + x).confidence_interval(0.95)
    assert correlation_interval(stats.plcc(x, y + x), 1 / np.sqrt(57), 10**8) == pytest.approx(
        tuple(expected), abs=1e-6
    )
    assert correlation_interval(0.3, 0.1, 6)[1] == pytest.approx(
        np.tanh(np.arctanh(0.3) + 0.1 * scipy.stats.t.ppf(0.975, 5))
    )
    assert np.isnan(correlation_interval(0.5, 0.1, 1)).all()


@pytest.mark.parametrize(("value", "error"), [(1.0, np.inf), (-1.0, 0.0), (1.0, 0.1), (0.5, 0.0)])
def test_where_nothing_differs_there_is_no_interval(value, error):
    assert np.isnan(correlation_interval(value, error, 6)).all()


@pytest.mark.parametrize("content", [None, np.arange(40) // 5])
def test_standard_error_of_a_mean_is_that_of_theory(content):
    values = np.random.default_rng(0).normal(size=40)
    units = values if content is None else values.reshape(8, 5).mean(axis=1)
    error, number, draws = standard_error(np.mean, values, content=content, draws=4000)
    assert error == pytest.approx(units.std(ddof=1) / np.sqrt(len(units)), rel=0.05)
    assert (number, draws) == (len(units), 4000)


def test_standard_error_leaves_out_what_has_no_value_and_says_when_nothing_has():
    assert np.isnan(standard_error(lambda x: np.nan, np.arange(5), draws=10)[0])
    some = standard_error(lambda x: x.mean() if x[0] > 1 else np.nan, np.arange(5), draws=200)[0]
    assert 0 < some < 2
    with pytest.warns(RuntimeWarning, match="1 content or image to resample"):
        assert np.isnan(
            standard_error(lambda x: np.zeros(2), np.arange(5), content=["a"] * 5)[0]
        ).all()


def test_a_mean_over_contents_of_perfect_values_has_no_interval():
    result = stats.over_contents(
        srcc, np.arange(12), np.arange(12) ** 2, content=np.arange(12) // 4
    )
    assert result["value"] == 1 and np.isnan(result["interval"]).all()


def test_contents_that_agree_to_rounding_have_no_interval():
    once = np.array([1, 2, 3, 4]), np.array([2, 1, 3, 4])  # an SRCC of .8, not exact in binary
    x, y = (np.tile(values, 6) for values in once)
    result = stats.over_contents(srcc, x, y, content=np.arange(24) // 4)
    assert result["value"] == pytest.approx(0.8) and np.isnan(result["interval"]).all()


# ---- what the intervals cover


@pytest.fixture
def simulations(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    import simulate_statistics

    return simulate_statistics


@pytest.mark.slow
@pytest.mark.parametrize("contents", [6, 21])
@pytest.mark.parametrize("population", ["equal contents", "as the demo", "unlike contents"])
def test_the_interval_of_the_mean_over_contents_covers_95_percent(
    simulations, population, contents
):
    covered = simulations.cover_within(population, contents, 1000)["t on z"]["value"]
    assert 0.92 <= covered <= 0.98  # the band is .93 to .97; .007 is one Monte-Carlo error


@pytest.mark.slow
@pytest.mark.parametrize("population", ["few offsets", "offsets that agree"])
def test_the_pooled_interval_covers_95_percent_with_21_contents(simulations, population):
    assert (
        0.93 <= simulations.cover_pooled(population, 21, 600, draws=200)["t on z"]["value"] <= 0.98
    )


@pytest.mark.slow
def test_where_the_pooled_interval_falls_short_is_as_the_page_says(simulations):
    """Contents whose offsets have nothing to do with their labels; and the percentile interval with
    6 contents.
    """
    offsets = {
        contents: simulations.cover_pooled("offsets that do not", contents, 400, draws=200)
        for contents in (6, 21)
    }
    assert 0.83 <= offsets[6]["t on z"]["value"] <= 0.92
    assert 0.88 <= offsets[21]["t on z"]["value"] <= 0.96
    few = simulations.cover_pooled("few offsets", 6, 400, plain=400, draws=200)
    assert few["percentile"]["value"] < 0.9 < few["t on z"]["value"]
