"""Image distortions with published levels: the 25 types of KADID-10k (`kadid`, `kadid_color`) and
the 10 of MIQD-2.5M (`miqd`), over the whole image or with a level of its own for the subject and
for the background (`regions`).

Each operator states its parameter; `level` runs 1..5 and may be fractional. Images are uint8, RGB
(h, w, 3) or grey (h, w) or (h, w, 1). Operators work on float images in [0, 1] and are clipped and
rounded once, at the end. Parameters in pixels and numbers of patches are those published for images
of 512 x 384, and do not grow with the image.

Every file of this folder is imported, so a new one with `@distortion` functions is found by
itself.
"""

import importlib
import pkgutil
import re
import zlib
from collections.abc import Iterable
from numbers import Integral

import numpy as np

from .code import code_of
from .kadid_color import LUMA
from .regions import INTENSITIES, fuse, region, saliency_mask
from .registry import LEVELS, REGISTRY, WORKBOOK, Distortion, distortion

__all__ = [
    "INTENSITIES",
    "LEVELS",
    "REGISTRY",
    "WORKBOOK",
    "Distortion",
    "distort",
    "distortion",
    "fuse",
    "list_distortions",
    "list_sources",
    "region",
    "saliency_mask",
    "source_code",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")


def list_distortions(source: str | None = None) -> list[str]:
    """Names that `distort` knows, all or those of one of `list_sources`; ValueError for another
    source.
    """
    if source is not None and source not in list_sources():
        raise ValueError(
            f"no distortions of {source!r}; there are those of {', '.join(list_sources())}"
        )
    return sorted(name for name, kind in REGISTRY.items() if source in (None, kind.source))


def list_sources() -> list[str]:
    """Where the distortions are from: the data sets that published them, and `WORKBOOK` for others
    if there are any.
    """
    return sorted({kind.source for kind in REGISTRY.values()})


def source_code(names: Iterable[str]) -> str:
    """All that images of these distortions hang on, as text: tables, operators, what joins them.

    A hash of it tells whether an image was made by other code. Other distortions, checks of what
    `distort` is given, docstrings and comments are not in it.
    """
    kinds = [REGISTRY[name] for name in sorted(set(names))]
    tables = [f"{kind.name} {kind.parameters} rgb={kind.rgb}" for kind in kinds]
    steps = [Distortion.parameter, _apply, fuse, saliency_mask]
    return "\n".join([*tables, code_of(*steps, *(kind.apply for kind in kinds))])


def distort(
    image: np.ndarray,
    name: str,
    level: float,
    seed: int,
    *,
    mask: np.ndarray | None = None,
    background_level: float | None = None,
) -> np.ndarray:
    """A distorted copy of an image. Its random part depends on (seed, name, level) only.

    `image`: uint8, RGB (h, w, 3) or grey (h, w) or (h, w, 1), h and w at least 32. Grey images: an
    operator that needs colour sees them as RGB and its result goes back to luma, so saturation and
    colour diffusion leave them as they are, a colour shift doubles edges and colour blocks come out
    grey; all others, noise included, work on the one channel.
    `name`: one of `list_distortions`; `level`: 1 to 5, fractions allowed; `seed`: from 0 on.
    `background_level`: the level of all but the subject, which keeps `level`; both are joined by
    `regions.fuse`. Equal levels are one uniform distortion.
    `mask` (h, w), not 0 on the subject; without one it is `regions.saliency_mask`.

    Returns uint8 of the same shape.

    KeyError for an unknown name; ValueError for a level outside 1..5, a seed below 0, an image or a
    mask of another kind, or a mask without `background_level`.
    """
    if name not in REGISTRY:
        raise KeyError(f"no distortion {name!r}; there are {', '.join(list_distortions())}")
    _check_image(image)
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


def _check_image(image):
    is_array = isinstance(image, np.ndarray)
    what = f"{image.dtype} {image.shape}" if is_array else f"a {type(image).__name__}"
    if not re.fullmatch(r"uint8 \(\d+, \d+(, [13])?\)", what) or min(image.shape[:2]) < 32:
        raise ValueError(
            f"image is {what}; wanted an array, uint8 (h, w, 3) or (h, w), at least 32 pixels a "
            f"side"
        )


def _apply(kind, image, level, seed):
    parameter = kind.parameter(level)
    generator = np.random.default_rng([seed, zlib.crc32(kind.name.encode()), round(level * 1000)])
    pixels = np.atleast_3d(image) / 255.0
    through_rgb = kind.rgb and pixels.shape[2] == 1
    if through_rgb:
        pixels = np.repeat(pixels, 3, axis=2)
    result = np.clip(kind.apply(pixels, parameter, generator), 0, 1)
    if through_rgb:
        result = result @ np.array(LUMA)
    return np.rint(result * 255).astype(np.uint8).reshape(image.shape)
