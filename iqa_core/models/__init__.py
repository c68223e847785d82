"""Models by name: one file a system, the file name is the model's name, each with a
`build(**kwargs)`.

A model takes RGB images (b, 3, h, w) in [0, 1], some two of them, normalises inside, returns scores
(b,), higher is better, and carries its `contract`: how images are brought to it, and what its
scores mean.

A model file also names, for the tests and docs/models.md that run over the registry: `PUBLISHED`,
regular expressions that turn published state-dict keys into ours; `UNUSED`, regular expressions of
parameters that published weights hold and no score depends on; `VARIANTS`, the published sizes by
name; `REPORTED`, what their authors measured, with its source; `TEST_KWARGS`, small builds;
`TEST_SWITCHES`, for every argument of `build` a change of the first of those that must show."""

import importlib
import inspect
from dataclasses import dataclass, replace
from pathlib import Path

PARTS = {"layers", "published", "pyramid", "weights"}  # shared by the models, no models themselves


OF_LABELS = "the labels it is trained on"


@dataclass
class Contract:
    """How images reach a model, and what its scores mean. Loading and evaluation read it and
    nothing else.
    """

    source: str  # where the protocol comes from
    crop: int | None = 224  # side of the square crops, pixels; None: whole images
    crops: int | None = (
        # crops an image in evaluation, a deterministic grid, scores averaged; None: as few as cover
        # it
        1
    )
    resize: int | tuple[int, int] | None = (
        None  # before cropping: the shorter side, or (height, width), pixels; None: native
    )
    interpolation: tuple[str, str] = (
        "bilinear",
        "bilinear",
    )  # of that resize, for the image and for its reference
    reference: str | None = (
        None  # the second input is another image: the "pristine" one, or the "degraded" one
    )
    context: int | None = (
        None  # the second input is a wider view: the centre crop of this side, pixels
    )
    units: str = OF_LABELS  # of the predicted label
    low: float | None = (
        # scores lie, or are expected, between low and high; None where only the labels can say
        None
    )
    high: float | None = None
    offset: float = 0.0  # predicted label = offset + scale x score
    scale: float = 1.0
    calibration: dict | None = (
        None  # of `metrics.fit_scale`: from predicted labels to another scale, as MOS of 1 to 5
    )

    def changed(self, **fields: object) -> "Contract":
        """One with other values, where lists, as YAML and JSON have them, become tuples; TypeError
        for an unknown name.
        """
        return replace(
            self,
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in fields.items()
            },
        )


def list_models() -> list[str]:
    """Names that `create_model` knows."""
    return sorted(
        p.stem
        for p in Path(__file__).parent.glob("*.py")
        if not p.stem.startswith("_") and p.stem not in PARTS
    )


def create_model(name: str, **kwargs):
    """Build the model `name`; kwargs go to its `build`. KeyError for an unknown name, TypeError for
    an unknown argument.

    The model remembers both as `model.recipe`, so a run folder can rebuild it.
    """
    build = module_of(name).build
    known = list(inspect.signature(build).parameters)
    if unknown := sorted(set(kwargs) - set(known)):
        raise TypeError(f"{name} has no argument {', '.join(unknown)}; it has {', '.join(known)}")
    model = build(**kwargs)
    model.recipe = {
        "name": name,
        "arguments": {k: v for k, v in kwargs.items() if k != "pretrained"},
    }
    return model


def title(model) -> str:
    """What a model that `create_model` made is called in tables and figures: HyperIQA (light head),
    SMART-IQA (tiny size).
    """
    name = module_of(model.recipe["name"]).__doc__.partition(":")[0]
    return name + "".join(
        f" ({value} {key})"
        for key, value in model.recipe["arguments"].items()
        if key in ("head", "size")
    )


def module_of(name: str):
    """The file of a model, imported; KeyError for an unknown name."""
    if name not in list_models():
        raise KeyError(f"no model {name!r}; there are {', '.join(list_models())}")
    return importlib.import_module(f"{__name__}.{name}")
