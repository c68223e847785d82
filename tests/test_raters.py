"""Significant pairs and the noise ceiling: against scikit-learn and known truths, then what is
refused or said.
"""

import numpy as np
import pytest
from conftest import REPOSITORY
from sklearn.metrics import roc_auc_score

from iqa_core.stats import drawn_ceiling, noise_ceiling, significant_pairs, srcc

FIGURES = ("auc_different", "auc_better", "correct")


def rated(n=80, seed=0):
    """Predictions, labels, their standard deviations and votes, all with ties."""
    generator = np.random.default_rng(seed)
    y = np.round(generator.uniform(1, 5, n), 1)
    x = np.round(y + 0.5 * generator.normal(size=n), 1)
    return x, y, dict(label_std=generator.uniform(0.3, 1, n), votes=generator.integers(8, 30, n))


def all_pairs(x, y, label_std, votes):
    """Indices of pairs, whether they differ, and the difference of predictions towards the better,
    rounded for ties.
    """
    i, j = np.triu_indices(len(x), 1)
    apart = np.abs(y[i] - y[j]) >= 1.6449 * np.sqrt(
        label_std[i] ** 2 / votes[i] + label_std[j] ** 2 / votes[j]
    )
    return (
        i,
        j,
        apart,
        np.round((x[i] - x[j]) * np.sign(y[i] - y[j]), 6),
        np.round(np.abs(x[i] - x[j]), 6),
    )


def by_sklearn(apart, towards, size, weights=None):
    weights = np.ones(len(apart)) if weights is None else weights
    better, weight = towards[apart], weights[apart]
    both = np.r_[np.ones(len(better)), np.zeros(len(better))], np.r_[better, -better]
    return (
        roc_auc_score(apart, size, sample_weight=weights),
        roc_auc_score(*both, sample_weight=np.r_[weight, weight]),
        np.average(better > 0, weights=weight),
    )


@pytest.mark.parametrize("block", [2**18, 500])
def test_the_three_figures_are_those_of_sklearn_over_all_pairs(block, monkeypatch):
    monkeypatch.setattr("iqa_core.stats.raters.BLOCK", block)
    x, y, noise = rated()
    result = significant_pairs(x, y, **noise)
    _, _, apart, towards, size = all_pairs(x, y, **noise)
    assert [result[name] for name in FIGURES] == pytest.approx(
        by_sklearn(apart, towards, size), abs=1e-9
    )
    assert (result["pairs"], result["different"], result["n"], result["unit"]) == (
        80 * 79 / 2,
        apart.sum(),
        80,
        "image",
    )


def test_intervals_are_as_wide_as_a_bootstrap_of_images_makes_them():
    x, y, noise = rated(60)
    i, j, apart, towards, size = all_pairs(x, y, **noise)
    generator, samples = np.random.default_rng(0), []
    for _ in range(300):  # a picture drawn twice counts twice in all its pairs
        times = np.bincount(generator.integers(60, size=60), minlength=60)
        samples.append(by_sklearn(apart, towards, size, weights=times[i] * times[j]))
    widths = [np.diff(ends)[0] for ends in significant_pairs(x, y, **noise)["intervals"].values()]
    assert widths == pytest.approx(2 * 2.0 * np.std(samples, axis=0), rel=0.25)


def test_figures_ignore_units_and_absurd_scores_and_turn_with_the_prediction():
    x, y, noise = rated()
    before, mapped = significant_pairs(x, y, **noise), significant_pairs(1e4 * x - 7, y, **noise)
    turned = significant_pairs(-x, y, **noise)
    for name in FIGURES:
        assert mapped[name] == pytest.approx(before[name], abs=1e-9)
    assert turned["auc_different"] == pytest.approx(before["auc_different"])
    assert turned["auc_better"] == pytest.approx(1 - before["auc_better"])
    x = np.r_[x, 1e9]
    noise = {name: np.r_[values, values[0]] for name, values in noise.items()}
    y = np.r_[y, 3.0]
    _, _, apart, towards, size = all_pairs(x, y, **noise)
    result = significant_pairs(x, y, **noise)
    assert [result[name] for name in FIGURES] == pytest.approx(
        by_sklearn(apart, towards, size), abs=1e-3
    )


def test_one_number_of_votes_serves_all_and_more_votes_tell_more_pairs_apart():
    x, y, noise = rated()
    few, many = (
        significant_pairs(x, y, label_std=noise["label_std"], votes=votes)["different"]
        for votes in (5, 50)
    )
    assert few < many
    assert (
        significant_pairs(x, y, label_std=noise["label_std"], votes=np.full(80, 5))["different"]
        == few
    )


