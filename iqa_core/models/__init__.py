"""Models by name: one file a system, the file name is the model's name, each with a
`build(**kwargs)`.

A model takes RGB images (b, 3, h, w) in [0, 1], some two of them, normalises inside, returns
scores (b,), higher is better, and carries its `contract`: how images are brought to it, and what
its scores mean. Where a step of its training is more than one image and one score, it also carries
an `objective`.

A model file also names, for the tests and docs/models.md that run over the registry: `PUBLISHED`,
regular expressions that turn published state-dict keys into ours; `UNUSED`, regular expressions of
parameters that published weights hold and no score depends on; `VARIANTS`, the published sizes by
name; `FROZEN_CROPS`, where it learns on frozen crops, the arguments with which it does; `REPORTED`,
what their authors measured, with its source; `AUTHORS_DO`, what their code does with an image where
that differs from here; `TEST_KWARGS`, small builds; `TEST_SWITCHES`, for every argument of `build`
a change of the first of those that must show. docs/extending.md has an example.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, PositiveInt

# shared by the models, no models themselves
PARTS = {"arguments", "layers", "patches", "published", "pyramid", "weights"}
OF_LABELS = "the labels it is trained on"


def grids(crops: int) -> list[tuple[int, int]]:
    """Rows and columns of every grid of so many crops whose outer ones touch all four borders; one
    crop is the centre. ValueError where there is none.
    """
    if crops == 1:
        return [(1, 1)]
    shapes = [(rows, crops // rows) for rows in range(2, crops // 2 + 1) if crops % rows == 0]
    if not shapes:
        raise ValueError(
            f"{crops} crops make no grid that reaches all borders; use 1, 4, 6, 9, 12, 16, 20 or 25"
        )
    return shapes


def _makes_a_grid(crops):
    grids(crops)
    return crops


def _is_a_size(value):
    sides = value if isinstance(value, tuple) and len(value) == 2 else [value]
    if not all(type(side) is int and side > 0 for side in sides):
        raise ValueError("the shorter side or [height, width] is wanted, pixels")
    return value


Size = Annotated[int | tuple[int, int], BeforeValidator(_is_a_size)]
Crops = Annotated[PositiveInt, AfterValidator(_makes_a_grid)]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]  # Pillow's


@dataclass
class Contract:
    """How images reach a model, and what its scores mean. `loading.views` alone reads the geometry,
    for training, evaluation and everything else.
    """

    source: str  # where the protocol comes from
    crop: PositiveInt | None = 224  # side of the square crops, pixels; None: whole images
    # crops an image in evaluation, a deterministic grid, scores averaged; None: as few as cover it
    crops: Crops | None = 1
    # before cropping: the shorter side, or (height, width), pixels; None: native
    resize: Size | None = None
    # of that resize, for the image and for its reference
    interpolation: tuple[Interpolation, Interpolation] = ("bilinear", "bilinear")
    # the second input is another image
    reference: Literal["pristine", "degraded"] | None = None
    context: PositiveInt | None = (
        None  # the second input is a wider view: the centre crop of this side
    )
    units: str = OF_LABELS  # of the predicted label
    # scores lie, or are expected, between low and high; None where only the labels can say
    low: float | None = None
    high: float | None = None
    offset: float = 0.0  # predicted label = offset + scale x score
    scale: float = 1.0
    # of `metrics.fit_scale`: from predicted labels to another scale, as MOS of 1 to 5
    calibration: dict | None = None

    def changed(self, **fields: object) -> "Contract":
        """One with other values, where lists, as YAML and JSON have them, become tuples; TypeError
        for an unknown name.
        """
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return replace(self, **values)


def call(model, *views):
    """What a model gives for its views."""
    return model(*views)


def same(outputs):
    """Outputs that are scores (b,) already."""
    return outputs


def everything(model, stage: int):
    """All parameters learn at every stage."""
    return model.parameters()


def patches(model, height: int, width: int) -> int:
    """The length of an image in patches of 32 x 32 pixels: what whole images cost a model."""
    return -(-height // 32) * -(-width // 32)


@dataclass(frozen=True)
class Objective:
    """What one step of a model's training is, beside the recipe. Its functions are named functions
    of a module, never lambdas: their names tell one training from another.

    ValueError for a function without a name of its own.
    """

    # The images of a sample, in the order in which `forward` takes them: `image`; `pristine` and
    # `degraded`, its references; `partner`, another image of the same content, drawn at each step.
    parts: tuple[str, ...] = ("image",)
    # (model, *views) -> outputs (b,) or (b, k), a row a sample; what several processes share.
    forward: Callable = call
    # "recipe": the recipe's loss of scores; else a name of `training.losses.LOSSES`, or a function
    # (outputs, target, stage) -> cost.
    loss: str | Callable = "recipe"
    # (model, table) -> what outputs are held against (n, k); None: labels, on the recipe's scale.
    # With a partner the loss gets (b, 2): the sample's own and its partner's.
    targets: Callable | None = None
    # outputs -> scores (b,), from which the log's mean absolute error is taken.
    scores: Callable = same
    # (model, stage) -> the parameters that learn at a stage of `Recipe.stages`.
    learns: Callable = everything
    # The parts that begin with weights from elsewhere, and learn at the backbone's rate.
    backbone: tuple[str, ...] = ("backbone",)
    stages: int = 1  # how many stages `learns` and `loss` tell apart
    # (model, height, width) -> how long an image of that size is, for batches of whole images.
    length: Callable = patches
    # (model, samples, **options) -> predicted labels (n,); None: `evaluation.predict`.
    predict: Callable | None = None

    def __post_init__(self):
        for name, value in vars(self).items():
            if callable(value) and "<" in value.__qualname__:
                raise ValueError(
                    f"{name} is {value.__qualname__}: name a function of a module, so that a "
                    "training can be told from another"
                )

    def identity(self) -> dict[str, str]:
        """Every field as text, functions by module and name."""
        return {
            name: f"{value.__module__}.{value.__qualname__}" if callable(value) else str(value)
            for name, value in vars(self).items()
        }


def objective_of(model) -> Objective:
    """The objective that a model carries, or the usual one: one image, one score, the recipe's
    loss.
    """
    return getattr(model, "objective", None) or Objective()


def distribution(model, *views):
    """Probabilities (b, bins) of a model that predicts votes."""
    return model.distribution(*views)


def mean_vote(outputs):
    """Probabilities (b, bins) of the votes 1 to bins -> their means (b,)."""
    return outputs @ outputs.new_tensor(range(1, outputs.shape[1] + 1))


def votes(model, table):
    """Shares (n, bins) of the votes 1, 2, ... in columns c1, c2, ... of a table.

    ValueError where they are not there, or their mean is not the label.
    """
    bins = int(model.contract.high)
    columns = [f"c{vote}" for vote in range(1, bins + 1)]
    counts = table.reindex(columns=columns).to_numpy(float)
    shares = counts / counts.sum(1, keepdims=True)
    means = shares @ range(1, bins + 1)
    if not abs(means - table.label.to_numpy(float)).max() <= 0.01:
        raise ValueError(
            f"emd learns votes: the table needs {columns[0]} to {columns[-1]}, and their mean as "
            "its label"
        )
    return shares


VOTES = Objective(forward=distribution, loss="emd", targets=votes, scores=mean_vote)


def list_models() -> list[str]:
    """Names that `create_model` knows."""
    stems = [path.stem for path in Path(__file__).parent.glob("*.py")]
    return sorted(stem for stem in stems if not stem.startswith("_") and stem not in PARTS)


def create_model(name: str, **kwargs):
    """Build the model `name`; kwargs go to its `build`. KeyError for an unknown name, TypeError for
    an unknown argument.

    The model remembers both as `model.config`, so a run folder can rebuild it.
    """
    build = module_of(name).build
    known = list(inspect.signature(build).parameters)
    if unknown := sorted(set(kwargs) - set(known)):
        raise TypeError(f"{name} has no argument {', '.join(unknown)}; it has {', '.join(known)}")
    model = build(**kwargs)
    arguments = {key: value for key, value in kwargs.items() if key != "pretrained"}
    model.config = {"name": name, "arguments": arguments}
    return model


def title(model) -> str:
    """What a model that `create_model` made is called in tables and figures: HyperIQA (light head),
    SMART-IQA (tiny size).
    """
    name = module_of(model.config["name"]).__doc__.partition(":")[0]
    arguments = model.config["arguments"]
    return name + "".join(
        f" ({arguments[key]} {key})" for key in arguments if key in ("head", "size")
    )


def module_of(name: str):
    """The file of a model, imported; KeyError for an unknown name."""
    if name not in list_models():
        raise KeyError(f"no model {name!r}; there are {', '.join(list_models())}")
    return importlib.import_module(f"{__name__}.{name}")
