"""Variants beside measures that have no seeds, on the test images of several parts; questions, what
was run to answer them, and the answer; and what the papers report of the same variants.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from .cells import BLIND, LABELS, STATISTICS
from .variants import ablations, readable_ablations

REPORTED = Path(__file__).parent / "variants_reported.csv"


def with_measures(tested: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Predictions of variants, as for `ablations`, and values of measures as further variants: a
    measure has no seeds, so its values stand for each.

    measured   columns image and one a measure; a measure that knows some images alone is left out
    """
    parts = [tested]
    images = tested.image.unique()
    values = measured.set_index("image").loc[images]
    for name in values.columns[values.notna().all()]:
        for seed in tested.seed.unique():
            rows = {"image": images, "variant": name, "seed": seed, "networks": name}
            parts.append(pd.DataFrame({**rows, "predicted": values[name].to_numpy(float)}))
    return pd.concat(parts, ignore_index=True)


def on_parts(
    tested: pd.DataFrame,
    table: pd.DataFrame,
    part: pd.Series,
    images: dict[str, pd.Series],
    *,
    measures: tuple[str, ...] = (),
    labels=LABELS,
    inputs: str = "",
) -> pd.DataFrame:
    """`ablations` on the test images of several parts, a first column `tested on` naming them; the
    content-blind rule where it knows all versions of a part.

    images     name of the part -> its images
    measures   the variants of `tested` that have no seeds
    """
    found = []
    for name, some in images.items():
        rows = tested[tested.image.isin(some)]
        with warnings.catch_warnings():  # types that training never saw have no blind rule
            warnings.filterwarnings("ignore", ".* a version that no training row has")
            data = ablations(rows, table, part, labels=labels, inputs=inputs)
        data = data[(data.variant != BLIND) | (data.n == rows.image.nunique())]
        without = data.variant.isin(measures)
        data.loc[without, ["trainings", "seed_sd"]] = np.nan
        data = data[~without | data.seed.isna()]
        data.insert(0, "tested on", name)
        found.append(data)
    return pd.concat(found, ignore_index=True)


def readable_parts(data: pd.DataFrame, *, label: str = "label") -> pd.DataFrame:
    """The rows of `on_parts` under one label for people."""
    shown = []
    for name, rows in data[data.label == label].groupby("tested on", sort=False):
        of_part = readable_ablations(rows.drop(columns="tested on")).reset_index()
        of_part.insert(0, "tested on", name)
        shown.append(of_part.drop(columns="label"))
    return pd.concat(shown, ignore_index=True).set_index(["tested on", "variant"])


def beside_reported(shown: pd.DataFrame, model: str) -> pd.DataFrame:
    """A table of variants (index level `variant`) with a column of what the model's paper reports
    of the same variant, on its own data: the two do not compare but by their order.
    """
    reported = pd.read_csv(REPORTED, dtype=str, keep_default_na=False)
    of_model = reported[reported.model == model].set_index("variant").reported
    names = shown.index.get_level_values("variant")
    return shown.assign(reported=[of_model.get(name, "--") for name in names])


def reported_of(model: str) -> str:
    """What the reported figures of a model are of, and where they stand."""
    reported = pd.read_csv(REPORTED, dtype=str, keep_default_na=False)
    sources = reported[reported.model == model].source.drop_duplicates()
    return "; ".join(sources)


def answers(questions: list[dict], differences: pd.DataFrame) -> pd.DataFrame:
    """Questions with what was run and what it says, under the first label of `seed_differences`.

    questions   mappings: ask, variant, than, and caution, what the answer does not allow to say

    Returns columns question, run, trainings, answer (the difference with its interval, and the
    verdict), does not say, and n, unit, units. KeyError for a pair that was not compared.
    """
    first = differences[differences.label == differences.label.iloc[0]]
    known = first.set_index(["variant", "than"])
    rows = []
    for question in questions:
        pair = question["variant"], question["than"]
        if pair not in known.index:
            raise KeyError(f"{' - '.join(pair)} was not compared; add it to `compare`")
        found = known.loc[pair]
        value = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        row = {"question": question["ask"], "run": " - ".join(pair)}
        row |= {"trainings": found.trainings, "answer": f"{value}, {found.found}"}
        row |= {"does not say": question["caution"]}
        rows.append(row | {"n": found.n, "unit": found.unit, "units": found.units})
    return pd.DataFrame(rows)


def headline_of(data: pd.DataFrame) -> str:
    """The first of `STATISTICS` that a table has."""
    return next(name for name in STATISTICS if name in data)
