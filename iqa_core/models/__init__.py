"""Models by name: one file a system, the file name is the model's name, each with a `build(**kwargs)`.

A model takes RGB images (b, 3, h, w) in [0, 1], normalises inside, returns scores (b,), higher is better, and carries its
`contract`: how images are brought to it, and what its scores mean.
"""

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

PARTS = {"pyramid", "weights"}  # shared by the models, no models themselves


@dataclass
class Contract:
    """How images reach a model. Loading and evaluation read it and nothing else."""

    crop: int  # side of the square crops, pixels
    crops: int  # crops a image in evaluation, a deterministic grid; their scores are averaged
    source: str  # where the protocol comes from
    offset: float = 0.0  # predicted label = offset + scale x score
    scale: float = 1.0


def list_models() -> list[str]:
    """Names that `create_model` knows."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_") and p.stem not in PARTS)


def create_model(name: str, **kwargs):
    """Build the model `name`; kwargs go to its `build`. KeyError for an unknown name, TypeError for an unknown argument.

    The model remembers both as `model.recipe`, so a run folder can rebuild it.
    """
    build = _module(name).build
    known = list(inspect.signature(build).parameters)
    if unknown := sorted(set(kwargs) - set(known)):
        raise TypeError(f"{name} has no argument {', '.join(unknown)}; it has {', '.join(known)}")
    model = build(**kwargs)
    model.recipe = {"name": name, "arguments": {k: v for k, v in kwargs.items() if k != "pretrained"}}
    return model


def _module(name):
    if name not in list_models():
        raise KeyError(f"no model {name!r}; there are {', '.join(list_models())}")
    return importlib.import_module(f"{__name__}.{name}")
