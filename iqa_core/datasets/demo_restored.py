"""The embedded set with degraded references: small photographs, degraded, and what restorers made
of that; pseudo-MOS labels as the demo's.

Every photograph in the same degradations, each with the same outputs, the untouched input among
them, so that the design is crossed (`scripts/make_restored.py`). The restorers' parameters were
searched on half of the photographs, so that each helps somewhere.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..distortions import restorers
from ..distortions.code import code_of
from ..files import file_hash
from . import embedded

PHOTOS = Path("data/demo")
FOLDER = PHOTOS / "restored"
TABLE = FOLDER / "labels.csv"
PARAMETERS = FOLDER / "parameters.csv"
SIZE = (256, 192)  # width and height, pixels
CACHE = "data/cache/demo_restored"
RECIPE = ["image", "content", "degradation", "restorer", "parameters"]  # what a row makes


def load(root: Path) -> pd.DataFrame:
    """The committed table; label 0..100, label2 unclipped, mdsi and haarpsi raw. `parameters`: the
    restorer's, JSON.
    """
    table = embedded.read_labels(root / TABLE, "scripts/make_restored.py")
    searched = pd.read_csv(root / PARAMETERS)[["degradation", "restorer", "parameters"]]
    table = table.merge(searched, how="left", on=["degradation", "restorer"])
    table["parameters"] = table.parameters.fillna("{}")
    none = {"level": np.nan, "distortion2": "", "level2": np.nan}
    return table.assign(label_std=np.nan, official_split="", **none)


def pristine(content: str, root: Path) -> np.ndarray:
    """A photograph of the demo at the size of this set, uint8 (192, 256, 3)."""
    with Image.open(root / PHOTOS / f"{content}.png") as photo:
        return np.asarray(photo.convert("RGB").resize(SIZE, Image.LANCZOS))


def make_image(row, root: Path) -> np.ndarray:
    """The image of one table row, or, without a degradation, the pristine one."""
    image = pristine(row.content, root)
    if not row.degradation:
        return image
    image = restorers.degraded(image, row.degradation)
    return restorers.restored(image, row.restorer, row.degradation, json.loads(row.parameters))


def make_images(table: pd.DataFrame, *, root: Path, processes: int = -1) -> int:
    """Write the images of rows, and those that they are held against, where they are not there
    yet; the number made. Otherwise as `embedded.write_missing`.
    """
    inputs = table[table.restorer != "untouched"].drop_duplicates(["content", "degradation"])
    inputs = inputs.assign(image=inputs.degraded, restorer="untouched", parameters="{}")
    photos = table.drop_duplicates("content")
    photos = photos.assign(image=photos.reference, degradation="", restorer="")
    rows = pd.concat([table, inputs, photos])[RECIPE].drop_duplicates("image")
    return embedded.write_missing(
        rows, make_image, made_by=made_by(root), root=root, processes=processes
    )


def made_by(root: Path) -> str:
    """A hash of the whole list's rows, of the photographs and of the code behind them; labels are
    not in it.
    """
    table = load(root)
    photos = [file_hash(root / PHOTOS / f"{name}.png") for name in sorted(table.content.unique())]
    code = code_of(make_image, *restorers.RESTORERS.values())
    parts = [table[RECIPE].to_csv(index=False), str(restorers.DEGRADATIONS), *photos, code]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
