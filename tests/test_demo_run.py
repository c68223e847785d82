"""The core story on a small part of the demo, through the runner: prepare, train twice, export."""

import json

import pandas as pd
import pytest
import tiny_project

from iqa_core import runs
from iqa_core.evaluation import predict
from iqa_core.pixels import read_image

STORY = {
    "01_prepare_data": {},
    "02_train_baseline": {"epochs": 1, "contract": {"crops": 1}, "measures": ["psnr", "vsi"]},
    "03_train_smart_iqa": {
        "epochs": 1,
        "frozen_crops": 1,
        "baseline": "tiny/02_train_baseline",
        "options": {},
    },
    "10_export_figures": {},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with tiny_project.project(tmp_path_factory.mktemp("project"), photos=16, every=11) as root:
        tiny_project.run(root, "tiny", STORY)
        yield root


def test_every_run_is_complete_and_in_the_index(root):
    for stem in STORY:
        assert (root / f"data/runs/tiny/{stem}/_SUCCESS").exists()
    index = pd.read_csv(root / "data/runs/index.csv")
    assert index.run.tolist() == list(STORY)
    facts = json.loads((root / "data/runs/tiny/02_train_baseline/params.json").read_text())
    assert index.split_hash[1] == facts["split_hash"]


def test_the_run_s_model_predicts_what_its_file_says(root):
    folder = root / "data/runs/tiny/02_train_baseline"
    rows = pd.read_csv(folder / "predictions.csv").groupby("split").head(2)
    images = [read_image(root / image) for image in rows.image]
    model = runs.load_model("tiny/02_train_baseline")
    assert predict(model, images) == pytest.approx(rows.predicted.to_numpy(), abs=1e-3)
    assert set(rows.split) == {"val", "test"}


def test_figures_come_in_every_format_with_their_numbers(root):
    for name in ("training_curves", "scatter", "distortion_bars", "examples"):
        for suffix in ("pdf", "png", "svg", "csv", "tex"):
            assert (root / f"figures/tiny-{name}.{suffix}").stat().st_size > 100
    history = pd.read_csv(root / "data/runs/tiny/02_train_baseline/history.csv")
    drawn = pd.read_csv(root / "figures/tiny-training_curves.csv")
    assert drawn.val_l1.tolist() == history.val_l1.tolist()


def test_the_table_has_every_method_and_the_rules_that_see_no_pixel(root):
    results = pd.read_csv(root / "figures/tiny-results.csv")
    trained = {"HyperIQA (light head)", "SMART-IQA, fixed backbone"}
    rules = {"content-blind", "boosted, content-blind"}
    assert set(results.method) == trained | rules | {"psnr", "vsi"}
    assert set(results.label) == {"label", "label2"}
    assert str(results.n[0]) in (root / "figures/tiny-results.tex").read_text()
    differences = pd.read_csv(root / "figures/tiny-differences.csv")
    assert len(differences) == 2, "a pair of methods under two labels"
