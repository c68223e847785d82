"""Label files of every format: what programs write is read row for row, what is damaged is
named.
"""

import csv
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import raw_trees
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raw_trees import folder_of

from iqa_core import datasets
from iqa_core.datasets.readers import Files, composed


def own(root, text, **how):
    """The table of a user's labels.csv."""
    path = folder_of(root, "mine") / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return datasets.load_table("mine", root=root, **how)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_of_any_program(delimiter, encoding, tmp_path):
    rows = [
        "Image|LABEL|my note",
        'a b.jpg|3|"x, y; z"',
        "sub\\ä.jpg|4.5|",
        "./c.jpg|-1e1|ok",
        "||",
        "",
    ]
    table = own(tmp_path, "\r\n".join(rows).replace("|", delimiter).encode(encoding))
    assert list(table.image) == [
        f"data/raw/mine/{name}" for name in ("a b.jpg", "sub/ä.jpg", "c.jpg")
    ]
    assert list(table.label) == [3, 4.5, -10] and list(table["my note"]) == ["x, y; z", "", "ok"]
    assert list(table.content) == ["a b.jpg", "sub/ä.jpg", "c.jpg"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_lines_may_end_in_three_ways(end, tmp_path):
    assert list(own(tmp_path, end.join(["image,label", "a.png,1", 'b.png,"2"', ""])).label) == [
        1,
        2,
    ]


def test_csv_paths_may_begin_at_the_project_or_be_absolute_within_it(tmp_path):
    table = own(
        tmp_path,
        f"image,label\n./data/raw/mine/a.png,1\n{tmp_path}/data/raw/mine/b.png,2\nc:1.png,3\n",
    )
    assert list(table.image) == [
        "data/raw/mine/a.png",
        "data/raw/mine/b.png",
        "data/raw/mine/c:1.png",
    ]


def test_csv_of_a_linked_folder_may_hold_the_paths_there(tmp_path):
    raw_trees.write_pictures(tmp_path / "disk", ["a.png"])
    raw_trees.write(tmp_path / "disk", "labels.csv", f"image,label\n{tmp_path}/disk/a.png,1\n")
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/mine").symlink_to(tmp_path / "disk")
    assert list(datasets.load_table("mine", root=tmp_path).image) == ["data/raw/mine/a.png"]


def test_csv_means_the_files_at_its_paths_and_no_others(tmp_path):
    raw_trees.write_pictures(
        folder_of(tmp_path, "mine"), ["A.png", "thumbs/a.png", "thumbs/b.png", "thumbs/clean.png"]
    )
    table = own(tmp_path, "image,label,reference\na.png,1,clean.png\nb.png,2,\n")
    assert list(table.image) == ["data/raw/mine/A.png", "data/raw/mine/b.png"], (
        "b.png is missing, its thumbnail is another"
    )
    assert table.reference[0] == "data/raw/mine/clean.png"


def test_one_reference_written_in_two_ways_is_one_content(tmp_path):
    raw_trees.write_pictures(folder_of(tmp_path, "mine"), ["clean/x.png", "a.png", "b.png"])
    table = own(tmp_path, "image,label,reference\na.png,1,Clean/x.png\nb.png,2,./clean/x.png\n")
    assert set(table.reference) == {"data/raw/mine/clean/x.png"} and set(table.content) == {
        "clean/x.png"
    }


def test_csv_keeps_further_columns_numbers_as_numbers(tmp_path):
    text = (
        "image,label,iso,camera,label2,level2,distortion2\n"
        "a.png,1,100,X,5,2,jpeg\n"
        "b.png,2,,007,6,,\n"
    )
    table = own(tmp_path, text)
    assert table.iso.tolist()[0] == 100 and table.iso.isna().tolist() == [False, True]
    assert list(table.camera) == ["X", "007"] and list(table.label2) == [5, 6]
    assert table.level2.isna().tolist() == table.distortion2.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "labels.csv has no column image, label; it has none"),
        ("image,label\n", "holds no rows"),
        ("name,mos\na,1\n", "has no column image, label; it has name, mos"),
        ("image,label,Label\na,1,2\n", "two columns of one name among image, label, Label"),
        (
            "image,label\na.png,1\nb.png,2,3\n",
            r"row 2 \(b.png, 2, 3\) has 3 values, not 2; quote a value that holds the del",
        ),
        ('image,label\na.png,1\n"b.png,2\n', r"cannot be read \(unexpected end of data\)"),
        (
            "image,label\na.png,good\n",
            "mine: label of a.png is good, not a number; mend or drop its row$",
        ),
        (
            "image,label\na.png,\nb.png,\n",
            "label of a.png is empty, not a number; mend or drop its row .2 such rows",
        ),
        ("image,label\na.png,85%\n", "label of a.png is 85%, not a number"),
        ("image;label\na.png;3,5\n", "label of a.png is 3,5, not a number"),
        ("image,label\na.png,nan\n", "label of a.png is nan"),
        ("image,label\na.png,inf\n", "label of a.png is inf"),
        ("image,label,label_std\na.png,1,x\n", "label_std of .*a.png is x, not a number"),
        ("image,label,level\na.png,1,strong\n", "level of .*a.png is strong, not a number"),
        ("image,label\na.png,1\n,2\n", "mine: row 2 names no image"),
        (
            "image,label\na.png,1\na.png,2\n",
            "lists data/raw/mine/a.png twice; keep one row an image",
        ),
        ("image,label\na.png,1\n./a.png,2\n", "lists data/raw/mine/a.png twice"),
        (
            "image,label\n../a.png,1\n",
            "../a.png lies outside data/raw/mine; link its folder into it",
        ),
        ("image,label\n/etc/a.png,1\n", "/etc/a.png lies outside data/raw/mine"),
        ("image,label,reference\na.png,1,../b.png\n", "../b.png lies outside data/raw/mine"),
        ("image,label,label2\na.png,1,\nb.png,1,2\n", "label2 of .*a.png is empty, not a number"),
        ("image,label\nC:\\photos\\a.png,1\n", "C:/photos/a.png lies outside data/raw/mine"),
        (
            "image,label,split\na.png,1,dev\n",
            "a.png is put into dev; allowed are train, val, test or nothing",
        ),
        ("image,label,label_kind\na.png,1,dmos\n", "label_kind dmos; allowed are mos"),
        (b"image,label\n\xe4.png,1\n", "cannot be read .it is no UTF-8 text: save it as CSV UTF-8"),
        ("image,label\na.png,1\n".encode("utf-16"), "no UTF-8 text"),
    ],
)
def test_csv_refuses_what_is_wrong_naming_the_row(text, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        own(tmp_path, text)


def test_a_set_with_one_label_has_no_other(tmp_path):
    with pytest.raises(KeyError, match="mine has no label 'mos'; there is label"):
        own(tmp_path, "image,label\na.png,1\n", label="mos")


def test_one_reference_for_all_images(tmp_path):
    raw_trees.write(
        folder_of(tmp_path, "mine"), "set.yaml", "files: [{file: l.csv}]\nreference: clean.png\n"
    )
    raw_trees.write(folder_of(tmp_path, "mine"), "l.csv", "image,label\na.png,1\nb.png,2\n")
    table = datasets.load_table("mine", root=tmp_path)
    assert set(table.reference) == {"data/raw/mine/clean.png"} and set(table.content) == {
        "clean.png"
    }


# where images lie


def test_an_image_that_may_be_two_files_is_not_guessed(tmp_path):
    raw_trees.write_pictures(tmp_path, ["x/a.png", "y/a.png"])
    with pytest.raises(
        ValueError,
        match=(
            r"a.png may be x/a.png or y/a.png in .*; keep one of them, or tell its folder in "
            r"`images"
        ),
    ):
        Files(tmp_path).find("a.png")


def test_the_exact_letter_case_goes_first(tmp_path):
    for path in ("B/a.PNG", "b/a.png"):
        raw_trees.write(tmp_path, path, "")
    assert Files(tmp_path).find("a.png") == "b/a.png" and Files(tmp_path).find("a.PNG") == "B/a.PNG"


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["a.png", "t/a.png", "t/b.png"], ["a.png", None, None]),
        (["o/a.png", "o/b.png", "o/t/c.png", "o/t/a.png"], ["o/a.png", "o/b.png", None]),
        (["a.png", "t/a.png", "t/b.png", "t/c.png"], ["t/a.png", "t/b.png", "t/c.png"]),
        (["1/a.png", "2/b.png", "2/c.png"], ["1/a.png", "2/b.png", "2/c.png"]),  # parts of one set
    ],
)
def test_images_lie_under_one_folder_or_in_parts(there, found, tmp_path):
    for path in there:
        raw_trees.write(tmp_path, path, "")
    assert Files(tmp_path).locate(["a.png", "b.png", "c.png"]) == found


