"""Tables and figures of ablations: every number from the statistics themselves, differences, Holm,
bad input.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from iqa_core import figures, tables
from iqa_core.metrics import per_content
from iqa_core.stats import (
    compare_seeds,
    content_blind,
    content_specific,
    holm,
    srcc,
    t_interval,
    versions,
)

NOISE = {
    "single": 18.0,
    "fusion": 6.0,
    "full": 6.0,
}  # of the predictions: full is no better than fusion
SEEDS = (0, 1, 2)
PAIRS = [["fusion", "single"], ["full", "fusion"], ["full", "single"]]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    kinds = ("blur", "noise", "jpeg")
    rows = [
        (f"{c}-{k}.png", f"c{c}", kinds[k % 3], 1 + (k // 3) / 2)
        for c in range(12)
        for k in range(24)
    ]
    table = pd.DataFrame(rows, columns=["image", "content", "distortion", "level"])
    second = np.where(np.arange(len(table)) % 8 == 0, "jpeg", None)
    table = table.assign(distortion2=second, level2=np.where(pd.isna(second), np.nan, 2.0))
    return table.assign(label=80 - 12 * table.level + random.normal(0, 6, len(table)))


@pytest.fixture(scope="module")
def part(table):
    return table.content.map(
        {f"c{c}": "test" if c < 6 else "val" if c < 8 else "train" for c in range(12)}
    )


@pytest.fixture(scope="module")
def tested(table, part):
    test, random = table[part == "test"], np.random.default_rng(1)
    made = [
        test[["image", "label"]].assign(
            variant=name, seed=seed, predicted=test.label + random.normal(0, noise, len(test))
        )
        for name, noise in NOISE.items()
        for seed in SEEDS
    ]
    return pd.concat([run.sample(frac=1, random_state=0) for run in made])


@pytest.fixture(scope="module")
def results(tested, table, part):
    return tables.ablations(tested, table, part)


def one(tested, table, variant, seed):
    """Predictions of one training, beside the table's columns."""
    own = tested[(tested.variant == variant) & (tested.seed == seed)]
    return own.drop(columns="label").merge(table, on="image")


def within(rows):
    return pd.Series(per_content(rows.predicted, rows.label, rows.content)["values"])


@pytest.mark.parametrize("variant", NOISE)
def test_a_row_is_the_mean_over_trainings_and_contents(results, tested, table, variant):
    runs = [one(tested, table, variant, seed) for seed in SEEDS]
    rows = results[results.variant == variant]
    mean, single = rows[rows.seed.isna()].iloc[0], rows[rows.seed.notna()].set_index("seed")
    assert single.content_srcc.tolist() == pytest.approx([within(run).mean() for run in runs])
    assert single.srcc.tolist() == pytest.approx(
        [srcc(run.predicted.to_numpy(), run.label.to_numpy()) for run in runs]
    )
    assert mean.content_srcc == pytest.approx(np.mean([within(run).mean() for run in runs]))
    assert mean.srcc == pytest.approx(single.srcc.mean())
    assert mean.seed_sd == pytest.approx(single.content_srcc.std())
    assert (mean.n, mean.contents, mean.trainings) == (144, 6, 3)
    for name in ("srcc", "content_srcc", "specific"):
        assert mean[f"{name}_low"] < mean[name] < mean[f"{name}_high"]


def test_of_one_training_it_is_what_the_metrics_say(tested, table, part):
    run = one(tested, table, "full", 0)
    row = tables.ablations(
        tested[(tested.variant == "full") & (tested.seed == 0)], table, part
    ).iloc[0]
    known = per_content(run.predicted, run.label, run.content)
    assert (row.content_srcc_low, row.content_srcc_high) == pytest.approx(known["interval"])
    known = content_specific(run.predicted, run.label, run.content, versions(run))
    assert (row.specific, row.specific_low, row.specific_high) == pytest.approx(
        (known["value"], *known["interval"])
    )
    assert row.specific_p == known["p"]
    assert row.trainings == 1 and np.isnan(row.seed_sd)


