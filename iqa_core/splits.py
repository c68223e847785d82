"""Splits: which images train, validate and test. No content ever crosses; a split is a file, and
its hash goes with results.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .files import file_hash
from .hints import nearest

PARTS = ("train", "val", "test")
# of PIPAL's 89 types in groups 00 to 05, as many a group train CKDN and 39 validate it; only the
# counts are published
CKDN_TYPES = {"00": 6, "01": 9, "02": 10, "03": 11, "04": 5, "05": 9}


def make_split(table: pd.DataFrame, scheme: str) -> pd.DataFrame:
    """The split of a table by a named scheme: columns image, split in {train, val, test}, rows in
    the table's order.

    scheme   also the file's ending, data/splits/<set>-<scheme>.csv; `list_schemes` tells them all

    What a scheme sends to no part is absent. Contents (images, where the table names no content)
    are never divided; seeds permute the sorted contents, so that the order of rows does not matter.

    Errors: ValueError for an unknown scheme, a table that lacks what the scheme needs, or too few
    contents to fill three parts.
    """
    make, fields = _scheme(scheme)
    table = table.reset_index(drop=True)
    contents = table.image
    if "content" in table:
        contents = table.content.where(table.content.notna(), table.image)
    part = make(table.assign(content=contents.astype(str)), **fields)
    split = pd.DataFrame({"image": table.image, "split": part}).dropna()
    part_of(split, table, name=f"split {scheme}", divide=False)
    return split


def _scheme(name):
    """The function behind a scheme, and what its name says: k=1 for rotation1."""
    for written, make in SCHEMES.items():
        pattern = re.sub("<(seed|k|n)>", r"(?P<\1>\\d+)", written)
        pattern = re.sub("<(distortion|first|last)>", r"(?P<\1>.+)", pattern)
        match = re.fullmatch(pattern, name)
        if match:
            fields = match.groupdict()
            for field in fields.keys() & {"seed", "k", "n"}:
                fields[field] = int(fields[field])
            return make, fields
    hint = nearest(name, SCHEMES, cutoff=0.5) or "."
    raise ValueError(f"no split scheme {name!r}{hint} There are {', '.join(SCHEMES)}")


def check_scheme(name: str) -> dict[str, object]:
    """What a scheme's name says: {"k": 1} for rotation1; ValueError for an unknown scheme, and for
    a rotation that there is not.
    """
    _, fields = _scheme(name)
    if "k" in fields:
        _check_rotation(**fields)
    return fields


def list_schemes() -> dict[str, str]:
    """How each scheme is written, with <fields> to fill in, and what it does."""
    return {written: " ".join(make.__doc__.split()) for written, make in SCHEMES.items()}


def _rotation(table, k, n=4):
    """Part k of n (4 unless said) tests; all n together test every content once; val is 4 contents
    (of fewer than 16 others a quarter), or a tenth of the others where that is more.
    """
    _check_rotation(k, n)
    reference = table.reindex(columns=["reference"]).reference.replace("", None)
    names = table.content if reference.isna().any() else reference.map(lambda path: Path(path).name)
    names = dict(zip(table.content, names, strict=True))
    # Contents stand in the order of the sha256 of their reference's file name (else their own) and
    # are dealt into near-equal parts; val is what was dealt next, the first of part k + 1.
    order = sorted(
        names, key=lambda content: (hashlib.sha256(names[content].encode()).hexdigest(), content)
    )
    others = len(order) * (n - 1) // n
    val = max(min(4, max(1, others // 4)), round(len(order) * (n - 1) / n / 10))
    if len(order) < n + val + 1:
        raise ValueError(
            f"{len(order)} contents are too few for {n} parts with {val} to validate on; add "
            f"contents"
        )
    dealt = [order[start::n] for start in range(n)]
    after = [content for step in range(1, n) for content in dealt[(k - 1 + step) % n]]
    place = dict.fromkeys(dealt[k - 1], "test")
    place |= dict.fromkeys(after[:val], "val")
    place |= dict.fromkeys(after[val:], "train")
    return table.content.map(place)


def _check_rotation(k, n=4):
    if not 1 <= k <= n:
        raise ValueError(f"rotation is {k}; it runs from 1 to {n}")


def _random80(table, seed):
    """80/20 by content, as HyperIQA and most papers (who choose on test); val is a tenth of the
    training contents.
    """
    return _random(table, seed, val=0.08)


def _random70(table, seed):
    """70/10/20 by content, as ARNIQA and LIQE; the test part is that of random80 with the same
    seed.
    """
    return _random(table, seed, val=0.1)


def _random(table, seed, *, val, test=0.2):
    order = np.random.default_rng(seed).permutation(sorted(table.content.unique()))
    first_test = round((1 - test) * len(order))
    first_val = first_test - max(1, round(val * len(order)))
    place = dict.fromkeys(order[:first_val], "train")
    place |= dict.fromkeys(order[first_val:first_test], "val")
    place |= dict.fromkeys(order[first_test:], "test")
    return table.content.map(place)


def _official(table, column="official_split"):
    """The publisher's parts, from column official_split; without a val, a seeded tenth of the
    training contents becomes it.
    """
    part = pd.Series(pd.NA, table.index)
    if column in table:
        part = table[column].where(table[column].isin(PARTS))
    if not {"train", "test"} <= set(part):
        raise ValueError(
            f"the table's column {column} names no train and test images; use random80-<seed> or "
            f"rotation<k>"
        )
    if "val" not in set(part):
        within = _random(table[part == "train"], 0, val=0.1, test=0)
        part = part.mask(part == "train", within)
    return part


def _qalign(table):
    """KonIQ-10k's 7,046 / 2,010 of Q-Align, DeQA and SMART-IQA, from column qalign_split; val as
    under official.
    """
    return _official(table, "qalign_split")


def _contents(table, first, last):
    """The contents from one name to another, in the order of names whatever their letter case,
    test; val is a seeded tenth of the others. contents-I66-I81 are the 2,000 images of KADID-10k
    that SMART-IQA's reports test.
    """
    names = table.content.str.casefold()
    known = sorted(table.content.unique(), key=str.casefold)
    for name in (first, last):
        if name.casefold() not in set(names):
            hint = nearest(name, known) or "."
            raise ValueError(f"no content {name!r}{hint} There are {known[0]} to {known[-1]}")
    test = names.between(first.casefold(), last.casefold())
    return _random(table[~test], 0, val=0.1, test=0).reindex(table.index, fill_value="test")


def _ckdn(table, seed):
    """PIPAL by type and content, as CKDN: 25 contents x 39 types test, a tenth of the other
    contents x the same 39 types are val, the rest x 50 types train; group 06 is out. The seed draws
    the types, as many a group as published."""
    names = table.image.str.extract(r"_(\d\d)_(\d\d)\.\w+$")
    alien = names.isna().any(axis=1)
    if alien.any():
        raise ValueError(
            f"ckdn splits PIPAL, with images like A0001_03_07.bmp, not {table.image[alien].iloc[0]}"
        )
    generator = np.random.default_rng(seed)
    trained = set()
    for group, count in CKDN_TYPES.items():
        types = generator.permutation(sorted(names[1][names[0] == group].unique()))
        trained |= {(group, kind) for kind in types[:count]}
    part = _random(table, seed, val=0.0875, test=0.125)  # 157, 18, 25 of 200 contents
    seen = [pair in trained for pair in zip(names[0], names[1], strict=True)]
    seen = pd.Series(seen, table.index)
    return part.where((part == "train") == seen).where(names[0].isin(list(CKDN_TYPES)))


def _leave_out(table, distortion, seed=0):
    """Train and val: all other distortions; test: this one, first or second. Contents as random80,
    by seed 0 unless said.
    """
    kinds = table.reindex(columns=["distortion", "distortion2"]).astype("string")
    left_out = kinds.eq(distortion).fillna(False).any(axis=1)
    if not left_out.any():
        known = sorted(set(kinds.distortion.dropna()) - {""}) or ["none"]
        raise ValueError(
            f"no distortion {distortion!r} to leave out; the table has {', '.join(known)}"
        )
    part = _random80(table, seed)
    return part.where(left_out == (part == "test"))


SCHEMES = {
    "official": _official,
    "rotation<k>": _rotation,
    "rotation<k>of<n>": _rotation,
    "random80-<seed>": _random80,
    "random70-<seed>": _random70,
    "qalign": _qalign,
    "contents-<first>-<last>": _contents,
    "ckdn-<seed>": _ckdn,
    "leave-<distortion>-out": _leave_out,
    "leave-<distortion>-out-<seed>": _leave_out,
}


def save_split(split: pd.DataFrame, path: Path) -> str:
    """Write a split file and return its hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    split[["image", "split"]].to_csv(path, index=False, lineterminator="\n")
    return file_hash(path)


