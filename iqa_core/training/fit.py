"""Training: one readable loop for every model; a row per validation; the best row is chosen on val,
test is never seen.
"""

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..loading.samples import Samples
from ..models import Objective, objective_of
from . import processes
from .checkpoint import Checkpoint
from .log import column, ending, opening
from .losses import UNITLESS
from .prepare import check, identity, leave, to_label_units
from .recipe import Recipe
from .step import Training, predict, set_up, take_step, validate

READ_EVERY = 16  # steps: losses are read from the device, which has to wait, so many at once


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch's global generator (initialisation, dropout) and return a NumPy one for crops and
    order.
    """
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def fit(
    model: nn.Module,
    train: Samples,
    val: Samples,
    *,
    recipe: Recipe,
    monitor: dict[str, Samples] | None = None,
    objective: Objective | None = None,
    checkpoint: Path | None = None,
    log: Callable[[str], None] = print,
) -> Iterator[dict]:
    """Train `model` in place, yielding a row a validation; afterwards it holds the weights of the
    best row, and as `kept_as` the key under which it is kept.

    The best row, of the last stage, has the highest val_score, the mean SRCC within contents (plain
    SRCC without contents), or the highest SRCC on the set that `recipe.select` names; then the
    column val_best marks what val would have chosen. `model.contract` keeps the scale from scores
    to labels. Losses that leave the scores' units open (`losses.UNITLESS`) get them at the end, by
    a straight line fitted on val; their train_l1 and val_l1 mean nothing.

    Inside torchrun all processes share every batch and every validation and yield the same rows,
    but for seconds; the first one writes and logs. A step is that of one process, but for dropout,
    for layers that measure the batch (batch norms, HyperIQA's light head) and for
    `recipe.accumulate`, whose parts pairwise losses do not look beyond.

    train, val    images and table; the images are whole, training looks at random crops of them
    monitor       other sets, name -> samples, watched in columns <name>_srcc and <name>_plcc
    objective     in place of the model's own: what a step is
    checkpoint    a folder in which trainings are kept, each under the key of what it depends on
                  (`prepare.identity`). A file is written there at the start, at every validation,
                  and when it is `recipe.checkpoint_minutes` old; from it this same training goes
                  on, on a CPU bit for bit, after its rows are yielded again. One that has finished
                  yields its rows and loads its weights: nothing is trained twice. The same model
                  given again as a training has left it, in a notebook's cell that is run again,
                  is that training's
    log           gets sentences

    KeyError or ValueError for what data, model and recipe cannot do together, before any step;
    FloatingPointError for a loss or gradient that is not finite, naming epoch and batch; OSError
    for a checkpoint that cannot be written, ValueError for a damaged one.
    """
    objective = objective or objective_of(model)
    sets = {"train": train, "val": val, **(monitor or {})}
    check(model, objective, recipe, sets)
    same = identity(model, objective, recipe, sets)
    training = set_up(model, objective, recipe, sets, seed_everything(recipe.seed))
    fabric = training.fabric
    log = log if fabric.global_rank == 0 else _silent
    parts = {"model": model, "optimizer": training.optimizer, "batches": training.batches}
    parts["precision"] = fabric.strategy.precision
    minutes, rank = recipe.checkpoint_minutes, fabric.global_rank
    saved = Checkpoint(checkpoint, same, parts, minutes=minutes, rank=rank)
    model.kept_as = saved.key
    try:
        yield from _train(training, saved, log)
    finally:
        leave(model, same)


def _train(training: Training, saved: Checkpoint, log: Callable[[str], None]) -> Iterator[dict]:
    """The rows of a training, from its beginning or from where it was left."""
    model, recipe = training.model, training.recipe
    fabric, batches, steps = training.fabric, training.batches, training.steps

    # A training that has finished is not done again.
    if kept := saved.finished():
        made = "of {date}, {device}, torch {torch}".format(**kept)
        log(f"{opening(training)}\nnot trained again: it is the kept training {saved.key} {made}")
        model.load_state_dict(kept["weights"])
        model.contract.offset, model.contract.scale = kept["scale"]
        yield from kept["rows"]
        log(ending(kept["rows"], steps, recipe.select))
        return

    # One that was left goes on; its rows until then are given again.
    progress = saved.restore()
    processes.agree(fabric, batches.taken)  # and nobody writes before all have read
    if progress:
        log(
            f"{opening(training)}\ngoes on from last.ckpt, {batches.taken} of {steps} steps done, "
            f"processes {fabric.world_size}"
        )
        yield from progress["rows"]
    else:
        progress = {"rows": [], "losses": [], "weights": {}, "seconds": 0.0}
        log(opening(training))
        if why := saved.why_anew():
            log(why)
        saved.save(progress)

    rows, pending = progress["rows"], []
    started = time.perf_counter() - progress["seconds"]
    shown = dict(desc="train", mininterval=5, disable=fabric.global_rank > 0)
    bar = tqdm(total=steps, initial=batches.taken, **shown)
    model.train()
    for step in range(batches.taken, steps + 1):
        # What was done until now is saved before a validation, which may take long.
        known = step == 0 or (rows and rows[-1]["step"] == step)
        row_due = not known and (step % training.interval == 0 or step == steps)
        save_due = row_due or saved.due()
        if save_due or len(pending) == READ_EVERY:
            progress["losses"] += _read(pending, len(batches), recipe.precision)
            progress["seconds"], pending = time.perf_counter() - started, []
        if save_due:
            saved.save(progress)

        # A row; the weights of the best one are kept.
        if row_due:
            row = _row(training, step, progress["losses"], rows)
            row["seconds"] = round(time.perf_counter() - started, 1)
            if row["best"]:
                progress["weights"] = copy.deepcopy(model.state_dict())
            progress["losses"] = []
            rows.append(row)
            bar.set_postfix_str(f"val {row['val_score']:.3f}", refresh=False)
            yield row
        patient = recipe.patience is None or _without_better(rows, training) < recipe.patience
        if step == steps or not patient:
            break

        pending.append((step, take_step(training, step)))
        bar.update()
    bar.close()

    if not progress["weights"]:
        raise ValueError(
            "no validation gave an SRCC: are the labels or the predictions of the val part all the "
            "same?"
        )
    model.load_state_dict(progress["weights"])
    if training.loss in UNITLESS:
        val = training.sets["val"]
        to_label_units(model.contract, predict(training, val), val.table.label)
    scale = [model.contract.offset, model.contract.scale]
    result = {"rows": rows, "weights": progress["weights"], "scale": scale}
    saved.finish(result | {"device": fabric.device.type})
    log(ending(rows, steps, recipe.select))


def _row(training: Training, step: int, losses: list, rows: list[dict]) -> dict:
    """A validation after so many steps, all but its time: the losses since the last of the earlier
    `rows`, figures on every set, and whether this row is the best so far.
    """
    recipe, objective = training.recipe, training.objective
    loss, error = np.mean(losses, axis=0).tolist()
    row = {"epoch": -(-step // len(training.batches)), "step": step, "train_loss": loss}
    row["train_l1"] = error * training.model.contract.scale
    row |= validate(training, step)
    row["backbone_lr"], row["head_lr"] = (g["lr"] for g in training.optimizer.param_groups[:2])
    row["seconds"] = 0.0  # has its place here
    final = recipe.stage(row["epoch"] - 1) == objective.stages - 1
    row["best"] = final and _better(row, rows, column(recipe.select), "best")
    if recipe.select != "val":
        row["val_best"] = final and _better(row, rows, "val_score", "val_best")
    return row


def _silent(text):
    """The log of all processes but the first one."""


def _read(pending, batches, precision):
    """[loss, mean absolute error] of the pending steps; FloatingPointError for the first one that
    is not finite.
    """
    values = torch.stack([values for _, values in pending]).tolist() if pending else []
    for (step, _), (loss, _, norm) in zip(pending, values, strict=True):
        if precision == "16-mixed":
            norm = 0.0  # its scaler skips such steps itself
        for what, value in (("loss", loss), ("gradient", norm)):
            if not np.isfinite(value):
                epoch, number = divmod(step, batches)
                raise FloatingPointError(
                    f"{what} is {value} in epoch {epoch + 1}, batch {number + 1}; look for labels "
                    "that are not numbers, else lower the learning rates"
                )
    return [[loss, error] for loss, error, _ in values]


def _better(row, rows, name, mark):
    return row[name] > max((earlier[name] for earlier in rows if earlier[mark]), default=-np.inf)


def _without_better(rows, training):
    """Number of rows of the last stage since the last best one."""
    stages = training.objective.stages
    rows = [row for row in rows if training.recipe.stage(row["epoch"] - 1) == stages - 1]
    since = (number for number, row in enumerate(reversed(rows)) if row["best"])
    return next(since, len(rows))
