"""The embedded default: real photographs in the same 48 distorted versions each, pseudo-MOS labels.

The versions are made by a rule (scripts/make_demo_labels.py), a crossed design: numbers hold for
it, and what only looking can earn is defined (`stats.content_specific`).

No package holds photographs with human ratings, so the label is what two full-reference measures
agree on: the mean of the ranks of MDSI (Nafchi et al. 2016, 10.1109/ACCESS.2016.2604042) and
HaarPSI (Reisenhofer et al. 2018, 10.1016/j.image.2017.11.001), scaled to 0..100. `label2`,
SSIMULACRA2, is a second opinion under which every headline is shown again. Neither can know a fault
that is in the photograph already: it compares with the photograph.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..distortions import distort, source_code
from ..distortions.code import code_of
from ..files import file_hash
from . import embedded

PHOTOS = Path("data/demo")
TABLE = PHOTOS / "labels.csv"
RECIPE = ["image", "reference", "distortion", "level", "distortion2", "level2"]  # what a row makes


def load(root: Path) -> pd.DataFrame:
    """The committed table: the same 48 versions of each photograph; label 0..100,
    label2 unclipped, mdsi and haarpsi raw.
    """
    table = embedded.read_labels(root / TABLE, "scripts/make_demo_labels.py")
    return table.assign(label_std=np.nan, official_split="")


def make_image(row, root: Path) -> np.ndarray:
    """The distorted image of one table row, uint8 of its reference's shape (h, w, 3): first
    `distortion`, then `distortion2`.
    """
    with Image.open(root / row.reference) as photo:
        image = np.asarray(photo.convert("RGB"))
    # One seed for all: what an operator draws then hangs on type and level, as a version must.
    image = distort(image, row.distortion, row.level, seed=0)
    return distort(image, row.distortion2, row.level2, seed=0) if pd.notna(row.level2) else image


def make_images(table: pd.DataFrame, *, root: Path, processes: int = -1) -> int:
    """Write the images that are not there yet (`embedded.write_missing`); the number made.

    Images made otherwise, by another list of distortions, or by other code of those that are in the
    list, are removed first.
    """
    return embedded.write_missing(
        table, make_image, made_by=made_by(root), root=root, processes=processes
    )


def made_by(root: Path) -> str:
    """A hash of the whole list's distortions, of the photographs and of the code behind them;
    labels are not in it.
    """
    return made_by_rows(load(root), root)


def made_by_rows(table: pd.DataFrame, root: Path) -> str:
    """The same hash for another table with these columns."""
    photos = [file_hash(root / photo) for photo in sorted(table.reference.unique())]
    names = {*table.distortion, *table.distortion2.dropna()}
    rows = table[RECIPE].to_csv(index=False)
    return hashlib.sha256(
        "\n".join([rows, *photos, source_code(names), code_of(make_image)]).encode()
    ).hexdigest()
