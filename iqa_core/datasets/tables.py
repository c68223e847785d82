"""From label files to a set's table, as its description tells.

The steps: files joined by image or by row, what file names tell, codes to words, the label (DMOS
turned round, range checked), the paths, the official split."""

import os
import posixpath
import re
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd

from .description import Description
from .readers import CONTRACT, NUMBERS, Files, above, read_labels

PARTS = {"training": "train", "validation": "val", "testing": "test"} | {
    part: part for part in ("train", "val", "test", "")
}
AGREE = 0.01  # of a column's range: what two files, or votes and their mean, may differ by


def build_table(
    facts: Description, files: Files, *, root: Path, name: str, label: str
) -> pd.DataFrame:
    """The table of a described set, without labels where `label` is empty or no file gives any.

    `table.attrs`: `notes` lists in sentences what was noticed on the way, `left_out` the images of
    the rows left out. FileNotFoundError for an absent label file; ValueError for a file or a row
    that is wrong, naming it. No row is dropped but those that the description leaves out, and these
    are noted."""
    notes = []
    table = _told(_counted(_joined(facts, files, notes), facts, name), facts, name, notes)
    places, kept = _placed(table, facts, files, root, name, notes), _kept(table, facts, name, notes)
    table = table[kept].reset_index(drop=True)
    if label and facts.files:
        _vote(table, facts, name)
        table = _labelled(table, facts, label, name, notes)
        table["label_kind"] = _filled_up(table, "label_kind", facts.label_kind)
    else:
        unread = [] if label else [c for c in table if re.fullmatch(NUMBERS, c)]
        table = table.drop(columns=unread).assign(label=np.nan, label_kind="")
    table = table.assign(**places[kept].reset_index(drop=True))
    for column in [
        c for c in table if c not in CONTRACT and not re.fullmatch(NUMBERS, c)
    ]:  # numbers where all are
        values = pd.to_numeric(table[column], errors="coerce")
        table[column] = values if (values.notna() | (table[column] == "")).all() else table[column]
    table = _split(table, facts, name)
    table = table.reindex(columns=[*CONTRACT, *(c for c in table if c not in CONTRACT)])
    texts, absent = (
        ["distortion", "content", "reference", "distortion2"],
        ["reference", "distortion", "distortion2"],
    )
    table[texts] = table[texts].astype(str)
    table[absent] = table[absent].where(table[absent] != "", np.nan)
    table.attrs.update(notes=notes, left_out=[*places.image[~kept]])
    return table


def numbers(table: pd.DataFrame, column: str, name: str, *, empty: bool) -> pd.Series:
    """A column as finite numbers, NaN for what is `empty`, if that may be; ValueError naming the
    first row that is wrong.
    """
    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    wrong = ~np.isfinite(values) & ~((table[column].isna() | (table[column] == "")) & empty)
    if wrong.any():
        row = table[wrong].iloc[0]
        comma = re.fullmatch(r"-?\d+,\d+", str(row[column]))
        value = "empty" if row[column] == "" else row[column]
        fault = f"{name}: {column} of {row.image} is {value}, not a number"
        if comma:
            fault += " (if this is a decimal comma: `decimal: ','` in the file's entry of set.yaml)"
        others = f" ({wrong.sum()} such rows)" if wrong.sum() > 1 else ""
        raise ValueError(f"{fault}; mend or drop its row{others}")
    return values


def _filled_up(table, column, value):
    """The column, or what to take where it is empty or there is none."""
    given = table[column].fillna("") if column in table else pd.Series("", table.index)
    return given.where(given != "", value)


def _joined(facts, files, notes):
    if not facts.files:
        if not (pictures := files.pictures()):
            raise FileNotFoundError("an image file is missing")
        return pd.DataFrame({"image": pictures, "label": ""}, dtype=object)
    table = None
    for file in facts.files:
        gives = [*file.columns, *file.fill]
        if paths := files.match(file.file):
            part = pd.concat([read_labels(path, file) for path in paths], ignore_index=True).assign(
                **file.fill
            )
            table = part if table is None else _join(table, part[gives], file, facts.pattern, notes)
        elif not file.optional:
            raise FileNotFoundError(f"{file.file} is missing")
        else:
            notes.append(
                f"{file.file} is not there; it would give "
                f"{', '.join(c for c in gives if c != 'image')}"
            )
    if table is None:
        raise FileNotFoundError(f"{' or '.join(file.file for file in facts.files)} is missing")
    return table


