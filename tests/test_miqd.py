"""MIQD-2.5M: three sets in one folder, labels of machines, a level for the subject and one for the
background.
"""

import numpy as np
import pandas as pd
import pytest
import raw_trees
from raw_trees import folder_of, write, write_pictures
from test_raw_data import command

from iqa_core import datasets, figures
from iqa_core.apps.raw_data import check
from iqa_core.distortions import INTENSITIES, list_distortions
from iqa_core.splits import crossing_contents, make_split
from iqa_core.stats import versions

FIRST = "ILSVRC2012_val_00000012"
HEADER = "dist_images,weighted_consistency,weighted_accuracy\n"
TASKS = ("miqd_cls", "miqd_det", "miqd_ins")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project, which `project_root` finds."""
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("IQA_ROOT", str(tmp_path))
    return tmp_path


def cls(root, *rows, original=FIRST):
    """A tree with one label file of so many rows."""
    name = f"miqa_cls/labels/{original}_mmos.csv"
    write(folder_of(root, "miqd_cls"), name, HEADER + "".join(f"{row}\n" for row in rows))


def det(root, **labels):
    """A tree of one original: its label files as rows."""
    for label, rows in labels.items():
        text = "\n".join(["filename,AP_weighted_avg", *rows]) + "\n"
        name = f"miqa_det/labels/000000000139_{label}.csv"
        write(folder_of(root, "miqd_det"), name, text)


# ---- versions


@pytest.mark.parametrize("name", TASKS)
def test_all_250_versions_of_an_original_are_told_by_their_names(name, root):
    raw_trees.WRITERS[name](folder_of(root, name), raw_trees.MIQD_TYPES)
    table = datasets.load_table(name, root=root)
    task = "cls" if name == "miqd_cls" else "det"
    for original, rows in table.groupby("content"):
        told = rows[["distortion", "level", "background_level", "region"]]
        files = rows.image.str.rpartition("/")[2]
        told = dict(zip(files, told.itertuples(index=False, name=None), strict=True))
        wanted = raw_trees.miqd_versions(original, raw_trees.MIQD_TYPES)
        assert told == {file: (raw_trees.MIQD_TYPES[kind], *rest) for file, kind, *rest in wanted}
        assert len(told) == 250
    assert set(table.content) == {*raw_trees.MIQD_PLACES[task]}
    assert {*table.distortion} == {*list_distortions("MIQD-2.5M")}
    pairs = table[["level", "background_level", "region"]].drop_duplicates()
    assert {*pairs.itertuples(index=False, name=None)} == {*INTENSITIES}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{}_fog_3.png", ("fog", 3, 3, "UD")),
        ("{}_glass_blur_fg_stronger_fg4_bg2.png", ("glass_blur", 4, 2, "ROI-DD")),
        ("{}_motion_blur_bg_stronger_fg1_bg5.png", ("miqd_motion_blur", 1, 5, "BG-DD")),
        ("{0}/{0}_pixelate_1.png", ("miqd_pixelate", 1, 1, "UD")),
        ("{0}\\{0}_jpeg_compression_fg_stronger_fg2_bg1.png", ("jpeg_compression", 2, 1, "ROI-DD")),
    ],
)
def test_names_spelt_out(name, told, root):
    cls(root, f"{name.format(FIRST)},.5,.5")
    row = datasets.load_table("miqd_cls", root=root).iloc[0]
    assert (row.distortion, row.level, row.background_level, row.region) == told
    file = name.format(FIRST).replace("\\", "/").rpartition("/")[2]
    assert row.image == f"data/raw/miqd/miqa_cls/images/{FIRST}/{file}"
    assert row.reference == f"data/raw/miqd/miqa_cls/src_images/{FIRST}.JPEG"
    assert row.content == FIRST


@pytest.mark.parametrize(
    "name",
    [
        "{}_fog_6.png",
        "{}_fog_0.png",
        "{}_fog_33.png",
        "{}_fog_3.jpg",
        "{}_fog_fg2_bg1.png",
        "{}_fog_fg_stronger_fg2_bg2.png",
        "{}_fog_fg_stronger_fg1_bg2.png",
        "{}_fog_bg_stronger_fg3_bg2.png",
        "x{}_fog_3.png",
        "ILSVRC2012_val_12_fog_3.png",
    ],
)
def test_a_name_of_no_version_is_refused(name, root):
    cls(root, f"{FIRST}_fog_1.png,.5,.5", f"{name.format(FIRST)},.5,.5")
    with pytest.raises(ValueError, match="is not named as .*, nor are 0 others"):
        datasets.load_table("miqd_cls", root=root)


def test_an_unknown_type_is_named(root):
    cls(root, f"{FIRST}_frost_1.png,.5,.5")
    with pytest.raises(ValueError, match="_type of .*_frost_1.png is frost; known are contrast"):
        datasets.load_table("miqd_cls", root=root)


def test_versions_tell_the_background_where_it_differs(root):
    pairs = ("3", "fg_stronger_fg3_bg1", "bg_stronger_fg3_bg5")
    cls(root, *(f"{FIRST}_jpeg_compression_{pair}.png,.5,.5" for pair in pairs))
    table = datasets.load_table("miqd_cls", root=root)
    assert list(versions(table)) == [
        "jpeg_compression at 3",
        "jpeg_compression at 3, background at 1",
        "jpeg_compression at 3, background at 5",
    ]


# ---- labels


def test_the_composite_is_the_mean_and_all_three_stay_whichever_is_chosen(root):
    cls(root, f"{FIRST}_fog_1.png,.9,.4", f"{FIRST}_fog_2.png,.75,0", f"{FIRST}_fog_3.png,0,0")
    wanted = {"composite": [0.65, 0.375, 0], "consistency": [0.9, 0.75, 0], "accuracy": [0.4, 0, 0]}
    for label, values in wanted.items():
        table = datasets.load_table("miqd_cls", root=root, label=label)
        assert list(table.label) == pytest.approx(values)
        assert all(list(table[each]) == pytest.approx(wanted[each]) for each in wanted)
    default = datasets.load_table("miqd_cls", root=root)
    assert list(default.label) == pytest.approx(wanted["composite"])
    assert set(default.label_kind) == {"mmos"} and default.label_std.isna().all()


def test_means_and_deviations_of_the_file_are_kept(root):
    raw_trees.miqd_cls(folder_of(root, "miqd_cls"))
    table = datasets.load_table("miqd_cls", root=root)
    kept = {"consistency": (0.5, 0.1), "accuracy": (0.4, 0.2)}
    for label, (mean, deviation) in kept.items():
        assert set(table[f"mean_{label}"]) == {mean}
        assert set(table[f"std_{label}"]) == {deviation}
    assert [column for column in table if column.startswith("_")] == []


def test_where_one_of_two_is_missing_so_is_the_composite(root):
    rows = [f"{FIRST}_fog_1.png,.9,", f"{FIRST}_fog_2.png,,.3", f"{FIRST}_fog_3.png,.5,.1"]
    cls(root, *rows, f"{FIRST}_fog_4.png,,")
    table = datasets.load_table("miqd_cls", root=root)
    assert list(table.label) == pytest.approx([0.3]) and list(table.level) == [3]
    note = table.attrs["notes"][-1]
    assert note.startswith("3 of 4 rows are left out, they have no composite: ")
    assert f"{FIRST}_fog_1.png" in note
    places = [f"data/raw/miqd/miqa_cls/images/{FIRST}/{FIRST}_fog_{level}.png" for level in (1, 2)]
    assert table.attrs["left_out"][:2] == places

    consistency = datasets.load_table("miqd_cls", root=root, label="consistency")
    assert list(consistency.label) == [0.9, 0.5]
    np.testing.assert_array_equal(consistency.composite, [np.nan, 0.3])
    np.testing.assert_array_equal(consistency.accuracy, [np.nan, 0.1])
    accuracy = datasets.load_table("miqd_cls", root=root, label="accuracy")
    assert list(accuracy.label) == [0.3, 0.1] and list(accuracy.level) == [2, 3]


def test_a_set_of_gaps_alone_is_refused(root):
    cls(root, f"{FIRST}_fog_1.png,.9,")
    with pytest.raises(
        ValueError, match="none of 1 rows has the label composite; there is composite, consistency"
    ):
        datasets.load_table("miqd_cls", root=root)


@pytest.mark.parametrize(("value", "told"), [("-1", "is -1; 1 of 2"), ("good", "is good, not a")])
def test_a_part_that_cannot_be_is_named_whichever_label_is_chosen(value, told, root):
    cls(root, f"{FIRST}_fog_1.png,1,{value}", f"{FIRST}_fog_2.png,1,1")
    for label in ("composite", "consistency"):
        with pytest.raises(ValueError, match=f"accuracy of {FIRST}_fog_1.png {told}"):
            datasets.load_table("miqd_cls", root=root, label=label)


def test_two_files_are_joined_by_name_whatever_their_order(root):
    names = [f"000000000139_snow_{level}.png" for level in range(1, 6)]
    consistency = dict(zip(names, (0.9, 0.8, 0.7, 0.6, 0.5), strict=True))
    accuracy = dict(zip(names, (0.5, 0.4, 0.3, 0.2, 0), strict=True))
    order = [names[k] for k in (3, 0, 4, 2, 1)]
    det(
        root,
        consistency=[f"{name},{consistency[name]}" for name in names],
        accuracy=[f"{name},{accuracy[name]}" for name in order],
    )
    table = datasets.load_table("miqd_det", root=root)
    assert list(table.label) == pytest.approx([0.7, 0.6, 0.5, 0.4, 0.25])
    assert list(table.level) == [1, 2, 3, 4, 5]


def test_an_image_that_one_of_two_files_lacks_has_no_composite(root):
    names = [f"000000000139_snow_{level}.png" for level in (1, 2, 3)]
    det(
        root,
        consistency=[f"{name},.8" for name in names],
        accuracy=[f"{names[2]},.2", f"{names[0]},.4"],
    )
    table = datasets.load_table("miqd_det", root=root)
    assert list(table.level) == [1, 3] and list(table.label) == pytest.approx([0.6, 0.5])
    assert len(datasets.load_table("miqd_det", root=root, label="consistency")) == 3
    lacking, left_out = table.attrs["notes"][:1], table.attrs["notes"][-1]
    assert lacking == [f"miqa_det/labels/*_accuracy.csv lacks 1 of 3 images: {names[1]}"]
    assert left_out == f"1 of 3 rows are left out, they have no composite: {names[1]}"


def test_detection_and_segmentation_keep_their_labels_apart(root):
    raw_trees.miqd_det(folder_of(root, "miqd_det"))
    raw_trees.miqd_ins(folder_of(root, "miqd_ins"))
    labels = folder_of(root, "miqd_ins") / "miqa_ins/labels"
    name = "000000000139_pixelate_1.png"
    path = labels / "000000000139_accuracy.csv"
    path.write_text(path.read_text().replace(f"{name},0.75", f"{name},0.25"))
    first = {
        task: datasets.load_table(task, root=root, label="accuracy").label[0]
        for task in ("miqd_det", "miqd_ins")
    }
    assert first == {"miqd_det": 0.75, "miqd_ins": 0.25}


def test_a_label_file_with_images_of_another_original_is_refused(root):
    other = "ILSVRC2012_val_00000023"
    cls(root, f"{FIRST}_fog_1.png,.9,.8", f"{other}_fog_1.png,.9,.8", f"{other}_fog_2.png,.9,.8")
    told = f"{FIRST}_mmos.csv lists {other}_fog_1.png, an image of {other} .2 such rows."
    with pytest.raises(ValueError, match=told):
        datasets.load_table("miqd_cls", root=root)


# ---- which machines' labels cannot be


def falling(labels):
    """A table of one content and type, (level, background, label) a row."""
    rows = pd.DataFrame(labels, columns=["level", "background_level", "label"])
    return rows.assign(content="a", distortion="fog")


def test_levels_are_compared_where_the_whole_image_has_them():
    mixed = [(1, 5, 0.1), (1, 1, 0.9), (5, 1, 0.8), (5, 5, 0.2)]
    assert datasets.plausible(falling(mixed)) == []
    assert "DMOS read as MOS" in datasets.plausible(falling([(1, 1, 0.2), (5, 5, 0.9)]))[0]
    assert datasets.plausible(falling([(1, 5, 0.2), (5, 1, 0.9)])) == [], "no uniform rows"


def test_photographs_that_models_never_know_tell_nothing():
    never = [falling([(1, 1, 0), (5, 5, 0)]).assign(content=f"{k}") for k in range(9)]
    seen = falling([(1, 1, 0.9), (5, 5, 0.2)])
    assert datasets.plausible(pd.concat([*never, seen])) == []
    swapped = falling([(1, 1, 0.2), (5, 5, 0.9)])
    assert "in 0% of 1 cases" in datasets.plausible(pd.concat([*never, swapped]))[0]


# ---- parts


@pytest.mark.parametrize("name", TASKS)
def test_the_published_val_tests_and_a_val_comes_out_of_train(name, root):
    raw_trees.WRITERS[name](folder_of(root, name))
    table = datasets.load_table(name, root=root)
    places = raw_trees.MIQD_PLACES["cls" if name == "miqd_cls" else "det"]
    assert dict(zip(table.content, table.official_split, strict=True)) == places
    split = make_split(table, "official")
    part = table.image.map(split.set_index("image").split)
    assert crossing_contents(table, part) == []
    of_content = dict(zip(table.content, part.fillna(""), strict=True))
    trained = {content for content, place in places.items() if place == "train"}
    assert sorted(of_content[content] for content in trained) == ["train", "val"]
    others = {content: place for content, place in places.items() if place != "train"}
    assert {content: of_content[content] for content in others} == others


def test_originals_that_no_list_names_are_in_no_part(root):
    raw_trees.miqd_det(folder_of(root, "miqd_det"))
    table = datasets.load_table("miqd_det", root=root)
    split = make_split(table, "official")
    lost = table[table.content == "000000000285"]
    assert len(lost) == 50 and set(lost.official_split) == {""}
    assert not set(lost.image) & set(split.image)
    assert len(split) == len(table) - 50


def test_lists_may_name_more_originals_than_are_here(root):
    cls(root, f"{FIRST}_fog_1.png,.9,.8")
    lists = "".join(f"ILSVRC2012_val_{k:08}.JPEG,shark,.8\n" for k in range(12, 22))
    header = "Image Name,Category,Quality Score\n"
    write(folder_of(root, "miqd_cls"), "deep/er/miqa_cls_train.csv", header + lists)
    table = datasets.load_table("miqd_cls", root=root)
    assert list(table.category) == ["shark"] and list(table.official_split) == ["train"]
    assert "9 of 10 images of miqa_cls_train.csv are in no label file" in table.attrs["notes"][0]


def test_without_the_lists_there_are_labels_and_no_parts(root):
    cls(root, f"{FIRST}_fog_1.png,.9,.8")
    table = datasets.load_table("miqd_cls", root=root)
    assert set(table.official_split) == {""} and "category" not in table
    assert table.attrs["notes"] == [
        f"miqa_cls_{name}.csv is not there; it would give category, official_split"
        for name in ("train", "val")
    ]
    with pytest.raises(ValueError, match="names no train and test images; use random80-<seed>"):
        make_split(table, "official")


# ---- images, the table on disk, the command line


def test_images_that_are_listed_and_absent_are_left_out_on_request(root):
    rows = raw_trees.miqd_det(folder_of(root, "miqd_det"))
    there = [rows[k] for k in (0, 7, 55)]
    paths = [path for row in there for path in (row.image, row.reference)]
    write_pictures(folder_of(root, "miqd_det"), dict.fromkeys(paths))
    for name in ("miqd_det", "miqd_ins"):
        raw_trees.WRITERS[name](folder_of(root, name))
        table = datasets.load_table(name, root=root, without_absent=True)
        assert list(table.image) == [f"data/raw/miqd/{row.image}" for row in there]
        note = f"{len(rows) - 3} of {len(rows)} images are no files here and left out"
        assert note in table.attrs["notes"][-1]
    with pytest.raises(FileNotFoundError, match="miqd_cls: miqa_cls/labels/.* is missing"):
        datasets.load_table("miqd_cls", root=root)


def test_a_saved_table_has_its_types_back(root):
    raw_trees.miqd_cls(folder_of(root, "miqd_cls"))
    table = datasets.load_table("miqd_cls", root=root)
    (root / "data/tables").mkdir()
    table.to_csv(root / "data/tables/miqd_cls.csv", index=False)
    saved = datasets.saved_table("miqd_cls", root=root)
    columns = ["background_level", "region", "category", "composite", "consistency", "accuracy"]
    pd.testing.assert_frame_equal(saved[columns], table[columns], check_dtype=False)
    assert saved.background_level.dtype == float
    assert set(saved.category) == {"great white shark, NA"}
    broken = table.assign(background_level="strong")
    broken.to_csv(root / "data/tables/miqd_cls.csv", index=False)
    with pytest.raises(ValueError, match="background_level of .* is strong, not a number"):
        datasets.saved_table("miqd_cls", root=root)


def test_pictures_of_one_folder_are_credited_to_their_set():
    folders = {"miqa_cls/images/a": "miqd_cls", "Deep/MIQA_det/images/a": "miqd_det"}
    folders |= {"miqa_cls/src_images": "miqd_cls", "miqa_det/src_images": "miqd_det"}
    folders |= {"else": "miqd_cls"}
    for folder, name in folders.items():
        assert datasets.set_of(f"data/raw/miqd/{folder}/b.png") == name
    assert "MIQD-2.5M for object detection" in datasets.credit(
        "data/raw/miqd/miqa_det/src_images/000000000139.jpg"
    )
    assert datasets.set_of("data/raw/flive/x/b.png") == "flive"


def test_levels_are_shown_of_whole_images(root):
    folder = folder_of(root, "miqd_cls")
    pairs = ("fg_stronger_fg2_bg1", "2", "bg_stronger_fg1_bg2", "1", "fg_stronger_fg3_bg2")
    names = [f"{FIRST}_fog_{pair}.png" for pair in pairs]
    cls(root, *(f"{name},.5,.5" for name in names))
    write_pictures(folder, [f"miqa_cls/images/{FIRST}/{name}" for name in names])
    table = datasets.load_table("miqd_cls", root=root)
    _, chosen = figures.distortion_levels(table, root=root)
    assert list(chosen.image.str.rpartition("/")[2]) == [names[k] for k in (3, 1, 4)]


def test_the_command_line_lists_tells_and_checks(root, monkeypatch, capsys):
    assert command(monkeypatch, "data", "get", "miqd_cls") == 1
    told = " ".join(capsys.readouterr().out.split())
    for words in (
        "by hand: Fetch",
        "about 458 GB",
        "https://huggingface.co/datasets/xiaoqi-wang/miqd-2.5m",
        "github.com/SYSU-Video/MIQA, data/dataset_splitting",
        "academic, non-commercial use; the photographs keep the rights of ImageNet and COCO",
        "arXiv:2508.19850",
        f"to: {root}/data/raw/miqd",
        "wanted: miqa_cls/labels/*_mmos.csv, and the images",
    ):
        assert words in told
    rows = raw_trees.miqd_cls(folder_of(root, "miqd_cls"))
    assert command(monkeypatch, "data", "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    here = {name: lines[name].rstrip().endswith("yes") for name in TASKS}
    assert here == {"miqd_cls": True, "miqd_det": False, "miqd_ins": False}
    write_pictures(folder_of(root, "miqd_cls"), [row.image for row in rows], size=(32, 32))
    problems = check("miqd_cls", root=root, processes=1)
    assert set(problems.problem) >= {"rows", "missing"}
    assert set(problems.image[problems.problem == "missing"]) == {
        f"data/raw/miqd/{row.reference}" for row in rows
    }
    out = capsys.readouterr().out
    assert out.startswith("150 images of 3 contents; labels 0.125 to 0.785, scale 0 to 1 MMOS")
