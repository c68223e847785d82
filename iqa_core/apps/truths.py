"""What is truly in photographs: classes from a CSV file, objects from COCO's annotations."""

import contextlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from iqa_core.detections import Found


def read_truths(path: Path, task: str, references: Iterable[str]) -> dict[str, object]:
    """What is there in each photograph that the file tells of: reference -> a class from 0 for cls,
    else a `Found` with masks.

    cls         a CSV file with columns reference (or content, or image) and true_class; a
                photograph is found by its path, file name or stem
    det, ins    COCO's instances_*.json; by file name or stem

    FileNotFoundError for no such file; ValueError for columns that lack, and where not a single
    photograph is told of.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; truth is a CSV of classes, or COCO's JSON")
    known = _classes(path) if task == "cls" else _objects(path, masked=task == "ins")
    truths, taken = {}, {}
    for reference in references:
        for name in (reference, Path(reference).name, Path(reference).stem):
            if name in known:
                if name in taken:
                    raise ValueError(
                        f"{path}: {name} is the name of {taken[name]} and of {reference}; write "
                        "whole paths"
                    )
                truths[reference] = known[name]
                taken[name] = reference
                break
    if not truths:
        some = ", ".join(list(known)[:3])
        raise ValueError(f"{path} tells of none of the photographs; it has {some}")
    return truths


def _classes(path):
    data = pd.read_csv(path, dtype=str)
    names = [column for column in ("reference", "content", "image") if column in data]
    if not names or "true_class" not in data:
        raise ValueError(
            f"{path} has the columns {', '.join(data)}; it needs reference and true_class"
        )
    data = data.dropna(subset=["true_class"])
    twice = data[names[0]][data[names[0]].duplicated()]
    if len(twice):
        raise ValueError(f"{path} tells of {twice.iloc[0]} twice; one row a photograph")
    wrong = data.true_class[~data.true_class.str.fullmatch(r"\d+")]
    if len(wrong):
        raise ValueError(f"{path}: true_class is {wrong.iloc[0]!r}; classes are numbers from 0")
    return dict(zip(data[names[0]], data.true_class.astype(int), strict=True))


def _objects(path, masked):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        annotations = COCO(str(path))
    known = {}
    for number, image in annotations.imgs.items():
        size = (image["height"], image["width"])
        rows = annotations.loadAnns(annotations.getAnnIds(imgIds=[number]))
        if masked and not all(row.get("segmentation") for row in rows):
            raise ValueError(f"{path}: {image['file_name']} has objects without a mask")
        found = _found(annotations, rows, size)
        known[image["file_name"]] = known[Path(image["file_name"]).stem] = found
    return known


def _found(annotations, rows, size):
    boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Found(
        boxes,
        np.array([row["category_id"] for row in rows], int),
        np.ones(len(rows)),
        tuple(annotations.annToRLE(row) for row in rows if row.get("segmentation")),
        np.array([bool(row.get("iscrowd")) for row in rows], bool),
        size,
    )
