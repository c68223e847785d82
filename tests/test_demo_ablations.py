"""Ablations and attention on a small part of the demo, through the runner."""

import pandas as pd
import pytest
import stated_tables
import test_demo_run
import tiny_project
from conftest import REPOSITORY

from iqa_core import splits

STUDY = {
    "03_train_smart_iqa": {"epochs": 1, "frozen_crops": 1, "options": {}},
    "04_ablations": {
        "epochs": 1,
        "frozen_crops": 1,
        "contract": {"crops": 1},
        "options": {},
        "seeds": [0],
        "variants": {
            "fusion": {"arguments": {"attention": False}},
            "random": {"options": {"random_validation": True}},
        },
        "compare": [["full", "fusion"], ["random", "full"]],
        "left_out": ["motion_blur"],
        "transfer": ["photos", "demo:random80-0"],
    },
    "06_train_musiq": {
        "data_set": "demo",
        "split": "demo-rotation1",
        "arguments": {
            "patch_encoder": "tf_efficientnet_lite0",
            "width": 16,
            "depth": 1,
            "heads": 2,
            "mlp": 16,
            "scales": [64],
        },
        "epochs": 1,
        "variants": {"square": {"arguments": {"square": True, "native": False}}},
        "averages": {"both": ["full", "square"]},
        "questions": [{"ask": "Why?", "variant": "full", "than": "both", "caution": "all"}],
        "photographs": 2,
        "ratios": [0.5, 2.0],
    },
    "07_reference_models": {
        "epochs": 1,
        "unseen": ["motion_blur"],
        "measures": ["psnr"],
        "questions": [{"ask": "Why?", "variant": "full", "than": "psnr", "caution": "all"}],
    },
    "09_score_images_video": {
        "paths": ["data/demo/[ab]*.png"],
        "clip_frames": 8,
        "distortions": ["jpeg"],
    },
    "08_miqa": {
        "panel": ["timm:tf_efficientnet_lite1"],
        "views": ["centre"],
        "sure": 0.0,
        "folds": 3,
        "epochs": 1,
        "frozen_crops": 1,
        "measures": ["psnr"],
        "options": {},
    },
    "05_visualize_attention": {"further": 1, "others": ["tiny/04_ablations/full-seed0"]},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with tiny_project.project(tmp_path_factory.mktemp("project"), photos=16, every=11) as root:
        tiny_project.prepare(root)
        (root / "data/demo/weak_scorer").symlink_to(REPOSITORY / "data/demo/weak_scorer")
        names = [f"data/demo/{photo.name}" for photo in sorted((root / "data/demo").glob("*.png"))]
        photos = pd.DataFrame({"image": names[:8], "label": range(8), "label_kind": "mos"})
        tiny_project.save_table(photos, root, "photos")
        tiny_project.run(root, "tiny", STUDY)
        yield root


def test_there_is_a_tiny_setting_for_every_notebook():
    notebooks = {path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
    assert {*test_demo_run.STORY, *STUDY} == notebooks


def test_every_training_is_a_run_in_the_index(root):
    for stem in STUDY:
        assert (root / f"data/runs/tiny/{stem}/_SUCCESS").exists()
    names = set(pd.read_csv(root / "data/runs/index.csv").run)
    variants = ("fusion", "full", "random", "all-types", "without-motion_blur")
    of_04 = (f"04_ablations/{name}-seed0" for name in variants)
    others = ("06_train_musiq/full-seed0", "06_train_musiq/square-seed0")
    others += ("07_reference_models/full-seed0", "07_reference_models/read-mean-seed0")
    assert names == {*STUDY, *of_04, *others}


def test_every_table_of_the_ablations_is_there(root):
    folder = root / "data/runs/tiny/04_ablations"
    names = ("ablations", "differences", "shuffle", "left_out", "transfer")
    read = {name: pd.read_csv(folder / f"{name}.csv") for name in names}
    assert {"fusion", "random", "full"} < set(read["ablations"].variant)
    assert set(read["differences"].variant) == {"full", "random"}
    shuffle, left_out, transfer = (read[name] for name in names[2:])
    assert len(shuffle) == 2 and (shuffle.draws == 3).all(), "a row a label"
    assert (shuffle.most != 0).any(), "other weights give other scores"
    assert left_out.trained.tolist() == ["all-types", "without-motion_blur", "content-blind"]
    assert left_out.seen.tolist() == [True, False, True]
    assert left_out.split.tolist() == ["all-types", "without-motion_blur", "all-types"]
    assert transfer.trained.tolist() == ["demo", "content-blind", "demo", "demo"]
    assert transfer.tested.tolist() == ["demo", "demo", "photos", "demo:random80-0"]
    table = pd.read_csv(root / "data/tables/demo.csv", keep_default_na=False)
    tested = splits.make_split(table, "random80-0").split == "test"
    assert transfer.n[2:].tolist() == [8, tested.sum()]
    for name in ("ladder", "gates", "settings", "left_out", "transfer"):
        assert (root / f"figures/tiny-04_ablations-{name}.pdf").stat().st_size > 100


def test_every_table_states_what_its_numbers_are_of(root):
    found, number = stated_tables.faults(root, "tiny")
    assert not found, "\n".join(found)
    assert number >= 17


def test_the_attention_of_the_whole_test_set_is_in_files(root):
    folder = root / "data/runs/tiny/05_visualize_attention"
    weights = pd.read_csv(folder / "attention.csv")
    stages = weights[["stage1", "stage2", "stage3", "stage4"]]
    assert stages.sum(axis=1).to_numpy() == pytest.approx(1)
    analysis = pd.read_csv(folder / "analysis.csv")
    assert analysis.value.notna().all() and analysis.quantity.is_unique
    of_runs = pd.read_csv(root / "figures/tiny-stage_weights.csv")
    assert list(of_runs.run.unique()) == [
        "tiny/03_train_smart_iqa",
        "tiny/04_ablations/full-seed0",
    ]
