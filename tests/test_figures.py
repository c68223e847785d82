"""Figures and the tables they stand on: every number from the statistics themselves."""

import inspect
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pylatexenc.latex2text import LatexNodes2Text

from iqa_core import figures, tables
from iqa_core.files import file_hash
from iqa_core.metrics import per_content
from iqa_core.stats import (
    compare,
    compare_specific,
    content_blind,
    content_specific,
    resampled_interval,
    srcc,
    versions,
)
from iqa_core.tables.text import escaped


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
            "level": 1 + (version // 3) / 2,
            "distortion2": np.nan,
            "level2": np.nan,
        }
    )
    # contents differ in their quality and in how much blur harms them
    offset = random.normal(0, 8, 9)[content]
    exponent = np.where(table.distortion == "blur", random.uniform(0.3, 2, 9)[content], 1)
    table["label"] = 80 - 12 * table.level**exponent + offset + random.normal(0, 6, len(table))
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
    noise, further = np.random.default_rng(1).normal(0, 3, (2, len(test)))
    columns = {
        "image": test.image,
        "HyperIQA": test.label + noise,
        "psnr": further - 9 * test.level,
    }
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
        specific = content_specific(predicted, truth, test.content, versions(test))
        assert row.specific == pytest.approx(specific["value"])
        assert (row.specific_low, row.specific_high) == pytest.approx(specific["interval"])
        assert row.specific_p == specific["p"]
        assert results.loc[label, "content-blind"].srcc == pytest.approx(srcc(blind[:, 0], truth))
    row = results.loc["label", "HyperIQA"]
    assert (row.n, row.contents) == (len(test), 3)
    assert np.isnan(results.loc["label", "content-blind"].specific)
    flat = tables.headline(results.reset_index(), "HyperIQA")
    assert flat["content_srcc"] == results.loc["label", "HyperIQA"].content_srcc
    assert flat["specific_label2"] == results.loc["label2", "HyperIQA"].specific


def test_contents_are_centred_within_their_rotation(table, split, tested):
    turned = divided(table, test=range(3, 6), val=6)
    other = table[turned == "test"]
    noise = np.random.default_rng(2).normal(0, 3, len(other))
    other = pd.DataFrame({"image": other.image, "HyperIQA": other.label + noise, "psnr": noise})
    results = tables.results([(tested, split), (other, turned)], table, labels=("label",))
    rows = table.merge(pd.concat([tested, other]), on="image")
    judged = rows.content, versions(rows)
    rotation = rows.content.isin(["c3", "c4", "c5"])
    known = content_specific(rows.HyperIQA, rows.label, *judged, together=rotation)
    row = results.set_index("method").loc["HyperIQA"]
    assert row.specific == pytest.approx(known["value"]) and row.contents == 6


def test_a_verdict_is_what_the_content_specific_correlation_says(table, split, tested):
    results = tables.results([(tested[["image", "HyperIQA"]], split)], table, labels=("label",))
    blind = f"which sees no pixel, has {results.content_srcc.iloc[-1]:.3f}."
    for value, p, said in (
        (0.2, 0.01, "that shows that"),
        (0.2, 0.06, "that does not show that"),
        (-0.2, 0.01, "that does not show that"),
    ):
        found = results.assign(specific=value, specific_low=0.1, specific_high=0.4, specific_p=p)
        (told,) = tables.verdicts(found.assign(specific_least_p=0.001), "HyperIQA")
        assert said in told and blind in told and f"{value:.3f} [0.100, 0.400], p = {p}" in told
        assert "holds 0" not in told
    wide = found.assign(specific=0.2, specific_low=-0.1, specific_p=0.01, specific_least_p=0.001)
    (told,) = tables.verdicts(wide, "HyperIQA")
    assert told.endswith("; its interval, of 3 contents, holds 0, so others may not show it.")
    (told,) = tables.verdicts(wide.assign(specific_low=np.nan), "HyperIQA")
    assert "0.200 [--]" in told and told.endswith("judges pictures.")
    (told,) = tables.verdicts(results, "HyperIQA")
    assert "too few contents, p is 0.17 at best" in told  # three have six orders
    (told,) = tables.verdicts(results.assign(specific=np.nan), "HyperIQA")
    assert "are the same for all contents: nothing is left" in told
    wild = tables.results([(tested, split)], table[["image", "label"]])
    (told,) = tables.verdicts(wild, "HyperIQA")
    assert f"pooled SRCC {wild.srcc[0]:.3f}" in told and "not crossed" in told
    assert "nothing left" in tables.readable(results)["content-specific"].tolist()


def test_results_of_a_set_that_is_not_crossed_have_no_blind_row(table, split, tested):
    # as sets in the wild are, and one whose levels are drawn anew for each photograph
    empty = table.assign(distortion=np.nan, level=np.nan, content=table.image)
    drawn = table.assign(level=np.random.default_rng(0).uniform(1, 5, len(table)))
    for plain in (table[["image", "label"]], empty.drop(columns="label2"), drawn):
        results = tables.results([(tested, split)], plain, labels=("label",))
        assert list(results.method) == ["HyperIQA", "psnr"] and "specific" not in results


def test_of_versions_never_trained_on_there_is_no_blind_rule(table, split, tested):
    part = split.mask((split == "train") & (table.distortion == "jpeg"), np.nan)
    jpeg = table.image[(split == "test") & (table.distortion == "jpeg")]
    part = part.mask((split == "test") & (table.distortion != "jpeg"), np.nan)
    alone = tested[["image", "HyperIQA"]][tested.image.isin(jpeg)]
    with pytest.warns(RuntimeWarning, match="a version that no training row has"):
        results = tables.results([(alone, part)], table, labels=("label",))
    assert list(results.method) == ["HyperIQA"] and np.isfinite(results.specific[0])
    (told,) = tables.verdicts(results, "HyperIQA")
    assert "content-specific" in told and "sees no pixel, has" not in told


