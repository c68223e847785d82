"""Figures and the tables they stand on: every number from the statistics themselves."""

import inspect
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqa_core import figures, tables
from iqa_core.files import file_hash
from iqa_core.metrics import per_content
from iqa_core.stats import compare, content_blind, partial_srcc, resampled_interval, srcc


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    number = np.arange(9 * 24)
    content, version = number // 24, number % 24
    table = pd.DataFrame(
        {
            "image": [f"{c}-{k}.png" for c, k in zip(content, version, strict=True)],
            "content": [f"c{c}" for c in content],
            "distortion": np.array(["blur", "noise", "jpeg"])[version % 3],
            "level": random.uniform(1, 5, len(number)),
            "distortion2": np.nan,
            "level2": np.nan,
        }
    )
    # contents differ in their quality and in how much blur harms them
    offset = random.normal(0, 8, 9)[content]
    exponent = np.where(table.distortion == "blur", random.uniform(0.3, 2, 9)[content], 1)
    table["label"] = 80 - 12 * table.level**exponent + offset + random.normal(0, 2, len(table))
    table["label2"] = table.label + random.normal(0, 5, len(table))
    return table


def divided(table, *, test, val):
    """The split by numbers of contents; the others train."""
    parts = dict.fromkeys(table.content, "train") | {f"c{val}": "val"}
    return table.content.map(parts | {f"c{number}": "test" for number in test})


@pytest.fixture
def split(table):
    return divided(table, test=range(3), val=3)


@pytest.fixture
def tested(table, split):
    test = table[split == "test"]
    noise = np.random.default_rng(1).normal(0, 3, len(test))
    columns = {"image": test.image, "HyperIQA": test.label + noise, "psnr": -test.level}
    return pd.DataFrame(columns)[::-1]


def test_results_are_those_of_the_statistics_themselves(table, split, tested):
    results = tables.results([(tested, split)], table).set_index(["label", "method"])
    test = table[split == "test"]
    predicted = tested.set_index("image").HyperIQA[test.image].to_numpy()
    for label in ("label", "label2"):
        truth = test[label].to_numpy()
        blind = content_blind(table, split, label=label)[(split == "test").to_numpy()]
        row = results.loc[label, "HyperIQA"]
        assert row.srcc == pytest.approx(srcc(predicted, truth))
        within = per_content(predicted, truth, test.content)
        assert row.content_srcc == pytest.approx(within["srcc"])
        partial = partial_srcc(predicted, truth, blind, content=test.content)
        assert row.partial == pytest.approx(partial["value"])
        assert results.loc[label, "content-blind"].srcc == pytest.approx(srcc(blind[:, 0], truth))
    row = results.loc["label", "HyperIQA"]
    assert (row.n, row.contents) == (len(test), 3)
    assert np.isnan(results.loc["label", "content-blind"].partial)
    flat = tables.headline(results.reset_index(), "HyperIQA")
    assert flat["content_srcc"] == results.loc["label", "HyperIQA"].content_srcc
    assert flat["partial_label2"] == results.loc["label2", "HyperIQA"].partial


def test_a_verdict_is_what_the_interval_beyond_the_boosted_rule_says(table, split, tested):
    results = tables.results([(tested, split)], table, labels=("label",))
    rules = " and ".join(f"{value:.3f}" for value in results.content_srcc[-2:])
    for low, said in ((0.01, "that shows that"), (-0.01, "that does not show that")):
        found = results.assign(gain=0.2, gain_low=low, gain_high=0.4)
        (told,) = tables.verdicts(found, "HyperIQA")
        assert said in told and f"have {rules}" in told and f"0.200 [{low:.3f}, 0.400]" in told
    (told,) = tables.verdicts(results.drop(columns=["gain", "gain_low", "gain_high"]), "HyperIQA")
    assert f"have {rules}" in told and "keeps -- more" in told and "that does not show" in told
    wild = tables.results([(tested, split)], table[["image", "label"]])
    (told,) = tables.verdicts(wild, "HyperIQA")
    assert f"pooled SRCC {wild.srcc[0]:.3f}" in told and "no rule without pixels" in told


def test_results_of_a_set_without_distortions_have_no_baseline(table, split, tested):
    # as sets in the wild are
    empty = table.assign(distortion=np.nan, level=np.nan, content=table.image)
    empty = empty.drop(columns="label2")
    for plain in (table[["image", "label"]], empty):
        results = tables.results([(tested, split)], plain)
        assert list(results.method) == ["HyperIQA", "psnr"] and "partial" not in results


