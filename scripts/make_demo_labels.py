"""Make data/demo/labels.csv, the committed label table of the demo set: python
scripts/make_demo_labels.py

Takes about 3 minutes on two cores. The header line carries the versions that made it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.metadata
import io
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import rankdata
from ssimulacra2 import compute_ssimulacra2
from tqdm import tqdm

from iqa_core.datasets import demo
from iqa_core.distortions import REGISTRY
from iqa_core.full_reference import fr_measure

ROOT = Path(__file__).resolve().parents[1]
MADE_WITH = ("piq", "ssimulacra2", "pillow", "scikit-image", "scipy", "numpy", "torch")
NAMES = (  # of its distortions; the labels hang on this list and its order
    "brighten",
    "color_saturation_2",
    "contrast",
    "darken",
    "gaussian_blur",
    "impulse_noise",
    "jpeg",
    "jpeg2000",
    "motion_blur",
    "pixelate",
    "quantization",
    "white_noise",
)
# level 1 of these (sigma .1, length 1) changes hardly a pixel
LOWEST = {"gaussian_blur": 2, "motion_blur": 2}
VERSIONS = 4  # of each distortion type; the last of them gets a second distortion


def recipes(photos: list[str]) -> pd.DataFrame:
    """What is done to each photograph: columns image, reference, content, distortion, level,
    distortion2, level2.

    The parameter is log-uniform between the type's lowest level (`LOWEST`, else 1) and level 5;
    seeded by the photograph's name.
    """
    rows = []
    for photo in sorted(photos):
        content = Path(photo).stem
        generator = np.random.default_rng(zlib.crc32(content.encode()))
        kinds = [(name, version) for name in NAMES for version in range(VERSIONS)]
        for number, (name, version) in enumerate(kinds):
            others = [other for other in NAMES if other != name]
            other = others[generator.integers(len(others))]
            first, second = _draw_level(name, generator), _draw_level(other, generator)
            image, reference = (
                f"data/cache/demo/{content}-{number:02d}.png",
                (demo.PHOTOS / photo).as_posix(),
            )
            then = (other, second) if version == VERSIONS - 1 else ("", np.nan)
            rows.append((image, reference, content, name, first, *then))
    return pd.DataFrame(
        rows,
        columns=["image", "reference", "content", "distortion", "level", "distortion2", "level2"],
    )


def _draw_level(name, generator):
    kind = REGISTRY[name]
    ends = sorted(np.log([kind.parameter(LOWEST.get(name, 1)), kind.parameter(5)]))
    return round(kind.level(np.exp(generator.uniform(*ends))), 3)


def pseudo_mos(mdsi: np.ndarray, haarpsi: np.ndarray) -> np.ndarray:
    """Mean of the normalised ranks of falling MDSI and rising HaarPSI over all rows given, 0..100,
    higher is better.
    """
    ranks = rankdata(-np.asarray(mdsi)) + rankdata(haarpsi)
    return 100 * (ranks / 2 - 1) / (len(ranks) - 1)


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
    table = recipes(photos)
    chunks = [table[start : start + 12] for start in range(0, len(table), 12)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        table = table.join(pd.concat(tqdm(pool.map(raw_columns, chunks), total=len(chunks))))
    table.insert(1, "label", pseudo_mos(table.mdsi, table.haarpsi).round(3))
    table.insert(2, "label_kind", "pseudo_mos")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in MADE_WITH)
    with open(ROOT / demo.TABLE, "w", newline="\n") as file:
        file.write(f"# made by scripts/make_demo_labels.py with {versions}\n")
        table.round({"mdsi": 6, "haarpsi": 6, "label2": 3}).to_csv(
            file, index=False, lineterminator="\n"
        )


if __name__ == "__main__":
    main()
