"""Full-reference (FR) measures: how a distorted image differs from its reference.

All take uint8 RGB images of one size and are computed on [0, 1] floats (data range 1), by piq, and
LPIPS and DISTS by torchmetrics. Libraries differ in their defaults, and so do published tables: an
SSIM without down-sampling is another number. Each entry's protocol states the default, and what
others do differently are its *conventions*, the keyword arguments of its function.

LPIPS and DISTS read the ImageNet weights of a torchvision network. `absent` tells whether they are
here; `fr_measure` fetches them, work on many images does not."""

import functools
import inspect
import logging
import math
import pickle
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from .download import download
from .hints import nearest

log = logging.getLogger(__name__)
Channels = Literal["rgb", "y"]  # y: full-range BT.601 luma, 0.299 R + 0.587 G + 0.114 B
TRUNKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}  # LPIPS's names of them


@dataclass(frozen=True)
class Measure:
    """A full-reference measure.

    compute    (distorted, reference), float tensors (1, 3, h, w) in [0, 1] -> scalar; its
               conventions are keyword-only, with a default and annotated by bool or a Literal
    protocol   channels, down-sampling, source, as they are by default
    identity   the value of identical images
    smallest   shorter side, pixels, that it can be computed on in every convention
    network    its conventions -> name of the torchvision network whose ImageNet weights it reads,
               or ""
    """

    name: str
    compute: Callable
    higher_is_better: bool
    protocol: str
    identity: float
    smallest: int
    network: Callable[..., str]


REGISTRY: dict[str, Measure] = {}


