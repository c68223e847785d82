"""Small image files for tests."""

import numpy as np
from PIL import Image


def noise(*shape, seed=0):
    """Random uint8 values of a shape."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(folder, name, image, **options):
    """Path of a file in `folder` with an array or a Pillow image; `options` go to Pillow."""
    path = folder / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path
