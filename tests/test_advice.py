"""What an error about a data set advises is done here, and then the set can be read."""

import json
import time

import numpy as np
import pytest
import raw_trees
from raw_trees import cells, folder_of

from iqa_core import datasets, measuring

ROWS = "image,label\na.png,3\nb.png,4\n"


def written(folder, files):
    """Writes files by what they hold: text, bytes, arrays (.mat), rows (.xlsx), else as JSON; None
    removes one, a picture is one by its name.
    """
    for name, holds in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if holds is None:
            path.unlink()
        elif name.endswith(".png"):
            raw_trees.write_pictures(folder, [name])
        elif name.endswith(".mat") and isinstance(holds, dict):
            raw_trees.write_matrix(folder, name, **holds)
        elif name.endswith(".xlsx"):
            raw_trees.write_workbook(folder, name, holds)
        elif isinstance(holds, bytes):
            path.write_bytes(holds)
        else:
            path.write_text(holds if isinstance(holds, str) else json.dumps(holds))


def described(**file):
    """A set.yaml with one label file."""
    return json.dumps({"files": [file]})


def labelled(**facts):
    """A set.yaml of labels.csv with further facts."""
    return json.dumps({"files": [{"file": "labels.csv"}], **facts})


NAMES = cells([f"{k}.png" for k in range(9)], (-1, 1))
RATINGS = np.arange(27.0).reshape(9, 3)
OURS = {"image": "image", "label": "label"}
MAT = {"image": "names", "label": "mos"}
# the header that MATLAB puts before an HDF5 file
HDF5 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n"

