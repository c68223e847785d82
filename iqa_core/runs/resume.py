"""Which runs need not be made again: those that finished with the same parameters, notebook, code
and files.
"""

from datetime import datetime
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from iqa_core.runs import run as runs
from iqa_core.runs.parameters import declared_parameters


def alone(folder: Path, *, lead: str = "") -> AcquireReturnProxy:
    """Makes a run's folder and holds its lock, for `with`: no other process runs it, here or where
    the disk is shared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{lead}waits: another process is running it", flush=True)
        return lock.acquire()


def why_again(notebook: Path, parameters: dict, *, folder: Path, root: Path) -> str:
    """In a few words why the run of a notebook in `folder` is to be made again; "" if it would come
    out the same.

    `parameters` are those that are not to be the notebook's defaults. Files count by the hashes
    that the run recorded (`runs.Run.uses`); other results of earlier notebooks of the experiment by
    the time at which they finished."""
    if not ((folder / "_SUCCESS").is_file() and (folder / "params.json").is_file()):
        return "it has not finished yet"
    before = runs.read_json(folder / "params.json")
    defaults = {name: each.default for name, each in declared_parameters(notebook).items()}
    changes = _changed_parameters(before["parameters"], defaults | parameters)
    if changes:
        return "; ".join(changes)
    if before.get("notebook_hash") != runs.notebook_hash(notebook):
        return f"{notebook.name} has changed"
    if before.get("code_hash") != runs.code_hash(root):
        return "iqa_core or a table of data/demo has changed"
    return _changed_file(before, root=root) or _newer_run(before, folder=folder)


def _changed_parameters(before: dict, now: dict) -> list[str]:
    """Words on every parameter that is not as it was, but for the number of processes, which
    changes no result.
    """
    names = [name for name in now | before if name != "processes"]
    return [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _changed_file(before: dict, *, root: Path) -> str:
    """What has become of a file whose hash a run recorded when it wrote or read it; "" if all are
    still the same.
    """
    for name, digest in before.get("files", {}).items():
        if not (root / name).is_file():
            return f"{name} is missing"
        if runs.file_hash(root / name) != digest:
            return f"{name} has changed"
    return ""


def _newer_run(before: dict, *, folder: Path) -> str:
    """Which run of an earlier notebook finished after this one began, so that it may not have been
    read here; "" if none.
    """
    begun = datetime.fromisoformat(before["date"]).timestamp()
    for success in sorted(folder.parent.glob("*/_SUCCESS")):
        other = success.parent
        earlier_notebook = number(other.name) < number(folder.name)
        if not earlier_notebook or int(success.stat().st_mtime) <= begun:
            continue
        # two runs that name their files meet in those, whose hashes are compared
        both_name_files = "files" in before and "files" in runs.read_json(other / "params.json")
        if not both_name_files:
            return f"{other.name} has finished since"
    return ""


def number(stem: str) -> str:
    """The number that a notebook's name, or that of its run, begins with: 02 of
    02_train_baseline--rotation1.
    """
    return stem.partition("_")[0]
