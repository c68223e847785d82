"""What is done with the raw files of a data set: fetch them, and see whether they are whole."""

import warnings
import zlib
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from iqa_core.apps.archives import unpack
from iqa_core.datasets import describe, load_table, make_images, plausible
from iqa_core.datasets.readers import Files
from iqa_core.download import download
from iqa_core.leakage import duplicates
from iqa_core.pixels import read_image

CHUNK = 32  # images a task


def fetch(name: str, *, root: Path = Path(".")) -> list[str]:
    """Fetch and unpack the public files of a set into its folder; what was done, in sentences.

    An interrupted download goes on where it stopped. The demo's images are made. Errors as
    `download` and `unpack` raise them."""
    facts = describe(name, root=root)
    if facts["module"]:
        return [f"{make_images(name, load_table(name, root=root), root=root)} images made"]
    told = []
    for file, address in facts["get"].items():
        path = facts["folder"] / file
        if path.with_name(f"{path.name}.sha256").exists() and not path.exists():
            told.append(f"{file}: was here before; delete {path}.sha256 to fetch it again")
            continue
        told.append(f"{file}: sha256 {download(address, path)[:16]}")
        if path.suffix.lower() == ".zip":
            number = unpack(path, facts["folder"])
            told.append(
                f"{file}: {number} files unpacked; you may delete it, its .sha256 says that it was "
                f"here"
            )
    return told


def check(name: str, *, root: Path = Path("."), processes: int = -1) -> pd.DataFrame:
    """What is wrong with a set's files: columns problem, image, detail; no row is what one wants.
    Nothing is written.

    A sentence of what is there is printed first. Problems: table (it cannot be read, by one of the
    labels that one can choose), labels (that cannot be: wrongly joined, or DMOS read as MOS), rows
    (not as many as published), missing, unreadable, unlisted (an image of the set's folders that no
    label file names), same pixels and look-alike (copies and near-duplicates, as `leakage` finds
    them, of different contents). FileNotFoundError where label files are absent. `processes` as
    joblib counts."""
    facts = describe(name, root=root)
    tables, faults = _tables(name, facts, root)
    if not tables:
        return _problems("table", [("", fault) for fault in faults])
    table, unlikely = (
        tables[0],
        dict.fromkeys(fault for read in tables for fault in plausible(read)),
    )
    if not faults:
        print(_summary(table, facts))
    wanted = list(dict.fromkeys([*table.image, *table.get("reference", table.image).dropna()]))
    there = [image for image in wanted if (root / image).is_file()]
    chunks = [there[start : start + CHUNK] for start in range(0, len(there), CHUNK)]
    done = Parallel(processes, return_as="generator", backend="loky", inner_max_num_threads=1)(
        delayed(_look)(chunk, root) for chunk in chunks
    )
    seen = pd.DataFrame(
        [
            row
            for rows in tqdm(done, total=len(chunks), desc="read", unit=f"x{CHUNK}", mininterval=2)
            for row in rows
        ],
        columns=["image", "fault", "pixels"],
    )
    broken, whole = seen[seen.fault != ""], seen[seen.fault == ""]
    first = dict(zip(whole.pixels[::-1], whole.image[::-1], strict=True))
    content = table.get("content", table.image)
    own = dict(zip(table.get("reference", table.image), content, strict=True)) | dict(
        zip(table.image, content, strict=True)
    )
    same = {image: first[pixels] for image, pixels in zip(whole.image, whole.pixels, strict=True)}
    copies = {image: other for image, other in same.items() if own[image] != own[other]}
    parts = {
        "table": [("", fault) for fault in faults],
        "labels": [("", fault) for fault in unlikely]
        if table.label_kind.iloc[0] != "pseudo_mos"
        else [],
        "rows": [("", f"{len(table)}, published are {facts['rows']}")]
        if facts["rows"] not in (None, len(table))
        else [],
        "missing": [(image, "") for image in sorted(set(wanted) - set(there))],
        "unreadable": list(zip(broken.image, broken.fault, strict=True)),
        "unlisted": [(image, "") for image in _unlisted([*wanted, *table.attrs["left_out"]], root)],
        "same pixels": [(image, f"as {other}") for image, other in copies.items()],
        "look-alike": _look_alikes(
            table, [image for image in whole.image if image not in copies], root, processes
        ),
    }
    return pd.concat(
        [_problems(problem, details) for problem, details in parts.items()], ignore_index=True
    )


def _tables(name, facts, root):
    """The table by each label that the files give, else without labels; what is wrong with those
    that cannot be read.
    """
    tables, faults = [], []
    for label in [*facts["labels"], ""]:
        try:
            with warnings.catch_warnings(action="ignore"):  # `check` says what they say
                tables += [load_table(name, root=root, label=label)] if label or not tables else []
        except ValueError as error:
            faults.append(str(error))
        except FileNotFoundError:
            if label == next(iter(facts["labels"])):
                raise
    return tables, list(dict.fromkeys(faults))


def _summary(table, facts):
    contents = f"{len(table)} images of {table.get('content', table.image).nunique()} contents"
    if table.label.isna().all():
        return f"{contents}; no labels: to be scored, not to learn from"
    scale = (
        f", scale {facts['low']:g} to {facts['high']:g} {facts['units']}".rstrip()
        if facts["high"] is not None
        else ""
    )
    return f"{contents}; labels {table.label.min():g} to {table.label.max():g}{scale}, {facts['direction']}"


def _problems(problem, details):
    """Rows of one kind of problem from (image, detail) pairs."""
    return pd.DataFrame(
        [(problem, *pair) for pair in details], columns=["problem", "image", "detail"], dtype=object
    )


def _look(images, root):
    """(image, fault, what tells its pixels from others') of some images."""
    rows = []
    for image in images:
        try:
            pixels = read_image(root / image)
            rows.append((image, "", (pixels.shape, zlib.crc32(pixels), zlib.adler32(pixels))))
        except ValueError as error:
            rows.append((image, str(error), None))
    return rows


def _unlisted(wanted, root):
    """Pictures in the folders of the images in `wanted` that are not among them."""
    folders = sorted({Path(image).parent for image in wanted})
    found = {
        (f / p).as_posix()
        for f in folders
        if (root / f).is_dir()
        for p in Files(root / f).pictures()
        if "/" not in p
    }
    return sorted(found - set(wanted))


def _look_alikes(table, images, root, processes):
    own = dict(zip(table.image, table.get("content", table.image), strict=True))
    paths = {(root / image).as_posix(): image for image in images if image in own}
    pairs = duplicates(
        list(map(Path, paths)), group=[own[image] for image in paths.values()], processes=processes
    )
    return [
        (paths[a], f"{paths[b]}, distance {far:.3f}") for a, b, far in pairs.itertuples(index=False)
    ]
