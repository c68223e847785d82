"""Rows of a long scoring, kept as they come, so that a kill costs the block that was being made.

scores.csv               the results, when all are there
scores.about.json        what the numbers mean, and how they were made
scores.failures.csv      images that could not be scored, with reasons; only if there are any
.scores.csv.rows         one line a block; the next start goes on behind the last whole one
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from iqa_core.files import replacing, write_json, write_rows

KINDS = (".csv", ".json", ".parquet")


def check_results(path: Path) -> None:
    """ValueError for a kind of file that results are not written as; before anything is scored."""
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"results are written as {', '.join(KINDS)}, not as {path.name}")


class KeptRows:
    """The rows of a scoring that is to be written to `path`, in blocks.

    A row is a dict with image, bytes and changed (of its file, which tell whether it is the same
    file still), and its values, or a failure with the reason. For `with`; ValueError where another
    process writes there, and where the rows that are there were made with other settings.
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
        self._settle()
        self._out = self.file.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_) -> None:
        self._out.close()
        self._lock.release()

    def _settle(self):
        """Begins the file, or cuts off the line that a kill left half written."""
        settings = json.dumps(json.loads(self.settings))
        if not self.file.is_file():
            with replacing(self.file) as draft:
                draft.write_text(settings + "\n", encoding="utf-8")
            return
        with self.file.open("rb+") as file:
            first = file.readline()
            if first.decode().strip() != settings:
                raise ValueError(
                    f"{self.path} was begun with other settings ({_changes(first, settings)}); "
                    f"give another file, or remove {self.file} to score all anew"
                )
            whole = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
            file.truncate(whole)

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
    try:
        before = json.loads(before)
        now = json.loads(now)
    except ValueError:
        return "its first line is damaged"
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
    return "; ".join(words) or "the same, in another form"


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
    write_json(path.with_suffix(".about.json"), about)
    listed = path.with_suffix(".failures.csv")
    if len(failures):
        write_rows(listed, failures.to_dict("records"))
    else:
        listed.unlink(missing_ok=True)
