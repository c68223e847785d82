"""Random splits of photographs in the wild, as published code has them, through the runner: the
epoch chosen on test, crops at random places.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
import tiny_project

from iqa_core import datasets, splits, stats

pytestmark = pytest.mark.slow  # five runs of notebooks

BOTH = (1, 2)  # the random splits
TRAINING = {
    "data_set": "wild",
    "contract": {"crops": 1},
    "measures": [],
    "options": {"select": "test", "random_validation": True, "validate_every": 1},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with tiny_project.project(tmp_path_factory.mktemp("project"), photos=16, every=19) as root:
        demo = tiny_project.prepare(root)
        save_wild(demo[["image", "label"]], root)
        wild = datasets.load_table("wild", root=root)
        tiny_project.save_table(wild, root, "wild")
        parameters = {}
        for k in BOTH:
            split = splits.make_split(wild, f"random70-{k}")
            splits.save_split(split, root / f"data/splits/wild-random70-{k}.csv")
            parameters[f"02_train_baseline--split{k}"] = {
                **TRAINING,
                "epochs": 2 if k == 1 else 1,  # the first is asked which epoch was chosen
                "split": f"wild-random70-{k}",
            }
        tiny_project.run(root, "wild", {**parameters, "10_export_figures": {"trained": []}})
        yield root


def save_wild(table, root):
    """A set as a user brings it: a folder of images and a table of labels, no distortions told."""
    folder = root / "data/raw/wild"
    folder.mkdir(parents=True)
    for image in table.image:
        (folder / Path(image).name).symlink_to(root / image)
    names = [Path(image).name for image in table.image]
    table.assign(image=names).to_csv(folder / "labels.csv", index=False)


def metrics_of(root, k):
    file = root / f"data/runs/wild/02_train_baseline--split{k}/metrics.json"
    return json.loads(file.read_text())


def test_a_run_chosen_on_test_says_so_and_holds_what_val_would_have_chosen(root):
    folder = root / "data/runs/wild/02_train_baseline--split1"
    metrics = metrics_of(root, 1)
    rows = pd.read_csv(folder / "predictions.csv")
    tested = rows[rows.split == "test"]
    history = pd.read_csv(folder / "history.csv")
    assert metrics["selected_on"] == "test" and "test_srcc_val_selected" in metrics
    assert metrics["test_srcc"] == pytest.approx(stats.srcc(tested.predicted, tested.label))
    assert metrics["test_srcc"] == pytest.approx(history.test_srcc.max())
    index = pd.read_csv(root / "data/runs/index.csv").set_index("run")
    assert index.selected_on["02_train_baseline--split1"] == "test"


def test_random_splits_are_summed_up_over_all_of_them(root):
    each = [metrics_of(root, k)["srcc"] for k in BOTH]
    table = pd.read_csv(root / "figures/wild-splits.csv").set_index("statistic")
    assert table["mean"]["srcc"] == pytest.approx(sum(each) / 2) and table.splits["srcc"] == 2
    assert set(table.selected_on) == {"test"}
    index = pd.read_csv(root / "data/runs/index.csv").set_index("run")
    assert index.srcc["10_export_figures"] == pytest.approx(sum(each) / 2)
    results = pd.read_csv(root / "figures/wild-results.csv")
    assert results.srcc.tolist() == pytest.approx(each[:1]), "figures are of the first split"
    assert not (root / "figures/wild-distortion_bars.csv").exists()