def load_split(path: Path, table: pd.DataFrame) -> pd.Series:
    """The part of every row of `table` (train, val, test; NaN where the split leaves an image out),
    by the split file.

    FileNotFoundError naming how to make it; ValueError if it names an image that the table lacks,
    another part than the three, an image twice, leaves a part empty, or divides a content."""
    if not Path(path).exists():
        raise FileNotFoundError(f"split {path} is missing; notebook 01_prepare_data writes it")
    split = pd.read_csv(path)
    missing = [column for column in ("image", "split") if column not in split]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; a split has image and split")
    return part_of(split, table, name=path, divide=False)


def part_of(
    split: pd.DataFrame, table: pd.DataFrame, *, name: object = "the split", divide: bool = True
) -> pd.Series:
    """The part of every row of `table` by a split (image, split), as `load_split`; a divided
    content is an error on request.
    """
    strangers = sorted(set(split.image) - set(table.image))
    if strangers:
        raise ValueError(
            f"{name} names {name_some(strangers)}, which the table lacks; remake the split or mend "
            f"the table"
        )
    twice = sorted(split.image[split.image.duplicated()])
    if twice:
        raise ValueError(f"{name} names {name_some(twice)} more than once; keep one row an image")
    wrong = sorted(set(split.split.astype(str)) - set(PARTS))
    if wrong:
        raise ValueError(f"{name} has parts {name_some(wrong)}; allowed are {', '.join(PARTS)}")
    empty = [part for part in PARTS if part not in set(split.split)]
    if empty:
        raise ValueError(f"{name} has no {', '.join(empty)} images; give each part at least one")
    part = table.image.map(split.set_index("image").split)
    crossing = []
    if not divide and "content" in table:
        crossing = crossing_contents(table, part)
    if crossing:
        raise ValueError(
            f"{name} divides {name_some(crossing)} between parts; keep all images of a content "
            f"together"
        )
    return part


def crossing_contents(table: pd.DataFrame, split: pd.Series) -> list[str]:
    """Contents that stand in more than one part."""
    parts = split.groupby(table.content.values).nunique()
    return sorted(parts.index[parts > 1])


def count_parts(table: pd.DataFrame, split: pd.Series) -> dict[str, str]:
    """How many images of how many contents each part holds, as text: "336 of 7"."""
    counts = {}
    for part in PARTS:
        rows = table[split == part]
        counts[part] = f"{len(rows)} of {rows.content.nunique()}"
    return counts


def name_some(names: Sequence[str]) -> str:
    """The first three of some names and how many more there are, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more
