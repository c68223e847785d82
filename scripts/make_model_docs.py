"""Writes docs/models.md from the model registry: parameters, GMACs, inputs, scores, papers,
reported results.

`python scripts/make_model_docs.py` after a change of a model; tests/test_pages.py says when the
page is stale.
"""

import functools
import inspect
import json
import re
from pathlib import Path

import torch
from torch import nn

from iqa_core import architecture
from iqa_core.models import Contract, create_model, list_models, module_of
from iqa_core.models.smart_iqa import SIZES

FILE = Path(__file__).resolve().parents[1] / "docs/models.md"
# backbones that are tried: what a model takes is asked of its `build`
PYRAMID = "resnet18"
TRANSFORMER = "vit_tiny_patch16_224"

HEAD = f"""\
# Models

Made from the registry by `scripts/make_model_docs.py`; edit the model files, not this page. Every
model is one file in `iqa_core/models/`, built by `create_model(name, **arguments)`.

*Parameters*: all of the network, frozen and idle ones included. *Not in a score*: of these, those
on which no score depends; published weights hold them, and each file declares them as `UNUSED`
(CKDN's serve the first stage of its training). *Learnable*: those that are not frozen.
*GMACs*: billions of multiply-adds of matrix products and convolutions for one forward pass on one
crop, or on a whole image of {architecture.WHOLE[1]}x{architecture.WHOLE[0]} where crops are not
taken, counted on the built network (the SMART-IQA reports print such numbers as "FLOPs").
Published weights: `python -m iqa_core weights list`.
"""
INPUTS = """
## Inputs and scores

How an image reaches the network, which training and evaluation follow. Images are RGB in [0, 1];
each network normalises them itself. Where several crops are taken they stand on a fixed grid, so a
score is the same every time; the authors' codes mostly draw them at random. Scores are higher for
better images. *Range*: what the network or its labels' scale fixes; *open* where only the labels
can say. `weights list` has the range of each published file.
"""
PAPERS = """
## Papers and reported results

Reported by others, SRCC / PLCC unless said, under the protocol named; nothing here was measured by
this project.
"""
ARGUMENTS = """
## Arguments

`create_model(name, ...)` takes these. *Backbones*, by their names in timm: a pyramid (ResNet,
EfficientNet, Swin, ...) or a vision transformer, as `build` takes them. `pretrained=False` uses no
network.
"""
CHANGES = """
## What SMART-IQA changes in HyperIQA

Read off the two built networks; the learning rates are those of the authors' codes.
"""


def main() -> None:
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.name}")


def text() -> str:
    """The whole page."""
    networks = {}
    macs = {}
    for name in list_models():
        for variant in module_of(name).VARIANTS:
            networks[name, variant], macs[name, variant] = counted(name, variant)
    hyper = networks["hyperiqa", "HyperIQA"]
    smart = networks["smart_iqa", "SMART-IQA-B"]
    parts = [
        HEAD,
        size_table(networks, macs),
        INPUTS,
        input_table(networks),
        PAPERS,
        paper_table(),
        ARGUMENTS,
        argument_table(),
        CHANGES,
        table(["", "HyperIQA", "SMART-IQA-B"], changes(hyper, smart)),
    ]
    return "\n".join(parts) + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---- parameters and multiply-adds


@functools.cache
@torch.no_grad()
def counted(name: str, variant: str) -> tuple[nn.Module, float]:
    """A network and the GMACs of a forward pass.

    On torch's meta device, where tensors have shapes and no numbers, which takes a second; networks
    that look at numbers cannot be counted there, and are built for real.
    """
    arguments = module_of(name).VARIANTS[variant]
    try:
        with torch.device("meta"):
            network = create_model(name, **arguments, pretrained=False).eval()
            return network, architecture.describe(network)["gmacs"]
    except (RuntimeError, NotImplementedError):
        network = create_model(name, **arguments, pretrained=False).eval()
        return network, architecture.describe(network)["gmacs"]


def size_table(networks: dict, macs: dict) -> str:
    """How each network is built, and how large it is."""
    rows = []
    for (name, variant), network in networks.items():
        sizes = [f"{count:,}" for count in parameter_counts(name, network)]
        rows.append([variant, f"`{call(name, variant)}`", *sizes, f"{macs[name, variant]:.2f}"])
    head = ["network", "built by", "parameters", "not in a score", "learnable", "GMACs"]
    return table(head, rows)


def call(name: str, variant: str) -> str:
    """The Python call that builds a variant."""
    arguments = module_of(name).VARIANTS[variant]
    parts = [literal(name), *(f"{key}={literal(value)}" for key, value in arguments.items())]
    return f"create_model({', '.join(parts)})"


def parameter_counts(name: str, network: nn.Module) -> tuple[int, int, int]:
    """Parameters in all, of these not in a score, and of all those that learn."""
    unused = re.compile("|".join(module_of(name).UNUSED) or r"(?!)")
    total, idle, learnable = 0, 0, 0
    for key, parameter in network.named_parameters():
        count = parameter.numel()
        total += count
        idle += count if unused.search(key) else 0
        learnable += count if parameter.requires_grad else 0
    return total, idle, learnable


# ---- contracts in words


def input_table(networks: dict) -> str:
    """What each network is given and what its scores mean; networks that agree share a row."""
    variants = {}
    for (_, variant), network in networks.items():
        variants.setdefault(tuple(contract_in_words(network.contract)), []).append(variant)
    rows = [[", ".join(names), *words] for words, names in variants.items()]
    return table(["network", "image", "scores", "range", "source"], rows)


