"""Frozen crops: what a backbone that does not learn makes of a few crops of every image, computed
once.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from tqdm.auto import tqdm

from ..files import shortage
from ..models.pyramid import OnPooledStages
from ..pixels import PixelCache
from .views import FROZEN, batch, evaluation_views, floats

VERSION = 2  # part of every file's key: raise it when `pooled_features` gives other numbers


class FrozenCrops(Sequence):
    """`crops[i]` is float16 (k, n), a view of a file: k crops of image i."""

    def __init__(self, file: Path):
        self.file, self.values = file, np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[i]


def check_frozen(model) -> None:
    """ValueError for a model that reads more of its backbone than pooled stages."""
    if not isinstance(model, OnPooledStages):
        raise ValueError(
            f"{type(model).__name__} cannot be trained on frozen crops; give frozen_crops: 0"
        )


@torch.no_grad()  # inference mode would spoil the weights that it moves to a GPU
def frozen_crops(model, images: PixelCache, *, crops: int, folder: Path) -> FrozenCrops:
    """What `model.pooled_features` gives of `crops` crops of each image, on the grid of evaluation;
    kept in `folder`.

    Keyed by the backbone's weights and by the images, so models on the same backbone share them.
    They take 2 bytes a number, 27,248 numbers a crop for EfficientNet-Lite0.
    ValueError for a model whose head reads more than pooled stages, or for features beyond float16;
    OSError for a disk too full, before they are computed where that can be told.
    """
    check_frozen(model)
    contract = model.contract
    geometry = [contract.crop, contract.resize, contract.interpolation]
    key = hashlib.sha256(str(VERSION).encode())
    for name, tensor in model.backbone.state_dict().items():
        key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    checksums = [images.checksum(i) for i in range(len(images))]
    key.update(json.dumps([checksums, crops, *geometry]).encode())
    file = Path(folder) / f"{key.hexdigest()[:16]}.features.npy"
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            _write(model.eval().to(_device()), images, crops, file)
    return FrozenCrops(file)


def _device():
    """This process's GPU, by torchrun's count, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def _write(model, images, crops, file):
    """Compute all and write them, through a draft, one image after the other."""
    first = _crops_of(model, images[0], crops)
    needed = len(images) * first.nbytes
    if short := shortage(file.parent, needed):
        raise OSError(
            f"frozen crops cannot be kept in {file.parent}: {short}; free some space, or give "
            "fewer crops or frozen_crops: 0"
        )
    draft = file.with_suffix(".part")
    header = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (len(images), *first.shape),
    }
    try:
        # Not a mapped file: a full disk is then an error, not the end of the process.
        with draft.open("wb") as out:
            np.lib.format.write_array_header_1_0(out, header)
            title = f"features of {crops} crops, {needed / 1e9:.2g} GB"
            for image in tqdm(images, desc=title, mininterval=5):
                out.write(_crops_of(model, image, crops).tobytes())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _crops_of(model, image, crops):
    """float16 (crops, n)."""
    (array,) = evaluation_views({"image": image}, model.contract, crops=crops)
    pixels = floats(batch([array]), next(model.parameters()).device, torch.float32)
    features = model.pooled_features(pixels).cpu().numpy()
    largest = np.abs(features).max()
    if not largest <= np.finfo(FROZEN).max:
        raise ValueError(
            f"a feature of {largest:.3g} does not fit into float16; give frozen_crops: 0"
        )
    return features.astype(FROZEN)
