"""Label files as text: delimited, .xlsx, .mat and .json, found where archives and mirrors put them.

Nothing is converted or dropped here, so that whatever is wrong later can be named as it stands in
the file."""

import csv
import fnmatch
import io
import json
import os
import posixpath
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ..hints import nearest
from .description import LabelFile

CONTRACT = [
    "image",
    "label",
    "label_kind",
    "label_std",
    "reference",
    "distortion",
    "level",
    "distortion2",
    "level2",
    "content",
]
CONTRACT += ["official_split"]
NUMBERS = r"label_std|label\d*|level2?"  # columns that hold numbers, whatever the set
PICTURES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
    ".gif",
    ".jp2",
    ".ppm",
    ".pgm",
}


class Files:
    """The files under a folder, found by the end of their path: archives nest, mirrors change
    letter case.
    """

    def __init__(self, folder: Path):
        self.folder, self.paths, self.ends, seen = (
            folder,
            [],
            {},
            set(),
        )  # ends: end of a path in lower case, all that have it
        for base, folders, names in os.walk(folder, followlinks=True):
            again = (real := os.path.realpath(base)) in seen  # a link that leads back
            seen.add(real)
            folders[:] = (
                [] if again else [f for f in folders if not f.startswith((".", "__MACOSX"))]
            )
            inside = Path(base).relative_to(folder)
            self.paths += [
                (inside / name).as_posix()
                for name in names
                if not again and not name.startswith(".")
            ]
        for path in self.paths:
            parts = path.lower().split("/")
            for k in range(len(parts)):
                self.ends.setdefault("/".join(parts[k:]), []).append(path)

    def pictures(self) -> list[str]:
        """Paths of all image files, sorted."""
        return sorted(
            path for path in self.paths if posixpath.splitext(path)[1].lower() in PICTURES
        )

    def find(self, wanted: str, *, under: str | None = None) -> str | None:
        """The least nested path that ends in `wanted`, None without one; ValueError where two are
        equally near.

        `under`: the folder that `wanted` is to begin at, "" for the set's own.
        """
        ends = [
            p
            for p in self.ends.get(wanted.lower(), [])
            if under is None or above(p, wanted) == under
        ]
        far = {p: (not f"/{p}".endswith(f"/{wanted}"), p.count("/")) for p in ends}
        first, *others = sorted(ends, key=lambda p: (far[p], p)) or [None]
        if others and far[others[0]] == far[first]:
            told = f"{wanted} may be {first} or {others[0]} in {self.folder}"
            raise ValueError(
                f"{told}; keep one of them, or tell its folder in `images: [folder/{{image}}]`"
            )
        return first

    def locate(self, wanted: list[str], *, under: str | None = None) -> list[str | None]:
        """`find` for all files of a set: they begin at one folder, or at several that hold nothing
        of each other.

        So no thumbnail stands in for an absent image: of folders that share files one counts, that
        which most were found under."""
        found = {path: self.find(path, under=under) for path in wanted}
        starts = Counter(above(place, path) for path, place in found.items() if place)
        places = (
            {above(place, path) for place in self.ends.get(path.lower(), [])} for path in found
        )
        if len(starts) > 1 and any(len(folders & {*starts}) > 1 for folders in places):
            return self.locate(
                wanted, under=max(starts, key=lambda folder: (starts[folder], -len(folder)))
            )
        return [found[path] for path in wanted]

    def match(self, pattern: str) -> list[Path]:
        """The one file, or for a pattern with * all that match in the least nested folder that has
        any.
        """
        if "*" not in pattern:
            return [self.folder / found] if (found := self.find(pattern)) else []
        fits = [
            p for p in self.paths if fnmatch.fnmatchcase(f"/{p}".lower(), f"*/{pattern}".lower())
        ]
        nearest = min(map(posixpath.dirname, fits), key=lambda f: (f.count("/"), f), default="")
        return [self.folder / p for p in sorted(fits) if posixpath.dirname(p) == nearest]


def above(place: str, wanted: str) -> str:
    """The folder at which `wanted` begins, where it lies at `place`."""
    return "/".join(place.split("/")[: -wanted.count("/") - 1])


