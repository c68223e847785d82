"""Writes docs/models.md from the model registry: parameters, GMACs, inputs, scores, papers,
reported results.

`python scripts/make_model_docs.py` after a change of a model; `make test-slow` says when the file
is stale."""

import inspect
import json
import re
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from iqa_core.models import Contract, create_model, list_models, module_of
from iqa_core.models.smart_iqa import SIZES

FILE = Path(__file__).resolve().parents[1] / "docs/models.md"
NATIVE = (384, 512)  # height, width of the image by which models of whole images are counted

HEAD = """\
# Models

Made from the registry by `scripts/make_model_docs.py`; edit the model files, not this page. Every model is one file in
`iqa_core/models/`, built by `create_model(name, **arguments)`.

*Parameters*: all of the network, frozen and idle ones included. *Not in a score*: of these, those on which no score depends;
published weights hold them, and each file declares them as `UNUSED` (CKDN's serve the first stage of its training).
*Learnable*: those that are not frozen.
*GMACs*: billions of multiply-adds of matrix products and convolutions for one forward pass on one crop, or on a whole image of
{width}x{height} where crops are not taken, counted on the built network (the SMART-IQA reports print such numbers as "FLOPs").
Published weights: `python -m iqa_core weights list`.
"""
INPUTS = """
## Inputs and scores

How an image reaches the network, which `evaluation.predict` follows. Images are RGB in [0, 1]; each network normalises them
itself. Where several crops are taken they stand on a fixed grid, so a score is the same every time; the authors' codes mostly
draw them at random. Scores are higher for better images. *Range*: what the network or its labels' scale fixes; *open* where
only the labels can say. `weights list` has the range of each published file.
"""
PAPERS = """
## Papers and reported results

Reported by others, SRCC / PLCC unless said, under the protocol named; nothing here was measured by this project.
"""
ARGUMENTS = """
## Arguments

`create_model(name, ...)` takes these. `backbone`: a timm pyramid (ResNet, EfficientNet, Swin, ...) for `hyperiqa`, `smart_iqa`,
`iqt` and `ckdn`, a vision transformer for `maniqa` and `ra_miqa`, anything for `miqa_baseline`. `pretrained=False` uses no
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
    built = {
        (name, variant): create_model(name, **arguments, pretrained=False).eval()
        for name in list_models()
        for variant, arguments in module_of(name).VARIANTS.items()
    }
    names = list(dict.fromkeys(name for name, _ in built))
    alike = {}  # networks by what is said of their inputs
    for (_, variant), model in built.items():
        alike.setdefault(tuple(contract(model.contract)), []).append(variant)
    return "\n".join([
        HEAD.format(height=NATIVE[0], width=NATIVE[1]),
        table(
            ["network", "built by", "parameters", "not in a score", "learnable", "GMACs"],
            [[variant, f"`{call(name, variant)}`", *counts(name, model)] for (name, variant), model in built.items()],
        ),
        INPUTS,
        table(
            ["network", "image", "scores", "range", "source"],
            [[", ".join(variants), *told] for told, variants in alike.items()],
        ),
        PAPERS,
        table(["model", "paper", "reported"], [[f"`{name}`", paper(name), module_of(name).REPORTED] for name in names]),
        ARGUMENTS,
        table(["model", "arguments and their defaults"], [[f"`{name}`", arguments(name)] for name in names]),
        CHANGES,
        table(["", "HyperIQA", "SMART-IQA-B"], changes(built["hyperiqa", "HyperIQA"], built["smart_iqa", "SMART-IQA-B"])),
        "",
    ])  # fmt: skip


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def call(name: str, variant: str) -> str:
    """The Python call that builds a variant."""
    arguments = "".join(
        f", {key}={_literal(value)}" for key, value in module_of(name).VARIANTS[variant].items()
    )
    return f'create_model("{name}"{arguments})'


def counts(name: str, model: torch.nn.Module) -> list[str]:
    """Parameters in all, not in a score, trained; GMACs of a forward pass."""
    named = list(model.named_parameters())
    unused = sum(
        p.numel()
        for key, p in named
        if any(re.search(rule, key) for rule in module_of(name).UNUSED)
    )
    trained = sum(p.numel() for _, p in named if p.requires_grad)
    return [
        f"{sum(p.numel() for _, p in named):,}",
        f"{unused:,}",
        f"{trained:,}",
        f"{gmacs(model):.2f}",
    ]


@torch.no_grad()
def gmacs(model: torch.nn.Module) -> float:
    """Billions of multiply-adds of a forward pass, attention products included."""
    sides = [(model.contract.crop,) * 2 if model.contract.crop else NATIVE]
    sides += (
        [sides[0]]
        if model.contract.reference
        else [(model.contract.context,) * 2]
        if model.contract.context
        else []
    )
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):  # fused kernels are not counted
        model(*(torch.rand(1, 3, *side) for side in sides))
    return counter.get_total_flops() / 2e9


def contract(c: Contract) -> list[str]:
    """In words: how the image is brought to the network, what is averaged, the range and units, the
    source.
    """
    size = (
        f"shorter side to {c.resize}"
        if isinstance(c.resize, int)
        else f"resized to {c.resize}"
        if c.resize
        else "native size"
    )
    if c.resize and c.interpolation != ("bilinear", "bilinear"):
        size += f" ({c.interpolation[0]}" + (
            f", its reference {c.interpolation[1]})" if c.reference else ")"
        )
    image = [size, f"crops of {c.crop}" if c.crop else "whole image"]
    image += [f"with its {c.reference} image"] if c.reference else []
    image += [f"with its centre {c.context} as context"] if c.context else []
    crops = (
        "one"
        if c.crops == 1
        else "mean of as few crops as cover it"
        if c.crops is None
        else f"mean of {c.crops} crops"
    )
    limits = "open" if c.low is None else f"{c.low:g} to {c.high:g}"
    return [", ".join(image), crops, f"{limits}; {c.units}", c.source]


def arguments(name: str) -> str:
    """The parameters of a model's build."""
    parameters = inspect.signature(module_of(name).build).parameters.values()
    return ", ".join(f"`{p.name}={_literal(p.default)}`" for p in parameters)


