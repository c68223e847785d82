"""What is settled before the first step of a training: whether data, model and recipe go together,
what scores are held against, which parameters learn at which rate, and what tells it from another.
"""

import hashlib
import inspect
import time
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import nn

from ..loading.features import check_frozen
from ..loading.samples import COLUMNS, Samples, check_sizes, fingerprint, wanted_parts
from ..loading.views import grid, is_frozen
from ..models import OF_LABELS, Objective, objective_of
from ..runs.sources import code_of_modules
from .losses import LOSSES, OF_VOTES, hinge
from .recipe import Recipe

FIT = "iqa_core.training.fit"  # from here on the code of a training is read
OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,  # decay within the gradient
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


# ---- what is refused


def check(model: nn.Module, objective: Objective, recipe: Recipe, sets: dict[str, Samples]) -> None:
    """Refuses what could only fail later: empty or uneven sets, parts that lack, labels that are no
    numbers, and a recipe that this model, its objective or these sets cannot follow.

    sets    "train", "val" and those that are watched

    KeyError or ValueError naming what is wrong and the fix.
    """
    for name, samples in sets.items():
        _check_set(
            name, samples, wanted_parts(model, objective if name == "train" else Objective())
        )
        check_sizes(samples)
    if recipe.select not in sets or recipe.select == "train":
        choices = ", ".join(name for name in sets if name != "train")
        raise KeyError(f"select is {recipe.select!r}; there are {choices}")
    if "partner" in objective.parts:
        _check_partners(sets["train"].table)
    _check_frozen(model, recipe, sets)
    check_model(model, objective, recipe)


def check_model(model: nn.Module, objective: Objective, recipe: Recipe) -> None:
    """The part of `check` that needs no images: what this model and its objective cannot do."""
    _check_loss(model, objective, recipe)
    _check_scale(model, objective, recipe)
    _check_stages(model, objective, recipe)
    parameter_groups(model, recipe)
    contract = model.contract
    if contract.crop:
        grid(contract.crop, contract.crop, crop=contract.crop, crops=contract.crops)
    elif recipe.random_validation:
        raise ValueError("random_validation is of crops; this model reads whole images")
    if recipe.batch_tokens and contract.crop:
        raise ValueError("batch_tokens is of whole images; this model reads crops, leave it out")


def _check_set(name, samples, parts):
    images = samples.parts.get("image", ())
    rows = len(samples.table)
    if not rows or any(len(some) != rows for some in samples.parts.values()) or not len(images):
        raise ValueError(
            f"the {name} part has {len(images)} images and {rows} rows; give it images, one a row"
        )
    for part in parts:
        if part not in samples.parts:
            raise ValueError(
                f"the {name} part has no {part} images, which the model compares with; "
                f"loading.open_samples opens those of the table's column `{COLUMNS[part]}`"
            )
    wrong = int((~np.isfinite(samples.table.label.to_numpy(float))).sum())
    if wrong:
        raise ValueError(f"{wrong} labels of the {name} part are no numbers; drop those rows")


def _check_partners(table):
    if "content" not in table or table.content.isna().any():
        raise ValueError("partners share a content: name one in every row of column `content`")
    counts = table.content.value_counts()
    if counts.min() < 2:
        raise ValueError(
            f"content {counts.idxmin()} has one training image, so that has no partner; drop it"
        )


def _check_frozen(model, recipe, sets):
    frozen = [name for name, samples in sets.items() if is_frozen(samples.parts["image"][0])]
    if not frozen:
        return
    check_frozen(model)
    if len(frozen) < len(sets):
        raise ValueError(f"{', '.join(frozen)} given as frozen crops: all sets must be")
    if recipe.colour_jitter or recipe.random_validation:
        raise ValueError("frozen crops are fixed: colour_jitter and random_validation need images")


