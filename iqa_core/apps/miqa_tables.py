"""Runs on MIQD-2.5M beside what its paper reports, and networks of one task tested on another."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from iqa_core import evaluation, loading, metrics, runs, study, tables
from iqa_core.files import read_json, replacing


def read_measured(experiment: str, *, only: Sequence[str] = ()) -> pd.DataFrame:
    """What the finished runs of an experiment measured of the paper's tables
    (`tables.measured_cells`); empty where there is none.

    only   names of runs, <experiment>/<run>; none: all

    FileNotFoundError for an experiment without runs, where it is none of params/ either; KeyError
    for one of `only` that is none of them.
    """
    found = []
    root = runs.project_root()
    if not any((root / place / experiment).is_dir() for place in ("data/runs", "params")):
        raise FileNotFoundError(f"there is no experiment {experiment!r}; `runs list` has those run")
    folder = root / "data/runs" / experiment
    for success in sorted(folder.glob("*/_SUCCESS")):
        params = read_json(success.with_name("params.json"))
        if not success.with_name("predictions.csv").is_file():
            continue
        predictions = pd.read_csv(success.with_name("predictions.csv"))
        measures = success.with_name("measures.csv")
        run = {"run": f"{experiment}/{success.parent.name}", "params": params}
        if only and run["run"] not in only:
            continue
        run["metrics"] = read_json(success.with_name("metrics.json"))
        run["predictions"] = predictions[predictions.split == "test"]
        run["measures"] = pd.read_csv(measures) if measures.is_file() else None
        found.append(run)
    if strangers := sorted({*only} - {run["run"] for run in found}):
        raise KeyError(f"no finished run {', '.join(strangers)} with predictions in {experiment}")
    return tables.measured_cells(found)


def predict_elsewhere(run: str, on: str, out: Path, *, target: str = "label") -> list[str]:
    """Test a finished run on another set, and write its predictions: image, prediction, label,
    absolute_error. Returns sentences with n, SRCC, PLCC, KRCC and RMSE after the fit.

    on       a table of data/tables, or <set>:<scheme>, of which the test part
    target   the column of that table

    The scales of two tasks do not compare: ranks, and figures after a fit, are what is said.

    FileNotFoundError for a run or table that is not there, KeyError for a target that it lacks.
    """
    root = runs.project_root()
    network = study.load_network(run)
    other = study.other_set(on, root=root)
    table = other.of("test")
    if target not in table:
        raise KeyError(f"{on} has no column {target!r}; it has {', '.join(table)}")
    table = table.assign(label=table[target]).dropna(subset=["label"])
    samples = loading.open_samples(table, network, root=root)
    predicted = evaluation.predict_samples(network, samples, progress=True)
    data = pd.DataFrame({"image": table.image.to_numpy(), "prediction": predicted})
    data["label"] = table.label.to_numpy()
    data["absolute_error"] = (data.prediction - data.label).abs()
    with replacing(out) as draft:
        data.to_csv(draft, index=False)
    content = table.content if "content" in table else None
    found = metrics.correlations(data.prediction, data.label, content=content)
    intervals = {name: "[{:.4f}, {:.4f}]".format(*found["intervals"][name]) for name in ("srcc",)}
    return [
        f"{run} on {on}, {target}: n {found['n']}, SRCC {found['srcc']:.4f} {intervals['srcc']} "
        f"(95 %, by {found['unit']}), PLCC {found['plcc5']:.4f} and RMSE {found['rmse']:.4f} "
        f"after the fit, KRCC {found['krcc']:.4f}",
        str(out),
    ]