def test_the_rule_without_pixels_is_a_row_without_seeds(results, table, part):
    rows = results.set_index("variant")
    blind = table.assign(predicted=content_blind(table, part)[:, 0])[part == "test"]
    assert rows.content_srcc["content-blind"] == pytest.approx(within(blind).mean())
    assert np.isnan(rows.trainings["content-blind"]) and np.isnan(rows.specific["content-blind"])
    shown = tables.readable_ablations(results)
    assert list(shown.index) == [("label", name) for name in (*NOISE, "content-blind")]
    assert shown["content-specific correlation"].iloc[-1] == "nothing left"
    mean = results[(results.variant == "full") & results.seed.isna()].iloc[0]
    text = shown.loc[("label", "full"), "mean SRCC within contents"]
    assert (
        text
        == f"{mean.content_srcc:.3f} [{mean.content_srcc_low:.3f}, {mean.content_srcc_high:.3f}]"
    )


def test_draws_of_a_training_are_averaged_before_seeds(tested, table, part, results):
    own = tested[tested.variant == "full"]
    twice = pd.concat([own.assign(draw=0), own.assign(draw=1, predicted=-own.predicted)])
    rows = tables.ablations(twice, table, part)
    assert rows[rows.variant == "full"].content_srcc.tolist() == pytest.approx([0] * 4, abs=1e-12)
    assert rows.trainings[0] == 3


def test_a_set_with_contents_but_empty_distortions_has_no_baseline(tested, table, part):
    results = tables.ablations(tested, table.assign(distortion=np.nan, level=np.nan), part)
    assert (
        "specific" not in results
        and "content_srcc" in results
        and not results.variant.str.contains("blind").any()
    )


def test_a_set_without_contents_has_srcc_over_images(tested, table, part):
    plain = table[["image", "label"]]
    rows = tables.ablations(tested, plain, part)
    assert set(rows.variant) == set(NOISE) and not {"content_srcc", "specific"} & set(rows)
    single = rows[rows.seed.notna() & (rows.variant == "full")]
    assert rows.seed_sd[0] > 0 and single.srcc.std() == pytest.approx(
        rows.seed_sd[rows.variant.eq("full") & rows.seed.isna()].item()
    )
    found = tables.seed_differences(tested, plain, [["fusion", "single"]]).iloc[0]
    wide = [
        tested[tested.variant == name].pivot(index="seed", columns="image", values="predicted")
        for name in ("fusion", "single")
    ]
    label = table.set_index("image").label[wide[0].columns]
    assert found.p == pytest.approx(compare_seeds(*wide, label)["p"])
    figure, data = figures.variant_points(rows, list(NOISE))
    assert len(figure.axes) == 1 and "content-blind" not in set(data.variant)


def test_differences_are_those_of_the_table_and_holm_is_over_the_rows_of_a_label(
    tested, table, results
):
    both = table.assign(label2=-table.level + np.random.default_rng(2).normal(0, 1, len(table)))
    found = tables.seed_differences(tested, both, PAIRS)
    means = results[results.seed.isna()].set_index("variant").content_srcc
    assert found.difference[:3].tolist() == pytest.approx(
        [means[a] - means[b] for a, b in PAIRS], abs=1e-12
    )
    for _, rows in found.groupby("label"):
        assert rows.p_holm.tolist() == pytest.approx(holm(rows.p))
    assert found.found.iloc[:3].tolist() == ["apart", "not told apart", "apart"]
    assert (
        (found.low < found.difference).all()
        and (found.trainings == 3).all()
        and (found.units == 6).all()
    )


