"""What gives images a number, by name, and what is known of the number.

A name is that of a finished run (demo/02_train_baseline), of published weights that are here
(`weights list`), of the scorer that comes with the workbook (`SHIPPED`), a folder with model.json,
or a full-reference measure (psnr).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from iqa_core import __version__
from iqa_core.files import file_hash, project_root, read_json
from iqa_core.full_reference import REGISTRY, absent, fr_measure, list_measures, weights_file
from iqa_core.hints import nearest
from iqa_core.models import grids, published

SHIPPED = "weak_scorer"
TASKS = ("cls", "det", "ins")
METRIC_TYPES = ("composite", "consistency", "accuracy")
SCALES = ("predicted", "fitted")
FOR_MACHINES = (
    "predicts how well vision models do on the picture, which is not how people like it; scores of "
    "two tasks do not compare"
)
# the facts on which a number depends; the others only tell of it
OF_NUMBERS = ("name", "protocol", "weights", "crops", "scale", "precision", "iqa_core")
NO_BF16 = {  # models that bfloat16, with its 8 bits, does not suit, and why
    "ckdn": "it subtracts features that are nearly equal",
    "iqt": "its score itself would have 8 bits",
    "maniqa": "which channel its softmax chooses can hang on the last bit",
    "miqa_baseline": "its score itself would have 8 bits",
}


@dataclass(frozen=True)
class Scorer:
    """Gives images a number.

    judge       (images, references or None) -> (n,): lists of uint8 RGB images (h, w, 3);
                ValueError for an image that cannot be judged
    reference   what it compares with: "pristine", "degraded", or "" for a scorer of single images
    facts       what its numbers mean, as plain values: name, what, trained_on, units, low, high,
                higher_is_better, error (of its own test: rmse, n, on), crops, scale, precision,
                weights, caution; None where something is not known
    files       that it was made of; none for a measure
    """

    name: str
    judge: Callable = field(repr=False)
    reference: str
    facts: dict
    files: tuple[Path, ...] = ()


def judged(
    scorer: Scorer, images: Sequence[np.ndarray], references: Sequence[np.ndarray] | None = None
) -> list[tuple[float | None, str]]:
    """(score, "") of each image, or (None, why there is none): of several that cannot be judged
    together each is judged alone, so that one does not spoil the others.
    """
    if not images:
        return []
    try:
        scores = [float(score) for score in scorer.judge(images, references)]
    except (ValueError, MemoryError, RuntimeError) as error:  # torch's for too little memory too
        if len(images) == 1:
            return [(None, str(error))]
        beside = [None] * len(images) if references is None else [[one] for one in references]
        pairs = zip(images, beside, strict=True)
        return [judged(scorer, [image], other)[0] for image, other in pairs]
    return [
        (score, "") if np.isfinite(score) else (None, f"its score is {score}") for score in scores
    ]


def sentence(facts: dict) -> str:
    """What a number of a scorer means, on one line, out of its facts."""
    range_of_scores = _between(facts["low"], facts["high"])
    parts = [f"{facts['name']}, {facts['what']}: {facts['units']}{range_of_scores}"]
    parts.append("higher is better" if facts["higher_is_better"] else "LOWER is better")
    if error := facts["error"]:
        parts.append(f"typical error {error['rmse']:.2g} (RMSE, {error['n']} images {error['on']})")
    parts.append(facts["crops"])
    if facts["scale"] == "fitted":
        parts.append("on the fitted scale")
    if facts["caution"]:
        parts.append(facts["caution"])
    return "; ".join(parts)


def _between(low, high):
    if low is None:
        return ""
    return f" from {low:g} up" if high is None else f" from {low:g} to {high:g}"


def open_scorer(
    name: str,
    *,
    task: str = "",
    metric_type: str = "",
    scale: str = "predicted",
    crops: int | None = None,
    precision: str = "fp32",
) -> Scorer:
    """The scorer of a name, on the GPU where there is one.

    task, metric_type   of published weights for machines: with the model ra_miqa they name
                        ra_miqa-<metric_type>-<task>; composite where only the task is given
    scale               "predicted": in the units of the labels that it learnt, the number to cite;
                        "fitted": through the monotone map that a run fitted on val
    crops               in place of those of its contract
    precision           "fp32", or "bf16", faster, off by a little; not for models in `NO_BF16`

    KeyError for an unknown name or choice; FileNotFoundError for weights that are not here;
    ValueError for a choice that this scorer does not have.
    """
    _check_choice("scale", scale, SCALES)
    name = _with_task(name, task, metric_type)
    if name in REGISTRY:
        for option, given, usual in (
            ("scale", scale, "predicted"),
            ("crops", crops, None),
            ("precision", precision, "fp32"),
        ):
            if given != usual:
                raise ValueError(f"{name} is a measure: it has no choice of {option}")
        return _measure(name)
    return _network(name, scale=scale, crops=crops, precision=precision)


def _check_choice(option, value, known):
    if value not in known:
        hint = nearest(value, known)
        raise KeyError(f"{option} is {value!r}; there are {', '.join(known)}{hint}")


def _with_task(name, task, metric_type):
    """The name of published weights for machines, where a task is given."""
    if not (task or metric_type):
        return name
    metric_type = metric_type or "composite"
    task = task or "cls"
    _check_choice("task", task, TASKS)
    _check_choice("metric-type", metric_type, METRIC_TYPES)
    with_tasks = [row.name for row in published.rows() if row.task]
    wanted = f"{name}-{metric_type}-{task}"
    if wanted not in with_tasks:
        models = sorted({row.rsplit("-", 2)[0] for row in with_tasks})
        raise ValueError(
            f"{name} has no weights for the task {task}, {metric_type}: task and metric-type go "
            f"with {', '.join(models)}; `python -m iqa_core weights list --model miqa` shows all"
        )
    return wanted


def _measure(name):
    if why := absent(name):
        raise FileNotFoundError(f"{name} cannot score here: {why}")
    measure, file = REGISTRY[name], weights_file(name)
    better = measure.higher_is_better
    ends = (None, measure.identity) if better else (measure.identity, None)
    facts = {
        "name": name,
        "what": f"full-reference measure ({measure.protocol})",
        "protocol": measure.protocol,
        "trained_on": None,
        "units": "dB" if name == "psnr" else "its own units",
        "low": ends[0],
        "high": ends[1],
        "higher_is_better": better,
        "error": None,
        "crops": "the whole image",
        "scale": "predicted",
        "precision": "fp32",
        "weights": file and file.name,  # which holds the first digits of its hash
        "caution": None,
        "iqa_core": __version__,
    }

    def judge(images, references):
        pairs = zip(images, references, strict=True)
        return np.array([fr_measure(name, image, reference) for image, reference in pairs])

    return Scorer(name, judge, "pristine", facts)


def _network(name, *, scale, crops, precision):
    import torch

    from iqa_core import evaluation, runs

    folder = _folder_of(name)
    network = runs.load_model(folder.resolve() if folder else name)
    contract = network.contract
    if scale == "fitted" and not contract.calibration:
        raise ValueError(
            f"{name} has no fitted scale: runs of training notebooks have one; leave --scale out"
        )
    if crops is not None and not contract.crop:
        raise ValueError(f"{name} reads whole images: it has no choice of crops")
    if crops is not None:
        grids(crops)  # refuses a number that makes no grid
    if precision == "bf16" and (why := NO_BF16.get(network.config["name"])):
        raise ValueError(f"{name} is not scored in bf16, for {why}; use fp32")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = evaluation.prepared(network, precision=precision).to(device)
    facts = _facts_of(name, folder, network, scale=scale)
    if crops not in (None, contract.crops):
        facts["error"] = None  # which was measured with the contract's crops
    facts |= {"crops": _crops(contract, crops), "scale": scale, "precision": precision}
    facts |= {"iqa_core": __version__}

    def judge(images, references):
        return evaluation.predict(
            network, images, reference=references, crops=crops, scaled=scale == "fitted"
        )

    files = tuple(folder / name for name in ("model.json", "model.safetensors")) if folder else ()
    return Scorer(name, judge, contract.reference or "", facts, files)


def _folder_of(name):
    """The folder of a scorer that is no name of published weights; None for such a name."""
    from iqa_core import runs

    shipped = project_root() / "data/demo" / name
    if (shipped / "model.json").is_file():
        return shipped
    if name in {row.name for row in published.rows()}:
        return published.folder() / name if (published.folder() / name).is_dir() else None
    for folder in (Path(name), project_root() / "data/runs" / name, published.folder() / name):
        if (folder / "model.json").is_file():
            return folder
    if any(row.task and row.name.startswith(f"{name}-") for row in published.rows()):
        raise KeyError(
            f"{name} has weights for several tasks: give --task {' | '.join(TASKS)} and "
            f"--metric-type {' | '.join(METRIC_TYPES)}"
        )
    trained = runs.all_runs("model.json")
    known = [SHIPPED, *list_measures(), *trained, *(row.name for row in published.rows())]
    hint = nearest(name, known, most=3) or "."
    raise KeyError(
        f"there is no scorer {name!r}{hint} There are {SHIPPED}, the measures "
        f"{', '.join(list_measures())}, the runs {', '.join(trained[:8]) or '(none yet)'}, and "
        "published weights (`python -m iqa_core weights list`)"
    )


def _facts_of(name, folder, network, *, scale):
    contract = network.contract
    facts = {
        "name": name,
        "what": str(network.config["name"]),
        "trained_on": None,
        "units": contract.units,
        "low": contract.low,
        "high": contract.high,
        "higher_is_better": True,
        "error": None,
        "weights": file_hash(folder / "model.safetensors") if folder else None,
        "caution": None,
    }
    if folder and (folder / "card.json").is_file():
        facts |= read_json(folder / "card.json")["facts"]
    elif folder and (folder / "params.json").is_file():
        facts |= _facts_of_run(folder, contract, scale=scale)
    else:
        facts |= _facts_of_published(name, contract)
    return facts


def _facts_of_run(folder, contract, *, scale):
    """What a run recorded: its set, its label's range, and how far off it was on its test."""
    import pandas as pd

    from iqa_core.metrics import apply_scale

    record = read_json(folder / "params.json")
    tested = pd.read_csv(folder / "predictions.csv")
    tested = tested[tested.split == "test"]
    predicted, label = tested.predicted, ""
    if scale == "fitted":
        predicted = apply_scale(contract.calibration, predicted)
        label = record["parameters"].get("scale_label", "label")
    facts = {
        "what": record.get("method", record["model"]),
        "trained_on": f"train part of {record['split']} ({record['set']}, {record['label_kind']})",
    }
    facts |= _range_of_label(record["set"], label, tested.label)
    if label in ("", "label"):  # predictions.csv has no other
        rmse = float(np.sqrt(np.mean((predicted - tested.label) ** 2)))
        on = f"of the test part of {record['split']}"
        facts["error"] = {"rmse": rmse, "n": len(tested), "on": on}
    if record["label_kind"] == "pseudo_mos":
        facts["caution"] = "its labels are those of measures, not of people"
    return facts


