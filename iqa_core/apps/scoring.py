"""Scores of pictures: files, folders, lists, a million of them, by several scorers at once.

Each picture is decoded once. What has been scored is kept, so that a stopped scoring goes on.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from iqa_core.apps.kept_rows import KeptRows, check_results, write_results
from iqa_core.apps.listing import list_images
from iqa_core.apps.pictures import Picture, files_of, pixels_of, read_picture, readable
from iqa_core.apps.scorers import SHIPPED, Scorer, judged, open_scorer, sentence, settings_of
from iqa_core.pixels import read_image

BLOCK = 32  # pictures that are decoded and scored together, at most
PIXELS = 64e6  # of them in all, unless one alone has more: with the next block 400 MB


def score(
    paths: str | Path | Iterable[str | Path],
    model: str | Sequence[str] = SHIPPED,
    *,
    reference: str | Path | None = None,
    task: str = "",
    metric_type: str = "",
    scale: str = "predicted",
    crops: int | None = None,
    precision: str = "fp32",
    save_results: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Scores of pictures, one row each: columns image, width and height (pixels, upright) and one
    column for each scorer, in its own units and direction.

    paths           as `listing.list_images` takes them: pictures, folders, patterns, CSV lists
    model           a scorer's name, or several (`scorers.open_scorer`); measures and models that
                    compare need `reference`
    task, metric_type, scale, crops, precision
                    as `scorers.open_scorer` takes them
    reference       as `listing.list_images` takes it
    save_results    a .csv, .json or .parquet: written with what the numbers mean beside it; started
                    again with the same settings, pictures that have their row are not scored again

    A picture that cannot be read or judged keeps its row, without a number; `attrs` of the table
    holds the "failures" (image, scorer, reason), and as "scorers" what each column means.

    Errors of `open_scorer` and `list_images`; ValueError for a scorer that needs a reference where
    there is none, for other settings than those of the rows that are kept, and for results that
    cannot be written as that kind of file.
    """
    names = [model] if isinstance(model, str) else list(model)
    is_one = isinstance(paths, str | Path) or not isinstance(paths, Iterable)
    paths = [paths] if is_one else list(paths)
    if not all(isinstance(path, str | Path) for path in paths):
        raise TypeError("score takes paths; opened pictures go to `evaluation.predict`")
    if save_results is not None:
        check_results(Path(save_results), paths)
    table = list_images(paths, reference=reference)
    options = dict(task=task, metric_type=metric_type, scale=scale, crops=crops)
    scorers = open_scorers(names, precision=precision, **options)
    check_references(scorers, table, given=reference is not None)
    if save_results is None:
        rows = [row for block in _blocks_scored(table, scorers, progress) for row in block]
        return _assembled(table, scorers, rows)
    with KeptRows(Path(save_results), settings_of(scorers)) as kept:
        missing = _not_kept(table, kept, scorers)
        for block in _blocks_scored(missing, scorers, progress, kept=len(table) - len(missing)):
            kept.add(block)
        scores = _assembled(table, scorers, kept)
        scored_rows = int(scores[[scorer.name for scorer in scorers]].notna().any(axis=1).sum())
        failures = pd.DataFrame(scores.attrs["failures"], columns=list(Failure._fields))
        about = {key: value for key, value in scores.attrs.items() if key != "failures"}
        about |= {"begun": kept.begun, "images": len(table)}
        about |= {"scored": scored_rows, "failures": len(failures)}
        write_results(Path(save_results), scores, failures, about)
    return scores


def open_scorers(names: Sequence[str], *, precision: str = "fp32", **options) -> list[Scorer]:
    """The scorers of some names, each once. Beside networks, measures go without the options that
    they do not have; alone they refuse them.

    Errors as `scorers.open_scorer`.
    """
    from iqa_core.full_reference import REGISTRY

    scorers, all_measures = [], all(name in REGISTRY for name in names)
    for name in dict.fromkeys(names):
        if name in REGISTRY and not all_measures:
            scorers.append(open_scorer(name))
        else:
            scorers.append(open_scorer(name, precision=precision, **options))
    return scorers