def test_over_splits_are_the_figures_of_each_with_an_interval_for_splits_that_share_images(
    table, split, tested
):
    turned = divided(table, test=range(3, 6), val=6)
    other = table[["image"]][turned == "test"].assign(psnr=range(72))
    other.insert(1, "HyperIQA", np.random.default_rng(2).normal(size=72))
    over = tables.over_splits([(tested, split), (other, turned)], table, [("HyperIQA", "psnr")])
    # Labels, statistics, methods with the rule that sees no pixel, and their difference
    assert len(over) == 2 * 4 * 4
    blind = [tables.content_blind_column(table, part) for part in (split, turned)]
    blind = [
        rows.merge(table[part == "test"], on="image")
        for rows, part in zip(blind, (split, turned), strict=True)
    ]
    blind = [srcc(rows.content_blind.to_numpy(), rows.label.to_numpy()) for rows in blind]
    row = over.set_index(["label", "statistic", "method"]).loc["label", "srcc", "content-blind"]
    assert row["mean"] == pytest.approx(np.mean(blind))
    rows = over.set_index(["label", "statistic", "method"])
    each = [
        tables.results([test], table).set_index(["label", "method"]).loc["label2"]
        for test in ((tested, split), (other, turned))
    ]
    for statistic in ("srcc", "content_srcc"):
        values = np.array([results[statistic]["HyperIQA"] for results in each])
        row = rows.loc["label2", statistic, "HyperIQA"]
        assert row["mean"] == pytest.approx(values.mean())
        assert row["std"] == pytest.approx(values.std(ddof=1))
        gains = values - [results[statistic]["psnr"] for results in each]
        row = rows.loc["label2", statistic, "HyperIQA - psnr"]
        assert row["mean"] == pytest.approx(gains.mean()) and row.splits == 2
        assert (row.low, row.high) == pytest.approx(resampled_interval(gains, train=144, test=72))
    flat = tables.splits_headline(over, "HyperIQA")
    row = rows.loc["label", "srcc", "HyperIQA"]
    assert (flat["splits"], flat["srcc"], flat["srcc_low"]) == (2, row["mean"], row.low)
    means = rows["mean"]
    assert means["label", "plcc5", "HyperIQA"] >= means["label", "plcc", "HyperIQA"]


def test_differences_are_paired_within_contents_else_over_images(table, tested):
    data = tested.merge(table, on="image")
    row = tables.differences(data, [("HyperIQA", "psnr")]).iloc[0]
    within = compare(data.HyperIQA, data.psnr, data.label, content=data.content)["within"]
    assert (row.difference, row.p) == (within["difference"], within["p"])
    assert (row.low, row.high) == within["interval"]
    assert (row.units, row.unit) == (3, "content")
    wild = tables.differences(data.assign(content=data.image), [("HyperIQA", "psnr")]).iloc[0]
    over_images = compare(data.HyperIQA, data.psnr, data.label)
    assert wild.difference == over_images["difference"]
    assert (wild.units, wild.unit) == (len(data), "image")
    # Holm over the pairs of a label
    pairs = tables.differences(data, [("HyperIQA", "psnr"), ("psnr", "HyperIQA")])
    assert pairs.p_holm.tolist() == [min(1, 2 * p) for p in pairs.p]


@pytest.mark.parametrize(
    ("contents", "pairs", "found"),
    [
        (5, 1, "too few contents: p_holm is 0.062 at best"),
        (7, 4, "too few contents: p_holm is 0.062 at best"),
        (7, 3, "apart"),
        (8, 4, "apart"),
    ],
)
def test_a_table_says_where_contents_are_too_few_for_any_finding(contents, pairs, found):
    generator = np.random.default_rng(0)
    data = pd.DataFrame({"content": np.repeat(np.arange(contents), 20)})
    data["label"] = generator.normal(size=len(data))
    data["good"] = data.label + 0.1 * generator.normal(size=len(data))
    names = [f"bad{number}" for number in range(pairs)]
    for name in names:
        data[name] = data.label + 3 * generator.normal(size=len(data))
    rows = tables.differences(data, [("good", name) for name in names])
    assert rows.found.tolist() == [found] * pairs
    # A pair that is not told apart, though it could have been
    alike = data.assign(other=data.good)
    assert tables.differences(alike, [("good", "other")]).found[0] in ("not told apart", found)


