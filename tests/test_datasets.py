import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqa_core import datasets
from iqa_core.datasets import demo
from iqa_core.distortions import REGISTRY, list_distortions
from iqa_core.full_reference import fr_measure
from iqa_core.pixels import read_image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def table():
    return datasets.load_table("demo", root=ROOT)


@pytest.fixture
def maker(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import make_demo_labels

    return make_demo_labels


def test_the_demo_table_is_what_its_recipes_say(table, maker):
    photos = pd.read_csv(ROOT / "data/demo/photos.csv").file
    recipes = maker.recipes(list(photos))
    pd.testing.assert_frame_equal(
        table[recipes.columns],
        recipes.assign(distortion2=recipes.distortion2.replace("", np.nan)),
        check_dtype=False,
    )
    assert len(photos) >= 21 and table.distortion.nunique() >= 10
    assert (table.groupby("content").size() == 48).all()
    assert table.level2.notna().mean() == 0.25


def test_the_demo_labels_are_ranks_of_its_raw_columns(table, maker):
    np.testing.assert_allclose(
        table.label, maker.pseudo_mos(table.mdsi, table.haarpsi), atol=0.05
    )  # ties by rounding
    assert table.label.between(0, 100).all() and set(table.label_kind) == {"pseudo_mos"}


def test_pseudo_mos_spans_the_whole_range_when_both_measures_agree(maker):
    np.testing.assert_allclose(maker.pseudo_mos([0.3, 0.2, 0.1], [0.1, 0.5, 0.9]), [0, 50, 100])


def test_a_sample_of_the_table_can_be_remade(table):
    from io import BytesIO

    from PIL import Image
    from ssimulacra2 import compute_ssimulacra2

    sample = table.sample(4, random_state=1)
    for row in sample.itertuples():
        image, reference = demo.make_image(row, ROOT), read_image(ROOT / row.reference)
        assert fr_measure("mdsi", image, reference) == pytest.approx(row.mdsi, abs=2e-4)
        assert fr_measure("haarpsi", image, reference) == pytest.approx(row.haarpsi, abs=2e-4)
        files = [BytesIO(), BytesIO()]
        for file, pixels in zip(files, (reference, image), strict=True):
            Image.fromarray(pixels).save(file, format="PNG")
        assert compute_ssimulacra2(*files) == pytest.approx(row.label2, abs=0.05)


def test_the_table_names_the_versions_that_made_it():
    first = (ROOT / demo.TABLE).read_text().split("\n")[0]
    assert all(
        name in first
        for name in ("piq 0", "ssimulacra2 0", "pillow 1", "torch 2", "make_demo_labels.py")
    )


def test_no_distorted_image_is_its_photograph_and_labels_differ(table):
    assert table.mdsi.min() > 1e-3 and table.label.nunique() > 0.7 * len(table)


def test_images_are_made_again_only_where_their_own_recipe_changed(table, tmp_path, monkeypatch):
    (tmp_path / "data/demo").mkdir(parents=True)
    few = table[table.distortion == "jpeg"].drop_duplicates("content").head(2)
    few = few.assign(distortion2=np.nan, level2=np.nan)
    few.to_csv(tmp_path / demo.TABLE, index=False)
    for reference in few.reference:
        (tmp_path / reference).symlink_to(ROOT / reference)

    def make():
        return demo.make_images(few, root=tmp_path, processes=1)

    assert (make(), make()) == (2, 0)
    few.assign(label=1.0).to_csv(tmp_path / demo.TABLE, index=False)
    monkeypatch.setitem(REGISTRY, "fog", replace(REGISTRY["fog"], apply=REGISTRY["snow"].apply))
    monkeypatch.setitem(REGISTRY, "another", replace(REGISTRY["fog"], name="another"))
    assert make() == 0, "other labels and other operators"
    monkeypatch.setitem(REGISTRY, "jpeg", replace(REGISTRY["jpeg"], parameters=(50, 40, 30, 9, 5)))
    assert make() == 2
    few.assign(level=few.level + 0.1).to_csv(tmp_path / demo.TABLE, index=False)
    assert make() == 2


def test_images_are_made_once_and_only_where_missing(table, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/demo").symlink_to(ROOT / "data/demo")
    rows = table.groupby("distortion").head(1)[:4]
    assert demo.make_images(rows, root=tmp_path, processes=1) == 4
    (tmp_path / rows.image.iloc[2]).unlink()
    assert demo.make_images(rows, root=tmp_path, processes=1) == 1
    for row in rows.itertuples():
        np.testing.assert_array_equal(read_image(tmp_path / row.image), demo.make_image(row, ROOT))


def test_unknown_sets_and_missing_tables_are_refused_naming_the_fix(tmp_path):
    with pytest.raises(
        KeyError,
        match=(
            "no data set 'koniq'; did you mean 'koniq10k'. There are agiqa3k, .*; for your own put "
            "images and labels"
        ),
    ):
        datasets.load_table("koniq")
    with pytest.raises(FileNotFoundError, match="restore it from git or run"):
        datasets.load_table("demo", root=tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "../demo", "a/b", "/etc", "data"])
def test_only_plain_names_are_sets(name):
    with pytest.raises(KeyError, match="no data set"):
        datasets.load_table(name, root=ROOT)


def test_a_folder_of_images_is_a_set(tmp_path):
    photos = tmp_path / "data/raw/holiday"
    photos.mkdir(parents=True)
    with pytest.raises(KeyError, match="no data set 'holiday'"):
        datasets.load_table("holiday", root=tmp_path)
    (photos / "b.PNG").touch()
    (photos / "a.jpg").touch()
    table = datasets.load_table("holiday", root=tmp_path)
    assert list(table.image) == ["data/raw/holiday/a.jpg", "data/raw/holiday/b.PNG"]
    assert table.label.isna().all() and set(table.label_kind) == {""}
    (photos / "labels.csv").write_text("image,label\na.jpg,2\n")
    assert list(datasets.load_table("holiday", root=tmp_path).label) == [2]


def test_the_sets_of_data_raw_are_listed_whatever_their_names(tmp_path):
    for file in (
        "holiday/a.jpg",
        "my set (1)/labels.csv",
        "odd/set.yaml",
        "weights/m.safetensors",
        "spaq/TestImage/1.jpg",
    ):
        (tmp_path / "data/raw" / file).parent.mkdir(parents=True)
        (tmp_path / "data/raw" / file).write_text("image,label\na.jpg,2\n")
    assert {*datasets.list_datasets(root=tmp_path)} - {*datasets.list_datasets()} == {
        "holiday",
        "my set (1)",
        "odd",
    }
    assert datasets.list_datasets(root=tmp_path / "none") == datasets.list_datasets()
    assert list(datasets.load_table("my set (1)", root=tmp_path).label) == [2]


def test_the_demo_has_one_label_and_nothing_to_note(table):
    assert table.attrs == {"notes": [], "left_out": []}
    with pytest.raises(KeyError, match="demo has no label 'nonsense'; there is label"):
        datasets.load_table("demo", root=ROOT, label="nonsense")


def test_a_folder_without_images_says_what_is_missing(tmp_path):
    (tmp_path / "params").mkdir()
    with pytest.raises(
        FileNotFoundError, match="folder: an image file is missing in .*data/raw/folder"
    ):
        datasets.load_table("folder", root=tmp_path)


EMBEDDED = {"demo", "demo_native", "demo_restored"}
FACTS = {  # images, then low, high and whether higher is better of each label, as published
    "koniq10k": (7058 + 1000 + 2015, (0, 100, True), (1, 5, True)),
    "spaq": (11125, (0, 100, True)),
    "kadid10k": (81 * 25 * 5, (1, 5, True)),
    "live_challenge": (1169 - 7, (0, 100, True)),
    "tid2013": (25 * 24 * 5, (0, 9, True)),
    "live": (779, (0, 100, False), (0, 100, False)),
    "csiq": (866, (0, 1, False)),
    "bid": (586, (0, 5, True)),
    "flive": (39810, (0, 100, True)),
    "flive_patches": (3 * 39810, (0, 100, True)),
    "ava": (255530, (1, 10, True)),
    "pipal": (200 * 116, (900, 1850, True)),
    "agiqa3k": (2982, (0, 5, True), (0, 5, True)),
    "miqd_cls": (5000 * 10 * 25, (0, 1, True), (0, 1, True), (0, 1, True)),
    "miqd_det": (5000 * 10 * 25, (0, 1, True), (0, 1, True), (0, 1, True)),
    "miqd_ins": (5000 * 10 * 25, (0, 1, True), (0, 1, True), (0, 1, True)),
}


@pytest.mark.parametrize("name", datasets.list_datasets())
def test_every_set_states_its_facts(name):
    facts = datasets.describe(name, root=ROOT)
    assert facts["name"] == name and facts["title"] and facts["licence"] and facts["direction"]
    if name in ("csv", "folder", *EMBEDDED):
        return
    if name in FACTS:  # told twice: here from the publications, in sets.yaml for the readers
        rows, *labels = FACTS[name]
        described = [(x["low"], x["high"], x["higher_is_better"]) for x in facts["labels"].values()]
        assert facts["rows"] == rows
        assert described == labels
    assert facts["rows"] > 0
    assert all(label["units"] for label in facts["labels"].values())
    assert re.search(r"(10\.\d{4,}/\S+|arXiv:\d{4}\.\d{5})$", facts["citation"])
    assert facts["get"] or facts["by_hand"].endswith(".")
    assert facts["address"].startswith("https://") or name == "bid", "the page of BID is gone"
    for file, address in facts["get"].items():
        assert re.match(r"https://|drive:", address) and not Path(file).is_absolute()


def test_the_subset_of_koniq_leaves_out_seventeen():
    assert (
        len({*datasets.describe("koniq10k")["subset_missing"]}) == 7058 + 2015 - 7046 - 2010 == 17
    )


def test_sets_are_data():
    """Only the embedded sets have Python of their own."""
    files = {path.stem for path in Path(datasets.__file__).parent.glob("*.py")}
    assert files & {*datasets.list_datasets()} == EMBEDDED
    modules = {name for name in datasets.list_datasets() if datasets.describe(name)["module"]}
    assert modules == EMBEDDED


def test_distortions_of_kadid_are_named_as_their_operators():
    names = datasets.describe("kadid10k")["codes"]["distortion"]["type"]
    assert list(names) == [f"{k:02}" for k in range(1, 26)]
    assert {*names.values()} == {*list_distortions("KADID-10k")}


def test_distortions_of_miqd_are_named_as_their_operators():
    names = datasets.describe("miqd_cls")["codes"]["distortion"]["_type"]
    assert len(names) == 10 and {*names.values()} == {*list_distortions("MIQD-2.5M")}


def test_a_table_that_was_not_made_yet_is_asked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="run notebook 01_prepare_data with data_set 'demo' first"
    ):
        datasets.saved_table("demo", root=tmp_path)


def test_damaged_tables_are_refused_naming_the_row():
    good = pd.DataFrame({"image": ["a.png", "b.png"], "label": [1, 2], "label_kind": "mos"})
    assert datasets.check_table(good, "x").label.dtype.kind in "if"
    with pytest.raises(
        ValueError, match="x: label of b.png is good, not a number; mend or drop its row"
    ):
        datasets.check_table(good.assign(label=[1, "good"]), "x")
    with pytest.raises(ValueError, match="label of a.png is nan"):
        datasets.check_table(good.assign(label=[np.nan, 1]), "x")
    with pytest.raises(ValueError, match="has no column label_kind"):
        datasets.check_table(good.drop(columns="label_kind"), "x")
    with pytest.raises(ValueError, match="lists a.png twice"):
        datasets.check_table(good.assign(image="a.png"), "x")
    with pytest.raises(ValueError, match="label_kind dmos; allowed are mos"):
        datasets.check_table(good.assign(label_kind="dmos"), "x")