def _check_loss(model, objective, recipe):
    if objective.loss == "recipe":
        if recipe.loss in OF_VOTES:
            raise ValueError(
                f"{recipe.loss} compares distributions; {type(model).__name__} predicts a score, "
                "choose another loss"
            )
        return
    name = objective.loss if isinstance(objective.loss, str) else objective.loss.__name__
    if recipe.loss not in (None, name) or recipe.rank_weight:
        raise ValueError(
            f"{type(model).__name__} as it is built learns by {name}; leave loss and "
            "rank_weight out"
        )


def _check_scale(model, objective, recipe):
    if objective.targets is not None and recipe.label_scale != "standardised":
        raise ValueError(f"{type(model).__name__} learns targets of its own; leave label_scale out")


def _check_stages(model, objective, recipe):
    stages = len(recipe.stages) if recipe.stages else 1
    if stages != objective.stages:
        kind = type(model).__name__
        if objective.stages == 1:
            raise ValueError(f"{kind} is trained in one stage; leave stages out")
        raise ValueError(
            f"{kind} is trained in {objective.stages} stages; give stages, the epochs of each"
        )


# ---- what scores are held against


def set_targets(
    model: nn.Module, objective: Objective, recipe: Recipe, table
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of the loss (n,) or (n, k), and labels in score units (n,), of a training's table;
    the model's contract is given the scale: label = offset + scale x score.
    """
    labels, contract = table.label.to_numpy(float), model.contract
    if objective.targets is not None:
        contract.offset, contract.scale = 0.0, 1.0
        return objective.targets(model, table), labels
    low, width = float(np.min(labels)), float(np.ptp(labels)) or 1.0
    scales = {
        "standardised": (float(np.mean(labels)), float(np.std(labels)) or 1.0),
        "raw": (0.0, 1.0),
        "unit": (low, width),
    }
    how = recipe.label_scale
    contract.offset, contract.scale = scales[how] if isinstance(how, str) else how
    contract.units = OF_LABELS
    if contract.low is not None and recipe.label_scale == "standardised":
        # A score that cannot be below 0 never meets standardised labels.
        contract.scale = width / (contract.high - contract.low)
        contract.offset = low - contract.scale * contract.low
    scores = (labels - contract.offset) / contract.scale
    return scores, scores


def loss_of(objective: Objective, recipe: Recipe):
    """The loss of a step: (outputs, target, stage) -> cost; and its name."""
    if callable(objective.loss):
        return objective.loss, objective.loss.__name__
    name = (recipe.loss or "l1") if objective.loss == "recipe" else objective.loss
    loss = LOSSES[name]

    def cost_of(outputs, target, stage):
        cost = loss(outputs, target)
        if recipe.rank_weight:
            cost = cost + recipe.rank_weight * hinge(outputs, target)
        return cost

    return cost_of, name


def to_label_units(contract, predicted: np.ndarray, label) -> None:
    """Sets the contract's offset and scale to the line that takes these predictions nearest to the
    labels; a rising one.
    """
    slope, start = np.polyfit(predicted, label, 1)
    if slope > 0:
        contract.offset = float(start + slope * contract.offset)
        contract.scale = float(slope * contract.scale)


# ---- what learns


def backbone_of(model: nn.Module, recipe: Recipe) -> list[str]:
    """The parts that learn at the backbone's rate: the recipe's, else the model's own."""
    return list(recipe.backbone_parts or objective_of(model).backbone)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Parameter groups with their rates and decays: the backbone's parts, the rest; and where
    vectors do not decay, the vectors of both. KeyError for a part that the model does not have.
    """
    names = backbone_of(model, recipe)
    unknown = [name for name in names if not isinstance(getattr(model, name, None), nn.Module)]
    if unknown:
        known = ", ".join(name for name, _ in model.named_children())
        kind = type(model).__name__
        raise KeyError(
            f"{kind} has no part {', '.join(unknown)} to learn as backbone; it has {known}; name "
            "some of them in backbone_parts"
        )
    inside = {id(p) for name in names for p in getattr(model, name).parameters()}
    backbone = [p for p in model.parameters() if id(p) in inside]
    head = [p for p in model.parameters() if id(p) not in inside]
    decay = recipe.backbone_weight_decay
    decay = recipe.weight_decay if decay is None else decay
    groups = [
        {"params": backbone, "lr": recipe.backbone_lr, "weight_decay": decay, "head": False},
        {"params": head, "lr": recipe.head_lr, "weight_decay": recipe.weight_decay, "head": True},
    ]
    if recipe.decay_vectors:
        return groups
    vectors = [[p for p in group["params"] if p.ndim <= 1] for group in groups]
    matrices = [[p for p in group["params"] if p.ndim > 1] for group in groups]
    return [
        *(group | {"params": some} for group, some in zip(groups, matrices, strict=True)),
        *(
            group | {"params": some, "weight_decay": 0.0}
            for group, some in zip(groups, vectors, strict=True)
        ),
    ]


def idle_parameters(
    model: nn.Module, objective: Objective, recipe: Recipe, groups: list[dict], epoch: int
) -> list[nn.Parameter]:
    """The parameters that do not learn in an epoch, counted from 0: those of other stages, and the
    head's once HyperIQA's filter is exhausted.
    """
    learning = {id(p) for p in objective.learns(model, recipe.stage(epoch))}
    idle = [p for p in model.parameters() if id(p) not in learning]
    if recipe.exhausted_filter and epoch > 0:
        idle += [p for group in groups if group["head"] for p in group["params"]]
    return idle


# ---- what tells it from another


def identity(
    model: nn.Module, objective: Objective, recipe: Recipe, sets: dict[str, Samples]
) -> dict[str, str | int | float | list | None]:
    """What a training depends on, as plain values: recipe, loss and objective; the model, its
    weights as it is now, its contract; of every set the rows and pixels; the code that `fit` and
    the model reach. Versions of libraries are not in it.
    """
    kind = getattr(model, "config", {"name": type(model).__name__, "parts": _digest(repr(model))})
    scale = {"offset", "scale", "units", "calibration"}  # which training and its test set
    contract = {key: value for key, value in asdict(model.contract).items() if key not in scale}
    values = recipe.identity() | {
        "loss": loss_of(objective, recipe)[1],
        "model": str(kind),
        "starting weights": _digest_of_weights(model),
        "fixed weights": [name for name, p in model.named_parameters() if not p.requires_grad],
        "contract": str(contract),
        "objective": str(objective.identity()),
    }
    for name, samples in sets.items():
        table = samples.table
        values[f"table of {name}"] = f"{len(table)} rows, {_digest(table.to_csv())}"
        for part, images in samples.parts.items():
            values[f"{part} of {name}"] = fingerprint(images)
    reached = [type(model), *(value for value in vars(objective).values() if callable(value))]
    modules = {FIT, *(each.__module__ for each in reached)}
    for module, digest in code_of_modules(modules).items():
        values[f"code of {module}"] = digest
    for each in reached:
        if not each.__module__.startswith("iqa_core."):  # of a notebook, or of another package
            values[f"code of {each.__qualname__}"] = _digest_of_code(each)
    return _of_left(model, values)


def leave(model: nn.Module, same: dict) -> None:
    """Notes in the model which training has left it, so that the same one finds it again."""
    model.left_by = same, _digest_of_weights(model)


def _of_left(model, values):
    """What a training depends on, with the weights that it began with where it has left the model
    as it is now.
    """
    if not hasattr(model, "left_by"):
        return values
    before, weights = model.left_by
    as_before = values | {"starting weights": before["starting weights"]}
    return before if values["starting weights"] == weights and as_before == before else values


def _digest_of_weights(model):
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def _digest_of_code(each):
    """Of a class or function outside this package; where its source cannot be had it is as no
    other.
    """
    try:
        return _digest(inspect.getsource(each))
    except (OSError, TypeError):
        return f"no source, {time.time_ns()}"


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]