def test_a_measure_that_made_a_label_cannot_compete(table, split, tested):
    with pytest.raises(ValueError, match="mdsi made the labels"):
        tables.results([(tested.assign(mdsi=1.0), split)], table.assign(mdsi=2.0))


def test_only_test_images_count(table, split, tested):
    trained = table[split == "train"][:1].image
    more = pd.concat([tested, pd.DataFrame({"image": trained, "HyperIQA": 1.0, "psnr": 1.0})])
    with pytest.raises(ValueError, match="no test images of their split"):
        tables.results([(more, split)], table)


RUN = {"model": "m", "set": "mine", "split": "s", "split_hash": "h", "seed": 0, "crops": 1}
RUN |= {"selected_on": "val", "label_kind": "mos"}


@pytest.mark.parametrize(
    ("size", "narrow", "unit"),
    [(24, True, "contents"), (2, False, "contents"), (1, False, "images"), (36, True, "contents")],
)
def test_the_caption_says_too_narrow_under_a_bootstrap_of_few_contents_alone(
    table, split, tested, size, narrow, unit
):
    content = (np.arange(len(table)) // size).astype(str)
    plain = table.assign(distortion=np.nan, content=content)
    results = tables.results([(tested, split)], plain)
    caption = tables.results_caption(results, pd.DataFrame([RUN]))
    assert f"bootstrap draws of {unit}" in caption
    assert ("too narrow" in caption) == narrow
    assert ("t over contents" in caption) == (size > 2)


def test_an_image_tested_in_two_runs_is_refused_by_the_join(table, split, tested):
    with pytest.raises(pd.errors.MergeError):
        tables.results([(pd.concat([tested, tested[:1]]), split)], table)


def test_the_table_in_latex_holds_every_number_of_the_csv(table, split, tested):
    results = tables.results([(tested, split)], table)
    tex = tables.results_tex(results, caption="50 % of c_1", name="t")
    for row in results.itertuples():
        assert f"{row.srcc:.3f} [{row.srcc_low:.3f}" in tex or "boosted" in row.method
        if np.isfinite(row.partial):
            assert f"{row.partial:.3f} [{row.partial_low:.3f}" in tex
    assert r"50 \% of c\_1" in tex and tex.count(r"\begin{") == tex.count(r"\end{") == 2


def test_exported_figures_hold_the_plotted_numbers_and_the_caption(table, split, tested, tmp_path):
    figures.style()
    shown = tested.rename(columns={"HyperIQA": "predicted"}).merge(table, on="image")
    figure = figures.export(figures.scatter, shown, folder=tmp_path, name="s")
    data = pd.read_csv(tmp_path / "s.csv")
    points, lines = data[data.kind == "image"], figure.axes[0].lines
    plotted = np.concatenate([line.get_xydata() for line in lines[:-2]])
    assert len(points) == len(shown)
    assert sorted(plotted[:, 0]) == pytest.approx(sorted(points.predicted))
    np.testing.assert_allclose(lines[-2].get_ydata(), data[data.kind == "logistic"].label)
    assert "5-parameter logistic" in (tmp_path / "s.tex").read_text()
    first = (tmp_path / "s.svg").read_bytes()
    figures.export(figures.scatter, shown, folder=tmp_path, name="s")
    assert (tmp_path / "s.svg").read_bytes() == first, "the same numbers must give the same file"


def test_bars_are_the_srcc_within_a_type(table, split, tested):
    shown = tested.merge(table, on="image")
    methods = {"HyperIQA": "HyperIQA", "psnr": "PSNR"}
    figure, data = figures.distortion_bars(shown, methods, draws=50)
    one = shown[shown.distortion == "noise"]
    value = data.set_index(["distortion", "method"]).srcc["noise", "PSNR"]
    assert value == pytest.approx(srcc(one.psnr.to_numpy(), one.label.to_numpy()))
    assert value in [pytest.approx(bar.get_height()) for bar in figure.axes[0].patches]


def test_examples_show_the_best_and_worst_of_different_contents(table, split, tested, tmp_path):
    shown = tested.rename(columns={"HyperIQA": "predicted"}).merge(table, on="image")
    for image in shown.image:
        Image.new("RGB", (64, 48)).save(tmp_path / image)
    _, data = figures.examples(shown, root=tmp_path, columns=2)
    best, worst = data[data.shown == "best"], data[data.shown == "worst"]
    assert best.error.iloc[0] == data.error.min() and worst.error.iloc[0] == data.error.max()
    assert best.content.is_unique and worst.content.is_unique


def test_training_curves_mark_the_best_row():
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "step": [5, 10, 15], "train_l1": [9, 5, 3.0], "val_l1": [9, 6, 7.0]}
    )
    figure, data = figures.training_curves({"run": history.assign(val_score=[0.5, 0.8, 0.7])})
    assert figure.axes[1].lines[-1].get_xydata().tolist() == [[2, 0.8]] and len(data) == 3


