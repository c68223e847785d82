"""Features of a backbone that does not learn, computed once: what the parts behind it read of a few
crops of every image.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from tqdm.auto import tqdm

from ..pixels.cache import PixelCache, shortage
from .views import FEATURES, floats, inputs

VERSION = 1  # part of every file's key: raise it when a model's `features` gives other numbers


class Features(Sequence):
    """`features[i]` is float16 (crops, n), a view of a file."""

    def __init__(self, file: Path):
        self.file, self.values = file, np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[i]

    def subset(self, numbers: Sequence[int]) -> Sequence:
        """Some of them, in the order of `numbers`."""
        return torch.utils.data.Subset(self, [int(i) for i in numbers])


@torch.inference_mode()
def pyramid_features(model, images: PixelCache, *, crops: int, folder: Path) -> Features:
    """What `model.features` gives of `crops` crops of each image, on the grid of evaluation; kept
    in `folder`.

    Keyed by the backbone's weights and by the images, so models on the same backbone share them.
    ValueError for a model whose head reads more than pooled stages, or for features beyond float16;
    OSError for a disk too full, before they are computed where that can be told. They take 2 bytes
    a number, 27,248 numbers a crop for EfficientNet-Lite0."""
    if not hasattr(model, "features"):
        raise ValueError(
            f"{type(model).__name__} cannot be trained on fixed features; give features: 0"
        )
    contract, key = model.contract, hashlib.sha256(str(VERSION).encode())
    for name, tensor in model.backbone.state_dict().items():
        key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    key.update(
        json.dumps(
            [images.file.name, crops, contract.crop, contract.resize, contract.interpolation]
        ).encode()
    )
    file = Path(folder) / f"{key.hexdigest()[:16]}.features.npy"
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            _write(
                model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), images, crops, file
            )
    return Features(file)


def _write(model, images, crops, file):
    first = _of(model, images[0], crops)
    needed, draft = len(images) * first.nbytes, file.with_suffix(".part")
    if short := shortage(file.parent, needed):
        raise OSError(
            f"the features cannot be kept in {file.parent}: {short}; free some space, or give "
            f"fewer crops or features: 0"
        )
    try:
        with draft.open(
            "wb"
        ) as out:  # not a mapped file: a full disk is then an error, not the end of the process
            kind = np.lib.format.dtype_to_descr(first.dtype)
            shape = {"descr": kind, "fortran_order": False, "shape": (len(images), *first.shape)}
            np.lib.format.write_array_header_1_0(out, shape)
            for image in tqdm(
                images, desc=f"features of {crops} crops, {needed / 1e9:.2g} GB", mininterval=5
            ):
                out.write(_of(model, image, crops).tobytes())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _of(model, image, crops):
    """float16 (crops, n)."""
    (views,) = inputs(image, None, model.contract, crops)
    found = (
        model.features(floats(views, next(model.parameters()).device, torch.float32)).cpu().numpy()
    )
    if not np.abs(found).max() <= np.finfo(FEATURES).max:
        raise ValueError(
            f"a feature of {np.abs(found).max():.3g} does not fit into float16; give features: 0"
        )
    return found.astype(FEATURES)
