"""A folder of distorted images of one's own photographs, with the table of what was done to each."""

import hashlib
import os
import shutil
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from tqdm.auto import tqdm

from iqa_core.datasets.readers import PICTURES
from iqa_core.distortions import LEVELS, distort, list_distortions, region, saliency_mask, source_code
from iqa_core.files import read_json, write_json, write_text
from iqa_core.pixels import read_image

CHUNK = 25  # images a task; a photograph is decoded once a task


def write_tree(
    path: Path,
    out: Path,
    *,
    names: list[str] | None = None,
    levels: tuple[float, ...] = LEVELS,
    background_levels: tuple[float, ...] = (),
    masks: Path | None = None,
    seed: int = 0,
    processes: int = -1,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Distort a photograph, or all pictures below a folder, into `out`; the table, and refused file -> reason.

    `names`: distortions, all by default. With `background_levels` every level of the subject meets every one of the
    background; the subject is what is not 0 in <masks>/<content>.png, else `distortions.saliency_mask`, a guess to be looked
    at in masks/<content>.png of `out`. A photograph's own seed is made of `seed` and its content, which is its path without the suffix. `processes` as joblib counts.
    Written: references/<content>.png, images/<content>/<distortion>-<level>[-<background level>].png, and images.csv with
    columns image, reference, content, distortion, level, and background_level, region where there are backgrounds; paths
    are relative to `out`. There is no label: add a column `label` to read the folder as a data set. Interrupted, the same
    call goes on where it stopped. ValueError where `out` holds images of another seed or version, FileNotFoundError where there
    is no photograph.
    """
    path, out = Path(path), Path(out)
    contents = _contents(path, out)
    recipes = _recipes(list_distortions() if names is None else names, levels, background_levels)
    sizes, refused = _sizes(contents)
    count, pixels = len(sizes) * len(recipes), sum(w * h for w, h in sizes.values()) * len(recipes)
    _stamp(out, seed)
    free = shutil.disk_usage(out).free
    print(f"{len(sizes)} photographs, {count} images, {3e-9 * pixels:.2g} GB at most ({1e-9 * free:.3g} GB free)", flush=True)
    tasks = [
        (contents[content], content, recipes[start : start + CHUNK])
        for content in sizes
        for start in range(0, len(recipes), CHUNK)
    ]
    run = Parallel(processes, return_as="generator", backend="loky", inner_max_num_threads=1)
    made = run(delayed(_distort_photograph)(*task, out, masks, seed) for task in tasks)
    failed = tqdm(made, total=len(tasks), desc="distort", unit=f"x{CHUNK}", mininterval=2)
    refused |= {str(file): why for (file, _, _), why in zip(tasks, failed, strict=True) if why}
    rows = [_row(content, recipe) for content, file in contents.items() if str(file) not in refused for recipe in recipes]
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    write_text(out / "images.csv", table.to_csv(index=False, lineterminator="\n"))
    for file, why in refused.items():
        print(f"left out: {file}: {why}", flush=True)
    return table, refused


def _contents(path, out):
    """content -> file"""
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise ValueError(f"{out} lies in {path}, and would be read with it the next time; choose a folder elsewhere")
    found = sorted(f for f in path.rglob("*") if f.suffix.lower() in PICTURES and f.is_file()) if path.is_dir() else [path]
    if not found or not found[0].exists():
        raise FileNotFoundError(
            f"there is no photograph at {path}; wanted a file, or a folder with {', '.join(sorted(PICTURES))}"
        )
    contents = {}
    for file in found:
        content = (file.relative_to(path) if path.is_dir() else Path(file.name)).with_suffix("").as_posix()
        if content in contents:
            raise ValueError(f"{contents[content]} and {file} differ in their suffix alone; rename one of them")
        contents[content] = file
    return contents


def _recipes(names, levels, background_levels):
    if unknown := sorted(set(names) - set(list_distortions())):
        raise KeyError(f"no distortion {', '.join(map(repr, unknown))}; there are {', '.join(list_distortions())}")
    if wrong := [level for level in (*levels, *background_levels) if not 1 <= level <= 5]:
        raise ValueError(f"level is {wrong[0]}; it runs from 1 to 5, fractions allowed")
    return [(name, level, other) for name in names for level in levels for other in background_levels or (None,)]


def _sizes(contents):
    """content -> (width, height) of what can be opened, and refused file -> reason."""
    sizes, refused = {}, {}
    for content, file in contents.items():
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as image:  # read_image judges large ones
                sizes[content] = image.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            refused[str(file)] = str(error)
    return sizes, refused


def _stamp(out, seed):
    """What the images in `out` hang on beside their names; refuses a folder that was made with another."""
    made_by = {"seed": seed, "code": hashlib.sha256(source_code()).hexdigest()}
    if (out / "made_by.json").exists() and (there := read_json(out / "made_by.json")) != made_by:
        why = f"seed {there['seed']}" if there["seed"] != seed else "another version of the distortions"
        raise ValueError(f"{out} holds images made with {why}; choose another folder, or delete it")
    write_json(out / "made_by.json", made_by)


def _row(content, recipe):
    name, level, other = recipe
    file = f"{name}-{level:g}" + ("" if other is None else f"-{other:g}")
    row = {"image": f"images/{content}/{file}.png", "reference": f"references/{content}.png", "content": content}
    where = {"background_level": other, "region": None if other is None else region(level, other)}
    return row | {"distortion": name, "level": level} | where


def _distort_photograph(file, content, recipes, out, masks, seed):
    """Writes what is missing of some recipes of a photograph; why not, or an empty text."""
    rows = [_row(content, recipe) for recipe in recipes]
    if all((out / place).exists() for row in rows for place in (row["image"], row["reference"])):
        return ""
    try:
        image = read_image(file)
        reference = out / rows[0]["reference"]
        if not reference.exists():
            _write(reference, image)
        elif not np.array_equal(read_image(reference), image):
            return f"it is another photograph than {reference}; delete that and images/{content}"
        mask = None
        if any(other is not None for _, _, other in recipes):
            mask = saliency_mask(image) if masks is None else _mask(Path(masks) / f"{content}.png")
            _write(out / f"masks/{content}.png", mask.astype(np.uint8) * 255)
        for row, (name, level, other) in zip(rows, recipes, strict=True):
            if not (out / row["image"]).exists():
                own = zlib.crc32(f"{seed} {content}".encode())
                given = {} if other is None else {"mask": mask, "background_level": other}
                _write(out / row["image"], distort(image, name, level, own, **given))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _mask(path):
    with Image.open(path) as image:
        return np.atleast_3d(np.asarray(image))[..., :3].any(axis=2)


def _write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    Image.fromarray(image).save(draft, format="PNG")
    draft.replace(path)
