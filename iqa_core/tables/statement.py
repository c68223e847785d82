"""What the numbers of a table are of, said with every table that a notebook shows or writes: how
many images, the unit of resampling, split, seeds, crops.
"""

from pathlib import Path

import pandas as pd

STATED = ("n", "unit", "units", "split", "seeds", "crops")


def stated(data: pd.DataFrame, *runs: dict, **known) -> pd.DataFrame:
    """The table with those of the columns n, unit, split, seeds and crops that it lacks.

    runs    what params.json says of each training behind the table; a row whose `method`,
            `variant` or `than` is the method or variant of some of them is of these alone; that
            of a rule or measure, which none of them made, says what it stands beside
    known   columns that no run tells, as n and unit

    ValueError for a table that tells no n or unit, and is told none.
    """
    data = data.assign(**known)
    if missing := {"n", "unit"} - set(data):
        raise ValueError(
            f"the table has no column {', '.join(sorted(missing))}: give it to `stated`, n as the "
            'number of images, unit as "content" or "image"'
        )
    facts = [{**run.get("parameters", {}), **run} for run in runs]
    names = data.reindex(columns=["method", "variant", "than"]).to_numpy().tolist()
    for column in ("split", "seeds", "crops"):
        if column not in data:
            data[column] = [_listed(column, facts, of_row) for of_row in names]
    return data


def _listed(column, facts, names):
    """The different values of a fact, of the trainings that a row names or else of all."""
    trainings = [fact for fact in facts if fact.get("variant", fact.get("method")) in names]
    trainings = trainings or facts
    values = []
    for fact in trainings:
        value = fact.get(column)
        if column == "seeds" and value is None:
            value = fact.get("seed")
        values += value if isinstance(value, list) else [value]
    return ", ".join(str(value) for value in dict.fromkeys(values))


def shown(data: pd.DataFrame, *, csv: Path | None = None) -> pd.DataFrame:
    """Print what all rows of a table have in common of `STATED`, and return the rest, rounded, to
    be displayed; `csv` is where the whole table is written.
    """
    if csv is not None:
        data.to_csv(csv, index=False)
    pd.set_option("display.max_colwidth", None)  # an answer in words is read to its end
    line, rest = apart(data)
    print(line)
    return rest.round(4)


def apart(data: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """What all rows have in common of `STATED`, as a line, and the table without it."""
    common = [name for name in STATED if name in data and data[name].nunique(dropna=False) == 1]
    line = ", ".join(f"{name}: {data[name].iloc[0]}" for name in common)
    return line, data.drop(columns=common)
