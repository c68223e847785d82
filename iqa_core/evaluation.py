"""Predictions: crops by the model's own contract, averaged, in label units."""

import copy
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from tqdm.auto import tqdm

from .loading.samples import Samples
from .loading.views import batch, evaluation_views, floats, is_frozen, resized_shape, shape_of
from .metrics import apply_scale
from .models.pyramid import Pyramid, fold_batch_norm

WHOLE = 2**23  # pixels of whole images that a model gets at a time, unless one alone has more
PRECISIONS = ("fp32", "bf16")
TOO_LARGE = (
    "one view at a time is too large for the GPU's memory; predict with precision='bf16', give the "
    "contract a smaller `resize`, or put the model on the CPU"
)


def prepared(model, precision: str = "fp32"):
    """A copy of a model made ready for `predict` of many images: in evaluation mode, the batch
    norms of its pyramid folded into the convolutions before them, a CNN's weights with their
    channels last in memory. Its contract and objective are the model's; it cannot learn.

    precision     fp32: predictions as the model's, to about 1e-5 of their spread
                  bf16: convolutions and products of matrices in bfloat16; normalised pixels, sums
                  and what reads the score out stay in float32. 2 to 3 times faster on CPUs with
                  AMX; how far scores move depends on the weights: compare some images with fp32

    ValueError for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; there are {', '.join(PRECISIONS)}")
    scorer = copy.deepcopy(model).eval().requires_grad_(False)
    for pyramid in [module for module in scorer.modules() if isinstance(module, Pyramid)]:
        pyramid.body = _folded(pyramid.body)
    if any(isinstance(module, Pyramid | nn.BatchNorm2d) for module in scorer.modules()):
        scorer.to(memory_format=torch.channels_last)
    scorer.precision = precision
    return scorer.requires_grad_(False)


def _folded(body):
    """A network without its batch norms; as it is where they precede their convolutions."""
    folded = copy.deepcopy(body)
    try:
        fold_batch_norm(folded)
    except ValueError:
        return body
    return folded


@torch.inference_mode()
def predict(
    model,
    images: Sequence[np.ndarray],
    *,
    reference: Sequence[np.ndarray] | None = None,
    crops: int | None = None,
    batch_size: int = 32,
    random: Sequence[int] | None = None,
    precision: str = "fp32",
    distributed: bool = False,
    scaled: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """Predicted labels (n,) of uint8 RGB images (h, w, 3) of any size; docs/preprocessing.md tells
    what is done to them. Also of frozen crops (`loading.frozen_crops`).

    An image smaller than the contract's crop is enlarged to it and then looks blurred to the model.
    Whole images go through the model in batches of one size. The model is left in the mode that it
    was in; where many calls follow each other, give them one that `prepared` made.

    reference     as many images of the same sizes, for models whose contract wants them
    crops         in place of the contract's number of crops
    batch_size    crops that the model gets at a time, at most; halved where a GPU's memory lacks
    random        integers that seed crops at random places instead, as published code takes them;
                  image i has its own generator
    precision     fp32: as the model is; bf16: as of a model that `prepared` made so
    distributed   the processes of torchrun, which must then all call this, take every `world`th
                  image each, and every process gets all predictions
    scaled        on the scale that the contract's calibration leads to

    ValueError if references lack or are too many, crops are asked of a model for whole images or
    scaled scores of one without calibration, an image is too narrow to be enlarged, or a prediction
    is not finite; for an unknown precision. torch.OutOfMemoryError if a single view is too large.
    """
    if precision != "fp32":
        model = prepared(model, precision)
    contract, training = model.contract, model.training
    _check(contract, images, reference, crops=crops, scaled=scaled)
    crops = contract.crops if crops is None else crops
    parts = {"image": images}
    if reference is not None:
        parts[contract.reference] = reference
    rank, world = 0, 1
    if distributed and dist.is_initialized():
        rank, world = dist.get_rank(), dist.get_world_size()

    scores = np.zeros(len(images))
    numbers = range(rank, len(images), world)
    model.eval()
    try:
        with tqdm(total=len(numbers), desc="predict", disable=not progress, mininterval=2) as bar:
            for group, found in _judged(model, parts, numbers, crops, batch_size, random):
                scores[group] = found
                bar.update(len(group))
    finally:
        model.train(training)

    if world > 1:
        summed = torch.from_numpy(scores).to(next(model.parameters()).device)
        dist.all_reduce(summed)  # all others hold a zero
        scores = summed.cpu().numpy()
    if not np.isfinite(scores).all():
        wrong = (~np.isfinite(scores)).sum()
        raise ValueError(f"{wrong} predictions are not finite; are the weights damaged?")
    predicted = contract.offset + contract.scale * scores
    return apply_scale(contract.calibration, predicted) if scaled else predicted


def predict_samples(model, samples: Samples, **kwargs) -> np.ndarray:
    """`predict` of samples, each beside the reference that the model's contract wants."""
    reference = samples.parts.get(model.contract.reference)
    return predict(model, samples.parts["image"], reference=reference, **kwargs)