def paper(name: str) -> str:
    """The second paragraph of a model file's docstring up to its first semicolon or full stop after
    the venue.
    """
    return " ".join(module_of(name).__doc__.split("\n\n")[1].split(";")[0].split())


def changes(hyper: torch.nn.Module, smart: torch.nn.Module) -> list[list[str]]:
    """What differs, number by number."""

    def size(*modules):
        return f"{sum(p.numel() for module in modules for p in module.parameters()):,} parameters"

    def widths(module):
        convs = [m for m in module.hyper.reduce if isinstance(m, torch.nn.Conv2d)]
        return " - ".join(str(n) for n in [convs[0].in_channels, *(m.out_channels for m in convs)])

    def generators(module):
        return module.hyper.weight, module.hyper.bias

    hyper_in, smart_in = (m.hyper.reduce[0].in_channels for m in (hyper, smart))
    fused = " + ".join(str(c) for c in smart.backbone.channels)
    return [
        ["backbone", f"ResNet-50, {size(hyper.backbone)}", f"Swin-Base, {size(smart.backbone)}"],
        ["hyper-network reads", f"last stage, {hyper_in} x 7 x 7", f"all stages, pooled to 7 x 7: {fused} = {smart_in}"],
        ["stage weights", "none", f"softmax of one scalar a stage from the last stage, {size(smart.gate)}"],
        ["1x1 convolutions of the hyper-network", widths(hyper), widths(smart)],
        ["generators of the target network's weights", size(*generators(hyper)), f"{size(*generators(smart))}, the same"],
        ["local distortion vector (LDA)", size(hyper.local), f"{size(smart.local)}, the same design on its widths"],
        ["target network", "224-112-56-28-14-1, sigmoids", f"the same, dropout {smart.dropout:g} after three of its sigmoids"],
        ["other dropout", "none", f"{smart.dropout:g} on the hyper-network, {smart.gate.net[2].p:g} in the gate"],
        ["stochastic depth of the backbone", "none", f"{SIZES['base'][2]:g}"],
        ["learning rates (backbone with LDA : rest)", "2e-5 : 2e-4, Adam", "5e-7 : 5e-6, AdamW, gradients clipped to norm 1"],
    ]  # fmt: skip


def _literal(value):
    return json.dumps(value) if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    main()
