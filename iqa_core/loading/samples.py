"""What a training or a test is given: a table, and the images that its rows name."""

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch.utils.data import Subset

from ..models import Contract, objective_of
from ..pixels import PixelCache
from .features import FrozenCrops
from .features import frozen_crops as crops_of_fixed_weights
from .views import COMPANIONS, resizing, shape_of

COLUMNS = {"image": "image", "pristine": "reference", "degraded": "degraded"}  # part: column


class Samples(NamedTuple):
    """Rows of a table with their images: `parts` maps a name to as many images as there are rows.

    Parts: `image`, always; `pristine` and `degraded`, for models that compare. Images are uint8
    (h, w, 3), as in `pixels.PixelCache`, or frozen crops float16 (k, n), frozen whole images
    (1, t, n) (`loading.frozen_crops`).
    The table has a column label and, optionally, content.
    """

    parts: dict[str, Sequence]
    table: pd.DataFrame

    def take(self, rows: Sequence[int]) -> "Samples":
        """Those rows, by their positions, in that order."""
        rows = [int(row) for row in rows]
        parts = {name: Subset(images, rows) for name, images in self.parts.items()}
        return Samples(parts, self.table.iloc[rows])


def open_samples(
    table: pd.DataFrame,
    model,
    *,
    root: Path,
    frozen_crops: int = 0,
) -> Samples:
    """The samples of a table as `model` reads them, decoded once and kept in data/cache of `root`.

    `frozen_crops`: not 0, of every image what the model's fixed weights make of so many crops.
    Parts that training alone needs are opened where the table has them in every row; `training.fit`
    refuses to go without.
    ValueError where the table lacks the column of a reference that the model compares with, or has
    gaps there, or where an image and its reference differ in size; other errors as
    `PixelCache.fill` and `loading.frozen_crops`.
    """
    folder = Path(root) / "data/cache"
    parts = {}
    for part in wanted_parts(model):
        of_prediction = part in ("image", model.contract.reference)
        if of_prediction or has_column(table, part):
            parts[part] = _images(table, part, model.contract, root=Path(root), folder=folder)
    check_sizes(Samples(parts, table))
    if frozen_crops:
        for part, images in parts.items():
            parts[part] = _frozen(model, part, images, crops=frozen_crops, folder=folder)
    return Samples(parts, table)


def _frozen(model, part, images, *, crops, folder):
    """Frozen crops of a part, computed once for each image that rows share."""
    if isinstance(images, Subset):
        kept = _frozen(model, part, images.dataset, crops=crops, folder=folder)
        return Subset(kept, images.indices)
    return crops_of_fixed_weights(model, images, crops=crops, folder=folder, part=part)


def check_sizes(samples: Samples) -> None:
    """ValueError naming an image and the one beside it, where they differ in size."""
    images = samples.parts["image"]
    for part, others in samples.parts.items():
        if part == "image":
            continue
        for row, (image, other) in enumerate(_names(samples.table, part)):
            if shape_of(others, row) != shape_of(images, row):
                theirs, ours = (
                    f"{width}x{height}"
                    for height, width in (shape_of(others, row), shape_of(images, row))
                )
                raise ValueError(
                    f"{image} (row {row}) is {ours}, its {part} image {other} {theirs}; they must "
                    f"be of one size: mend one of them, or drop the row"
                )


def _names(table, part):
    """(image, image beside it) of every row, empty where the table does not name them."""
    columns = [table.get(COLUMNS[name], pd.Series("", table.index)) for name in ("image", part)]
    return zip(*columns, strict=True)


def wanted_parts(model, objective=None) -> list[str]:
    """The parts that the samples of a model need: for its predictions and for its training."""
    objective = objective or objective_of(model)
    names = ["image", model.contract.reference, *objective.parts]
    return list(dict.fromkeys(name for name in names if name and name != "partner"))


def has_column(table: pd.DataFrame, part: str) -> bool:
    """Whether a table names the images of a part in every row."""
    column = COLUMNS[part]
    return column in table and table[column].notna().all() and (table[column] != "").all()


def fingerprint(images: Sequence) -> str:
    """A hash of what a part of samples holds: of a `PixelCache` by the checksums of its images, of
    frozen crops by their file, whose name tells backbone and images, of arrays by their bytes.
    """
    rows = range(len(images))
    while isinstance(images, Subset):
        rows = [images.indices[row] for row in rows]
        images = images.dataset
    if isinstance(images, FrozenCrops):
        held = f"{images.file.name} {list(rows)}"
    elif isinstance(images, PixelCache):
        held = str([(images.shape(row), images.checksum(row)) for row in rows])
    else:
        arrays = [np.ascontiguousarray(images[row]) for row in rows]
        held = str([(array.shape[:2], zlib.crc32(array)) for array in arrays])
    return f"{len(rows)} images, {hashlib.sha256(held.encode()).hexdigest()[:12]}"


def check_column(table: pd.DataFrame, part: str) -> str:
    """The column that names the images of a part; ValueError where a table lacks it or has gaps."""
    column = COLUMNS[part]
    if not has_column(table, part):
        raise ValueError(
            f"the model compares with the {part} image: the table needs a column `{column}`, "
            "filled in every row; choose a set that has it, or a model that judges one image"
        )
    return column


def _images(table, part, contract: Contract, *, root, folder):
    """The images of a part, one a row; a reference that several rows share is kept once."""
    column = check_column(table, part)
    names, rows = np.unique(table[column].to_numpy(str), return_inverse=True)
    if part not in COMPANIONS:
        names, rows = table[column], None
    kept = PixelCache([root / name for name in names], folder, **resizing(contract, part)).fill()
    return kept if rows is None else Subset(kept, rows.tolist())