def _join(table, part, file, pattern, notes):
    """The table with the columns of another file: the later file's texts hold, numbers must
    agree.
    """
    if "image" in part and "image" in table:
        keys, own = (
            _found(pattern, frame.image).get(file.by, frame.image) for frame in (table, part)
        )
        if own.duplicated().any():
            raise ValueError(
                f"{file.file} lists {own[own.duplicated()].iloc[0]} twice; keep one row an image"
            )
        strangers = part.image[~own.isin(keys)]
        note = (
            f"{len(strangers)} of {len(part)} images of {file.file} are in no label file before "
            f"it: {', '.join(strangers[:3])}"
        )
        if len(strangers) > len(part) / 2:
            raise ValueError(f"{note}; is it the file of another set?")
        if len(strangers):
            notes.append(note)
        lacking = table.image[~keys.isin(own)]
        if len(lacking) and not file.fill:  # a file that fills in lists but one part
            notes.append(
                f"{file.file} lacks {len(lacking)} of {len(table)} images: {', '.join(lacking[:3])}"
            )
        part = (
            part.drop(columns="image")
            .set_index(own)
            .reindex(keys)
            .fillna("")
            .reset_index(drop=True)
        )
    elif len(part) != len(table):
        raise ValueError(
            f"{file.file} has {len(part)} rows, those before it {len(table)}; they belong together "
            f"row by row"
        )
    for column in part:
        if column in table:
            _agree(table, column, part[column], file.file)
        table[column] = _first_told(part[column], _filled_up(table, column, ""), column, notes)
    return table


def _first_told(first, second, column, notes):
    """The first texts, the second where these are empty; a note where both are there and differ."""
    apart = (first != "") & (second != "") & (first != second)
    apart &= (
        pd.to_numeric(first, errors="coerce").isna() | pd.to_numeric(second, errors="coerce").isna()
    )  # numbers: `_agree`
    if apart.any():
        told = f"{column} is told twice and differs for {apart.sum()} of {len(apart)} images"
        notes.append(f"{told}: {first[apart].iloc[0]} is taken, not {second[apart].iloc[0]}")
    return first.where(first != "", second)


def _agree(table, column, others, source):
    first, second = (pd.to_numeric(values, errors="coerce") for values in (table[column], others))
    far = (first - second).abs()
    if (wrong := far > AGREE * (first.max() - first.min())).any():
        row = far.idxmax()
        raise ValueError(
            f"{source} says that {column} of {table.image[row]} is {others[row]}, not "
            f"{table[column][row]}, and differs for {wrong.sum()} of {len(table)} images: labels "
            f"joined to the wrong images?"
        )


def _counted(table, facts, name):
    if not facts.counted:
        return table
    kinds, rows = list(facts.counted), list(facts.counted.values())
    if len(table) != sum(rows):
        raise ValueError(
            f"{name} has {len(table)} rows, not {sum(rows)}: is it the label file of another "
            f"release?"
        )
    return table.assign(
        distortion=np.repeat(kinds, rows), number=[str(k + 1) for n in rows for k in range(n)]
    )


def _kept(table, facts, name, notes):
    kept = pd.Series(True, table.index)
    _need(facts.leave_out, table, name, "leave_out")
    for column, pattern in facts.leave_out.items():
        out = table[column].str.fullmatch(pattern)
        notes += (
            [f"{out.sum()} rows are left out, their {column} is {pattern}"] if out.any() else []
        )
        kept &= ~out
    if not kept.any():
        raise ValueError(
            f"{name}: leave_out {facts.leave_out} leaves none of {len(table)} rows; narrow it"
        )
    return kept


def _need(columns, table, name, use):
    if missing := [column for column in columns if column not in table]:
        raise KeyError(
            f"{name} has no column {', '.join(missing)} for {use}; it has {', '.join(table)}"
        )