def test_contents_that_err_together_widen_the_interval():
    generator = np.random.default_rng(0)
    content, y = np.repeat(np.arange(15), 10), generator.normal(size=150)
    x = y + generator.normal(size=15)[content]
    images = significant_pairs(x, y, label_std=np.full(150, 0.5), votes=20)["intervals"][
        "auc_better"
    ]
    contents = significant_pairs(x, y, label_std=np.full(150, 0.5), votes=20, content=content)
    assert np.diff(contents["intervals"]["auc_better"]) > 1.3 * np.diff(images)
    assert contents["unit"] == "content"


def test_no_different_or_no_similar_pair_is_nan_and_said():
    x, y, _ = rated(20)
    with pytest.warns(
        RuntimeWarning, match="0 pairs of images differ significantly and 190 do not"
    ):
        result = significant_pairs(x, y, label_std=np.full(20, 100.0), votes=2)
    assert np.isnan([result[name] for name in FIGURES]).all()
    with pytest.warns(
        RuntimeWarning, match="190 pairs of images differ significantly and 0 do not"
    ):
        result = significant_pairs(
            np.arange(20.0), np.arange(20.0), label_std=np.zeros(20), votes=2
        )
    assert (
        np.isnan(result["auc_different"]) and np.isnan(result["intervals"]["auc_different"]).all()
    )
    assert (result["auc_better"], result["correct"]) == (1, 1)
    assert np.isnan(result["intervals"]["correct"]).all()


def test_noise_that_cannot_be_is_refused():
    x, y, noise = rated(20)
    with pytest.raises(ValueError, match="votes from 0: they must be at least 0 and at least 1"):
        significant_pairs(x, y, label_std=noise["label_std"], votes=0)
    with pytest.raises(ValueError, match="label_std from -1 and"):
        drawn_ceiling(y, label_std=np.full(20, -1.0), votes=5)
    with pytest.raises(ValueError, match="label_std holds 1 values that are not finite"):
        significant_pairs(x, y, label_std=np.r_[np.nan, noise["label_std"][1:]], votes=5)


# ---- noise ceiling


def votes_of(truth, number, generator):
    """Votes (n, 5) for grades 1..5 around the true quality."""
    drawn = np.clip(
        np.rint(truth[:, None] + 0.8 * generator.normal(size=(len(truth), number))), 1, 5
    ).astype(int)
    return np.array([np.bincount(row, minlength=6)[1:] for row in drawn])


def test_ceiling_is_what_truth_reaches_and_spearman_brown_what_other_raters_reach():
    generator = np.random.default_rng(0)
    truth = generator.uniform(1.5, 4.5, 1500)
    counts, others = votes_of(truth, 20, generator), votes_of(truth, 20, generator)
    label, again = (votes @ np.arange(1, 6) / 20 for votes in (counts, others))
    result = noise_ceiling(counts)
    assert result["split_half"] < result["spearman_brown"] < result["ceiling"]
    assert result["spearman_brown"] == pytest.approx(srcc(label, again), abs=0.005)
    assert result["ceiling"] == pytest.approx(srcc(label, truth), abs=0.005)
    assert (result["n"], result["votes"], result["draws"]) == (1500, 20, 100)


def test_halves_drawn_from_the_standard_deviation_agree_with_halves_of_votes():
    generator = np.random.default_rng(1)
    counts = votes_of(generator.uniform(1.5, 4.5, 800), 15, generator)
    label = counts @ np.arange(1, 6) / 15
    std = np.sqrt((counts * (np.arange(1, 6) - label[:, None]) ** 2).sum(axis=1) / 14)
    drawn, split = drawn_ceiling(label, label_std=std, votes=15), noise_ceiling(counts)
    assert drawn["split_half"] == pytest.approx(split["split_half"], abs=0.005)
    assert drawn["votes"] == 15


def test_each_vote_falls_into_one_half():
    """Two votes an image, grades 1 and 5: one half has each, so the halves of all images are each
    other's reverse.
    """
    counts = np.tile([1, 0, 0, 0, 1], (50, 1))
    assert noise_ceiling(counts, draws=5)["split_half"] == pytest.approx(-1)
    agreed = (
        np.eye(5, dtype=int)[np.arange(50) % 5] * 7
    )  # 7 raters of one mind, odd: halves of 3 and 4
    assert noise_ceiling(agreed, draws=5)["ceiling"] == pytest.approx(1)


@pytest.mark.parametrize(
    "counts",
    [
        [1, 2, 3],
        [[0.2, 0.8], [0.5, 0.5]],
        [[1, 0], [3, 3]],
        [[-1, 4], [2, 2]],
        np.zeros((0, 5))[:, :0][None],
    ],
)
def test_counts_that_are_no_votes_are_refused(counts):
    with pytest.raises(ValueError, match=r"pass votes \(n, grades\) as whole numbers"):
        noise_ceiling(counts)


@pytest.mark.slow
def test_the_intervals_of_significant_pairs_cover_95_percent(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    import simulate_statistics

    for name, covered in simulate_statistics.cover_pairs(300).items():
        assert 0.95 - 3 * 0.013 <= covered["value"] <= 0.985, name
