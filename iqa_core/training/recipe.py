"""What a training is given: checked, told apart from another, and brought to the model."""

import difflib
import hashlib
import inspect
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import nn

from ..loading.views import FEATURES
from ..models import OF_LABELS
from ..runs.parameters import check_value
from .losses import LOSSES
from .schedules import SCHEDULES

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}
LABEL_SCALES = ("standardised", "raw", "unit")
GIVEN = {
    "epochs",
    "batch_size",
    "crops_per_image",
    "backbone_lr",
    "head_lr",
    "weight_decay",
    "seed",
    "monitor",
}
GIVEN |= {
    "checkpoint",
    "say",
}  # arguments of fit that notebooks have parameters for, or give themselves
RATES = ("backbone_lr", "head_lr", "weight_decay", "backbone_weight_decay", "rank_weight")
COUNTS = (
    "epochs", "batch_size", "crops_per_image", "validate_every", "validate_steps", "accumulate", "patience", "decay_epochs",
)  # fmt: skip


def check(model: nn.Module, sets: dict, told: dict) -> None:
    """Refuses, as `training.fit` says, empty `sets` (name -> images and table), impossible
    arguments, and unfit models.
    """
    for name, (images, table) in sets.items():
        if not len(images) or len(images) != len(table):
            raise ValueError(
                f"the {name} part has {len(images)} images and {len(table)} rows; give it images, "
                f"one a row"
            )
    if wrong := {name: told[name] for name in COUNTS if told[name] is not None and told[name] < 1}:
        raise ValueError(f"{wrong}: at least 1 is wanted")
    if wrong := {
        name: told[name] for name in RATES if told[name] is not None and not told[name] >= 0
    }:
        raise ValueError(f"{wrong}: 0 or more is wanted")
    if not 0 <= told["warmup"] < 1:
        raise ValueError(
            f"warmup is {told['warmup']}, a fraction of all steps: 0 to below 1 is wanted"
        )
    if told["clip"] is not None and told["clip"] <= 0:
        raise ValueError(
            f"clip is {told['clip']}; a largest norm above 0 is wanted, null for no clipping"
        )
    choices = dict(
        optimizer=OPTIMIZERS,
        schedule=SCHEDULES,
        loss=LOSSES,
        label_scale=LABEL_SCALES,
        select=set(sets) - {"train"},
    )
    for name, known in choices.items():
        if told[name] not in known:
            raise KeyError(f"{name} is {told[name]!r}; there are {', '.join(known)}")
    features = {name for name, (images, _) in sets.items() if images[0].dtype == FEATURES}
    if features and (features != set(sets) or not hasattr(model, "features")):
        given = ", ".join(sorted(features))
        raise ValueError(
            f"{given} given as features: all sets must be, and {type(model).__name__} must read "
            f"them"
        )
    if features and (told["colour_jitter"] or told["random_validation"]):
        raise ValueError(
            "features are of fixed crops: colour_jitter and random_validation need images"
        )
    if not model.contract.crop or model.contract.reference or model.contract.context:
        raise ValueError(
            "fit trains on crops of single images; this model takes whole images or two of them"
        )


def check_options(fit, options: dict) -> None:
    """Refuses, before any work is done, options that are no arguments of `fit`, not of their type,
    or given by notebooks.

    KeyError with the names there are, ValueError for a value of another type.
    """
    arguments = {
        name: argument
        for name, argument in inspect.signature(fit).parameters.items()
        if name not in GIVEN
    }
    known = [name for name, argument in arguments.items() if argument.kind is argument.KEYWORD_ONLY]
    for name, value in options.items():
        if name in GIVEN:
            raise KeyError(
                f"options: the notebook gives {name} itself; set its parameter of that name"
            )
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise KeyError(
                f"options: training.fit has no {name!r}{hint} It has: {', '.join(known)}"
            )
        check_value(name, value, arguments[name].annotation, where="options")


def to_label_units(contract, predicted: np.ndarray, label) -> None:
    """Sets the contract's offset and scale to the line that takes these predictions nearest to the
    labels; a rising one.
    """
    slope, start = np.polyfit(predicted, label, 1)
    if slope > 0:
        contract.offset, contract.scale = (
            float(start + slope * contract.offset),
            float(slope * contract.scale),
        )


def identity(model: nn.Module, tables: dict, image: np.ndarray) -> dict:
    """What of a model, the tables and the kind of images (one of which is given) must be the same
    to go on, as plain values.
    """
    kind = getattr(model, "recipe", {"name": type(model).__name__})
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    scale = {"offset", "scale", "units"}  # which training itself sets
    contract = {name: value for name, value in asdict(model.contract).items() if name not in scale}
    kind_of_images = f"features {image.shape}" if image.dtype == FEATURES else "images"
    names = {
        "images": kind_of_images,
        "model": f"{kind}, parameters {_digest(str(shapes))}",
        "contract": str(contract),
    }
    return names | {
        f"table of {name}": f"{len(table)} rows, {_digest(table.to_csv())}"
        for name, table in tables.items()
    }


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def targets(model: nn.Module, table, loss: str, how: str) -> np.ndarray:
    """What scores are held against (n,), distributions (n, bins) for emd; the contract is given the
    scale.
    """
    labels, contract = table.label.to_numpy(float), model.contract
    if loss == "emd":
        contract.offset, contract.scale = 0.0, 1.0
        return _votes(model, table, labels)
    low, width = float(np.min(labels)), float(np.ptp(labels)) or 1.0
    scales = {
        "standardised": (float(np.mean(labels)), float(np.std(labels)) or 1.0),
        "raw": (0.0, 1.0),
        "unit": (low, width),
    }
    contract.offset, contract.scale = scales[how]
    contract.units = OF_LABELS
    if (
        contract.low is not None and how == "standardised"
    ):  # a score that cannot be below 0 never meets standardised labels
        contract.scale = width / (contract.high - contract.low)
        contract.offset = low - contract.scale * contract.low
    return (labels - contract.offset) / contract.scale


def _votes(model, table, labels):
    if not hasattr(model, "distribution"):
        raise ValueError(
            f"emd compares distributions; {type(model).__name__} predicts a score, choose another "
            f"loss"
        )
    columns = [f"c{vote}" for vote in range(1, int(model.contract.high) + 1)]
    votes = table.reindex(columns=columns).to_numpy(float)
    votes = votes / votes.sum(1, keepdims=True)
    if not np.abs(votes @ np.arange(1, len(columns) + 1) - labels).max() <= 0.01:
        raise ValueError(
            f"emd learns votes: the table needs {columns[0]} to {columns[-1]}, and their mean as "
            f"its label"
        )
    return votes


def groups(model: nn.Module, names, rates: tuple, decays: tuple) -> list[dict]:
    """Two parameter groups, the parts named and the rest, with their learning rates and weight
    decays.
    """
    if unknown := [name for name in names if not isinstance(getattr(model, name, None), nn.Module)]:
        known = ", ".join(name for name, _ in model.named_children())
        raise KeyError(
            f"{type(model).__name__} has no part {', '.join(unknown)} to learn as backbone; it has "
            f"{known}"
        )
    backbone = {id(p) for name in names for p in getattr(model, name).parameters()}
    split = (
        [p for p in model.parameters() if id(p) in backbone],
        [p for p in model.parameters() if id(p) not in backbone],
    )
    decays = [decays[1] if decays[0] is None else decays[0], decays[1]]
    return [
        {"params": p, "lr": rate, "weight_decay": d}
        for p, rate, d in zip(split, rates, decays, strict=True)
    ]