def _written(template, table, name):
    fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    _need(fields, table, name, f"the path {template}")
    return [template.format(**row) for row in table[[*dict.fromkeys(fields)]].to_dict("records")]


def _found(pattern, images):
    """The named groups of a regular expression in file names; NaN where it is not found, a content
    in lower case.
    """
    groups = [re.search(pattern, image, re.IGNORECASE) for image in images]
    found = pd.DataFrame(
        [group.groupdict("") if group else {} for group in groups], images.index, dtype=object
    )
    return found.assign(content=found.content.str.lower()) if "content" in found else found


def _told(table, facts, name, notes):
    """What file names tell, and codes in words."""
    if facts.pattern:
        told = _found(facts.pattern, table.image)
        if (silent := told.isna().all(axis=1)).any():
            raise ValueError(
                f"{name}: {table.image[silent].iloc[0]} is not named as {facts.pattern}, nor are "
                f"{silent.sum() - 1} others; are they images of another set?"
            )
        table = table.assign(**told)
    for new, rules in facts.codes.items():
        for source, words in rules.items():
            if source not in table and any(source in file.columns for file in facts.files):
                continue  # of an optional file
            _need([source], table, name, f"codes of {new}")
            told = (
                table[source]
                .str.lower()
                .map({code.lower(): word for code, word in words.items()} | {"": ""})
            )
            if told.isna().any():
                row = told.isna().idxmax()
                where = table.image[row] if "image" in table else f"row {row + 1}"
                raise ValueError(
                    f"{name}: {source} of {where} is {table[source][row]}; known are "
                    f"{', '.join(words)}"
                )
            table[new] = _first_told(_filled_up(table, new, ""), told, new, notes)
    return table if "image" in table else table.assign(image=_written(facts.images[0], table, name))


def _vote(table, facts, name):
    """The mean vote where no file gives it, else a look at whether they agree; the SD is the
    sample's, over n - 1.
    """
    columns = sorted((c for c in table if re.fullmatch(r"c\d+", c)), key=lambda c: int(c[1:]))
    if not facts.votes or not columns:
        return
    counts, values = (
        table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float),
        np.arange(1, len(columns) + 1),
    )
    with np.errstate(all="ignore"):
        n = counts.sum(axis=1)
        mean = counts @ values / n
        spread = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / (n - 1))
    if facts.votes in table:
        _agree(table, facts.votes, pd.Series(mean), f"{name}: the mean vote")
    std = facts.choices()[facts.votes].std
    table[facts.votes] = table.get(facts.votes, mean)
    if std not in table and (n > 1.5).all():  # counts, not shares
        table[std] = spread


def _labelled(table, facts, label, name, notes):
    chosen = facts.choices()[label]
    if label not in table:
        wanted = " or ".join(file.file for file in facts.files if label in file.columns)
        raise FileNotFoundError(
            f"{wanted or 'a label file with it'}, which gives the label {label}, is missing"
        )
    spare = [c for c in ("label", "label_std") if c in table and c not in (label, chosen.std)]
    table = table.drop(columns=spare).rename(columns={label: "label", chosen.std: "label_std"})
    values = numbers(table, "label", name, empty=False)
    if chosen.low is not None and chosen.high is not None:
        slack = 1e-6 * (chosen.high - chosen.low)
        out = ~values.between(chosen.low - slack, chosen.high + slack)
        scale = f"{chosen.low:g} to {chosen.high:g} {chosen.units}".rstrip()
        told = f"{out.sum()} of {len(table)} labels lie outside {scale}"
        if out.mean() > chosen.outside:
            first = f"{name}: label of {table.image[out].iloc[0]} is {values[out].iloc[0]:g}"
            raise ValueError(
                f"{first}; {told}: another column, another scale, or DMOS read as MOS?"
            )
        notes += (
            [f"{told}; they run from {values.min():g} to {values.max():g}"]
            if chosen.outside
            else []
        )
    if not chosen.higher_is_better:
        if chosen.low is None or chosen.high is None:
            raise ValueError(
                f"{name}: higher_is_better: false needs low and high, the ends of the scale that "
                f"is turned round"
            )
        values = chosen.low + chosen.high - values
        notes.append(
            f"lower was better, so labels are turned round: label = {chosen.low:g} + "
            f"{chosen.high:g} - published"
        )
    return table.assign(label=values)


