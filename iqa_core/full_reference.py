"""Full-reference (FR) measures: how a distorted image differs from its reference.

All take uint8 RGB images of one size and are computed by piq on [0, 1] floats (data range 1).
Libraries differ in their defaults, so each entry states its down-sampling: an SSIM without it is
another number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measure:
    """A full-reference measure.

    compute    (distorted, reference), float tensors (1, 3, h, w) in [0, 1] -> scalar tensor
    protocol   channels, down-sampling, source
    """

    name: str
    compute: Callable
    higher_is_better: bool
    protocol: str


REGISTRY: dict[str, Measure] = {}


def measure(protocol: str, *, higher_is_better: bool = True):
    """Register `f(distorted, reference)`, of float tensors (1, 3, h, w) in [0, 1], under its
    function name.
    """

    def register(function):
        REGISTRY[function.__name__] = Measure(
            function.__name__, function, higher_is_better, protocol
        )
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


def fr_measure(name: str, distorted: np.ndarray, reference: np.ndarray) -> float:
    """The value of a measure, in its own units and direction (`REGISTRY[name].higher_is_better`).

    distorted, reference   uint8 RGB images (h, w, 3) of one size

    Errors: KeyError for an unknown name, ValueError for images of different size or not uint8 RGB.
    """
    check_measures([name])
    if distorted.shape != reference.shape:
        raise ValueError(
            f"{name}: distorted is {distorted.shape}, reference {reference.shape}; they must be of "
            f"one size"
        )
    import torch

    with torch.inference_mode():
        return float(REGISTRY[name].compute(_tensor(distorted), _tensor(reference)))


def _tensor(image):
    import torch

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; wanted uint8 (h, w, 3)")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@measure("RGB, no down-sampling, dB; identical images give 80 dB")
def psnr(distorted, reference):
    import piq

    return piq.psnr(distorted, reference, data_range=1.0)


@measure(
    "mean over R, G, B; 11x11 Gaussian window of 1.5; down-sampled by round(min(h, w) / 256); "
    "10.1109/TIP.2003.819861"
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
    "down-sampled by round(min(h, w) / 256); 10.1109/ACCESS.2016.2604042", higher_is_better=False
)
def mdsi(distorted, reference):
    import piq

    return piq.mdsi(distorted, reference, data_range=1.0)


@measure("YIQ, halved once; 10.1016/j.image.2017.11.001")
def haarpsi(distorted, reference):
    import piq

    return piq.haarpsi(distorted, reference, data_range=1.0)