def test_differences_are_those_of_the_table_where_contents_are_unlike_and_values_tie(
    tested, table, part
):
    """Contents of 24, 9, 7, 5, 4 and 2 images, of which the last counts for neither, labels and
    predictions rounded.
    """
    sizes = dict(zip((f"c{c}" for c in range(6)), (24, 9, 7, 5, 4, 2), strict=True))
    kept = table.groupby("content").cumcount() < table.content.map(sizes).fillna(24)
    small = table[kept].assign(label=table.label.round(-1)).reset_index(drop=True)
    own = tested[tested.image.isin(small.image)].assign(
        predicted=lambda rows: rows.predicted.round(-1)
    )
    rows = tables.ablations(own, small, small.image.map(part.set_axis(table.image)))
    means = rows[rows.seed.isna()].set_index("variant").content_srcc
    for runs in (own, own[own.seed == 1]):
        found = tables.seed_differences(runs, small, PAIRS)
        assert (found.units == 5).all() and (found.n == 51).all()
        if runs is own:
            assert found.difference.tolist() == pytest.approx(
                [means[a] - means[b] for a, b in PAIRS], abs=1e-12
            )
            assert (found.low < found.difference).all() and found.p.between(0, 1).all()
    one_each = {name: within(one(own, small, name, 1)) for name in NOISE}
    assert found.difference.tolist() == pytest.approx(
        [one_each[a].mean() - one_each[b].mean() for a, b in PAIRS], abs=1e-12
    )


def test_between_tests_of_the_same_networks_seeds_are_no_noise(tested, table):
    """Three networks that differ much, tested twice: the second test loses a little of each."""
    full = tested[tested.variant == "full"]
    spread = np.random.default_rng(3).normal(0, 25, len(full)) * full.seed.map(
        dict(zip(SEEDS, (0.2, 1, 2), strict=True))
    )
    full = full.assign(predicted=full.predicted + spread)
    lesser = full.assign(
        variant="centre",
        predicted=full.predicted + np.random.default_rng(4).normal(0, 6, len(full)),
    )
    both = pd.concat([full, lesser])
    loose = tables.seed_differences(both, table, [["full", "centre"]]).iloc[0]
    same = tables.seed_differences(both.assign(networks="full"), table, [["full", "centre"]]).iloc[
        0
    ]
    assert same.difference == pytest.approx(loose.difference)
    assert same.high - same.low < 0.5 * (loose.high - loose.low)
    gaps = [
        within(one(full, table, "full", seed)) - within(one(lesser, table, "centre", seed))
        for seed in SEEDS
    ]
    assert (same.low, same.high) == pytest.approx(t_interval(np.mean(gaps, axis=0)))
    assert same.p == pytest.approx(ttest_1samp(np.mean(gaps, axis=0), 0).pvalue)
    assert same.found == ("apart" if same.p < 0.05 else "not told apart")
    # Holm counts such a pair beside the others.
    twice = tables.seed_differences(
        both.assign(networks="full"), table, [["full", "centre"], ["centre", "full"]]
    )
    assert twice.p_holm.tolist() == pytest.approx([min(1, 2 * same.p)] * 2)


