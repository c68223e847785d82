"""What is earned without a pixel, and what only looking can earn: the second must leave nothing of
any rule that is told the version.
"""

import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from iqa_core import datasets
from iqa_core.splits import make_split
from iqa_core.stats import (
    compare_specific,
    content_blind,
    content_specific,
    is_crossed,
    srcc,
    versions,
)

properties = settings(max_examples=25, deadline=None)


def crossed(contents=10, seed=0):
    """Three types at four levels and the pristine image, each photograph with labels of its own."""
    generator = np.random.default_rng(seed)
    kinds = [
        ("", np.nan),
        *((kind, level) for kind in ("blur", "jpeg", "noise") for level in range(1, 5)),
    ]
    rows = [(content, *kind) for content in range(contents) for kind in kinds]
    table = pd.DataFrame(rows, columns=["content", "distortion", "level"])
    table["image"] = [f"{number:04d}.png" for number in table.index]
    harm = table.distortion.map({"blur": 9, "jpeg": 6, "noise": 3, "": 0})
    own = generator.normal(0, 6, len(table))
    label = 90 - harm * table.level.fillna(0) + own
    table["label"] = label.round(2)  # coarser than what counts as a tie, and equal to the last bit
    return table, np.where(table.content < contents * 0.7, "train", "test")


def shuffled(table, split, seed=0):
    order = np.random.default_rng(seed).permutation(len(table))
    return table.iloc[order].reset_index(drop=True), split[order]


# ---- the content-blind rule


def test_the_blind_rule_is_the_training_mean_of_the_version():
    table, split = shuffled(*crossed())
    predicted = content_blind(table, split)
    assert predicted.shape == (len(table), 1)
    means = table[split == "train"].groupby(["distortion", "level"], dropna=False).label.mean()
    for row, value in zip(table.itertuples(), predicted[:, 0], strict=True):
        assert value == pytest.approx(
            means.get((row.distortion, row.level), means[row.distortion].mean())
        )


def test_a_version_is_both_distortions_in_their_order():
    table = pd.DataFrame(
        {
            "distortion": ["blur", "blur", "jpeg", "blur", None, "fog"],
            "level": [3, 3, 2, 3.25, np.nan, np.nan],
            "distortion2": ["jpeg", None, "blur", "", "", ""],
            "level2": [2, np.nan, 3, np.nan, np.nan, np.nan],
        }
    )
    assert versions(table).tolist() == [
        "blur at 3, jpeg at 2",
        "blur at 3",
        "jpeg at 2, blur at 3",
        "blur at 3.25",
        "",
        "fog",
    ]


def test_a_version_tells_the_background_where_it_has_a_level_of_its_own():
    table = pd.DataFrame(
        {
            "distortion": ["blur", "blur", "blur", "blur", "", "fog"],
            "level": [3, 3, 3, 2.5, np.nan, np.nan],
            "background_level": [3, 1, np.nan, 4.25, 2, np.nan],
            "distortion2": ["", "jpeg", "", "", "", ""],
            "level2": [np.nan, 2, np.nan, np.nan, np.nan, np.nan],
        }
    )
    assert versions(table).tolist() == [
        "blur at 3",
        "blur at 3, background at 1, jpeg at 2",
        "blur at 3",
        "blur at 2.5, background at 4.25",
        "",
        "fog",
    ]


def test_versions_without_a_training_image_are_nan_and_counted():
    table, split = crossed()
    table.loc[table.content == 9, "level"] += 0.5
    with pytest.warns(RuntimeWarning, match="12 of 130 rows have a version that no training row"):
        predicted = content_blind(table, split)[:, 0]
    assert np.isnan(predicted[(table.content == 9) & table.level.notna()]).all()
    assert np.isfinite(predicted).sum() == 118


def test_labels_outside_training_and_names_of_contents_change_nothing():
    table, split = crossed()
    before = content_blind(table, split)
    outside = split != "train"
    for spoilt in (-1e6, np.nan):
        table.loc[outside, "label"] = spoilt
        assert (content_blind(table, split) == before).all()
    assert (content_blind(table.assign(content="x"), split) == before).all()
    frame = pd.DataFrame({"image": table.image, "split": split}).sample(frac=1, random_state=0)
    assert (content_blind(table, frame) == before).all()
    assert (
        content_blind(table.rename(columns={"label": "mos"}), split, label="mos") == before
    ).all()
    table.loc[~outside, "label"] += 1
    assert content_blind(table, split) == pytest.approx(before + 1)


