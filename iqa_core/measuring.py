"""Full-reference measures over a table: which can be computed, and their values."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .full_reference import REGISTRY, absent, check_measures, fr_measure, unmeasurable
from .parallel import in_processes
from .pixels import image_sizes, read_image


def measurable(table: pd.DataFrame, names: Sequence[str], *, root: Path) -> list[str]:
    """Those of `names` that can be measured on a table: none where it does not name a reference in
    every row, and not those whose weights are absent here. What is left out is printed, with why.
    Images are not decoded, nothing is fetched.

    KeyError for an unknown measure; FileNotFoundError for a reference that is not there; ValueError
    naming the pairs that cannot be measured, of different sizes or too small.
    """
    check_measures(names)
    if not names:
        return []
    if "reference" not in table or table.reference.isna().any():
        print(f"no references, so not measured on this set: {', '.join(names)}", flush=True)
        return []
    names = _present(names)
    if not names:
        return []
    references = sorted({*table.reference})
    if not any((root / path).is_file() for path in references):
        raise FileNotFoundError(
            f"none of {len(references)} references is there, as {references[0]}: fetch them, or "
            f"leave `measures` empty for this set"
        )
    paths = sorted({*table.image, *table.reference})
    sizes = image_sizes([root / path for path in paths]).itertuples(index=False, name=None)
    faults = unmeasurable_pairs(table, names, dict(zip(paths, sizes, strict=True)))
    if faults:
        lines = [f"{image}: {why}" for image, why in faults[:3]]
        if len(faults) > 3:
            lines.append(f"and {len(faults) - 3} more")
        raise ValueError(
            f"{len(faults)} of {len(table)} images cannot be measured against their reference; "
            "drop their rows, or leave `measures` empty for this set:\n" + "\n".join(lines)
        )
    return list(names)


def _present(names):
    """The measures whose weights are here; of the others it is printed why and what to do."""
    reasons = {name: absent(name) for name in names}
    for name, why in reasons.items():
        if why:
            print(f"{name} is absent from the measures: {why}", flush=True)
    return [name for name in names if not reasons[name]]


def unmeasurable_pairs(
    table: pd.DataFrame, names: Sequence[str], sizes: dict[str, tuple[int, int]]
) -> list[tuple[str, str]]:
    """(image, why) of the rows whose image, against its reference, some measure of `names` cannot
    be computed on.

    sizes   path: width and height; rows of which one is absent are left out
    """
    faults = []
    for image, reference in zip(table.image, table.reference, strict=True):
        if image in sizes and reference in sizes:
            reasons = (unmeasurable(name, sizes[image], sizes[reference]) for name in names)
            why = next(filter(None, reasons), "")
            if why:
                faults.append((image, why.replace("its reference", f"its reference {reference}")))
    return faults


def measure(
    table: pd.DataFrame, names: Sequence[str], *, root: Path, processes: int = -1
) -> pd.DataFrame:
    """Full-reference measures of every row's image against its reference: columns image and
    `names`, higher is better.

    A measure of which lower is better comes with its sign changed; one whose weights are absent
    here is missing in every row, and it is printed why. `processes` as joblib counts them; each has
    its share of the cores. Errors as `measurable`, which also tells whether a table has references.
    """
    present = _present(names)
    if not present:
        return table[["image"]].reset_index(drop=True).reindex(columns=["image", *names])
    groups = [rows for _, rows in table.groupby("reference", sort=False)]
    chunks = [rows[start : start + 16] for rows in groups for start in range(0, len(rows), 16)]
    calls = [(rows, present, root) for rows in chunks]
    done = in_processes(_measure, calls, processes=processes, desc="measures", unit="x16")
    measured = table[["image"]].merge(pd.concat(done), on="image", validate="one_to_one")
    return measured.reindex(columns=["image", *names])


def _measure(rows, names, root):
    """The measures of some images with one reference."""
    reference = read_image(root / rows.reference.iloc[0])
    measured = []
    for image in rows.image:
        pixels = read_image(root / image)
        row = {"image": image}
        for name in names:
            sign = 1 if REGISTRY[name].higher_is_better else -1
            try:
                row[name] = sign * fr_measure(name, pixels, reference)
            except ValueError as error:
                raise ValueError(f"{image} against {rows.reference.iloc[0]}: {error}") from None
        measured.append(row)
    return pd.DataFrame(measured)
