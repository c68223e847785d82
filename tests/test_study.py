"""The verbs of training notebooks, on a small project: data, network, sets, test, baseline."""

import numpy as np
import pandas as pd
import pytest
from conftest import CELL
from PIL import Image

from iqa_core import runs, splits, study, training
from iqa_core.models import create_model

OWN = """\
model: str = "hyperiqa"  # of the notebook
arguments: dict = {"frozen": 2}  # of its model
contract: dict = {}  # of its model
"""
PARAMETERS = CELL + OWN
GIVEN = dict(epochs=1, batch_size=4, backbone_lr=0.0, head_lr=1e-3, weight_decay=0.0)


@pytest.fixture
def record(project):
    """A run of a project with a table of 16 images, two a content, and a split."""
    project.notebook("02_x", PARAMETERS)
    random = np.random.default_rng(0)
    (project.root / "data/tables").mkdir(parents=True)
    rows = []
    for k in range(16):
        pixels = random.integers(0, 40 + 12 * k, (230, 240, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(project.root / f"data/{k}.png")
        rows.append((f"data/{k}.png", float(k), 2.0 * k, "mos", f"c{k // 2}"))
    columns = ["image", "label", "mos", "label_kind", "content"]
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(project.root / "data/tables/set.csv", index=False)
    part = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    split = table[["image"]].assign(split=part)
    splits.save_split(split, project.root / "data/splits/one.csv")
    return started("a")


def test_parameters_that_were_changed_after_the_start_are_refused(project, record):
    more = 'data_set: str = "set"  # x\nsplit: str = "one"  # x\nscale_label: str = "mos"  # x\n'
    project.notebook("02_x", PARAMETERS + more)
    record = started("b", data_set="set", split="one", scale_label="mos")
    with pytest.raises(ValueError, match="split is 'two', but was 'one' when this run started"):
        study.open_data(record, "set", "two")
    options = dict(recipe=training.Recipe(**GIVEN), chosen={})
    with pytest.raises(ValueError, match="scale_label is 'label', but was 'mos' when this run"):
        study.predict_and_save(record, None, {}, **options, scale_label="label")
    with pytest.raises(ValueError, match="this run has opened no data: run all cells after"):
        study.predict_and_save(record, None, {}, **options, scale_label="mos")


def started(run, **changes):
    values = dict(
        experiment="lab", run=run, epochs=3, rate=1e-4, colour="", weights=None, stages=[],
        monitor={}, flip=True, model="hyperiqa", arguments={"frozen": 2},
        contract={},
    )  # fmt: skip
    return runs.start("02_x", values | changes)


def trained(record, **build):
    """The data, network, sets and predictions of a run after a training of its head."""
    data = study.open_data(record, "set", "one", columns=["mos"])
    training.seed_everything(0)
    recipe = training.Recipe(**GIVEN)
    arguments = {"backbone": "resnet18", "pretrained": False}
    network = study.build_network(
        record, "smart_iqa", arguments, contract={}, recipe=recipe, **build
    )
    frozen = build.get("frozen_crops", 0)
    sets = study.open_sets(record, data, network, frozen_crops=frozen, monitor=["set"])
    monitor = study.watched(sets, recipe, ["set"])
    fitted = training.fit(
        network, sets["train"], sets["val"], recipe=recipe, monitor=monitor, log=record.note
    )
    for row in fitted:
        record.log(row)
    chosen = training.chosen(record.rows)
    predictions = study.predict_and_save(
        record, network, sets, recipe=recipe, chosen=chosen, scale_label="mos"
    )
    record.finish(chosen)
    return data, network, sets, predictions


def test_of_another_set_a_scheme_s_test_part_may_be_taken(project, record):
    whole = study.other_set("set", root=project.root)
    part = study.other_set("set:contents-c6-c7", root=project.root)
    assert (len(whole.of("test")), len(part.of("test"))) == (16, 4)
    assert set(part.of("test").content) == {"c6", "c7"} and part.name == "set"
    network = create_model("hyperiqa", backbone="resnet18", pretrained=False)
    samples = study.open_other(record, part, network)
    assert samples.table.image.tolist() == part.of("test").image.tolist()
    assert len(samples.parts["image"]) == 4
    assert "data/tables/set.csv" in str(runs.read_json(record.folder / "params.json"))
    data = study.open_data(record, "set", "one")
    sets = study.open_sets(record, data, network, monitor=["set:contents-c6-c7"])
    assert len(sets["set:contents-c6-c7"].table) == 4
    with pytest.raises(ValueError, match="no content 'c9'.* There are c0 to c7"):
        study.other_set("set:contents-c6-c9", root=project.root)
    with pytest.raises(FileNotFoundError, match="data/tables/spaq.csv is missing; run notebook"):
        study.other_set("spaq:random80-0", root=project.root)


def test_a_run_from_its_table_to_its_predictions_and_another_from_its_weights(record):
    data, network, sets, predictions = trained(record, frozen_crops=1)
    assert data.summary().images.tolist() == [8, 4, 4] and len(data.examples(3)) == 3
    assert {name: len(samples.table) for name, samples in sets.items()} == {
        "train": 8, "val": 4, "test": 4, "set": 16,
    }  # fmt: skip
    assert predictions.split.tolist() == ["val"] * 4 + ["test"] * 4
    facts = runs.read_json(record.folder / "params.json")
    assert (facts["set"], facts["split_hash"]) == ("set", data.split_hash)
    assert facts["method"] == "SMART-IQA, fixed backbone" and facts["crops"] == 1
    assert network.contract.calibration

    # Another run begins with its weights, and may be compared with it under another name only.
    other = started("b")
    again = study.build_network(
        other,
        "smart_iqa",
        {"backbone": "resnet18", "pretrained": False, "dropout": 0.0},
        contract={},
        recipe=training.Recipe(**GIVEN),
        start_from="lab/a",
    )
    expected = runs.load_model("lab/a").state_dict()
    assert all((value == expected[key]).all() for key, value in again.state_dict().items())
    assert "data/runs/lab/a/model.safetensors" in runs.read_json(other.path("params.json"))["files"]
    facts, tested = study.open_baseline(other, "lab/a", data, "SMART-IQA")
    assert tested.columns.tolist() == ["image", "SMART-IQA, fixed backbone"] and len(tested) == 4
    with pytest.raises(ValueError, match="is another SMART-IQA, fixed backbone: their names"):
        study.open_baseline(other, "lab/a", data, "SMART-IQA, fixed backbone")
    with pytest.raises(ValueError, match="weights of lab/a, .*smart_iqa.*, do not fit .*hyperiqa"):
        study.build_network(
            other,
            "hyperiqa",
            {"pretrained": False},
            contract={},
            recipe=training.Recipe(**GIVEN),
            start_from="lab/a",
        )


def test_a_column_that_lacks_is_said_with_those_there_are(record):
    with pytest.raises(KeyError, match="set has no column mso; there are image, label, mos"):
        study.open_data(record, "set", "one", columns=["mso"])


def test_a_notebook_s_arguments_are_of_its_own_model(record, monkeypatch):
    asked = {}
    monkeypatch.setattr(study, "create_model", lambda name, **kwargs: asked.update({name: kwargs}))
    for name, arguments in {
        "hyperiqa": {"frozen": 2},
        "maniqa": {"frozen": 2},
        "iqt": {"size": "iqt_c"},
    }.items():
        with pytest.raises(AttributeError):  # no network is made here
            study.build_network(
                record, name, arguments, contract={}, recipe=training.Recipe(**GIVEN)
            )
    assert asked == {"hyperiqa": {"frozen": 2}, "maniqa": {}, "iqt": {"size": "iqt_c"}}


def test_what_a_model_compares_with_stands_in_the_table(record):
    data = study.open_data(record, "set", "one")
    model = create_model("iqt", size="iqt_c", backbone="test_efficientnet", pretrained=False)
    with pytest.raises(ValueError, match="compares with the pristine image: the table needs a col"):
        study.open_sets(record, data, model)
