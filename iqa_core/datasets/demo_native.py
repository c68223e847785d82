"""The embedded set of several sizes: the demo's subjects in eight proportions and seven sizes, each
photograph in the same 24 distorted versions; pseudo-MOS labels by the demo's rule.

The photographs are cropped and reduced, never enlarged or stretched
(scripts/make_native_photos.py). Proportions and sizes vary apart from each other, and each
photograph has one of both, so that neither tells a version.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from . import demo, embedded

PHOTOS = Path("data/demo/native")
TABLE = PHOTOS / "labels.csv"
CACHE = "data/cache/demo_native"


def load(root: Path) -> pd.DataFrame:
    """The committed table: the same 24 versions of each photograph; label 0..100,
    label2 unclipped, mdsi and haarpsi raw.
    """
    table = embedded.read_labels(root / TABLE, "scripts/make_native_labels.py")
    return table.assign(label_std=np.nan, official_split="")


def make_images(table: pd.DataFrame, *, root: Path, processes: int = -1) -> int:
    """Write the images that are not there yet (`embedded.write_missing`); the number made.

    Images made otherwise, as `made_by` tells, are removed first.
    """
    return embedded.write_missing(
        table, demo.make_image, made_by=made_by(root), root=root, processes=processes
    )


def made_by(root: Path) -> str:
    """A hash of the whole list's distortions, of the photographs and of the code behind them;
    labels are not in it.
    """
    return demo.made_by_rows(load(root), root)