# files, what is said of them, and the files that its advice changes
CASES = {
    "decimal comma, .csv": (
        {"labels.csv": "image;label\na.png;3,5\nb.png;4\n"},
        r"a.png is 3,5, not a number .*as `files: \[{file: labels.csv, decimal: ','}\]`",
        {"set.yaml": described(file="labels.csv", decimal=",")},
    ),
    "decimal comma, .csv, not in the first wrong row": (
        {"labels.csv": "image;label\na.png;?\nb.png;4,5\n"},
        r"a.png is \?, not a number .for decimal commas.*; mend or drop its row .2 such rows",
        {
            "set.yaml": described(file="labels.csv", decimal=","),
            "labels.csv": "image;label\nb.png;4,5\n",
        },
    ),
    "a folder of pictures of kinds that are not read": (
        {"a.HEIC": "", "b.dng": "", "x/c.heic": ""},
        "no data set 'mine': .*mine holds no picture that can be read, and 3 pictures of kinds "
        "that are not read: a.HEIC, b.dng, x/c.heic; export them as PNG or TIFF",
        {"a.png": 1},
    ),
    "the same, described": (
        {"a.HEIC": "", "set.yaml": "title: Bees"},
        r"an image file is missing .1 pictures of kinds that are not read: a.HEIC. in .*; put "
        "pictures there, those of other kinds exported as PNG or TIFF",
        {"a.png": 1},
    ),
    "points between thousands": (
        {
            "labels.csv": "image;label\na.png;1.234,5\nb.png;4,5\n",
            "set.yaml": described(file="labels.csv", decimal=","),
        },
        "a.png is 1.234,5, not a number .marks between thousands: leave them out of all numbers",
        {"labels.csv": "image;label\na.png;1234,5\nb.png;4,5\n"},
    ),
    "commas between thousands": (
        {"labels.csv": "image;label\na.png;-1,234,567.5\nb.png;4.5\n"},
        "a.png is -1,234,567.5, not a number .marks between thousands: leave them out",
        {"labels.csv": "image;label\na.png;-1234567.5\nb.png;4.5\n"},
    ),
    **{
        f"decimal comma, {number}": (
            {"labels.csv": f"image;label\na.png;{number}\n"},
            "not a number .for decimal commas",
            {"set.yaml": described(file="labels.csv", decimal=",")},
        )
        for number in ("+4,25", "-,5", "1,5E+02", "15,5e-1")
    },
    "decimal comma, text": (
        {
            "l.txt": "a.png 3,5\n",
            "set.yaml": described(file="l.txt", delimiter=" ", columns={"image": 0, "label": 1}),
        },
        "is 3,5, not a number .for decimal commas: `decimal: ','`",
        {
            "set.yaml": described(
                file="l.txt", delimiter=" ", columns={"image": 0, "label": 1}, decimal=","
            )
        },
    ),
    "decimal comma, .xlsx": (
        {"l.xlsx": [["image", "label"], ["a.png", "3,5"]], "set.yaml": described(file="l.xlsx")},
        "is 3,5, not a number .for decimal commas: `decimal: ','`",
        {"set.yaml": described(file="l.xlsx", decimal=",")},
    ),
    "decimal comma, .json": (
        {"l.json": {"a.png": "3,5"}, "set.yaml": described(file="l.json")},
        "is 3,5, not a number .for decimal commas: `decimal: ','`",
        {"set.yaml": described(file="l.json", decimal=",")},
    ),
    "decimal comma, .mat": (
        {
            "l.mat": {"image": cells(["a.png"], (1, 1)), "label": cells(["3,5"], (1, 1))},
            "set.yaml": described(file="l.mat", columns=OURS),
        },
        "is 3,5, not a number .for decimal commas: `decimal: ','`",
        {"set.yaml": described(file="l.mat", columns=OURS, decimal=",")},
    ),
    "most labels outside the scale": (
        {
            "labels.csv": "image,label\n" + "".join(f"{k}.png,{k}\n" for k in range(9)),
            "set.yaml": labelled(low=0, high=0.5),
        },
        r"8 of 9 labels lie outside 0 to 0.5: .* All run from 0 to 8; low and high are the scale's",
        {"set.yaml": labelled(low=0, high=8)},
    ),
    "most labels outside the scale, as they are": (
        {
            "labels.csv": "image,label\n" + "".join(f"{k}.png,{k}\n" for k in range(9)),
            "set.yaml": labelled(low=0, high=0.5),
        },
        r"`outside: 0.89` lets as many lie beyond",
        {"set.yaml": labelled(low=0, high=0.5, outside=0.89)},
    ),
    "MATLAB 7.3": (
        {"l.mat": HDF5, "set.yaml": described(file="l.mat", columns=MAT)},
        r"HDF5, of MATLAB's version 7.3: load it there, or in Octave, and save\(.*, '-v7'\)\)$",
        {"l.mat": {"names": NAMES, "mos": np.arange(9.0)}},  # which is what -v7 writes
    ),
    "raters in .mat": (
        {
            "l.mat": {"names": NAMES, "mos": RATINGS},
            "set.yaml": described(file="l.mat", columns=MAT),
        },
        r"mos is 9 x 3; a column of it is mos\[0\], what raters agree on mean\(mos\), their SD",
        {"set.yaml": described(file="l.mat", columns={**MAT, "label": "mean(mos)"})},
    ),
    "arrays of several lengths": (
        {
            "l.mat": {"names": NAMES, "mos": np.arange(8.0), "mos9": np.arange(9.0)},
            "set.yaml": described(file="l.mat", columns=MAT),
        },
        "its columns differ in length: names 9, mos 8; name those that agree",
        {"set.yaml": described(file="l.mat", columns={**MAT, "label": "mos9"})},
    ),
    "an array that is not there": (
        {
            "l.mat": {"names": NAMES, "dmos": np.arange(9.0)},
            "set.yaml": described(file="l.mat", columns=MAT),
        },
        "it has no mos, but names, dmos: name those",
        {"set.yaml": described(file="l.mat", columns={**MAT, "label": "dmos"})},
    ),
    "a column too many": (
        {
            "l.mat": {"names": NAMES, "mos": RATINGS[:, :2]},
            "set.yaml": described(file="l.mat", columns={**MAT, "label": "mos[2]"}),
        },
        "mos has columns 0 to 1, not 2",
        {"set.yaml": described(file="l.mat", columns={**MAT, "label": "mos[1]"})},
    ),
    "a struct": (
        {
            "l.mat": {"names": NAMES, "mos": {"a": 1.0, "b": 2.0}},
            "set.yaml": described(file="l.mat", columns=MAT),
        },
        r"mos is a struct or a table of MATLAB: there, writetable\(struct2table\(mos\), 'labels",
        {"labels.csv": ROWS, "set.yaml": described(file="labels.csv")},
    ),
    "JSON of another shape": (
        {"l.json": ["a.png"], "set.yaml": described(file="l.json")},
        r'it is neither {"a.png": 3, ...} nor \[{"image": "a.png", "label": 3}, ...\]',
        {"l.json": [{"image": "a.png", "label": 3}]},
    ),
    "a sheet that is not there": (
        {
            "l.xlsx": [["image", "label"], ["a.png", 3]],
            "set.yaml": described(file="l.xlsx", sheet="mos"),
        },
        "it has no sheet 'mos'; `sheet` may be Sheet1, first",
        {"set.yaml": described(file="l.xlsx", sheet="Sheet1")},
    ),
    "another encoding": (
        {"labels.csv": "image,label\nä.png,3\n".encode("latin-1")},
        "it is no UTF-8 text: save it as CSV UTF-8",
        {"labels.csv": "image,label\nä.png,3\n".encode("utf-8-sig")},
    ),
    "names in the file": (
        {"labels.csv": "file,mos\na.png,3\n"},
        "no column image, label; it has file, mos; mend the names in the file, or in the `columns`",
        {"set.yaml": described(file="labels.csv", columns={"image": "file", "label": "mos"})},
    ),
    "two columns of one name": (
        {"labels.csv": "image,label,Label\na.png,3,4\n"},
        "two columns of one name among image, label, Label; rename one",
        {"labels.csv": "image,label,label2\na.png,3,4\n"},
    ),
    "a delimiter in a value": (
        {"labels.csv": "image,label\na,b.png,3\n"},
        "has 3 values, not 2; quote a value that holds the delimiter",
        {"labels.csv": 'image,label\n"a,b.png",3\n'},
    ),
    "a label that is none": (
        {"labels.csv": "image,label\na.png,3\nb.png,\n"},
        "b.png is empty, not a number; mend or drop its row",
        {"labels.csv": "image,label\na.png,3\n"},
    ),
    "an image twice": (
        {"labels.csv": ROWS + "a.png,5\n"},
        "lists data/raw/mine/a.png twice; keep one row an image",
        {"labels.csv": ROWS},
    ),
    "a row without an image": (
        {"labels.csv": ROWS + ",5\n"},
        "row 3 names no image; write its file name or drop the row",
        {"labels.csv": ROWS + "c.png,5\n"},
    ),
    "an unknown part": (
        {"labels.csv": "image,label,split\na.png,3,dev\n"},
        "put into dev; allowed are train, val, test or nothing",
        {"labels.csv": "image,label,split\na.png,3,val\n"},
    ),
    "an unknown kind": (
        {"labels.csv": "image,label,label_kind\na.png,3,dmos\n"},
        "label_kind dmos; allowed are mos, pseudo_mos, mmos",
        {"labels.csv": "image,label,label_kind\na.png,3,mos\n"},
    ),
    "turned round without ends": (
        {"labels.csv": ROWS, "set.yaml": labelled(higher_is_better=False)},
        "higher_is_better: false needs low and high",
        {"set.yaml": labelled(higher_is_better=False, low=1, high=5)},
    ),
    "two places of an image": (
        {
            "labels.csv": ROWS,
            "set.yaml": labelled(),
            "x/a.png": 1,
            "y/a.png": 1,
        },
        r"a.png may be x/a.png or y/a.png in .* tell its folder in `images: \[folder/{image}\]`",
        {"set.yaml": labelled(images=["x/{image}"])},
    ),
    "two places of a reference": (
        {
            "labels.csv": "image,label,reference\na.png,3,r.png\n",
            "set.yaml": labelled(),
            "a.png": 1,
            "x/r.png": 1,
            "y/r.png": 1,
        },
        "r.png may be x/r.png or y/r.png in .*, or in `reference` for one",
        {"set.yaml": labelled(reference="x/{reference}")},
    ),
    "images named otherwise": (
        {"labels.csv": "image,label\na,3\nb,4\n", "set.yaml": labelled(), "a.png": 1, "b.png": 1},
        "2 others are, as a.png, b.png: .*or `images` to be written as these are, with {image}?",
        {"set.yaml": labelled(images=["{image}.png"])},
    ),
    "a label file of another name": (
        {"scores.csv": ROWS, "set.yaml": labelled()},
        "there are scores.csv, set.yaml: write in set.yaml, under `files`, its name as it is",
        {"set.yaml": described(file="scores.csv")},
    ),
    "columns without the label": (
        {"labels.csv": "a.png,3\n", "set.yaml": described(file="labels.csv", columns={"image": 0})},
        "gives the label label, is missing .* in its `columns` the label's, as `label: MOS`",
        {"set.yaml": described(file="labels.csv", columns={"image": 0, "label": 1})},
    ),
    "a key of another name": (
        {"labels.csv": ROWS, "set.yaml": "titel: Bees\n"},
        "no key titel; did you mean 'title'?",
        {"set.yaml": "title: Bees\n"},
    ),
    "YAML with a colon": (
        {"labels.csv": ROWS, "set.yaml": "title: bees: wasps\n"},
        "(?s)is no YAML .*put texts that hold a colon, a brace or a backslash between single quo",
        {"set.yaml": "title: 'bees: wasps'\n"},
    ),
    "no label of its own beside `labels`": (
        {"labels.csv": ROWS, "set.yaml": json.dumps({"low": 1, "labels": {"label": {"high": 5}}})},
        "low beside `labels` would be lost; write it into each of them",
        {"set.yaml": json.dumps({"labels": {"label": {"high": 5, "low": 1}}})},
    ),
    "a code that is not told": (
        {
            "labels.csv": "image,label,t\na.png,3,1\n",
            "set.yaml": labelled(codes={"distortion": {"t": {"2": "blur"}}}),
        },
        "t of a.png is 1; known are 2",
        {"set.yaml": labelled(codes={"distortion": {"t": {"2": "blur", "1": "jpeg"}}})},
    ),
    "a column that a path wants": (
        {"labels.csv": ROWS, "set.yaml": labelled(images=["{file}"])},
        "mine has no column file for the path {file}; it has image, label",
        {"set.yaml": labelled(images=["{image}"])},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_error_advises_helps(case, tmp_path):
    files, told, change = CASES[case]
    folder = folder_of(tmp_path, "mine")
    written(folder, files)
    with pytest.raises((ValueError, KeyError, FileNotFoundError), match=told):
        datasets.load_table("mine", root=tmp_path)
    written(folder, change)
    table = datasets.load_table("mine", root=tmp_path)
    assert len(table) and (table.label.notna() | (table.label_kind == "")).all()


def test_what_lies_outside_is_linked_into_the_folder(tmp_path):
    folder = folder_of(tmp_path, "mine")
    raw_trees.write_pictures(tmp_path / "disk", ["a.png"])
    written(folder, {"labels.csv": "image,label\n../../../disk/a.png,3\n"})
    with pytest.raises(ValueError, match="lies outside .*; link its folder into it, write paths"):
        datasets.load_table("mine", root=tmp_path)
    (folder / "disk").symlink_to(tmp_path / "disk")
    written(folder, {"labels.csv": "image,label\ndisk/a.png,3\n"})
    (image,) = datasets.load_table("mine", root=tmp_path).image
    assert (tmp_path / image).is_file()


# what .mat files and patterns can hold


def multiply_distorted(folder):
    """Two parts, each with lists of names, numbers of the references, scores and ratings in
    matrices, and references of one name: the layout of LIVE's multiply distorted images.
    """
    for part, kind in (("Part 1", "blurjpeg"), ("Part 2", "blurnoise")):
        names = [f"{scene}_{kind}{level}.bmp" for scene in "ab" for level in (1, 2)]
        photos = ["b.bmp", "a.bmp"]
        lists = {
            "distimgs": cells(names, (-1, 1)),
            "refimgs": cells(photos, (-1, 1)),
            "ref4dist": np.array([[2], [2], [1], [1]], np.uint8),
        }
        ratings = np.array([[10.0, 20, 30, 40], [20, 20, 40, 60], [np.nan, 20, 50, 50]])
        raw_trees.write_matrix(folder, f"{part}/Imagelists.mat", **lists)
        scores = {"DMOSscores": np.array([[15.0, 20, 40, 50]]), "Zscores": ratings}
        raw_trees.write_matrix(folder, f"{part}/Scores.mat", **scores)
        raw_trees.write_pictures(folder, [f"{part}/{kind}/{name}" for name in (*names, *photos)])


def test_parts_matrices_raters_and_look_ups_of_mat_files_can_be_described(tmp_path):
    folder = folder_of(tmp_path, "md")
    multiply_distorted(folder)
    facts = {
        "files": [
            {
                "file": "Part */Imagelists.mat",
                "columns": {"image": "distimgs", "photo": "refimgs[ref4dist]"},
            },
            {
                "file": "Part */Scores.mat",
                "columns": {
                    "label": "DMOSscores",
                    "label_std": "std(Zscores)",
                    "mean": "mean(Zscores)",
                    "first": "Zscores[0]",
                },
            },
        ],
        "codes": {"place": {"folder": {"Part 1": "Part 1/blurjpeg", "Part 2": "Part 2/blurnoise"}}},
        "images": ["{place}/{image}"],
        "reference": "{place}/{photo}",
        "content": "{photo}",
        "low": 0,
        "high": 100,
        "higher_is_better": False,
    }
    written(folder, {"set.yaml": json.dumps(facts)})
    table = datasets.load_table("md", root=tmp_path)
    assert len(table) == 8 and all((tmp_path / path).is_file() for path in table.image)
    assert all((tmp_path / path).is_file() for path in table.reference)
    assert list(table.content) == ["a.bmp", "a.bmp", "b.bmp", "b.bmp"] * 2
    assert list(table.label) == [85, 80, 60, 50] * 2
    assert list(table["mean"]) == [15, 20, 40, 50] * 2
    np.testing.assert_allclose(table.label_std, [50**0.5, 0, 10, 10] * 2)
    assert table["first"].tolist() == [10, 20, 30, 40] * 2


@pytest.mark.parametrize("number", [0, 10, 2.5, np.nan])
def test_a_look_up_beyond_the_list_is_refused(number, tmp_path):
    folder = folder_of(tmp_path, "mine")
    numbers = np.array([*range(1, 9), number])
    arrays = {"names": NAMES, "k": numbers, "mos": np.arange(9.0)}
    columns = {"image": "names[k]", "label": "mos"}
    written(folder, {"l.mat": arrays, "set.yaml": described(file="l.mat", columns=columns)})
    with pytest.raises(ValueError, match=rf"k holds {numbers[-1]}, but names has rows 1 to 9"):
        datasets.load_table("mine", root=tmp_path)


def test_long_look_ups_are_quick(tmp_path):
    folder, count = folder_of(tmp_path, "mine"), 20_000
    arrays = {
        "names": cells([f"{k}.png" for k in range(count)], (-1, 1)),
        "k": np.arange(count, 0, -1, dtype=np.uint16).reshape(-1, 1),
        "mos": np.arange(count),
    }
    columns = {"image": "names[k]", "label": "mos"}
    written(folder, {"l.mat": arrays, "set.yaml": described(file="l.mat", columns=columns)})
    start = time.process_time()
    table = datasets.load_table("mine", root=tmp_path)
    assert time.process_time() - start < 10  # 28 by a search through all rows for each
    assert table.image.iloc[0] == f"data/raw/mine/{count - 1}.png"


def test_files_of_a_pattern_that_lie_deeper_are_named(tmp_path):
    folder = folder_of(tmp_path, "mine")
    rows = {
        f"{part}/s.csv": f"image,label\n{part}.png,3\n" for part in ("part1", "part2", "part3/x")
    }
    written(folder, {**rows, "set.yaml": described(file="part*/s.csv")})
    table = datasets.load_table("mine", root=tmp_path)
    assert list(table.content) == ["part1.png", "part2.png"]
    assert list(table.folder) == ["part1", "part2"]
    assert table.attrs["notes"] == ["deeper than others, not read as part*/s.csv: part3/x/s.csv"]


# sets that lack some images


def test_a_set_is_used_without_its_absent_images_where_that_is_chosen(tmp_path):
    folder = folder_of(tmp_path, "mine")
    written(folder, {"labels.csv": ROWS + "c.png,5\n", "b.png": 1})
    assert len(datasets.load_table("mine", root=tmp_path)) == 3
    table = datasets.load_table("mine", root=tmp_path, without_absent=True)
    assert list(table.image) == ["data/raw/mine/b.png"] and list(table.label) == [4]
    (note,) = table.attrs["notes"]
    assert note.startswith("2 of 3 images are no files here and left out: data/raw/mine/a.png")
    written(folder, {"b.png": None})
    with pytest.raises(FileNotFoundError, match="none of 3 images is there, as .*: fetch them"):
        datasets.load_table("mine", root=tmp_path, without_absent=True)


def referenced(folder, files):
    """Three images with references, of which only `files` are there."""
    rows = "image,label,reference\na.png,3,r.png\nb.png,4,s.png\nc.png,5,\n"
    written(folder, {"labels.csv": rows, **dict.fromkeys(files, 1)})


@pytest.mark.parametrize("absent", ["b.png", "s.png"])
def test_images_without_their_reference_are_left_out_as_absent_images_are(absent, tmp_path):
    folder = folder_of(tmp_path, "mine")
    referenced(folder, {"a.png", "b.png", "c.png", "r.png", "s.png"} - {absent})
    pairs = datasets.load_table("mine", root=tmp_path).iloc[:2]
    told = rf"(?s)1 of 4 images are missing.*`--set without_absent=true`.*{absent}"
    with pytest.raises(FileNotFoundError, match=told):
        measuring.measurable(pairs, ["psnr"], root=tmp_path)
    table = datasets.load_table("mine", root=tmp_path, without_absent=True)
    assert list(table.image) == ["data/raw/mine/a.png", "data/raw/mine/c.png"]
    (note,) = table.attrs["notes"]
    assert note.startswith("1 of 3 images") and note.endswith(f": data/raw/mine/{absent}")
    assert measuring.measurable(table.iloc[:1], ["psnr"], root=tmp_path) == ["psnr"]


def test_of_a_set_without_its_references_all_images_are_kept_and_none_is_measured(tmp_path):
    folder = folder_of(tmp_path, "mine")
    referenced(folder, ["a.png", "b.png"])
    table = datasets.load_table("mine", root=tmp_path, without_absent=True)
    assert list(table.image) == ["data/raw/mine/a.png", "data/raw/mine/b.png"]
    with pytest.raises(FileNotFoundError, match="none of 2 references .* leave `measures` empty"):
        measuring.measurable(table, ["psnr"], root=tmp_path)
    assert measuring.measurable(table, [], root=tmp_path) == []
