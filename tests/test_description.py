"""A user's own set.yaml, right and wrong."""

import pytest
import raw_trees
from raw_trees import folder_of

from iqa_core import datasets


def test_a_set_of_ones_own_is_fifteen_lines_and_no_python(tmp_path):
    text = """title: Our study of phone cameras
files: [{file: ratings.txt, delimiter: " ", columns: {image: 0, label: 1}}]
pattern: (?P<content>s\\d+)_(?P<distortion>[a-z]+)(?P<level>\\d)
images: ["photos/{image}.png"]
reference: clean/{content}.png
low: 0
high: 10
units: DMOS
higher_is_better: false
licence: CC0
citation: ourselves
"""
    folder = folder_of(tmp_path, "phones")
    raw_trees.write(folder, "set.yaml", text)
    raw_trees.write(folder, "ratings.txt", "s01_blur1 2.5\ns01_blur2 7\n")
    table = datasets.load_table("phones", root=tmp_path)
    assert list(table.image) == [
        "data/raw/phones/photos/s01_blur1.png",
        "data/raw/phones/photos/s01_blur2.png",
    ]
    assert (
        list(table.label) == [7.5, 3]
        and list(table.level) == [1, 2]
        and set(table.content) == {"s01"}
    )
    assert set(table.reference) == {"data/raw/phones/clean/s01.png"} and set(table.distortion) == {
        "blur"
    }
    assert datasets.describe("phones", root=tmp_path)["title"] == "Our study of phone cameras"
    assert "phones" not in datasets.list_datasets()


def test_direction_and_range_alone_are_said_beside_a_labels_csv(tmp_path):
    folder = folder_of(tmp_path, "mine")
    raw_trees.write(folder, "set.yaml", "low: 0\nhigh: 9\nhigher_is_better: false\n")
    raw_trees.write(folder, "labels.csv", "image,label\na.png,2\n")
    assert list(datasets.load_table("mine", root=tmp_path).label) == [7]


def test_images_alone_may_be_described(tmp_path):
    folder = folder_of(tmp_path, "mine")
    raw_trees.write(
        folder,
        "set.yaml",
        "title: ours\npattern: '(?P<content>s\\d)_(?P<distortion>[a-z]+)(?P<level>\\d)'\n",
    )
    raw_trees.write_pictures(folder, ["s1_fog1.png", "s1_fog2.png"])
    table = datasets.load_table("mine", root=tmp_path)
    assert list(table.level) == [1, 2] and set(table.content) == {"s1"} and table.label.isna().all()


def test_a_column_that_leads_out_of_the_folder_is_refused(tmp_path):
    folder = folder_of(tmp_path, "mine")
    raw_trees.write(folder, "set.yaml", "files: [{file: a.csv}]\nimages: ['{place}/{image}']\n")
    raw_trees.write(folder, "a.csv", "image,label,place\na.png,2,../../..\n")
    with pytest.raises(ValueError, match="mine: ../../../a.png lies outside data/raw/mine"):
        datasets.load_table("mine", root=tmp_path)


