"""The demo photographs are whole, credited, and all of them listed."""

import csv
import hashlib
from pathlib import Path

import pytest
from PIL import Image

DEMO = Path(__file__).resolve().parent.parent / "data" / "demo"
with (DEMO / "photos.csv").open(newline="", encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))


def test_the_table_has_the_agreed_columns():
    assert list(ROWS[0]) == [
        "file",
        "title",
        "author",
        "licence",
        "licence_address",
        "source_address",
        "changes",
        "sha256",
    ]
    assert len(ROWS) >= 21, "the demo promises at least 21 contents"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_photo_is_what_its_row_says(row):
    path = DEMO / row["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (512, 384))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_photo_is_credited(row):
    for column in ["author", "licence", "licence_address", "source_address", "changes"]:
        assert row[column].strip(), f"{row['file']} has no {column}"
    assert row["file"] in (DEMO / "CREDITS.md").read_text(encoding="utf-8")


def test_every_png_has_exactly_one_row():
    assert sorted(row["file"] for row in ROWS) == sorted(path.name for path in DEMO.glob("*.png"))


def test_no_picture_is_there_twice():
    assert len({row["sha256"] for row in ROWS}) == len(ROWS)