def read_labels(path: Path, file: LabelFile) -> pd.DataFrame:
    """A label file as text, its columns under our names, the further ones of a file with a header
    under theirs.

    The header is the first row that names all wanted columns. ValueError for a file that cannot be
    read, lacks a column or has it twice, holds no rows, or has a row of another length; all are
    named."""
    rows_of = {".xlsx": _excel, ".mat": _matlab, ".json": _json}.get(
        path.suffix.lower(), _delimited
    )
    try:
        rows = rows_of(path, file)
    except Exception as error:  # each library has its own for a damaged file
        raise ValueError(f"{path} cannot be read ({error}); mend it or fetch it again") from error
    for ours in [
        name for name in file.columns if name not in CONTRACT and not re.fullmatch(NUMBERS, name)
    ]:
        if hint := nearest(ours, CONTRACT, cutoff=0.8):
            raise KeyError(f"`columns` of {file.file}: {ours} is no column of ours{hint}")
    wanted = {ours: str(theirs).casefold() for ours, theirs in file.columns.items()}
    numbered = bool(wanted) and all(isinstance(theirs, int) for theirs in file.columns.values())
    start = next(
        (
            k
            for k, row in enumerate(rows)
            if {*wanted.values()} <= {cell.casefold() for cell in row}
        ),
        0,
    )
    header = (
        list(map(str, range(max(map(len, rows), default=0))))
        if numbered
        else rows[start]
        if rows
        else []
    )
    names = [cell or f"column{k}" for k, cell in enumerate(header)]
    rows = [row for row in rows[0 if numbered else start + 1 :] if any(row)]
    keys = [name.casefold() for name in names]
    wanted = wanted or _own_names(keys)
    if lacking := [key for key in wanted.values() if key not in keys]:
        told = f"{path} has no column {', '.join(lacking)}; it has {', '.join(names) or 'none'}"
        raise ValueError(
            f"{told}; mend the names in the file, or in the `columns` of a set.yaml beside it"
        )
    if len(set(keys)) < len(keys):
        raise ValueError(f"{path} has two columns of one name among {', '.join(names)}; rename one")
    if odd := [(k, row) for k, row in enumerate(rows, start=1) if len(row) != len(names)]:
        told = f"{path}: row {odd[0][0]} ({', '.join(odd[0][1])[:60]}) has {len(odd[0][1])} values, not {len(names)}"
        raise ValueError(f"{told}; quote a value that holds the delimiter ({len(odd)} such rows)")
    if not rows:
        raise ValueError(f"{path} holds no rows")
    data = pd.DataFrame(rows, columns=keys, dtype=object)
    spare = (
        []
        if numbered
        else [
            k for k, key in enumerate(keys) if key not in wanted.values() and names[k] not in wanted
        ]
    )
    others = {names[k]: data[keys[k]] for k in spare if header[k] or data[keys[k]].any()}
    return pd.DataFrame(others | {ours: data[key] for ours, key in wanted.items()})


def _own_names(keys):
    """Our columns in a file that has them under our names; `split` is short for official_split."""
    ours = {"image": "image", "label": "label"} | {
        key: key for key in keys if key in CONTRACT or re.fullmatch(NUMBERS, key)
    }
    return ours | (
        {"official_split": "split"} if "split" in keys and "official_split" not in keys else {}
    )


def _delimited(path, file):
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text: save it as CSV UTF-8") from None
    if file.delimiter == " ":
        return [line.split() for line in io.StringIO(text) if line.strip()]
    delimiter = file.delimiter or max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows = [row for row in ([cell.strip() for cell in row] for row in rows) if any(row)]
    if file.decimal != ".":
        number = re.compile(rf"(-?\d+){re.escape(file.decimal)}(\d+)")
        rows = [
            [number.sub(r"\1.\2", cell) if number.fullmatch(cell) else cell for cell in row]
            for row in rows
        ]
    return rows


def _excel(path, file):
    cells = pd.read_excel(path, sheet_name=file.sheet, header=None, dtype=object, engine="openpyxl")
    return [[_text(cell) for cell in row] for row in cells.itertuples(index=False)]


def _matlab(path, file):
    from scipy.io import loadmat  # half a second that most sets do not need

    data, names = loadmat(path), list(map(str, file.columns.values()))
    if missing := [name for name in names if name not in data]:
        raise ValueError(
            f"it has no {', '.join(missing)}, but {', '.join(key for key in data if key[0] != '_')}"
        )
    return [
        names,
        *map(
            list,
            zip(*([_text(cell) for cell in np.ravel(data[name])] for name in names), strict=True),
        ),
    ]


def _json(path, file):
    data = json.loads(path.read_text(encoding="utf-8-sig"))
    records = (
        [{"image": image, "label": label} for image, label in data.items()]
        if isinstance(data, dict)
        else data
    )
    names = list(dict.fromkeys(key for record in records for key in record))
    return [names, *([_text(record.get(name)) for name in names] for record in records)]


def _text(value):
    while isinstance(value, np.ndarray):  # a cell of a MATLAB cell array
        value = value.ravel()[0] if value.size else None
    if value is None or value != value:
        return ""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value).strip()