def _range_of_label(data_set, label, values):
    """Units and ends of a label: by its name where the set describes it, else the narrowest of the
    set's labels that hold the test's values.
    """
    from iqa_core import datasets

    try:
        labels = datasets.describe(data_set, root=project_root())["labels"]
    except (KeyError, ValueError, FileNotFoundError):  # a set that has gone since
        labels = {}
    if label not in ("", "label", *labels):
        return {"units": f"the scale of {label}", "low": None, "high": None}
    known = [labels[label]] if label in labels else list(labels.values())
    holding = [
        one
        for one in known
        if one["low"] is not None and one["low"] <= values.min() and values.max() <= one["high"]
    ]
    if label in labels:
        holding = known
    if not holding:
        return {"low": float(values.min()), "high": float(values.max())}
    narrowest = min(holding, key=lambda one: (one["high"] or 0) - (one["low"] or 0))
    return {key: narrowest[key] for key in ("units", "low", "high")}


def _facts_of_published(name, contract):
    row = {row.name: row for row in published.rows()}.get(name)
    if row is None:
        return {"trained_on": contract.source, "caution": "nothing is known here of its test"}
    title = " ".join(filter(None, [row.model, row.task, row.label]))
    return {
        "what": f"published {title}",
        "trained_on": row.trained_on,
        "caution": FOR_MACHINES if row.task else None,
    }


def _crops(contract, crops):
    """How a scorer looks at an image, in words."""
    resize = f"resized to {contract.resize}, then " if contract.resize else ""
    if not contract.crop:
        return f"{resize}the whole image"
    count = contract.crops if crops is None else crops
    many = "as few as cover it" if count is None else str(count)
    averaged = "" if count == 1 else ", on an even grid, averaged"
    return f"{resize}{many} crop{'' if count == 1 else 's'} of {contract.crop} pixels{averaged}"


def settings_of(scorers: Sequence[Scorer]) -> str:
    """All that the numbers of some scorers depend on, as text that is the same for the same."""
    kept = [{key: scorer.facts.get(key) for key in OF_NUMBERS} for scorer in scorers]
    return json.dumps(kept, sort_keys=True)
