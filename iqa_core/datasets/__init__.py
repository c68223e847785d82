"""Data sets as tables: one row an image, the columns of the contract, higher labels are better.

What a set is stands in sets.yaml as data. A folder data/raw/<name> with a set.yaml of the same
keys, with a labels.csv, or with nothing but images is a set as well.
"""

import functools
import hashlib
import importlib
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml

from ..files import file_hash
from ..hints import nearest
from .description import Description, Label, described, described_file
from .readers import CONTRACT, NUMBERS, Files
from .tables import build_table, numbers

RAW = Path("data/raw")
LABEL_KINDS = ("mos", "pseudo_mos", "mmos")
EMBEDDED = {  # where the images and photographs of the sets lie that make their own
    "data/cache/demo/": "demo",
    "data/cache/demo_native/": "demo_native",
    "data/demo/native/": "demo_native",
    "data/cache/demo_restored/": "demo_restored",
    "data/demo/restored/": "demo_restored",
    "data/demo/": "demo",  # after the folders in it
}


@functools.cache
def _sets() -> dict[str, dict]:
    return yaml.safe_load((Path(__file__).parent / "sets.yaml").read_text(encoding="utf-8"))


def list_datasets(*, root: Path | None = None) -> list[str]:
    """Names of the sets described here and, with `root`, of the folders of its data/raw that are
    sets as well.
    """
    names = [*_sets()]
    for folder in (root / RAW).glob("*/") if root else []:
        if folder.name not in _sets() and (_own(folder) or Files(folder).pictures()):
            names.append(folder.name)
    return sorted(names)


def _own(folder):
    """What a folder of one's own says of itself."""
    return [name for name in ("set.yaml", "labels.csv") if (folder / name).is_file()]


def _description(name: str, root: Path) -> Description:
    if name in _sets():
        return described(_sets()[name], f"sets.yaml, {name}")
    is_folder_name = re.fullmatch(r"[^./\\:][^/\\:]*", name)
    for folder in [root / RAW / name, root / name] if is_folder_name else []:
        written = _own(folder)
        kind = "csv" if "labels.csv" in written else "folder"
        if "set.yaml" in written:
            return described_file(folder / "set.yaml", _sets()[kind])
        if written or (folder.parent == root / RAW and Files(folder).pictures()):
            return _description(kind, root)
    others = Files(root / RAW / name).tell_not_read() if is_folder_name else ""
    if others:
        raise KeyError(
            f"no data set {name!r}: {RAW / name} holds no picture that can be read, and {others}; "
            f"export them as PNG or TIFF"
        )
    hint = nearest(name, list_datasets(), most=3) or "."
    raise KeyError(
        f"no data set {name!r}{hint} There are {', '.join(list_datasets())}; for your own put "
        f"images and labels.csv (image, label) or set.yaml into {RAW / name}"
    )


def _files(name, facts, root):
    """The set's files: in data/raw/<set>, or under another root in <root>/<set> or <root>
    itself.
    """
    place = facts.folder or name
    wanted = [file.file for file in facts.files]
    for folder in (root / RAW / place, root / place):
        if folder.is_dir():
            files = Files(folder)
            has_labels = any(files.match(file) for file in wanted)
            has_pictures = not wanted and files.pictures()
            if has_labels or has_pictures or (folder / "set.yaml").is_file():
                return files
    is_project = (root / "params").is_dir()
    if not is_project and (not wanted or any(any(root.glob(file)) for file in wanted)):
        return Files(root)
    return Files(root / RAW / place)


def describe(name: str, *, root: Path = Path(".")) -> dict:
    """What is known of a set, as a dict: the keys of `Description`, and of how it lies under
    `root`.

    `labels`: each label one can choose, the default first, with low, high, units, higher_is_better;
    `direction` in words; `folder`: where its files lie, or should; `absent`: label files that are
    wanted and not there. KeyError for an unknown name.
    """
    facts = _description(name, Path(root))
    files = _files(name, facts, Path(root))
    labels = {
        label: chosen.model_dump(include={*Label.model_fields})
        for label, chosen in facts.choices().items()
    }
    default = next(iter(labels.values()))
    direction = "higher is better"
    if not default["higher_is_better"]:
        ends = f"{default['low']} + {default['high']}"
        direction = f"lower was better, turned round: label = {ends} - published"
    return {
        **facts.model_dump(),
        **default,
        "name": name,
        "labels": labels,
        "folder": files.folder,
        "direction": direction,
        "absent": _absent(facts, files),
    }


def label_names(name: str, *, root: Path) -> list[str]:
    """The labels of a set that one can choose, the default first; KeyError for an unknown set."""
    return list(_description(name, root).choices())


def set_of(image: str) -> str:
    """The set of an image, or of a reference, by its path in a table; "" where that tells none."""
    for folder, name in EMBEDDED.items():
        if image.startswith(folder):
            return name
    if not image.startswith(f"{RAW.as_posix()}/"):
        return ""
    folder = Path(image).parts[len(RAW.parts)]
    names = [name for name, facts in _sets().items() if facts.get("folder", name) == folder]
    fitting = [name for name in names if _lies_as(image, _sets()[name])]
    return next(iter(fitting or names), folder)