def check_references(scorers: Sequence[Scorer], table: pd.DataFrame, *, given: bool) -> None:
    """ValueError where scorers need references that no row has, or references are `given` that none
    needs.
    """
    comparing = [scorer for scorer in scorers if scorer.reference]
    if len({scorer.reference for scorer in comparing}) > 1:
        kinds = ", ".join(f"{scorer.name} with the {scorer.reference}" for scorer in comparing)
        raise ValueError(f"one reference cannot serve all ({kinds}): score one after the other")
    if comparing and not (table.reference != "").any():
        wanted = comparing[0].reference
        raise ValueError(
            f"{comparing[0].name} compares with the {wanted} picture: give --reference, a picture "
            "or a folder with the same names, or a CSV list with a column reference"
        )
    if given and not comparing:
        names = ", ".join(scorer.name for scorer in scorers)
        raise ValueError(f"no reference is wanted by {names}; leave --reference out")


# ---- what is left to do, block by block


class Failure(NamedTuple):
    """A picture without its number."""

    image: str
    scorer: str  # empty where the picture could not be read, whoever was to judge it
    reason: str


class Failures(list):
    """Failures as dicts. pandas copies what is in `attrs` at every step; these stay one list."""

    def __deepcopy__(self, memo):
        return self


def _not_kept(table, kept: Iterable[dict], scorers) -> pd.DataFrame:
    """The rows of a table that have no number yet, or one of a file or reference that has changed
    since. Those that failed before come last, so that blocks are the same as without the stop.
    """
    done, failed = {}, set()
    for row in kept:
        done[row["image"]] = row["files"]
        (failed.add if row["failures"] else failed.discard)(row["image"])
    wanted = any(scorer.reference for scorer in scorers)
    pairs = zip(table.image, table.reference, strict=True)
    is_new = [done.get(image) != files_of(image, other if wanted else "") for image, other in pairs]
    again = table.image.isin(failed) & ~np.array(is_new, dtype=bool)
    return pd.concat([table[is_new], table[again]])


def _blocks_scored(table, scorers, progress, *, kept=0) -> Iterator[list[dict]]:
    """The rows of each block, scored. The next block is decoded meanwhile."""
    total, hidden = kept + len(table), not progress or len(table) < 2
    bar = tqdm(total=total, initial=kept, unit=" images", disable=hidden, mininterval=2)
    wants_reference = any(scorer.reference for scorer in scorers)
    with bar, ThreadPoolExecutor(_readers()) as pool:
        waiting = None
        for block in _blocks(table, wants_reference):
            reading = [pool.submit(read_picture, *row, wants_reference) for row in block]
            if waiting is not None:
                yield scored([one.result() for one in waiting], scorers)
                bar.update(len(waiting))
            waiting = reading
        if waiting is not None:
            yield scored([one.result() for one in waiting], scorers)
            bar.update(len(waiting))


def _readers():
    """Threads that decode: beside a GPU one a core; a CPU has its cores busy."""
    import torch

    return os.cpu_count() or 1 if torch.cuda.is_available() else 1


def _blocks(table, wants_reference) -> Iterator[list[tuple[str, str]]]:
    """(image, reference) of a table in blocks that fit into memory, by the sizes in the headers; a
    reference that follows itself is held once.
    """
    block, pixels, before = [], 0, ""
    for image, reference in zip(table.image, table.reference, strict=True):
        size = pixels_of(image)
        if wants_reference and reference not in ("", before):
            size += pixels_of(reference)
        if block and (len(block) == BLOCK or pixels + size > PIXELS):
            yield block
            block, pixels = [], 0
        block.append((image, reference))
        pixels += size
        before = reference
    if block:
        yield block


