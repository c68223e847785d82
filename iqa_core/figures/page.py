"""How wide a figure is printed: in a column or across the page of a paper, or on a slide."""

import matplotlib.pyplot as plt

WIDTHS = {"column": 88, "page": 181, "slide": 250}  # mm
MM = 1 / 25.4  # inches


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