def measure(
    protocol: str,
    *,
    higher_is_better: bool = True,
    identity: float = 1.0,
    smallest: int = 1,
    network: Callable[..., str] = lambda **convention: "",
):
    """Register `f(distorted, reference)`, of float tensors (1, 3, h, w) in [0, 1], under its
    function name; `Measure` has the arguments.
    """

    def register(function):
        name = function.__name__
        REGISTRY[name] = Measure(
            name, function, higher_is_better, protocol, identity, smallest, network
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


def conventions(name: str) -> dict[str, tuple]:
    """The conventions of a measure: keyword -> the values that it may have, the default first.

    KeyError for an unknown measure.
    """
    check_measures([name])
    known = {}
    for keyword, parameter in inspect.signature(REGISTRY[name].compute).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            others = get_args(parameter.annotation) or (True, False)
            known[keyword] = (parameter.default, *(v for v in others if v != parameter.default))
    return known


def _completed(name, given):
    """All conventions of a measure, those not given at their defaults."""
    known = conventions(name)
    for keyword, value in given.items():
        if keyword not in known:
            told = f"it has {', '.join(known)}" if known else "it has none"
            raise KeyError(
                f"{name} has no convention {keyword!r}{nearest(keyword, known)} ({told})"
            )
        if value not in known[keyword]:
            allowed = " or ".join(map(repr, known[keyword]))
            raise ValueError(f"{keyword} of {name} is {value!r}; it may be {allowed}")
    return {keyword: values[0] for keyword, values in known.items()} | given


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


def weights_file(name: str, **convention: object) -> Path | None:
    """Where torch's hub cache keeps the ImageNet weights that a measure reads, whether they are
    there or not; None for a measure that reads none. KeyError and ValueError as `fr_measure`.
    """
    completed = _completed(name, convention)
    network = REGISTRY[name].network(**completed)
    return _place(network)[1] if network else None


def absent(name: str, **convention: object) -> str:
    """Why a measure cannot be computed here on any image, with what to do: the weights that it
    reads are not here. Nothing where it can be. Nothing is fetched.

    KeyError and ValueError as `fr_measure`.
    """
    completed = _completed(name, convention)
    network = REGISTRY[name].network(**completed)
    if not network or _place(network)[1].is_file():
        return ""
    address, file = _place(network)
    return (
        f"the ImageNet weights of {network} are not at {file}; where there is a network, "
        f"`python -c \"import torchvision; torchvision.models.{network}(weights='DEFAULT')\"` "
        f"fetches them, or put {address} there"
    )


def fr_measure(
    name: str, distorted: np.ndarray, reference: np.ndarray, **convention: object
) -> float:
    """The value of a measure, in its own units and direction (`REGISTRY[name].higher_is_better`);
    identical images have its `identity`, by definition.

    distorted, reference   uint8 RGB images (h, w, 3) of one size
    convention             keyword arguments of the measure's function, which tells what they match
                           (`conventions(name)` lists them): fr_measure("psnr", ..., channels="y")

    Errors: KeyError for an unknown name or convention; ValueError for another value of one, for
    images of different size, too small for the measure or not uint8 RGB, and for a value that is
    not finite; FileNotFoundError where the weights that it reads are neither in torch's hub cache
    nor to be had from the network.
    """
    convention = _completed(name, convention)
    images = [_tensor(image) for image in (distorted, reference)]
    if why := unmeasurable(name, distorted.shape[1::-1], reference.shape[1::-1]):
        raise ValueError(f"{name}: the distorted image cannot be measured: {why}")
    if np.array_equal(distorted, reference):
        return REGISTRY[name].identity
    import torch

    with torch.inference_mode():
        value = float(REGISTRY[name].compute(*images, **convention))
    if not math.isfinite(value):
        raise ValueError(f"{name} of this pair is {value}; leave its row out, or the measure")
    return value


def _tensor(image):
    import torch

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; wanted uint8 (h, w, 3)")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@measure("RGB, no down-sampling, dB; identical images give 80 dB", identity=80.0)
def psnr(distorted, reference, *, channels: Channels = "rgb"):
    """Peak signal-to-noise ratio, dB, at most 80: 1e-8 is added to the mean squared error.

    channels   "rgb": mean over all, to match piq, scikit-image and torchmetrics with data_range=1;
               "y": luma alone, to match piq with convert_to_greyscale=True. Tables of
               super-resolution take luma of 16 to 235, as Matlab's rgb2ycbcr: 1.32 dB more
    """
    import piq

    return piq.psnr(distorted, reference, data_range=1.0, convert_to_greyscale=channels == "y")


@measure(
    "mean over R, G, B; 11x11 Gaussian window of 1.5; down-sampled by round(min(h, w) / 256); "
    "10.1109/TIP.2003.819861",
    smallest=11,
)
def ssim(
    distorted,
    reference,
    *,
    downsample: bool = True,
    channels: Channels = "rgb",
    window: Literal["gaussian", "uniform"] = "gaussian",
):
    """Structural similarity, at most 1 (Wang et al. 2004, 10.1109/TIP.2003.819861), over windows
    that lie wholly inside the image.

    downsample   average squares of round(min(h, w) / 256) pixels first
    channels     "rgb": mean over the three; "y": of luma alone
    window       "gaussian": 11 x 11, sigma 1.5; "uniform": 7 x 7, sample covariance

    To match
      piq                     set nothing
      scikit-image            downsample=False, window="uniform"
      scikit-image with gaussian_weights=True, sigma=1.5, use_sample_covariance=False
                              downsample=False
      pytorch-msssim          downsample=False
      the authors' ssim.m     channels="y"; Matlab rounds 2.5 to 3, at a shorter side of 640
      pyiqa, ssim_index.m     downsample=False, channels="y"; they round luma to 1/255
    and torchmetrics in no way: it averages over mirrored borders too.
    """
    import piq
    from skimage.metrics import structural_similarity

    images = [distorted, reference]
    if channels == "y":
        images = [_luma(image) for image in images]
    if downsample:
        images = [_averaged(image) for image in images]
    if window == "uniform":
        arrays = [image[0].double().numpy() for image in images]
        return structural_similarity(*arrays, data_range=1.0, channel_axis=0)
    return piq.ssim(*images, data_range=1.0, downsample=False)


def _luma(image):
    """(1, 3, h, w) in [0, 1] -> (1, 1, h, w): full-range BT.601, kept from rounding above 1."""
    weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True).clamp(max=1)


def _averaged(image):
    import torch

    return torch.nn.functional.avg_pool2d(image, max(1, round(min(image.shape[-2:]) / 256)))


@measure(
    "LMN colour, SDSP saliency; down-sampled by round(min(h, w) / 256); 10.1109/TIP.2014.2346028"
)
def vsi(distorted, reference):
    """Visual saliency-induced index, at most 1 (Zhang et al. 2014, 10.1109/TIP.2014.2346028). To
    match piq and pyiqa set nothing; IQA-optimization differs in the second decimal.
    """
    import piq

    return piq.vsi(distorted, reference, data_range=1.0)


@measure(
    "YIQ, phase congruency; down-sampled by round(min(h, w) / 256); 10.1109/TIP.2011.2109730",
    smallest=2,
)
def fsim(distorted, reference):
    """Feature similarity index with colour (FSIMc), at most 1 (Zhang et al. 2011,
    10.1109/TIP.2011.2109730). To match piq set nothing.
    """
    import piq

    return piq.fsim(distorted, reference, data_range=1.0)