def test_split_and_table_that_do_not_fit_are_refused():
    table, split = crossed()
    with pytest.raises(ValueError, match="every row needs one of train, val, test"):
        content_blind(table, np.where(split == "test", "holdout", split))
    with pytest.raises(ValueError, match=r"holds \['nan'\].*does not name"):
        content_blind(table, pd.DataFrame({"image": table.image, "split": split})[:-1])
    with pytest.raises(ValueError, match=r"split has 3 rows for a table of 130"):
        content_blind(table, ["train"] * 3)
    with pytest.raises(ValueError, match=r"split.loc\[table.index\]"):
        content_blind(table, pd.Series(split)[::-1])
    with pytest.raises(ValueError, match="0 training rows"):
        content_blind(table, ["test"] * 130)
    with pytest.raises(ValueError, match="distortion but no level"):
        content_blind(table.assign(level=table.level.where(table.index != 1)), split)
    with pytest.raises(ValueError, match="1 training labels missing in 'label'"):
        content_blind(table.assign(label=table.label.where(table.index != 0)), split)


# ---- the content-specific correlation


def by_hand(predicted, label, content, version, together):
    """Contents -> correlation, from pandas and scipy."""
    rows = pd.DataFrame(dict(x=predicted, y=label, c=content, v=version, g=together))
    values = {}
    for _, group in rows.groupby("g"):
        count = group.groupby("v").c.nunique()
        group = group[group.v.map(count) == group.c.nunique()].copy()
        for name in "xy":
            rank = group.groupby("c")[name].rank()
            group[name] = rank - rank.groupby(group.v).transform("mean")
        values |= {c: scipy.stats.pearsonr(own.x, own.y).statistic for c, own in group.groupby("c")}
    return values


@given(st.integers(0, 10_000))
@properties
def test_it_is_what_its_definition_says(seed):
    generator = np.random.default_rng(seed)
    table, _ = crossed(contents=9, seed=seed)
    table = table.sample(frac=1, random_state=seed)
    table = table.drop(table.index[table.content == 4][0])  # one version is not in all of its group
    version, group = versions(table), table.content % 2
    predicted = np.round(table.label / 4 + generator.normal(0, 2, len(table)))  # with ties
    result = content_specific(predicted, table.label, table.content, version, together=group)
    known = by_hand(predicted, table.label, table.content, version, group)
    assert result["values"] == pytest.approx(known)
    assert result["value"] == pytest.approx(np.mean(list(known.values())))
    assert (result["contents"], result["left_out"], result["n"]) == (9, 4, 112)
    assert result["interval"][0] < result["value"] < result["interval"][1]
    turned = content_specific(
        -np.exp(predicted / 20), table.label, table.content, version, together=group
    )
    assert turned["value"] == pytest.approx(-result["value"])


def rules_without_pixels():
    """Predictions of rules that are told type and level, each learnt on a rotation's training
    contents, for the demo.
    """
    table = datasets.load_table("demo", root=REPOSITORY)
    told = pd.concat(
        [
            pd.get_dummies(table.distortion).mul(table.level, axis=0),
            pd.get_dummies(table.distortion2).mul(table.level2.fillna(0), axis=0),
        ],
        axis=1,
    ).to_numpy(float)
    made = {
        "boosting": GradientBoostingRegressor(n_estimators=60, random_state=0),
        "Gaussian process": GaussianProcessRegressor(
            RBF(2.0) + WhiteKernel(), normalize_y=True, optimizer=None
        ),
        "MLP": make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=60, random_state=0)
        ),
    }
    return table, told, made


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_of_any_rule_without_pixels_nothing_is_left():
    table, told, rules = rules_without_pixels()
    version, generator = versions(table), np.random.default_rng(0)
    rotation, predicted = np.zeros(len(table), int), {}
    for number in range(1, 3):
        part = make_split(table, f"rotation{number}of4")["split"].to_numpy()
        train, test = part == "train", part == "test"
        rotation[test] = number
        blind = content_blind(table, part)[:, 0]
        cells = version.map(table[train].groupby(version[train]).label.median()).to_numpy()
        columns = {
            "mean": blind,
            "median": cells,
            "offsets": blind + 9.0 * table.content.factorize()[0],
        }
        for name, rule in rules.items():
            columns[name] = rule.fit(told[train], table.label[train]).predict(told)
        for name, column in columns.items():
            predicted.setdefault(name, np.zeros(len(table)))[test] = column[test]
    rows = np.flatnonzero(rotation)
    judged = table.content[rows], version[rows]
    for name, column in predicted.items():
        assert srcc(column[rows], table.label.to_numpy()[rows]) > 0.1
        for noise in (0, 1e-9):  # of the range: rounding
            column = column + noise * np.ptp(column) * generator.normal(size=len(column))
            with pytest.warns(RuntimeWarning, match="nothing is left in 14 of 14 contents"):
                found = content_specific(
                    column[rows], table.label[rows], *judged, together=rotation[rows]
                )
            assert np.isnan([found["value"], *found["interval"], found["p"]]).all(), name
    # and one that looks is not nothing
    looks = content_specific(
        table.label2[rows], table.label[rows], *judged, together=rotation[rows]
    )
    assert looks["interval"][0] > 0.3 and looks["p"] < 0.001


