"""Rows of a long scoring, kept as they come, so that a kill costs the block that was being made.

scores.csv               the results, when all are there
scores.csv.about.json    what the numbers mean, and how they were made
scores.csv.failures.csv  images that could not be scored, with reasons; only if there are any
.scores.csv.rows         one line a block; the next start goes on behind the last whole one
"""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from iqa_core.files import replacing, write_json, write_rows

KINDS = (".csv", ".json", ".parquet")


def check_results(path: Path, inputs: Sequence[str | Path] = ()) -> None:
    """ValueError for a kind of file that results are not written as, and for one that holds
    something else; before anything is scored.
    """
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"results are written as {', '.join(KINDS)}, not as {path.name}")
    is_input = path.exists() and any(os.path.exists(one) and path.samefile(one) for one in inputs)
    if is_input or (path.exists() and not beside(path, "about.json").exists()):
        raise ValueError(f"{path} is there and holds no scores of ours: give another file")


def beside(path: Path, kind: str) -> Path:
    """What lies beside results: scores.csv.about.json, scores.csv.failures.csv."""
    return path.with_name(f"{path.name}.{kind}")


class KeptRows:
    """The rows of a scoring that is to be written to `path`, in blocks.

    A row is a dict with image, files (which tells whether they are the same still), scores and
    failures. `begun` is when the first was. For `with`; ValueError where another process writes
    there, and where the rows that are there were made with other settings.
    """

    def __init__(self, path: Path, settings: str):
        self.path, self.settings = Path(path), settings
        self.file = self.path.with_name(f".{self.path.name}.rows")

    def __enter__(self) -> "KeptRows":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.file.with_name(f"{self.file.name}.lock"))
        try:
            self._lock.acquire(timeout=1)
        except Timeout:
            raise ValueError(
                f"another process is writing {self.path}: wait for it, or name another file"
            ) from None
        try:
            self.begun = self._settle()
        except BaseException:  # a traceback that is kept, as Jupyter's, would keep the lock
            self._lock.release()
            raise
        self._out = self.file.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_) -> None:
        self._out.close()
        self._lock.release()

    def _settle(self):
        """Begins the file, or cuts off a line that a kill left half written; when it was begun."""
        settings = json.loads(self.settings)
        if not self.file.is_file():
            begun = datetime.now().astimezone().isoformat(timespec="seconds")
            with replacing(self.file) as draft:
                line = json.dumps({"settings": settings, "begun": begun})
                draft.write_text(line + "\n", encoding="utf-8")
            return begun
        with self.file.open("rb+") as file:
            first = json.loads(file.readline())
            if first["settings"] != settings:
                changes = _changes(first["settings"], settings)
                raise ValueError(
                    f"{self.path} was begun with other settings ({changes}); give another file, or "
                    f"remove {self.file} to score all anew"
                )
            whole = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
            file.truncate(whole)
        return first["begun"]

    def add(self, rows: list[dict]) -> None:
        """Keeps a block."""
        self._out.write(json.dumps(rows, ensure_ascii=True) + "\n")
        self._out.flush()
        os.fsync(self._out.fileno())

    def __iter__(self) -> Iterator[dict]:
        """All rows that are kept, a later one of an image after the earlier."""
        with self.file.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield from json.loads(line)


def _changes(before, now):
    """Which settings differ, in words."""
    names = [[facts["name"] for facts in scorers] for scorers in (before, now)]
    if names[0] != names[1]:
        return f"it scores {', '.join(names[0])}, now {', '.join(names[1])} is asked for"
    words = []
    for old, new in zip(before, now, strict=True):
        words += [
            f"{new['name']}: {key} was {old.get(key)!r}, is {new.get(key)!r}"
            for key in new
            if old.get(key) != new.get(key)
        ]
    return "; ".join(words)


def write_results(path: Path, scores: pd.DataFrame, failures: pd.DataFrame, about: dict) -> None:
    """Writes results, what they mean, and the failures, each whole or not at all.

    A JSON file holds all in one: about, scores, failures.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        rows, failed = scores.to_dict("records"), failures.to_dict("records")
        write_json(path, {"about": about, "scores": rows, "failures": failed})
    else:
        with replacing(path) as draft:
            if path.suffix.lower() == ".parquet":
                scores.to_parquet(draft, index=False)
            else:
                scores.to_csv(draft, index=False, lineterminator="\n")
    write_json(beside(path, "about.json"), about)
    listed = beside(path, "failures.csv")
    if len(failures):
        write_rows(listed, failures.to_dict("records"))
    else:
        listed.unlink(missing_ok=True)
