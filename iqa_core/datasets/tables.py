"""From label files to a set's table, as its description tells.

The steps: files joined by image or by row, what file names tell, codes to words, the label (DMOS
turned round, range checked), the paths, the official split.
"""

import math
import os
import posixpath
import re
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd

from .description import Description
from .joining import check_agreement, filled_up, first_filled, joined, named_groups
from .readers import CONTRACT, NUMBERS, Files, above, number_with

PARTS = {  # how files name the parts of a split
    "training": "train",
    "train": "train",
    "validation": "val",
    "val": "val",
    "testing": "test",
    "test": "test",
    "": "",
}
GROUPED = r"[+-]?\d{1,3}(?:[.,]\d{3})+[.,]\d+"  # 1.234,5 and 1,234.5


def build_table(
    facts: Description, files: Files, *, root: Path, name: str, label: str
) -> pd.DataFrame:
    """The table of a described set, without labels where `label` is empty or no file gives any.

    No row is dropped but those that the description leaves out, and these are noted.
    `table.attrs`: `notes` lists in sentences what was noticed on the way, `left_out` the images of
    the rows left out.

    FileNotFoundError for an absent label file; ValueError for a file or a row that is wrong, naming
    it.
    """
    notes = []
    table = joined(facts, files, notes)
    table = _counted(table, facts, name)
    table = _named(table, facts, name, notes)
    places = _placed(table, facts, files, root, name, notes)
    kept = _kept(table, facts, name, notes)
    left_out = [*places.image[~kept]]
    table, places = table[kept].reset_index(drop=True), places[kept].reset_index(drop=True)
    if label and facts.files:
        _vote(table, facts, name)
        _average(table, facts, name)
        kept = _with_label(table, facts, label, name, notes)
        left_out += [*places.image[~kept]]
        table, places = table[kept].reset_index(drop=True), places[kept].reset_index(drop=True)
        table = _labelled(table, facts, label, name, notes)
        table["label_kind"] = filled_up(table, "label_kind", facts.label_kind)
    else:
        unread = [] if label else [c for c in table if re.fullmatch(NUMBERS, c)]
        table = table.drop(columns=unread).assign(label=np.nan, label_kind="")
    table = table.assign(**places)
    unwanted = [group for group in re.compile(facts.pattern).groupindex if group.startswith("_")]
    table = table.drop(columns=unwanted)
    further = [column for column in table if column not in CONTRACT]
    for column in further:  # kept: as numbers where all are, else as text
        values = pd.to_numeric(table[column], errors="coerce")
        all_numbers = (values.notna() | (table[column] == "")).all()
        if all_numbers and not re.fullmatch(NUMBERS, column):
            table[column] = values
    table = _split(table, facts, name)
    further = [column for column in table if column not in CONTRACT]
    table = table.reindex(columns=[*CONTRACT, *further])
    texts = ["distortion", "content", "reference", "distortion2"]
    table[texts] = table[texts].astype(str)
    for column in ("reference", "distortion", "distortion2"):
        table[column] = table[column].where(table[column] != "", np.nan)
    table.attrs.update(notes=notes, left_out=left_out)
    return table


def numbers(table: pd.DataFrame, column: str, name: str, *, empty: bool) -> pd.Series:
    """A column as finite numbers, NaN for what is `empty`, if that may be; ValueError naming the
    first row that is wrong.
    """
    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    wrong = ~np.isfinite(values) & ~((table[column].isna() | (table[column] == "")) & empty)
    if wrong.any():
        row = table[wrong].iloc[0]
        texts = table[column][wrong].astype(str)
        value = "empty" if row[column] == "" else row[column]
        fault = f"{name}: {column} of {row.image} is {value}, not a number"
        if texts.str.fullmatch(GROUPED).any():
            fault += " (marks between thousands: leave them out of all numbers of the column)"
        elif texts.str.fullmatch(number_with(",")).any():
            fault += (
                " (for decimal commas: `decimal: ','` in the file's entry of set.yaml, as `files: "
                "[{file: labels.csv, decimal: ','}]`)"
            )
        others = f" ({wrong.sum()} such rows)" if wrong.sum() > 1 else ""
        raise ValueError(f"{fault}; mend or drop its row{others}")
    return values


def _counted(table, facts, name):
    if not facts.counted:
        return table
    total = sum(facts.counted.values())
    if len(table) != total:
        raise ValueError(
            f"{name} has {len(table)} rows, not {total}: is it the label file of another release?"
        )
    distortions, numbers_within = [], []
    for distortion, count in facts.counted.items():
        distortions += [distortion] * count
        numbers_within += [str(number) for number in range(1, count + 1)]
    return table.assign(distortion=distortions, number=numbers_within)


