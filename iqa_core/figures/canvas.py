"""Boxes, arrows and text placed in inches: what diagrams are drawn on."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from .page import current_width, inches

LEADING = 1.3 / 72  # inches from line to line, a point of type
PAD = 0.05  # inches between a box and its text
INK = "0.15"


class Rect(NamedTuple):
    """Left, top, width, height; inches from the upper left corner of the figure."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        return self.x + self.w

    @property
    def bottom(self) -> float:
        return self.y + self.h

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.w / 2, self.y + self.h / 2

    def around(self, other: "Rect", margin: float = 0.0) -> "Rect":
        """The smallest one that holds both, and a margin."""
        x, y = min(self.x, other.x) - margin, min(self.y, other.y) - margin
        right = max(self.right, other.right) + margin
        bottom = max(self.bottom, other.bottom) + margin
        return Rect(x, y, right - x, bottom - y)


@functools.cache
def _width(text, size, weight):
    """Of a text, inches."""
    font = FontProperties(size=size, weight=weight)
    # Hinting makes it some hundredths wider on a screen.
    return 1.05 * TextPath((0, 0), text, prop=font).get_extents().width / 72


def fitted(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """The lines of a text no wider than `width` inches at a size in points, broken at spaces."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, size, weight) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


class Canvas:
    """A figure of the width that is drawn at; its height is that of what is on it."""

    def __init__(self):
        self.width = current_width()
        self.size = 9 if self.width > inches("page") + 0.5 else 7  # points
        self.leading = self.size * LEADING
        # No layout, which saving a figure would else bring back from the style.
        self.figure = plt.figure(layout="constrained")
        self.figure.set_layout_engine("none")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.axis("off")

    def finish(self, height: float):
        """The figure, cut at a height."""
        self.figure.set_size_inches(self.width, height)
        self.axes.set(xlim=(0, self.width), ylim=(height, 0))
        return self.figure

    def height(self, width: float, title: str, lines: Sequence[str] = ()) -> float:
        """How high a box of this width must be."""
        return len(self._broken(width, title, lines)) * self.leading + 2 * PAD

    def box(self, rect: Rect, title: str, lines: Sequence[str] = (), **look) -> None:
        """A box with a bold title and lines of text in its middle."""
        self.frame(rect, **look)
        broken = self._broken(rect.w, title, lines)
        x, y = rect.middle
        y -= (len(broken) - 1) * self.leading / 2
        for number, (text, weight) in enumerate(broken):
            self.write((x, y + number * self.leading), text, weight=weight)

    def frame(self, rect: Rect, **look) -> None:
        """A box without text; `look`: fc, ec, lw as matplotlib has them."""
        style = "round,pad=0,rounding_size=0.04"
        look = {"fc": "white", "ec": INK, "lw": 0.8} | look
        patch = FancyBboxPatch(rect[:2], rect.w, rect.h, boxstyle=style, **look)
        self.axes.add_patch(patch)

    def circle(self, middle: tuple[float, float], radius: float, text: str, **look) -> None:
        """A circle with a sign in it."""
        self.axes.add_patch(Circle(middle, radius, **{"ec": INK, "lw": 0.8} | look))
        self.write(middle, text, weight="bold")

    def write(self, place: tuple[float, float], text: str, **look) -> None:
        """Text about its middle; `look`: as matplotlib's text has it."""
        look = {"ha": "center", "va": "center", "fontsize": self.size, "color": "black"} | look
        if text:
            self.axes.text(*place, text, **look)

    def arrow(self, *points: tuple[float, float], head: bool = True, **look) -> None:
        """A line through points, with a head at the last."""
        look = {"color": INK, "lw": 0.9, "shrinkA": 0, "shrinkB": 0} | look
        path = Path(points)
        style = "-|>,head_length=3,head_width=1.6" if head else "-"
        patch = FancyArrowPatch(path=path, arrowstyle=style, joinstyle="miter", **look)
        self.axes.add_patch(patch)

    def _broken(self, width, title, lines):
        """(line, weight) of a box."""
        room = width - 2 * PAD
        broken = [(line, "bold") for line in fitted(title, room, self.size, "bold") if title]
        return broken + [(part, "normal") for one in lines for part in fitted(one, room, self.size)]
