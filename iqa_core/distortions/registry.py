"""What a distortion is: an operator, its parameters at five published levels, and any level between
them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import numpy as np

LEVELS = (1, 2, 3, 4, 5)
WORKBOOK = "workbook"  # the source of operators that no data set published


@dataclass(frozen=True)
class Distortion:
    """An operator `apply` with its published strengths."""

    name: str
    apply: Callable  # (image in [0, 1], parameter, generator) -> image, any range
    parameters: tuple  # at levels 1..5: numbers, or tuples where the operator has several
    source: str  # the data set that published it, or WORKBOOK
    number: int | None  # of the type in KADID-10k, 1..25
    random: bool  # draws from the generator: another seed, another image
    monotone: bool  # quality falls with every level
    rgb: bool  # needs three channels; grey images go through RGB and back

    def parameter(self, level: float) -> float | tuple[float, ...]:
        """The operator's parameter at a level in 1..5, fractional levels included.

        Between two tabled levels it runs log-linearly, or linearly where the table holds a zero or
        changes sign; each component of a tuple by itself. Whole numbers are rounded by the
        operator. ValueError for what is no such number.
        """
        if not isinstance(level, Real) or not 1 <= level <= 5:
            raise ValueError(
                f"{self.name}: level is {level!r}; it runs from 1 to 5, fractions allowed"
            )
        if isinstance(self.parameters[0], tuple):
            return tuple(_between(level, column) for column in zip(*self.parameters, strict=True))
        return _between(level, self.parameters)

    def level(self, parameter: float) -> float:
        """The level in 1..5 of a parameter inside the table; the inverse of `parameter`, for
        operators with one number.
        """
        scale, _ = _scale(self.parameters)
        steps = sorted(zip(scale(self.parameters), LEVELS, strict=True))
        return float(np.interp(scale(parameter), *zip(*steps, strict=True)))


def _scale(values):
    return (np.log, np.exp) if min(values) > 0 else (np.asarray, np.asarray)


def _between(level, values):
    scale, back = _scale(values)
    return float(back(np.interp(level, LEVELS, scale(values))))


REGISTRY: dict[str, Distortion] = {}


def distortion(
    *parameters,
    source: str = WORKBOOK,
    number: int | None = None,
    random: bool = False,
    monotone: bool = True,
    rgb: bool = False,
):
    """Register an operator `f(image, parameter, generator)` under its function name.

    `parameters`: at levels 1 to 5, five numbers or five tuples. The other arguments are those of
    `Distortion`.

    ValueError for a name that is taken, or where there are not five parameters.
    """

    def register(function):
        name = function.__name__
        taken = REGISTRY.get(name)
        if (
            taken and taken.apply.__module__ != function.__module__
        ):  # a reloaded file may say it again
            raise ValueError(f"there is a distortion {name} already, of {taken.source}")
        if len(parameters) != len(LEVELS):
            raise ValueError(f"{name} has {len(parameters)} parameters; wanted one a level, five")
        REGISTRY[name] = Distortion(
            name, function, parameters, source, number, random, monotone, rgb
        )
        return function

    return register
