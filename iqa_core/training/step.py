"""One training set up, and the two things that its loop does: a step, and a validation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from ..evaluation import predict_samples
from ..loading.batches import Batches
from ..loading.jitter import jitter
from ..loading.samples import Samples
from ..loading.views import floats, is_frozen, resized_shape, shape_of
from ..metrics import per_content, plcc
from ..models import Objective
from ..stats import own_contents, srcc
from . import processes
from .prepare import OPTIMIZERS, idle_parameters, loss_of, parameter_groups, set_targets
from .recipe import Recipe
from .schedules import Place, learning_rate


@dataclass
class Training:
    """What a training consists of. Every process draws whole batches and works on its part."""

    model: nn.Module
    objective: Objective
    recipe: Recipe
    sets: dict[str, Samples]  # train, val and those that are watched
    fabric: Fabric
    batches: Batches
    targets: tuple[torch.Tensor, torch.Tensor]  # of the loss (n,) or (n, k); labels as scores (n,)
    cost_of: Callable  # (outputs, target, stage) -> cost
    loss: str  # its name
    groups: list[dict]  # of parameters: the backbone's, the head's
    network: nn.Module  # what a step calls: the model within what Fabric makes of it
    optimizer: torch.optim.Optimizer

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.recipe.epochs * len(self.batches)

    @property
    def interval(self) -> int:
        """Steps between two rows."""
        epochs = self.recipe.validate_every
        return self.recipe.validate_steps or max(1, int(epochs * len(self.batches)))


def set_up(
    model: nn.Module,
    objective: Objective,
    recipe: Recipe,
    sets: dict[str, Samples],
    generator: np.random.Generator,
) -> Training:
    """A training before its first step; the model's contract is given the labels' scale.

    ValueError for more processes than a batch has images; errors of `prepare` and `Batches`.
    """
    fabric = processes.start(recipe.precision)
    batches = _batches(model, objective, recipe, sets["train"], generator, fabric)
    processes.check_batches(fabric, batches.smallest())
    processes.own_dropout(fabric, recipe.seed)
    targets = set_targets(model, objective, recipe, sets["train"].table)
    cost_of, loss = loss_of(objective, recipe)
    groups = parameter_groups(model, recipe)
    optimizer = OPTIMIZERS[recipe.optimizer](groups)
    network, optimizer = processes.set_up(fabric, model, objective.forward, optimizer)
    return Training(
        model=model,
        objective=objective,
        recipe=recipe,
        sets=sets,
        fabric=fabric,
        batches=batches,
        targets=tuple(torch.from_numpy(values.astype(np.float32)) for values in targets),
        cost_of=cost_of,
        loss=loss,
        groups=groups,
        network=network,
        optimizer=optimizer,
    )


def _batches(model, objective, recipe, train, generator, fabric):
    """The training's batches; whole images are put together by their lengths."""
    contract, images, lengths = model.contract, train.parts["image"], None
    if contract.crop is None and is_frozen(images[0]):
        lengths = [image.shape[1] for image in images]
    elif contract.crop is None:
        shapes = (resized_shape(*shape_of(images, i), contract) for i in range(len(images)))
        lengths = [objective.length(model, *shape) for shape in shapes]
    return Batches(
        train,
        contract,
        objective,
        batch_size=recipe.batch_size,
        crops_per_image=recipe.crops_per_image,
        batch_tokens=recipe.batch_tokens,
        lengths=lengths,
        flips=recipe.flips,
        colour_jitter=recipe.colour_jitter,
        generator=generator,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


# ---- a step


def take_step(training: Training, step: int) -> torch.Tensor:
    """Step number `step`, from 0, of a training: its loss, the mean absolute error of its scores in
    their own units, and the norm of its gradient, (3,), on the device.
    """
    recipe, optimizer = training.recipe, training.optimizer
    epoch, number = divmod(step, len(training.batches))
    _set_rates(optimizer, recipe, Place(step, training.steps, epoch, recipe.epochs))
    if recipe.rebuild_optimizer and number == 0:
        optimizer.state.clear()

    optimizer.zero_grad()
    loss, error = _backward(training, recipe.stage(epoch))
    for parameter in idle_parameters(
        training.model, training.objective, recipe, training.groups, epoch
    ):
        parameter.grad = None  # which optimizers leave alone
    limit = np.inf if recipe.clip is None else recipe.clip
    norm = training.fabric.clip_gradients(
        training.network, optimizer, max_norm=limit, error_if_nonfinite=False
    )
    optimizer.step()
    return torch.stack([loss, error, norm.to(loss.dtype)])


def _set_rates(optimizer, recipe, place):
    """The groups' learning rates at a place of the training."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(
            recipe.schedule,
            recipe.head_lr if group["head"] else recipe.backbone_lr,
            place,
            head=group["head"],
            warmup=recipe.warmup,
            decay_epochs=recipe.decay_epochs,
        )


def _backward(training, stage):
    """Gradients of the loss of the next batch, of which the views are this process's; the loss and
    the mean absolute error of scores.
    """
    fabric, objective, batch = training.fabric, training.objective, next(training.batches)
    world, total = fabric.world_size, len(batch.rows)
    parts = min(training.recipe.accumulate, total // world)  # so that none is empty
    target, label = (_of_rows(values, batch).to(fabric.device) for values in training.targets)
    views = [_on_device(view, batch.colours, fabric.device) for view in batch.views]
    part_of = torch.arange(total, device=fabric.device) // world % parts
    loss = error = 0
    for part in range(parts):
        with fabric.no_backward_sync(training.network, enabled=part < parts - 1):
            outputs = training.network(*(view[part::parts] for view in views))
            rows = part_of == part
            wanted, truth = (target[rows], label[rows]) if parts > 1 else (target, label)
            outputs = processes.gathered(fabric, outputs, len(wanted))
            cost = training.cost_of(outputs, wanted, stage)
            fabric.backward(cost * (world * len(wanted) / total))
        weight = len(wanted) / total
        truth = truth[:, 0] if batch.partners is not None else truth
        off = (objective.scores(outputs.detach()) - truth).abs().mean()
        loss, error = loss + cost.detach() * weight, error + off * weight
    return loss, error


def _of_rows(values, batch):
    """Targets (b,) or (b, k) of a batch's samples; (b, 2), or (b, 2, k), with their partners'."""
    if batch.partners is None:
        return values[batch.rows]
    return torch.stack([values[batch.rows], values[batch.partners]], 1)


def _on_device(view, colours, device):
    """A batch in [0, 1], channels last and with its colours changed; a list of images likewise."""
    if isinstance(view, list):
        of_each = [None] * len(view)
        if colours is not None:
            order, amounts = colours
            of_each = [(order, amounts[k : k + 1]) for k in range(len(view))]
        images = zip(view, of_each, strict=True)
        return [_on_device(image[None], changes, device)[0] for image, changes in images]
    pixels = floats(view, device, torch.float32)
    if pixels.ndim == 4:
        pixels = pixels.to(memory_format=torch.channels_last)
    return pixels if colours is None else jitter(pixels, *colours)


# ---- a validation


def validate(training: Training, step: int) -> dict:
    """The columns of all sets but the training's, after `step` steps: <name>_srcc and <name>_plcc,
    and of val also val_l1 in label units, val_content_srcc where there are contents, and val_score,
    which chooses.
    """
    processes.same_buffers(training.fabric, training.model)
    columns = {}
    for name, samples in training.sets.items():
        if name == "train":
            continue
        predicted = predict(training, samples, step)
        labels = samples.table.label.to_numpy(float)
        columns[f"{name}_srcc"] = float(srcc(predicted, labels))
        columns[f"{name}_plcc"] = float(plcc(predicted, labels))
        if name == "val":  # labels of other sets may be of another kind
            columns |= _of_val(predicted, labels, samples.table)
    return columns


def _of_val(predicted, labels, table):
    columns = {"val_l1": float(np.abs(predicted - labels).mean())}
    content = own_contents(table)
    within = np.nan
    if content is not None:
        within = float(per_content(predicted, labels, content)["srcc"])
        columns["val_content_srcc"] = within
    columns["val_score"] = within if np.isfinite(within) else float(srcc(predicted, labels))
    return columns


def predict(training: Training, samples: Samples, step: int | None = None) -> np.ndarray:
    """Predicted labels (n,) of samples, as the objective has it; with `random_validation`, at
    places that are new at every step.
    """
    recipe, of_objective = training.recipe, training.objective.predict
    random = (recipe.seed, step) if recipe.random_validation and step is not None else None
    function = of_objective or predict_samples
    return function(training.model, samples, random=random, distributed=True)
