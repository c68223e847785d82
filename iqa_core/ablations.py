"""What notebook 04 plans and does around its trainings: variants, leave-distortion-out, shuffled
stage weights, other runs.
"""

import copy
import functools
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from . import runs, splits, training
from .attention import stage_weights
from .files import read_json
from .loading import pyramid_features
from .loading.views import FEATURES, floats, grid, inputs
from .models import create_model
from .models.smart_iqa import AdaptiveGate
from .pixels import PixelCache
from .training import recipe

FITTED = (
    "epochs",
    "crops_per_image",
    "batch_size",
    "backbone_lr",
    "head_lr",
    "weight_decay",
)  # parameters that fit takes
CHANGED = (
    "arguments",
    "options",
    "contract",
    "features",
    "seeds",
    *FITTED,
)  # what a variant may change
POLICY = ("contract", "features")  # how images reach a model: the same for all rows of a matrix


def plan(parameters: dict) -> dict[str, dict]:
    """What the trainings of every variant are given, by name, `full` last: checked before any
    begins.

    `parameters`: those of notebook 04. A variant that is only tested (`tests_only`) reads images,
    so its features are 0. KeyError, ValueError or TypeError, naming the variant, for what it cannot
    change, for options that training.fit refuses, a network that cannot be built, crops that make
    no grid and too few seeds; for pairs of variants that there are not, and for a shuffle of stage
    weights that do not depend on the image."""
    common = {key: parameters[key] for key in (*CHANGED, "split")}
    variants, jobs, full = parameters["variants"], {}, None
    if "full" in variants:
        raise ValueError(
            "full is the model of `arguments`; change these, or name the variant otherwise"
        )
    for name, change in (variants | {"full": {}}).items():
        try:
            if unknown := set(change) - set(CHANGED):
                raise KeyError(
                    f"it cannot change {', '.join(sorted(unknown))}, but {', '.join(CHANGED)}"
                )
            new = {
                key: common[key] | value if isinstance(value, dict) else value
                for key, value in change.items()
            }
            jobs[name] = given = common | new | ({"features": 0} if tests_only(change) else {})
            given["contract"] = given["contract"] | (
                {"crops": given["features"]} if given["features"] else {}
            )
            full = _checked(given)
        except (KeyError, ValueError, TypeError) as error:
            raise type(error)(f"variant {name}: {error.args[0]}") from error
    if strangers := {name for pair in parameters["compare"] for name in pair} - set(jobs):
        raise KeyError(
            f"compare names {', '.join(sorted(strangers))}; the variants are {', '.join(jobs)}"
        )
    if parameters["shuffle"] and not isinstance(getattr(full, "gate", None), AdaptiveGate):
        raise ValueError(
            "shuffle gives images the stage weights of others: full needs an adaptive gate; or "
            "shuffle: false"
        )
    if jobs["full"]["options"].get("random_validation") and (
        parameters["shuffle"] or parameters["transfer"]
    ):
        raise ValueError(
            "shuffle and transfer read crops on the grid, full at random places; leave out "
            "random_validation"
        )
    return jobs


def tests_only(change: dict) -> bool:
    """Whether a variant changes nothing but where crops are taken in the test: then the full
    model's networks stand for it.
    """
    allowed = {"contract": {"crops"}, "options": {"random_validation"}}
    return bool(change) and all(
        key in allowed and set(value) <= allowed[key] for key, value in change.items()
    )


def _checked(given):
    """The network, without weights; what a training of it would refuse is refused."""
    training.check_options(given["options"])
    network = copy.copy(_without_memory(json.dumps(given["arguments"] | {"pretrained": False})))
    rule = network.contract = network.contract.changed(**given["contract"])
    grid(rule.crop, rule.crop, crop=rule.crop, crops=rule.crops)
    stand_in = np.zeros((1, 1), FEATURES if given["features"] else np.uint8), [0]
    defaults = {
        name: argument.default
        for name, argument in inspect.signature(training.fit).parameters.items()
    }
    told = defaults | {key: given[key] for key in FITTED} | given["options"]
    recipe.check(network, dict.fromkeys(("train", "val"), stand_in), told)
    if not given["seeds"]:
        raise ValueError("seeds is empty; a training has one")
    return network


