"""Training: one readable loop; a row per validation; the best row is chosen on val, test is never
seen.
"""

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from ..evaluation import predict
from ..loading.batches import Batches
from ..loading.jitter import jitter
from ..loading.views import floats
from ..metrics import per_content, plcc
from ..pixels import resize
from ..stats import own_contents, srcc
from . import log as journal
from . import processes, recipe
from .checkpoint import Keeper
from .losses import LOSSES, hinge
from .schedules import Place, learning_rate

READ_EVERY = 16  # steps: losses are read from the device, which has to wait for it, so many at once
OBJECTS = {
    "model",
    "train_images",
    "train_table",
    "val_images",
    "val_table",
    "monitor",
}  # told by `recipe.identity`
FREE = {"checkpoint", "checkpoint_minutes", "say"}  # a training goes on whatever these are
NO_UNITS = {
    "plcc",
    "rank",
    "fidelity",
}  # losses that any shift, or any linear map, of the scores leaves as they are


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch's global generator (initialisation, dropout) and return a NumPy one for crops and
    order.
    """
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def fit(
    model: nn.Module,
    train_images: Sequence[np.ndarray],
    train_table: pd.DataFrame,
    val_images: Sequence[np.ndarray],
    val_table: pd.DataFrame,
    *,
    epochs: int,
    batch_size: int,
    crops_per_image: int,
    backbone_lr: float,
    head_lr: float,
    weight_decay: float,
    backbone_weight_decay: float | None = None,
    backbone_parts: Sequence[str] = ("backbone",),
    optimizer: str = "adamw",
    schedule: str = "cosine",
    warmup: float = 0.05,
    decay_epochs: int = 6,
    clip: float | None = 2.0,
    accumulate: int = 1,
    loss: str = "l1",
    rank_weight: float = 0.0,
    label_scale: str = "standardised",
    flips: str = "horizontal",
    colour_jitter: bool = False,
    validate_every: int = 1,
    validate_steps: int | None = None,
    random_validation: bool = False,
    patience: int | None = None,
    monitor: dict[str, tuple[Sequence[np.ndarray], pd.DataFrame]] | None = None,
    select: str = "val",
    rebuild_optimizer: bool = False,
    exhausted_filter: bool = False,
    checkpoint: Path | None = None,
    checkpoint_minutes: float = 10.0,
    say: Callable[[str], None] = print,
    seed: int = 0,
    precision: str = "32-true",
) -> Iterator[dict]:
    """Train `model` in place, yielding a row a validation; afterwards it holds the weights of the
    best row.

    Images are uint8 (h, w, 3), as in `cache.PixelCache`, one a row of its table (columns label and,
    optionally, content); ones smaller than the crop are enlarged to it, as `predict` does. Or
    features (`features.pyramid_features`), float16, of fixed crops: then the backbone does not
    learn and nothing is flipped. A step takes `batch_size` crops, where memory is short in
    `accumulate` parts: the same step for l1, l2 and emd in models whose layers do not measure the
    batch (batch norms and HyperIQA's light head do: they see a part); the other losses then see
    pairs within a part only. The parts of the model that `backbone_parts` names learn at
    `backbone_lr` and `backbone_weight_decay`, which is `weight_decay` unless given, the rest at
    `head_lr`. `optimizer`: adamw, adam (decay within the gradient), sgd (momentum .9). `schedule`,
    `warmup` (a fraction of all steps), `decay_epochs`: `schedules.learning_rate`. `clip`: the
    largest norm of the gradient. `loss`: a name of `losses.LOSSES`; `rank_weight` times
    `losses.hinge` is added. `flips`, `colour_jitter`: of crops, see `loading`. `label_scale`: what
    scores are held against: standardised labels, or, where the contract has bounds, the training
    set's range brought to those; raw labels; or unit, that range brought to 0 to 1.
    `model.contract` keeps the scale. emd learns votes, columns c1, c2, ... of the training table,
    whose mean must be the label. Losses that do not fix the scores' units (plcc, rank, fidelity)
    get them at the end, by a straight line fitted on val; their train_l1 and val_l1 mean nothing.

    A row comes every `validate_every` epochs, or `validate_steps` steps, and at the end. Best is
    the highest val_score, the mean per-content SRCC (plain SRCC without contents); `patience` rows
    without a better one end the training. `monitor`: other sets, name -> (images, table), watched
    in columns `<name>_srcc` and `<name>_plcc`. `select` may name one of them, whose SRCC then
    chooses, as published code does on test; the column val_best marks what val would have chosen.
    `random_validation`: crops at random places in all these sets, new ones for every row. Quirks of
    HyperIQA's code: `rebuild_optimizer` forgets the optimizer's moments after every epoch,
    `exhausted_filter` stops the head after the first.

    `checkpoint`: a file written at the start, at every validation, and when it is
    `checkpoint_minutes` old. If it is there, of the same arguments, data and kind of model, its
    rows are yielded again and training goes on, on a CPU bit for bit. Inside torchrun all processes
    share every batch and every validation, and yield the same rows (but for seconds); the first one
    writes and calls `say`, which gets sentences for a log. A step is that of one process, but for
    dropout, for layers that measure the batch (`processes.set_up`; HyperIQA's light head measures
    its own process's crops) and for `accumulate`. ValueError or KeyError for an empty part, an
    impossible choice or a model that takes whole images or two inputs, FloatingPointError for a
    loss or gradient that is not finite, naming epoch and batch, OSError for a checkpoint that
    cannot be written, ValueError for one of another training, naming what differs."""
    told = {name: value for name, value in locals().items() if name not in OBJECTS | FREE}
    told = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in told.items()
    }
    sets = {"val": (val_images, val_table), **(monitor or {})}
    recipe.check(model, {"train": (train_images, train_table), **sets}, told)
    generator, fabric = seed_everything(seed), processes.start(precision)
    share = processes.share(
        fabric, seed, at_most=min(-(-batch_size // 2), len(train_images) * crops_per_image)
    )
    tables = {"train": train_table} | {name: table for name, (_, table) in sets.items()}
    configuration = told | recipe.identity(model, tables, train_images[0])
    targets, contract = recipe.targets(model, train_table, loss, label_scale), model.contract
    groups = recipe.groups(
        model, backbone_parts, (backbone_lr, head_lr), (backbone_weight_decay, weight_decay)
    )
    network, optimizer = processes.set_up(fabric, model, recipe.OPTIMIZERS[optimizer](groups))
    prepare = partial(
        resize,
        size=contract.resize,
        interpolation=contract.interpolation[0],
        at_least=contract.crop,
    )
    crops = dict(
        crop=contract.crop,
        batch_size=batch_size,
        crops_per_image=crops_per_image,
        prepare=prepare,
        flips=flips,
    )
    data = Batches(
        train_images,
        targets,
        **crops,
        colour_jitter=colour_jitter,
        generator=generator,
        share=share,
    )
    steps, interval = epochs * len(data), validate_steps or validate_every * len(data)
    parts = {
        "model": model,
        "optimizer": optimizer,
        "data": data,
        "precision": fabric.strategy.precision,
    }
    keeper = Keeper(checkpoint, configuration, parts, minutes=checkpoint_minutes, rank=share[0])
    say = say if share[0] == 0 else _silent
    past = {"rows": [], "losses": [], "kept": {}, "seconds": 0.0}
    found = keeper.restore()
    processes.agree(
        fabric, data.taken
    )  # also: all have read the file before the first process writes it
    if found:
        past = found
        say(
            f"goes on from {checkpoint.name}, {data.taken} of {steps} steps done, processes "
            f"{fabric.world_size}"
        )
        yield from past["rows"]
    else:
        say(journal.opening(fabric, model, groups, tables, data, told))
        keeper.save(past)
    rows, chosen_by = past["rows"], journal.column(select)
    started, pending = time.perf_counter() - past["seconds"], []
    bar = tqdm(total=steps, initial=data.taken, desc="train", mininterval=5, disable=share[0] > 0)
    model.train()
    for step in itertools.count(data.taken):
        due = (
            step > 0
            and (step % interval == 0 or step == steps)
            and (not rows or rows[-1]["step"] < step)
        )
        keep = due or keeper.due()
        if keep or len(pending) == READ_EVERY:
            past["losses"] += _read(pending, contract.scale, precision)
            past["seconds"], pending = time.perf_counter() - started, []
        if keep:
            keeper.save(past)
        if due:
            rates = {
                f"{name}_lr": group["lr"]
                for name, group in zip(("backbone", "head"), optimizer.param_groups, strict=True)
            }
            row = {"epoch": -(-step // len(data)), "step": step}
            row |= dict(
                zip(
                    ("train_loss", "train_l1"),
                    np.mean(past["losses"], axis=0).tolist(),
                    strict=True,
                )
            )
            processes.same_buffers(fabric, model)
            for name, (images, table) in sets.items():
                row |= _validate(
                    model, images, table, name, random=(seed, step) if random_validation else None
                )
            row |= rates | {
                "seconds": round(time.perf_counter() - started, 1),
                "best": _better(row, rows, chosen_by, "best"),
            }
            if select != "val":
                row["val_best"] = _better(row, rows, "val_score", "val_best")
            if row["best"]:
                past["kept"] = copy.deepcopy(model.state_dict())
            past["losses"] = []
            rows.append(row)
            bar.set_postfix_str(f"val {row['val_score']:.3f}", refresh=False)
            yield row
        if step == steps or (patience and _without_better(rows) >= patience):
            break
        epoch, batch = divmod(step, len(data))
        for head, (group, base) in enumerate(
            zip(optimizer.param_groups, (backbone_lr, head_lr), strict=True)
        ):
            place = Place(step, steps, epoch, epochs)
            group["lr"] = learning_rate(
                schedule, base, place, head=head == 1, warmup=warmup, decay_epochs=decay_epochs
            )
        if rebuild_optimizer and batch == 0:
            optimizer.state.clear()
        optimizer.zero_grad()
        values = _backward(
            fabric, network, *next(data), loss=loss, rank_weight=rank_weight, parts=accumulate
        )
        if exhausted_filter and epoch > 0:
            for parameter in groups[1]["params"]:
                parameter.grad = None  # which optimizers leave alone
        norm = fabric.clip_gradients(
            network, optimizer, max_norm=np.inf if clip is None else clip, error_if_nonfinite=False
        )
        optimizer.step()
        pending.append((epoch + 1, batch + 1, torch.stack([*values, norm.to(values[0].dtype)])))
        bar.update()
    bar.close()
    if not past["kept"]:
        raise ValueError(
            "no validation gave an SRCC: are the labels or the predictions of the val part all the "
            "same?"
        )
    model.load_state_dict(past["kept"])
    if loss in NO_UNITS:
        recipe.to_label_units(contract, predict(model, val_images, share=True), val_table.label)
    say(journal.ending(rows, steps, select))


def _silent(text):
    """What processes but the first one say."""


def _backward(fabric, network, crops, target, colours, *, loss, rank_weight, parts):
    """Gradients of the loss of a batch, of which `crops` are this process's; the loss and the mean
    absolute error.
    """
    world, total = fabric.world_size, len(target)
    parts = min(parts, total // world)  # so that none is empty
    pixels = floats(crops, fabric.device, torch.float32)
    pixels = pixels.to(memory_format=torch.channels_last) if pixels.ndim == 4 else pixels
    target, turn = (
        target.to(fabric.device),
        torch.arange(total, device=fabric.device) // world % parts,
    )
    if colours is not None:
        pixels = jitter(pixels, *colours)
    sums = [0, 0]
    for part in range(parts):
        with fabric.no_backward_sync(network, enabled=part < parts - 1):
            own = (
                network.distribution(pixels[part::parts])
                if loss == "emd"
                else network(pixels[part::parts])
            )
            wanted = target[turn == part] if parts > 1 else target
            predicted = processes.gathered(fabric, own, len(wanted))
            cost = LOSSES[loss](predicted, wanted)
            if rank_weight:
                cost = cost + rank_weight * hinge(predicted, wanted)
            fabric.backward(cost * (world * len(wanted) / total))
        error = cost if loss == "l1" and not rank_weight else _error(predicted, wanted)
        sums = [
            done + value.detach() * (len(wanted) / total)
            for done, value in zip(sums, (cost, error), strict=True)
        ]
    return sums


def _error(predicted, wanted):
    """Mean absolute error of scores, or of the means of distributions."""
    off = (predicted - wanted).detach()
    return (
        (
            off
            if off.ndim == 1
            else off @ torch.arange(off.shape[1], device=off.device, dtype=off.dtype)
        )
        .abs()
        .mean()
    )


def _read(pending, scale, precision):
    """[loss, absolute error in label units] of the steps pending; FloatingPointError for the first
    that is not finite.
    """
    values = torch.stack([values for _, _, values in pending]).tolist() if pending else []
    for (epoch, batch, _), (loss, _, norm) in zip(pending, values, strict=True):
        skipped = precision == "16-mixed"  # whose scaler skips such steps itself
        for what, value in {"loss": loss, "gradient": 0.0 if skipped else norm}.items():
            if not np.isfinite(value):
                hint = "look for labels that are not numbers, else lower the learning rates"
                raise FloatingPointError(
                    f"{what} is {value} in epoch {epoch}, batch {batch}; {hint}"
                )
    return [[loss, error * scale] for loss, error, _ in values]


def _validate(model, images, table, name, *, random):
    predicted, labels = (
        predict(model, images, random=random, share=True),
        table.label.to_numpy(float),
    )
    row = {
        f"{name}_srcc": float(srcc(predicted, labels)),
        f"{name}_plcc": float(plcc(predicted, labels)),
    }
    if name != "val":  # its labels may be of another kind
        return row
    row["val_l1"] = float(np.abs(predicted - labels).mean())
    if (content := own_contents(table)) is not None:
        row["val_content_srcc"] = float(per_content(predicted, labels, content)["srcc"])
    within = row.get("val_content_srcc", np.nan)
    return row | {"val_score": within if np.isfinite(within) else row["val_srcc"]}


def _better(row, rows, column, mark):
    return row[column] > max((old[column] for old in rows if old[mark]), default=-np.inf)


def _without_better(rows):
    """Number of rows since the last best one."""
    return next((number for number, row in enumerate(reversed(rows)) if row["best"]), len(rows))


check_options = partial(recipe.check_options, fit)  # of notebooks' `options`
