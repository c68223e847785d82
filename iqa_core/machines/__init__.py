"""Vision models whose answers to a picture say what it is worth to a machine, by name.

`timm:<name>`         a classifier of timm, `timm:resnet50`, with its own preprocessing
`ndf:squeezenet`      SqueezeNet 1.1, whose ImageNet weights install as a package
`torchvision:<name>`  a detector or instance segmenter, `torchvision:fasterrcnn_resnet50_fpn`
`callable:<module>:<function>`   one's own: `images -> answers`, uint8 RGB (h, w, 3) each

All have learnt weights; a network that starts at random has no answers, and none is to be had here.
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..hints import nearest

TASKS = {"cls": "classification", "det": "detection", "ins": "instance segmentation"}
VIEWS = ("centre", "whole")  # of a picture, that a classifier sees
KINDS = ("timm", "ndf", "torchvision", "callable")


@dataclass(frozen=True)
class Machine:
    """A vision model that answers.

    task       cls, det or ins
    respond    images -> answers, one an image. cls: probabilities (views, classes), each row of
               sum 1; det, ins: `detections.Found`
    views      names of the fixed views of an image that a classifier sees, in their order
    identity   a hash of its weights and of how it looks
    """

    name: str
    task: str
    respond: Callable[[Sequence[np.ndarray]], list] = field(repr=False)
    views: tuple[str, ...] = ()
    identity: str = ""


def open_machine(
    name: str, *, task: str = "cls", views: Sequence[str] = ("centre",), precision: str = "fp32"
) -> Machine:
    """A vision model by its name, with its learnt weights, on the GPU where there is one.

    views       of classifiers: centre, the crop that its weights are tested with; whole, the whole
                picture brought to that shape
    precision   fp32, or bf16 for the network's convolutions and products

    KeyError for a name of another form or a model that its package does not have; ValueError for a
    model of another task, an unknown view or precision; FileNotFoundError for weights that are not
    to be had, with the way out.
    """
    kind, _, which = name.partition(":")
    if kind not in KINDS or not which:
        hint = nearest(kind, KINDS) or "."
        raise KeyError(
            f"no vision model {name!r}{hint} Write timm:resnet50, ndf:squeezenet, "
            "torchvision:fasterrcnn_resnet50_fpn or callable:module:function"
        )
    if task not in TASKS:
        raise ValueError(f"task is {task!r}; there are {', '.join(TASKS)}")
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision is {precision!r}; there are fp32, bf16")
    if kind == "callable":
        return _own(name, which, task)
    if kind == "torchvision":
        from .detectors import open_detector

        return open_detector(name, which, task, precision)
    if task != "cls":
        raise ValueError(f"{name} names a class; for {TASKS[task]} write torchvision:<name>")
    from .classifiers import open_classifier

    return open_classifier(name, kind, which, tuple(views), precision)


def _own(name, which, task):
    """A function of one's own as a machine; it is known by its source file, and by its attribute
    `identity` where it has one.
    """
    module, _, function = which.rpartition(":")
    if not module:
        raise KeyError(f"{name!r} has no function; write callable:module:function")
    try:
        respond = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise KeyError(
            f"{name}: no module {error.name!r}; run from its folder, or put that on PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise KeyError(f"{name}: module {module} has no {function}") from error
    source = inspect.getsourcefile(respond)
    own = str(getattr(respond, "identity", "")).encode()
    digest = hashlib.sha256(Path(source).read_bytes() + own).hexdigest()[:12]
    return Machine(name, task, respond, identity=digest)
