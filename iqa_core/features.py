"""Features of a backbone that does not learn, computed once: what the parts behind it read of a few crops of every image."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from tqdm.auto import tqdm

from .cache import PixelCache
from .evaluation import floats, inputs
from .loading import FEATURES

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
    """What `model.features` gives of `crops` crops of each image, on the grid of evaluation; kept in `folder`.

    Keyed by the backbone's weights and by the images, so models on the same backbone share them. ValueError for a model
    whose head reads more than pooled stages, or for features beyond float16.
    """
    if not hasattr(model, "features"):
        raise ValueError(f"{type(model).__name__} cannot be trained on fixed features; give features: 0")
    contract, key = model.contract, hashlib.sha256(str(VERSION).encode())
    for name, tensor in model.backbone.state_dict().items():
        key.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    key.update(json.dumps([images.file.name, crops, contract.crop, contract.resize, contract.interpolation]).encode())
    file = Path(folder) / f"{key.hexdigest()[:16]}.features.npy"
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            _write(model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), images, crops, file)
    return Features(file)


def _write(model, images, crops, file):
    device, draft, written = next(model.parameters()).device, file.with_suffix(".part"), None
    with draft.open("wb") as out:  # not a mapped file: a full disk is then an error, not the end of the process
        for image in tqdm(images, desc=f"features of {crops} crops", mininterval=5):
            (views,) = inputs(image, None, model.contract, crops)
            found = model.features(floats(views, device, torch.float32)).cpu().numpy()
            if np.abs(found).max() > np.finfo(FEATURES).max:
                raise ValueError(f"a feature of {np.abs(found).max():.3g} does not fit into float16; give features: 0")
            if written is None:
                kind = np.lib.format.dtype_to_descr(np.dtype(FEATURES))
                written = {"descr": kind, "fortran_order": False, "shape": (len(images), *found.shape)}
                np.lib.format.write_array_header_1_0(out, written)
            out.write(found.astype(FEATURES).tobytes())
    draft.replace(file)
