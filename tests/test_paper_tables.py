"""Reported numbers live once and are drawn and printed from there; measured ones stand beside them,
marked; what is bold has been tested.
"""

import importlib
import json
import re

import numpy as np
import pandas as pd
import pytest
import stated_tables
from conftest import REPOSITORY

from iqa_core import tables
from iqa_core.files import file_hash
from iqa_core.metrics import correlations

paper = tables.paper


# ---- reported


def test_the_reproduction_page_is_what_its_script_makes(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    script = importlib.import_module("make_reproduction_docs")
    written = (REPOSITORY / "docs/reproduction.md").read_text(encoding="utf-8")
    assert written == script.text(), "run `python scripts/make_reproduction_docs.py`"
    assert {*script.COLUMNS, "transfer"} == {*tables.topics()}, "every file has its place there"


@pytest.mark.parametrize("topic", tables.topics())
def test_reported_numbers_have_a_source_and_are_possible(topic):
    data = tables.reported(topic)
    assert set(data.kind) == {"reported"} and data.own.dtype == bool
    numbers = data[data.srcc.notna()]
    assert (numbers.source != "").all() and numbers.srcc.between(0, 1).all()
    assert data.plcc.dropna().between(0, 1).all()
    assert data[["srcc_low", "srcc_high", "plcc_low", "plcc_high"]].isna().all(axis=None)
    keys = [name for name in data if name not in ("note", "run", "own")]
    assert not data.duplicated(keys).any(), "a number stands twice"


def test_numbers_of_several_topics_agree():
    """The full model's result is told by many files; none may tell another."""
    full = {"srcc": 0.9378, "plcc": 0.9485}
    for topic, rows in {
        "sota_koniq10k": "method == 'SMART-IQA-B'",
        "sizes": "method == 'SMART-IQA-B' and lr == 5e-7",
        "components": "step == 3 and lr == 5e-7",
        "learning_rates": "lr == 5e-7",
        "training_log": "epoch == 8",
    }.items():
        (row,) = tables.reported(topic).query(rows)[["srcc", "plcc"]].to_dict("records")
        assert row == full, topic


def test_groups_of_protocols_are_kept_apart():
    data = tables.reported("sota_koniq10k")
    random = data[data.group == "random 80/20"]
    assert random.protocol.str.contains("random").all() and not random.own.any()
    assert set(data[data.own].group) == {"7,046 / 2,010"}


def test_a_topic_that_nothing_is_reported_of():
    with pytest.raises(KeyError, match="nothing is reported of 'speed'; there are baseline, comp"):
        tables.reported("speed")


# ---- measured


def make_project(root):
    """A set without versions and two methods that were tested on it: index, folders, root."""
    random = np.random.default_rng(0)
    count = 120
    images = [f"data/raw/mine/{number}.png" for number in range(count)]
    label = random.normal(50, 10, count)
    table = pd.DataFrame({"image": images, "label": label, "label_kind": "mos"})
    table["content"] = [str(number) for number in range(count)]
    for column in ("distortion", "level", "reference", "official_split"):
        table[column] = np.nan
    part = np.array(["train", "val", "test", "test"])[np.arange(count) % 4]
    for folder in ("data/tables", "data/splits"):
        (root / folder).mkdir(parents=True)
    table.to_csv(root / "data/tables/mine.csv", index=False)
    split = root / "data/splits/mine-s.csv"
    pd.DataFrame({"image": images, "split": part}).to_csv(split, index=False)
    folders = {}
    for model, method, noise in (("smart_iqa", "SMART-IQA", 1), ("hyperiqa", "HyperIQA", 20)):
        folder = folders[f"mine/{model}"] = root / model
        folder.mkdir()
        rows = pd.DataFrame({"image": images, "split": part, "label": label})
        rows["predicted"] = label + random.normal(0, noise, count)
        rows[part != "train"].to_csv(folder / "predictions.csv", index=False)
        facts = {"set": "mine", "method": method, "model": f"{model} base", "seed": 3, "crops": 4}
        facts |= {"selected_on": "val", "files": {"data/splits/mine-s.csv": file_hash(split)}}
        facts["parameters"] = {"split": "mine-s", "epochs": 2, "head_lr": 5e-6, "run": "x"}
        (folder / "params.json").write_text(json.dumps(facts))
        history = {"epoch": [1, 2], "train_loss": [9.5, 8.5], "val_srcc": [0.5, 0.6]}
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    facts = {"name": "smart_iqa", "architecture": {"parameters": 89_111_941, "gmacs": 15.5}}
    (root / "smart_iqa/model.json").write_text(json.dumps(facts))
    return tables.read_runs(folders), folders, root


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    index, folders, root = make_project(tmp_path_factory.mktemp("measured"))
    return tables.measured(index, folders, root=root)


def differences(found="apart", difference=0.3):
    row = {"label": "label", "statistic": "srcc", "method": "SMART-IQA", "than": "HyperIQA"}
    return pd.DataFrame([row | {"difference": difference, "found": found}])


def test_finished_runs_are_rows_of_the_same_kind(project, measured):
    _, folders, _ = project
    own, other = measured.to_dict("records")
    assert (own["own"], other["own"], own["kind"]) == (True, False, "measured")
    assert own["params_m"] == pytest.approx(89.111941) and own["gmacs"] == 15.5
    assert np.isnan(other["params_m"]), "no model.json, so nothing is known"
    rows = pd.read_csv(folders["mine/smart_iqa"] / "predictions.csv")
    rows = rows[rows.split == "test"]
    expected = correlations(rows.predicted, rows.label, draws=50)
    for name in ("srcc", "plcc"):
        assert own[name] == pytest.approx(expected[name])
        assert own[f"{name}_low"] < own[name] < own[f"{name}_high"]
    stated = {name: own[name] for name in tables.statement.STATED}
    assert stated == dict(n=60, unit="image", units=60, split="mine-s", seeds="3", crops="4")
    assert own["source"] == "mine/smart_iqa" and own["protocol"] == "chosen on val"


def test_random_splits_that_share_images_are_averaged(project):
    _, folders, root = project
    other = root / "data/splits/mine-t.csv"
    split = pd.read_csv(root / "data/splits/mine-s.csv")
    split.to_csv(other, index=False)
    for name in [*folders]:
        copy = root / f"{folders[name].name}-t"
        copy.mkdir()
        for file in ("predictions.csv", "params.json"):
            (copy / file).write_text((folders[name] / file).read_text().replace("mine-s", "mine-t"))
        facts = json.loads((copy / "params.json").read_text())
        facts["files"] = {"data/splits/mine-t.csv": file_hash(other)}
        (copy / "params.json").write_text(json.dumps(facts))
        folders[f"{name}-t"] = copy
    data = tables.measured(tables.read_runs(folders), folders, root=root)
    assert set(data.unit) == {"split"} and set(data.units) == {2} and set(data.n) == {60}
    assert data.split[0] == "mine-s, mine-t"


def test_a_crossed_set_has_the_row_that_sees_no_pixel(project):
    _, folders, root = project
    table = pd.read_csv(root / "data/tables/mine.csv")
    number = np.arange(len(table))
    table["content"] = [f"c{place}" for place in number // 8]
    table = table.assign(distortion=np.array(["blur", "noise"])[number % 2], level=number % 8 // 2)
    table.to_csv(root / "data/tables/mine.csv", index=False)
    file = root / "data/splits/mine-s.csv"
    part = np.array(["train", "val", "test"])[np.arange(len(table)) // 8 % 3]
    pd.DataFrame({"image": table.image, "split": part}).to_csv(file, index=False)
    for folder in folders.values():
        rows = table.assign(split=part, predicted=table.label + np.sin(number))
        rows[part != "train"].to_csv(folder / "predictions.csv", index=False)
        facts = json.loads((folder / "params.json").read_text())
        facts["files"] = {"data/splits/mine-s.csv": file_hash(file)}
        (folder / "params.json").write_text(json.dumps(facts))
    data = tables.measured(tables.read_runs(folders), folders, root=root)
    blind = data.iloc[-1]
    assert blind.method == "content-blind" and not blind.own and np.isfinite(blind.srcc)
    assert set(data.unit) == {"content"} and set(data.units) == {5}
    assert blind.split == "mine-s" and blind.protocol == "" and blind.source == ""


def test_best_is_what_the_paired_test_tells_apart(measured):
    assert paper.best_measured(measured, differences()) == "SMART-IQA"
    assert paper.best_measured(measured, differences("not told apart")) == ""
    assert paper.best_measured(measured, differences(difference=-0.3)) == "", "the other is better"
    assert paper.best_measured(measured, None) == "", "nothing was tested"
    third = measured.iloc[[1]].assign(method="psnr")
    assert paper.best_measured(pd.concat([measured, third]), differences()) == "", "psnr was not"
    assert paper.best_measured(measured[:1], differences()) == "", "there is no other"


def test_a_measured_row_stands_beside_a_reported_one_of_its_group_alone(measured):
    reported = tables.reported("sota_koniq10k")
    measured = tables.named(measured, {"SMART-IQA": "SMART-IQA-B"})
    tested = tables.named(differences(), {"SMART-IQA": "SMART-IQA-B"})
    data = paper.sota(reported, measured, tested)
    assert len(data) == len(reported) + 2
    assert set(data.group[data.srcc_measured.notna()]) == {paper.HERE}
    assert data.srcc_reported[data.srcc_measured.notna()].isna().all()
    same = paper.sota(reported, measured.assign(group="7,046 / 2,010"), tested)
    assert len(same) == len(reported)
    (row,) = same[same.best].to_dict("records")
    assert (row["method"], row["srcc_reported"]) == ("SMART-IQA-B", 0.9378)
    assert row["srcc_measured"] == measured.srcc.max() and row["n"] == 60
    assert not paper.sota(reported).best.any(), "a reported row is never the best"


def test_sources_that_contradict_each_other_keep_a_row_each():
    data = paper.ablation(tables.reported("components"))
    rows = data[(data.method == "Swin-B, last stage") & (data.group == "Swin-B, 5e-7")]
    assert rows.plcc_reported.tolist() == [0.9437, 0.9445]
    assert rows.source.tolist() == ["paper", "notes"]


def test_variants_of_an_ablation(tmp_path):
    rows = {"label": ["label", "label", "label2"], "variant": ["L2", "L2", "L2"]}
    rows |= {"seed": [np.nan, 0, np.nan], "trainings": 2, "n": 9, "unit": "image", "units": 9}
    rows |= {"srcc": [0.5, 0.4, 0.1], "srcc_low": 0.3, "srcc_high": 0.7, "seed_sd": 0.1}
    data = tables.stated(pd.DataFrame(rows), {"split": "s", "seeds": [0, 1], "crops": 4})
    measured = tables.of_variants(data, source="mine/04")
    both = paper.losses(tables.reported("losses"), measured)
    (row,) = both[both.srcc_measured.notna()].to_dict("records")
    assert (row["method"], row["srcc_reported"], row["srcc_measured"]) == ("L2", 0.9373, 0.5)
    assert row["measured_by"] == "mine/04" and np.isnan(row["plcc_measured"])


# ---- names


def test_methods_are_called_as_they_are_displayed(measured):
    names = {"HyperIQA": "Su et al."}
    assert tables.named(measured, names).method.tolist() == ["SMART-IQA", "Su et al."]
    assert tables.named(differences(), names).than.tolist() == ["Su et al."]
    assert measured.method.tolist() == ["SMART-IQA", "HyperIQA"], "the given table stays"
    with pytest.raises(KeyError, match="no method MANIQA here; there are SMART-IQA, HyperIQA"):
        tables.named(measured, {"MANIQA": "x"})


# ---- what runs say of themselves


def test_settings_losses_and_sizes_come_from_the_files_of_runs(project):
    index, folders, _ = project
    given = paper.hyperparameters(index, tables.reported("hyperparameters"))
    rate = given[given.parameter == "learning rate, rest"].iloc[0]
    assert (rate.reported, rate["SMART-IQA"]) == ("5e-6", "5e-6")
    assert "run" not in set(given.parameter) and "split" in set(given.parameter)
    clipped = given[given.parameter == "gradients clipped to norm"]
    assert clipped.reported.tolist() == ["1", "none"] and clipped.source.iloc[1] == "paper"

    log = paper.training_log(index, folders, tables.reported("training_log"))
    measured = log[log.loss_measured.notna()]
    assert measured.loss_measured.tolist() == [9.5, 8.5] * 2 and set(measured.n) == {30}
    assert measured.loss_reported.isna().all()

    sizes = paper.complexity(tables.reported("complexity"), index, folders)
    own = sizes[sizes.params_m_measured.notna()]
    assert own.gmacs_measured.tolist() == [15.5]


def test_selected_images_are_matched_by_their_names(tmp_path, project):
    index, _, _ = project
    image = {"image": "data/raw/koniq10k/7292878318.jpg", "predicted": 60.0, "error": -1.1}
    image |= {f"stage{number}": 0.25 for number in range(1, 5)}
    chosen = {"trained": "mine/smart_iqa", "images": [image]}
    (tmp_path / "selected_images_for_viz.json").write_text(json.dumps(chosen))
    facts = index.iloc[0].to_dict()
    data = paper.selected_images(tables.reported("selected_images"), tmp_path, facts)
    assert data.stage3_measured.notna().tolist() == [False, True, False]
    assert data.stage3_reported.tolist() == [0.2869, 0.99615, 0.99675]
    assert data.n[1] == 1 and data.split[1] == "mine-s"


# ---- files


def test_files_show_what_is_missing_and_what_is_bold(measured, tmp_path):
    reported = tables.reported("sota_koniq10k")
    measured = tables.named(measured, {"SMART-IQA": "SMART-IQA-B"})
    measured = measured.assign(group="7,046 / 2,010")
    tested = tables.named(differences(), {"SMART-IQA": "SMART-IQA-B"})
    data = paper.sota(reported, measured, tested)
    printed = tables.write(data, caption="On 100 % of it.", folder=tmp_path, name="t")
    value = printed["SRCC measured"][2]
    assert value.startswith("0.9") and "[" in value
    written = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert written.srcc_measured[0] == "--" and (written != "").all(axis=None)
    tex, markdown = ((tmp_path / f"t.{kind}").read_text() for kind in ("tex", "md"))
    assert re.findall(r"\\textbf{(.*?)}", tex) == [value]
    assert re.findall(r"\*\*(.*?)\*\*", markdown) == [value]
    assert r"On 100 \% of it. n: 60, unit: image, units: 60, split: mine-s" in tex
    assert "\nn: 60, unit: image, units: 60, split: mine-s, seeds: 3, crops: 4\n" in markdown
    assert "| 0.9249 | 0.9360 |" in markdown, "as many digits as were published"
    assert "nan" not in tex + markdown and r"\toprule" in tex


def test_the_walk_over_stated_tables_reads_these_too(measured, project, tmp_path):
    index, folders, _ = project
    folder = tmp_path / "figures"
    parts = {
        "complexity": paper.complexity(tables.reported("complexity"), index, folders),
        "hyperparameters": paper.hyperparameters(index),
        "training_log": paper.training_log(index, folders),
    }
    for name, data in parts.items():
        tables.write(data, caption="c.", folder=folder, name=f"mine-{name}")
    found, number = stated_tables.faults(tmp_path, "mine")
    assert found == [] and number == 6, "each as CSV and as Markdown"

    data = paper.sota(tables.reported("sota_koniq10k"), measured)
    blind = measured.iloc[[1]].assign(method="content-blind")
    tables.write(data.drop(columns="crops"), caption="c.", folder=folder, name="mine-sota")
    found, _ = stated_tables.faults(tmp_path, "mine")
    assert found == [f"mine-sota.{kind}: no crops, the content-blind row" for kind in ("csv", "md")]
    data = paper.sota(tables.reported("sota_koniq10k"), pd.concat([measured, blind]))
    tables.write(data, caption="c.", folder=folder, name="mine-sota")
    assert stated_tables.faults(tmp_path, "mine") == ([], 8)


def test_figures_have_no_markdown(tmp_path):
    tables.export(pd.DataFrame({"x": [1]}), "tex", folder=tmp_path, name="f")
    assert {path.suffix for path in tmp_path.glob("f.*")} == {".csv", ".tex"}
    stated = pd.DataFrame({"x": [1.0, np.nan], "n": 9, "unit": "image"})
    tables.export_stated(stated, folder=tmp_path, name="t")
    assert (tmp_path / "t.md").read_text().startswith("n: 9, unit: image\n\n| x |")
    assert "| -- |" in (tmp_path / "t.md").read_text()