def _lies_as(image, facts):
    """Whether a path leads to a set's images or references, of sets that share one folder."""
    templates = [*facts.get("images", ["{image}"]), facts.get("reference")]
    starts = [each.partition("{")[0].removeprefix("./") for each in templates if each]
    return any(f"/{start}".lower() in image.lower() for start in starts)


def credit(image: str, *, root: Path = Path(".")) -> str:
    """Whose pictures those of an image's set are, in sentences for a caption; "" for an image of no
    set.
    """
    name = set_of(image)
    if not name:
        return ""
    if name in EMBEDDED.values():
        return (
            "The demo's photographs are credited in data/demo/CREDITS.md, and these pictures keep "
            "their licences."
        )
    facts = _description(name, root)
    untitled = facts.title in ("", *(_sets()[kind]["title"] for kind in ("csv", "folder")))
    words = [f"Pictures of {name if untitled else facts.title}"]
    if facts.licence not in ("yours", "not stated"):
        words.append(f"licence: {facts.licence}")
    if facts.citation:
        words.append(facts.citation)
    return "; ".join(words) + "."


def _absent(facts, files):
    """Label files that are wanted and not there; optional ones where no file gives a label."""
    labels = facts.choices().keys()
    missing = [file for file in facts.files if not files.match(file.file)]
    there = [file for file in facts.files if file not in missing]
    unlabelled = not any(labels & file.columns.keys() for file in there)
    return [
        file.file
        for file in missing
        if not file.optional or (unlabelled and labels & file.columns.keys())
    ]


def load_table(
    name: str,
    *,
    root: Path = Path("."),
    label: str | None = None,
    without_absent: bool = False,
) -> pd.DataFrame:
    """The table of a data set from its label files; images need not be there, their paths are
    relative to `root`, the project.

    `label`: one of `describe(name)["labels"]`, by default the first; "" for the images without
    labels. `without_absent`: leave out the rows whose image is no file here, or whose reference,
    unless no reference is; notes say how many.
    `table.attrs["notes"]` tells what was noticed: labels that were turned round, files that
    are not there; `table.attrs["left_out"]` names the images of rows that are no part of the set.
    Further columns of the label file are kept. KeyError for an unknown name or label,
    FileNotFoundError where label files are absent, ValueError where they are damaged or tell
    something that cannot be (a label outside its range, labels that rise with the level of
    distortion).
    """
    root = Path(root)
    facts = _description(name, root)
    label = next(iter(facts.choices())) if label is None else label
    if label not in ("", *facts.choices()):
        raise KeyError(f"{name} has no label {label!r}; there is {', '.join(facts.choices())}")
    if module := _module(name):
        table = check_table(module.load(root), name)
        table.attrs.update(notes=[], left_out=[])
        return table
    files = _files(name, facts, root)
    try:
        table = build_table(facts, files, root=root, name=name, label=label)
    except FileNotFoundError as error:
        if name in _sets():
            fix = (
                f"`python -m iqa_core data get {name}` fetches it or tells how (licence: "
                f"{facts.licence}; {facts.address})"
            )
        elif not facts.files:
            fix = "put pictures there, those of other kinds exported as PNG or TIFF"
        else:
            there = ", ".join(sorted(files.paths)[:5]) or "no files"
            fix = (
                f"there are {there}: write in set.yaml, under `files`, its name as it is, and in "
                f"its `columns` the label's, as `label: MOS`"
            )
        raise FileNotFoundError(f"{name}: {error} in {files.folder}; {fix}") from None
    table = check_table(table, name)
    if without_absent:
        table = _those_there(table, name, root)
    for fault in plausible(table):
        if name in _sets():
            raise ValueError(f"{name}: {fault}")
        warnings.warn(f"{name}: {fault}", stacklevel=2)
        table.attrs["notes"].append(fault)
    return table


def _those_there(table, name, root):
    """The rows whose image and reference are there, with notes of the others. Where no reference is
    there, none is wanted: most models do without.
    """

    def is_there(paths):
        return paths.map(lambda path: (root / path).is_file())

    image = is_there(table.image)
    reference = is_there(table.reference.fillna(""))
    if not reference[image].any():
        reference[:] = True
    reference |= table.reference.isna()
    kept = image & reference
    if not kept.any():
        raise FileNotFoundError(
            f"{name}: none of {len(table)} images is there, as {table.image.iloc[0]}: fetch them"
        )
    result = table[kept].reset_index(drop=True)
    absent = {
        "are no files here and left out": table.image[~image],
        "are left out, their references are no files here": table.reference[image & ~reference],
    }
    for what, paths in absent.items():
        if len(paths):
            some = ", ".join(paths.unique()[:3])
            result.attrs["notes"].append(f"{len(paths)} of {len(table)} images {what}: {some}")
    return result