# ---- every figure


@pytest.mark.parametrize("name", figures.list_figures())
def test_a_figure_is_asked_for_by_name_and_has_a_caption(name):
    """A new figure is found by its decorator, and checked here without a line for it."""
    drawing = getattr(figures, name)
    assert inspect.isfunction(drawing), f"{name} is a figure and a file: name one of them anew"
    assert drawing.__name__ == name and name in dir(figures)
    caption = figures.caption(drawing)  # the first paragraph
    assert caption.endswith(".") and len(caption.split()) >= 10
    rest = inspect.getdoc(drawing).partition("\n\n")[2]
    first = next(iter(inspect.signature(drawing).parameters))
    said = re.search(rf"^{first}\b", rest, re.MULTILINE)
    assert said, f"say what {first} holds, below the caption"


def test_an_unknown_figure_is_told_the_known_ones():
    with pytest.raises(AttributeError, match="no figure 'scater'; there are .*scatter"):
        figures.scater  # noqa: B018


def test_every_public_name_of_tables_is_there():
    for name in tables.__all__:
        assert getattr(tables, name) is not None


# ---- finished runs side by side


@pytest.fixture
def finished(table, split, tmp_path):
    """Folders of two runs of one method on two splits, each on its own test images."""
    other = split.map({"test": "train", "val": "val", "train": "test"})
    folders = {}
    (tmp_path / "data/splits").mkdir(parents=True)
    for number, part in enumerate((split, other)):
        parts = pd.DataFrame({"image": table.image, "split": part})
        path = tmp_path / f"data/splits/part{number}.csv"
        parts.to_csv(path, index=False)
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        parts.assign(predicted=range(len(parts))).to_csv(folder / "predictions.csv", index=False)
        facts = {"set": "demo", "method": "HyperIQA", "parameters": {"split": f"part{number}"}}
        facts["files"] = {f"data/splits/part{number}.csv": file_hash(path)}
        (folder / "params.json").write_text(json.dumps(facts))
        folders[f"run{number}"] = folder
    measured = parts[parts.split == "test"][["image"]].assign(psnr=1.0)
    measured.to_csv(folder / "measures.csv", index=False)
    return folders


def test_runs_are_read_side_by_side(table, split, finished, tmp_path):
    index = tables.read_runs(finished)
    assert index.split.to_dict() == {"run0": "part0", "run1": "part1"}
    (first, part), (second, _) = tables.read_tests(index, finished, table, root=tmp_path)
    assert part.tolist() == split.tolist()
    assert first.image.tolist() == table.image[part == "test"].tolist()
    assert list(first) == ["image", "HyperIQA"] and list(second) == ["image", "HyperIQA", "psnr"]
    assert not tables.share_images([(first, part), (second, part)])
    assert tables.share_images([(first, part), (first[:1], part)])


def test_runs_that_cannot_stand_side_by_side(table, finished, tmp_path):
    index = tables.read_runs(finished)
    with pytest.raises(ValueError, match="two runs of HyperIQA on part0: name the one to show"):
        tables.read_runs({"run0": finished["run0"], "again": finished["run0"]})
    path = finished["run1"] / "params.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"method": "MANIQA"}))
    with pytest.raises(ValueError, match="no run of MANIQA on part0: each split needs"):
        tables.read_runs(finished)
    path.write_text(json.dumps(facts | {"set": "kadid10k"}))
    with pytest.raises(ValueError, match="runs on demo, kadid10k: name those of one set"):
        tables.read_runs(finished)
    (tmp_path / "data/splits/part1.csv").write_text("changed")
    with pytest.raises(ValueError, match="part1.csv has changed since run1 read it"):
        tables.read_tests(index, finished, table, root=tmp_path)
