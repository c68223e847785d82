"""Make data/demo/native/labels.csv, the committed label table of the embedded set of several sizes:
python scripts/make_native_labels.py

Takes about 3 minutes on two cores. The header line carries the versions that made it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from make_demo_labels import NAMES, ROOT, crossed, single_levels, write_labels

from iqa_core.datasets import demo_native

SINGLE = 2  # versions of a type: one in the lower half of its range, one in the upper


def versions() -> pd.DataFrame:
    """What is done to every photograph: columns distortion, level, distortion2, level2 (empty, as
    the demo has them), 24 rows.
    """
    rows = [(name, level) for name in NAMES for level in single_levels(name, SINGLE)]
    table = pd.DataFrame(rows, columns=["distortion", "level"])
    return table.assign(distortion2="", level2=np.nan)


def recipes(photos: list[str]) -> pd.DataFrame:
    """The same 24 versions of each photograph, a crossed design."""
    return crossed(versions(), photos, folder=demo_native.PHOTOS, cache=demo_native.CACHE)


def main() -> None:
    photos = pd.read_csv(ROOT / demo_native.PHOTOS / "photos.csv").file.tolist()
    table = ROOT / demo_native.TABLE
    write_labels(recipes(photos), table, script="scripts/make_native_labels.py")


if __name__ == "__main__":
    main()
