"""Label files as text: delimited, .xlsx, .mat and .json, found where archives and mirrors put them.

Nothing is converted or dropped here, so that whatever is wrong later can be named as it stands in
the file.
"""

import csv
import fnmatch
import io
import json
import os
import posixpath
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ..hints import nearest
from ..pixels import ENDINGS, NOT_READ
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
    "official_split",
]
NUMBERS = (
    r"label_std|label\d*|level2?|background_level"  # columns that hold numbers, whatever the set
)


class Files:
    """The files under a folder, found by the end of their path: archives nest, mirrors change
    letter case, and systems write an accent as one character or as two.

    What is hidden counts as absent: names that begin with a dot, and __MACOSX of archives.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths = []
        # what was asked for, kept: a million files are not gone through twice for the same
        self._ends = {}  # number of names at the end of a path: these, as `_name` -> all such paths
        self._fits = {}  # pattern with *: the paths of `match`, and of `deeper`
        seen = set()
        for base, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(base)
            if real in seen:  # a link that leads back
                folders.clear()
                continue
            seen.add(real)
            folders[:] = [each for each in folders if not each.startswith((".", "__MACOSX"))]
            inside = Path(base).relative_to(folder)
            for name in names:
                if not name.startswith("."):
                    self.paths.append((inside / name).as_posix())

    def _ending_as(self, wanted):
        """All paths whose last names are those of `wanted`, as `_name` makes them."""
        wanted = _name(wanted)
        count = wanted.count("/") + 1
        if count not in self._ends:
            self._ends[count] = ends = {}
            for path in self.paths:
                names = _name(path).rsplit("/", count)
                if len(names) >= count:
                    ends.setdefault("/".join(names[-count:]), []).append(path)
        return self._ends[count].get(wanted, [])

    def pictures(self) -> list[str]:
        """Paths of all pictures of a kind that is read, by their endings, sorted."""
        return self._ending_in(ENDINGS)

    def not_read(self) -> list[str]:
        """Paths of all pictures of other kinds, sorted."""
        return self._ending_in(NOT_READ)

    def tell_not_read(self) -> str:
        """How many pictures of other kinds there are, and three of them; "" where there is none."""
        paths = self.not_read()
        if not paths:
            return ""
        return f"{len(paths)} pictures of kinds that are not read: {', '.join(paths[:3])}"

    def _ending_in(self, endings):
        return sorted(path for path in self.paths if posixpath.splitext(path)[1].lower() in endings)

    def find(self, wanted: str, *, under: str | None = None) -> str | None:
        """The least nested path that ends in `wanted`, None without one; ValueError where two are
        equally near.

        `under`: the folder that `wanted` is to begin at, "" for the set's own.
        """
        ends = self._ending_as(wanted)
        if under is not None:
            ends = [path for path in ends if above(path, wanted) == under]
        if not ends:
            return None

        def distance(path):
            """The same letter case first, then the least nested."""
            return not f"/{composed(path)}".endswith(f"/{composed(wanted)}"), path.count("/")

        first, *others = sorted(ends, key=lambda path: (distance(path), path))
        if others and distance(others[0]) == distance(first):
            raise ValueError(
                f"{wanted} may be {first} or {others[0]} in {self.folder}; keep one of them, or "
                f"tell its folder in `images: [folder/{{image}}]`, or in `reference` for one"
            )
        return first

    def locate(self, wanted: list[str], *, under: str | None = None) -> list[str | None]:
        """`find` for all files of a set: they begin at one folder, or at several that hold nothing
        of each other.

        So no thumbnail stands in for an absent image: of folders that share files one counts, that
        which most were found under.
        """
        found = {path: self.find(path, under=under) for path in wanted}
        starts = Counter(above(place, path) for path, place in found.items() if place)
        if len(starts) > 1 and self._share_files(found, starts):
            fullest = max(starts, key=lambda folder: (starts[folder], -len(folder)))
            return self.locate(wanted, under=fullest)
        return [found[path] for path in wanted]

    def _share_files(self, wanted, folders):
        """Whether a wanted file lies in more than one of the folders."""
        for path in wanted:
            places = {above(place, path) for place in self._ending_as(path)}
            if len(places & folders.keys()) > 1:
                return True
        return False

    def match(self, pattern: str) -> list[Path]:
        """The one file, or for a pattern with * all that match at the least depth: in one folder,
        or in several that are equally near.
        """
        if "*" not in pattern:
            path = self.find(pattern)
            return [self.folder / path] if path else []
        return [self.folder / path for path in self._by_depth(pattern)[0]]

    def deeper(self, pattern: str) -> list[str]:
        """Files that fit a pattern with * as well, but lie deeper than those of `match`."""
        return self._by_depth(pattern)[1] if "*" in pattern else []

    def _by_depth(self, pattern):
        if pattern not in self._fits:
            wanted = re.compile(fnmatch.translate(_name(f"*/{pattern}")))
            fits = [path for path in self.paths if wanted.match(f"/{_name(path)}")]
            least = min((path.count("/") for path in fits), default=0)
            near = sorted(path for path in fits if path.count("/") == least)
            self._fits[pattern] = near, sorted({*fits} - {*near})
        return self._fits[pattern]


def composed(text: str) -> str:
    """A text with every accent within its letter: of two spellings of one name the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _name(path):
    return composed(path).lower()