def _kept(table, facts, name, notes):
    kept = pd.Series(True, table.index)
    _need(facts.leave_out, table, name, "leave_out")
    for column, pattern in facts.leave_out.items():
        out = table[column].str.fullmatch(pattern)
        if out.any():
            notes.append(f"{out.sum()} rows are left out, their {column} is {pattern}")
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


def _named(table, facts, name, notes):
    """What file names tell, and codes in words."""
    if facts.pattern:
        groups = named_groups(facts.pattern, table.image)
        silent = groups.isna().all(axis=1)
        if silent.any():
            raise ValueError(
                f"{name}: {table.image[silent].iloc[0]} is not named as {facts.pattern}, nor are "
                f"{silent.sum() - 1} others; are they images of another set?"
            )
        table = table.assign(**groups)
    for new, rules in facts.codes.items():
        for source, words in rules.items():
            if source not in table and any(source in file.columns for file in facts.files):
                continue  # of an optional file
            _need([source], table, name, f"codes of {new}")
            by_code = {code.lower(): word for code, word in words.items()}
            mapped = table[source].str.lower().map({"": "", **by_code})
            if mapped.isna().any():
                row = mapped.isna().idxmax()
                where = table.image[row] if "image" in table else f"row {row + 1}"
                raise ValueError(
                    f"{name}: {source} of {where} is {table[source][row]}; known are "
                    f"{', '.join(words)}"
                )
            table[new] = first_filled(filled_up(table, new, ""), mapped, new, notes)
    if "image" in table:
        return table
    return table.assign(image=_written(facts.images[0], table, name))


def _vote(table, facts, name):
    """The mean vote where no file gives it, else a look at whether they agree; the SD is the
    sample's, over n - 1.
    """
    columns = sorted((c for c in table if re.fullmatch(r"c\d+", c)), key=lambda c: int(c[1:]))
    if not facts.votes or not columns:
        return
    counts = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    values = np.arange(1, len(columns) + 1)
    with np.errstate(all="ignore"):
        n = counts.sum(axis=1)
        mean = counts @ values / n
        spread = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / (n - 1))
    if facts.votes in table:
        check_agreement(table, facts.votes, pd.Series(mean), f"{name}: the mean vote")
    std = facts.choices()[facts.votes].std
    table[facts.votes] = table.get(facts.votes, mean)
    if std not in table and (n > 1.5).all():  # counts, not shares
        table[std] = spread


def _averaged(facts):
    """Names of the labels that are means, and of the columns that they are means of."""
    means = [[label, *chosen.mean_of] for label, chosen in facts.choices().items()]
    return {column for mean in means if len(mean) > 1 for column in mean}


def _average(table, facts, name):
    """The labels that are means of columns, NaN where one of these is empty."""
    choices = facts.choices()
    for column in sorted(_averaged(facts) & {*table}):
        table[column] = numbers(table, column, name, empty=True)
        if column in choices:
            _check_range(table, table[column], column, choices[column], name, notes=[])
    for label, chosen in choices.items():
        if not chosen.mean_of:
            continue
        _need(chosen.mean_of, table, name, f"the mean {label}")
        mean = table[chosen.mean_of].mean(axis=1, skipna=False)
        if label in table:
            check_agreement(table, label, mean, f"{name}: the mean of {', '.join(chosen.mean_of)}")
        table[label] = mean


def _with_label(table, facts, label, name, notes):
    """Which rows have the label, where some may lack it; all of them where none may."""
    kept = pd.Series(True, table.index)
    if not facts.choices()[label].gaps or label not in table:
        return kept
    kept = table[label].notna() & (table[label] != "")
    if not kept.any():
        raise ValueError(
            f"{name}: none of {len(table)} rows has the label {label}; there is "
            f"{', '.join(facts.choices())}"
        )
    if not kept.all():
        some = ", ".join(table.image[~kept][:3])
        notes.append(
            f"{(~kept).sum()} of {len(table)} rows are left out, they have no {label}: {some}"
        )
    return kept


def _labelled(table, facts, label, name, notes):
    chosen = facts.choices()[label]
    if label not in table:
        wanted = " or ".join(file.file for file in facts.files if label in file.columns)
        raise FileNotFoundError(
            f"{wanted or 'a label file with it'}, which gives the label {label}, is missing"
        )
    spare = {"label", "label_std"} - {label, chosen.std}
    table = table.drop(columns=[column for column in spare if column in table])
    if label in _averaged(facts):  # the others are chosen among later
        table["label"] = table[label]
    table = table.rename(columns={label: "label"} if "label" not in table else {})
    table = table.rename(columns={chosen.std: "label_std"})
    values = numbers(table, "label", name, empty=False)
    _check_range(table, values, "label", chosen, name, notes)
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


