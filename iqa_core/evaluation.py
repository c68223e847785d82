"""Predictions: crops by the model's own contract, averaged, in label units."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from tqdm.auto import tqdm

from .loading.samples import Samples
from .loading.views import batch, evaluation_views, floats, is_frozen, shape_of
from .metrics import apply_scale

WHOLE = 2**23  # pixels of whole images that a model gets at a time, unless one alone has more


@torch.inference_mode()
def predict(
    model,
    images: Sequence[np.ndarray],
    *,
    reference: Sequence[np.ndarray] | None = None,
    crops: int | None = None,
    batch_size: int = 32,
    random: Sequence[int] | None = None,
    distributed: bool = False,
    scaled: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """Predicted labels (n,) of uint8 RGB images (h, w, 3) of any size; docs/preprocessing.md tells
    what is done to them. Also of frozen crops (`loading.frozen_crops`).

    An image smaller than the contract's crop is enlarged to it and then looks blurred to the model.
    The model is left in the mode that it was in.

    reference     as many images of the same sizes, for models whose contract wants them
    crops         in place of the contract's number of crops
    batch_size    crops that the model gets at a time, at most
    random        integers that seed crops at random places instead, as published code takes them;
                  image i has its own generator
    distributed   the processes of torchrun, which must then all call this, take every `world`th
                  image each, and every process gets all predictions
    scaled        on the scale that the contract's calibration leads to

    ValueError if references lack or are too many, crops are asked of a model for whole images or
    scaled scores of one without calibration, an image is too narrow to be enlarged, or a prediction
    is not finite.
    """
    contract, training = model.contract, model.training
    _check(contract, images, reference, crops=crops, scaled=scaled)
    crops = contract.crops if crops is None else crops
    parts = {"image": images}
    if reference is not None:
        parts[contract.reference] = reference
    rank, world = 0, 1
    if distributed and dist.is_initialized():
        rank, world = dist.get_rank(), dist.get_world_size()

    # A few images at a time: their crops make one batch, or several of `batch_size`.
    scores = np.zeros(len(images))
    groups = _together(images, range(rank, len(images), world), contract, crops, batch_size)
    model.eval()
    try:
        for numbers in tqdm(groups, desc="predict", disable=not progress, mininterval=2):
            arrays = []
            for i in numbers:
                sample = {name: some[i] for name, some in parts.items()}
                seed = None if random is None else (*random, i)
                arrays.append(evaluation_views(sample, contract, crops=crops, seed=seed))
            found = _scores(model, arrays, batch_size)
            ends = np.cumsum([len(sample[0]) for sample in arrays])[:-1]
            scores[numbers] = [crops_of.mean() for crops_of in np.split(found, ends)]
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


def _together(images, numbers, contract, crops, batch_size):
    """The numbers in groups whose views go through the model together: as many as make
    `batch_size` crops, or whole images of `WHOLE` pixels in all.
    """
    if contract.crop or (len(images) and is_frozen(images[0])):
        size = max(1, batch_size // (crops or 4))
        return [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]
    groups, pixels = [], WHOLE
    for i in numbers:
        size = int(np.prod(shape_of(images, i)))
        if not groups or pixels + size > WHOLE or len(groups[-1]) == batch_size:
            groups.append([])
            pixels = 0
        groups[-1].append(i)
        pixels += size
    return groups


def _scores(model, arrays, batch_size):
    """Scores (n,) of all views of some samples, `batch_size` at a time."""
    first = next(model.parameters())
    inputs = [batch(one_input) for one_input in zip(*arrays, strict=True)]
    outputs = []
    for start in range(0, len(inputs[0]), batch_size):
        views = [
            floats(view[start : start + batch_size], first.device, first.dtype) for view in inputs
        ]
        outputs.append(model(*views).float().cpu())
    return torch.cat(outputs).numpy()


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
