"""Which pictures are meant: files, folders, patterns and CSV lists, and the reference of each."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from iqa_core.files import project_root
from iqa_core.pixels import ENDINGS, NOT_READ

LISTS = {".csv"}
COLUMNS = ["image", "reference"]


def list_images(
    paths: Sequence[str | Path], *, reference: str | Path | None = None
) -> pd.DataFrame:
    """Columns image and reference (empty where there is none), paths as text, each image once.

    paths       pictures; folders, with all below them in order of names, links to folders followed
                once; patterns (photos/*.jpg, **/*.png); CSV files with a column image and, if
                wanted, reference, relative to the CSV's folder, the working directory or the
                project; addresses that fsspec opens (s3://bucket/folder), with all below them
    reference   one picture for all, or a folder that holds each image's under the same name, or
                under the same name but for its ending; images without one keep an empty text

    Of folders those files are taken whose names end as pictures' do, also of kinds that are not
    read, so that these are named as failures; hidden ones are not. How many were left is printed.
    FileNotFoundError for a path, pattern or reference that is not there or holds no picture;
    ValueError for a CSV without the column.
    """
    rows, others = [], Counter()
    for path in paths:
        rows += _rows_of(str(path), others)
    if others:
        kinds = ", ".join(f"{count} x {ending}" for ending, count in others.most_common(5))
        print(f"no pictures by their names, left out: {kinds}", flush=True)
    # Objects, for text of pandas' own kind cannot hold a name that is no UTF-8.
    table = pd.DataFrame(rows, columns=[*COLUMNS, "below"], dtype=object).drop_duplicates("image")
    if reference is not None:
        if (table.reference != "").any():
            raise ValueError("the list has a column reference already; leave --reference out")
        found = _references(table, Path(reference))
        table["reference"] = pd.Series(found, table.index, dtype=object)
    return table[COLUMNS].reset_index(drop=True)


def _rows_of(path, others):
    """(image, reference, image as named below the folder that was given) of one entry."""
    if is_address(path):
        return list(_stored(path))
    if os.path.isdir(path):
        names = list(_walk(path, others))
        if not names:
            raise FileNotFoundError(
                f"folder {path} holds no picture: none whose name ends in "
                f"{', '.join(sorted(ENDINGS))}"
            )
        return [(os.path.join(path, name), "", name) for name in names]
    if os.path.lexists(path):
        if Path(path).suffix.lower() in LISTS:
            return list(_listed(Path(path)))
        return [(path, "", os.path.basename(path))]
    if glob.has_magic(path):
        found = sorted(name for name in glob.glob(path, recursive=True) if not os.path.isdir(name))
        if found:
            return [(name, "", os.path.basename(name)) for name in found]
        raise FileNotFoundError(f"no file fits the pattern {path}")
    raise FileNotFoundError(f"{path} is not there: give pictures, folders, patterns or CSV lists")


def _walk(folder, others) -> Iterator[str]:
    """Pictures below a folder, named from it, in order; of links that lead round, one turn. Folders
    that cannot be opened come last, so that reading them says why.
    """
    visited, closed = set(), []
    for here, folders, names in os.walk(folder, followlinks=True, onerror=closed.append):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            ending = os.path.splitext(name)[1].lower()
            if ending in ENDINGS or ending in NOT_READ:
                yield os.path.relpath(os.path.join(here, name), folder)
            else:
                others[ending or "no ending"] += 1
    for error in closed:
        yield os.path.relpath(error.filename, folder)


def is_address(path: str) -> bool:
    """Whether a path is for fsspec to open: s3://bucket/name."""
    return "://" in path


def _stored(address):
    """Pictures below an address, or the one that it is."""
    from fsspec.core import url_to_fs

    try:
        system, start = url_to_fs(address)
    except (ImportError, ValueError) as error:  # a store whose package is not installed
        raise ValueError(f"{address} cannot be opened: {error}") from error
    names = sorted(
        name for name in system.find(start) if os.path.splitext(name)[1].lower() in ENDINGS
    )
    if not names:
        raise FileNotFoundError(f"{address} holds no picture")
    for name in names:
        yield system.unstrip_protocol(name), "", os.path.relpath(name, start)


def _listed(file):
    with file.open(encoding="utf-8-sig", newline="") as lines:
        start = 0
        while lines.readline().startswith("#"):  # comments stand above the columns
            start = lines.tell()
        lines.seek(start)
        try:
            rows = pd.read_csv(lines, dtype=str, keep_default_na=False)
        except pd.errors.EmptyDataError:
            raise ValueError(f"{file} is empty: a list has a column image") from None
    if "image" not in rows:
        separated = "; it seems to be separated by ; and not by ," if ";" in rows.columns[0] else ""
        raise ValueError(
            f"{file} has no column image, but {', '.join(rows)}{separated}; name the "
            "column of paths `image`, that of references, if any, `reference`"
        )
    folders = [file.parent, Path.cwd(), project_root()]
    for row in rows.to_dict("records"):
        image = _found(row["image"], folders)
        reference = row.get("reference", "")
        yield image, _found(reference, folders) if reference else "", row["image"]


def _found(name, folders):
    """A path of a list where it is; as it stands in the list where it is nowhere."""
    if is_address(name):
        return name
    places = [os.path.join(folder, name) for folder in folders]
    place = next(filter(os.path.exists, places), name)
    return place if os.path.isabs(name) or place == name else os.path.relpath(place)


def _references(table, reference):
    """Of each row the reference, "" where there is none."""
    if reference.is_file():
        return str(reference)
    if not reference.is_dir():
        raise FileNotFoundError(f"--reference {reference} is neither a picture nor a folder")
    by_name, by_stem = {}, {}
    for name in _walk(str(reference), Counter()):
        by_name[name] = os.path.join(reference, name)
        by_stem.setdefault(os.path.splitext(name)[0], by_name[name])
    found = []
    for name in table.below:
        found.append(by_name.get(name) or by_stem.get(os.path.splitext(name)[0], ""))
    if not any(found):
        first = os.path.splitext(table.below.iloc[0])[0]
        raise FileNotFoundError(
            f"--reference {reference} has none of the {len(table)} pictures' names: the first was "
            f"looked for as {first} with any ending; where names differ give a CSV list with "
            "columns image and reference"
        )
    return found
