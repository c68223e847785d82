"""Image distortions with published levels: the 25 types of KADID-10k (`kadid`) and the 10 of
MIQD-2.5M (`miqd`), over the whole image or with a level of its own for the subject and for the
background (`regions`).

Each operator states its parameter; `level` runs 1..5 and may be fractional. Images are uint8, RGB
(h, w, 3) or grey (h, w) or (h, w, 1). Operators work on float images in [0, 1] and are clipped and
rounded once, at the end. Parameters in pixels and numbers of patches are those published for images
of 512 x 384, and do not grow with the image."""

import re
import zlib
from numbers import Integral
from pathlib import Path

import numpy as np

from . import kadid, miqd
from .kadid_color import LUMA
from .regions import INTENSITIES, fuse, region, saliency_mask
from .registry import LEVELS, REGISTRY, Distortion

__all__ = [
    "INTENSITIES", "LEVELS", "REGISTRY", "SOURCES", "Distortion", "distort", "fuse", "kadid", "list_distortions", "miqd",
    "region", "saliency_mask", "source_code",
]  # fmt: skip

SOURCES = (kadid.SOURCE, miqd.SOURCE)


def list_distortions(source: str | None = None) -> list[str]:
    """Names that `distort` knows, all or those of one of `SOURCES`; ValueError for another
    source.
    """
    if source not in (None, *SOURCES):
        raise ValueError(f"no distortions of {source!r}; there are those of {', '.join(SOURCES)}")
    return sorted(name for name, kind in REGISTRY.items() if source in (None, kind.source))


def source_code() -> bytes:
    """The text of the operators: a hash of it tells whether an image was made by other ones."""
    return b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))


def distort(
    image: np.ndarray,
    name: str,
    level: float,
    seed: int,
    *,
    mask: np.ndarray | None = None,
    background_level: float | None = None,
) -> np.ndarray:
    """A distorted copy of a uint8 image, RGB (h, w, 3) or grey (h, w) or (h, w, 1), h and w at
    least 32; the same shape.

    The random part depends on (seed, name, level) only. With `background_level` the subject gets
    `level`, the rest `background_level`, joined by `regions.fuse`; `mask` (h, w) is not 0 on the
    subject, and without one it is `regions.saliency_mask`. Equal levels are one uniform distortion.
    Grey images: an operator that needs colour sees them as RGB and its result goes back to luma, so
    saturation and colour diffusion leave them as they are, a colour shift doubles edges and colour
    blocks come out grey; all others, noise included, work on the one channel. KeyError for an
    unknown name, ValueError for a level outside 1..5, a seed below 0, an image or a mask of another
    kind, or a mask without `background_level`."""
    if name not in REGISTRY:
        raise KeyError(f"no distortion {name!r}; there are {', '.join(list_distortions())}")
    kind = (
        f"{image.dtype} {image.shape}"
        if isinstance(image, np.ndarray)
        else f"a {type(image).__name__}"
    )
    if not re.fullmatch(r"uint8 \(\d+, \d+(, [13])?\)", kind) or min(image.shape[:2]) < 32:
        raise ValueError(
            f"image is {kind}; wanted an array, uint8 (h, w, 3) or (h, w), at least 32 pixels a "
            f"side"
        )
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed is {seed!r}; wanted a whole number, 0 or more")
    if mask is not None and background_level is None:
        raise ValueError(
            "a mask says where background_level begins; give background_level too, or no mask"
        )
    if mask is not None and np.shape(mask) != image.shape[:2]:
        raise ValueError(f"mask is {np.shape(mask)}; wanted {image.shape[:2]}, as the image")
    result = _apply(REGISTRY[name], image, level, seed)
    if background_level in (None, level):
        return result
    mask = saliency_mask(image) if mask is None else mask
    return fuse(result, _apply(REGISTRY[name], image, background_level, seed), mask)


def _apply(kind, image, level, seed):
    parameter = kind.parameter(level)
    generator = np.random.default_rng([seed, zlib.crc32(kind.name.encode()), round(level * 1000)])
    pixels = np.atleast_3d(image) / 255.0
    grey = pixels.shape[2] == 1
    result = kind.apply(
        np.repeat(pixels, 3, axis=2) if grey and kind.rgb else pixels, parameter, generator
    )
    result = np.clip(result, 0, 1)
    if grey and kind.rgb:
        result = result @ np.array(LUMA)
    return np.rint(result * 255).astype(np.uint8).reshape(image.shape)
