"""Predictions: crops by the model's own contract, averaged, in label units."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from .full_reference import REGISTRY, fr_measure
from .loading import FEATURES, grid
from .metrics import apply_scale
from .pixels import read_image, resize


@torch.inference_mode()
def predict(
    model,
    images: Sequence[np.ndarray],
    *,
    reference: Sequence[np.ndarray] | None = None,
    crops: int | None = None,
    batch_size: int = 32,
    random: Sequence[int] | None = None,
    share: bool = False,
    scaled: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """Predicted labels (n,) of uint8 RGB images (h, w, 3) of any size; docs/preprocessing.md tells what is done to them.
    Also of features, as `features.pyramid_features` gives them, whose crops are fixed.

    An image smaller than the contract's crop is enlarged to it (`pixels.resize`) and then looks blurred to the model.
    `reference`: as many images of the same sizes, for models whose contract wants them. `crops` overrides the contract's
    number of crops, of which the model gets at most `batch_size` at a time. It is left in the mode that it was in.
    `random`: integers that seed crops at random places instead, as published code takes them; image i has its own
    generator. `share`: the processes of torchrun, which must then all call this, take every so manieth image each, and
    every process gets all predictions. `scaled`: on the scale that the contract's calibration leads to.
    ValueError if references lack or are too many, crops are asked of a model for whole images or scaled scores of one
    without calibration, an image is too narrow to be enlarged, or a prediction is not finite.
    """
    contract, training = model.contract, model.training
    _check_reference(images, reference, contract)
    if scaled and not contract.calibration:
        raise ValueError("this model has no calibration; trained by notebook 02, where val labels are, it gets one")
    if crops is not None and not contract.crop:
        raise ValueError("this model reads whole images; leave `crops=` out")
    crops = contract.crops if crops is None else crops
    model.eval()
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    scores = np.zeros(len(images))
    rank, world = (dist.get_rank(), dist.get_world_size()) if share and dist.is_initialized() else (0, 1)
    own, per_batch = range(rank, len(images), world), max(1, batch_size // (crops or 4))
    try:
        for start in tqdm(range(0, len(own), per_batch), desc="predict", disable=not progress, mininterval=2):
            numbers = own[start : start + per_batch]
            seeds = [None if random is None else (*random, i) for i in numbers]
            others = [None if reference is None else reference[i] for i in numbers]
            parts = zip(numbers, others, seeds, strict=True)
            some = [inputs(images[i], other, contract, crops, seed) for i, other, seed in parts]
            views = [_batch(parts) for parts in zip(*some, strict=True)]
            passes = [[view[k : k + batch_size] for view in views] for k in range(0, len(views[0]), batch_size)]
            out = torch.cat([model(*(floats(view, device, dtype) for view in few)).float().cpu() for few in passes]).numpy()
            ends = np.cumsum([len(parts[0]) for parts in some])[:-1]
            scores[list(numbers)] = [part.mean() for part in np.split(out, ends)]
    finally:
        model.train(training)
    if world > 1:
        every = torch.from_numpy(scores).to(device)
        dist.all_reduce(every)  # all others hold a zero
        scores = every.cpu().numpy()
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} predictions are not finite; are the weights damaged?")
    predicted = contract.offset + contract.scale * scores
    return apply_scale(contract.calibration, predicted) if scaled else predicted


def _check_reference(images, reference, contract):
    if contract.reference and reference is None:
        raise ValueError(f"this model compares with the {contract.reference} image: give `reference=`, one an image")
    if reference is not None and not contract.reference:
        raise ValueError("this model judges an image by itself; leave `reference=` out")
    if reference is not None and len(reference) != len(images):
        raise ValueError(f"{len(images)} images, but {len(reference)} references; give one an image")


def inputs(image, reference, contract, crops, seed=None):
    """What the model takes for one image: uint8 batches (k, 3, h, w), one or two of them, of k crops; features as they are."""
    if getattr(image, "dtype", None) == FEATURES:
        return [torch.from_numpy(np.array(image))]
    for pixels in (image, image if reference is None else reference):
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            what = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}"
            raise ValueError(f"images are uint8 RGB arrays (h, w, 3), not {what}; pixels.read_image gives such")
    if reference is not None and reference.shape != image.shape:
        sizes = [f"{part.shape[1]}x{part.shape[0]}" for part in (reference, image)]
        raise ValueError(f"a reference of {sizes[0]} for an image of {sizes[1]}; they must be of one size")
    first, second = contract.interpolation
    smallest = max(contract.crop or 0, contract.context or 0)
    pixels = resize(image, contract.resize, first, at_least=smallest)
    corners = grid(*pixels.shape[:2], crop=contract.crop, crops=crops) if contract.crop else None
    if corners and seed:
        ends = np.array(pixels.shape[:2]) - contract.crop + 1
        corners = np.random.default_rng(seed).integers(0, ends, (crops or len(corners), 2)).tolist()
    views = [_crops(pixels, contract.crop, corners)]
    if contract.reference:
        views.append(_crops(resize(reference, contract.resize, second, at_least=smallest), contract.crop, corners))
    if contract.context:
        wide = grid(*pixels.shape[:2], crop=contract.context, crops=1)
        views.append(_crops(pixels, contract.context, wide).expand(len(views[0]), -1, -1, -1))
    return views


def _crops(image, crop, corners):
    patches = [image] if corners is None else [image[t : t + crop, left : left + crop] for t, left in corners]
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2)


def _batch(parts):
    """One batch; a list of images where they differ in size."""
    return torch.cat(parts) if len({part.shape[2:] for part in parts}) == 1 else [part[0] for part in parts]


def floats(view, device, dtype):
    """A batch or list of uint8 images in [0, 1]; a batch of features as it is."""
    if isinstance(view, list):
        return [floats(image, device, dtype) for image in view]
    return view.to(device).to(dtype) / (255 if view.dtype == torch.uint8 else 1)


def measure(table: pd.DataFrame, names: Sequence[str], *, root: Path, processes: int = -1) -> pd.DataFrame:
    """Full-reference measures of every row's image against its reference: columns image and `names`, higher is better.

    A measure of which lower is better comes with its sign changed. `processes` as joblib counts them; each has its share
    of the cores. ValueError for a table without references.
    """
    if not names:
        return table[["image"]].reset_index(drop=True)
    if "reference" not in table or table.reference.isna().any():
        raise ValueError("full-reference measures need a `reference` image in every row; leave `measures` empty for this set")
    groups = [rows for _, rows in table.groupby("reference", sort=False)]
    chunks = [rows[start : start + 16] for rows in groups for start in range(0, len(rows), 16)]
    pool = Parallel(processes, return_as="generator", backend="loky", inner_max_num_threads=1)
    done = pool(delayed(_measure)(rows, names, root) for rows in chunks)
    found = pd.concat(tqdm(done, total=len(chunks), desc="measures", unit="x16", mininterval=2))
    return table[["image"]].merge(found, on="image", validate="one_to_one")


def _measure(rows, names, root):
    reference = read_image(root / rows.reference.iloc[0])
    images = {image: read_image(root / image) for image in rows.image}
    sign = {name: 1 if REGISTRY[name].higher_is_better else -1 for name in names}
    return pd.DataFrame([{"image": i} | {n: sign[n] * fr_measure(n, p, reference) for n in names} for i, p in images.items()])
