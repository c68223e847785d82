"""Types of the arguments of `build`, by which `runs.choices` checks them without importing torch.

Importing timm takes seconds, so its names are in backbones.txt, a line each: the name, what kind of
network it is, and the tags of its weights. `scripts/make_backbones.py` writes that file.
"""

import ast
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from ..hints import nearest

__all__ = [  # what annotations of `build` are made of
    "Chance", "Literal", "NonNegativeInt", "PositiveInt", "PyramidName", "Sequence", "TimmName",
    "TransformerName",
]  # fmt: skip
FOLDER = Path(__file__).parent
BACKBONES = FOLDER / "backbones.txt"


@cache
def backbones() -> dict[str, tuple[str, list[str]]]:
    """Name of a network of timm -> its kind (pyramid, transformer or other), and the tags of its
    weights.
    """
    networks = {}
    for line in BACKBONES.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, kind, *tags = line.split()
            networks[name] = (kind, tags)
    return networks


def _of_timm(name: str, *, kind: str = "") -> str:
    architecture, _, tag = name.partition(".")
    known = [other for other, (own, _) in backbones().items() if kind in ("", own)]
    if architecture not in known:
        hint = nearest(architecture, known, most=3) or "."
        raise ValueError(
            f"timm has no {kind or 'network'} of that name{hint} iqa_core/models/{BACKBONES.name} "
            f"lists all {len(known)}"
        )
    tags = backbones()[architecture][1]
    if tag and tag not in tags:
        have = ", ".join(f"{architecture}.{other}" for other in tags) or "none"
        raise ValueError(f"timm has no such weights; those of {architecture} are {have}")
    return name


POOLED_CROP = 224  # side of the crops of models on pooled stages (`FROZEN_CROPS`), pixels
Chance = Annotated[float, Field(ge=0, lt=1)]
TimmName = Annotated[str, AfterValidator(_of_timm)]
# stages of strides 4, 8, 16, 32
PyramidName = Annotated[str, AfterValidator(partial(_of_timm, kind="pyramid"))]
# a plain vision transformer
TransformerName = Annotated[str, AfterValidator(partial(_of_timm, kind="transformer"))]


def arguments_of(model: str) -> dict[str, tuple[object, object]]:
    """Name -> (type, default) of every argument of a model's `build`, read with `ast`."""
    for node in _tree(model).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            build = node.args
    named = [*build.args, *build.kwonlyargs]
    defaults = [*build.defaults, *build.kw_defaults]
    arguments = {}
    for argument, default in zip(named, defaults, strict=True):
        annotation = eval(ast.unparse(argument.annotation), globals())
        arguments[argument.arg] = (annotation, ast.literal_eval(default))
    return arguments


def wanted_for_frozen_crops(model: str) -> dict[str, object] | None:
    """The arguments with which a model learns on frozen crops, its `FROZEN_CROPS`, a list where
    one of several will do; None where it cannot.
    """
    for node in _tree(model).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FROZEN_CROPS":
            return ast.literal_eval(node.value)
    return None


def on_pooled_stages(model: str) -> bool:
    """Whether a model is one that reads pooled stages of crops of one size."""
    return "OnPooledStages" in ast.unparse(_tree(model))


@cache
def _tree(model):
    return ast.parse((FOLDER / f"{model}.py").read_text(encoding="utf-8"))
