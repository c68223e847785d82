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
    assert list(table.image) == ["data/raw/phones/photos/s01_blur1.png", "data/raw/phones/photos/s01_blur2.png"]
    assert list(table.label) == [7.5, 3] and list(table.level) == [1, 2] and set(table.content) == {"s01"}
    assert set(table.reference) == {"data/raw/phones/clean/s01.png"} and set(table.distortion) == {"blur"}
    assert datasets.describe("phones", root=tmp_path)["title"] == "Our study of phone cameras"
    assert "phones" not in datasets.list_datasets()


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("title: x\ncolums: {a: b}\n", KeyError, "set.yaml: no key colums; .*allowed are low, high"),
        (
            "files: [{file: a.csv, kolumns: {}}]\n",
            KeyError,
            "no key files.0.kolumns; did you mean columns. allowed are",
        ),
        ("low: three\n", ValueError, "low is 'three'; input should be a valid number"),
        ("files: a.csv\n", ValueError, "files is 'a.csv'; input should be a valid list"),
        ("- 1\n", ValueError, r"the file is \[1\]; input should be a valid dictionary"),
        ("title: {image}: x\n", ValueError, "(?s)is no YAML .*; put texts that hold a colon, a brace or a backslash"),
        ("pattern: '(?P<content'\n", ValueError, "it is no regular expression"),
        ("pattern: 'I(.*)'\n", ValueError, "it names no group"),
        ("files: [{file: a.csv}]\nhigher_is_better: false\n", ValueError, "higher_is_better: false needs low and high"),
        ("files: [{file: a.csv}]\nimages: ['{nmae}.png']\n", KeyError, "mine has no column nmae for the path {nmae}.png"),
        ("files: [{file: a.csv, columns: {image: 0, label: 7}}]\n", ValueError, "a.csv has no column 7; it has 0, 1"),
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