@measure(
    "down-sampled by round(min(h, w) / 256); 10.1109/ACCESS.2016.2604042",
    higher_is_better=False,
    identity=0.0,
)
def mdsi(distorted, reference):
    """Mean deviation similarity index, a distance from 0 up (Nafchi et al. 2016,
    10.1109/ACCESS.2016.2604042). To match piq set nothing.
    """
    import piq

    return piq.mdsi(distorted, reference, data_range=1.0)


@measure("YIQ, halved once; 10.1016/j.image.2017.11.001", smallest=16)
def haarpsi(distorted, reference):
    """Haar wavelet-based perceptual similarity index, 0 to 1 (Reisenhofer et al. 2018,
    10.1016/j.image.2017.11.001). To match piq set nothing.
    """
    import piq

    return piq.haarpsi(distorted, reference, data_range=1.0)


# ---- measures on the features of networks


@measure(
    "AlexNet (torchvision's ImageNet weights), linear weights 0.1, RGB, no resizing; "
    "arXiv 1801.03924",
    higher_is_better=False,
    identity=0.0,
    smallest=31,
    network=lambda trunk: TRUNKS[trunk],
)
def lpips(distorted, reference, *, trunk: Literal["alex", "vgg", "squeeze"] = "alex"):
    """Learned perceptual image patch similarity, a distance from 0 up (Zhang et al. 2018, arXiv
    1801.03924), by torchmetrics.

    trunk   whose features are compared. To match torchmetrics, the package lpips and pyiqa set
            nothing (AlexNet); piq, which has VGG16 alone, "vgg"; "squeeze" is SqueezeNet 1.1. The
            others keep lengths of features from 0 by another constant: below 1e-4
    """
    return _lpips(trunk, _place(TRUNKS[trunk])[1])(distorted, reference, normalize=True)


@measure(
    "VGG16 (torchvision's ImageNet weights), RGB; the shorter side shrunk to 256 where it is "
    "longer; arXiv 2004.07728",
    higher_is_better=False,
    identity=0.0,
    network=lambda shrink: "vgg16",
)
def dists(distorted, reference, *, shrink: bool = True):
    """Deep image structure and texture similarity, a distance from 0 to about 1 (Ding et al. 2020,
    arXiv 2004.07728), by torchmetrics.

    shrink   a shorter side above 256 becomes 256, bilinear without a filter. To match piq set
             nothing; torchmetrics and pyiqa, which never shrink, False. The authors' script does
             either
    """
    import torch

    images = [distorted, reference]
    shorter = min(distorted.shape[-2:])
    if shrink and shorter > 256:
        resize = functools.partial(
            torch.nn.functional.interpolate,
            scale_factor=256 / shorter,
            mode="bilinear",
            recompute_scale_factor=False,
        )
        images = [resize(image) for image in images]
    return _dists(_place("vgg16")[1])(*images)


# One network a process and file of weights; the file's place is an argument, for it can change.


@functools.cache
def _lpips(trunk, file):
    from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

    build = functools.partial(LearnedPerceptualImagePatchSimilarity, net_type=trunk)
    return _built(build, "lpips", TRUNKS[trunk], file).net


@functools.cache
def _dists(file):
    from torchmetrics.functional.image.dists import DISTSNetwork

    return _built(DISTSNetwork, "dists", "vgg16", file)


def _built(build, name, network, file):
    """What `build()` returns, which reads a file of torchvision's weights; fetched where it is not
    here. The global random generator is as before.
    """
    import torch

    if not file.is_file():
        _fetch(name, network)
    try:
        # torchvision unpickles whatever its file holds, so that this has to be known before.
        torch.load(file, map_location="cpu", weights_only=True)
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            module = build().eval().requires_grad_(False)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{name} cannot read the ImageNet weights {file} ({type(error).__name__}): they are "
            f"damaged, or no weights of {network}; remove the file, and it is fetched again"
        ) from error
    log.info("%s: ImageNet weights of %s from %s", name, network, file)
    return module


def _fetch(name, network):
    address, file = _place(network)
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)[1]  # of its sha256, as in all such names
    try:
        download(address, file, sha256=digits)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{name} needs the ImageNet weights of {network}, which are not in torch's hub cache: "
            f"{error}"
        ) from error


def _place(network):
    """Address of a torchvision network's ImageNet weights, and where torch keeps them."""
    import torch
    import torchvision

    address = torchvision.models.get_model_weights(network).DEFAULT.url
    return address, Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
