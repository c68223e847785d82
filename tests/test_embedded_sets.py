"""The embedded sets beside the demo: photographs of several sizes, and restorations."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY as ROOT
from PIL import Image

from iqa_core import datasets
from iqa_core.datasets import demo, demo_native, demo_restored
from iqa_core.distortions import restorers
from iqa_core.full_reference import fr_measure
from iqa_core.pixels import read_image
from iqa_core.stats import is_crossed, versions

MODULES = {"demo_native": demo_native, "demo_restored": demo_restored}
VERSIONS = {"demo_native": 24, "demo_restored": 60}
PARAMETERS = pd.read_csv(ROOT / demo_restored.PARAMETERS)


@pytest.fixture(scope="module")
def tables():
    return {name: datasets.load_table(name, root=ROOT) for name in MODULES}


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import make_demo_labels
    import make_demo_photos
    import make_native_labels
    import make_native_photos
    import make_restored

    return {
        "labels": make_demo_labels,
        "photos": make_demo_photos,
        "native": make_native_labels,
        "native photos": make_native_photos,
        "restored": make_restored,
    }


# ---- both tables


@pytest.mark.parametrize("name", MODULES)
def test_every_photograph_has_the_same_versions(tables, name):
    table, version = tables[name], versions(tables[name])
    assert len(table) == 28 * VERSIONS[name] == datasets.describe(name, root=ROOT)["rows"]
    assert table.content.nunique() == 28
    assert version.nunique() == VERSIONS[name]
    assert (pd.crosstab(table.content, version) == 1).all(axis=None)
    assert is_crossed(table.content, version)
    assert not datasets.plausible(table)


@pytest.mark.parametrize("name", MODULES)
def test_labels_are_ranks_of_the_raw_columns(tables, scripts, name):
    table = tables[name]
    ranks = scripts["labels"].pseudo_mos(table.mdsi, table.haarpsi)
    np.testing.assert_allclose(table.label, ranks, atol=0.1)  # ties by rounding
    assert table.label.between(0, 100).all()
    assert set(table.label_kind) == {"pseudo_mos"}
    assert table.notna()[["mdsi", "haarpsi", "label2"]].all(axis=None)


@pytest.mark.parametrize("name", MODULES)
def test_no_two_rows_are_the_same_image(tables, name):
    raw = tables[name][["content", "mdsi", "haarpsi", "label2"]]
    assert not raw.duplicated().any()
    assert (raw.mdsi > 1e-3).all(), "none is its reference"


@pytest.mark.parametrize("name", MODULES)
def test_images_and_references_are_of_their_set(tables, name):
    table = tables[name]
    assert {datasets.set_of(image) for image in table.image} == {name}
    assert {datasets.set_of(image) for image in table.reference} == {name}
    assert "data/demo/CREDITS.md" in datasets.credit(table.image[0], root=ROOT)
    assert datasets.set_of("data/demo/bee.png") == "demo"
    assert datasets.set_of("data/cache/demo/bee-00.png") == "demo"


@pytest.mark.parametrize("name", MODULES)
def test_fingerprints_see_labels_and_operators(name):
    parts = datasets.fingerprint(name, ["label files", "operators"], root=ROOT)
    others = datasets.fingerprint("demo", ["label files", "operators"], root=ROOT)
    assert not {*parts.values()} & {*others.values()}


@pytest.mark.parametrize("name", MODULES)
def test_the_table_names_what_made_it_and_is_asked_for(tmp_path, name):
    first = (ROOT / MODULES[name].TABLE).read_text().split("\n")[0]
    assert re.match(r"# made by scripts/make_\w+.py with piq .*, torch 2", first)
    with pytest.raises(FileNotFoundError, match="restore it from git or run scripts/make_"):
        datasets.load_table(name, root=tmp_path)


# ---- photographs of several sizes


def native_photos():
    return pd.read_csv(ROOT / demo_native.PHOTOS / "photos.csv")


def test_native_rows_are_what_the_recipes_say(tables, scripts):
    recipes = scripts["native"].recipes(list(native_photos().file))
    recipes = recipes.assign(distortion2=np.nan)
    columns = list(recipes.columns)
    pd.testing.assert_frame_equal(tables["demo_native"][columns], recipes, check_dtype=False)
    lowest = scripts["labels"].LOWEST
    for name, levels in recipes.groupby("distortion")["level"].unique().items():
        middle = (lowest.get(name, 1) + 5) / 2
        assert lowest.get(name, 1) < min(levels) < middle < max(levels) < 5


def test_native_photographs_are_whole_and_credited():
    folder, photos = ROOT / demo_native.PHOTOS, native_photos()
    demo_photos = pd.read_csv(ROOT / demo.PHOTOS / "photos.csv")
    assert list(photos.columns) == list(demo_photos.columns)
    assert sorted(photos.file) == sorted(path.name for path in folder.glob("*.webp"))
    assert photos.sha256.is_unique
    text = (ROOT / demo.PHOTOS / "CREDITS.md").read_text(encoding="utf-8")
    for row in photos.itertuples():
        data = (folder / row.file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.sha256
        assert len(data) < 1e6
        assert f"| native/{row.file} | {row.title} | {row.author} |" in text


def test_credits_are_what_the_script_makes_of_both_lists(scripts):
    text = (ROOT / demo.PHOTOS / "CREDITS.md").read_text(encoding="utf-8")
    licence = text.split("```\n")[1].rstrip("\n")
    assert scripts["photos"].credits_text(licence) == text


def test_native_photographs_vary_in_shape_and_size():
    sizes = {}
    for photo in native_photos().itertuples():
        with Image.open(ROOT / demo_native.PHOTOS / photo.file) as image:
            assert (image.format, image.mode) == ("WEBP", "RGB")
            sizes[photo.file] = image.size
        crop = [int(side) for side in re.search(r"cropped to (\d+)x(\d+)", photo.changes).groups()]
        for side, of_crop in zip(sizes[photo.file], crop, strict=True):
            assert side <= of_crop, "never enlarged"
        across, down = (side / of_crop for side, of_crop in zip(image.size, crop, strict=True))
        assert across == pytest.approx(down, rel=0.005), "never stretched"
    ratios = {round(np.log(width / height), 1) for width, height in sizes.values()}
    longer = {max(size) for size in sizes.values()}
    assert len(ratios) >= 6
    assert len(longer) >= 5
    table = pd.DataFrame([(np.log(w / h), max(w, h)) for w, h in sizes.values()])
    assert abs(table.corr("spearman").iloc[0, 1]) < 0.3, "shape does not tell the size"


def test_native_images_can_be_remade_and_keep_their_size(tables, tmp_path):
    table = tables["demo_native"]
    small = table[table.content.isin(["dandelion", "meadow", "sunset"])]
    rows = small.sample(4, random_state=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/demo").symlink_to(ROOT / "data/demo")
    assert demo_native.make_images(rows, root=tmp_path, processes=1) == 4
    assert demo_native.make_images(rows, root=tmp_path, processes=1) == 0
    for row in rows.itertuples():
        image, reference = read_image(tmp_path / row.image), read_image(ROOT / row.reference)
        assert image.shape == reference.shape
        assert fr_measure("mdsi", image, reference) == pytest.approx(row.mdsi, abs=2e-4)
        assert fr_measure("haarpsi", image, reference) == pytest.approx(row.haarpsi, abs=2e-4)


# ---- restorations


def test_restored_rows_are_what_the_recipes_say(tables, scripts):
    recipes = scripts["restored"].recipes(PARAMETERS)
    columns = list(recipes.columns)
    pd.testing.assert_frame_equal(tables["demo_restored"][columns], recipes, check_dtype=False)


def test_untouched_rows_are_the_inputs_of_the_others(tables):
    table = tables["demo_restored"]
    untouched = table[table.restorer == "untouched"]
    assert len(untouched) == 28 * len(restorers.DEGRADATIONS)
    assert (untouched.image == untouched.degraded).all()
    assert set(table.degraded) == set(untouched.image)
    key = ["content", "degradation"]
    inputs = untouched.set_index(key).image.rename("own")
    assert (table.join(inputs, on=key).eval("own == degraded")).all()


def test_parameters_were_searched_on_half_of_the_photographs(scripts):
    contents = scripts["restored"].contents()
    searched = contents[::2]
    assert len(searched) == len(contents) / 2 == 14
    shares = PARAMETERS.improves * len(searched)
    np.testing.assert_allclose(shares, shares.round(), atol=0.001)


def test_every_restorer_helps_somewhere():
    assert (PARAMETERS.groupby("restorer").improves.max() > 0.9).all()
    assert (PARAMETERS.groupby("restorer").gain.max() > 0).all()
    pairs = {(row.degradation, row.restorer) for row in PARAMETERS.itertuples()}
    names = restorers.DEGRADATIONS
    assert pairs == {(name, each) for name in names for each in restorers.restorers_of(name)[1:]}


def test_the_gains_of_the_search_are_those_of_the_table(tables, scripts):
    table = tables["demo_restored"]
    table = table[table.content.isin(scripts["restored"].contents()[::2])]
    table = table.assign(quality=table.haarpsi - table.mdsi)
    quality = table.pivot_table("quality", ["degradation", "restorer"], "content")
    for row in PARAMETERS.itertuples():
        gains = (
            quality.loc[row.degradation, row.restorer]
            - quality.loc[row.degradation].loc["untouched"]
        )
        assert gains.mean() == pytest.approx(row.gain, abs=2e-4)


def test_restored_images_can_be_remade_with_their_pristine_ones(tables, tmp_path):
    table = tables["demo_restored"]
    rows = table[table.content == "pagoda"].sample(5, random_state=3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/demo").symlink_to(ROOT / "data/demo")
    wanted = {*rows.image, *rows.degraded, *rows.reference}
    assert demo_restored.make_images(rows, root=tmp_path, processes=1) == len(wanted)
    assert demo_restored.make_images(rows, root=tmp_path, processes=1) == 0
    for row in rows.itertuples():
        image, reference = read_image(tmp_path / row.image), read_image(tmp_path / row.reference)
        assert image.shape == reference.shape == (192, 256, 3)
        assert fr_measure("mdsi", image, reference) == pytest.approx(row.mdsi, abs=2e-4)
        assert fr_measure("haarpsi", image, reference) == pytest.approx(row.haarpsi, abs=2e-4)


def test_images_of_other_parameters_are_made_again(tables, tmp_path):
    rows = tables["demo_restored"].query("content == 'bee' and degradation == 'jpeg2'")
    folder = tmp_path / demo_restored.FOLDER
    folder.mkdir(parents=True)
    (tmp_path / "data/demo/bee.png").symlink_to(ROOT / "data/demo/bee.png")
    own = rows.drop(columns=["parameters", "level", "label_std", "official_split"])
    own.to_csv(tmp_path / demo_restored.TABLE, index=False)
    PARAMETERS.to_csv(tmp_path / demo_restored.PARAMETERS, index=False)

    def make():
        table = demo_restored.load(tmp_path)
        return demo_restored.make_images(table, root=tmp_path, processes=1)

    assert (make(), make()) == (8, 0)
    own.assign(label=1.0).to_csv(tmp_path / demo_restored.TABLE, index=False)
    assert make() == 0, "other labels"
    changed = PARAMETERS.replace('{"strength": 0.03}', '{"strength": 0.04}')
    changed.to_csv(tmp_path / demo_restored.PARAMETERS, index=False)
    assert make() == 8


@pytest.mark.parametrize("degradation", restorers.DEGRADATIONS)
def test_restorers_take_and_give_images(degradation):
    photo = demo_restored.pristine("bee", ROOT)[64:128, 64:160]
    image = restorers.degraded(photo, degradation)
    assert image.dtype == np.uint8
    assert image.shape == photo.shape
    np.testing.assert_array_equal(image, restorers.degraded(photo, degradation))
    known = PARAMETERS[PARAMETERS.degradation == degradation].set_index("restorer").parameters
    for restorer in restorers.restorers_of(degradation):
        given = demo_restored.json.loads(known.get(restorer, "{}"))
        before = image.copy()
        made = restorers.restored(image, restorer, degradation, given)
        assert made.dtype == np.uint8
        assert made.shape == photo.shape
        np.testing.assert_array_equal(image, before)
        np.testing.assert_array_equal(made, restorers.restored(image, restorer, degradation, given))
        assert (restorer == "untouched") == np.array_equal(made, image)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_restorers_leave_a_grey_image_alone(value):
    image = np.full((32, 48, 3), value, np.uint8)
    for degradation in ("down2", "noise2"):
        known = PARAMETERS[PARAMETERS.degradation == degradation].set_index("restorer").parameters
        for restorer in restorers.restorers_of(degradation):
            given = demo_restored.json.loads(known.get(restorer, "{}"))
            made = restorers.restored(image, restorer, degradation, given)
            # Richardson and Lucy's takes zeros for what lies beyond the borders, and darkens them.
            allowed = 0.07 * value if restorer == "richardson_lucy" else 1
            assert abs(made.astype(int) - value).max() <= allowed, restorer


def test_unknown_names_are_refused():
    image = np.zeros((30, 30, 3), np.uint8)
    with pytest.raises(KeyError, match="no degradation 'fog'; there are down2"):
        restorers.degraded(image, "fog")
    with pytest.raises(ValueError, match="30x30 does not divide by 4"):
        restorers.degraded(image, "down4")
    with pytest.raises(KeyError, match="blur1 has no restorer 'bicubic'; it has untouched, nlm"):
        restorers.restored(image, "bicubic", "blur1", {})