def _split(table, facts, name):
    given = _filled_up(table, "official_split", "")
    parts = given.str.lower().map(PARTS)
    if parts.isna().any():
        told = (
            f"{name}: {table.image[parts.isna()].iloc[0]} is put into {given[parts.isna()].iloc[0]}"
        )
        raise ValueError(f"{told}; allowed are train, val, test or nothing")
    if (parts != "").any():
        parts = parts.where(parts != "", facts.rest)
    if facts.subset_missing:
        missing = table.image.map(lambda image: Path(image).stem).isin(facts.subset_missing)
        table = table.assign(qalign_split=parts.where(~missing, ""))
    return table.assign(official_split=parts)


def _placed(table, facts, files, root, name, notes):
    """Image and reference relative to `root`, and the content: as told, else the reference, else
    the image itself.
    """
    folder = Path(os.path.relpath(files.folder.absolute(), root.absolute())).as_posix()
    starts = [
        f"{place.as_posix()}/" for place in (files.folder.absolute(), files.folder.resolve())
    ] + [f"{folder}/"]
    table = table.assign(image=_plain(table.image, starts, name))
    if (table.image == "").any():
        raise ValueError(
            f"{name}: row {(table.image == '').idxmax() + 1} names no image; write its file name "
            f"or drop the row"
        )
    under = "" if facts.images[0].startswith("./") else None
    choices = [_plain(_written(template, table, name), starts, name) for template in facts.images]
    images = _located(choices, files, under, facts, name, notes)
    wanted = (
        _written(facts.reference, table, name)
        if facts.reference
        else _filled_up(table, "reference", "")
    )
    wanted = _plain(wanted, starts, name)
    reference = pd.Series(
        [
            found or path
            for found, path in zip(files.locate(wanted, under=under), wanted, strict=True)
        ]
    )
    if facts.content:
        table["content"] = _written(facts.content, table, name)
    content = _filled_up(table, "content", reference.where(reference != "", table.image))
    placed = {"image": images, "reference": reference, "content": content}
    inside = {
        c: [path and posixpath.normpath(f"{folder}/{path}") for path in placed[c]]
        for c in ("image", "reference")
    }
    return pd.DataFrame(placed | inside)


def _plain(paths, starts, name):
    """Paths as a file tells them, with slashes, relative to the set's folder, which they may name
    at their start.
    """
    paths = [posixpath.normpath(path.replace("\\", "/")) if path else "" for path in paths]
    for start in starts:
        paths = [path.removeprefix(start) for path in paths]
    if out := [
        path for path in paths if path in (".", "..") or re.match(r"/|\.\./|[A-Za-z]:/", path)
    ]:
        raise ValueError(
            f"{name}: {out[0]} lies outside {starts[-1][:-1]}; link its folder into it, write "
            f"paths from there"
        )
    return paths


def _located(choices, files, under, facts, name, notes):
    """Of the lists of wanted paths the one of which most are there, each as it is there, else as
    wanted.
    """
    tried = []
    for wanted in choices:
        found = files.locate(wanted, under=under)
        tried.append((sum(path is not None for path in found), found, wanted))
        if tried[-1][0] == len(wanted):
            break
    count, found, wanted = max(tried, key=lambda choice: choice[0])
    starts = sorted(
        {above(place, path) or "." for place, path in zip(found, wanted, strict=True) if place}
    )
    notes += (
        [f"images lie in {len(starts)} folders: {', '.join(starts[:4])}"] if len(starts) > 1 else []
    )
    if (
        not count
        and not facts.folder
        and len(others := files.pictures()) >= max(len(wanted) / 2, 1)
    ):
        told = (
            f"{name}: none of {len(wanted)} images is in {files.folder}, as {', '.join(wanted[:3])}"
        )
        raise ValueError(
            f"{told}; {len(others)} others are, as {', '.join(others[:3])}: labels of another set?"
        )
    return [place or path for place, path in zip(found, wanted, strict=True)]
