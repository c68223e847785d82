"""Images on axes, for all figures that show some."""

from pathlib import Path

import pandas as pd
from PIL import Image

from ..pixels import read_image


def show_image(axes, path: Path, text: str) -> None:
    """The image of a file as models see it, but at most 400 pixels a side, with text under it."""
    image = Image.fromarray(read_image(path))
    image.thumbnail((400, 400))
    axes.imshow(image)
    axes.set_xlabel(text, fontsize=7)


def bare(axes) -> None:
    """Takes ticks, grid and frame from axes."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def described(row: dict) -> str:
    """Content and distortions of an image with their levels, a line each; else its file's name."""
    if not row.get("distortion"):
        return Path(row["image"]).stem
    lines = [str(row.get("content", ""))]
    for suffix in ("", "2"):
        name, level = row.get("distortion" + suffix), row.get("level" + suffix)
        if name and pd.notna(name):
            at_level = f" at {level:.1f}" if pd.notna(level) else ""
            lines.append(name.replace("_", " ") + at_level)
    return "\n".join(lines)
