"""What SMART-IQA's stage weights are on each image, and where a model looks: gradients, and the
attention inside Swin.

A stage weight is one number for a whole feature map: it says nothing about places. Nor is it the
stage's share in the score: it scales what the hyper-network reads, while the local vector that the
generated network judges reads all four stages unweighed. Places are told by `gradient_maps`, for
every pyramid, and `window_attention`, for Swin.
"""

import copy
from collections.abc import Callable, Sequence
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
from .metrics import apply_scale
from .models import Contract
from .models.pyramid import Pyramid
from .models.smart_iqa import SmartIQA, StaticGate
from .stats import srcc

STAGES = ["stage1", "stage2", "stage3", "stage4"]  # columns of tables; strides 4, 8, 16, 32


# ---- stage weights


@torch.inference_mode()
def stage_weights(
    model, images: Sequence[np.ndarray], *, crops: int | None = None, batch_size: int = 32
) -> np.ndarray:
    """Stage weights of each crop of each image.

    images       as for `evaluation.predict`; they may be frozen crops
    crops        in place of the contract's number of crops
    batch_size   crops that go through the model at a time

    Returns (n, crops, 4), from the finest stage to the coarsest; each four sum to 1.
    ValueError for a model without stage weights, and for images of which some get more crops than
    others.
    """
    if not isinstance(model, SmartIQA):
        raise ValueError(f"{type(model).__name__} weighs no stages; stage weights are SMART-IQA's")
    crops = crops or model.contract.crops
    device = next(model.parameters()).device
    of_images = []
    with _evaluating(model):
        for image in tqdm(images, desc="stage weights", mininterval=5):
            (array,) = evaluation_views({"image": image}, model.contract, crops=crops)
            parts = []
            for part in batch([array]).split(batch_size):
                parts.append(model.stage_weights(floats(part, device, torch.float32)))
            of_images.append(torch.cat(parts).cpu().numpy())
    if len({len(weights) for weights in of_images}) > 1:
        raise ValueError(
            "the images differ in size and the contract covers each by as few crops as it needs; "
            "give crops="
        )
    return np.stack(of_images).astype(float)


def entropy(weights: np.ndarray) -> np.ndarray:
    """Shannon's entropy in bits of weights (..., 4) -> (...): 2 where all are equal, 0 where one
    has everything. The entropy of mean weights is at least the mean of the entropies.

    ValueError for weights below 0 or not of sum 1.
    """
    weights = np.asarray(weights, dtype=float)
    if not ((weights >= 0).all() and np.allclose(weights.sum(-1), 1, atol=1e-4)):
        raise ValueError(
            "weights of at least 0 that sum to 1 along the last axis are wanted, as "
            "`stage_weights` gives them"
        )
    return entr(weights).sum(-1) / np.log(2)


def variance_parts(weights: np.ndarray) -> dict[str, np.ndarray]:
    """How far weights (n, crops, 4) vary between images, and between crops of one image.

    Returns, each (4,): `between` and `within`, standard deviations, and `share` in [0, 1], the part
    of the variance that lies between images (NaN where nothing varies). What crops alone add to the
    variance of means is taken out of `between`.
    ValueError for fewer than two images or crops.
    Source: one-way random effects; Searle, Casella and McCulloch 1992, Variance Components,
    chapter 3.
    """
    images, crops, _ = weights.shape
    if min(images, crops) < 2:
        raise ValueError(f"weights of {images} images x {crops} crops; two of both are needed")
    within = weights.var(1, ddof=1).mean(0)
    between = np.maximum(weights.mean(1).var(0, ddof=1) - within / crops, 0)
    total = within + between
    share = np.divide(between, total, out=np.full(4, np.nan), where=total > 1e-12)
    return {"between": np.sqrt(between), "within": np.sqrt(within), "share": share}


def describe_weights(weights: np.ndarray, label: np.ndarray) -> pd.DataFrame:
    """What the weights (n, crops, 4) of images with these labels (n,) are in the mean.

    Returns a row a stage: mean, and for several crops between, within and share
    (`variance_parts`); the same in all rows: bits, the mean entropy of the images' weights,
    saturated, the part of the images of which one stage has more than .9, and srcc_of_bits, SRCC of
    entropy and label.
    """
    means = weights.mean(1)
    rows = pd.DataFrame({"stage": STAGES, "mean": means.mean(0)})
    if weights.shape[1] > 1:
        rows = rows.assign(**variance_parts(weights))
    bits = entropy(means)
    rows["bits"] = bits.mean()
    rows["saturated"] = (means.max(1) > 0.9).mean()
    rows["srcc_of_bits"] = srcc(bits, np.asarray(label, dtype=float))
    return rows


