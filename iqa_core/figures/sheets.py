"""Contact sheets: what every distortion does at every level."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..distortions import LEVELS, REGISTRY, distort, list_distortions
from ..pixels import read_image
from .pictures import bare
from .registry import figure

GAP = 0.03  # between pictures, of their width


@figure
def distortion_sheet(photo: Path, *, source: str = "KADID-10k", seed: int = 0):
    """A photograph under every distortion type of a source at levels 1 to 5, in KADID-10k's order
    where it has one; under each picture the operator's parameter. Types marked * do not get worse
    with every level.

    photo    an image file; about 512 x 384, the size the parameters are made for
    source   as `list_distortions` takes it
    """
    image = read_image(photo)
    height, width = image.shape[:2]
    kinds = [REGISTRY[name] for name in list_distortions(source)]
    kinds.sort(key=lambda kind: (kind.number or 0, kind.name))
    # Inches a row: five pictures on 7 inches, and a line of text.
    tall = 7 / 5 * height / width + 0.14
    size = 7.9, tall * len(kinds)
    fig, grid = plt.subplots(len(kinds), 1, figsize=size, squeeze=False, layout="constrained")
    fig.get_layout_engine().set(h_pad=0, hspace=0)
    rows = []
    for axes, kind in zip(grid[:, 0], kinds, strict=True):
        for place, level in enumerate(LEVELS):
            left = place * (1 + GAP) * width
            distorted = distort(image, kind.name, level, seed)
            axes.imshow(distorted, extent=(left, left + width, height, 0))
            parameter = ", ".join(f"{value:g}" for value in np.atleast_1d(kind.parameters[place]))
            # Snow has seven numbers, which no picture is wide enough for.
            text = parameter if parameter.count(",") < 3 else f"level {level}"
            axes.text(left + width / 2, height * 1.02, text, fontsize=7, ha="center", va="top")
            row = {"distortion": kind.name, "number": kind.number}
            rows.append(row | {"level": level, "parameter": parameter})
        axes.set(xlim=(0, left + width), ylim=(height * 1.1, 0))
        name = kind.name.replace("_", "\n") + ("" if kind.monotone else " *")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
        bare(axes)
    return fig, pd.DataFrame(rows)
