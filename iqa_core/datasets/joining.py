"""Label files joined into one table of texts: by image or row by row, and checked where two files
say the same.
"""

import posixpath
import re

import numpy as np
import pandas as pd

from .readers import read_labels

AGREE = 0.01  # of a column's range: what two files, or votes and their mean, may differ by


def joined(facts, files, notes):
    """All label files as one table of texts; the first that is there holds the rows."""
    if not facts.files:
        pictures, others = files.pictures(), files.tell_not_read()
        if not pictures:
            raise FileNotFoundError("an image file is missing" + f" ({others})" * bool(others))
        if others:
            notes.append(f"left out are {others}; export them as PNG or TIFF")
        return pd.DataFrame({"image": pictures, "label": ""}, dtype=object)
    table = None
    for file in facts.files:
        gives = [*file.columns, *file.fill]
        paths = files.match(file.file)
        if not paths and not file.optional:
            raise FileNotFoundError(f"{file.file} is missing")
        if not paths:
            further = ", ".join(column for column in gives if column != "image")
            notes.append(f"{file.file} is not there; it would give {further}")
            continue
        if deeper := files.deeper(file.file):
            notes.append(f"deeper than others, not read as {file.file}: {', '.join(deeper[:3])}")
        parts = [read_labels(path, file) for path in paths]
        if "*" in posixpath.dirname(file.file):
            gives.append("folder")
            for path, part in zip(paths, parts, strict=True):
                part["folder"] = path.parent.relative_to(files.folder).as_posix()
        part = pd.concat(parts, ignore_index=True).assign(**file.fill)
        if file.of:
            names = [path.name for path, rows in zip(paths, parts, strict=True) for _ in rows.index]
            _check_owner(part, names, file, facts.pattern)
        table = part if table is None else _join(table, part[gives], file, facts.pattern, notes)
    if table is None:
        raise FileNotFoundError(f"{' or '.join(file.file for file in facts.files)} is missing")
    return table


def _join(table, part, file, pattern, notes):
    """The table with the columns of another file: the later file's texts hold, numbers must
    agree.
    """
    if "image" in part and "image" in table:
        keys = _named_group(pattern, table.image, file.by)
        part_keys = _named_group(pattern, part.image, file.by)
        if part_keys.duplicated().any():
            twice = part_keys[part_keys.duplicated()].iloc[0]
            raise ValueError(f"{file.file} lists {twice} twice; keep one row an image")
        strangers = part.image[~part_keys.isin(keys)]
        note = (
            f"{len(strangers)} of {len(part)} images of {file.file} are in no label file before "
            f"it: {', '.join(strangers[:3])}"
        )
        # a list of originals may name many of which nothing is here
        if len(strangers) > len(part) / 2 and file.by == "image":
            raise ValueError(f"{note}; is it the file of another set?")
        if len(strangers):
            notes.append(note)
        lacking = table.image[~keys.isin(part_keys)]
        if len(lacking) and not file.fill:  # a file that fills in lists but one part
            notes.append(
                f"{file.file} lacks {len(lacking)} of {len(table)} images: {', '.join(lacking[:3])}"
            )
        part = part.drop(columns="image").set_index(part_keys).reindex(keys)
        part = part.fillna("").reset_index(drop=True)
    elif len(part) != len(table):
        raise ValueError(
            f"{file.file} has {len(part)} rows, those before it {len(table)}; they belong together "
            f"row by row"
        )
    for column in part:
        if column in table:
            check_agreement(table, column, part[column], file.file)
        table[column] = first_filled(part[column], filled_up(table, column, ""), column, notes)
    return table


def first_filled(first, second, column, notes):
    """The first texts, the second where these are empty; a note where both are there and differ."""
    are_numbers = pd.Series(True, first.index)  # of which `check_agreement` takes care
    for texts in (first, second):
        are_numbers &= pd.to_numeric(texts, errors="coerce").notna()
    apart = (first != "") & (second != "") & (first != second) & ~are_numbers
    if apart.any():
        notes.append(
            f"{column} is told twice and differs for {apart.sum()} of {len(apart)} images: "
            f"{first[apart].iloc[0]} is taken, not {second[apart].iloc[0]}"
        )
    return first.where(first != "", second)


def check_agreement(table, column, others, source):
    """ValueError where two sources differ in a column by more than `AGREE` of its range."""
    first = pd.to_numeric(table[column], errors="coerce")
    second = pd.to_numeric(others, errors="coerce")
    far = (first - second).abs()
    wrong = far > AGREE * (first.max() - first.min())
    if wrong.any():
        row = far.idxmax()
        raise ValueError(
            f"{source} says that {column} of {table.image[row]} is {others[row]}, not "
            f"{table[column][row]}, and differs for {wrong.sum()} of {len(table)} images: labels "
            f"joined to the wrong images?"
        )


def _check_owner(part, names, file, pattern):
    """ValueError where an image belongs to another original than the file that lists it; `names`:
    the file's, for each row.
    """
    before, _, after = posixpath.basename(file.file).partition("*")
    owners = [name[len(before) : len(name) - len(after)].lower() for name in names]
    found = _named_group(pattern, part.image, file.of)
    wrong = found.notna() & (found.str.lower() != pd.Series(owners, part.index))
    if wrong.any():
        row = wrong.idxmax()
        raise ValueError(
            f"{names[row]} lists {part.image[row]}, an image of {found[row]} ({wrong.sum()} such "
            f"rows); fetch it again, or move the rows into the file of {found[row]}"
        )


def named_groups(pattern, images):
    """The named groups of a regular expression in file names; NaN where it is not found, a content
    in lower case.
    """
    pattern = re.compile(pattern, re.IGNORECASE)
    numbers = pattern.groupindex.values()
    lacking = (np.nan,) * len(numbers)
    rows = []
    for match in map(pattern.search, images):
        rows.append([match[number] or "" for number in numbers] if match else lacking)
    found = pd.DataFrame(rows, images.index, columns=[*pattern.groupindex], dtype=object)
    if "content" in found:
        found["content"] = found.content.str.lower()
    return found


def _named_group(pattern, images, name):
    """One group as of `named_groups`, or the images themselves where the pattern has no such."""
    pattern = re.compile(pattern, re.IGNORECASE)
    if name not in pattern.groupindex:
        return images
    matches = map(pattern.search, images)
    found = [match[name] or "" if match else np.nan for match in matches]
    found = pd.Series(found, images.index, dtype=object)
    return found.str.lower() if name == "content" else found


def filled_up(table, column, value):
    """The column, or what to take where it is empty or there is none."""
    filled = table[column].fillna("") if column in table else pd.Series("", table.index)
    return filled.where(filled != "", value)