@functools.cache
def _without_memory(arguments):
    with torch.device("meta"):
        return create_model("smart_iqa", **json.loads(arguments))


def images_for(network, paths: Sequence[Path], *, features: int, folder: Path):
    """The images as `network` reads them, decoded once and kept in `folder`; or features of so many
    fixed crops of each.
    """
    rule = network.contract
    images = PixelCache(
        paths, folder, resize=rule.resize, interpolation=rule.interpolation[0]
    ).fill()
    return pyramid_features(network, images, crops=features, folder=folder) if features else images


def left_out_parts(table: pd.DataFrame, kinds: list[str]) -> dict[str, pd.Series]:
    """The part of every row for trainings that see all types of distortion (`all-types`), or all
    but one (`without-<type>`).

    Contents are divided as random80-0 does; all test on the same images, all types of the test
    contents. `all-types` trains on as many images as the smallest of the others, drawn with seed 0:
    fewer images are then no part of what a type is worth."""
    everything = splits.part_of(splits.make_split(table, "random80-0"), table)
    others = {
        kind: splits.part_of(splits.make_split(table, f"leave-{kind}-out"), table) for kind in kinds
    }
    fewest = min((part == "train").sum() for part in others.values())
    train = everything.index[everything == "train"]
    unused = np.random.default_rng(0).choice(train, len(train) - fewest, replace=False)
    tested = {
        f"without-{kind}": part.where(everything != "test", "test") for kind, part in others.items()
    }
    return {"all-types": everything.drop(unused).reindex(table.index)} | tested


@torch.inference_mode()
def shuffled(
    model, images: Sequence[np.ndarray], orders: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted labels (draws, n) of images, each with the stage weights of another, and all stage
    weights (n, crops, 4).

    orders   (draws, n): image i is judged with the weights of image orders[draw, i], crop by crop;
    all else is its own. Images and crops as for `evaluation.predict`. ValueError as
    `attention.stage_weights`, and for a gate that is not adaptive."""
    if not isinstance(getattr(model, "gate", None), AdaptiveGate):
        raise ValueError("only an adaptive gate has weights of other images to give")
    own, device = stage_weights(model, images), next(model.parameters()).device
    given = (
        torch.from_numpy(own).float().to(device)[torch.as_tensor(orders)]
    )  # (draws, n, crops, 4)
    scores, mode = np.zeros(np.shape(orders)), model.training
    model.eval()
    for i, image in enumerate(images):
        (views,) = inputs(image, None, model.contract, model.contract.crops)
        read = model.features(floats(views, device, torch.float32)).repeat(len(given), 1)
        scores[:, i] = (
            model(read, weights=given[:, i].flatten(0, 1)).view(len(given), -1).mean(1).cpu()
        )
    model.train(mode)
    return model.contract.offset + model.contract.scale * scores, own


def beside(parameters: dict) -> pd.DataFrame:
    """The rows of transfer.csv of the runs that `transfer` names (those with a /), for one matrix
    with that of `parameters`.

    ValueError for a run whose images are read by another rule (`contract`, `features`) or that was
    trained on a set that another row has; FileNotFoundError for one that is unfinished or tested no
    other set."""
    rows, seen = [pd.DataFrame()], {parameters["data_set"]: "this run"}
    for name in of_runs(parameters["transfer"]):
        folder = runs.finished(name)
        told = read_json(folder / "params.json")["parameters"]
        if differing := [
            f"{key} {told[key]}, not {parameters[key]}"
            for key in POLICY
            if told[key] != parameters[key]
        ]:
            raise ValueError(
                f"run {name} has {'; '.join(differing)}: one matrix has one crop policy; run one "
                f"of them anew"
            )
        if other := seen.get(told["data_set"]):
            raise ValueError(
                f"run {name} was trained on {told['data_set']}, as {other}; a matrix has one row a "
                f"set"
            )
        if not (folder / "transfer.csv").is_file():
            raise FileNotFoundError(
                f"run {name} has no transfer.csv: its `transfer` names no other set"
            )
        seen[told["data_set"]] = name
        rows.append(pd.read_csv(folder / "transfer.csv"))
    return pd.concat(rows)


def of_runs(names: list[str]) -> list[str]:
    """Those that are runs, <experiment>/<run>; the others are sets."""
    return [name for name in names if "/" in name]
