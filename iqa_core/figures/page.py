"""How wide a figure is printed: in a column or across the page of a paper, or on a slide."""

from contextlib import contextmanager
from contextvars import ContextVar

import matplotlib.pyplot as plt

WIDTHS = {"column": 88, "page": 181, "slide": 250}  # mm
MM = 1 / 25.4  # inches
ASKED: ContextVar[str] = ContextVar("asked", default="")  # the width that `printed` draws for


def inches(width: str) -> float:
    """The width in inches; KeyError for one that there is not."""
    if width not in WIDTHS:
        raise KeyError(f"no width {width!r}; there are {', '.join(WIDTHS)}")
    return WIDTHS[width] * MM


def current_width() -> float:
    """How wide to draw, inches: what `export(width=...)` was given, or `style`'s column."""
    return plt.rcParams["figure.figsize"][0]


def is_narrow() -> bool:
    """Whether panels stand below each other rather than side by side."""
    return current_width() < inches("page") - 0.1


@contextmanager
def printed(width: str):
    """Draws for a width of `WIDTHS`; "": every figure at its own."""
    asked = ASKED.set(width)
    wide = {"figure.figsize": (inches(width), 0.62 * inches(width))} if width else {}
    try:
        with plt.rc_context(wide):
            yield
    finally:
        ASKED.reset(asked)


def in_column() -> bool:
    """Whether a figure that is a page wide by itself is to stand in a column."""
    return ASKED.get() == "column"


def nearest(natural: float) -> str:
    """The width to print a figure at that was drawn `natural` inches wide: a column where it fits
    into one, else the page.
    """
    return "column" if natural <= 1.25 * inches("column") else "page"


def is_cut(figure) -> bool:
    """Whether something sticks out of the figure, as a legend beside its axes may."""
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return min(drawn.x0, drawn.y0) < -0.01 or drawn.x1 > width + 0.01 or drawn.y1 > height + 0.01
