"""Write the section of docs/reproduction.md on distortions against people: python
scripts/order_against_humans.py

The 28 photographs of the demo under KADID-10k's 25 types x 5 levels, scored by the demo's
pseudo-label, beside the mean human label of every type and level. 5.8 minutes of CPU on two
processes.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import re
import zlib
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from make_demo_labels import pseudo_mos
from PIL import Image
from tqdm import tqdm

from iqa_core.datasets import demo
from iqa_core.distortions import LEVELS, distort
from iqa_core.full_reference import fr_measure
from iqa_core.stats import percentile_interval, srcc

ROOT = Path(__file__).resolve().parents[1]
HUMAN = ROOT / "tests/golden/kadid10k_cell_means.csv"
PAGE = ROOT / "docs/reproduction.md"
MARKS = "<!-- order against humans: begin -->", "<!-- order against humans: end -->"
DRAWS = 2000


def measured(photo: str, names: list[str]) -> pd.DataFrame:
    """mdsi and haarpsi of one photograph under every type and level."""
    with Image.open(ROOT / demo.PHOTOS / photo) as opened:
        image = np.asarray(opened.convert("RGB"))
    rows = []
    for name in names:
        for level in LEVELS:
            distorted = distort(image, name, level, zlib.crc32(photo.encode()))
            values = {
                measure: fr_measure(measure, distorted, image) for measure in ("mdsi", "haarpsi")
            }
            rows.append({"photo": photo, "distortion": name, "level": level} | values)
    return pd.DataFrame(rows)


def agreement(cells: pd.DataFrame, human: np.ndarray) -> tuple[float, float, float]:
    """SRCC of the mean over photographs (columns) with people over cells (rows), and its 95 %
    interval over photographs.
    """
    values, generator = cells.to_numpy(), np.random.default_rng(0)
    draws = generator.integers(0, values.shape[1], (DRAWS, values.shape[1]))
    samples = [srcc(values[:, draw].mean(axis=1), human) for draw in draws]
    return srcc(values.mean(axis=1), human), *percentile_interval(samples)


def disagreements(human: np.ndarray, ours: np.ndarray) -> str:
    """Pairs of levels of one type that people and the pseudo-label order differently; people's ties
    are left out.
    """
    pairs = combinations(range(len(human)), 2)
    return ", ".join(
        f"{a + 1}-{b + 1}" for a, b in pairs if (human[a] - human[b]) * (ours[a] - ours[b]) < 0
    )


def section(table: pd.DataFrame, human: pd.DataFrame) -> str:
    """Both tables, in Markdown."""
    keys = ["distortion", "level"]
    people = human.set_index(keys).human
    photos = table.photo.nunique()
    lines = [
        "| our label | SRCC over the 125 cells | 95 % interval | n |",
        "| --- | --- | --- | --- |",
    ]
    for column, shown in (
        ("label", "pseudo-MOS of the demo"),
        ("mdsi", "MDSI alone, sign turned"),
        ("haarpsi", "HaarPSI alone"),
    ):
        cells = table.pivot(index=keys, columns="photo", values=column).loc[people.index]
        value, low, high = agreement(-cells if column == "mdsi" else cells, people.to_numpy())
        lines.append(
            f"| {shown} | {value:.3f} | [{low:.3f}, {high:.3f}] | 125 cells, {photos} photographs |"
        )
    lines += [
        "",
        "| type | people, levels 1 to 5 (reported) | pseudo-MOS, levels 1 to 5 (measured) | levels "
        "in another order |",
        "| --- | --- | --- | --- |",
    ]
    means = table.groupby(keys).label.mean()
    for number, name in human[["number", "distortion"]].drop_duplicates().itertuples(index=False):
        theirs, ours = people[name].to_numpy(), means[name].to_numpy()
        shown = (
            " ".join(f"{value:.2f}" for value in theirs),
            " ".join(f"{value:.1f}" for value in ours),
        )
        lines.append(
            f"| {number} {name} | {shown[0]} | {shown[1]} | "
            f"{disagreements(theirs, ours) or 'none'} |"
        )
    return "\n".join(lines)


def main() -> None:
    human = pd.read_csv(HUMAN, comment="#")
    photos = pd.read_csv(ROOT / demo.PHOTOS / "photos.csv").file.tolist()
    names = human.distortion.drop_duplicates().tolist()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = pool.map(measured, photos, [names] * len(photos))
        table = pd.concat(tqdm(parts, total=len(photos), mininterval=2), ignore_index=True)
    table["label"] = pseudo_mos(table.mdsi, table.haarpsi)
    text = PAGE.read_text(encoding="utf-8")
    inside = f"{MARKS[0]}\n{section(table, human)}\n{MARKS[1]}"
    PAGE.write_text(
        re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: inside, text, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
