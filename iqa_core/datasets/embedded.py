"""What the embedded sets share: the images of rows of a committed table, made where they lack."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from PIL import Image

from ..files import replacing
from ..parallel import in_processes

CHUNK = 24  # images a task


def write_missing(
    rows: pd.DataFrame, make: Callable, *, made_by: str, root: Path, processes: int = -1
) -> int:
    """Write the images of rows that are not there yet, in parallel. Interrupted, it goes on where
    it stopped.

    make      (row, root) -> uint8 image; a function of a module
    made_by   a hash of all that makes images: where the stamp beside them tells another, they are
              removed first
    processes as joblib counts

    Returns the number made.
    """
    folder = (root / rows.image.iloc[0]).parent
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder, made_by)
    missing = rows[[not (root / image).exists() for image in rows.image]]
    calls = [
        (missing[start : start + CHUNK], make, root) for start in range(0, len(missing), CHUNK)
    ]
    bar = dict(desc="distort", unit=f"x{CHUNK}", disable=not calls)
    list(in_processes(_write_images, calls, processes=processes, **bar))
    return len(missing)


def _remove_stale(folder, made_by):
    stamp = folder / "made_by.txt"
    if stamp.exists() and stamp.read_text() == made_by:
        return
    for image in folder.glob("*.png"):
        image.unlink()
    stamp.write_text(made_by)


def _write_images(rows, make, root):
    for row in rows.itertuples(index=False):
        image = Image.fromarray(make(row, root))
        with replacing(root / row.image) as draft:
            image.save(draft, format="PNG", compress_level=0)


def read_labels(path: Path, script: str) -> pd.DataFrame:
    """A committed label table; FileNotFoundError telling what makes it."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path.name} of {path.parent.name} is missing; restore it from git or run {script}"
        )
    return pd.read_csv(path, comment="#")