def test_contents_of_two_images_are_drawn_whole_where_networks_are_the_same(tested, table):
    """Too few for an order within a content, so the difference is over all images; but they are not
    independent."""
    own, random = tested[tested.variant == "full"], np.random.default_rng(3)
    pairs = table.assign(content=table.groupby(table.index // 2).image.transform("first"))
    shift = dict(zip(pairs.content.unique(), random.normal(0, 25, len(pairs) // 2), strict=True))
    by_content = own.image.map(pairs.set_index("image").content).map(shift)
    both = pd.concat([own, own.assign(variant="s", predicted=own.predicted + by_content)])
    both = both.assign(networks="full")
    rows = [
        tables.seed_differences(both, truth, [["full", "s"]]).iloc[0]
        for truth in (pairs, pairs.drop(columns="content"))
    ]
    assert [row.units for row in rows] == [72, 144]
    assert rows[0].difference == rows[1].difference
    assert rows[0].high - rows[0].low > 1.05 * (rows[1].high - rows[1].low)


def test_from_one_training_nothing_is_concluded(tested, table):
    once = tested[(tested.variant != "fusion") | (tested.seed == 1)]
    found = tables.seed_differences(once, table, PAIRS)
    assert found.found.tolist() == ["one training: nothing is concluded"] * 2 + ["apart"]
    assert found.p.isna().tolist() == [True, True, False]
    assert found.p_holm[2] == found.p[2], "rows without a p do not count for Holm"
    gap = within(one(tested, table, "fusion", 1)) - within(one(tested, table, "single", 0))
    assert (found.difference[0], found.low[0], found.high[0]) == pytest.approx(
        (gap.mean(), *t_interval(gap))
    )
    assert tables.seed_differences(tested, table, []).empty


def test_what_a_shuffle_costs(tested, table):
    own, random = tested[tested.variant == "full"], np.random.default_rng(3)
    draws = [
        own.assign(variant="s", draw=k, predicted=own.predicted + random.normal(0, 15, len(own)))
        for k in range(2)
    ]
    both = pd.concat([own, *draws])
    row = tables.shuffle_loss(both, table, ("full", "s")).iloc[0]
    gaps = [
        np.mean([within(run) - within(run.assign(predicted=run.other)) for run in pairs], axis=0)
        for pairs in [
            [
                one(own, table, "full", s).merge(
                    d[d.seed == s][["image", "predicted"]].rename(columns={"predicted": "other"})
                )
                for d in draws
            ]
            for s in SEEDS
        ]
    ]
    assert row.lost == pytest.approx(np.mean(gaps))
    assert (row.low, row.high) == pytest.approx(t_interval(np.mean(gaps, axis=0)))
    assert (row.least, row.most) == pytest.approx(
        (min(np.mean(gaps, axis=1)), max(np.mean(gaps, axis=1)))
    )
    assert (row.trainings, row.draws, row.found) == (3, 2, "lost")
    same = pd.concat([own, own.assign(variant="s")])
    row = tables.shuffle_loss(same, table, ("full", "s")).iloc[0]
    assert row.lost == 0 and row.found == "not told from nothing"
    row = tables.shuffle_loss(both, table[["image", "label"]], ("full", "s")).iloc[0]
    assert row.low < row.lost < row.high and row.units == 144


def test_left_out_types_are_tested_alone(tested, table, part):
    named = tested[tested.variant != "single"].replace(
        {"variant": {"fusion": "all-types", "full": "without-jpeg"}}
    )
    found = tables.on_left_out(named, table, ["jpeg", "blur"], part=part)
    rows = tables.transfers(found).set_index(["trained", "tested"])
    has = table[(table.distortion == "jpeg") | (table.distortion2 == "jpeg")]
    assert rows.n["without-jpeg", "jpeg"] == has.image.isin(tested.image).sum()
    assert rows.seen.to_dict() == {
        (t, k): (t, k) != ("without-jpeg", "jpeg") for t, k in rows.index
    }
    runs = [one(tested, table[table.image.isin(has.image)], "full", seed) for seed in SEEDS]
    assert rows.srcc["without-jpeg", "jpeg"] == pytest.approx(
        np.mean([run.predicted.corr(run.label, "spearman") for run in runs])
    )
    assert rows.content_srcc["without-jpeg", "jpeg"] == pytest.approx(
        np.mean([within(run).mean() for run in runs])
    )
    pairs = [[f"all-types, {kind}", f"without-jpeg, {kind}"] for kind in ("jpeg", "blur")]
    assert tables.seed_differences(found, table, pairs).n.tolist() == [
        rows.n["all-types", kind] for kind in ("jpeg", "blur")
    ]


def test_the_rule_that_sees_no_pixel_is_one_more_row_where_it_is_defined(tested, table, part):
    blind = tables.blind_predictions(table, part)
    rule = pd.Series(content_blind(table, part)[:, 0], index=table.image)
    assert set(blind.image) == set(table.image[part == "test"])
    assert blind.set_index("image").predicted.equals(rule[blind.image])
    rows = tables.transfers(tables.on_left_out(tested, table, ["jpeg"], part=part))
    row = rows.set_index("trained").loc["content-blind"]
    runs = one(blind, table, "content-blind", 0)
    has = (runs.distortion == "jpeg") | (runs.distortion2 == "jpeg")
    assert row.content_srcc == pytest.approx(within(runs[has]).mean())
    assert pd.isna(row.trainings) and row.seen and rows.trainings[0] == 3
    figure, _ = figures.transfer_matrix(rows.iloc[::-1])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["full", "fusion", "single", "content blind"]
    unlike = table.assign(distortion=table.content.where(part == "test", table.distortion))
    none = tables.blind_predictions(unlike, part)
    assert none.empty, "the rule is of crossed sets"
    assert (pd.concat([tested, none]).dtypes == tested.dtypes).all()


def test_a_cell_without_an_interval_says_so(tested, table):
    perfect = tested[tested.variant == "full"].assign(trained="a", tested="a", seen=True)
    perfect = perfect.assign(predicted=perfect.label).merge(table[["image", "content"]])
    figure, _ = figures.transfer_matrix(tables.transfers(perfect))
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00\n[--]"]


def test_transfer_to_a_set_without_contents_is_over_images(tested, table, part):
    full = tested[tested.variant == "full"]
    there = full.assign(tested="b", content=None, predicted=-full.predicted, split=None)
    plain = table.drop(columns="level")  # not crossed, so no rule stands beside it
    rows = tables.on_other_sets(tested.assign(split="s"), there, plain, part, "a")
    rows = tables.transfers(rows).set_index("tested")
    assert rows.split.to_dict() == {"a": "s", "b": "all images"}
    assert (
        rows.srcc["b"] == pytest.approx(-rows.srcc["a"])
        and np.isnan(rows.contents["b"])
        and rows.contents["a"] == 6
    )
    assert rows.seen.to_dict() == {"a": True, "b": False}
    figure, data = figures.transfer_matrix(rows.reset_index())
    assert [text.get_text().split("\n")[0] for text in figure.axes[0].texts] == [
        f"{value:.2f}" for value in data.srcc
    ]
    assert len(figure.axes[0].patches) == 1, "the set that was not trained on has a frame"
    other = rows.reset_index().assign(trained="c", n=7)[:1]
    figure, data = figures.transfer_matrix(pd.concat([rows.reset_index(), other]))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a\nn = 144, 7", "b\nn = 144"]
    assert len(axes.texts) == 3 and [label.get_text() for label in axes.get_yticklabels()] == [
        "a",
        "c",
    ]


def test_the_points_drawn_are_those_of_the_csv(results, tmp_path):
    once = results[(results.variant != "full") | results.seed.isna()].copy()
    once.loc[once.variant == "full", "trainings"] = 1
    figures.export(figures.variant_points, once, ["single", "full"], folder=tmp_path, name="v")
    figure, _ = figures.variant_points(once, ["single", "full"])
    data = pd.read_csv(tmp_path / "v.csv")
    assert data.variant.tolist() == ["single"] * 4 + ["full", "content-blind"]
    drawn = [
        x
        for line in figure.axes[0].lines
        for x in line.get_xdata()
        if line.get_marker() in ("o", "s")
    ]
    assert sorted(drawn) == pytest.approx(sorted(data.content_srcc))
    ends = [
        x
        for bars in figure.axes[1].collections
        for path in bars.get_paths()
        for x in path.vertices[:, 0]
    ]
    rows = data[data.seed.isna() & data.specific.notna()]
    assert sorted(x for x in ends if np.isfinite(x)) == pytest.approx(
        sorted([*rows.specific_low, *rows.specific_high])
    )
    assert "trained once" in (tmp_path / "v.tex").read_text()


def test_what_cannot_be_compared(tested, table, part):
    with pytest.raises(ValueError, match="no predictions of 'fused'; there are"):
        tables.seed_differences(tested, table, [["fused", "single"]])
    fewer = tested[(tested.variant != "full") | (tested.image != tested.image.iloc[0])]
    with pytest.raises(ValueError, match="full and fusion were tested on different images"):
        tables.seed_differences(fewer, table, [["full", "fusion"]])
    fewer = tested[(tested.seed != 0) | (tested.image != tested.image.iloc[0])]
    with pytest.raises(ValueError, match="the trainings of '.*' were tested on different images"):
        tables.ablations(fewer, table, part)
