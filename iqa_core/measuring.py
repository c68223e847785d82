"""Full-reference measures over a table: which can be computed, and their values."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .full_reference import REGISTRY, check_measures, fr_measure
from .parallel import in_processes
from .pixels import image_size, read_image


def measurable(table: pd.DataFrame, names: Sequence[str], *, root: Path) -> list[str]:
    """Those of `names` that can be measured on a table: all; or none, which is printed, where it
    does not name a reference in every row. Images are not decoded.

    KeyError for an unknown measure; FileNotFoundError for a reference that is not there; ValueError
    for an image and a reference of different sizes.
    """
    check_measures(names)
    if not names:
        return []
    if "reference" not in table or table.reference.isna().any():
        print(f"no references, so not measured on this set: {', '.join(names)}", flush=True)
        return []
    sizes = {path: image_size(root / path) for path in {*table.image, *table.reference}}
    for row in table.itertuples():
        if sizes[row.image] != sizes[row.reference]:
            ours, theirs = ("x".join(map(str, sizes[path])) for path in (row.image, row.reference))
            raise ValueError(
                f"{row.image} is {ours}, its reference {row.reference} {theirs}: full-reference "
                "measures need one size; leave `measures` empty for this set"
            )
    return list(names)


def measure(
    table: pd.DataFrame, names: Sequence[str], *, root: Path, processes: int = -1
) -> pd.DataFrame:
    """Full-reference measures of every row's image against its reference: columns image and
    `names`, higher is better.

    A measure of which lower is better comes with its sign changed. `processes` as joblib counts
    them; each has its share of the cores. Errors as `measurable`, which also tells whether a table
    has references.
    """
    if not names:
        return table[["image"]].reset_index(drop=True)
    groups = [rows for _, rows in table.groupby("reference", sort=False)]
    chunks = [rows[start : start + 16] for rows in groups for start in range(0, len(rows), 16)]
    calls = [(rows, names, root) for rows in chunks]
    done = in_processes(_measure, calls, processes=processes, desc="measures", unit="x16")
    return table[["image"]].merge(pd.concat(done), on="image", validate="one_to_one")


def _measure(rows, names, root):
    """The measures of some images with one reference."""
    reference = read_image(root / rows.reference.iloc[0])
    measured = []
    for image in rows.image:
        pixels = read_image(root / image)
        row = {"image": image}
        for name in names:
            sign = 1 if REGISTRY[name].higher_is_better else -1
            row[name] = sign * fr_measure(name, pixels, reference)
        measured.append(row)
    return pd.DataFrame(measured)
