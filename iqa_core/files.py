"""Where the project lies, and files that are never half written: the lowest level, imported by
everything that saves.

Every file is written under another name first and then renamed.
"""

import csv
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPARE = 10**9  # bytes of a disk that large files leave free


def project_root() -> Path:
    """The nearest parent of the working directory (else of this package) that holds `params/`, or
    `$IQA_ROOT`.
    """
    if named := os.environ.get("IQA_ROOT"):
        if not (Path(named) / "params").is_dir():
            raise FileNotFoundError(
                f"IQA_ROOT is {named!r}, which holds no folder params/: correct it or unset it"
            )
        return Path(named).resolve()
    for start_folder in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start_folder, *start_folder.parents):
            if (folder / "params").is_dir():
                return folder
    raise FileNotFoundError(
        f"no project root: neither a parent of {Path.cwd()} nor of the installed iqa_core holds "
        f"params/; "
        "work inside the clone or set IQA_ROOT to it"
    )


def file_hash(path: Path) -> str:
    """`sha256-` and the first 12 hexadecimal digits of it for a file's bytes: text, even where
    digits look like a number.
    """
    return f"sha256-{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]}"


def shortage(folder: Path, needed: int) -> str:
    """What lacks, in words, where `needed` bytes would leave less than `SPARE` free on the disk of
    `folder`; else nothing.
    """
    free = shutil.disk_usage(folder).free
    wanted = f"{needed / 1e9:.2g} GB and {SPARE / 1e9:g} GB to spare are wanted"
    return f"{free / 1e9:.3g} GB are free, {wanted}" if needed + SPARE > free else ""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """For `with replacing(path) as draft`: a file to write, which is called `path` when the block
    ends well, and is removed when it raises.

    A reader of `path` sees the old file or the new one, never half of it. Its folder is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file, in UTF-8, so that a reader sees the old or the new one, never half of it."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON; numbers that are not finite become null, NumPy scalars and arrays plain
    ones, Paths text.
    """
    write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> object:
    """What a JSON file holds."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_rows(path: Path, rows: list[dict]) -> None:
    """Writes a CSV file; the columns are the union of the rows' keys in order of appearance."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        fieldnames=list(dict.fromkeys(key for row in rows for key in row)),
        lineterminator="\n",
    )
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # NumPy and torch
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