def scored(pictures: list[Picture], scorers: Sequence[Scorer]) -> list[dict]:
    """The rows of some pictures: what is known of the files, scores by scorer, failures."""
    rows = []
    for picture in pictures:
        unread = [("", picture.reason)] if picture.pixels is None else []
        rows.append(picture.row | {"scores": {}, "failures": unread})
    for scorer in scorers:
        places = []
        for place, picture in enumerate(pictures):
            if picture.pixels is None:
                continue
            if scorer.reference and picture.reference is None:
                reason = picture.reason or "it has no reference"
                rows[place]["failures"].append((scorer.name, reason))
            else:
                places.append(place)
        images = [pictures[place].pixels for place in places]
        references = [pictures[place].reference for place in places] if scorer.reference else None
        for place, (value, reason) in zip(places, judged(scorer, images, references), strict=True):
            if value is None:
                rows[place]["failures"].append((scorer.name, readable(reason)))
            else:
                rows[place]["scores"][scorer.name] = float(f"{value:.7g}")  # of float32
    return rows


# ---- results


def _assembled(table, scorers, rows: Iterable[dict]) -> pd.DataFrame:
    """The results of a table's pictures, in its order, out of rows in any order."""
    places = {image: place for place, image in enumerate(table.image)}
    columns = ["width", "height", *(scorer.name for scorer in scorers)]
    values = {name: np.full(len(table), np.nan) for name in columns}
    failed: dict[int, list] = {}
    for row in rows:
        place = places.get(row["image"])
        if place is None:
            continue
        for name in columns[:2]:
            values[name][place] = row.get(name, np.nan)
        for name in columns[2:]:
            values[name][place] = row["scores"].get(name, np.nan)
        failed[place] = row["failures"]
        if not row["failures"]:
            del failed[place]
    scores = pd.DataFrame({"image": [readable(image) for image in table.image]} | values)
    failures = [
        Failure(scores.image[place], *failure)._asdict()
        for place in sorted(failed)
        for failure in failed[place]
    ]
    scores = scores.astype({"width": "Int64", "height": "Int64"})
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    scores.attrs = {"scorers": [scorer.facts for scorer in scorers], "date": date}
    scores.attrs["failures"] = Failures(failures)
    return scores


def meaning(scores: pd.DataFrame) -> list[str]:
    """What the numbers of a table that `score` made mean, a sentence for each scorer that gave
    some.
    """
    scorers = scores.attrs["scorers"]
    return [sentence(facts) for facts in scorers if scores[facts["name"]].notna().any()]


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """A row for each scorer of a table that `score` made: n, mean, std (population), lowest and
    highest score, and the images with the best and the worst, by the scorer's direction.
    """
    rows = []
    for facts in scores.attrs["scorers"]:
        values = scores.set_index("image")[facts["name"]].dropna()
        row = {"scorer": facts["name"], "n": len(values)}
        if len(values):
            ends = [values.idxmin(), values.idxmax()]
            worst, best = ends if facts["higher_is_better"] else ends[::-1]
            row |= {"mean": values.mean(), "std": values.std(ddof=0)}
            row |= {"min": values.min(), "max": values.max(), "best": best, "worst": worst}
        rows.append(row)
    return pd.DataFrame(rows)


def ladder(
    photo: str | Path,
    distortion: str,
    model: str | Sequence[str] = SHIPPED,
    *,
    levels: Sequence[float] = (1, 2, 3, 4, 5),
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of a photograph as it is (level 0) and distorted at some levels: columns level and one
    for each scorer, with their facts in `attrs`. A scorer that compares gets the photograph as
    reference.

    KeyError for an unknown distortion or scorer; ValueError as `distort`.
    """
    from iqa_core.distortions import distort  # two seconds, which scoring does not need

    image = read_image(Path(photo))
    images = [image] + [distort(image, distortion, level, seed) for level in levels]
    scorers = open_scorers([model] if isinstance(model, str) else list(model))
    columns = {"level": [0, *levels]}
    for scorer in scorers:
        references = [image] * len(images) if scorer.reference else None
        columns[scorer.name] = np.asarray(scorer.judge(images, references), float)
    scores = pd.DataFrame(columns)
    scores.attrs["scorers"] = [scorer.facts for scorer in scorers]
    return scores
