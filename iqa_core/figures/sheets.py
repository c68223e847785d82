"""Contact sheets: what every distortion does at every level."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..distortions import LEVELS, REGISTRY, distort, list_distortions
from ..pixels import read_image
from .predictions import bare

GAP = 0.03  # between pictures, of their width


def distortion_sheet(photo: Path, *, source: str = "KADID-10k", seed: int = 0):
    """A photograph under every distortion type of a source at levels 1 to 5, in KADID-10k's order
    where it has one; under each picture the operator's parameter. Types marked * do not get worse
    with every level.

    `photo`: an image file; about 512 x 384, the size the parameters are made for. `source`: as
    `list_distortions`."""
    image = read_image(photo)
    kinds = sorted(
        (REGISTRY[name] for name in list_distortions(source)),
        key=lambda kind: (kind.number or 0, kind.name),
    )
    height, width = image.shape[:2]
    tall = (
        7 / 5 * height / width + 0.14
    )  # inches a row: five pictures on 7 inches, and a line of text
    figure, axes = plt.subplots(
        len(kinds), 1, figsize=(7.9, tall * len(kinds)), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(h_pad=0, hspace=0)
    rows = []
    for axis, kind in zip(axes[:, 0], kinds, strict=True):
        for place, level in enumerate(LEVELS):
            parameter = ", ".join(f"{value:g}" for value in np.atleast_1d(kind.parameters[place]))
            left = place * (1 + GAP) * width
            axis.imshow(
                distort(image, kind.name, level, seed), extent=(left, left + width, height, 0)
            )
            shown = (
                parameter if parameter.count(",") < 3 else f"level {level}"
            )  # snow has seven numbers
            axis.text(left + width / 2, height * 1.02, shown, fontsize=5, ha="center", va="top")
            rows.append(
                {
                    "distortion": kind.name,
                    "number": kind.number,
                    "level": level,
                    "parameter": parameter,
                }
            )
        axis.set(xlim=(0, left + width), ylim=(height * 1.1, 0))
        name = kind.name.replace("_", "\n") + ("" if kind.monotone else " *")
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
        bare(axis)
    return figure, pd.DataFrame(rows)
