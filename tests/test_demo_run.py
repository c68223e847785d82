"""The whole story on a tenth of the demo, through the runner: every notebook, headless, at a tiny
setting.
"""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from iqa_core import datasets, runs, splits, stats
from iqa_core.apps.execute import execute
from iqa_core.evaluation import predict
from iqa_core.pixels import read_image

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "01_prepare_data": {},
    "02_train_baseline": {"epochs": 1, "contract": {"crops": 1}, "measures": ["psnr", "vsi"]},
    "03_train_smart_iqa": {"epochs": 1, "features": 1, "baseline": "tiny/02_train_baseline", "options": {}},
    "04_ablations": {
        "epochs": 1, "features": 1, "seeds": [0], "contract": {"crops": 1}, "options": {},
        "variants": {"fusion": {"arguments": {"attention": False}}, "random": {"options": {"random_validation": True}}},
        "compare": [["full", "fusion"], ["random", "full"]], "left_out": ["jpeg"], "transfer": ["photos"],
    },
    "05_visualize_attention": {"further": 1, "others": ["tiny/04_ablations/full-seed0"]},
    "10_export_figures": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project of its own: the same notebooks and photographs, every fifth row of the table."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("params/tiny", "data/demo"):
        (root / folder).mkdir(parents=True)
    (root / "notebooks").symlink_to(ROOT / "notebooks")
    for photo in (ROOT / "data/demo").glob("*.png"):
        (root / "data/demo" / photo.name).symlink_to(photo)
    photos = [f"data/demo/{photo.name}" for photo in sorted((root / "data/demo").glob("*.png"))[:8]]
    (root / "data/tables").mkdir()
    pd.DataFrame({"image": photos, "label": range(8), "label_kind": "mos"}).to_csv(
        root / "data/tables/photos.csv", index=False
    )
    pd.read_csv(ROOT / "data/demo/labels.csv", comment="#")[::5].to_csv(
        root / "data/demo/labels.csv", index=False
    )
    for stem, parameters in TINY.items():
        (root / f"params/tiny/{stem}.yaml").write_text(yaml.safe_dump(parameters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IQA_ROOT", str(root))
        before = dict(os.environ)
        execute("tiny")
        yield root
        os.environ.clear()
        os.environ.update(before)


def test_there_is_a_tiny_setting_for_every_notebook():
    assert sorted(TINY) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_every_run_is_complete_and_in_the_index(root):
    for stem in TINY:
        assert (root / f"data/runs/tiny/{stem}/_SUCCESS").exists()
    index = pd.read_csv(root / "data/runs/index.csv")
    assert index.run[~index.run.str.contains("/")].tolist() == list(TINY)
    variants = {"fusion", "full", "random", "all-types", "without-jpeg"}
    assert set(index.run[index.run.str.contains("/")]) == {
        f"04_ablations/{name}-seed0" for name in variants
    }
    assert (
        index.split_hash[1]
        == json.loads((root / "data/runs/tiny/02_train_baseline/params.json").read_text())[
            "split_hash"
        ]
    )


def test_every_table_of_the_ablations_is_there(root):
    read = {
        name: pd.read_csv(root / f"data/runs/tiny/04_ablations/{name}.csv")
        for name in ("ablations", "differences")
    }
    assert {"fusion", "random", "full"} < set(read["ablations"].variant) and set(
        read["differences"].variant
    ) == {
        "full",
        "random",
    }
    for name, rows in {"shuffle": 2, "left_out": 2, "transfer": 2}.items():
        read[name] = pd.read_csv(root / f"data/runs/tiny/04_ablations/{name}.csv")
        assert len(read[name]) == rows
    assert (read["shuffle"].draws == 3).all() and (read["shuffle"].most != 0).any(), (
        "other weights give other scores"
    )
    assert read["left_out"].seen.tolist() == [True, False] and read["transfer"].tested.tolist() == [
        "demo",
        "photos",
    ]
    assert read["transfer"].n[1] == 8
    for name in ("ladder", "gates", "settings", "left_out", "transfer"):
        assert (root / f"figures/tiny-04_ablations-{name}.pdf").stat().st_size > 100


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
    results = pd.read_csv(root / "figures/tiny-results.csv")
    trained = {"HyperIQA (light head)", "SMART-IQA, fixed backbone"}
    assert set(results.method) == trained | {
        "psnr",
        "vsi",
        "content-blind",
        "boosted, content-blind",
    }
    assert (
        len(pd.read_csv(root / "figures/tiny-differences.csv")) == 2
    )  # a pair of methods under two labels
    assert set(results.label) == {"label", "label2"}
    history = pd.read_csv(root / "data/runs/tiny/02_train_baseline/history.csv")
    assert (
        pd.read_csv(root / "figures/tiny-training_curves.csv").val_l1.tolist()
        == history.val_l1.tolist()
    )
    assert str(results.n[0]) in (root / "figures/tiny-results.tex").read_text()


def test_random_splits_of_a_set_without_distortions_chosen_on_test_say_so(root):
    """As published code does it: photographs in the wild, random splits, the epoch chosen on test,
    crops at random places.
    """
    table = (
        datasets.saved_table("demo", root=root).iloc[::4][["image", "label"]].reset_index(drop=True)
    )
    folder = root / "data/raw/wild"
    folder.mkdir(parents=True)
    for image in table.image:
        (folder / Path(image).name).symlink_to(root / image)
    table.assign(image=table.image.map(lambda image: Path(image).name)).to_csv(
        folder / "labels.csv", index=False
    )
    (root / "data/tables").mkdir(exist_ok=True)
    wild = datasets.load_table("wild", root=root)
    wild.to_csv(root / "data/tables/wild.csv", index=False)
    (root / "params/wild").mkdir()
    given = dict(data_set="wild", epochs=2, contract={"crops": 1}, measures=[])
    given |= dict(options=dict(select="test", random_validation=True, validate_every=1))
    for k in (1, 2):
        splits.save_split(
            splits.make_split(wild, f"random70-{k}"), root / f"data/splits/wild-random70-{k}.csv"
        )
        one = yaml.safe_dump(given | {"split": f"wild-random70-{k}"})
        (root / f"params/wild/02_train_baseline--split{k}.yaml").write_text(one)
    (root / "params/wild/10_export_figures.yaml").write_text("trained: []")
    execute("wild")
    told = json.loads((root / "data/runs/wild/02_train_baseline--split1/metrics.json").read_text())
    rows = pd.read_csv(root / "data/runs/wild/02_train_baseline--split1/predictions.csv")
    tested = rows[rows.split == "test"]
    assert told["selected_on"] == "test" and told["test_srcc"] == pytest.approx(
        stats.srcc(tested.predicted, tested.label)
    )
    history = pd.read_csv(root / "data/runs/wild/02_train_baseline--split1/history.csv")
    assert (
        told["test_srcc"] == pytest.approx(history.test_srcc.max())
        and "test_srcc_val_selected" in told
    )
    index = pd.read_csv(root / "data/runs/index.csv").set_index(["experiment", "run"])
    assert index.selected_on["wild", "02_train_baseline--split1"] == "test"

    each = [
        json.loads((root / f"data/runs/wild/02_train_baseline--split{k}/metrics.json").read_text())[
            "srcc"
        ]
        for k in (1, 2)
    ]
    table = pd.read_csv(root / "figures/wild-splits.csv").set_index("statistic")
    assert table["mean"]["srcc"] == pytest.approx(sum(each) / 2) and table.splits["srcc"] == 2
    assert set(table.selected_on) == {"test"}
    assert index.srcc["wild", "10_export_figures"] == pytest.approx(sum(each) / 2)
    assert pd.read_csv(root / "figures/wild-results.csv").srcc.tolist() == pytest.approx(each[:1])
    assert not (root / "figures/wild-distortion_bars.csv").exists()
