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
from ..files import file_hash, replacing
from ..parallel import in_processes

PHOTOS = Path("data/demo")
TABLE = PHOTOS / "labels.csv"
RECIPE = ["image", "reference", "distortion", "level", "distortion2", "level2"]  # what a row makes
CHUNK = 24  # images a task


def load(root: Path) -> pd.DataFrame:
    """The committed table: the same 48 versions of each photograph; label 0..100,
    label2 unclipped, mdsi and haarpsi raw.
    """
    path = root / TABLE
    if not path.exists():
        raise FileNotFoundError(
            f"{TABLE} is missing; restore it from git or run scripts/make_demo_labels.py"
        )
    return pd.read_csv(path, comment="#").assign(label_std=np.nan, official_split="")


def make_image(row, root: Path) -> np.ndarray:
    """The distorted image of one table row, uint8 (384, 512, 3): first `distortion`, then
    `distortion2`.
    """
    with Image.open(root / row.reference) as photo:
        image = np.asarray(photo.convert("RGB"))
    # One seed for all: what an operator draws then hangs on type and level, as a version must.
    image = distort(image, row.distortion, row.level, seed=0)
    return distort(image, row.distortion2, row.level2, seed=0) if pd.notna(row.level2) else image


def make_images(table: pd.DataFrame, *, root: Path, processes: int = -1) -> int:
    """Write the images that are not there yet, in parallel. Interrupted, it goes on where it
    stopped.

    Images made otherwise, as a stamp beside them tells, are removed first: by another list of
    distortions, or by other code of those that are in the list.
    `processes` as joblib counts.

    Returns the number made.
    """
    folder = (root / table.image.iloc[0]).parent
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder, made_by=made_by(root))
    missing = table[[not (root / image).exists() for image in table.image]]
    calls = [(missing[start : start + CHUNK], root) for start in range(0, len(missing), CHUNK)]
    bar = dict(desc="distort", unit=f"x{CHUNK}", disable=not calls)
    list(in_processes(_write_images, calls, processes=processes, **bar))
    return len(missing)


def _remove_stale(folder, *, made_by):
    stamp = folder / "made_by.txt"
    if stamp.exists() and stamp.read_text() == made_by:
        return
    for image in folder.glob("*.png"):
        image.unlink()
    stamp.write_text(made_by)


def made_by(root: Path) -> str:
    """A hash of the whole list's distortions, of the photographs and of the code behind them;
    labels are not in it.
    """
    table = load(root)
    photos = [file_hash(root / photo) for photo in sorted(table.reference.unique())]
    names = {*table.distortion, *table.distortion2.dropna()}
    rows = table[RECIPE].to_csv(index=False)
    return hashlib.sha256(
        "\n".join([rows, *photos, source_code(names), code_of(make_image)]).encode()
    ).hexdigest()


def _write_images(rows, root):
    for row in rows.itertuples(index=False):
        image = Image.fromarray(make_image(row, root))
        with replacing(root / row.image) as draft:
            image.save(draft, format="PNG", compress_level=0)