def test_over_splits_are_the_figures_of_each_with_an_interval_for_splits_that_share_images(
    table, split, tested
):
    turned = divided(table, test=range(3, 6), val=6)
    other = table[["image"]][turned == "test"].assign(psnr=np.arange(72) * 29 % 72)
    other.insert(1, "HyperIQA", np.random.default_rng(2).normal(size=72))
    over = tables.over_splits([(tested, split), (other, turned)], table, [("HyperIQA", "psnr")])
    # Labels, statistics, methods with the rule that sees no pixel, and their difference
    assert len(over) == 2 * 4 * 4
    blind = []
    for part in (split, turned):
        test = table[part == "test"]
        rule = tables.blind_rule(table, part)[test.image]
        blind.append(srcc(rule.to_numpy(), test.label.to_numpy()))
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
    found = tables.differences(data, [("HyperIQA", "psnr")]).set_index(["label", "statistic"])
    row = found.loc["label", "content_srcc"]
    within = compare(data.HyperIQA, data.psnr, data.label, content=data.content)["within"]
    assert (row.difference, row.p) == (within["difference"], within["p"])
    assert (row.low, row.high) == within["interval"]
    assert (row.units, row.unit) == (3, "content")
    row = found.loc["label2", "specific"]
    judged = data.label2, data.content, versions(data)
    specific = compare_specific(data.HyperIQA, data.psnr, *judged)
    assert (row.difference, row.p) == (specific["difference"], specific["p"])
    assert (row.low, row.high) == specific["interval"] and row.units == 3
    wild = tables.differences(data.assign(content=data.image), [("HyperIQA", "psnr")]).iloc[0]
    over_images = compare(data.HyperIQA, data.psnr, data.label)
    assert wild.difference == over_images["difference"]
    assert (wild.units, wild.unit) == (len(data), "image")
    assert wild.name == 0 and wild.statistic == "srcc"
    data["twin"] = 2 * data.HyperIQA + 1
    same = tables.differences(data, [("HyperIQA", "twin")])
    assert (same.difference == 0).all() and not same.found.str.startswith("apart").any()
    # Holm over the pairs of a label and statistic
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
        assert f"{row.srcc:.3f} [{row.srcc_low:.3f}" in tex
        if np.isfinite(row.specific):
            assert f"{row.specific:.3f} [{row.specific_low:.3f}" in tex
    assert r"50 \% of c\_1" in tex and tex.count(r"\begin{") == tex.count(r"\end{") == 2


@settings(max_examples=80, deadline=None)
@example("50 % of c_1")
@example("a\n\n\\end{table} {b")
@given(st.text(st.sampled_from("ab1 \n\\{}$&#^_~%<>|.,:;()[]*+=/@!?é×μ中ßø–"), max_size=20))
def test_any_text_is_latex_that_reads_as_the_text(text):
    """Read back by a parser: without a quote or a dash, which LaTeX joins to others."""
    read = LatexNodes2Text(strict_latex_spaces=True)
    plain = read.latex_to_text(escaped(text), tolerant_parsing=False)
    assert plain.replace("ˆ", "^") == " ".join(text.split())


def test_names_of_any_kind_stand_in_the_latex_table(table, split, tested):
    named = tested.rename(columns={"HyperIQA": "50 % & {a_b}"})
    tex = tables.results_tex(tables.results([(named, split)], table), caption="c", name="t")
    assert r"    50 \% \& \{a\_b\} & " in tex


def test_a_measure_is_marked_only_where_its_family_made_the_label(table, split, tested):
    results = tables.results([(tested.rename(columns={"psnr": "vsi"}), split)], table)
    assert "VSI" in tables.readable(results).index.get_level_values("method")
    results.attrs["set"] = "demo"
    assert "VSI*" in tables.readable(results).index.get_level_values("method")


@pytest.mark.parametrize(
    ("image", "credit"),
    [
        ("data/cache/demo/bee-00.png", "The demo's photographs are credited in data/demo/CREDITS"),
        ("data/raw/mine/a.png", "Pictures of mine."),
        ("data/raw/told/a.png", "Pictures of Bees & wasps, 50 %; licence: CC0; ourselves."),
        ("data/raw/tid2013/a.bmp", "Pictures of TID2013, 25 photographs x 24 distortions x 5 lev"),
        ("elsewhere/a.png", ""),
    ],
)
def test_a_caption_tells_whose_pictures_it_shows(image, credit, tmp_path):
    for folder in ("mine", "told", "tid2013"):
        (tmp_path / "data/raw" / folder).mkdir(parents=True)
        (tmp_path / "data/raw" / folder / "labels.csv").write_text("image,label\na.png,1\n")
    facts = "{title: 'Bees & wasps, 50 %', licence: CC0, citation: ourselves}"
    (tmp_path / "data/raw/told/set.yaml").write_text(facts)
    (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(tmp_path / image)
    table = pd.DataFrame({"image": [image], "label": [1.0]})
    figures.export(figures.image_grid, table, root=tmp_path, folder=tmp_path, name="grid")
    tex = (tmp_path / "grid.tex").read_text()
    assert escaped(credit) in tex
    assert ("demo" in tex) == ("demo" in image)


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
    assert "monotone logistic of 4 parameters" in (tmp_path / "s.tex").read_text()
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
    _, data = figures.examples(shown, root=tmp_path)
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
    assert "demo" not in caption, "`export` tells whose the pictures are"
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
