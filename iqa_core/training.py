"""Training: one readable loop; a row per validation; the best row is chosen on val, test is never seen."""

import copy
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn
from tqdm.auto import tqdm

from .evaluation import predict
from .loading import batches
from .metrics import per_content
from .models import OF_LABELS
from .pixels import resize
from .stats import srcc


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch's global generator (initialisation, dropout) and return a NumPy one for crops and order."""
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
    validate_every: int = 1,
    warmup: float = 0.05,
    clip: float = 2.0,
    seed: int = 0,
    precision: str = "32-true",
    flips: str = "horizontal",
) -> Iterator[dict]:
    """Train `model` in place, yielding a row a validation; afterwards it holds the weights of the best row.

    Images are uint8 (h, w, 3), as in `cache.PixelCache`, one a row of its table (columns label and, optionally,
    content); ones smaller than the crop are enlarged to it, as `predict` does. L1 loss on labels standardised by the training
    set, or, where the contract bounds scores, taken from the training set's range to those bounds; `model.contract` keeps the
    scale. AdamW with one learning rate for `model.backbone` and one for the rest, linear warm-up over that fraction of all
    steps, then cosine to 1 %. Best is the highest mean per-content SRCC on val (plain SRCC without contents).
    ValueError for an empty part or a model that takes whole images or two inputs, FloatingPointError at the first loss that
    is not finite, naming epoch and batch.
    """
    for name, part, table in (("train", train_images, train_table), ("val", val_images, val_table)):
        if not len(part) or len(part) != len(table):
            raise ValueError(f"the {name} part has {len(part)} images and {len(table)} rows; give it images, one a row")
    if wrong := {k: v for k, v in dict(epochs=epochs, batch_size=batch_size, validate_every=validate_every).items() if v < 1}:
        raise ValueError(f"{wrong}: at least 1 is wanted")
    if not model.contract.crop or model.contract.reference or model.contract.context:
        raise ValueError("fit trains on crops of single images; this model takes whole images or two of them")
    images, labels = train_images, train_table.label.to_numpy(float)
    generator = seed_everything(seed)
    fabric = Fabric(accelerator="auto", devices=1, precision=precision)
    optimizer = torch.optim.AdamW(_groups(model, backbone_lr, head_lr), weight_decay=weight_decay)
    contract = model.contract
    _scale_to_labels(contract, labels)
    model.to(memory_format=torch.channels_last)
    network, optimizer = fabric.setup(model, optimizer)
    prepare = partial(resize, size=contract.resize, interpolation=contract.interpolation[0], at_least=contract.crop)
    steps = epochs * _steps(len(images) * crops_per_image, batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, warmup))

    best, kept, started, losses = -np.inf, None, time.perf_counter(), []
    bar = tqdm(total=steps, desc="train", mininterval=5)
    for epoch in range(1, epochs + 1):
        model.train()
        targets = (labels - contract.offset) / contract.scale
        options = dict(crop=contract.crop, batch_size=batch_size, crops_per_image=crops_per_image, prepare=prepare)
        for number, (crops, target) in enumerate(batches(images, targets, **options, generator=generator, flips=flips), 1):
            crops = crops.to(fabric.device).to(memory_format=torch.channels_last).float() / 255
            loss = nn.functional.l1_loss(network(crops), target.to(fabric.device))
            if not torch.isfinite(loss):
                raise _not_finite("loss", loss, epoch, number)
            optimizer.zero_grad()
            fabric.backward(loss)
            norm = fabric.clip_gradients(network, optimizer, max_norm=clip, error_if_nonfinite=False)
            if not torch.isfinite(norm) and precision != "16-mixed":  # whose scaler skips such steps itself
                raise _not_finite("gradient", norm, epoch, number)
            optimizer.step()
            schedule.step()
            losses.append(loss.item() * contract.scale)
            bar.update()
        if epoch % validate_every and epoch < epochs:
            continue
        row = {"epoch": epoch, "step": schedule.last_epoch, "train_l1": float(np.mean(losses))}
        row |= _validate(model, val_images, val_table)
        row |= {"backbone_lr": float(schedule.get_last_lr()[0]), "seconds": round(time.perf_counter() - started, 1)}
        losses, row["best"] = [], row["val_score"] > best
        if row["best"]:
            best, kept = row["val_score"], copy.deepcopy(model.state_dict())
        bar.set_postfix_str(f"val {row['val_score']:.3f}", refresh=False)
        yield row
    bar.close()
    if kept is None:
        raise ValueError("no validation gave an SRCC: are the labels or the predictions of the val part all the same?")
    model.load_state_dict(kept)


def _not_finite(what, value, epoch, number):
    place = f"{what} is {value.item()} in epoch {epoch}, batch {number}"
    return FloatingPointError(f"{place}; look for labels that are not numbers, else lower the learning rates")


def _scale_to_labels(contract, labels):
    contract.offset, contract.scale, contract.units = float(np.mean(labels)), float(np.std(labels)) or 1.0, OF_LABELS
    if contract.low is not None:  # a score that cannot be below 0 never meets standardised labels
        contract.scale = float(np.ptp(labels)) / (contract.high - contract.low) or 1.0
        contract.offset = float(np.min(labels)) - contract.scale * contract.low


def _groups(model, backbone_lr, head_lr):
    backbone = {id(p) for p in model.backbone.parameters()}
    split = [p for p in model.parameters() if id(p) in backbone], [p for p in model.parameters() if id(p) not in backbone]
    return [{"params": part, "lr": rate} for part, rate in zip(split, (backbone_lr, head_lr), strict=True)]


def _steps(crops, batch_size):
    rest = crops % batch_size
    return max(1, crops // batch_size + (rest >= batch_size / 2 and rest > 0))


def _rate(step, steps, warmup):
    if step < warmup * steps:
        return (step + 1) / (warmup * steps + 1)
    return 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1, (step - warmup * steps) / (steps * (1 - warmup)))))


def _validate(model, images, table):
    predicted, labels = predict(model, images), table.label.to_numpy(float)
    row = {"val_srcc": srcc(predicted, labels), "val_l1": float(np.abs(predicted - labels).mean())}
    if "content" in table and table.content.nunique() < len(table) / 2:
        row["val_content_srcc"] = per_content(predicted, labels, table.content)["srcc"]
    within = row.get("val_content_srcc", np.nan)
    return row | {"val_score": within if np.isfinite(within) else row["val_srcc"]}