def above(place: str, wanted: str) -> str:
    """The folder at which `wanted` begins, where it lies at `place`."""
    return "/".join(place.split("/")[: -wanted.count("/") - 1])


class Unfit(ValueError):
    """A whole file that cannot be read as it is described; its message has the fix."""


def read_labels(path: Path, file: LabelFile) -> pd.DataFrame:
    """A label file as text, its columns under our names, the further ones of a file with a header
    under theirs.

    The header is the first row that names all wanted columns. ValueError for a file that cannot be
    read, lacks a column or has it twice, holds no rows, or has a row of another length; all are
    named.
    """
    _check_our_names(file)
    read = READERS.get(path.suffix.lower(), _delimited)
    try:
        rows = read(path, file)
    except Unfit as error:
        raise ValueError(f"{path} cannot be read ({error})") from None
    except Exception as error:  # each library has its own for a damaged file
        raise ValueError(f"{path} cannot be read ({error}); mend it or fetch it again") from error
    if file.decimal != ".":
        rows = _with_points(rows, file.decimal)
    rows = [[composed(cell) for cell in row] for row in rows]
    wanted = {ours: str(theirs).casefold() for ours, theirs in file.columns.items()}
    numbered = bool(wanted) and all(isinstance(theirs, int) for theirs in file.columns.values())
    header, rows = _without_header(rows, wanted.values(), numbered=numbered)
    names = [cell or f"column{number}" for number, cell in enumerate(header)]
    keys = [name.casefold() for name in names]
    wanted = wanted or _own_names(keys)
    _check_rows(path, rows, names, wanted.values())
    data = pd.DataFrame(rows, columns=keys, dtype=object)
    columns = {}
    for cell, name, key in zip(header, names, keys, strict=True):
        spare = not numbered and key not in wanted.values() and name not in wanted
        if spare and (cell or data[key].any()):
            columns[name] = data[key]
    for ours, key in wanted.items():
        columns[ours] = data[key]
    return pd.DataFrame(columns)


def _check_our_names(file):
    """Refuses a column of nearly our name, which would be kept as one of theirs."""
    for ours in file.columns:
        known = ours in CONTRACT or re.fullmatch(NUMBERS, ours)
        hint = nearest(ours, CONTRACT, cutoff=0.8)
        if hint and not known:
            raise KeyError(f"`columns` of {file.file}: {ours} is no column of ours{hint}")


def _without_header(rows, wanted, *, numbered):
    """The cells of the header, and the rows behind it that are not empty. The header is the first
    row with all wanted names, else the first row; numbered columns have none.
    """
    if numbered:
        width = max(map(len, rows), default=0)
        return [str(number) for number in range(width)], [row for row in rows if any(row)]
    if not rows:
        return [], []
    start = 0
    for number, row in enumerate(rows):
        if set(wanted) <= {cell.casefold() for cell in row}:
            start = number
            break
    return rows[start], [row for row in rows[start + 1 :] if any(row)]


def _check_rows(path, rows, names, wanted):
    keys = [name.casefold() for name in names]
    if lacking := [key for key in wanted if key not in keys]:
        raise ValueError(
            f"{path} has no column {', '.join(lacking)}; it has {', '.join(names) or 'none'}; mend "
            f"the names in the file, or in the `columns` of a set.yaml beside it"
        )
    if len(set(keys)) < len(keys):
        raise ValueError(f"{path} has two columns of one name among {', '.join(names)}; rename one")
    odd = [(number, row) for number, row in enumerate(rows, start=1) if len(row) != len(names)]
    if odd:
        number, row = odd[0]
        raise ValueError(
            f"{path}: row {number} ({', '.join(row)[:60]}) has {len(row)} values, not "
            f"{len(names)}; quote a value that holds the delimiter ({len(odd)} such rows)"
        )
    if not rows:
        raise ValueError(f"{path} holds no rows")


def _own_names(keys):
    """Our columns in a file that has them under our names; `split` is short for official_split."""
    names = {"image": "image", "label": "label"}
    for key in keys:
        if key in CONTRACT or re.fullmatch(NUMBERS, key):
            names[key] = key
    if "split" in keys and "official_split" not in keys:
        names["official_split"] = "split"
    return names


def _delimited(path, file):
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unfit("it is no UTF-8 text: save it as CSV UTF-8") from None
    if file.delimiter == " ":
        return [line.split() for line in io.StringIO(text) if line.strip()]
    delimiter = file.delimiter or max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows = [[cell.strip() for cell in row] for row in reader]
    return [row for row in rows if any(row)]