def test_parts_are_noted(tmp_path):
    folder = folder_of(tmp_path, "pipal")
    rows = raw_trees.pipal(folder)
    places = [f"Distortion_{k % 2 + 1}/{row.image.split('/')[1]}" for k, row in enumerate(rows)]
    raw_trees.write_pictures(folder, places)
    table = datasets.load_table("pipal", root=tmp_path)
    assert list(table.image) == [f"data/raw/pipal/{place}" for place in places]
    assert table.attrs["notes"] == ["images lie in 2 folders: Distortion_1, Distortion_2"]


def test_files_of_one_name_in_many_folders_take_no_quadratic_time(tmp_path, monkeypatch):
    """A quarter of a second; six, where each is compared with all."""
    monkeypatch.setattr(
        "os.walk", lambda folder, **_: [(str(folder / f"v{v}"), [], ["1.png"]) for v in range(5000)]
    )
    wanted, start = [f"v{v}/1.png" for v in range(5000)], time.process_time()
    assert Files(tmp_path).locate(wanted) == wanted and time.process_time() - start < 2


NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters='\\:/."'),
    min_size=1,
    max_size=12,
)
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@example(
    names=["a", "b"],
    label=1.0,
    delimiter=",",
    notes=["x\u2028y", "x\x85y", "x\x0by", "x\x0cy", "x\x1cy", *"678"],
)
@example(names=["a\u2028b", "c"], label=1.0, delimiter=",", notes=["x\u2029y", "x\ny", *"345678"])
@given(
    names=st.lists(
        NAMES.filter(lambda name: composed(name.strip()) == name),  # names are read composed
        min_size=1,
        max_size=8,
        unique=True,
    ),
    label=st.floats(-1e6, 1e6),
    delimiter=st.sampled_from(",;\t"),
    notes=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10), min_size=8, max_size=8
    ),
)
def test_whatever_csv_writes_is_read_row_for_row(names, label, delimiter, notes):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows(
        [
            ["image", "label", "note"],
            *([f"{n}.png", repr(label + k), notes[k]] for k, n in enumerate(names)),
        ]
    )
    with tempfile.TemporaryDirectory() as root:
        table = own(Path(root), text.getvalue())
    assert list(table.image) == [f"data/raw/mine/{name}.png" for name in names]
    np.testing.assert_array_equal(table.label, [label + k for k in range(len(names))])