def plausible(table: pd.DataFrame) -> list[str]:
    """What cannot be right about a table's labels, in sentences; empty if nothing is suspicious.

    Within a content and a type of distortion, labels must fall from its lowest to its highest
    level: on KADID-10k they do in 97 %, of labels joined to the wrong images in half, of DMOS read
    as MOS in 3 %. Rows whose background has another level than their subject are not looked at,
    and labels that are equal at both ends tell nothing: models that are wrong about a photograph
    stay so.
    """
    if not {"content", "distortion", "level"} <= set(table):
        return []
    known = table.dropna(subset=["label", "level", "distortion"]).sort_values("level")
    if "background_level" in known:
        known = known[known.background_level.isna() | (known.background_level == known.level)]
    ends = known.groupby(["content", "distortion"])[["level", "label"]].agg(["first", "last"])
    ends = ends[ends.level["first"] < ends.level["last"]]
    ends = ends[ends.label["first"] != ends.label["last"]]
    falls = (ends.label["last"] < ends.label["first"]).mean()
    if not falls < 0.75:
        return []
    why = (
        "DMOS read as MOS (higher_is_better: false)"
        if falls < 0.25
        else "labels joined to the wrong images"
    )
    return [
        f"from the lowest to the highest level labels fall in {falls:.0%} of {len(ends)} cases, "
        f"not in nearly all: {why}?"
    ]


def saved_table(name: str, *, root: Path = Path(".")) -> pd.DataFrame:
    """The table that notebook 01 wrote, data/tables/<name>.csv; errors as `load_table`."""
    path = Path(root) / f"data/tables/{name}.csv"
    if not path.exists():
        raise FileNotFoundError(
            f"data/tables/{name}.csv is missing; run notebook 01_prepare_data with data_set "
            f"{name!r} first"
        )
    # 007 and NA are names too
    text = {column: str for column in CONTRACT if not re.fullmatch(NUMBERS, column)}
    table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""], low_memory=False)
    filled = [column for column in table if column.endswith("_split") or column == "label_kind"]
    return check_table(
        table.assign(**{column: table[column].astype(str).fillna("") for column in filled}), name
    )


def make_images(name: str, table: pd.DataFrame, *, root: Path) -> int:
    """Make the images of a set that makes its own (the embedded ones), where they are missing; the
    number made, 0 for other sets.
    """
    module = _module(name)
    return module.make_images(table, root=root) if module else 0


FINGERPRINTS = ("description", "label files", "images", "operators")


def fingerprint(name: str, parts: Iterable[str] = FINGERPRINTS, *, root: Path) -> dict[str, str]:
    """What a set's table, images and labels come from, as a hash for each part: its description,
    its label files, its images and their references (by size and time of change; those of the
    table that notebook 01 has written), and instead of these the operators and photographs of a
    set that makes its own images.

    Errors as `describe`.
    """
    hashed = {
        "description": lambda: _description(name, root).model_dump_json(),
        "label files": lambda: _label_files(name, root),
        "images": lambda: _images(name, root),
        "operators": lambda: _made_by(name, root),
    }
    return {part: hashlib.sha256(hashed[part]().encode()).hexdigest()[:12] for part in parts}


def module_of(name: str) -> str:
    """The module of a set that makes its own images, by its full name; "" for others."""
    module = _sets().get(name, {}).get("module")
    return f"{__name__}.{module}" if module else ""


def _module(name):
    return importlib.import_module(module_of(name)) if module_of(name) else None


def _made_by(name, root):
    module = _module(name)
    return module.made_by(root) if module else ""


def _label_files(name, root):
    if module := _module(name):
        return file_hash(root / module.TABLE)
    facts = _description(name, root)
    files = _files(name, facts, root)
    matched = [path for file in facts.files for path in files.match(file.file)]
    return " ".join(f"{path.name} {file_hash(path)}" for path in matched)


def _images(name, root):
    if module_of(name):  # what it makes them of and by tells more than the time of it
        return ""
    table = saved_table(name, root=root)
    columns = [column for column in ("image", "reference", "degraded") if column in table]
    paths = sorted({path for column in columns for path in table[column].dropna() if path})
    stats = [(path, (root / path).stat()) for path in paths if (root / path).is_file()]
    return " ".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)


def check_table(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with its labels as numbers; ValueError naming the first row that is wrong.

    A table without a single label and label_kind is one of images alone.
    """
    if missing := [c for c in ("image", "label", "label_kind") if c not in table]:
        raise ValueError(
            f"{name} has no column {', '.join(missing)}; a table needs image, label and label_kind"
        )
    alone = table.label.isna().all() and (table.label_kind.isna() | (table.label_kind == "")).all()
    for column in [c for c in table if re.fullmatch(NUMBERS, c)]:
        empty = alone or not re.fullmatch(r"label\d*", column)
        table = table.assign(**{column: numbers(table, column, name, empty=empty)})
    if table.image.duplicated().any():
        raise ValueError(
            f"{name} lists {table.image[table.image.duplicated()].iloc[0]} twice; keep one row an "
            f"image"
        )
    wrong = sorted({*table.label_kind.astype(str)} - {*LABEL_KINDS})
    if wrong and not alone:
        raise ValueError(
            f"{name} has label_kind {', '.join(wrong)}; allowed are {', '.join(LABEL_KINDS)}"
        )
    return table
