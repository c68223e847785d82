"""Make data/demo/labels.csv, the committed label table of the demo set: python scripts/make_demo_labels.py

Takes about 3 minutes on two cores. The header line carries the versions that made it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.metadata
import io
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from ssimulacra2 import compute_ssimulacra2
from tqdm import tqdm

from iqa_core.datasets import demo
from iqa_core.full_reference import fr_measure

ROOT = Path(__file__).resolve().parents[1]
MADE_WITH = ("piq", "ssimulacra2", "pillow", "scikit-image", "scipy", "numpy", "torch")


def raw_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """mdsi, haarpsi and label2 (SSIMULACRA2) of some recipes' images against their photographs."""
    return pd.DataFrame([_raw(row) for row in rows.itertuples(index=False)], index=rows.index)


def _raw(row):
    image, reference = demo.make_image(row, ROOT), np.asarray(Image.open(ROOT / row.reference))
    values = {name: fr_measure(name, image, reference) for name in ("mdsi", "haarpsi")}
    return values | {"label2": float(compute_ssimulacra2(_png(reference), _png(image)))}


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", compress_level=0)
    return file


def main() -> None:
    photos = pd.read_csv(ROOT / demo.PHOTOS / "photos.csv").file.tolist()
    table = demo.recipes(photos)
    chunks = [table[start : start + 12] for start in range(0, len(table), 12)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        table = table.join(pd.concat(tqdm(pool.map(raw_columns, chunks), total=len(chunks))))
    table.insert(1, "label", demo.pseudo_mos(table.mdsi, table.haarpsi).round(3))
    table.insert(2, "label_kind", "pseudo_mos")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in MADE_WITH)
    with open(ROOT / demo.TABLE, "w", newline="\n") as file:
        file.write(f"# made by scripts/make_demo_labels.py with {versions}\n")
        table.round({"mdsi": 6, "haarpsi": 6, "label2": 3}).to_csv(file, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
