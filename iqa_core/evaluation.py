"""Predictions: crops by the model's own contract, averaged, in label units."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from .full_reference import REGISTRY, fr_measure
from .loading import grid, read_image


@torch.inference_mode()
def predict(
    model, images: Sequence[np.ndarray], *, crops: int | None = None, batch_size: int = 32, progress: bool = False
) -> np.ndarray:
    """Predicted labels (n,) of uint8 RGB images (h, w, 3) of any size from the contract's crop upwards.

    `crops` overrides the contract's number of crops. The model is left in the mode that it was in.
    ValueError if an image is smaller than the crop, or a prediction is not finite.
    """
    contract, training = model.contract, model.training
    model.eval()
    device = next(model.parameters()).device
    scores = np.empty(len(images))
    per_batch = max(1, batch_size // (crops or contract.crops))
    try:
        for start in tqdm(range(0, len(images), per_batch), desc="predict", disable=not progress, mininterval=2):
            some = [_crops(images[i], contract, crops) for i in range(start, min(start + per_batch, len(images)))]
            out = model(torch.cat(some).to(device).float() / 255).float().cpu().numpy()
            ends = np.cumsum([len(s) for s in some])[:-1]
            scores[start : start + len(some)] = [part.mean() for part in np.split(out, ends)]
    finally:
        model.train(training)
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} predictions are not finite; are the weights damaged?")
    return contract.offset + contract.scale * scores


def _crops(image, contract, crops):
    corners = grid(*image.shape[:2], crop=contract.crop, crops=crops or contract.crops)
    patches = np.stack([image[t : t + contract.crop, left : left + contract.crop] for t, left in corners])
    return torch.from_numpy(patches).permute(0, 3, 1, 2)


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