def test_a_label_may_be_a_mean_and_may_be_lacking(tmp_path):
    folder = folder_of(tmp_path, "mine")
    files = "files: [{file: l.csv, columns: {image: image}}]\n"
    raw_trees.write(folder, "set.yaml", f"{files}mean_of: [a, b]\ngaps: true\n")
    raw_trees.write(folder, "l.csv", "image,a,b\nx.png,1,4\ny.png,2,\nz.png,3,3\n")
    table = datasets.load_table("mine", root=tmp_path)
    assert list(table.label) == [2.5, 3] and list(table.a) == [1, 3] and list(table.b) == [4, 3]
    assert table.attrs["notes"] == ["1 of 3 rows are left out, they have no label: y.png"]
    assert table.attrs["left_out"] == ["data/raw/mine/y.png"]
    raw_trees.write(folder, "l.csv", "image,a,b,label\nx.png,1,4,2.5\ny.png,2,4,9\n")
    with pytest.raises(ValueError, match="the mean of a, b says that label of y.png is 3.0, not"):
        datasets.load_table("mine", root=tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        (
            "title: x\ncolums: {a: b}\n",
            KeyError,
            "set.yaml: no key colums. Allowed are low, high",
        ),
        (
            "files: [{file: a.csv, kolumns: {}}]\n",
            KeyError,
            "no key files.0.kolumns; did you mean 'columns'. Allowed are",
        ),
        ("low: three\n", ValueError, "low is 'three'; input should be a valid number"),
        ("files: a.csv\n", ValueError, "files is 'a.csv'; input should be a valid list"),
        ("- 1\n", ValueError, r"the file is \[1\]; input should be a valid dictionary"),
        (
            "title: {image}: x\n",
            ValueError,
            "(?s)is no YAML .*; put texts that hold a colon, a brace or a backslash",
        ),
        (
            "low: 0\nhigh: 9\nhigher_is_better: false\nlabels: {q: {low: 0}}\n",
            ValueError,
            "high, higher_is_better, low beside .labels",
        ),
        ("votes: mos\n", ValueError, "votes is mos, which is no label; there is label"),
        ("images: []\n", ValueError, "images is ..; list should have at least 1 item"),
        (
            "images: ['{image']\n",
            ValueError,
            "images.0 is '{image'; .* it is no text with columns in braces, as {image}.png",
        ),
        (
            "content: '{image:04d}'\n",
            ValueError,
            "content is '{image:04d}'; .* it is no text with columns in braces",
        ),
        (
            "reference: '{image.name}'\n",
            ValueError,
            "reference is '{image.name}'; .* it is no text with columns in braces",
        ),
        (
            "images: ['../{image}']\n",
            ValueError,
            "images.0 is '../{image}'; .* it leads out of the set's folder; link what",
        ),
        ("reference: /etc/{image}\n", ValueError, "it leads out of the set's folder"),
        ("folder: ..\\other\n", ValueError, "folder is .*it leads out of the set's folder"),
        (
            "get: {'C:/x.zip': 'https://x'}\n",
            ValueError,
            "get.C:/x.zip.* it leads out of the set's folder",
        ),
        ("files: [{file: ../a.csv}]\n", ValueError, "files.0.file is '../a.csv'; .* it leads out"),
        (
            "module: demo\n",
            KeyError,
            "set.yaml: no key module; only the sets of this package make themselves",
        ),
        (
            "leave_out: {image: '('}\n",
            ValueError,
            "leave_out.image is '\\('; .* it is no regular expression",
        ),
        (
            "files: [{file: a.csv}]\nleave_out: {cam: x}\n",
            KeyError,
            "mine has no column cam for leave_out; it has image, label",
        ),
        (
            "files: [{file: a.csv}]\nleave_out: {image: '.*'}\n",
            ValueError,
            "leave_out .* leaves none of 1 rows; narrow it",
        ),
        (
            "files: [{file: a.csv}]\ncodes: {level: {typ: {a: b}}}\n",
            KeyError,
            "no column typ for codes of level; it has image",
        ),
        ("pattern: '(?P<content'\n", ValueError, "it is no regular expression"),
        ("pattern: 'I(.*)'\n", ValueError, "it names no group"),
        (
            "files: [{file: a.csv}]\nhigher_is_better: false\n",
            ValueError,
            "higher_is_better: false needs low and high",
        ),
        (
            "pattern: '(?P<content>a)'\nfiles: [{file: a.csv, of: content}]\n",
            ValueError,
            "of is content, but a.csv has no [*] in its name, or `pattern` no such group; it has c",
        ),
        (
            "files: [{file: '*.csv', of: photo}]\n",
            ValueError,
            "of is photo, but [*].csv has no [*] in its name, or `pattern` no such group; it has n",
        ),
        (
            "files: [{file: a.csv}]\nmean_of: [sharp, true]\n",
            ValueError,
            "mean_of.1 is True; input should be a valid string",
        ),
        (
            "files: [{file: a.csv}]\nmean_of: [sharp, bright]\n",
            KeyError,
            "mine has no column sharp, bright for the mean label; it has image, label",
        ),
        (
            "gaps: true\nlabels: {q: {low: 0}}\n",
            ValueError,
            "gaps beside .labels. would be lost",
        ),
        (
            "files: [{file: a.csv}]\nimages: ['{nmae}.png']\n",
            KeyError,
            "mine has no column nmae for the path {nmae}.png",
        ),
        (
            "files: [{file: a.csv, columns: {image: 0, label: 7}}]\n",
            ValueError,
            "a.csv has no column 7; it has 0, 1",
        ),
        (
            "files: [{file: a.csv, columns: {image: 0}}]\n",
            FileNotFoundError,
            "a label file with it, which gives the label label",
        ),
    ],
)
def test_a_wrong_description_is_refused_naming_the_key(text, error, told, tmp_path):
    raw_trees.write(folder_of(tmp_path, "mine"), "set.yaml", text)
    raw_trees.write(folder_of(tmp_path, "mine"), "a.csv", "image,label\na.png,1\n")
    with pytest.raises(error, match=told):
        datasets.load_table("mine", root=tmp_path)