def _judged(model, parts, numbers, crops, batch_size, random):
    """(numbers, scores) of a few images at a time, whose crops make one batch, or several of
    `batch_size`. Where memory lacks, batches are halved and what is left is grouped anew.
    """
    images, contract, pixels = parts["image"], model.contract, WHOLE
    groups = deque(_together(images, numbers, contract, crops, batch_size, pixels))
    while groups:
        arrays = []
        for i in groups[0]:
            sample = {name: some[i] for name, some in parts.items()}
            seed = None if random is None else (*random, i)
            arrays.append(evaluation_views(sample, contract, crops=crops, seed=seed))
        try:
            found = _scores(model, arrays, batch_size)
        except torch.OutOfMemoryError as error:
            if batch_size == 1:
                raise torch.OutOfMemoryError(TOO_LARGE) from error
            batch_size, pixels = batch_size // 2, pixels // 2
            left = [i for group in groups for i in group]
            groups = deque(_together(images, left, contract, crops, batch_size, pixels))
            continue
        ends = np.cumsum([len(sample[0]) for sample in arrays])[:-1]
        yield groups.popleft(), [crops_of.mean() for crops_of in np.split(found, ends)]


def _together(images, numbers, contract, crops, batch_size, pixels):
    """The numbers in groups whose views go through the model together: as many as make
    `batch_size` crops, or whole images of one size that have `pixels` in all.
    """
    alike = {}  # height and width -> numbers
    if contract.crop or (len(images) and is_frozen(images[0])):
        alike[None] = list(numbers)
    else:
        for i in numbers:
            shape = resized_shape(*shape_of(images, i), contract)
            alike.setdefault(shape, []).append(i)
    groups = []
    for shape, members in alike.items():
        size = batch_size // (crops or 4) if shape is None else pixels // (shape[0] * shape[1])
        size = min(max(size, 1), batch_size)
        groups += [members[start : start + size] for start in range(0, len(members), size)]
    return groups


def _scores(model, arrays, batch_size):
    """Scores (n,) of all views of some samples, `batch_size` at a time."""
    first = next(model.parameters())
    inputs = [batch(one_input) for one_input in zip(*arrays, strict=True)]
    outputs = []
    with computing(model):
        for start in range(0, len(inputs[0]), batch_size):
            some = [view[start : start + batch_size] for view in inputs]
            views = [floats(view, first.device, first.dtype) for view in some]
            outputs.append(model(*views).float().cpu())
    return torch.cat(outputs).numpy()


def computing(model):
    """Within it a model computes in the precision that it was `prepared` for."""
    if getattr(model, "precision", "fp32") == "bf16":
        return torch.autocast(next(model.parameters()).device.type, torch.bfloat16)
    return nullcontext()


def _check(contract, images, reference, *, crops, scaled):
    if contract.reference and reference is None:
        raise ValueError(
            f"this model compares with the {contract.reference} image: give `reference=`, one an "
            "image"
        )
    if reference is not None and not contract.reference:
        raise ValueError("this model judges an image by itself; leave `reference=` out")
    if reference is not None and len(reference) != len(images):
        raise ValueError(
            f"{len(images)} images, but {len(reference)} references; give one an image"
        )
    if scaled and not contract.calibration:
        raise ValueError(
            "this model has no calibration; notebooks that train give it one, where val labels are"
        )
    if crops is not None and not contract.crop:
        raise ValueError("this model reads whole images; leave `crops=` out")
