"""Data sets as tables: one row an image, the columns of the contract, higher labels are better."""

import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd

SETS = {"demo": "demo"}  # name -> module with `load(root) -> DataFrame`
LABEL_KINDS = ("mos", "pseudo_mos", "mmos")


def list_datasets() -> list[str]:
    """Names that `load_table` knows."""
    return sorted(SETS)


def load_table(name: str, *, root: Path = Path(".")) -> pd.DataFrame:
    """The table of a data set; image paths are relative to `root`, the project's folder.

    KeyError for an unknown name, FileNotFoundError where label files are absent, ValueError where they are damaged.
    """
    if name not in SETS:
        raise KeyError(f"no data set {name!r}; there are {', '.join(list_datasets())}")
    module = importlib.import_module(f"{__name__}.{SETS[name]}")
    return check_table(module.load(Path(root)), name)


def saved_table(name: str, *, root: Path = Path(".")) -> pd.DataFrame:
    """The table that notebook 01 wrote, data/tables/<name>.csv; errors as `load_table`."""
    path = Path(root) / f"data/tables/{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"data/tables/{name}.csv is missing; run notebook 01_prepare_data with data_set {name!r} first")
    return check_table(pd.read_csv(path), name)


def make_images(name: str, table: pd.DataFrame, *, root: Path) -> int:
    """Make the images of a set that makes its own (the demo), where they are missing; the number made, 0 for other sets."""
    module = importlib.import_module(f"{__name__}.{SETS[name]}") if name in SETS else None
    return module.make_images(table, root=Path(root)) if hasattr(module, "make_images") else 0


def check_table(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with its labels as numbers; ValueError naming the first row that is wrong."""
    if missing := [c for c in ("image", "label", "label_kind") if c not in table]:
        raise ValueError(f"{name} has no column {', '.join(missing)}; a table needs image, label and label_kind")
    for column in [c for c in table if re.fullmatch(r"label(_std|\d*)", c)]:
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = ~np.isfinite(numbers) & (table[column].notna() if column == "label_std" else True)
        if wrong.any():
            row = table[wrong].iloc[0]
            raise ValueError(f"{name}: {column} of {row.image} is {row[column]}, not a number; mend or drop its row")
        table = table.assign(**{column: numbers})
    if table.image.duplicated().any():
        raise ValueError(f"{name} lists {table.image[table.image.duplicated()].iloc[0]} twice; keep one row an image")
    if wrong := sorted(set(table.label_kind) - set(LABEL_KINDS)):
        raise ValueError(f"{name} has label_kind {', '.join(map(str, wrong))}; allowed are {', '.join(LABEL_KINDS)}")
    return table
