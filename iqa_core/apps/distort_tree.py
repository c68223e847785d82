"""A folder of distorted images of one's own photographs, with the table of what was done to
each.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iqa_core.datasets.readers import Files, composed
from iqa_core.distortions import (
    LEVELS,
    distort,
    list_distortions,
    region,
    saliency_mask,
    source_code,
)
from iqa_core.files import read_json, replacing, write_json, write_text
from iqa_core.parallel import in_processes
from iqa_core.pixels import ENDINGS, image_size, read_image

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
    """Distort a photograph, or all pictures below a folder.

    Written are references/<content>.png, images/<content>/<distortion>-<level>[-<background
    level>].png, and images.csv with columns image, reference, content, distortion, level, and
    background_level, region where there are backgrounds; paths are relative to `out`. There is no
    label: add a column `label` to read the folder as a data set. Interrupted, the same call goes on
    where it stopped; another call adds to the table, which lists what earlier ones made and keeps
    its columns.

    Args:
        path: the photograph or folder. A photograph's content is its path in it without the suffix.
        out: the folder to write, outside of `path`.
        names: distortions; all by default.
        levels: 1 to 5, fractions allowed.
        background_levels: with these every level of the subject meets every one of the background.
        masks: a folder whose <content>.png is not 0 on the subject; by default
            `distortions.saliency_mask`, a guess to be looked at in masks/<content>.png of `out`.
        seed: the same for all photographs, so that a version (a type and level) is the same thing
            done to each: a crossed design, as `stats.content_specific` needs it.
        processes: as joblib counts.

    Returns:
        The table, and refused file -> reason: a file that is no picture or too small, a photograph
        or mask other than the one `out` holds under its name, and, with `background_levels`, one
        without a subject.

    Raises:
        ValueError: where `out` holds images of another seed or version, or masks are given without
            `background_levels`.
        FileNotFoundError: where there is no photograph.
    """
    path, out = Path(path), Path(out)
    contents = _contents(path, out)
    names = list_distortions() if names is None else names
    recipes = _recipes(names, levels, background_levels)
    if masks is not None and not background_levels:
        raise ValueError(
            "masks say where background_levels begin; give background_levels too, or no masks"
        )
    sizes, refused = _sizes(contents)
    count = len(sizes) * len(recipes)
    area = sum(width * height for width, height in sizes.values()) * len(recipes)
    _stamp(out, seed, names)
    free = shutil.disk_usage(out).free
    print(
        f"{len(sizes)} photographs, {count} images, {3e-9 * area:.2g} GB at most "
        f"({1e-9 * free:.3g} GB free)",
        flush=True,
    )
    regions = bool(background_levels)
    mask_files = _mask_files(masks, sizes) if masks is not None else {}
    calls = [
        (content, contents[content], out, mask_files.get(content), regions) for content in sizes
    ]
    bar = dict(desc="photographs")
    refused |= _refused(_keep_source, calls, contents, processes=processes, **bar)
    # one call: some distortions of one photograph
    kept = [content for content in sizes if str(contents[content]) not in refused]
    parts = [recipes[start : start + CHUNK] for start in range(0, len(recipes), CHUNK)]
    calls = [(content, part, out, seed) for content in kept for part in parts]
    bar = dict(desc="distort", unit=f"x{CHUNK}")
    refused |= _refused(_write_images, calls, contents, processes=processes, **bar)
    table = _list_images(out, [_row(content, recipe) for content in kept for recipe in recipes])
    for file, why in refused.items():
        print(f"left out: {file}: {why}", flush=True)
    return table, refused


def _contents(path, out):
    """content -> file"""
    folder, files = path.parent, [path]
    if path.is_dir():
        if out.resolve().is_relative_to(path.resolve()):
            raise ValueError(
                f"{out} lies in {path}, and would be read with it the next time; choose a folder "
                f"elsewhere"
            )
        folder = path
        found = Files(path)
        files = [path / name for name in sorted([*found.pictures(), *found.not_read()])]
    if not files or not files[0].exists():
        raise FileNotFoundError(
            f"there is no photograph at {path}; wanted a file, or a folder with "
            f"{', '.join(sorted(ENDINGS))}"
        )
    contents = {}
    for file in files:
        content = composed(file.relative_to(folder).with_suffix("").as_posix())
        if content in contents:
            raise ValueError(
                f"{contents[content]} and {file} differ in their suffix, or in how an accent is "
                f"written, alone; rename one of them"
            )
        contents[content] = file
    return contents


def _recipes(names, levels, background_levels):
    unknown = sorted(set(names) - set(list_distortions()))
    if unknown:
        raise KeyError(
            f"no distortion {', '.join(map(repr, unknown))}; there are "
            f"{', '.join(list_distortions())}"
        )
    for level in (*levels, *background_levels):
        if not 1 <= level <= 5:
            raise ValueError(f"level is {level}; it runs from 1 to 5, fractions allowed")
    return [
        (name, level, background)
        for name in names
        for level in levels
        for background in background_levels or (None,)
    ]


def _sizes(contents):
    """content -> (width, height) of what can be opened, and refused file -> reason."""
    sizes, refused = {}, {}
    for content, file in contents.items():
        try:
            sizes[content] = image_size(file)
        except (ValueError, FileNotFoundError) as error:
            refused[str(file)] = str(error)
    return sizes, refused


def _stamp(out, seed, names):
    """Keeps in `out` what its images hang on beside their names: the seed, and for each distortion
    a hash of its code. Refuses a folder that was made with others.
    """
    stamp = out / "made_by.json"
    made_by = read_json(stamp) if stamp.exists() else {"seed_of_all": seed}
    former = made_by.get("seed_of_all", "one a photograph")
    if former != seed:
        _refuse_folder(out, f"seed {former}")
    operators = made_by.setdefault("operators", {})
    for name in names:
        code = hashlib.sha256(source_code([name]).encode()).hexdigest()
        if operators.setdefault(name, code) != code:
            _refuse_folder(out, f"another version of {name}")
    write_json(stamp, made_by)


def _refuse_folder(out, why):
    raise ValueError(f"{out} holds images made with {why}; choose another folder, or delete it")


def _row(content, recipe):
    name, level, background = recipe
    file = f"{name}-{level:g}" + ("" if background is None else f"-{background:g}")
    row = {
        "image": f"images/{content}/{file}.png",
        "reference": f"references/{content}.png",
        "content": content,
        "distortion": name,
        "level": level,
    }
    if background is not None:
        row |= {"background_level": background, "region": region(level, background)}
    return row


def _list_images(out, rows):
    """Writes the table of what is there, of former calls and this one; earlier rows stay as they
    are, further columns too.
    """
    if (out / "images.csv").exists():
        former = pd.read_csv(
            out / "images.csv", dtype={"content": str}, keep_default_na=False, na_values=[""]
        )
        rows = former.to_dict("records") + rows
    rows = [row for row in rows if (out / row["image"]).exists()]
    columns = None if rows else list(_row("", ("", 1, None)))
    table = pd.DataFrame(rows, columns=columns).drop_duplicates("image", ignore_index=True)
    write_text(out / "images.csv", table.to_csv(index=False, lineterminator="\n"))
    return table


def _refused(work, calls, contents, *, processes, **bar):
    """file -> why, of those that `work` refuses; a call begins with its content."""
    reasons = in_processes(work, calls, processes=processes, **bar)
    return {
        str(contents[content]): why
        for (content, *_), why in zip(calls, reasons, strict=True)
        if why
    }


def _mask_files(masks, contents):
    """content -> its mask, by a name that may be written otherwise; where it ought to be if not."""
    files = Files(Path(masks))
    wanted = {content: f"{content}.png" for content in contents}
    return {
        content: Path(masks) / (files.find(name, under="") or name)
        for content, name in wanted.items()
    }


def _keep_source(content, file, out, mask_file, regions):
    """Writes the reference of a photograph and, for `regions`, its mask; why they cannot be, or an
    empty text.
    """
    try:
        image = read_image(file)
        _keep("references", image, content, out)
        if regions:
            mask = saliency_mask(image) if mask_file is None else _mask(mask_file)
            if not mask.any():
                raise ValueError("no subject found; give a mask that is not 0 on it")
            if mask.shape != image.shape[:2]:
                raise ValueError(
                    f"its mask is {mask.shape[1]}x{mask.shape[0]} pixels, not "
                    f"{image.shape[1]}x{image.shape[0]}"
                )
            _keep("masks", mask.astype(np.uint8) * 255, content, out)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _keep(folder, image, content, out):
    """Writes an image once; ValueError where `out` holds another one."""
    path = out / folder / f"{content}.png"
    if not path.exists():
        _write(path, image)
    with Image.open(path) as kept:
        if not np.array_equal(kept, image):
            raise ValueError(
                f"it differs from {path}, which is kept from before; delete that and "
                f"{out / 'images' / content}"
            )


def _write_images(content, recipes, out, seed):
    """Writes what is missing of some recipes of a photograph; why not, or an empty text."""
    paths = {out / _row(content, recipe)["image"]: recipe for recipe in recipes}
    missing = {path: recipe for path, recipe in paths.items() if not path.exists()}
    if not missing:
        return ""
    try:
        image = read_image(out / f"references/{content}.png")
        for path, (name, level, background) in missing.items():
            kwargs = {}
            if background is not None:
                mask = _mask(out / f"masks/{content}.png")
                kwargs = {"mask": mask, "background_level": background}
            _write(path, distort(image, name, level, seed, **kwargs))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _mask(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L")) != 0


def _write(path, image):
    with replacing(path) as draft:
        Image.fromarray(image).save(draft, format="PNG")