def contract_in_words(contract: Contract) -> list[str]:
    """How the image is brought to the network, what is averaged, range and units, the source."""
    image = [resize_in_words(contract)]
    image.append(f"crops of {contract.crop}" if contract.crop else "whole image")
    if contract.reference:
        image.append(f"with its {contract.reference} image")
    if contract.context:
        image.append(f"with its centre {contract.context} as context")
    if contract.crops is None:
        crops = "mean of as few crops as cover it"
    elif contract.crops == 1:
        crops = "one"
    else:
        crops = f"mean of {contract.crops} crops"
    limits = "open" if contract.low is None else f"{contract.low:g} to {contract.high:g}"
    return [", ".join(image), crops, f"{limits}; {contract.units}", contract.source]


def resize_in_words(contract: Contract) -> str:
    """How large the image is made, and by which filter where it is not the usual one."""
    if not contract.resize:
        return "native size"
    if isinstance(contract.resize, int):
        size = f"shorter side to {contract.resize}"
    else:
        size = f"resized to {contract.resize}"
    image, reference = contract.interpolation
    if (image, reference) == ("bilinear", "bilinear"):
        return size
    return f"{size} ({image}, its reference {reference})" if contract.reference else size


# ---- papers and arguments


def paper_table() -> str:
    """Where each model was published, and what was reported there."""
    rows = [[f"`{name}`", paper(name), module_of(name).REPORTED] for name in list_models()]
    return table(["model", "paper", "reported"], rows)


def paper(name: str) -> str:
    """The second paragraph of a model file's docstring up to its first semicolon."""
    paragraphs = module_of(name).__doc__.split("\n\n")
    return " ".join(paragraphs[1].partition(";")[0].split())


def argument_table() -> str:
    """What `build` takes."""
    rows = []
    for name in list_models():
        parameters = inspect.signature(module_of(name).build).parameters.values()
        defaults = [f"`{each.name}={literal(each.default)}`" for each in parameters]
        rows.append([f"`{name}`", ", ".join(defaults), backbones(name)])
    return table(["model", "arguments and their defaults", "backbones"], rows)


def backbones(name: str) -> str:
    """Which kinds of backbone a model takes, tried on its smallest build."""
    module = module_of(name)
    if "backbone" not in inspect.signature(module.build).parameters:
        return "its own"
    taken = []
    for kind, backbone in {"pyramid": PYRAMID, "vision transformer": TRANSFORMER}.items():
        arguments = {**module.TEST_KWARGS[0], "backbone": backbone}
        try:
            create_model(name, **arguments, pretrained=False)
        except ValueError:
            continue
        taken.append(kind)
    return " or ".join(taken)


def literal(value: object) -> str:
    """A value as Python code, texts in double quotes."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


# ---- two networks side by side


def changes(hyper: nn.Module, smart: nn.Module) -> list[list[str]]:
    """What differs between HyperIQA and SMART-IQA-B: rows of a part's name and both its forms."""
    channels = smart.backbone.channels
    fused = " + ".join(str(width) for width in channels)
    last = hyper.hyper.reduce[0].in_channels
    drop = f"{smart.dropout:g}"
    gate_drop = f"{smart.gate.net[2].p:g}"
    return [
        [
            "backbone",
            f"ResNet-50, {size(hyper.backbone)}",
            f"Swin-Base, {size(smart.backbone)}",
        ],
        [
            "hyper-network reads",
            f"last stage, {last} x 7 x 7",
            f"all stages, pooled to 7 x 7: {fused} = {smart.hyper.reduce[0].in_channels}",
        ],
        [
            "stage weights",
            "none",
            f"softmax of one scalar a stage from the last stage, {size(smart.gate)}",
        ],
        ["1x1 convolutions of the hyper-network", widths(hyper), widths(smart)],
        [
            "generators of the target network's weights",
            size(hyper.hyper.weight, hyper.hyper.bias),
            f"{size(smart.hyper.weight, smart.hyper.bias)}, the same",
        ],
        [
            "local distortion vector (LDA)",
            size(hyper.local),
            f"{size(smart.local)}, the same design on its widths",
        ],
        [
            "target network",
            "224-112-56-28-14-1, sigmoids",
            f"the same, dropout {drop} after three of its sigmoids",
        ],
        ["other dropout", "none", f"{drop} on the hyper-network, {gate_drop} in the gate"],
        ["stochastic depth of the backbone", "none", f"{SIZES['base'][2]:g}"],
        [
            "learning rates (backbone with LDA : rest)",
            "2e-5 : 2e-4, Adam",
            "5e-7 : 5e-6, AdamW, gradients clipped to norm 1",
        ],
    ]


def size(*modules: nn.Module) -> str:
    """The number of parameters of some parts together."""
    count = sum(each.numel() for module in modules for each in module.parameters())
    return f"{count:,} parameters"


def widths(network: nn.Module) -> str:
    """Channels before, between and after the hyper-network's 1x1 convolutions."""
    convolutions = [each for each in network.hyper.reduce if isinstance(each, nn.Conv2d)]
    channels = [convolutions[0].in_channels, *(each.out_channels for each in convolutions)]
    return " - ".join(map(str, channels))


if __name__ == "__main__":
    main()
