import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from PIL import Image, ImageOps

from iqa_core import leakage as module
from iqa_core.leakage import duplicates, leakage, leakages
from iqa_core.pixels import read_image

QUIET = {"processes": 1, "progress": False}


def cut(image, share):
    width, height = image.size
    return image.crop(
        (
            round(share * width),
            round(share * height),
            round((1 - share) * width),
            round((1 - share) * height),
        )
    )


PLANTS = {
    "copy.png": lambda image: image,
    "jpeg50.jpg": lambda image: image,
    "half.png": lambda image: image.resize((image.width // 2, image.height // 2)),
    "cut.png": lambda image: cut(image, 0.03),
    "mirrored.png": ImageOps.mirror,
    "all.jpg": lambda image: cut(ImageOps.mirror(image).resize((256, 192)), 0.03),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """28 photographs as <name>.png and their planted duplicates as <name>-<plant>."""
    root = tmp_path_factory.mktemp("pictures")
    for path in sorted((REPOSITORY / "data/demo").glob("*.png")):
        image = Image.open(path).convert("RGB")
        image.save(root / path.name, compress_level=1)
        for plant, make in PLANTS.items():
            made = make(image)
            made.save(
                root / f"{path.stem}-{plant}",
                **({"quality": 50} if plant.endswith("jpg") else {"compress_level": 1}),
            )
    return root


def of(*groups):
    """Table and split of groups of image names: train, val, test."""
    parts = [
        part for part, names in zip(("train", "val", "test"), groups, strict=True) for _ in names
    ]
    images = [name for names in groups for name in names]
    return pd.DataFrame({"image": images}), pd.Series(parts)


def originals(root):
    return sorted(path.name for path in root.iterdir() if "-" not in path.name)


@pytest.mark.parametrize("plant", PLANTS)
def test_every_planted_duplicate_is_found_and_nothing_else(root, plant):
    names = originals(root)
    planted = [f"{name[:-4]}-{plant}" for name in names]
    table, split = of(names[:20], names[20:], planted)
    pairs = leakage(table, split, root=root, **QUIET)
    assert set(zip(pairs.image, pairs.image2, strict=True)) == set(zip(names, planted, strict=True))
    assert (pairs.kind == "duplicate").all() and (pairs.split2 == "test").all()
    assert pairs.split.value_counts().to_dict() == {"train": 20, "val": 8}
    assert pairs.distance.is_monotonic_increasing and pairs.distance.max() < 0.05


def test_several_splits_of_a_table_are_searched_at_once(root, monkeypatch):
    names = originals(root)
    table, split = of(names[:20], names[20:], [f"{name[:-4]}-copy.png" for name in names[20:]])
    clean = split.where(~table.image.str.endswith("-copy.png"))
    clean[clean[clean == "val"].index[:4]] = "test"
    read = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_image", lambda path: read.append(path) or read_image(path))
        both = leakages(table, {"a": split, "b": clean}, root=root, **QUIET)
    assert len(read) == len(table), "every picture is read once"
    with pytest.raises(ValueError, match="b has no val"):
        leakages(table, {"a": split, "b": split.replace("val", "test")}, root=root, **QUIET)
    assert [len(pairs) for pairs in both.values()] == [8, 0]
    for name, of_one in (("a", split), ("b", clean)):
        pd.testing.assert_frame_equal(both[name], leakage(table, of_one, root=root, **QUIET))


def test_val_equal_to_test_is_named(root):
    names = originals(root)
    table, split = of(names[:20], names[20:], [f"{name[:-4]}-copy.png" for name in names[20:]])
    pairs = leakage(table, split, root=root, **QUIET)
    assert (
        (pairs.split + pairs.split2 == "valtest").all()
        and len(pairs) == 8
        and (pairs.distance == 0).all()
    )


def test_only_pictures_of_other_parts_and_contents_are_compared(root):
    images = [
        "bee.png",
        "bee-half.png",
        "dogs.png",
        "drum.png",
        "drum-jpeg50.jpg",
        "fig.png",
        "bee-cut.png",
        "bee-copy.png",
    ]
    contents = ["bee", "bee", "dogs", "drum", "drum", None, "other", None]
    parts = ["train", "train", "val", "val", "test", "test", "test", None]
    table = pd.DataFrame({"image": images, "content": contents}, index=range(8, 0, -1))
    pairs = leakage(table, pd.Series(parts, table.index), root=root, **QUIET)
    assert pairs.iloc[0].to_dict() | {"distance": 0} == {
        "image": "drum.png", "split": "val", "image2": "drum-jpeg50.jpg", "split2": "test",
        "kind": "content", "distance": 0,
    }  # fmt: skip
    assert np.isnan(pairs.distance[0])
    assert set(zip(pairs.image[1:], pairs.image2[1:], strict=True)) == {
        ("bee.png", "bee-cut.png"),
        ("bee-half.png", "bee-cut.png"),
    }
    assert (pairs.kind[1:] == "duplicate").all()
    shuffled = table.sample(frac=1, random_state=0)
    split = pd.DataFrame({"image": images, "split": parts}).dropna()
    again = leakage(shuffled, split, root=root, **QUIET)
    assert set(map(tuple, again.to_numpy()[:, :4])) == set(map(tuple, pairs.to_numpy()[:, :4]))


def test_a_clean_split_has_no_pairs(root):
    names = originals(root)
    pairs = leakage(*of(names[:10], names[10:20], names[20:]), root=root, **QUIET)
    assert pairs.empty and list(pairs) == ["image", "split", "image2", "split2", "kind", "distance"]


def test_a_content_on_both_sides_is_one_row_for_each_two_parts(root):
    table, split = of(
        ["bee.png", "bee-half.png"], ["bee-cut.png"], ["bee-copy.png", "bee-mirrored.png"]
    )
    pairs = leakage(table.assign(content="bee"), split, root=root, **QUIET)
    assert (pairs.split + pairs.split2).tolist() == ["trainval", "traintest", "valtest"]
    assert (pairs.kind == "content").all()


def test_duplicates_of_a_folder_nearest_first(root):
    paths = [
        root / name for name in ("dogs.png", "bee.png", "bee-cut.png", "bee-copy.png", "fig.png")
    ]
    pairs = duplicates(paths, **QUIET)
    assert (
        pairs.image.iloc[0] == paths[1].as_posix() and pairs.image2.iloc[0] == paths[3].as_posix()
    )
    assert (
        len(pairs) == 3 and pairs.distance.iloc[0] == 0 and pairs.distance.is_monotonic_increasing
    )
    assert len(duplicates(paths, largest=0.001, **QUIET)) == 1
    assert len(duplicates(paths, largest=2, **QUIET)) == 10
    assert duplicates([], **QUIET).empty


def test_processes_and_blocks_do_not_matter(root, monkeypatch):
    paths = sorted(root.iterdir())[:40]
    pairs = duplicates(paths, **QUIET)
    pd.testing.assert_frame_equal(duplicates(paths, processes=2, progress=False), pairs)
    monkeypatch.setattr(module, "BLOCK", 120)
    pd.testing.assert_frame_equal(duplicates(paths, **QUIET), pairs)


def test_grey_turned_and_brightened_copies_are_the_same_picture(root, tmp_path):
    image = Image.open(root / "bee.png")
    image.convert("L").save(tmp_path / "grey.png")
    Image.fromarray((np.asarray(image) * 0.7 + 20).astype(np.uint8)).save(tmp_path / "dim.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter to the right
    image.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image.convert("RGBA").save(tmp_path / "alpha.png")
    pairs = duplicates(sorted(tmp_path.iterdir()), **QUIET)
    assert len(pairs) == 6 and pairs.distance.max() < 0.05


def test_plain_pictures_match_nothing_and_are_named(root, tmp_path):
    for level in range(0, 250, 10):
        Image.new("RGB", (160, 120), (level, 100, 100)).save(tmp_path / f"{level:03d}.jpg")
    flat = sorted(tmp_path.iterdir())
    pairs = duplicates([*flat, root / "bee.png", root / "bee-copy.png"], **QUIET)
    assert len(pairs) == 1 and pairs.attrs["plain"] == [path.as_posix() for path in flat]


def test_noise_is_told_from_other_noise(tmp_path):
    for seed in range(12):
        noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{seed}.png")
    assert duplicates(sorted(tmp_path.iterdir()), **QUIET).empty


def test_what_cannot_be_read_is_named_and_all_of_it(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file for .*no.png; get the images first"):
        duplicates([root / "bee.png", root / "no.png"], **QUIET)
    for number in range(5):
        (tmp_path / f"bad{number}.png").write_bytes(
            (root / "bee.png").read_bytes()[: 1000 * number]
        )
    with pytest.raises(
        ValueError, match=r"(?s)bad0.png.*bad1.png.*bad2.png.* and 2 more; .*data check"
    ):
        duplicates([root / "bee.png", *sorted(tmp_path.iterdir())], **QUIET)


def test_splits_that_do_not_fit_are_refused(root, monkeypatch):
    table, split = of(["bee.png"], ["dogs.png"], ["fig.png"])
    with pytest.raises(ValueError, match="split has 2 rows, the table 3"):
        leakage(table, split[:2], root=root, **QUIET)
    with pytest.raises(ValueError, match="parts dev; allowed are train, val, test"):
        leakage(table, split.replace("val", "dev"), root=root, **QUIET)
    twice = pd.DataFrame({"image": [*table.image, "bee.png"], "split": [*split, "test"]})
    with pytest.raises(ValueError, match="the split names bee.png more than once"):
        leakage(table, twice, root=root, **QUIET)
    monkeypatch.setattr(module, "MOST", 2)
    with pytest.raises(
        ValueError, match="more than 2 pairs of near-duplicates; does the table list copies"
    ):
        duplicates([root / "bee.png"] * 3, **QUIET)