def test_constant_predictions_leave_nothing_and_one_constant_content_is_counted():
    table, _ = crossed(contents=6)
    judged = table.label, table.content, versions(table)
    with pytest.warns(RuntimeWarning, match="6 of 6 contents"):
        assert np.isnan(content_specific(np.ones(len(table)), *judged)["value"])
    stuck = table.label.where(table.content != 2, 50) + 0.0
    with pytest.warns(RuntimeWarning, match="1 of 6 contents"):
        result = content_specific(stuck, *judged)
    assert np.isnan(result["values"][2]) and result["contents"] == 5


def test_the_test_of_zero_tries_all_permutations_of_few_contents():
    table, _ = crossed(contents=5)
    predicted = table.label + np.random.default_rng(1).normal(0, 12, len(table))
    judged = table.label, table.content, versions(table)
    observed = content_specific(predicted, *judged)
    values = []
    for order in permutations(range(5)):
        of_content = [predicted[table.content == other] for other in order]
        values.append(content_specific(np.concatenate(of_content), *judged)["value"])
    p = np.mean(np.abs(values) >= abs(observed["value"]) - 1e-12)
    assert observed["p"] == pytest.approx(p) and p >= 1 / math.factorial(5)
    assert content_specific(table.label, *judged)["p"] == pytest.approx(1 / 120)


def test_runs_are_averaged_by_content():
    table, _ = crossed(contents=6)
    judged = table.label, table.content, versions(table)
    runs = table.label.to_numpy() + np.random.default_rng(1).normal(0, 6, (3, len(table)))
    both, each = content_specific(runs, *judged), [content_specific(run, *judged) for run in runs]
    for content, value in both["values"].items():
        assert value == pytest.approx(np.mean([one["values"][content] for one in each]))


def test_a_comparison_is_paired_by_content():
    table, _ = crossed(contents=8)
    judged = table.label, table.content, versions(table)
    generator = np.random.default_rng(1)
    first = table.label + generator.normal(0, 2, len(table))
    second = table.label + generator.normal(0, 30, len(table))
    result = compare_specific(first, second, *judged)
    one, other = (content_specific(x, *judged)["values"] for x in (first, second))
    gains = np.array([one[content] - other[content] for content in one])
    assert result["difference"] == pytest.approx(gains.mean())
    half = scipy.stats.t.ppf(0.975, 7) * gains.std(ddof=1) / np.sqrt(8) * np.sqrt(7 / 6)
    assert result["interval"] == pytest.approx((gains.mean() - half, gains.mean() + half))
    assert result["interval"][0] > 0
    p = 2 * scipy.stats.t.sf(gains.mean() / half * scipy.stats.t.ppf(0.975, 7), 7)
    assert result["p"] == pytest.approx(p)
    turned = compare_specific(second, first, *judged)
    assert turned["difference"] == pytest.approx(-gains.mean()) and turned["p"] == result["p"]
    same = compare_specific(first, first, *judged)
    assert same["difference"] == 0 and same["interval"] == (0, 0) and same["p"] == 1


