"""Writes iqa_core/models/backbones.txt: the networks of the installed timm, a line each, with their
kind and the tags of their weights.

`python scripts/make_backbones.py` after a change of timm's version, 10 minutes on one core;
tests/test_choices.py says when the list is stale.
"""

import timm
import torch
from timm.models import is_model_in_modules

from iqa_core.models.arguments import BACKBONES
from iqa_core.models.pyramid import Pyramid

TRANSFORMERS = ("vision_transformer", "deit")  # files of timm; MANIQA and RA-MIQA take these


def kind_of(name: str) -> str:
    """pyramid where `Pyramid` takes the network, else transformer or other; no memory is used."""
    if is_model_in_modules(name, TRANSFORMERS):
        return "transformer"
    try:
        with torch.device("meta"):
            Pyramid(name, pretrained=False)
    except Exception:  # of many types: timm's networks refuse feature maps in their own ways
        return "other"
    return "pyramid"


def tags() -> dict[str, list[str]]:
    """Name of every network of timm -> the tags of its weights."""
    weights = {name: [] for name in timm.list_models()}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        if tag:
            weights[name].append(tag)
    return weights


def main() -> None:
    lines = [f"# timm {timm.__version__}: name, kind, tags; made by scripts/make_backbones.py"]
    for name, known in tags().items():
        lines.append(" ".join([name, kind_of(name), *known]))
    BACKBONES.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
