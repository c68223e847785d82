"""`data list`, `get`, `check` and `distort` on small trees."""

import sys
import unicodedata
import zipfile

import numpy as np
import pytest
import yaml
from PIL import Image

from iqa_core import datasets
from iqa_core.apps import commands, raw_data
from iqa_core.apps.raw_data import check, fetch

LABELS = "image,label,content\na.png,3,a\nb.png,2,b\nc.png,4,c\nd.png,1,d\n"


def photograph(seed, size=(96, 128)):
    """A picture with structure of its own: smooth random waves."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with one set of a user's own, `mine`, in which nothing is wrong."""
    (tmp_path / "params").mkdir()
    folder = tmp_path / "data/raw/mine"
    folder.mkdir(parents=True)
    for seed, name in enumerate("abcd"):
        Image.fromarray(photograph(seed)).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text(LABELS)
    monkeypatch.setenv("IQA_ROOT", str(tmp_path))
    return tmp_path


def command(monkeypatch, *words):
    """The exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["iqa_core", *words])
    with pytest.raises(SystemExit) as exit_of:
        commands.main()
    return exit_of.value.code


def found(root):
    problems = check("mine", root=root, processes=1)
    return {(row.problem, row.image.rpartition("/")[2]) for row in problems.itertuples()}, problems


def test_a_whole_set_has_no_problems_and_nothing_is_written(root):
    before = sorted(path for path in root.rglob("*"))
    assert check("mine", root=root, processes=1).empty
    assert sorted(path for path in root.rglob("*")) == before


def test_every_planted_fault_is_found_and_named(root):
    folder = root / "data/raw/mine"
    (folder / "b.png").unlink()
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes()[:300])
    Image.fromarray(photograph(9)).save(folder / "stranger.png")
    Image.fromarray(photograph(0)[:, ::-1]).save(folder / "mirror.png")
    Image.fromarray(photograph(3)).save(folder / "copy.bmp")
    (folder / "labels.csv").write_text(LABELS + "mirror.png,3,m\ncopy.bmp,1,z\n")
    problems, table = found(root)
    assert problems == {
        ("missing", "b.png"), ("unreadable", "c.png"), ("unlisted", "stranger.png"),
        ("same pixels", "copy.bmp"), ("look-alike", "a.png"),
    }  # fmt: skip
    assert "cannot be decoded" in table[table.problem == "unreadable"].detail.item()
    assert table[table.problem == "same pixels"].detail.item() == "as data/raw/mine/d.png"
    assert (
        table[table.problem == "look-alike"]
        .detail.item()
        .startswith("data/raw/mine/mirror.png, distance 0.0")
    )


def test_look_alikes_of_one_content_are_no_problem(root):
    folder = root / "data/raw/mine"
    Image.fromarray(photograph(0)).save(folder / "again.jpg", quality=60)
    (folder / "labels.csv").write_text(LABELS + "again.jpg,3,a\n")
    assert check("mine", root=root, processes=1).empty


def test_labels_that_cannot_be_and_a_wrong_number_of_rows_are_problems(root):
    facts = {"title": "Mine", "files": [{"file": "labels.csv"}], "low": 1, "high": 5, "rows": 5}
    (root / "data/raw/mine/set.yaml").write_text(yaml.safe_dump(facts))
    problems, table = found(root)
    assert problems == {("rows", "")} and table.detail.item() == "4, published are 5"
    (root / "data/raw/mine/set.yaml").write_text(yaml.safe_dump(facts | {"high": 3}))
    problems, table = found(root)
    assert (
        problems == {("table", ""), ("rows", "")}
        and "label of" in table.detail[0]
        and "is 4" in table.detail[0]
    )


def test_a_wrong_label_hides_nothing_else(root):
    folder = root / "data/raw/mine"
    (folder / "b.png").unlink()
    (folder / "labels.csv").write_text(
        "image,label,level\na.png,3,1\nb.png,2,1\nc.png,four,strong\nd.png,1,1\n"
    )
    problems, table = found(root)
    assert (
        problems == {("table", ""), ("missing", "b.png")}
        and "label of c.png is four" in table.detail[0]
    )


def test_every_label_that_one_can_choose_is_checked(root):
    facts = {
        "files": [
            {"file": "labels.csv", "columns": {"image": "image", "p": "label", "q": "content"}}
        ]
    }
    (root / "data/raw/mine/set.yaml").write_text(
        yaml.safe_dump(facts | {"labels": {"p": {}, "q": {}, "r": {}}})
    )
    problems, table = found(root)
    assert (
        problems == {("table", "")} and "label of a.png is a, not a number" in table.detail.item()
    )


def test_pictures_that_a_set_leaves_out_are_no_strangers(root):
    (root / "data/raw/mine/set.yaml").write_text("leave_out: {image: 'a.*'}")
    assert check("mine", root=root, processes=1).empty


def test_references_are_looked_at_and_may_equal_an_image_of_theirs(root):
    folder = root / "data/raw/mine"
    rows = ["a.png,3,a,a.bmp", "b.png,2,a,a.bmp", "c.png,4,c,c.bmp", "d.png,1,d,d.bmp"]
    (folder / "labels.csv").write_text("\n".join(["image,label,content,reference", *rows]))
    Image.fromarray(photograph(0)).save(folder / "a.bmp")  # as a.png, of content a
    Image.fromarray(photograph(1)).save(folder / "d.bmp")  # as b.png, of content a
    Image.fromarray(photograph(1)).save(folder / "b.png")
    assert found(root)[0] == {("missing", "c.bmp"), ("same pixels", "d.bmp")}
    (folder / "labels.csv").write_text(LABELS + "a2.png,3,a\n")
    Image.fromarray(photograph(0)).save(folder / "a2.png")
    assert "same pixels" not in {problem for problem, _ in found(root)[0]}


def test_pairs_that_no_measure_can_compare_are_problems(root):
    folder = root / "data/raw/mine"
    rows = ["a.png,3,a,a.bmp", "b.png,2,b,b.bmp", "c.png,4,c,c.bmp"]
    (folder / "labels.csv").write_text("\n".join(["image,label,content,reference", *rows]))
    Image.fromarray(photograph(0)).save(folder / "a.bmp")
    Image.fromarray(photograph(1, (96, 130))).save(folder / "b.bmp")
    for name in ("c.png", "c.bmp"):
        Image.fromarray(photograph(2, (12, 40))).save(folder / name)
    (folder / "d.png").unlink()
    problems, table = found(root)
    assert problems == {("pair", "b.png"), ("pair", "c.png")}
    first, second = table.detail
    assert (
        first == "it is 128x96, its reference data/raw/mine/b.bmp 130x96; they must be of one size"
    )
    assert second == "it is 40x12, and haarpsi needs 16 pixels a side"


def test_pictures_of_kinds_that_are_not_read_are_listed_and_hidden_ones_are_not(root):
    folder = root / "data/raw/mine"
    for name in ("phone.heic", "raw.DNG", ".x.png", ".thumbs/t.png", "__MACOSX/m.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"some kind of picture")
    Image.fromarray(photograph(9)).save(folder / "stranger.avif")
    wanted = {("not read", "phone.heic"), ("not read", "raw.DNG")}
    assert found(root)[0] == wanted | {("unlisted", "stranger.avif")}
    (folder / "labels.csv").unlink()  # a set of images alone
    assert wanted <= found(root)[0]
    table = datasets.load_table("mine", root=root)
    assert len(table) == 5 and "left out are 2 pictures" in table.attrs["notes"][0]


@pytest.mark.parametrize("ending", ["avif", "jfif", "jpe", "j2k", "pbm"])
def test_sets_of_less_common_endings(root, ending):
    folder = root / "data/raw/odd"
    folder.mkdir()
    kind = {"jfif": "JPEG", "jpe": "JPEG", "j2k": "JPEG2000", "pbm": "PPM"}.get(ending, ending)
    picture = Image.fromarray(photograph(0)).convert("1" if ending == "pbm" else "RGB")
    picture.save(folder / f"a.{ending}", format=kind)
    assert len(datasets.load_table("odd", root=root)) == 1
    assert check("odd", root=root, processes=1).empty


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_composed_and_a_decomposed_accent_are_one_name(root, form):
    folder = root / "data/raw/mine"
    (folder / "a.png").rename(folder / unicodedata.normalize(form, "caf\u00e9.png"))
    for other in ("NFC", "NFD"):
        labels = LABELS.replace("a.png", unicodedata.normalize(other, "caf\u00e9.png"))
        (folder / "labels.csv").write_text(labels, encoding="utf-8")
        assert check("mine", root=root, processes=1).empty


def test_dmos_read_as_mos_is_a_problem_where_levels_are_known(root, capsys):
    rows = ["a.png,a,blur,1,20", "b.png,a,blur,5,90", "c.png,c,blur,1,30", "d.png,c,blur,5,80"]
    (root / "data/raw/mine/labels.csv").write_text(
        "\n".join(["image,content,distortion,level,label", *rows])
    )
    problems, table = found(root)
    assert problems == {("labels", "")} and "DMOS read as MOS" in table.detail.item()
    assert capsys.readouterr().out.startswith(
        "4 images of 2 contents; labels 20 to 90, higher is better"
    )


def test_check_on_the_command_line_tells_and_ends_with_1(root, monkeypatch, capsys):
    assert command(monkeypatch, "data", "check", "mine") == 0
    assert capsys.readouterr().out.strip().endswith("mine: nothing is wrong")
    for name in "abc":
        (root / f"data/raw/mine/{name}.png").unlink()
    assert command(monkeypatch, "data", "check", "mine", "--most", "2") == 1
    out = capsys.readouterr().out
    assert "missing: 3" in out and "a.png" in out and "b.png" in out and "c.png" not in out
    assert command(monkeypatch, "data", "check", "other") == 2
    assert "for your own put images and labels.csv" in capsys.readouterr().err


def test_a_set_is_fetched_unpacked_and_not_fetched_twice(root, monkeypatch, capsys):
    asked = []

    def served(address, path):
        asked.append(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("images/I01_01_01.png", b"pixels")
                file.writestr(
                    "dmos.csv", "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.5,.5\n"
                )
        path.with_name(f"{path.name}.sha256").write_text("abc")
        return "abc" * 20

    monkeypatch.setattr(raw_data, "download", served)
    assert command(monkeypatch, "data", "get", "kadid10k") == 0
    out = capsys.readouterr().out
    facts = datasets.describe("kadid10k", root=root)
    assert asked == list(facts["get"].values())
    assert (
        "2 files unpacked; you may delete it" in out
        and "next: python -m iqa_core data check kadid10k" in out
    )
    for words in (facts["licence"], facts["citation"]):
        assert words in out
    assert (facts["folder"] / "images/I01_01_01.png").read_bytes() == b"pixels"
    (facts["folder"] / "kadid10k.zip").unlink()
    assert "was here before; delete" in fetch("kadid10k", root=root)[0] and len(asked) == 1


def test_a_set_that_cannot_be_fetched_comes_with_what_to_do_by_hand(root, monkeypatch, capsys):
    assert command(monkeypatch, "data", "get", "tid2013") == 1
    out = capsys.readouterr().out
    assert (
        "by hand: Fetch" in out
        and "mos_with_names.txt" in out
        and str(root / "data/raw/tid2013") in out
    )


def test_the_list_has_every_set_and_one_s_own(root, monkeypatch, capsys):
    assert command(monkeypatch, "data", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    first = {line.split()[0]: line for line in lines if line.strip()}
    assert {*datasets.list_datasets(), "mine"} <= set(first)
    assert first["mine"].rstrip().endswith("yes") and first["spaq"].rstrip().endswith("no")


def test_a_broken_set_does_not_stop_the_list(root, monkeypatch, capsys):
    for name in ("broken", "photos [1]"):
        (root / f"data/raw/{name}").mkdir()
    (root / "data/raw/broken/set.yaml").write_text("titel: x")
    Image.fromarray(photograph(0)).save(root / "data/raw/photos [1]/a.png")
    assert command(monkeypatch, "data", "list") == 0
    out = capsys.readouterr().out
    assert "broken: " in out and "no key titel" in out and "photos [1]" in out and "tid2013" in out


def test_distort_on_the_command_line_writes_a_tree_that_becomes_a_set(root, monkeypatch, capsys):
    photos, out = root / "data/raw/mine", root / "data/raw/distorted"
    words = [
        "data",
        "distort",
        str(photos),
        "--out",
        str(out),
        "--name",
        "jpeg",
        "--level",
        "1",
        "--level",
        "4.5",
    ]
    assert command(monkeypatch, *words) == 0
    table = (out / "images.csv").read_text().splitlines()
    assert len(table) == 1 + 4 * 2 and "images/a/jpeg-4.5.png" in table[2]
    assert command(monkeypatch, *words[:-1], "7") == 2
    assert "level is 7" in capsys.readouterr().err
