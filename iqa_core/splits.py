"""Splits: which images train, validate and test. No content ever crosses; a split is a file, and its hash goes with results."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .files import file_hash

PARTS = ("train", "val", "test")


def rotation(table: pd.DataFrame, number: int, *, parts: int = 4, val: int = 4) -> pd.DataFrame:
    """Rotation `number` (1..parts) of a table by content: columns image, split.

    Contents stand in the order of the sha256 of their file names (of `reference`, else `content` itself) and are dealt into
    near-equal parts. Rotation k tests part k, validates on the `val` contents dealt next (the first of part k + 1) and
    trains on the rest; all rotations together test every content once. ValueError for a number outside 1..parts or too
    few contents.
    """
    if not 1 <= number <= parts:
        raise ValueError(f"rotation is {number}; it runs from 1 to {parts}")
    names = table.reference.map(lambda path: Path(path).name) if "reference" in table else table.content
    names = dict(zip(table.content, names, strict=True))
    order = sorted(names, key=lambda content: hashlib.sha256(names[content].encode()).hexdigest())
    if len(order) < parts + val + 1:
        raise ValueError(f"{len(order)} contents are too few for {parts} parts with {val} to validate on; add contents")
    dealt = [order[start::parts] for start in range(parts)]
    after = [content for step in range(1, parts) for content in dealt[(number - 1 + step) % parts]]
    place = dict.fromkeys(dealt[number - 1], "test") | dict.fromkeys(after[:val], "val") | dict.fromkeys(after[val:], "train")
    return pd.DataFrame({"image": table.image, "split": table.content.map(place)})


def save_split(split: pd.DataFrame, path: Path) -> str:
    """Write a split file and return its hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    split[["image", "split"]].to_csv(path, index=False, lineterminator="\n")
    return file_hash(path)


def load_split(path: Path, table: pd.DataFrame) -> pd.Series:
    """The part of every row of `table` (train, val, test; NaN where the split leaves an image out), by the split file.

    FileNotFoundError naming how to make it; ValueError if it names an image that the table lacks, another part than
    the three, an image twice, leaves a part empty, or divides a content.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"split {path} is missing; notebook 01_prepare_data writes it")
    split = pd.read_csv(path)
    if missing := [c for c in ("image", "split") if c not in split]:
        raise ValueError(f"{path} has no column {', '.join(missing)}; a split has image and split")
    _check(split, table, path)
    return table.image.map(split.set_index("image").split)


def _check(split: pd.DataFrame, table: pd.DataFrame, path: Path) -> None:
    strangers = sorted(set(split.image) - set(table.image))
    if strangers:
        raise ValueError(f"{path} names {_some(strangers)}, which the table lacks; remake the split or mend the table")
    if twice := sorted(split.image[split.image.duplicated()]):
        raise ValueError(f"{path} names {_some(twice)} more than once; keep one row an image")
    if wrong := sorted(set(split.split.astype(str)) - set(PARTS)):
        raise ValueError(f"{path} has parts {_some(wrong)}; allowed are {', '.join(PARTS)}")
    if empty := [part for part in PARTS if part not in set(split.split)]:
        raise ValueError(f"{path} has no {', '.join(empty)} images; give each part at least one")
    if "content" in table and (crossing := crossing_contents(table, table.image.map(split.set_index("image").split))):
        raise ValueError(f"{path} divides {_some(crossing)} between parts; keep all images of a content together")


def crossing_contents(table: pd.DataFrame, split: pd.Series) -> list[str]:
    """Contents that stand in more than one part."""
    parts = split.groupby(table.content.values).nunique()
    return sorted(parts.index[parts > 1])


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
