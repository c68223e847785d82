"""The tables of the paper: what was reported beside what was measured, never in one column.

Each function returns a frame of numbers, NaN where there is none; `printing.write` makes files of
it.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import read_json
from .cells import BLIND
from .comparison import VALUES, architecture, reported
from .images import STAGES
from .statement import STATED, stated

ENDS = ("low", "high")
CAPTIONS = {
    "sota": "Methods on one set, in groups of one protocol each, which do not compare.",
    "components": "Components of the model, added one by one.",
    "learning_rates": "Learning rates.",
    "losses": "Loss functions.",
    "transfer": "Trained on one set, tested on another.",
    "complexity": "Parameters and multiply-accumulates (GMACs, which reports print as FLOPs).",
    "hyperparameters": "What trainings were given.",
    "training_log": "Training, epoch by epoch.",
    "selected_images": "The images of the lowest, the median and the highest label.",
}
HERE = "measured here"  # the group of what no group of reported numbers compares with
# Parameters of a notebook that name folders and figures, or what is measured.
NOT_TRAINING = {"experiment", "run", "baseline", "trained", "label_name", "measures", "monitor"}


def every(
    index: pd.DataFrame,
    folders: dict[str, Path],
    measured: pd.DataFrame,
    *,
    variants: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
    attention: Path | None = None,
) -> dict[str, pd.DataFrame]:
    """All tables of `CAPTIONS` that finished runs allow, by name; what is reported stands in each.

    index, folders   as `read_runs` gives and takes them
    measured         as `comparison.measured` gives it
    variants         as `drawn.variants_of` gives them; none: notebook 04 was not run
    differences      of the measured methods
    attention        folder of a finished run of notebook 05; none: the images are left out
    """

    def of_topic(topic):
        return None if variants is None else variants[variants.topic.isin([topic, BLIND])]

    networks = index.drop_duplicates("method")
    found = {"sota": sota(reported("sota_koniq10k"), measured, differences)}
    for topic in ("components", "learning_rates"):
        found[topic] = ablation(reported(topic), of_topic(topic))
    found["losses"] = losses(reported("losses"), of_topic("losses"))
    moved = None if variants is None else variants[variants.topic == "transfer"]
    found["transfer"] = transfer(reported("transfer"), moved)
    found["complexity"] = complexity(reported("complexity"), networks, folders)
    found["hyperparameters"] = hyperparameters(networks, reported("hyperparameters"))
    found["training_log"] = training_log(networks, folders, reported("training_log"))
    if attention is not None:
        shown = read_json(attention / "selected_images_for_viz.json")["trained"]
        facts = index.loc[shown].to_dict() if shown in index.index else {}
        found["selected_images"] = selected_images(reported("selected_images"), attention, facts)
    return found


def sota(reported, measured=None, differences=None) -> pd.DataFrame:
    """Methods on one set: `group` (protocols, which do not compare), method, backbone, size, then
    SRCC and PLCC reported and measured.

    reported      as `comparison.reported` gives it
    measured      as `comparison.measured` gives it; none: nothing is measured. A row stands beside
                  the reported one of its method only where a column group says that it is of that
                  group: numbers of other images compare with none
    differences   of the measured methods, as `agreement.differences` gives them, for `best`
    """
    return _beside(reported, measured, differences, ["group", "backbone", "params_m"])


def ablation(reported, measured=None, differences=None) -> pd.DataFrame:
    """Components of the model, in the order of their steps; arguments as for `sota`, with
    `comparison.of_variants` and `seed_differences`."""
    return _beside(reported, measured, differences, ["group", "backbone", "lr", "epochs"])


def losses(reported, measured=None, differences=None) -> pd.DataFrame:
    """Loss functions, and the learning rate and epochs that each was reported with; `measured` is
    of the same images."""
    return _beside(reported, measured, differences, ["lr", "epochs"])


def transfer(reported, measured=None) -> pd.DataFrame:
    """Trained on one set, tested on another: a row a method and set that was tested; `measured`, as
    `comparison.of_variants` gives it with its column tested, is of the same images."""
    return _beside(reported, measured, None, ["tested", "test_crops"], keys=["method", "tested"])


def best_measured(measured: pd.DataFrame, differences: pd.DataFrame | None) -> str:
    """The method of the highest measured SRCC, if every other measured row differs from it by the
    paired test (found is "apart", and it is the better one); else "".

    differences   columns method or variant, than, difference, found; of several statistics or
                  labels those of SRCC under `label`
    """
    known = measured.dropna(subset="srcc")
    if differences is None or len(known) < 2:
        return ""
    rows = differences.rename(columns={"variant": "method"})
    if "statistic" in rows:
        rows = rows[rows.statistic != "specific"]
    if "label" in rows:
        rows = rows[rows.label == "label"]
    best = known.method[known.srcc.idxmax()]
    apart = rows[rows.found == "apart"]
    beaten = {*apart.than[(apart.method == best) & (apart.difference > 0)]}
    beaten |= {*apart.method[(apart.than == best) & (apart.difference < 0)]}
    return best if {*known.method} - {best} <= beaten else ""


def complexity(reported: pd.DataFrame, index: pd.DataFrame, folders: dict) -> pd.DataFrame:
    """Parameters and multiply-adds: of the reports (which print the latter as FLOPs) and of what
    the model.json of finished runs tells; milliseconds as reported. n is one forward pass on one
    crop.

    index, folders   as `read_runs` gives and takes them
    """
    runs = index.drop_duplicates("method")
    rows = [{"method": run.method, **architecture(folders[name])} for name, run in runs.iterrows()]
    columns = ["method", "params_m", "gmacs"]
    measured = pd.DataFrame(rows, columns=columns)
    measured = stated(measured, *index.to_dict("records"), n=1, unit="crop")
    sizes = ["params_m", "gmacs"]
    both = _side_by_side(reported, measured, ["method"], sizes)
    rest = ["ms", "images_per_second", "device", "source", "note"]
    return both.reindex(columns=["method", *_of_both(sizes), *rest, *STATED])


def training_log(index: pd.DataFrame, folders: dict, reported=None) -> pd.DataFrame:
    """Every validation of finished trainings, and what was reported epoch by epoch: a row a
    method and epoch, the loss and correlations of each in columns of its own. n counts the
    validation images; the reports validated on the test images.
    """
    parts = []
    if reported is not None:
        names = {"train_loss": "loss_reported", "train_srcc": "train_srcc_reported"}
        names |= {"srcc": "test_srcc_reported", "plcc": "test_plcc_reported"}
        kept = ["method", "epoch", *names, "protocol", "source"]
        parts.append(reported[kept].rename(columns=names))
    for name, run in index.iterrows():
        history = pd.read_csv(folders[name] / "history.csv")
        parts_of_images = pd.read_csv(folders[name] / "predictions.csv").split
        names = {"train_loss": "loss_measured", "val_srcc": "val_srcc_measured"}
        names |= {"val_plcc": "val_plcc_measured"}
        rows = history.rename(columns=names)
        rows = rows[[column for column in ("epoch", *names.values()) if column in rows]]
        rows = rows.assign(method=run.method, source=name)
        n = int((parts_of_images == "val").sum())
        parts.append(stated(rows, run.to_dict(), n=n, unit="image"))
    data = pd.concat(parts, ignore_index=True)
    numbers = [name for name in data if name.endswith(("_reported", "_measured"))]
    return data.reindex(columns=["method", "epoch", *numbers, "protocol", "source", *STATED])


def hyperparameters(index: pd.DataFrame, reported=None) -> pd.DataFrame:
    """What trainings were given: a row a parameter, a column a method, from its params.json;
    before them what was reported, with a row for each source that differs. n counts trainings.

    index   as `read_runs` gives it, a row a method
    """
    given = dict(zip(index.method, index.parameters, strict=True))
    names = dict.fromkeys(name for values in given.values() for name in values)
    rows = []
    known = set()
    if reported is not None:
        for row in reported.to_dict("records"):
            key = row["key"] if pd.notna(row["key"]) else ""
            known.add(key)
            cells = {method: _told(values.get(key)) for method, values in given.items()}
            cells |= {"reported": row["value"], "source": row["source"], "note": row["note"]}
            rows.append({"parameter": row["parameter"], **cells})
    for name in names:
        if name not in known | NOT_TRAINING:
            cells = {method: _told(values.get(name)) for method, values in given.items()}
            rows.append({"parameter": name, **cells})
    data = pd.DataFrame(rows, columns=["parameter", "reported", *given, "source", "note"])
    return stated(data, *index.to_dict("records"), n=len(index), unit="training")


def selected_images(reported: pd.DataFrame, folder: Path, facts: dict) -> pd.DataFrame:
    """The images of the lowest, the median and the highest label with their stage weights, as
    reported and as a finished run of notebook 05 measured them.

    folder   of that run
    facts    params.json of the training that it shows

    Errors: FileNotFoundError for a folder that holds no selected_images_for_viz.json.
    """
    chosen = read_json(folder / "selected_images_for_viz.json")["images"]
    measured = pd.DataFrame(chosen)
    measured["image"] = [Path(name).stem for name in measured.image]
    measured = stated(measured, facts, n=len(measured), unit="image")
    data = reported.assign(image=reported.image.astype(str))
    numbers = ["predicted", "error", *STAGES]
    both = _side_by_side(data, measured, ["image"], numbers)
    first = [name for name in ("image", "quality", "mos", "zscore", "label") if name in both]
    return both.reindex(columns=[*first, *_of_both(numbers), "protocol", "source", *STATED])


# ---- reported beside measured


def _beside(reported, measured, differences, first, keys=("method",)):
    """Rows of `reported` with their measured counterparts, then what was measured alone."""
    keys = list(keys)
    if measured is None:
        measured = pd.DataFrame(columns=[*keys, *VALUES, "source", *STATED])
    if "group" in reported:
        keys.append("group")
        if "group" not in measured:
            measured = measured.assign(group=HERE)
    both = _side_by_side(reported, measured, keys, ["srcc", "plcc"])
    best = best_measured(measured, differences)
    both["best"] = both.srcc_measured.notna() & (both.method == best)
    columns = dict.fromkeys([*keys, *first, *_of_both(["srcc", "plcc"], ENDS)])
    rest = ["digits", "best", "protocol", "source", "note", "run", "measured_by"]
    return both.reindex(columns=[*columns, *rest, *STATED])


def _side_by_side(reported, measured, keys, numbers):
    """The k-th measured row of a key stands beside the k-th reported one; the others below.

    numbers   columns of both, which get the ending _reported or _measured
    """
    left = reported.rename(columns={name: f"{name}_reported" for name in numbers})
    names = {name: f"{name}_measured" for name in numbers}
    names |= {f"{name}_{end}": f"{name}_measured_{end}" for name in numbers for end in ENDS}
    right = measured.rename(columns={**names, "source": "measured_by"})
    right = right[[*keys, *(name for name in right if name not in left)]]
    left = left.assign(nth=left.groupby(keys).cumcount())
    right = right.assign(nth=right.groupby(keys).cumcount())
    both = left.merge(right, how="left", on=[*keys, "nth"])
    alone = right.merge(left[[*keys, "nth"]], how="left", on=[*keys, "nth"], indicator="found")
    alone = alone[alone.found == "left_only"].drop(columns="found")
    if len(alone):
        both = pd.concat([both, alone], ignore_index=True)
    return both.drop(columns="nth")


def _of_both(numbers, ends=()):
    """Columns of what was reported, then of what was measured with the ends of its intervals."""
    columns = [f"{name}_reported" for name in numbers]
    for name in numbers:
        columns += [f"{name}_measured", *(f"{name}_measured_{end}" for end in ends)]
    return columns


def _told(value):
    """A value of params.json as text; NaN for one that was not given."""
    if value is None:
        return np.nan
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_told(entry)}" for name, entry in value.items())
    return value if isinstance(value, str) else json.dumps(value)
