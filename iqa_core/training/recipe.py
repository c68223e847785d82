"""What a training is given besides its model and its data."""

from itertools import accumulate
from numbers import Number
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ..hints import nearest

Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Recipe(BaseModel):
    """How a model is trained. Defaults are the workbook's own; params/ holds published recipes.

    Values are of exactly these types, but an int is taken for a float. ValueError names what is
    wrong and what is allowed, for unknown names the nearest one. docs/reproduction.md tells which
    published recipe uses what.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    # ---- how much
    epochs: PositiveInt  # passes over the training images
    stages: list[PositiveInt] | None = None  # epochs of each stage of the model's objective
    batch_size: PositiveInt  # images a step
    accumulate: PositiveInt = 1  # parts in which a step is computed where memory is short
    batch_tokens: PositiveInt | None = None  # of whole images: the longest times their number
    crops_per_image: PositiveInt = 1  # times that an image comes in one pass
    flips: Literal["none", "horizontal", "vertical", "all"] = "horizontal"  # `loading.views.FLIPS`
    colour_jitter: bool = False  # of brightness, contrast, saturation, hue: `loading.jitter`

    # ---- what is learnt
    # `losses` has each formula and its source; None: the objective's own, l1 for scores
    loss: Literal["l1", "l2", "plcc", "rank", "fidelity", "emd"] | None = None
    rank_weight: NonNegativeFloat = 0.0  # times `losses.hinge`, added to the loss
    # what scores are held against: standardised labels or, where the contract has bounds, the
    # training set's range brought to those; raw labels; that range brought to 0 to 1; or
    # [offset, scale], as CKDN's [900, 1000]: label = offset + scale x score
    label_scale: Literal["standardised", "raw", "unit"] | Pair = "standardised"

    # ---- how it is learnt
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"  # sgd has momentum .9
    backbone_lr: NonNegativeFloat  # peak rate of the parts that `backbone_parts` names
    head_lr: NonNegativeFloat  # peak rate of all others
    weight_decay: NonNegativeFloat
    backbone_weight_decay: NonNegativeFloat | None = None  # None: weight_decay
    decay_vectors: bool = True  # false: biases and norms, with one dimension, do not decay
    backbone_parts: list[str] | None = None  # None: those that the model's objective names
    # `schedules` has each rule and its source
    schedule: Literal[
        "cosine", "constant", "step", "smart", "smart_resnet", "hyperiqa", "maniqa", "miqa"
    ] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1)  # fraction of all steps, of the first three schedules
    decay_epochs: PositiveInt = 6  # of schedule step: epochs from one tenth to the next
    clip: PositiveFloat | None = 2.0  # largest norm of the gradient; None: no clipping
    rebuild_optimizer: bool = False  # HyperIQA's code: moments are forgotten after every epoch
    exhausted_filter: bool = False  # HyperIQA's code: the head learns in the first epoch only

    # ---- how it is watched and chosen
    validate_every: PositiveFloat = 1  # epochs between two rows; 0.5: two an epoch
    validate_steps: PositiveInt | None = None  # in place of that: steps between two rows
    random_validation: bool = False  # crops at random places, new ones in every row
    patience: PositiveInt | None = None  # rows without a better one that end the training
    select: str = "val"  # the set that chooses the weights: val, or a name of `monitor`

    # ---- how it is run
    seed: int = 0  # of crops, order and dropout
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = "32-true"
    checkpoint_minutes: NonNegativeFloat = 10.0  # the longest time without a checkpoint

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """No unknown names; NumPy's numbers as Python's, for sweeps over np.logspace."""
        for name in values:
            if name not in cls.model_fields:
                raise ValueError(_unknown(name, cls.model_fields))
        return {
            name: value.item() if isinstance(value, Number) and hasattr(value, "item") else value
            for name, value in values.items()
        }

    @model_validator(mode="after")
    def _agree(self) -> "Recipe":
        if self.stages and sum(self.stages) != self.epochs:
            total = sum(self.stages)
            raise ValueError(
                f"stages are {self.stages}, {total} epochs together, but epochs is {self.epochs}; "
                "let the stages add up to it"
            )
        return self

    @classmethod
    def from_parameters(cls, parameters: dict) -> "Recipe":
        """The recipe of a notebook's parameters: those that are fields of a recipe, and `options`,
        which may hold all other fields.

        KeyError for an option that no recipe has, or for which the notebook has a parameter;
        ValueError for a value that is not allowed.
        """
        options = parameters.get("options", {})
        fields = {name: value for name, value in parameters.items() if name in cls.model_fields}
        for name in options:
            if name in fields:
                raise KeyError(f"options: the notebook has a parameter {name}; set that instead")
            if name not in cls.model_fields:
                known = [field for field in cls.model_fields if field not in fields]
                raise KeyError(f"options: {_unknown(name, known)}")
        try:
            return cls(**fields, **options)
        except ValidationError as error:
            raise ValueError(in_words(error)) from None

    def stage(self, epoch: int) -> int:
        """The number from 0 of the stage in which an epoch, counted from 0, lies."""
        ends = accumulate(self.stages or [self.epochs])
        return sum(end <= epoch for end in ends)

    def identity(self) -> dict:
        """What tells two trainings apart: every value but how often a checkpoint is written."""
        return self.model_dump(exclude={"checkpoint_minutes"})


def _unknown(name, known):
    hint = nearest(name, known) or "."
    return f"no recipe has {name!r}{hint} It has: {', '.join(known)}"


def in_words(error: ValidationError) -> str:
    """Pydantic's complaints about a recipe as one sentence each: name, value, what is allowed."""
    sentences = []
    for fault in error.errors():
        name, value = ".".join(map(str, fault["loc"])), fault["input"]
        sentence = f"{name} = {value!r} ({type(value).__name__}): {fault['msg']}"
        if not name:
            sentence = fault["msg"].removeprefix("Value error, ")
        if isinstance(value, str) and _is_number(value):
            sentence += f"; YAML reads {value} as text, write {float(value):.1e} with its dot"
        sentences.append(sentence)
    return "; ".join(sentences)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
