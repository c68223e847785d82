"""Frozen crops: what weights that do not learn make of a few crops of every image, or of the whole
image, computed once.
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
from ..pixels import PixelCache
from .parallel import each_image
from .views import FROZEN, batch, evaluation_views, floats, resizing, shape_of

VERSION = 4  # part of every file's key: raise it when `frozen_features` gives other numbers


class FrozenCrops(Sequence):
    """`crops[i]` is float16 (k, ...), a view of a file: k crops of image i, (n,) numbers each, or
    the whole image as (t, n), a row a token.
    """

    def __init__(self, file: Path):
        self.file, self.values = file, np.load(file, mmap_mode="r")
        self.shapes = np.load(_shapes_of(file))
        self.ends = np.cumsum(self.shapes.prod(1))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: int) -> np.ndarray:
        end, shape = self.ends[i], self.shapes[i]
        return self.values[end - shape.prod() : end].reshape(shape)


def _shapes_of(file):
    """The file of the shapes beside one of features."""
    return file.with_name(file.name.replace(".features.", ".shapes."))


def check_frozen(model, crops: int = 1) -> None:
    """ValueError for a model that has no weights which never learn in front of those that do, and
    for several crops of one that reads whole images.
    """
    if getattr(model, "frozen_trunk", None) is None:
        raise ValueError(
            f"{type(model).__name__} cannot be trained on frozen crops; give frozen_crops: 0"
        )
    if not model.contract.crop and crops != 1:
        raise ValueError(
            f"frozen_crops is {crops}, but {type(model).__name__} reads whole images; give 1"
        )


def frozen_crops(
    model, images: PixelCache, *, crops: int, folder: Path, part: str = "image"
) -> FrozenCrops:
    """What `model.frozen_features` gives of `crops` crops of each image, on the grid of evaluation,
    or of whole images; kept in `folder`.

    Keyed by the weights of `model.frozen_trunk`, by its `frozen_settings` and by the images, so
    models on the same trunk share them. They take 2 bytes a number; SMART-IQA on EfficientNet-Lite0
    has 27,248 numbers a crop.
    `part`: of the samples, by which a contract tells how images are resized.
    ValueError for a model that has no such features, or for features beyond float16; OSError for a
    disk too full, before they are computed where that can be told.
    """
    check_frozen(model, crops)
    geometry = [model.contract.crop, *resizing(model.contract, part).values()]
    key = hashlib.sha256(str(VERSION).encode())
    for name, tensor in model.frozen_trunk.state_dict().items():
        key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    checksums = [images.checksum(i) for i in range(len(images))]
    key.update(json.dumps([checksums, crops, *geometry, *model.frozen_settings]).encode())
    file = Path(folder) / f"{key.hexdigest()[:16]}.features.npy"
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            _write(model.eval().to(_device()), images, crops, file, part)
    return FrozenCrops(file)


def _device():
    """This process's GPU, by torchrun's count, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def _write(model, images, crops, file, part):
    """Compute all and write them, through a draft, one image after the other."""
    # Crops are alike; a whole image has about as many numbers as pixels.
    first, shares = _crops_of(model, images[0], crops, part), float(len(images))
    if not model.contract.crop:
        areas = [np.prod(shape_of(images, i)) for i in range(len(images))]
        shares = np.sum(areas) / areas[0]
    needed = int(shares * first.nbytes)
    if short := shortage(file.parent, needed):
        raise OSError(
            f"frozen crops cannot be kept in {file.parent}: {short}; free some space, or give "
            "fewer crops or frozen_crops: 0"
        )
    draft = file.with_suffix(".part")
    shapes = []
    try:
        # Not a mapped file: a full disk is then an error, not the end of the process.
        with draft.open("wb") as out:
            _write_header(out, len(images) * first.size)
            title = f"features of {crops} crops, {needed / 1e9:.2g} GB"
            computed = each_image(
                lambda image: _crops_of(model, image, crops, part), images, _device()
            )
            for features in tqdm(computed, total=len(images), desc=title, mininterval=5):
                shapes.append(features.shape)
                out.write(features.tobytes())
            out.seek(0)
            _write_header(out, int(np.prod(shapes, axis=1).sum()))
        np.save(_shapes_of(file), np.array(shapes))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _write_header(out, size):
    """The start of an .npy file of so many numbers: 128 bytes, whatever their count."""
    description = np.lib.format.dtype_to_descr(np.dtype(FROZEN))
    header = {"descr": description, "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(out, header)


@torch.no_grad()  # in each thread; inference mode would spoil the weights that move to a GPU
def _crops_of(model, image, crops, part):
    """float16 (crops, n), or (1, t, n)."""
    (array,) = evaluation_views({part: image}, model.contract, crops=crops)
    pixels = floats(batch([array]), next(model.parameters()).device, torch.float32)
    features = model.frozen_features(pixels).cpu().numpy()
    largest = np.abs(features).max()
    if not largest <= np.finfo(FROZEN).max:
        raise ValueError(
            f"a feature of {largest:.3g} does not fit into float16; give frozen_crops: 0"
        )
    return features.astype(FROZEN)
