"""Make data/demo/restored: the restorers' parameters, searched on half of the photographs, and the
label table of the embedded set with degraded references: python scripts/make_restored.py

Takes about 8 minutes on two cores. The header line carries the versions that made it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.metadata
import itertools
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from make_demo_labels import MADE_WITH, _png, pseudo_mos
from ssimulacra2 import compute_ssimulacra2
from tqdm import tqdm

from iqa_core.datasets import demo_restored
from iqa_core.distortions import restorers
from iqa_core.full_reference import fr_measure

ROOT = Path(__file__).resolve().parents[1]
GRIDS = {  # of parameters that are tried
    "nlm": {"strength": [0.015, 0.03, 0.06, 0.1, 0.16]},
    "bilateral": {"colour": [0.03, 0.06, 0.12, 0.25], "reach": [1.0, 2.0]},
    "tv": {"weight": [0.01, 0.025, 0.05, 0.1, 0.2]},
    "wiener": {"sigma": [0.5, 0.9, 1.4, 2.2], "balance": [0.003, 0.03, 0.3]},
    "richardson_lucy": {"sigma": [0.5, 0.9, 1.4, 2.2], "iterations": [4, 12]},
    "unsharp": {"radius": [0.7, 1.5, 3.0], "amount": [0.3, 0.7, 1.5]},
}


def contents() -> list[str]:
    """The photographs, sorted; every second one, from the first, is searched on."""
    return sorted(path.stem for path in (ROOT / demo_restored.PHOTOS).glob("*.png"))


def combinations(restorer: str) -> list[dict]:
    """Every set of parameters of a restorer's grid."""
    grid = GRIDS[restorer]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def quality(image: np.ndarray, reference: np.ndarray) -> float:
    """HaarPSI less MDSI: what the label ranks."""
    return fr_measure("haarpsi", image, reference) - fr_measure("mdsi", image, reference)


def tried(content: str) -> list[dict]:
    """Every restorer with every set of parameters on every degradation of a photograph: its quality
    and that of its input.
    """
    photo, rows = demo_restored.pristine(content, ROOT), []
    for degradation in restorers.DEGRADATIONS:
        image = restorers.degraded(photo, degradation)
        before = quality(image, photo)
        for restorer in restorers.restorers_of(degradation)[1:]:
            for parameters in combinations(restorer) if restorer in GRIDS else [{}]:
                after = quality(restorers.restored(image, restorer, degradation, parameters), photo)
                row = {"degradation": degradation, "restorer": restorer}
                row |= {"parameters": json.dumps(parameters), "gain": after - before}
                rows.append(row | {"content": content})
    return rows


def search(pool) -> pd.DataFrame:
    """A row a degradation and restorer: its best parameters, the mean gain over its input, and the
    share of the photographs searched on that it improves.
    """
    searched = contents()[::2]
    rows = [row for rows in tqdm(pool.map(tried, searched), total=len(searched)) for row in rows]
    keys = ["degradation", "restorer"]
    gains = pd.DataFrame(rows).groupby([*keys, "parameters"], sort=False).gain
    found = gains.agg(gain="mean", improves=lambda values: (values > 0).mean()).reset_index()
    best = found.loc[found.groupby(keys, sort=False).gain.idxmax()]
    return best[[*keys, "parameters", "gain", "improves"]].round(4)


def recipes(searched: pd.DataFrame) -> pd.DataFrame:
    """The rows of the set without labels."""
    rows = []
    parameters = searched.set_index(["degradation", "restorer"]).parameters.to_dict()
    for content, degradation in itertools.product(contents(), restorers.DEGRADATIONS):
        for restorer in restorers.restorers_of(degradation):
            stem = f"{demo_restored.CACHE}/{content}"
            row = {"image": f"{stem}-{degradation}-{restorer}.png", "reference": f"{stem}.png"}
            row |= {"degraded": f"{stem}-{degradation}-untouched.png", "content": content}
            row |= {"distortion": f"{degradation}, {restorer}", "degradation": degradation}
            given = parameters.get((degradation, restorer), "{}")
            rows.append(row | {"restorer": restorer, "parameters": given})
    return pd.DataFrame(rows)


def raw_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """mdsi, haarpsi and label2 (SSIMULACRA2) of some rows' images against their photographs."""
    found = []
    for row in rows.itertuples(index=False):
        image = demo_restored.make_image(row, ROOT)
        reference = demo_restored.pristine(row.content, ROOT)
        values = {name: fr_measure(name, image, reference) for name in ("mdsi", "haarpsi")}
        label2 = compute_ssimulacra2(_png(reference), _png(image))
        found.append(values | {"label2": float(label2)})
    return pd.DataFrame(found, index=rows.index)


def main() -> None:
    (ROOT / demo_restored.FOLDER).mkdir(exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        searched = search(pool)
        searched.to_csv(ROOT / demo_restored.PARAMETERS, index=False, lineterminator="\n")
        table = recipes(searched)
        chunks = [table[start : start + 30] for start in range(0, len(table), 30)]
        table = table.join(pd.concat(tqdm(pool.map(raw_columns, chunks), total=len(chunks))))
    table.insert(1, "label", pseudo_mos(table.mdsi.round(6), table.haarpsi.round(6)).round(3))
    table.insert(2, "label_kind", "pseudo_mos")
    table = table.drop(columns="parameters").round({"mdsi": 6, "haarpsi": 6, "label2": 3})
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in MADE_WITH)
    with open(ROOT / demo_restored.TABLE, "w", newline="\n") as file:
        file.write(f"# made by scripts/make_restored.py with {versions}\n")
        table.to_csv(file, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