def made_static(model, weights: np.ndarray) -> nn.Module:
    """A copy of a SMART-IQA that weighs the stages of every image by the same `weights` (4,), which
    sum to 1.
    """
    entropy(weights)  # refuses what are no weights
    static = copy.deepcopy(model)
    static.gate = StaticGate()
    with torch.no_grad():
        static.gate.logits.copy_(torch.as_tensor(np.log(np.maximum(weights, 1e-30))))
    return static.to(next(model.parameters()).device).train(model.training)


# ---- images to show


def select_images(
    table: pd.DataFrame, rows: Sequence[int], *, by: str = "label", further: int = 0
) -> pd.DataFrame:
    """Three of the numbered rows of `table`, by rule: of the lowest, the median (the higher of two)
    and the highest value of column `by`, ties by the image's name.

    further   so many distortion types more, in the order of their names, of those that stand alone
              in an image and that the three lack; of each the median image

    Returns these rows; column `quality` says which: lowest, median, highest, "median of <type>".
    ValueError for fewer than three rows, and where `by` is no column or has gaps.
    """
    tested = table.iloc[list(rows)]
    if len(tested) < 3:
        raise ValueError(f"{len(tested)} rows to choose from; three are needed")
    if by not in tested or tested[by].isna().any():
        raise ValueError(
            f"images cannot be chosen by {by!r}: no column, or not known of every row; label "
            "always is"
        )
    tested = tested.sort_values([by, "image"], kind="stable")
    places = {"lowest": 0, "median": len(tested) // 2, "highest": -1}
    chosen = [tested.iloc[[place]].assign(quality=word) for word, place in places.items()]
    if further and "distortion" in tested:
        shown = {row.distortion.iloc[0] for row in chosen}
        alone = tested[tested.distortion.notna() & ~tested.distortion.isin({"", *shown})]
        if "distortion2" in alone:
            alone = alone[alone.distortion2.isna()]
        for name, group in list(alone.groupby("distortion"))[:further]:
            chosen.append(group.iloc[[len(group) // 2]].assign(quality=f"median of {name}"))
    return pd.concat(chosen)


def with_errors(selected: pd.DataFrame, contract: Contract, *, scale_label: str) -> pd.DataFrame:
    """`selected` (columns label and predicted) with what the predictions are off by: `error`, in
    label units; where the contract has a calibration also `scaled`, the prediction on the scale of
    column `scale_label`, and `scaled_error`.
    """
    selected = selected.assign(error=selected.predicted - selected.label)
    if not contract.calibration:
        return selected
    scaled = apply_scale(contract.calibration, selected.predicted)
    return selected.assign(scaled=scaled, scaled_error=scaled - selected[scale_label])


def as_reported(selected: pd.DataFrame) -> pd.DataFrame:
    """`selected` (columns predicted and label, z-scores of 0 to 100, and mos, votes of 1 to 5) with
    three columns more.

    `as_reported`: the prediction on 1 to 5 as the SMART-IQA reports bring it there, (x / 100) 4 +
    1; `as_reported_error`, against mos; `error_of_the_rule`, what the rule alone is off by when the
    prediction is perfect.
    """
    scores = selected.predicted / 100 * 4 + 1
    truth = selected.label / 100 * 4 + 1
    return selected.assign(
        as_reported=scores,
        as_reported_error=scores - selected.mos,
        error_of_the_rule=truth - selected.mos,
    )


# ---- maps


def gradient_maps(model, image: np.ndarray) -> np.ndarray:
    """Gradient times activation of the four stages at every place of a uint8 image (h, w, 3) -> (4,
    h, w), signed.

    The derivative of the predicted label by a stage's map, the other stages held fixed, times that
    map, summed over channels. In label units a pixel: over a crop a stage's map sums to the
    first-order change of the crop's predicted label, relative to the change of scale of the stage's
    map. The image is covered by as few crops as it takes, averaged where they overlap; a token is a
    square.

    0 is an absent activation, no neutral quality. SMART-IQA and HyperIQA's published head read a
    stage as means over squares of 28 pixels or more, so what is finer comes from the activation
    alone.

    ValueError for frozen crops and for a model that does not read a pyramid crop by crop.
    Source: HiResCAM (Draelos and Carin 2020, arXiv:2011.08891) without its last ReLU. (Grad-CAM,
    Selvaraju et al. 2017, DOI 10.1109/ICCV.2017.74, averages the derivative over places first, and
    so may mark places that no score depends on.)
    """

    def maps_of(crops):
        stages = []

        def keep(module, arguments, outputs):
            stages.extend(part.detach().requires_grad_() for part in outputs[-4:])
            return [*outputs[:-4], *stages]

        handle = model.backbone.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                score = model.contract.scale * model(crops).sum()
        finally:
            handle.remove()
        # None for stages that a single scale leaves out.
        slopes = torch.autograd.grad(score, stages, allow_unused=True)
        maps = []
        for stage, slope in zip(stages, slopes, strict=True):
            product = stage.detach() * (0 if slope is None else slope)
            maps.append(product.sum(1) * (stage.shape[-1] / crops.shape[-1]) ** 2)
        return maps

    return _over_crops(model, image, maps_of)


def window_attention(model, image: np.ndarray) -> np.ndarray:
    """Attention that each token receives in the last block of each Swin stage, at every place of a
    uint8 image (h, w, 3) -> (4, h, w): the mean over heads and over the queries of its window,
    times the number of tokens there.

    1 is an even share. Tokens attend within their window alone, so whatever the image is, a map
    averages 1 over every window (where windows are shifted over a crop's border, over each piece):
    only differences within a window mean anything. It is what the backbone mixes, not what the
    score depends on.

    ValueError for a backbone that is no Swin, otherwise as `gradient_maps`.
    Source: Swin, Liu et al. 2021, DOI 10.1109/ICCV48922.2021.00986.
    """
    blocks = [m.blocks[-1] for m in model.modules() if isinstance(m, SwinTransformerStage)]
    if len(blocks) != 4:
        raise ValueError(
            f"a backbone of {len(blocks)} Swin stages, not 4, has no window attention; use "
            "gradient_maps"
        )

    def maps_of(crops):
        received = {}

        def keep(softmax, arguments, shares):
            received[softmax] = shares.mean(1)

        with ExitStack() as undo, torch.inference_mode():
            for block in blocks:
                attention = block.attn
                undo.callback(setattr, attention, "fused_attn", attention.fused_attn)
                attention.fused_attn = False  # a fused one never has its shares in memory
                undo.callback(attention.softmax.register_forward_hook(keep).remove)
            model.backbone(crops)
        return [_from_windows(block, received[block.attn.softmax].sum(1)) for block in blocks]

    return _over_crops(model, image, maps_of)


def _from_windows(block, values):
    """Values (windows, tokens) of a Swin block -> (b, side, side)."""
    windows = values.unflatten(1, (*block.window_size, 1))
    maps = window_reverse(windows, block.window_size, *block.input_resolution)
    return maps[..., 0].roll(block.shift_size, (1, 2))


def _over_crops(model, image, maps_of: Callable):
    """Four maps (4, h, w) of a whole image, from those that `maps_of` gives of its crops."""
    contract = model.contract
    if not isinstance(getattr(model, "backbone", None), Pyramid) or not contract.crop:
        raise ValueError(
            f"{type(model).__name__} does not read a feature pyramid crop by crop: it has no "
            "stages to map"
        )
    if is_frozen(image):
        raise ValueError("frozen crops have no places; give the image itself, uint8 (h, w, 3)")
    sides = resized_shape(*image.shape[:2], contract)
    sums, times = torch.zeros(4, *sides), torch.zeros(sides)
    device = next(model.parameters()).device
    for place in evaluation_places(*sides, contract, crops=None):
        (array,) = views({"image": image}, contract, [place])
        with _evaluating(model):
            maps = maps_of(floats(batch([array]), device, torch.float32))
        bottom, right = place.top + contract.crop, place.left + contract.crop
        crop = ..., slice(place.top, bottom), slice(place.left, right)
        sums[crop] += torch.cat([_enlarged(part.float().cpu(), contract.crop) for part in maps])
        times[crop] += 1
    return _enlarged(sums / times, image.shape[:2]).numpy()


def _enlarged(maps, size):
    """(n, h, w) -> (n, *size) by the nearest."""
    return nn.functional.interpolate(maps[None], size, mode="nearest-exact")[0]


@contextmanager
def _evaluating(model):
    """In evaluation mode, and left in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(training)