@FUZZ
@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(st.sampled_from('ab1.,;"\n\t/\\ %-e\x00ä'), max_size=60).map(
            lambda tail: f"image,label\na.png,1\n{tail}".encode()
        ),
    )
)
def test_any_bytes_are_a_table_or_a_sentence(content):
    table, told = None, ""
    with tempfile.TemporaryDirectory() as root:
        try:
            table = own(Path(root), content)
        except ValueError as error:
            told = str(error).replace(root, "")
    if table is None:
        assert told.startswith(("mine", "/data/raw/mine/labels.csv")) and len(told) > 20
        return
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert len(table) == sum(any(cell.strip() for cell in row) for row in rows) - 1
    assert np.isfinite(table.label).all()


# formats


def json_set(root, data):
    raw_trees.write(folder_of(root, "mine"), "l.json", json.dumps(data))
    raw_trees.write(
        folder_of(root, "mine"),
        "set.yaml",
        "files: [{file: l.json, columns: {image: image, label: score}}]\n",
    )
    return datasets.load_table("mine", root=root)


def test_json_records(tmp_path):
    table = json_set(
        tmp_path,
        [
            {"image": "a.png", "score": 1.5, "flag": True},
            {"image": "b.png", "score": 2, "flag": None},
        ],
    )
    assert list(table.label) == [1.5, 2] and list(table.flag) == ["True", ""]
    raw_trees.write(folder_of(tmp_path, "mine"), "set.yaml", "files: [{file: l.json}]\n")
    raw_trees.write(folder_of(tmp_path, "mine"), "l.json", '{"a.png": 3, "b.png": 4.25}')
    assert list(datasets.load_table("mine", root=tmp_path).label) == [3, 4.25]


@pytest.mark.parametrize("data", [3, ["a.png"], [["a.png", 1]], [{"image": "a.png"}], [], None])
def test_json_of_another_shape_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"l.json (cannot be read|has no column|holds no rows)"):
        json_set(tmp_path, data)


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (-1,)])
def test_matrices_of_any_shape(shape, tmp_path):
    folder = folder_of(tmp_path, "mine")
    names = raw_trees.cells(["a.png", "b.png"], shape)
    raw_trees.write_matrix(folder, "l.mat", names=names, mos=np.array([1.25, 3]).reshape(shape))
    raw_trees.write(
        folder, "set.yaml", "files: [{file: l.mat, columns: {image: names, label: mos}}]\n"
    )
    table = datasets.load_table("mine", root=tmp_path)
    assert list(table.label) == [1.25, 3] and list(table.content) == ["a.png", "b.png"]
    raw_trees.write_matrix(
        folder, "l.mat", names=np.array(["a.png", "bc.png"]), mos=np.array([1.25, 3]).reshape(shape)
    )
    assert list(datasets.load_table("mine", root=tmp_path).content) == ["a.png", "bc.png"]


def test_decimal_commas_are_read_however_the_number_is_written(tmp_path):
    folder = raw_trees.folder_of(tmp_path, "mine")
    numbers = {"+4,25": 4.25, ",5": 0.5, "-,5": -0.5, "1,5E+02": 150, "25,5e-1": 2.55, "-3": -3}
    rows = [f"{k}.png;{number}" for k, number in enumerate(numbers)]
    (folder / "labels.csv").write_text("\n".join(["image;label", *rows]))
    (folder / "set.yaml").write_text("files: [{file: labels.csv, decimal: ','}]")
    assert list(datasets.load_table("mine", root=tmp_path).label) == [*numbers.values()]


def test_files_do_not_go_round_in_circles(tmp_path):
    raw_trees.write_pictures(tmp_path, ["a/b.png", ".hidden/c.png", "__MACOSX/._b.png"])
    (tmp_path / "a/again").symlink_to(tmp_path)
    assert Files(tmp_path).pictures() == ["a/b.png"]
