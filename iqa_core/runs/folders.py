"""Where runs lie, and how one takes its place: a reader finds a finished run whole, or none.

    data/runs/<experiment>/<run>/            a finished run
    data/runs/<experiment>/.<run>.part/      the same while it is being made
    data/runs/.trainings/<key>/              trainings, by what they depend on (training.checkpoint)
    data/runs/.locks/                        who is making which run

A run that has finished is moved to its place by two renames; whoever comes between them, after a
kill, does the second. What begins with a dot is no run, and no search looks there.
"""

import os
import re
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


def home() -> Path:
    """The folder of all runs."""
    return project_root() / "data/runs"


def draft_of(folder: Path) -> Path:
    """Where the run of a folder lies while it is made."""
    return folder.with_name(f".{folder.name}.part")


def _old(folder: Path) -> Path:
    """Where an earlier run lies while another takes its place."""
    return folder.with_name(f".{folder.name}.old")


def take_place(folder: Path) -> None:
    """Moves a finished draft to the folder of its run; what finished there before is removed. For
    whoever holds the run's lock.
    """
    draft, old = draft_of(folder), _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def settle(folder: Path) -> None:
    """Completes what a kill has left of `take_place`; for whoever holds the run's lock."""
    if _is_whole(draft_of(folder)):
        take_place(folder)
    elif not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)
    if folder.exists():
        shutil.rmtree(_old(folder), ignore_errors=True)


def settle_all() -> None:
    """Completes every `take_place` that a kill has left half done; those that a live process is
    about to do are left to it.
    """
    for file in [*home().glob("*/.*.part/_SUCCESS"), *home().glob("*/.*.old/_SUCCESS")]:
        experiment, name = file.parents[1], re.sub(r"^\.|\.(part|old)$", "", file.parent.name)
        run = f"{experiment.name}/{name}"
        if _lock_file(run) in _locks:
            continue
        with suppress(ValueError):  # its process lives
            hold(run)
            settle(experiment / name)
            let_go(run)


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
        lock.acquire(timeout=-1 if wait else 1)  # a second: others look whether it is free
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


def let_go_all(*, but: str) -> None:
    """Gives all runs free that this process holds, but one."""
    for file in [*_locks]:
        if file != _lock_file(but):
            _locks.pop(file).release()


def _lock_file(name: str) -> str:
    return str(home() / f".locks/{name}.lock")


# ---- finding runs


def run_folder(run: str | Path) -> Path:
    """Folder of a run, named by `<experiment>/<run>` or by its path; FileNotFoundError lists what
    there is.
    """
    settle_all()
    for folder in (home() / run, Path(run)):
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
    settle_all()
    found = home().rglob(file)
    folders = [path.parent.relative_to(home()) for path in found]
    return sorted(folder.as_posix() for folder in folders if not _is_hidden(folder))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def facts_of(name: str) -> dict:
    """The params.json of a run; of one that cannot be read, which is printed, {}."""
    file = home() / name / "params.json"
    try:
        return read_json(file)
    except (OSError, ValueError) as error:
        print(f"{file} cannot be read and is passed over: {error}", flush=True)
        return {}


class Found(NamedTuple):
    """Finished runs that were looked for: those to be taken, others of the same notebooks, and what
    was asked, for `newest_runs`.
    """

    taken: list[str]
    passed_over: list[str]
    asked: dict


def newest_runs(
    experiment: str, notebooks: list[str], *, split: list[str] | None = None, one: bool = False
) -> Found:
    """The newest finished run of each method on each split, of the runs of these notebooks in an
    experiment, in order of notebooks and names; the others are passed over. So are runs of values
    that were set for once, where the experiment has parameter files.

    split    [set, split_hash]: those of this split alone
    one      only the newest of all

    FileNotFoundError if there is none.
    """
    meant = {file.stem for file in (project_root() / "params" / experiment).glob("*.yaml")}
    found = {}
    for name in all_runs("_SUCCESS"):
        facts = facts_of(name)
        is_asked = facts.get("notebook") in notebooks and name.count("/") == 1
        if is_asked and name.startswith(f"{experiment}/"):
            found[name] = facts
    names = sorted(found, key=lambda name: (notebooks.index(found[name]["notebook"]), name))
    newest = {}
    for name in sorted(names, key=lambda name: finished_at(found[name], name)):
        facts = found[name]
        of_split = [facts.get("set"), facts.get("split_hash")]
        is_trial = meant and name.partition("/")[2] not in meant
        if split in (None, of_split) and not is_trial:
            newest[() if one else (facts.get("method"), *of_split)] = name
    taken = [name for name in names if name in newest.values()]
    if not taken:
        wanted, where = " or ".join(notebooks), " on this split" if split else ""
        raise FileNotFoundError(
            f"no finished run of {wanted} in data/runs/{experiment}{where}; run that notebook first"
        )
    asked = {"experiment": experiment, "notebooks": notebooks, "split": split, "one": one}
    return Found(taken, [name for name in names if name not in taken], asked)


def finished_at(facts: dict, name: str) -> float:
    """When a run finished, seconds; by its file where an earlier format does not tell."""
    return facts.get("finished") or (home() / name / "_SUCCESS").stat().st_mtime


# ---- the list of them


def write_index() -> None:
    """Writes `data/runs/index.csv`: a row for each finished run, in the order in which they
    finished.
    """
    home().mkdir(parents=True, exist_ok=True)
    with FileLock(home() / "index.lock", timeout=60):
        known = {name: facts_of(name) for name in all_runs("_SUCCESS")}
        known = {name: facts for name, facts in known.items() if facts}
        names = sorted(known, key=lambda name: finished_at(known[name], name))
        write_rows(home() / "index.csv", [_index_row(known[name], home() / name) for name in names])


def _index_row(facts: dict, folder: Path) -> dict:
    metrics = read_json(folder / "metrics.json")
    known = facts["parameters"] | facts
    row = {column: known.get(column, "") for column in INDEX_COLUMNS}
    for key, value in metrics.items():
        if not isinstance(value, dict | list):
            row[key] = value
    return row
