"""CKDN on a small part of the embedded restorations, through the runner: notebook 07 where images
are outputs of inputs.
"""

import shutil

import pandas as pd
import pytest
import stated_tables
import tiny_project
from conftest import REPOSITORY

from iqa_core import datasets, splits

CKDN = {
    "data_set": "demo_restored",
    "split": "demo_restored-rotation1",
    "model": "ckdn",
    "arguments": {"backbone": "tf_efficientnet_lite0", "fixed": True},
    "frozen_crops": 1,
    "contract": {"crop": 64, "resize": None, "crops": 1},
    "epochs": 2,
    "batch_size": 32,
    "backbone_lr": 1e-3,
    "head_lr": 1e-3,
    "type_column": "restorer",
    "unseen": ["wiener", "bilateral"],
    "always": ["untouched"],
    "inputs": "degradation",
    "variants": {"nr": {"arguments": {"reference": "none"}}},
    "measures": ["ssim"],
    "questions": [
        {"ask": "Does the input help?", "variant": "full", "than": "nr", "caution": "much"},
        {"ask": "Than SSIM?", "variant": "full", "than": "ssim, degraded", "caution": "much"},
    ],
    "asked_on": "types never seen",
    "options": {"stages": [1, 1]},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with tiny_project.project(tmp_path_factory.mktemp("project"), photos=12, every=48) as root:
        folder = root / "data/demo/restored"
        folder.mkdir()
        shutil.copy(REPOSITORY / "data/demo/restored/parameters.csv", folder)
        rows = pd.read_csv(REPOSITORY / "data/demo/restored/labels.csv", comment="#")
        photos = [photo.stem for photo in (root / "data/demo").glob("*.png")]
        rows = rows[rows.content.isin(photos) & rows.degradation.isin(["jpeg2", "noise2"])]
        rows.to_csv(folder / "labels.csv", index=False)
        table = datasets.load_table("demo_restored", root=root)
        datasets.make_images("demo_restored", table, root=root)
        split = splits.make_split(table, "rotation1")
        splits.save_split(split, root / "data/splits/demo_restored-rotation1.csv")
        tiny_project.save_table(table, root, "demo_restored")
        tiny_project.run(root, "tiny", {"07_reference_models": CKDN})
        yield root


def test_outputs_are_ordered_within_inputs_beside_controls(root):
    folder = root / "data/runs/tiny/07_reference_models"
    assert (folder / "_SUCCESS").exists()
    results = pd.read_csv(folder / "results.csv")
    means = results[results.seed.isna() & (results.label == "label")]
    means = means.set_index(["tested on", "variant"])
    assert means.index.levels[0].tolist() == [
        "all types",
        "types never seen",
        "types seen in training",
    ]
    everything = means.loc["all types"]
    assert {"full", "nr", "ssim", "ssim, degraded", "the input's label"} == set(everything.index)
    assert everything.input_srcc["ssim"] > everything.input_srcc["ssim, degraded"]
    assert pd.isna(everything.input_srcc["the input's label"]), "it is the same for all outputs"
    assert "content-blind" in means.loc["types seen in training"].index
    counts = means.xs("full", level="variant").n
    untouched = 2 * means.loc["all types"].contents["full"]
    parts = counts["types seen in training"] + counts["types never seen"]
    assert parts == counts["all types"] + untouched, "the untouched input counts in both"


def test_training_saw_none_of_the_types_left_out(root):
    folder = root / "data/runs/tiny/07_reference_models"
    split = pd.read_csv(folder / "splits/demo_restored-rotation1.csv")
    left_out = split.image.str.contains("wiener|bilateral")
    assert set(split.split[left_out]) == {"test"}
    assert set(split.split) == {"train", "val", "test"}


def test_answers_say_that_one_training_concludes_nothing(root):
    answers = pd.read_csv(root / "data/runs/tiny/07_reference_models/answers.csv")
    assert len(answers) == 2 and answers.answer.str.contains("nothing is concluded").all()


def test_every_table_states_what_its_numbers_are_of(root):
    found, number = stated_tables.faults(root, "tiny")
    assert not found, "\n".join(found)
    assert number >= 3