def test_what_is_crossed_and_what_is_not():
    table, _ = crossed()
    version = versions(table)
    assert is_crossed(table.content, version)
    assert is_crossed(table.content[1:], version[1:])  # one image is missing
    assert is_crossed(table.content, version, together=table.content < 5)
    drawn = versions(table.assign(level=np.random.default_rng(0).uniform(1, 5, len(table))))
    assert not is_crossed(table.content, drawn)
    assert not is_crossed(table.image, version)
    assert not is_crossed(table.content[:26], version[:26])  # two contents
    judged = table.label, table.content
    with pytest.raises(ValueError, match="the 10 contents do not stand in the same versions"):
        content_specific(table.label, *judged, drawn)
    with pytest.raises(ValueError, match="content 0 was judged by 2 networks"):
        content_specific(table.label, *judged, version, together=table.index % 2)
    with pytest.raises(ValueError, match="129 predictions and 130 labels for 130 contents"):
        content_specific(table.label[1:], *judged, version)
    for name in ("content", "version", "together"):
        lost = {"content": table.content, "version": version, "together": table.content * 0}
        lost[name] = lost[name].astype(object).where(table.index > 3, None)
        with pytest.raises(ValueError, match="4 of them missing"):
            content_specific(table.label, table.label, **lost)
    with pytest.raises(ValueError, match="0 rows"):
        content_specific([], [], [], [])


def test_a_version_that_stands_twice_and_groups_of_two_are_left_out_and_counted():
    table, _ = crossed(contents=8)
    twice = pd.concat([table, table[5:6]], ignore_index=True)
    judged = twice.label, twice.content, versions(twice)
    result = content_specific(twice.label, *judged)
    assert (result["n"], result["left_out"]) == (8 * 12, 9)
    group = table.content.clip(upper=3) // 3  # three contents, then three, then two
    group[table.content >= 6] = 7
    judged = table.label, table.content, versions(table)
    result = content_specific(table.label, *judged, together=group)
    assert (result["contents"], result["n"], result["left_out"]) == (6, 78, 26)
    assert result["least_p"] == pytest.approx(1 / 36)


def test_one_prediction_far_out_and_large_offsets_change_little():
    table, _ = crossed(contents=7)
    judged = table.label, table.content, versions(table)
    predicted = table.label + np.random.default_rng(0).normal(0, 3, len(table))
    before = content_specific(predicted, *judged)
    far = predicted.where(table.index != 20, 1e9)
    assert content_specific(far, *judged)["value"] == pytest.approx(before["value"], abs=0.1)
    shifted = content_specific(predicted + 1e6 * table.content, *judged)
    assert shifted["values"] == pytest.approx(before["values"])


def test_a_rule_is_taken_as_it_comes_and_where_nothing_is_left_no_pair_is_compared():
    table, split = crossed()
    judged = table.label, table.content, versions(table)
    blind = content_blind(table, split)
    with pytest.warns(RuntimeWarning, match="nothing is left in 10 of 10"):
        content_specific(blind, *judged)
    with pytest.warns(RuntimeWarning, match="nothing is left of one of the two"):
        assert np.isnan(compare_specific(table.label, blind, *judged)["p"])
    plain = table.assign(distortion=None, level=np.nan)
    with pytest.warns(RuntimeWarning, match="130 of 130 rows"):
        assert np.isnan(content_blind(plain, split)).all()


# ---- what the intervals cover


@pytest.fixture
def simulations(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    import simulate_statistics

    return simulate_statistics


@pytest.mark.slow
@pytest.mark.parametrize("contents", [7, 20, 28])
@pytest.mark.parametrize("population", ["another photograph's scores", "looks", "looks unevenly"])
def test_the_content_specific_interval_covers_95_percent(simulations, population, contents):
    covered = simulations.cover_specific(population, contents, 7, 600)
    # .93 to .97, but .92 with seven contents looked at unevenly; .01 is Monte Carlo's error
    least = 0.91 if (population, contents) == ("looks unevenly", 7) else 0.92
    assert least <= covered["interval"]["value"] <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("contents", [7, 28])
def test_the_permutation_test_keeps_its_size(simulations, contents):
    found = simulations.cover_specific("another photograph's scores", contents, 7, 600)
    assert found["p below .05"]["value"] <= 0.05 + 3 * 0.009