def number_with(mark: str) -> str:
    """A regular expression of numbers with that decimal mark, its groups what stands before and
    behind it.
    """
    return rf"([+-]?\d*){re.escape(mark)}(\d+(?:[eE][+-]?\d+)?)"


def _with_points(rows, decimal):
    """The rows with a point in every number that has the other mark."""
    number = re.compile(number_with(decimal))
    return [
        [number.sub(r"\1.\2", cell) if number.fullmatch(cell) else cell for cell in row]
        for row in rows
    ]


def _excel(path, file):
    with pd.ExcelFile(path, engine="openpyxl") as book:
        sheets = book.sheet_names
        if file.sheet not in (*sheets, *range(len(sheets))):
            raise Unfit(f"it has no sheet {file.sheet!r}; `sheet` may be {', '.join(sheets)}")
        cells = pd.read_excel(book, sheet_name=file.sheet, header=None, dtype=object)
    return [[_text(cell) for cell in row] for row in cells.itertuples(index=False)]


def _matlab(path, file):
    from scipy.io import loadmat  # half a second that most sets do not need

    try:
        arrays = loadmat(path)
    except NotImplementedError:
        raise Unfit(
            "it is HDF5, of MATLAB's version 7.3: load it there, or in Octave, and "
            "save('labels.mat', '-v7')"
        ) from None
    wanted = [str(name) for name in file.columns.values()]
    parsed = [_parsed(text) for text in wanted]
    needed = [each for name, _, at in parsed for each in (name, at) if each and not each.isdigit()]
    if missing := [name for name in needed if name not in arrays]:
        there = [name for name in arrays if not name.startswith("_")]
        raise Unfit(f"it has no {', '.join(missing)}, but {', '.join(there)}: name those")
    # other columns tell which side of a matrix has the images
    counts = [arrays[at or name].size for name, over, at in parsed if not over and not at.isdigit()]
    columns = [_array_column(arrays, counts, *parts) for parts in parsed]
    if len({*map(len, columns)}) > 1:
        lengths = [f"{name} {len(column)}" for name, column in zip(wanted, columns, strict=True)]
        raise Unfit(f"its columns differ in length: {', '.join(lengths)}; name those that agree")
    return [wanted, *map(list, zip(*columns, strict=True))]


def _parsed(text):
    """ "scores", "scores[1]", "names[numbers]" or "std(ratings)" as name of an array, mean or std,
    column or array of row numbers; "" for what is not told.
    """
    if parts := re.fullmatch(r"(mean|std)\((\w+)\)", text):
        return parts[2], parts[1], ""
    if parts := re.fullmatch(r"(\w+)\[(\w+)\]", text):
        return parts[1], "", parts[2]
    return text, "", ""


def _array_column(arrays, counts, name, over, at):
    """What `_parsed` tells of a .mat file's arrays, as texts; `counts`: how many images other
    columns have.
    """
    array = arrays[name]
    if array.dtype.names:
        raise Unfit(
            f"{name} is a struct or a table of MATLAB: there, writetable(struct2table({name}), "
            f"'labels.csv'), of a table without struct2table, makes a file to name instead"
        )
    is_matrix = array.ndim == 2 and min(array.shape) > 1
    if not is_matrix:
        array = array.reshape(-1, 1)
    elif array.shape[0] not in counts and array.shape[1] in counts:
        array = array.T
    if over:
        return [_text(value) for value in pd.DataFrame(array).agg(over, axis=1)]
    if at and not at.isdigit():
        numbers = arrays[at].ravel()
        wrong = numbers[~((numbers >= 1) & (numbers <= len(array)) & (numbers % 1 == 0))]
        if len(wrong):
            raise Unfit(f"{at} holds {wrong[0]}, but {name} has rows 1 to {len(array)}")
        return [_text(array[int(number) - 1, 0]) for number in numbers]
    if is_matrix and not at:
        raise Unfit(
            f"{name} is {array.shape[0]} x {array.shape[1]}; a column of it is {name}[0], what "
            f"raters agree on mean({name}), their SD std({name})"
        )
    if at and int(at) >= array.shape[1]:
        raise Unfit(f"{name} has columns 0 to {array.shape[1] - 1}, not {at}")
    return [_text(cell) for cell in array[:, int(at or 0)]]


def _json(path, file):
    records = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(records, dict):
        records = [{"image": image, "label": label} for image, label in records.items()]
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise Unfit('it is neither {"a.png": 3, ...} nor [{"image": "a.png", "label": 3}, ...]')
    names = list(dict.fromkeys(key for record in records for key in record))
    return [names, *([_text(record.get(name)) for name in names] for record in records)]


def _text(value):
    while isinstance(value, np.ndarray):  # a cell of a MATLAB cell array
        value = value.ravel()[0] if value.size else None
    if value is None or value != value:
        return ""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value).strip()


READERS = {".xlsx": _excel, ".mat": _matlab, ".json": _json}  # of all others `_delimited`
