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
from .loading.views import batch_of, floats, inputs
from .metrics import apply_scale
from .pixels import read_image


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
    """Predicted labels (n,) of uint8 RGB images (h, w, 3) of any size; docs/preprocessing.md tells
    what is done to them. Also of features, as `features.pyramid_features` gives them, whose crops
    are fixed.

    An image smaller than the contract's crop is enlarged to it (`pixels.resize`) and then looks
    blurred to the model. `reference`: as many images of the same sizes, for models whose contract
    wants them. `crops` overrides the contract's number of crops, of which the model gets at most
    `batch_size` at a time. It is left in the mode that it was in. `random`: integers that seed
    crops at random places instead, as published code takes them; image i has its own generator.
    `share`: the processes of torchrun, which must then all call this, take every so manieth image
    each, and every process gets all predictions. `scaled`: on the scale that the contract's
    calibration leads to. ValueError if references lack or are too many, crops are asked of a model
    for whole images or scaled scores of one without calibration, an image is too narrow to be
    enlarged, or a prediction is not finite."""
    contract, training = model.contract, model.training
    _check_reference(images, reference, contract)
    if scaled and not contract.calibration:
        raise ValueError(
            "this model has no calibration; trained by notebook 02, where val labels are, it gets "
            "one"
        )
    if crops is not None and not contract.crop:
        raise ValueError("this model reads whole images; leave `crops=` out")
    crops = contract.crops if crops is None else crops
    model.eval()
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    scores = np.zeros(len(images))
    rank, world = (
        (dist.get_rank(), dist.get_world_size()) if share and dist.is_initialized() else (0, 1)
    )
    own, per_batch = range(rank, len(images), world), max(1, batch_size // (crops or 4))
    try:
        for start in tqdm(
            range(0, len(own), per_batch), desc="predict", disable=not progress, mininterval=2
        ):
            numbers = own[start : start + per_batch]
            seeds = [None if random is None else (*random, i) for i in numbers]
            others = [None if reference is None else reference[i] for i in numbers]
            parts = zip(numbers, others, seeds, strict=True)
            some = [inputs(images[i], other, contract, crops, seed) for i, other, seed in parts]
            views = [batch_of(parts) for parts in zip(*some, strict=True)]
            passes = [
                [view[k : k + batch_size] for view in views]
                for k in range(0, len(views[0]), batch_size)
            ]
            out = torch.cat(
                [
                    model(*(floats(view, device, dtype) for view in few)).float().cpu()
                    for few in passes
                ]
            ).numpy()
            ends = np.cumsum([len(parts[0]) for parts in some])[:-1]
            scores[list(numbers)] = [part.mean() for part in np.split(out, ends)]
    finally:
        model.train(training)
    if world > 1:
        every = torch.from_numpy(scores).to(device)
        dist.all_reduce(every)  # all others hold a zero
        scores = every.cpu().numpy()
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{(~np.isfinite(scores)).sum()} predictions are not finite; are the weights damaged?"
        )
    predicted = contract.offset + contract.scale * scores
    return apply_scale(contract.calibration, predicted) if scaled else predicted


def _check_reference(images, reference, contract):
    if contract.reference and reference is None:
        raise ValueError(
            f"this model compares with the {contract.reference} image: give `reference=`, one an "
            f"image"
        )
    if reference is not None and not contract.reference:
        raise ValueError("this model judges an image by itself; leave `reference=` out")
    if reference is not None and len(reference) != len(images):
        raise ValueError(
            f"{len(images)} images, but {len(reference)} references; give one an image"
        )


def measure(
    table: pd.DataFrame, names: Sequence[str], *, root: Path, processes: int = -1
) -> pd.DataFrame:
    """Full-reference measures of every row's image against its reference: columns image and
    `names`, higher is better.

    A measure of which lower is better comes with its sign changed. `processes` as joblib counts
    them; each has its share of the cores. ValueError for a table without references."""
    if not names:
        return table[["image"]].reset_index(drop=True)
    if "reference" not in table or table.reference.isna().any():
        raise ValueError(
            "full-reference measures need a `reference` image in every row; leave `measures` empty "
            "for this set"
        )
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
    return pd.DataFrame(
        [
            {"image": i} | {n: sign[n] * fr_measure(n, p, reference) for n in names}
            for i, p in images.items()
        ]
    )
