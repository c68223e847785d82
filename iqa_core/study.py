"""The verbs that notebooks with networks share: open the data of a run, build its network, test
what it has learnt, open what another run has learnt.

A notebook writes the loop itself, `for row in training.fit(...)`, and what it asks of the results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from . import datasets, evaluation, metrics, runs, splits
from .loading import Samples, check_frozen, open_samples
from .models import create_model, objective_of, title, weights
from .training import Recipe, prepare


@dataclass(frozen=True)
class Data:
    """A table and the part, train, val or test, of each of its rows."""

    name: str
    table: pd.DataFrame
    part: pd.Series  # of every row; NaN where a split leaves a row out
    split_hash: str  # of its file; empty for another set, which is divided by rule
    root: Path

    def rows(self, part: str) -> np.ndarray:
        """The positions of a part's rows in the table."""
        return np.flatnonzero(self.part == part)

    def of(self, part: str) -> pd.DataFrame:
        """The rows of a part."""
        return self.table.iloc[self.rows(part)]

    def summary(self) -> pd.DataFrame:
        """A row a part: images, contents, where the table has such, and the mean label."""
        counted = {"images": ("image", "size"), "mean label": ("label", "mean")}
        if "content" in self.table:
            counted["contents"] = ("content", "nunique")
        groups = self.table.groupby(self.part.rename("part"))
        return groups.agg(**counted).loc[list(splits.PARTS)].round(1)

    def examples(self, number: int = 12) -> pd.DataFrame:
        """So many training rows, from all over the table."""
        rows = self.of("train")
        return rows.iloc[:: max(1, len(rows) // number)].iloc[:number]


def open_data(
    record: runs.Run,
    data_set: str,
    split: str,
    *,
    target: str = "label",
    columns: Sequence[str] = (),
) -> Data:
    """The table and split of a run, by name; the run records both, and images that the set makes
    itself are made.

    target   the column that is learnt, `label` of what comes back; rows that lack it are in no part

    FileNotFoundError for a table or split that is not there, KeyError for a target or one of
    `columns` that the table lacks, ValueError for a part without rows, for gaps in a column of
    val's rows, and as `splits.load_split`.
    """
    _check_as_started(record, data_set=data_set, split=split, target=target)
    root = runs.project_root()
    table = datasets.saved_table(data_set, root=root)
    if lacking := [column for column in (target, *columns) if column not in table]:
        known = ", ".join(table)
        raise KeyError(f"{data_set} has no column {', '.join(lacking)}; there are {known}")
    file = root / f"data/splits/{split}.csv"
    part = splits.load_split(file, table)
    table = table.assign(label=table[target])
    if unlabelled := int((table.label.isna() & part.notna()).sum()):
        print(
            f"{unlabelled} of {len(table)} images have no {target}: they are in no part", flush=True
        )
        part = part.where(table.label.notna())
    if empty := sorted(set(splits.PARTS) - set(part)):
        raise ValueError(f"{split} has no image in {', '.join(empty)}; make it by another scheme")
    for column in columns:
        if table[column][part == "val"].isna().any():
            raise ValueError(
                f"{data_set} lacks {column} for some images of val, on which the scale is fitted; "
                "give scale_label: label"
            )
    record.uses(file, root / f"data/tables/{data_set}.csv")
    label_kind = table.label_kind.iloc[0]
    split_hash = runs.file_hash(file)
    record.record(set=data_set, split=split, split_hash=split_hash, label_kind=label_kind)
    datasets.make_images(data_set, table, root=root)
    record.uses_set(data_set, "images", "operators")
    return Data(data_set, table, part, split_hash, root)


def other_set(name: str, *, root: Path) -> Data:
    """A set that is only tested or watched, by its name in `transfer` or `monitor`: all images of
    <set> test, or of <set>:<scheme> those that this scheme tests (`splits.make_split`).

    FileNotFoundError for a table that is not there; errors of `splits.make_split`.
    """
    data_set, _, scheme = name.partition(":")
    table = datasets.saved_table(data_set, root=root)
    part = pd.Series("test", table.index)
    if scheme:
        part = splits.part_of(splits.make_split(table, scheme), table)
    return Data(data_set, table, part, split_hash="", root=root)


def _check_as_started(record, **values):
    """ValueError for parameters that are others now than when the run started, which recorded
    them.
    """
    for name, value in values.items():
        if record.parameters.get(name, value) != value:
            raise ValueError(
                f"{name} is {value!r}, but was {record.parameters[name]!r} when this run started; "
                "run the cell with runs.start(...) again, and all after it"
            )


def build_network(
    record: runs.Run,
    name: str,
    arguments: dict,
    *,
    contract: dict,
    recipe: Recipe,
    frozen_crops: int = 0,
    start_from: str = "",
):
    """The network of a run: model `name` of `arguments`, its contract changed by `contract`, its
    weights drawn by the recipe's seed.

    arguments, contract
                   those that the notebook declares are its own model's; another model, of which
                   nothing else is said, is built and looked at as it is
    recipe         refused here, before images are opened, where this model cannot follow it
    frozen_crops   not 0: its backbone does not learn, and each image is judged by so many crops
    start_from     a finished run of the same model, whose weights it begins with

    ValueError for a model that cannot learn on frozen crops, and for weights of another model;
    FileNotFoundError for a run that has not finished.
    """
    declared = _declared_of_another(record, name)
    arguments = {} if arguments == declared.get("arguments") else arguments
    contract = {} if contract == declared.get("contract") else contract
    # so that a cell that is run again builds the same network
    torch.manual_seed(recipe.seed)
    network = create_model(name, **arguments)
    record.uses_code(type(network).__module__)
    network.contract = network.contract.changed(**contract)
    if frozen_crops:
        check_frozen(network, frozen_crops)
        network.contract = network.contract.changed(crops=frozen_crops)
        network.frozen_trunk.requires_grad_(False)
    prepare.check_model(network, objective_of(network), recipe)
    if start_from:
        _start_from(record, network, start_from)
    record.record(
        model=f"{name} {arguments}",
        method=method_of(network, frozen_crops),
        parameters_count=sum(p.numel() for p in network.parameters()),
        crops=network.contract.crops,
    )
    return network


def _declared_of_another(record, name):
    """What a run's notebook declares of its own model, by parameter, where that is another than
    `name`; else nothing.
    """
    notebook = runs.project_root() / f"notebooks/{record.notebook}.ipynb"
    declared = runs.declared_parameters(notebook)
    if "model" not in declared or declared["model"].default == name:
        return {}
    return {parameter: declared[parameter].default for parameter in ("arguments", "contract")}


def _start_from(record, network, run):
    """Gives a network the weights of a finished run, which the run records."""
    other = runs.load_model(run)
    try:
        network.load_state_dict(other.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"start_from: the weights of {run}, {other.config}, do not fit {network.config}"
        ) from error
    record.uses(runs.finished(run) / "model.safetensors")


def method_of(network, frozen_crops: int = 0) -> str:
    """What a trained network is called in tables and figures."""
    return title(network) + (", fixed backbone" if frozen_crops else "")


def open_sets(
    record: runs.Run,
    data: Data,
    network,
    *,
    frozen_crops: int = 0,
    monitor: Sequence[str] = (),
) -> dict[str, Samples]:
    """The samples that a network is trained, chosen and tested on: train, val, test, and every
    `other_set` that `monitor` names. Images are decoded once and kept in data/cache.
    """
    samples = open_samples(data.table, network, root=data.root, frozen_crops=frozen_crops)
    sets = {part: samples.take(data.rows(part)) for part in splits.PARTS}
    for name in monitor:
        other = other_set(name, root=data.root)
        sets[name] = open_other(record, other, network, frozen_crops=frozen_crops)
    return sets


def open_other(record: runs.Run, other: Data, network, *, frozen_crops: int = 0) -> Samples:
    """The samples of another set's test part, which the run records."""
    record.uses(other.root / f"data/tables/{other.name}.csv")
    record.uses_set(other.name, "images", "operators")
    samples = open_samples(other.table, network, root=other.root, frozen_crops=frozen_crops)
    return samples.take(other.rows("test"))


def watched(sets: dict[str, Samples], recipe: Recipe, monitor: Sequence[str]) -> dict[str, Samples]:
    """What `training.fit` watches: the sets that `monitor` names, and test where the recipe chooses
    on it, as published code does (the log then says what that adds).
    """
    names = [*monitor, "test"] if recipe.select == "test" else list(monitor)
    return {name: sets[name] for name in names}


def predict_and_save(
    record: runs.Run,
    network,
    sets: dict[str, Samples],
    *,
    recipe: Recipe,
    chosen: dict,
    scale_label: str = "label",
) -> pd.DataFrame:
    """Predictions for val and test, columns image, split, label and predicted; written to
    predictions.csv, the network beside it, with a scale fitted on val's `scale_label`.

    `chosen`: which row of the training chose the weights (`training.chosen`). Where the recipe
    validates at random places, the crops are those of that row.
    """
    _check_as_started(record, scale_label=scale_label)
    if "split_hash" not in runs.read_json(record.folder / "params.json"):
        raise ValueError("this run has opened no data: run all cells after that with runs.start")
    random = (recipe.seed, chosen["selected_step"]) if recipe.random_validation else None
    parts = []
    for name in ("val", "test"):
        rows = sets[name].table[["image", "label"]].copy()
        rows.insert(1, "split", name)
        predict = objective_of(network).predict or evaluation.predict_samples
        rows["predicted"] = predict(network, sets[name], random=random, progress=True)
        parts.append(rows)
    predictions = pd.concat(parts)
    predictions.to_csv(record.path("predictions.csv"), index=False)
    truth = sets["val"].table[scale_label]
    network.contract.calibration = metrics.fit_scale(parts[0].predicted, truth)
    weights.save(network, record.folder)
    device = str(next(network.parameters()).device)
    kept_as = getattr(network, "kept_as", None)
    record.record(device=device, selected_on=chosen["selected_on"], training=kept_as)
    return predictions


def of_test(predictions: pd.DataFrame, method: str) -> pd.DataFrame:
    """The test predictions alone: columns image, and one named as the method."""
    rows = predictions.loc[predictions.split == "test", ["image", "predicted"]]
    return rows.rename(columns={"predicted": method})


def find_baseline(record: runs.Run, run: str, notebook: str, data: Data) -> str:
    """The run to compare with: `run`, by name; for "" the newest finished one of a notebook on the
    same split in this experiment, which is printed and recorded; "" for "none", or if there is
    none. Errors as `open_baseline`.
    """
    if run == "none":
        return ""
    if run:
        _recorded(run, data)
        return run
    split = [data.name, data.split_hash]
    return record.find_run(notebook, split=split, without="no comparison")


def open_baseline(record: runs.Run, run: str, data: Data, method: str) -> tuple[dict, pd.DataFrame]:
    """What a finished run recorded, and its test predictions (columns image and its method), to
    compare with.

    FileNotFoundError for a run that has not finished; ValueError for one of another split, or of
    the same method as this run, whose names would be the same in every table.
    """
    facts = _recorded(run, data)
    if facts["method"] == method:
        raise ValueError(f"{run} is another {method}: their names would be the same in every table")
    file = runs.finished(run) / "predictions.csv"
    record.uses(file)
    predictions = of_test(pd.read_csv(file), facts["method"])
    if missing := set(data.of("test").image) - set(predictions.image):
        raise ValueError(f"{run} lacks {len(missing)} of the test images; train it again")
    return facts, predictions


class Trained(NamedTuple):
    """A finished run, opened to look at what it has learnt."""

    facts: dict  # its params.json
    network: torch.nn.Module
    sets: dict[str, Samples]  # train, val, test, as the network reads them
    predictions: pd.DataFrame  # its predictions.csv


def open_run(record: runs.Run, run: str, data: Data) -> Trained:
    """A finished run of the same split, whose files this run then depends on.

    FileNotFoundError for a run that has not finished; ValueError for one of another split.
    """
    facts, folder, network = _recorded(run, data), runs.finished(run), load_network(run)
    names = ("model.safetensors", "model.json", "predictions.csv")
    record.uses(*(folder / name for name in names))
    record.uses_code(type(network).__module__)
    frozen_crops = facts["parameters"]["frozen_crops"]
    sets = open_sets(record, data, network, frozen_crops=frozen_crops)
    return Trained(facts, network, sets, pd.read_csv(folder / "predictions.csv"))


def load_network(run: str | Path):
    """The network of a finished run, by its name or folder, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return runs.load_model(run).to(device)


def _recorded(run, data):
    """The params.json of a finished run; ValueError for another split than that of `data`."""
    facts = runs.read_json(runs.finished(run) / "params.json")
    if (facts["set"], facts["split_hash"]) != (data.name, data.split_hash):
        raise ValueError(
            f"{run} is of another split, or the split has changed since: train it on this run's"
        )
    return facts


def recipe_of(notebook_stem: str, namespace: dict) -> Recipe:
    """The recipe that a notebook's parameters make, from its `globals()`: refused here before
    anything is begun; errors as `Recipe.from_parameters`.
    """
    notebook = runs.project_root() / f"notebooks/{notebook_stem}.ipynb"
    declared = runs.declared_parameters(notebook)
    recipe = Recipe.from_parameters({name: namespace[name] for name in declared})
    choices = ["val", "test", *namespace.get("monitor", [])]
    if recipe.select not in choices:
        raise KeyError(f"select is {recipe.select!r}; there are {', '.join(choices)}")
    return recipe
