"""What stands beside a frame of an annotated video: what is scored, its score, the curve so far.

What stays is drawn once. A frame adds its piece of the curve, its number and its time, so it costs
the same at the end of a video as at its start.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from iqa_core.figures.colours import score_colour, score_range

WIDTH, HEIGHT = 320, 360  # of a panel of scale 1; it may be higher
MARGIN = 16
PLOT_HEIGHT = 260  # at most
BACKGROUND, TEXT, FAINT, GRID = (20, 22, 27), (236, 236, 236), (164, 168, 176), (58, 62, 70)
CURVE = (200, 204, 212)


class Panel:
    """The panel of one video, drawn frame after frame, in their order.

    facts       of the scorer: name, what, units, low, high, higher_is_better
    scores      all scores of the video, None where there is none
    seconds     how long it lasts
    height      pixels; at least HEIGHT * scale
    scale       size of letters and lines, 1 for small videos
    """

    def __init__(
        self,
        facts: dict,
        scores: Sequence[float | None],
        *,
        seconds: float,
        height: int,
        scale: float = 1.0,
    ):
        self._scale, self._facts, self._seconds = scale, facts, seconds
        self.width, self.height = 2 * round(WIDTH * scale / 2), height  # even, as H.264 wants it
        self._count = len(scores)
        numbers = [score for score in scores if score is not None]
        self.low, self.high, self.range_of = score_range(facts, numbers)
        self._bottom, self._top = min(self.low, *numbers), max(self.high, *numbers)
        self._digits = min(6, max(0, 3 - math.floor(math.log10(self.high - self.low))))
        self._end = None  # of the curve so far
        self._picture = Image.new("RGB", (self.width, self.height), BACKGROUND)
        self._draw_what_stays()

    def draw(self, number: int, seconds: float, score: float | None) -> np.ndarray:
        """The panel (height, width, 3) uint8 at frame `number`, counted from 1."""
        if score is None:
            self._end = None  # a gap in the curve
        else:
            point = self._point(seconds, score)
            width = self._scale * 1.6
            _stroke(self._picture, self._end or point, point, width=width, colour=CURVE)
            self._end = point
        shown = self._picture.copy()
        draw = ImageDraw.Draw(shown)
        if score is None:
            draw.text((self._px(MARGIN), self._number_y), "no score", FAINT, self._font(30), "ls")
        else:
            colour = self._colour(score)
            number_text = f"{score:.{self._digits}f}"
            draw.text((self._px(MARGIN), self._number_y), number_text, colour, self._bold(44), "ls")
            self._mark(draw, score)
            _dot(draw, self._end, self._scale * 4, colour)
        y = self.height - self._px(14)
        counter, time = f"frame {number} / {self._count}", clock(seconds)
        draw.text((self._px(MARGIN), y), counter, TEXT, self._font(13), "ls")
        draw.text((self.width - self._px(MARGIN), y), time, TEXT, self._font(13), "rs")
        return np.asarray(shown)

    def _px(self, units):
        return round(units * self._scale)

    def _font(self, size):
        return _typeface("DejaVuSans.ttf", max(1, self._px(size)))

    def _bold(self, size):
        return _typeface("DejaVuSans-Bold.ttf", max(1, self._px(size)))

    def _colour(self, score):
        better = self._facts["higher_is_better"]
        return score_colour(score, self.low, self.high, higher_is_better=better)

    def _draw_what_stays(self):
        draw = ImageDraw.Draw(self._picture)
        left, right = self._px(MARGIN), self.width - self._px(MARGIN)
        # what is scored, by what
        y = self._px(12)
        for text, font, colour, most in (
            (self._facts["name"], self._bold(14), TEXT, 2),
            (self._facts["what"], self._font(11), FAINT, 2),
        ):
            for line in _wrapped(text, font, right - left, most=most):
                draw.text((left, y), line, colour, font, "la")
                y += round(font.size * 1.3)
        self._number_y = y + self._px(46)
        self._draw_scale(draw, left, right, self._number_y + self._px(20))
        self._draw_axes(draw, self._bar[3] + self._px(28))

    def _draw_scale(self, draw, left, right, y):
        """The colours from the lowest to the highest score, with their ends."""
        self._bar = (left, y, right, y + self._px(8))
        for x in range(left, right):
            score = np.interp(x, (left, right - 1), (self.low, self.high))
            draw.line((x, y, x, self._bar[3]), self._colour(score))
        below, font = self._bar[3] + self._px(5), self._font(11)
        better = "higher" if self._facts["higher_is_better"] else "LOWER"
        words = f"{better} is better"
        if self.range_of == "shown":
            words = f"of this video; {words}"
        draw.text((left, below), f"{self.low:.4g}", FAINT, font, "la")
        draw.text((right, below), f"{self.high:.4g}", FAINT, font, "ra")
        draw.text(((left + right) / 2, below), words, FAINT, font, "ma")

    def _mark(self, draw, score):
        """A triangle above the place of a score on the scale of colours."""
        left, top, right, _ = self._bar
        x = np.interp(score, (self.low, self.high), (left, right - 1))
        half, top = self._scale * 5, top - self._px(2)
        draw.polygon([(x, top), (x - half, top - 1.6 * half), (x + half, top - 1.6 * half)], TEXT)

    def _draw_axes(self, draw, top):
        font = self._font(11)
        bottom = min(self.height - self._px(64), top + self._px(PLOT_HEIGHT))
        ticks = _ticks(self._bottom, self._top, 5 if bottom - top < self._px(180) else 6)
        labels = [f"{tick:.4g}" for tick in ticks]
        widest = max(font.getlength(label) for label in labels)
        left = self._px(MARGIN + 17) + round(widest) + self._px(5)
        right = self.width - self._px(MARGIN)
        self._plot = (left, top, right, bottom)
        for tick, label in zip(ticks, labels, strict=True):
            y = self._point(0, tick)[1]
            draw.line((left, y, right, y), GRID, max(1, self._px(1)))
            draw.text((left - self._px(5), y), label, FAINT, font, "rm")
        for tick in _ticks(0, self._seconds, 5):
            x = self._point(tick, self._bottom)[0]
            draw.line((x, bottom, x, bottom + self._px(4)), FAINT, max(1, self._px(1)))
            draw.text((x, bottom + self._px(6)), f"{tick:g}", FAINT, font, "ma")
        draw.line((left, bottom, right, bottom), FAINT, max(1, self._px(1)))
        middle = ((left + right) / 2, bottom + self._px(20))
        draw.text(middle, "time (s)", FAINT, font, "ma")
        label = _wrapped(self._facts["units"] or "score", font, bottom - top, most=1)[0]
        side = Image.new("RGB", (bottom - top, self._px(14)), BACKGROUND)
        place = ((bottom - top) / 2, side.height / 2)
        ImageDraw.Draw(side).text(place, label, FAINT, font, "mm")
        self._picture.paste(side.rotate(90, expand=True), (self._px(MARGIN) - self._px(2), top))

    def _point(self, seconds, score):
        left, top, right, bottom = self._plot
        x = np.interp(seconds, (0, self._seconds), (left, right))
        y = np.interp(score, (self._bottom, self._top), (bottom, top))
        return float(x), float(y)


def clock(seconds: float) -> str:
    """A time as 0:07.25, or 1:02:07.25 from an hour up."""
    minutes, seconds = divmod(max(0, round(seconds * 100)) / 100, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:05.2f}" if hours else f"{minutes}:{seconds:05.2f}"


@cache
def _typeface(name, size):
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"  # the same letters on every machine
    return ImageFont.truetype(str(folder / name), size)


def _ticks(low, high, most):
    ticks = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    margin = (high - low) * 1e-6
    return [tick for tick in ticks if low - margin <= tick <= high + margin]


def _wrapped(text, font, width, *, most):
    """Lines of a text, at most so many; "…" where more was left."""
    lines = []
    while text and len(lines) < most:
        length = len(text)
        while length > 1 and font.getlength(text[:length]) > width:
            length -= 1
        if length < len(text) and len(lines) + 1 == most:
            lines.append(f"{text[: length - 1].rstrip()}…")
            break
        if length < len(text):  # between words, where there are some
            length = max(text.rfind(sign, 0, length) for sign in " /_-") + 1 or length
        lines.append(text[:length].rstrip())
        text = text[length:].lstrip()
    return lines


def _stroke(picture, start, end, *, width, colour):
    """A line with round ends and smooth edges; only its surroundings are touched."""
    finer, pad = 4, math.ceil(width) + 1
    left, top = (math.floor(min(a, b)) - pad for a, b in zip(start, end, strict=True))
    right, bottom = (math.ceil(max(a, b)) + pad for a, b in zip(start, end, strict=True))
    mask = Image.new("L", (finer * (right - left), finer * (bottom - top)))
    draw = ImageDraw.Draw(mask)
    ends = [((x - left) * finer, (y - top) * finer) for x, y in (start, end)]
    draw.line(ends, 255, round(width * finer))
    for place in ends:
        _dot(draw, place, width * finer / 2, 255)
    picture.paste(colour, (left, top), mask.reduce(finer))


def _dot(draw, place, radius, colour):
    x, y = place
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
