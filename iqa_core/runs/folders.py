"""Where runs lie, and how one takes its place: a reader finds a finished run whole, or none.

    data/runs/<experiment>/<run>/            a finished run
    data/runs/<experiment>/.<run>.part/      the same while it is being made
    data/runs/.trainings/<key>/              trainings, by what they depend on (training.checkpoint)
    data/runs/.locks/                        who is making which run

A run that has finished is moved to its place by two renames; whoever comes between them, after a
kill, does the second. What begins with a dot is no run, and no search looks there.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from iqa_core.files import project_root, read_json, shortage, write_rows

HELD = "IQA_RUN_HELD"  # environment: the lock that this process, or one that started it, holds
INDEX_COLUMNS = (
    "experiment", "run", "model", "set", "split", "split_hash", "seed", "seconds", "date",
)  # fmt: skip

_locks: dict[str, FileLock] = {}  # of runs that this process is making, by file


def home(root: Path | None = None) -> Path:
    """The folder of all runs."""
    return (root or project_root()) / "data/runs"


def draft_of(folder: Path) -> Path:
    """Where the run of a folder lies while it is made."""
    return folder.with_name(f".{folder.name}.part")


def _old(folder: Path) -> Path:
    """Where an earlier run lies while another takes its place."""
    return folder.with_name(f".{folder.name}.old")


def take_place(folder: Path) -> None:
    """Moves a finished draft to the folder of its run; what finished there before is removed."""
    draft, old = draft_of(folder), _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    # a reader that came between the two renames has done the second
    with suppress(FileNotFoundError):
        draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def settle(folder: Path) -> None:
    """Completes what a kill has left of `take_place`; for whoever holds the run's lock."""
    if _is_whole(draft_of(folder)):
        take_place(folder)
    elif not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    return (folder / "_SUCCESS").is_file()


def check_room(folder: Path) -> None:
    """OSError where the disk has no place for a draft as large as the run that it is to replace."""
    needed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    folder.parent.mkdir(parents=True, exist_ok=True)
    if short := shortage(folder.parent, needed):
        raise OSError(
            f"no room for {folder.parent.name}/{folder.name}: {short}; free some space "
            "(`python -m iqa_core runs list` tells what runs take)"
        )


@contextmanager
def alone(name: str, *, lead: str = "") -> Iterator[None]:
    """For `with`: no other process makes the run <experiment>/<run>, here or where the disk is
    shared; waits for one that does.
    """
    try:
        hold(name)
    except ValueError:
        print(f"{lead}waits: another process is making it", flush=True)
        hold(name, wait=True)
    try:
        yield
    finally:
        let_go(name)


def hold(name: str, *, wait: bool = False) -> None:
    """Locks a run for this process and those that it starts, until `let_go`.

    ValueError where another process makes it, unless `wait`.
    """
    file = _lock_file(name)
    if file in _locks or os.environ.get(HELD) == file:
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise ValueError(
            f"another process is making the run {name}: wait until it has finished, shut its "
            f"kernel down (JupyterLab lists those that run), or give `run` another name here"
        ) from None
    _locks[file] = lock
    os.environ[HELD] = file


def let_go(name: str) -> None:
    """Gives a run free that this process holds."""
    file = _lock_file(name)
    if file in _locks:
        _locks.pop(file).release()
        os.environ.pop(HELD, None)


def being_made() -> list[str]:
    """The runs that some process is making."""
    names = []
    for file in sorted((home() / ".locks").glob("*/*.lock")):
        lock = FileLock(file)
        try:
            with lock.acquire(timeout=0):
                pass
        except Timeout:
            names.append(f"{file.parent.name}/{file.stem}")
    return names


def _lock_file(name: str) -> str:
    return str(home() / f".locks/{name}.lock")


# ---- finding runs


def run_folder(run: str | Path) -> Path:
    """Folder of a run, named by `<experiment>/<run>` or by its path; FileNotFoundError lists what
    there is.
    """
    for folder in (home() / run, Path(run)):
        if not folder.exists() and _is_whole(draft_of(folder)):
            with suppress(OSError):  # whoever makes it was faster
                draft_of(folder).rename(folder)
        if (folder / "params.json").is_file():
            return folder
        if draft_of(folder).exists():
            raise FileNotFoundError(
                f"run {run} did not finish; run it again before its results are used, it goes on "
                "where it stopped"
            )
    names = ", ".join(all_runs()) or "none yet, try make demo"
    raise FileNotFoundError(f"no run {str(run)!r} in data/runs; there are: {names}")


def finished(run: str | Path) -> Path:
    """Folder of a finished run, named as for `run_folder`; FileNotFoundError if it did not reach
    its end.
    """
    folder = run_folder(run)
    if not _is_whole(folder):
        raise FileNotFoundError(
            f"run {run} did not finish (no _SUCCESS); run it again before its results are used"
        )
    return folder


def all_runs(file: str = "params.json") -> list[str]:
    """Names of all runs that hold a file, runs within runs too, in order."""
    found = home().rglob(file)
    folders = [path.parent.relative_to(home()) for path in found]
    return sorted(folder.as_posix() for folder in folders if not _is_hidden(folder))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


class Found(NamedTuple):
    """Finished runs that were looked for: those to be taken, older ones of the same kind, and what
    was asked, for `newest_runs`.
    """

    taken: list[str]
    passed_over: list[str]
    asked: dict


def newest_runs(experiment: str, notebooks: list[str], *, split: list[str] | None = None) -> Found:
    """The newest finished run of each method on each split, of the runs of these notebooks in an
    experiment, in order of notebooks and names; the others are passed over.

    split    [set, split_hash]: those of this split alone

    FileNotFoundError if there is none.
    """
    names = []
    for notebook in notebooks:
        folders = (home() / experiment).glob(f"{notebook}*/_SUCCESS")
        names += sorted(f"{experiment}/{path.parent.name}" for path in folders)
    newest = {}
    for name in sorted(names, key=finished_at):
        facts = read_json(home() / name / "params.json")
        of_split = [facts.get("set"), facts.get("split_hash")]
        if split in (None, of_split):
            newest[facts.get("method"), *of_split] = name
    taken = [name for name in names if name in newest.values()]
    if not taken:
        wanted, where = " or ".join(notebooks), " on this split" if split else ""
        raise FileNotFoundError(
            f"no finished run of {wanted} in data/runs/{experiment}{where}; run that notebook first"
        )
    asked = {"experiment": experiment, "notebooks": notebooks, "split": split}
    return Found(taken, [name for name in names if name not in taken], asked)


def finished_at(name: str) -> int:
    """When a run finished, nanoseconds."""
    return (home() / name / "_SUCCESS").stat().st_mtime_ns


# ---- the list of them


def write_index(root: Path | None = None) -> None:
    """Writes `data/runs/index.csv`: a row for each finished run, in the order in which they
    finished.
    """
    home(root).mkdir(parents=True, exist_ok=True)
    with FileLock(home(root) / "index.lock", timeout=60):
        names = sorted(all_runs("_SUCCESS"), key=finished_at)
        write_rows(home(root) / "index.csv", [_index_row(home(root) / name) for name in names])


def _index_row(folder: Path) -> dict:
    facts = read_json(folder / "params.json")
    metrics = read_json(folder / "metrics.json")
    known = facts["parameters"] | facts
    row = {column: known.get(column, "") for column in INDEX_COLUMNS}
    for key, value in metrics.items():
        if not isinstance(value, dict | list):
            row[key] = value
    return row