def _check_range(table, values, column, chosen, name, notes):
    """ValueError where more than the known share of a label's values lie outside its scale; a note
    on those that may. NaN lies nowhere.
    """
    if chosen.low is None or chosen.high is None:
        return
    slack = 1e-6 * (chosen.high - chosen.low)
    out = (values < chosen.low - slack) | (values > chosen.high + slack)
    scale = f"{chosen.low:g} to {chosen.high:g} {chosen.units}".rstrip()
    note = f"{out.sum()} of {len(table)} labels lie outside {scale}"
    if out.mean() > chosen.outside:
        share = math.ceil(100 * out.mean()) / 100
        raise ValueError(
            f"{name}: {column} of {table.image[out].iloc[0]} is {values[out].iloc[0]:g}; {note}: "
            f"another column, or another scale? All run from {values.min():g} to "
            f"{values.max():g}; low and high are the scale's ends, `outside: {share:g}` lets "
            f"as many lie beyond"
        )
    if chosen.outside:
        notes.append(f"{note}; they run from {values.min():g} to {values.max():g}")


def _split(table, facts, name):
    named = filled_up(table, "official_split", "")
    parts = named.str.lower().map(PARTS)
    if parts.isna().any():
        row = parts.isna().idxmax()
        raise ValueError(
            f"{name}: {table.image[row]} is put into {named[row]}; allowed are train, val, test or "
            f"nothing"
        )
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
    absolute, resolved = files.folder.absolute().as_posix(), files.folder.resolve().as_posix()
    starts = [f"{absolute}/", f"{resolved}/", f"{folder}/"]
    table = table.assign(image=_plain(table.image, starts, name))
    if (table.image == "").any():
        raise ValueError(
            f"{name}: row {(table.image == '').idxmax() + 1} names no image; write its file name "
            f"or drop the row"
        )
    under = "" if facts.images[0].startswith("./") else None
    choices = [_plain(_written(template, table, name), starts, name) for template in facts.images]
    images = _located(choices, files, under, facts, name, notes)
    if facts.reference:
        wanted = _written(facts.reference, table, name)
    else:
        wanted = filled_up(table, "reference", "")
    wanted = _plain(wanted, starts, name)
    located = files.locate(wanted, under=under)
    reference = pd.Series([found or path for found, path in zip(located, wanted, strict=True)])
    if facts.content:
        table["content"] = _written(facts.content, table, name)
    content = filled_up(table, "content", reference.where(reference != "", table.image))

    def in_project(paths):
        return [path and posixpath.normpath(f"{folder}/{path}") for path in paths]

    placed = {"image": in_project(images), "reference": in_project(reference), "content": content}
    return pd.DataFrame(placed)


def _plain(paths, starts, name):
    """Paths as a file tells them, with slashes, relative to the set's folder, which they may name
    at their start.
    """
    paths = [posixpath.normpath(path.replace("\\", "/")) if path else "" for path in paths]
    for start in starts:
        paths = [path.removeprefix(start) for path in paths]
    out = [path for path in paths if re.match(r"\.\.?$|/|\.\./|[A-Za-z]:/", path)]
    if out:
        raise ValueError(
            f"{name}: {out[0]} lies outside {starts[-1][:-1]}; link its folder into it, write "
            f"paths from there"
        )
    return paths


def _located(choices, files, under, facts, name, notes):
    """Of the lists of wanted paths the one of which most are there, each as it is there, else as
    wanted.
    """
    most = -1
    for paths in choices:
        places = files.locate(paths, under=under)
        count = sum(place is not None for place in places)
        if count > most:
            most, wanted, found = count, paths, places
        if count == len(paths):
            break
    pairs = list(zip(found, wanted, strict=True))
    starts = sorted({above(place, path) or "." for place, path in pairs if place})
    if len(starts) > 1:
        notes.append(f"images lie in {len(starts)} folders: {', '.join(starts[:4])}")
    others = [] if most or facts.folder else files.pictures()
    if others and len(others) >= len(wanted) / 2:
        raise ValueError(
            f"{name}: none of {len(wanted)} images is in {files.folder}, as "
            f"{', '.join(wanted[:3])}; {len(others)} others are, as {', '.join(others[:3])}: "
            f"labels of another set, or `images` to be written as these are, with {{image}}?"
        )
    return [place or path for place, path in pairs]
