"""Make data/demo/labels.csv, the committed label table of the demo set: python
scripts/make_demo_labels.py

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
from scipy.stats import rankdata
from ssimulacra2 import compute_ssimulacra2
from tqdm import tqdm

from iqa_core.datasets import demo
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
SINGLE = 3  # versions of a type with one distortion; a fourth has a second one


def versions() -> pd.DataFrame:
    """What is done to every photograph: columns distortion, level, distortion2, level2, 48 rows.

    The levels of a type's three single versions lie one in each third of its range (`LOWEST`, else
    1, to 5); where in the third differs from type to type, so that all levels together are spread
    evenly. Of the twelve double versions every type is the first of one and the second of another.
    """
    count = len(NAMES)
    rows = []
    for number, name in enumerate(NAMES):
        rows += [(name, level, "", np.nan) for level in single_levels(name, SINGLE)]
        second = (number + 5) % count
        level = _level(name, (7 * number % count + 0.5) / count)
        level2 = _level(NAMES[second], (11 * number % count + 0.5) / count)
        rows.append((name, level, NAMES[second], level2))
    return pd.DataFrame(rows, columns=["distortion", "level", "distortion2", "level2"])


def single_levels(name: str, number: int) -> list[float]:
    """So many levels of a type, one in each equal part of its range, at a place in the part that
    differs from type to type.
    """
    count = len(NAMES)
    place = (5 * NAMES.index(name) % count + 0.5) / count  # 5, 7, 11 share no factor with 12 types
    return [_level(name, (part + place) / number) for part in range(number)]


def _level(name, share):
    """The level at a share, 0..1, of a type's range."""
    lowest = LOWEST.get(name, 1)
    return round(lowest + (5 - lowest) * share, 3)


def recipes(photos: list[str]) -> pd.DataFrame:
    """The same 48 versions of each photograph of the demo, as `crossed`."""
    return crossed(versions(), photos, folder=demo.PHOTOS, cache="data/cache/demo")


def crossed(versions: pd.DataFrame, photos: list[str], *, folder: Path, cache: str) -> pd.DataFrame:
    """The same versions of each photograph of a folder: columns image, reference, content,
    distortion, level, distortion2, level2.
    """
    of_photos = []
    for photo in sorted(photos):
        content = Path(photo).stem
        rows = versions.copy()
        rows.insert(0, "image", [f"{cache}/{content}-{n:02d}.png" for n in rows.index])
        rows.insert(1, "reference", (folder / photo).as_posix())
        rows.insert(2, "content", content)
        of_photos.append(rows)
    return pd.concat(of_photos, ignore_index=True)


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
    write_labels(recipes(photos), ROOT / demo.TABLE, script="scripts/make_demo_labels.py")


def write_labels(table: pd.DataFrame, path: Path, *, script: str) -> None:
    """Make the images of recipes, measure them in parallel, and write the label table with a header
    line that tells the versions behind it.
    """
    chunks = [table[start : start + 12] for start in range(0, len(table), 12)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        table = table.join(pd.concat(tqdm(pool.map(raw_columns, chunks), total=len(chunks))))
    table.insert(1, "label", pseudo_mos(table.mdsi, table.haarpsi).round(3))
    table.insert(2, "label_kind", "pseudo_mos")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in MADE_WITH)
    with open(path, "w", newline="\n") as file:
        file.write(f"# made by {script} with {versions}\n")
        table.round({"mdsi": 6, "haarpsi": 6, "label2": 3}).to_csv(
            file, index=False, lineterminator="\n"
        )


if __name__ == "__main__":
    main()
