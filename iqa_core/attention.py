"""What SMART-IQA's stage weights are on each image, and where a model looks: gradients, and the
attention inside Swin.

A stage weight is one number for a whole feature map: it says nothing about places. Nor is it the
stage's share in the score: it scales what the hyper-network reads, while the local vector that the
generated network judges reads all four stages unweighed. Places are told by `gradient_maps`, for
every pyramid, and `window_attention`, for Swin."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import pandas as pd
import torch
from scipy.special import entr
from timm.models.swin_transformer import SwinTransformerStage, window_reverse
from torch import nn
from tqdm.auto import tqdm

from .loading.views import (
    batch,
    evaluation_places,
    evaluation_views,
    floats,
    is_frozen,
    resized_shape,
    views,
)
from .models.pyramid import Pyramid
from .models.smart_iqa import SmartIQA, StaticGate

STAGES = ["stage1", "stage2", "stage3", "stage4"]  # columns of tables; strides 4, 8, 16, 32


@torch.inference_mode()
def stage_weights(
    model, images: Sequence[np.ndarray], *, crops: int | None = None, batch_size: int = 32
) -> np.ndarray:
    """Stage weights (n, k, 4) of k crops of each image, from the finest stage to the coarsest; each
    four sum to 1.

    Images and crops as for `evaluation.predict`, so images may be features; `batch_size` crops go
    through the model at a time. ValueError for a model without stage weights, and for images of
    which some get more crops than others."""
    if not isinstance(model, SmartIQA):
        raise ValueError(f"{type(model).__name__} weighs no stages; stage weights are SMART-IQA's")
    device = next(model.parameters()).device
    of_images = []
    with _judging(model):
        for image in tqdm(images, desc="stage weights", mininterval=5):
            (array,) = evaluation_views(
                {"image": image}, model.contract, crops=crops or model.contract.crops
            )
            parts = [
                model.stage_weights(floats(part, device, torch.float32))
                for part in batch([array]).split(batch_size)
            ]
            of_images.append(torch.cat(parts).cpu().numpy())
    if len({len(weights) for weights in of_images}) > 1:
        raise ValueError(
            "the images differ in size and the contract covers each by as few crops as it needs; "
            "give crops="
        )
    return np.stack(of_images).astype(float)


def entropy(weights: np.ndarray) -> np.ndarray:
    """Shannon's entropy in bits of weights (..., 4): 2 where all are equal, 0 where one has
    everything -> (...).

    The entropy of mean weights is at least the mean of the entropies. ValueError for weights below
    0 or not of sum 1."""
    weights = np.asarray(weights, dtype=float)
    if not ((weights >= 0).all() and np.allclose(weights.sum(-1), 1, atol=1e-4)):
        raise ValueError(
            "weights of at least 0 that sum to 1 along the last axis are wanted, as "
            "`stage_weights` gives them"
        )
    return entr(weights).sum(-1) / np.log(2)


def spread(weights: np.ndarray) -> dict:
    """How far weights (n, k, 4) vary between images, and between crops of one image: standard
    deviations (4,) `between` and `within`, and `share` (4,) in [0, 1], the part of the variance
    that lies between images (NaN where nothing varies).

    One-way random effects: what crops alone add to the variance of means is taken out of `between`
    (Searle, Casella and McCulloch 1992, Variance Components, chapter 3). ValueError for fewer than
    two images or crops."""
    if min(weights.shape[:2]) < 2:
        raise ValueError(
            f"weights of {weights.shape[0]} images x {weights.shape[1]} crops; two of both are "
            f"needed"
        )
    within = weights.var(1, ddof=1).mean(0)
    between = np.maximum(weights.mean(1).var(0, ddof=1) - within / weights.shape[1], 0)
    total = within + between
    share = np.divide(between, total, out=np.full(4, np.nan), where=total > 1e-12)
    return dict(between=np.sqrt(between), within=np.sqrt(within), share=share)


def made_static(model, weights: np.ndarray) -> nn.Module:
    """A copy of a SMART-IQA that weighs the stages of every image by the same `weights` (4,), which
    sum to 1.
    """
    entropy(weights)
    other = copy.deepcopy(model)
    other.gate = StaticGate()
    with torch.no_grad():
        other.gate.logits.copy_(torch.as_tensor(np.log(np.maximum(weights, 1e-30))))
    return other.to(next(model.parameters()).device).train(model.training)


def select_images(
    table: pd.DataFrame, rows: Sequence[int], *, by: str = "label", further: int = 0
) -> pd.DataFrame:
    """Three of the numbered rows of `table`, by rule: of the lowest, the median (the higher of two)
    and the highest value of column `by`, ties by the image's name. Column `quality` says which.

    `further`: so many distortion types more, in the order of their names, of those that stand alone
    in an image and that the three lack; of each the median image, `quality` "median of <type>".
    ValueError for fewer than three rows, and where `by` is no column or has gaps."""
    tested = table.iloc[list(rows)]
    if len(tested) < 3:
        raise ValueError(f"{len(tested)} rows to choose from; three are needed")
    if by not in tested or tested[by].isna().any():
        raise ValueError(
            f"images cannot be chosen by {by!r}: no column, or not known of every row; label "
            f"always is"
        )
    tested = tested.sort_values([by, "image"], kind="stable")
    places = {"lowest": 0, "median": len(tested) // 2, "highest": -1}
    chosen = [tested.iloc[[place]].assign(quality=word) for word, place in places.items()]
    if further and "distortion" in tested:
        shown = {row.distortion.iloc[0] for row in chosen}
        alone = tested[tested.distortion.notna() & ~tested.distortion.isin({"", *shown})]
        alone = alone[alone.distortion2.isna()] if "distortion2" in alone else alone
        for name, group in list(alone.groupby("distortion"))[:further]:
            chosen.append(group.iloc[[len(group) // 2]].assign(quality=f"median of {name}"))
    return pd.concat(chosen)


def as_reported(selected: pd.DataFrame) -> pd.DataFrame:
    """`selected` (columns predicted and label, z-scores of 0 to 100, and mos, votes of 1 to 5) with
    three columns more.

    `as_reported`: the prediction on 1 to 5 as the SMART-IQA reports bring it there, (x / 100) 4 +
    1; `as_reported_error`, against mos; `error_of_the_rule`, what the rule alone is off by when the
    prediction is perfect."""
    scores, truth = ((selected[column] / 100 * 4 + 1) for column in ("predicted", "label"))
    return selected.assign(
        as_reported=scores,
        as_reported_error=scores - selected.mos,
        error_of_the_rule=truth - selected.mos,
    )


def gradient_maps(model, image: np.ndarray) -> np.ndarray:
    """Gradient times activation of the four stages at every place of a uint8 image (h, w, 3) -> (4,
    h, w), signed.

    HiResCAM (Draelos and Carin 2020, arXiv:2011.08891) without its last ReLU: the derivative of the
    predicted label by a stage's map, the other stages held fixed, times that map, summed over
    channels. (Grad-CAM, Selvaraju et al. 2017, DOI 10.1109/ICCV.2017.74, averages the derivative
    over places first, and so may mark places that no score depends on.) In label units a pixel:
    over a crop a stage's map sums to the first-order change of the crop's predicted label, relative
    to the change of scale of the stage's map. The image is covered by as few crops as it takes,
    averaged where they overlap; a token is a square. 0 is an absent activation, no neutral quality.
    SMART-IQA and HyperIQA's published head read a stage as means over squares of 28 pixels or more,
    so what is finer comes from the activation alone. ValueError for features and for a model that
    does not read a pyramid crop by crop."""

    def of(views):
        kept = []

        def keep(module, given, maps):
            kept.extend(part.detach().requires_grad_() for part in maps[-4:])
            return [*maps[:-4], *kept]

        handle = model.backbone.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                score = model.contract.scale * model(views).sum()
        finally:
            handle.remove()
        slopes = torch.autograd.grad(
            score, kept, allow_unused=True
        )  # None: stages that a single scale leaves out
        pairs = [(part.detach(), slope) for part, slope in zip(kept, slopes, strict=True)]
        maps = [
            part.sum(1) * 0 if slope is None else (part * slope).sum(1) for part, slope in pairs
        ]
        return [m * (m.shape[-1] / views.shape[-1]) ** 2 for m in maps]

    return _everywhere(model, image, of)


def window_attention(model, image: np.ndarray) -> np.ndarray:
    """Attention that each token receives in the last block of each Swin stage, at every place of a
    uint8 image (h, w, 3) -> (4, h, w): the mean over heads and over the queries of its window,
    times the number of tokens there.

    1 is an even share. Tokens attend within their window alone, so whatever the image is, a map
    averages 1 over every window (where windows are shifted over a crop's border, over each piece):
    only differences within a window mean anything. It is what the backbone mixes, not what the
    score depends on. Swin: Liu et al. 2021, DOI 10.1109/ICCV48922.2021.00986. ValueError for a
    backbone that is no Swin, otherwise as `gradient_maps`."""
    blocks = [m.blocks[-1] for m in model.modules() if isinstance(m, SwinTransformerStage)]
    if len(blocks) != 4:
        raise ValueError(
            f"a backbone of {len(blocks)} Swin stages, not 4, has no window attention; use "
            f"gradient_maps"
        )

    def of(views):
        received = {}
        with ExitStack() as undo, torch.inference_mode():
            for attention in (block.attn for block in blocks):
                undo.callback(setattr, attention, "fused_attn", attention.fused_attn)
                attention.fused_attn = False  # a fused one never has its shares in memory
                keep = attention.softmax.register_forward_hook(
                    lambda at, _, shares: received.update({at: shares.mean(1)})
                )
                undo.callback(keep.remove)
            model.backbone(views)
        return [_whole(block, received[block.attn.softmax].sum(1)) for block in blocks]

    return _everywhere(model, image, of)


def _whole(block, values):
    """Values (windows, tokens) of a Swin block -> (b, side, side)."""
    windows = values.unflatten(1, (*block.window_size, 1))
    return window_reverse(windows, block.window_size, *block.input_resolution)[..., 0].roll(
        block.shift_size, (1, 2)
    )


def _everywhere(model, image, of):
    """Four maps, which `of` gives of crops, of a whole image: (4, h, w)."""
    contract = model.contract
    if not isinstance(getattr(model, "backbone", None), Pyramid) or not contract.crop:
        raise ValueError(
            f"{type(model).__name__} does not read a feature pyramid crop by crop: it has no "
            f"stages to map"
        )
    if is_frozen(image):
        raise ValueError("frozen crops have no places; give the image itself, uint8 (h, w, 3)")
    sides = resized_shape(*image.shape[:2], contract)
    sums, times = torch.zeros(4, *sides), torch.zeros(sides)
    device = next(model.parameters()).device
    for place in evaluation_places(*sides, contract, crops=None):
        (array,) = views({"image": image}, contract, [place])
        with _judging(model):
            maps = of(floats(batch([array]), device, torch.float32))
        bottom, right = place.top + contract.crop, place.left + contract.crop
        crop = ..., slice(place.top, bottom), slice(place.left, right)
        sums[crop] += torch.cat([_enlarged(m.float().cpu(), contract.crop) for m in maps])
        times[crop] += 1
    return _enlarged(sums / times, image.shape[:2]).numpy()


def _enlarged(maps, size):
    """(n, h, w) -> (n, *size) by the nearest."""
    return nn.functional.interpolate(maps[None], size, mode="nearest-exact")[0]


@contextmanager
def _judging(model):
    """In evaluation mode, and left in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(training)
