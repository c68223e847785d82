"""Pictures of scores: the pictures themselves with their number, a sheet of them, a histogram."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from iqa_core import figures
from iqa_core.figures.colours import score_colour, score_range
from iqa_core.figures.scores import annotated
from iqa_core.pixels import read_image

MOST = 100  # pictures that are written with their score; of more, evenly out of their order
SIDE = 1600  # pixels of a written picture, at most


def draw_scores(scores: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes score_sheet, score_histogram (as `figures.export` does) and, into annotated/<scorer>,
    the pictures with their score; returns what to open first.

    scores   as `scoring.score` makes them, of pictures that are still where they were
    """
    names = [facts["name"] for facts in scores.attrs["scorers"]]
    if scores.empty:
        return []
    # A name with bytes that are no text cannot be opened by what was written for it.
    here = scores[scores.image.map(os.path.exists)]
    figures.style()
    opened = []
    figures.export(figures.score_histogram, scores, folder=folder)
    opened.append(folder / "score_histogram.png")
    for name in names:
        if here[name].notna().any():
            stem = f"score_sheet-{_file_name(name)}"
            figures.export(figures.score_sheet, here, name, root=Path(), folder=folder, name=stem)
            opened += [folder / f"{stem}.png", _annotate(here, name, folder / "annotated")]
    plt.close("all")
    return opened


def _annotate(scores, name, folder):
    """Writes pictures with their score; returns their folder."""
    facts = next(facts for facts in scores.attrs["scorers"] if facts["name"] == name)
    rows = scores.dropna(subset=[name]).sort_values(name, kind="stable")
    low, high, _ = score_range(facts, rows[name])
    places = np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)
    folder = folder / _file_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    for rank, row in zip(places, rows.iloc[places].to_dict("records"), strict=True):
        picture = Image.fromarray(read_image(Path(row["image"])))
        picture.thumbnail((SIDE, SIDE))
        value = row[name]
        colour = score_colour(value, low, high, higher_is_better=facts["higher_is_better"])
        marked = annotated(np.asarray(picture), f"{name} {value:.4g}", colour)
        Image.fromarray(marked).save(folder / f"{rank + 1:05d}-{Path(row['image']).stem}.png")
    return folder


def _file_name(scorer):
    """A scorer's name as that of a file: demo-02_train_baseline."""
    return scorer.replace("/", "-")
