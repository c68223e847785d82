import shutil
import unicodedata
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

from iqa_core import datasets
from iqa_core.apps.distort_tree import write_tree
from iqa_core.distortions import REGISTRY, distort
from iqa_core.figures.sheets import distortion_sheet

PHOTO = data.astronaut()[:96, 160:288]
COLUMNS = ["image", "reference", "content", "distortion", "level"]
REGIONS = {"names": ["darkness"], "levels": (1, 5), "background_levels": (1, 5), "processes": 1}


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos/more").mkdir(parents=True)
    for name, image in (
        ("a.png", PHOTO),
        ("more/b.JPG", PHOTO[:40, :50]),
        ("tiny.png", PHOTO[:10]),
    ):
        Image.fromarray(image).save(tmp_path / "photos" / name)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    (tmp_path / "photos/notes.txt").write_text("no image either, and not named as one")
    return tmp_path / "photos"


def save_mask(folder, mask, name="a"):
    folder.mkdir(exist_ok=True)
    (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(folder / f"{name}.png")
    return folder


def left_part(width, value=1):
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[:, :width] = value
    return mask


def read(path):
    return np.asarray(Image.open(path))


def test_a_folder_becomes_a_tree_with_its_table(photos, tmp_path, capsys):
    table, refused = write_tree(
        photos, tmp_path / "out", names=["jpeg", "snow"], levels=(1, 2.5), processes=1
    )
    assert list(table.columns) == COLUMNS
    assert table.content.unique().tolist() == ["a", "more/b"] and len(table) == 8
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out/images.csv"), table)
    row = table[
        (table.content == "more/b") & (table.distortion == "snow") & (table.level == 2.5)
    ].iloc[0]
    assert row.image == "images/more/b/snow-2.5.png"
    assert read(tmp_path / "out" / row.image).shape == (40, 50, 3)
    np.testing.assert_array_equal(read(tmp_path / "out" / table.reference[0]), PHOTO)
    assert {name.rpartition("/")[2] for name in refused} == {"broken.jpg", "tiny.png"}
    told = capsys.readouterr().out
    assert "3 photographs, 12 images" in told and "GB at most" in told
    assert (
        "broken.jpg cannot be decoded (its first bytes are those of none of JPEG" in told
        and "at least 32 pixels a side" in told
    )
    own = tmp_path / "root/data/raw/mine"
    shutil.copytree(tmp_path / "out", own)
    table.assign(label=10 - table.level).to_csv(own / "labels.csv", index=False)
    known = datasets.load_table("mine", root=tmp_path / "root")
    assert (
        known.image[0] == f"data/raw/mine/{table.image[0]}"
        and known.reference[0] == f"data/raw/mine/{table.reference[0]}"
    )
    assert (
        known.content.tolist() == table.content.tolist()
        and known.level.tolist() == table.level.tolist()
    )


def test_a_tree_goes_on_where_it_stopped(photos, tmp_path, monkeypatch):
    options = {"names": ["white_noise"], "levels": (1, 5), "processes": 1}
    table, _ = write_tree(photos / "a.png", tmp_path / "out", **options)
    first, second = (tmp_path / "out" / image for image in table.image)
    made = second.read_bytes()
    Image.fromarray(PHOTO[::2]).save(first)
    second.unlink()
    again, _ = write_tree(photos / "a.png", tmp_path / "out", **options)
    assert second.read_bytes() == made and read(first).shape == PHOTO[::2].shape
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(ValueError, match="holds images made with seed 0; choose another folder"):
        write_tree(photos / "a.png", tmp_path / "out", seed=1, **options)
    changed = replace(REGISTRY["white_noise"], parameters=(1, 2, 3, 4, 5))
    with monkeypatch.context() as patch:
        patch.setitem(REGISTRY, "white_noise", changed)
        with pytest.raises(ValueError, match="made with another version of white_noise; choose"):
            write_tree(photos / "a.png", tmp_path / "out", **options)
    write_tree(photos / "a.png", tmp_path / "other", seed=1, **options)
    assert (tmp_path / "other" / table.image[1]).read_bytes() != made


@pytest.mark.parametrize("missing", [False, True])
def test_another_photograph_under_the_same_name_is_noticed(photos, tmp_path, missing):
    options = {"names": ["white_noise"], "levels": (1, 5), "processes": 1}
    table, _ = write_tree(photos / "a.png", tmp_path / "out", **options)
    if missing:
        (tmp_path / "out" / table.image[1]).unlink()
    Image.fromarray(PHOTO[::-1]).save(photos / "a.png")
    again, refused = write_tree(photos / "a.png", tmp_path / "out", **options)
    why = refused[str(photos / "a.png")]
    assert why.startswith(f"it differs from {tmp_path / 'out/references/a.png'}") and why.endswith(
        "out/images/a"
    )
    assert (
        again.image.tolist() == table.image.tolist()[: 1 if missing else 2]
    )  # what the folder still holds
    (tmp_path / "out/references/a.png").unlink()  # as it was told
    shutil.rmtree(tmp_path / "out/images/a")
    assert write_tree(photos / "a.png", tmp_path / "out", **options)[1] == {}
    np.testing.assert_array_equal(read(tmp_path / "out/references/a.png"), PHOTO[::-1])


def test_a_version_is_the_same_thing_done_to_every_photograph(photos, tmp_path):
    shutil.copy(photos / "a.png", photos / "more/twin.png")
    options = {"names": ["white_noise", "motion_blur"], "levels": (5,), "processes": 1}
    write_tree(photos, tmp_path / "out", **options)
    for version in ("white_noise-5", "motion_blur-5"):  # its noise, and the angle of its blur
        one, two = (
            read(tmp_path / f"out/images/{name}/{version}.png") for name in ("a", "more/twin")
        )
        np.testing.assert_array_equal(one, two)


def test_the_table_lists_what_earlier_calls_made_and_keeps_its_columns(photos, tmp_path):
    out = tmp_path / "out"
    Image.fromarray(PHOTO).save(
        photos / "NA.png"
    )  # a name that a reader of tables takes for a missing value
    first, _ = write_tree(photos / "NA.png", out, names=["jpeg"], levels=(1, 2), processes=1)
    first.assign(label=[9, 7]).to_csv(out / "images.csv", index=False)
    second, _ = write_tree(
        photos / "a.png", out, names=["darken"], levels=(2,), background_levels=(4,), processes=1
    )
    assert second.image.tolist() == [*first.image, "images/a/darken-2-4.png"]
    assert second.content.tolist() == ["NA", "NA", "a"] and second.label.tolist()[:2] == [9, 7]
    assert second.region.isna().tolist() == [True, True, False]
    (out / first.image[0]).unlink()
    third, _ = write_tree(photos / "NA.png", out, names=["jpeg"], levels=(2,), processes=1)
    assert third.image.tolist() == second.image.tolist()[1:]


def test_a_tree_without_any_image_has_a_table_without_rows(photos, tmp_path):
    table, refused = write_tree(photos / "tiny.png", tmp_path / "out", names=["jpeg"], processes=1)
    assert len(table) == 0 and len(refused) == 1
    assert (tmp_path / "out/images.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert len(write_tree(photos / "a.png", tmp_path / "out", names=["jpeg"], processes=1)[0]) == 5


def test_hidden_folders_are_passed_over_and_other_kinds_refused_by_name(photos, tmp_path):
    hidden = (".thumbs/t.png", "__MACOSX/m.png", "._a.png", "more/.x.png")
    for name in hidden:
        (photos / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "a.png", photos / name)
    shutil.copy(photos / "a.png", photos / "phone.HEIC")
    Image.fromarray(PHOTO).save(photos / "web.jfif", format="JPEG")
    before, _ = write_tree(photos, tmp_path / "out", names=["jpeg"], levels=(1,), processes=1)
    refused = write_tree(photos, tmp_path / "out", names=["jpeg"], levels=(1,), processes=1)[1]
    assert {"web", "a", "more/b"} == set(before.content)
    assert (
        "pictures that end in .heic are not read; export it as PNG"
        in refused[str(photos / "phone.HEIC")]
    )


def test_a_link_to_nothing_is_left_out_and_named(photos, tmp_path):
    (photos / "gone.png").symlink_to(tmp_path / "none.png")
    _, refused = write_tree(photos, tmp_path / "out", names=["jpeg"], levels=(1,), processes=1)
    assert "gone.png is missing" in refused[str(photos / "gone.png")]


def test_an_accent_may_be_written_in_two_ways(photos, tmp_path):
    for form in ("NFC", "NFD"):
        folder = tmp_path / form
        folder.mkdir()
        shutil.copy(photos / "a.png", folder / unicodedata.normalize(form, "caf\u00e9.png"))
        mask = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "caf\u00e9")
        masks = save_mask(tmp_path / f"masks{form}", left_part(40), mask)
        table, refused = write_tree(folder, tmp_path / f"out{form}", masks=masks, **REGIONS)
        assert not refused and set(table.content) == {"caf\u00e9"}
    both = tmp_path / "NFC"
    shutil.copy(photos / "a.png", both / unicodedata.normalize("NFD", "caf\u00e9.png"))
    with pytest.raises(ValueError, match="or in how an accent is written, alone; rename one"):
        write_tree(both, tmp_path / "out", names=["jpeg"])


# ---- subjects


def test_a_tree_of_regions_with_masks_of_ones_own(photos, tmp_path):
    masks = save_mask(tmp_path / "masks", left_part(40))
    table, _ = write_tree(photos / "a.png", tmp_path / "out", masks=masks, **REGIONS)
    assert list(table.columns) == [*COLUMNS, "background_level", "region"]
    assert table.region.tolist() == [
        "UD",
        "BG-DD",
        "ROI-DD",
        "UD",
    ] and table.background_level.tolist() == [1, 5, 1, 5]
    image = read(tmp_path / "out/images/a/darkness-5-1.png")
    np.testing.assert_array_equal(image[:, :36], distort(PHOTO, "darkness", 5, 0)[:, :36])
    np.testing.assert_array_equal(image[:, 75:], distort(PHOTO, "darkness", 1, 0)[:, 75:])
    np.testing.assert_array_equal(read(tmp_path / "out/masks/a.png"), left_part(40, 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_is_what_is_not_black_in_any_kind_of_file(photos, tmp_path, mode):
    if mode == "P":  # its values are numbers of colours: here 0 is white and 1 is black
        mask = Image.fromarray(1 - left_part(40))
        mask.putpalette([255, 255, 255, 0, 0, 0])
    elif mode == "I;16":
        mask = Image.fromarray(left_part(40).astype(np.uint16))
    else:
        mask = Image.fromarray(left_part(40, 255)).convert(mode)
    assert mask.mode == mode
    masks = save_mask(tmp_path / "masks", mask)
    assert write_tree(photos / "a.png", tmp_path / "out", masks=masks, **REGIONS)[1] == {}
    np.testing.assert_array_equal(read(tmp_path / "out/masks/a.png"), left_part(40, 255))


def test_another_mask_is_noticed(photos, tmp_path):
    masks = save_mask(tmp_path / "masks", left_part(40))
    write_tree(photos / "a.png", tmp_path / "out", masks=masks, **REGIONS)
    assert (
        write_tree(
            photos / "a.png",
            tmp_path / "out",
            masks=save_mask(tmp_path / "same", left_part(40, 7)),
            **REGIONS,
        )[1]
        == {}
    )
    for other in (None, save_mask(tmp_path / "others", left_part(50))):
        _, refused = write_tree(photos / "a.png", tmp_path / "out", masks=other, **REGIONS)
        assert f"it differs from {tmp_path / 'out/masks/a.png'}" in refused[str(photos / "a.png")]


def test_photographs_without_a_subject_are_refused(photos, tmp_path):
    Image.new("RGB", (64, 48), "teal").save(photos / "flat.png")
    for masks in (None, save_mask(tmp_path / "masks", np.zeros((48, 64), np.uint8), "flat")):
        table, refused = write_tree(photos / "flat.png", tmp_path / "out", masks=masks, **REGIONS)
        assert (
            refused
            == {str(photos / "flat.png"): "no subject found; give a mask that is not 0 on it"}
            and len(table) == 0
        )
    for why, other in (("is 128x96 pixels, not 64x48", left_part(4)), ("No such file", None)):
        masks = tmp_path / "none" if other is None else save_mask(tmp_path / "wrong", other, "flat")
        assert (
            why
            in write_tree(photos / "flat.png", tmp_path / "out", masks=masks, **REGIONS)[1][
                str(photos / "flat.png")
            ]
        )
    assert not (tmp_path / "out/masks").exists()


def test_trees_that_cannot_be_are_refused(photos, tmp_path):
    with pytest.raises(
        ValueError, match="would be read with it the next time; choose a folder elsewhere"
    ):
        write_tree(photos, photos / "out")
    with pytest.raises(FileNotFoundError, match="there is no photograph at"):
        write_tree(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(KeyError, match="no distortion 'blur'; there are brighten"):
        write_tree(photos, tmp_path / "out", names=["blur"])
    with pytest.raises(ValueError, match="level is 0; it runs from 1 to 5"):
        write_tree(photos, tmp_path / "out", levels=(0,))
    with pytest.raises(ValueError, match="give background_levels too, or no masks"):
        write_tree(photos, tmp_path / "out", masks=tmp_path)
    Image.fromarray(PHOTO).save(photos / "a.bmp")
    with pytest.raises(
        ValueError, match="a.bmp and .*a.png differ in their suffix, or in .* alone; rename one"
    ):
        write_tree(photos, tmp_path / "out")


# ---- the sheet


def test_the_sheet_shows_every_type_and_level_of_the_upright_photograph(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.fromarray(PHOTO[::-1, ::-1]).save(tmp_path / "a.png", exif=turned)
    figure, shown = distortion_sheet(tmp_path / "a.png", source="MIQD-2.5M")
    assert len(shown) == 50 and sum(len(axis.images) for axis in figure.axes) == 50
    assert shown[shown.distortion == "fog"].parameter.tolist()[0] == "0.1, 3"
    pictures = [image.get_array() for axis in figure.axes for image in axis.images]
    for picture, row in zip(pictures, shown.itertuples(), strict=True):
        if row.distortion in ("contrast", "fog"):
            np.testing.assert_array_equal(picture, distort(PHOTO, row.distortion, row.level, 0))
    plt.close(figure)
