"""Leakage: pictures of one part of a split that another part holds too, by shared content or as
near-duplicates.

A picture is known by a perceptual hash: the 16 x 16 lowest cosine coefficients of its 32 x 32 grey
thumbnail, whitened, as a vector of length 1 (after pHash: Zauner 2010, Implementation and
benchmarking of perceptual image hash functions; its 64 signs are real numbers here). The distance
of two pictures is 1 - the largest product of their hashes, over one of them mirrored or not and
either of them cut by 3 % on each side or not: 0 for the same picture, about 1 for unrelated ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn
from tqdm.auto import tqdm

from .parallel import in_processes
from .pixels import read_image
from .splits import PARTS, name_some, part_of

THUMBNAIL, KEPT = 32, 16  # pixels a side, cosine coefficients a side
CUTS = (0, 0.03)  # of each side
# of a coefficient: 1/8 grey level over the thumbnail, what JPEG of quality 50 adds and takes
NOISE = 4.0
# coefficients above NOISE, of 255: every photograph of data/demo has more than 170, cloudless sky
# hardly any
STRUCTURE = 24
LARGEST = 0.3  # distance of a duplicate: see benchmarks/leakage.py
BLOCK = 2**22  # distances held at once: 16 MB
MOST = 1_000_000  # pairs: below 100 MB; more of them tell of a damaged table
FREQUENCY = np.hypot(*np.indices((KEPT, KEPT)))  # natural spectra fall about as 1 / frequency
# mirroring turns the sign of odd columns
MIRROR = np.tile((-1.0) ** np.arange(KEPT), KEPT).astype(np.float32)


def leakage(
    table: pd.DataFrame,
    split: pd.Series | pd.DataFrame,
    *,
    root: Path = Path("."),
    processes: int = -1,
    progress: bool = True,
) -> pd.DataFrame:
    """Pairs of pictures across the parts of a split; none is what one wants.

    table   column image and, optionally, content
    split   a part for every row, as `load_split` gives (NaN: in none), or a table (image, split)
    root    the folder that images are named from

    Returns columns image, split, image2, split2, kind in {content, duplicate}, distance. A content
    in several parts is one row of kind content for each two of them, by its first images, distance
    NaN; near-duplicates are searched among images of different parts and contents: see `duplicates`
    for how and for the errors. attrs["plain"]: images too plain to be told apart.

    For leaks between data sets give their tables one after the other, one set as train and val, the
    other as test, without `content` where both sets name contents alike.
    """
    return leakages(table, {"": split}, root=root, processes=processes, progress=progress)[""]


def leakages(
    table: pd.DataFrame,
    splits: Mapping[str, pd.Series | pd.DataFrame],
    *,
    root: Path = Path("."),
    processes: int = -1,
    progress: bool = True,
) -> dict[str, pd.DataFrame]:
    """`leakage` of each of several splits of one table, by the splits' names; every picture is read
    once.
    """
    parts = {name: _parts(table, split, name) for name, split in splits.items()}
    named = table.image[pd.DataFrame(parts, table.index).notna().any(axis=1)].unique()
    paths = [Path(root) / image for image in named]
    hashes = dict(zip(named, _hashes(paths, processes=processes, progress=progress), strict=True))
    return {name: _leaks(table, part, hashes, progress) for name, part in parts.items()}


def _parts(table, split, name):
    """The part of each row of the table, NaN for none, from either form of a split."""
    if not isinstance(split, pd.DataFrame):
        if len(split) != len(table):
            raise ValueError(
                f"split has {len(split)} rows, the table {len(table)}; give a part or NaN for "
                f"every row"
            )
        split = pd.DataFrame({"image": table.image.to_numpy(), "split": np.asarray(split)}).dropna()
    return part_of(split, table, name=name or "the split")


def _leaks(table, part, hashes, progress):
    """`leakage` of one split, from the hash of each image."""
    content = table.content.fillna(table.image) if "content" in table else table.image
    rows = pd.DataFrame({"image": table.image, "split": part, "content": content}).dropna()
    rows["part"] = rows.split.map(PARTS.index)
    rows = rows.sort_values("part", kind="stable", ignore_index=True)

    number, content = rows.part.to_numpy(), pd.factorize(rows.content)[0]
    hashed = np.array([hashes[image] for image in rows.image]).reshape(-1, len(CUTS), KEPT**2)
    first, second, distance = _near(
        hashed,
        lambda i, j: (number[i] != number[j]) & (content[i] != content[j]),
        largest=LARGEST,
        progress=progress,
    )
    image, part_name = rows.image.to_numpy(), rows.split.to_numpy()
    near = pd.DataFrame({"image": image[first], "split": part_name[first]})
    near = near.assign(image2=image[second], split2=part_name[second], kind="duplicate")
    near = near.assign(distance=distance)

    shared = rows.drop_duplicates(["content", "part"])
    shared = shared.merge(shared, on="content", suffixes=("", "2")).query("part < part2")
    shared = shared.assign(kind="content", distance=np.nan)[near.columns]
    found = [frame for frame in (shared, near) if len(frame)]
    pairs = pd.concat(found or [near], ignore_index=True)
    pairs.attrs["plain"] = image[_plain(hashed)].tolist()
    return pairs


def duplicates(
    paths: Sequence[Path],
    *,
    group: Sequence | None = None,
    largest: float = LARGEST,
    processes: int = -1,
    progress: bool = True,
) -> pd.DataFrame:
    """Pairs of near-duplicate pictures: columns image, image2, distance (0..`largest`), nearest
    first.

    paths   image files
    group   what each picture belongs to, its content; pairs within one are left out

    Found are copies, also as JPEG of quality 50, at half the size, with up to about 5 % cut off
    each side, or mirrored. Pictures with as little structure as plain sky are all alike: they are
    compared with none; `attrs["plain"]` names them. On two cores 10,000 JPEG images of 512 x 384
    take half a minute, of 12 megapixels 13.

    Errors: FileNotFoundError naming the images that are missing; ValueError, once all are read,
    naming those that cannot be decoded, and beyond a million pairs.
    """
    paths = [Path(path) for path in paths]
    number = np.arange(len(paths)) if group is None else pd.factorize(np.asarray(group, object))[0]
    hashes = _hashes(paths, processes=processes, progress=progress)
    first, second, distance = _near(
        hashes, lambda i, j: number[i] != number[j], largest=largest, progress=progress
    )
    names = np.array([path.as_posix() for path in paths], object)
    pairs = pd.DataFrame({"image": names[first], "image2": names[second], "distance": distance})
    pairs.attrs["plain"] = names[_plain(hashes)].tolist()
    return pairs


def _hashes(paths, *, processes, progress):
    """Hashes (n, cuts, 256) of files; those of plain pictures are zero."""
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise FileNotFoundError(
            f"no file for {name_some(absent)}; get the images first, or drop their rows"
        )
    calls = [(paths[start : start + 32],) for start in range(0, len(paths), 32)]
    bar = dict(desc="hash", unit="x32", mininterval=5, disable=not progress)
    done = list(in_processes(_hash_files, calls, processes=processes, **bar))
    broken = [error for _, errors in done for error in errors]
    if broken:
        raise ValueError(f"{name_some(broken)}; `python -m iqa_core data check` lists all")
    none = np.empty((0, len(CUTS), KEPT**2), np.float32)
    return np.concatenate([none, *(of_chunk for of_chunk, _ in done)])


def _plain(hashes):
    return np.flatnonzero(~hashes.any(axis=(1, 2)))


def _near(hashes, wanted, *, largest, progress):
    """Numbers i < j and distances of pairs of hashes (n, cuts, 256), nearest first, for which
    `wanted(i, j)` is true; found a block of rows at a time.
    """
    whole, cut = np.ascontiguousarray(hashes.swapaxes(0, 1))
    rows = max(1, BLOCK // max(1, len(hashes)))
    starts = range(0, len(hashes), rows)
    found = [np.empty((3, 0))]
    for start in tqdm(starts, desc="compare", mininterval=5, disable=not progress):
        # The largest product over one of the two mirrored or not, and either of them cut or not.
        best = np.full((len(whole[start : start + rows]), len(whole) - start), -1, np.float32)
        for hashes_of_rows, others in ((whole, whole), (whole, cut), (cut, whole)):
            for sign in (np.float32(1), MIRROR):
                block = hashes_of_rows[start : start + rows] * sign
                np.maximum(best, block @ others[start:].T, out=best)
        i, j = np.nonzero(best >= 1 - largest)
        distance = np.clip(1 - best[i, j], 0, None).round(4)
        keep = (i < j) & wanted(i + start, j + start)
        found.append(np.stack([i + start, j + start, distance])[:, keep])
        if sum(pairs.shape[1] for pairs in found) > MOST:
            raise ValueError(
                f"more than {MOST:,} pairs of near-duplicates; does the table list copies, or lack "
                f"its content?"
            )
    i, j, distance = np.concatenate(found, axis=1)
    order = np.lexsort((j, i, distance))
    return i[order].astype(int), j[order].astype(int), distance[order]


def _hash_files(paths):
    """Hashes (n, cuts, 256) float32, zero where there is too little structure, and what hindered
    reading.
    """
    hashes = np.zeros((len(paths), len(CUTS), KEPT**2), np.float32)
    errors = []
    for number, path in enumerate(paths):
        try:
            hashes[number] = _hash(read_image(path))
        except ValueError as error:
            errors.append(str(error))
    return hashes, errors


def _hash(pixels):
    # Grey floats of 12 megapixels would take as long as decoding them: reduced first.
    factor = max(1, min(pixels.shape[:2]) // 128)
    grey = Image.fromarray(pixels).reduce(factor).convert("F")
    width, height = grey.size
    hashes = np.zeros((len(CUTS), KEPT**2), np.float32)
    for number, cut in enumerate(CUTS):
        box = (cut * width, cut * height, (1 - cut) * width, (1 - cut) * height)
        thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, box=box)
        cosines = dctn(np.asarray(thumbnail), norm="ortho")[:KEPT, :KEPT]
        cosines[0, 0] = 0
        # The root, so that it is not a few coefficients that decide.
        strength = np.sqrt(np.maximum(np.abs(cosines) - NOISE, 0) * FREQUENCY)
        if np.count_nonzero(strength) < STRUCTURE:
            return np.zeros_like(hashes)
        hashes[number] = (np.sign(cosines) * strength / np.linalg.norm(strength)).ravel()
    return hashes
