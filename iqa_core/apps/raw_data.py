"""What is done with the raw files of a data set: fetch them, and see whether they are whole."""

import warnings
import zlib
from pathlib import Path

import pandas as pd

from iqa_core.apps.archives import unpack
from iqa_core.datasets import describe, load_table, make_images, plausible
from iqa_core.datasets.readers import Files
from iqa_core.download import download
from iqa_core.full_reference import list_measures
from iqa_core.leakage import duplicates
from iqa_core.measuring import unmeasurable_pairs
from iqa_core.parallel import in_processes
from iqa_core.pixels import read_image

CHUNK = 32  # images a task


def fetch(name: str, *, root: Path = Path(".")) -> list[str]:
    """Fetch and unpack the public files of a set into its folder; what was done, in sentences.

    An interrupted download goes on where it stopped. The demo's images are made. Errors as
    `download` and `unpack` raise them."""
    facts = describe(name, root=root)
    if facts["module"]:
        return [f"{make_images(name, load_table(name, root=root), root=root)} images made"]
    done = []
    for file, address in facts["get"].items():
        path = facts["folder"] / file
        if path.with_name(f"{path.name}.sha256").exists() and not path.exists():
            done.append(f"{file}: was here before; delete {path}.sha256 to fetch it again")
            continue
        done.append(f"{file}: sha256 {download(address, path)[:16]}")
        if path.suffix.lower() == ".zip":
            number = unpack(path, facts["folder"])
            done.append(
                f"{file}: {number} files unpacked; you may delete it, its .sha256 says that it was "
                f"here"
            )
    return done


def check(name: str, *, root: Path = Path("."), processes: int = -1) -> pd.DataFrame:
    """What is wrong with a set's files; writes nothing, and prints a sentence on what is there.

    Args:
        name: the set's.
        root: the project's.
        processes: as joblib counts.

    Returns:
        Columns problem, image, detail; no row is what one wants. Problems: table (it cannot be
        read, by one of the labels that one can choose), labels (that cannot be: wrongly joined, or
        DMOS read as MOS), rows (not as many as published), missing, unreadable, pair (an image and
        its reference that full-reference measures cannot compare), unlisted and not read (images of
        the set's folders that no label file names, of kinds that are read and of others), same
        pixels and look-alike (copies and near-duplicates, as `leakage` finds them, of different
        contents).

    Raises:
        FileNotFoundError: where label files are absent.
    """
    facts = describe(name, root=root)
    tables, faults = _tables(name, facts, root)
    if not tables:
        return _problems("table", [("", fault) for fault in faults])
    table = tables[0]
    if not faults:
        print(_summary(table, facts))

    # every image is read once
    wanted = list(dict.fromkeys([*table.image, *table.get("reference", table.image).dropna()]))
    there = [image for image in wanted if (root / image).is_file()]
    calls = [(there[start : start + CHUNK], root) for start in range(0, len(there), CHUNK)]
    bar = dict(desc="read", unit=f"x{CHUNK}")
    rows = [row for rows in in_processes(_look, calls, processes=processes, **bar) for row in rows]
    seen = pd.DataFrame(rows, columns=["image", "fault", "pixels"])
    broken, whole = seen[seen.fault != ""], seen[seen.fault == ""]

    known = [*wanted, *table.attrs["left_out"]]
    content = _contents(table)
    copies = _copies(whole, content)
    others = [image for image in whole.image if image not in copies]
    problems = {
        "table": [("", fault) for fault in faults],
        "labels": [],
        "rows": [],
        "missing": [(image, "") for image in sorted(set(wanted) - set(there))],
        "unreadable": list(zip(broken.image, broken.fault, strict=True)),
        "pair": _pairs(table, whole),
        "unlisted": [(image, "") for image in _unlisted(known, Files.pictures, root)],
        "not read": [(image, "") for image in _unlisted(known, Files.not_read, root)],
        "same pixels": [(image, f"as {other}") for image, other in copies.items()],
        "look-alike": _look_alikes(table, others, root, processes),
    }
    if table.label_kind.iloc[0] != "pseudo_mos":
        unlikely = dict.fromkeys(fault for each in tables for fault in plausible(each))
        problems["labels"] = [("", fault) for fault in unlikely]
    if facts["rows"] not in (None, len(table)):
        problems["rows"] = [("", f"{len(table)}, published are {facts['rows']}")]
    return pd.concat(
        [_problems(problem, details) for problem, details in problems.items()], ignore_index=True
    )


def _contents(table):
    """image or reference -> its content; what an image says of itself counts more."""
    content = table.get("content", table.image)
    result = dict(zip(table.get("reference", table.image), content, strict=True))
    return result | dict(zip(table.image, content, strict=True))


def _pairs(table, whole):
    """(image, why) of those that some measure cannot compare with their reference."""
    if "reference" not in table:
        return []
    shapes = (pixels[0] for pixels in whole.pixels)
    sizes = {image: shape[1::-1] for image, shape in zip(whole.image, shapes, strict=True)}
    return unmeasurable_pairs(table.dropna(subset="reference"), list_measures(), sizes)


def _copies(whole, content):
    """image -> the first one with the same pixels, where that is of another content."""
    first, copies = {}, {}
    for image, pixels in zip(whole.image, whole.pixels, strict=True):
        original = first.setdefault(pixels, image)
        if content[image] != content[original]:
            copies[image] = original
    return copies


def _tables(name, facts, root):
    """The table by each label that the files give, else without labels; what is wrong with those
    that cannot be read.
    """
    tables, faults = [], []
    for label in [*facts["labels"], ""]:
        if not label and tables:
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # `check` says what they say
                tables.append(load_table(name, root=root, label=label))
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
    labels = f"labels {table.label.min():g} to {table.label.max():g}"
    if facts["high"] is not None:
        scale = f"scale {facts['low']:g} to {facts['high']:g} {facts['units']}".rstrip()
        labels = f"{labels}, {scale}"
    return f"{contents}; {labels}, {facts['direction']}"


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


def _unlisted(known, kind, root):
    """Pictures of a `kind` in the folders of the images in `known` that are not among them."""
    pictures = set()
    for folder in {Path(image).parent for image in known}:
        if (root / folder).is_dir():
            names = kind(Files(root / folder))
            pictures |= {(folder / name).as_posix() for name in names if "/" not in name}
    return sorted(pictures - set(known))


def _look_alikes(table, images, root, processes):
    content = dict(zip(table.image, table.get("content", table.image), strict=True))
    paths = {(root / image).as_posix(): image for image in images if image in content}
    group = [content[image] for image in paths.values()]
    pairs = duplicates(list(map(Path, paths)), group=group, processes=processes)
    return [
        (paths[image], f"{paths[image2]}, distance {distance:.3f}")
        for image, image2, distance in pairs.itertuples(index=False)
    ]
