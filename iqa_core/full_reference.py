"""Full-reference (FR) measures: how a distorted image differs from its reference.

All take uint8 RGB images of one size and are computed by piq on [0, 1] floats (data range 1).
Libraries differ in their defaults, so each entry states its down-sampling: an SSIM without it is
another number."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measure:
    """A full-reference measure.

    compute    (distorted, reference), float tensors (1, 3, h, w) in [0, 1] -> scalar tensor
    protocol   channels, down-sampling, source
    identity   the value of identical images
    smallest   shorter side, pixels, that it can be computed on
    """

    name: str
    compute: Callable
    higher_is_better: bool
    protocol: str
    identity: float
    smallest: int


REGISTRY: dict[str, Measure] = {}


def measure(
    protocol: str, *, higher_is_better: bool = True, identity: float = 1.0, smallest: int = 1
):
    """Register `f(distorted, reference)`, of float tensors (1, 3, h, w) in [0, 1], under its
    function name; `Measure` has the arguments.
    """

    def register(function):
        name = function.__name__
        REGISTRY[name] = Measure(name, function, higher_is_better, protocol, identity, smallest)
        return function

    return register


def list_measures() -> list[str]:
    """Names that `fr_measure` knows."""
    return sorted(REGISTRY)


def check_measures(names: Iterable[str]) -> None:
    """KeyError if one of the names is no measure: before long work, not after it."""
    for name in names:
        if name not in REGISTRY:
            raise KeyError(
                f"no full-reference measure {name!r}; there are {', '.join(list_measures())}"
            )


def unmeasurable(name: str, size: tuple[int, int], reference_size: tuple[int, int]) -> str:
    """Why a measure cannot be computed on a pair of images of these widths and heights, in pixels;
    nothing where it can.
    """
    ours, theirs = ("x".join(map(str, sides)) for sides in (size, reference_size))
    if ours != theirs:
        return f"it is {ours}, its reference {theirs}; they must be of one size"
    smallest = REGISTRY[name].smallest
    if min(size) < smallest:
        return f"it is {ours}, and {name} needs {smallest} pixels a side"
    return ""


def fr_measure(name: str, distorted: np.ndarray, reference: np.ndarray) -> float:
    """The value of a measure, in its own units and direction (`REGISTRY[name].higher_is_better`);
    identical images have its `identity`, by definition.

    distorted, reference   uint8 RGB images (h, w, 3) of one size

    Errors: KeyError for an unknown name; ValueError for images of different size, too small for the
    measure or not uint8 RGB, and for a value that is not finite.
    """
    check_measures([name])
    images = [_tensor(image) for image in (distorted, reference)]
    if why := unmeasurable(name, distorted.shape[1::-1], reference.shape[1::-1]):
        raise ValueError(f"{name}: the distorted image cannot be measured: {why}")
    if np.array_equal(distorted, reference):
        return REGISTRY[name].identity
    import torch

    with torch.inference_mode():
        value = float(REGISTRY[name].compute(*images))
    if not math.isfinite(value):
        raise ValueError(f"{name} of this pair is {value}; leave its row out, or the measure")
    return value


def _tensor(image):
    import torch

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; wanted uint8 (h, w, 3)")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@measure("RGB, no down-sampling, dB; identical images give 80 dB", identity=80.0)
def psnr(distorted, reference):
    import piq

    return piq.psnr(distorted, reference, data_range=1.0)


@measure(
    "mean over R, G, B; 11x11 Gaussian window of 1.5; down-sampled by round(min(h, w) / 256); "
    "10.1109/TIP.2003.819861",
    smallest=11,
)
def ssim(distorted, reference):
    import piq

    return piq.ssim(distorted, reference, data_range=1.0, downsample=True)


@measure(
    "LMN colour, SDSP saliency; down-sampled by round(min(h, w) / 256); 10.1109/TIP.2014.2346028"
)
def vsi(distorted, reference):
    import piq

    return piq.vsi(distorted, reference, data_range=1.0)


@measure(
    "down-sampled by round(min(h, w) / 256); 10.1109/ACCESS.2016.2604042",
    higher_is_better=False,
    identity=0.0,
)
def mdsi(distorted, reference):
    import piq

    return piq.mdsi(distorted, reference, data_range=1.0)


@measure("YIQ, halved once; 10.1016/j.image.2017.11.001", smallest=16)
def haarpsi(distorted, reference):
    import piq

    return piq.haarpsi(distorted, reference, data_range=1.0)
