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
    then = runs.read_json(folder / "params.json")
    was = then["parameters"]
    now = {
        name: parameter.default for name, parameter in declared_parameters(notebook).items()
    } | parameters
    if changed := [
        name for name in now | was if was.get(name) != now.get(name) and name != "processes"
    ]:
        return "; ".join(f"{name} was {was.get(name)!r}, is {now.get(name)!r}" for name in changed)
    if then.get("notebook_hash") != runs.notebook_hash(notebook):
        return f"{notebook.name} has changed"
    if then.get("code_hash") != runs.code_hash(root):
        return "iqa_core or a table of data/demo has changed"
    return _changed_file(then, root=root) or _newer_run(then, folder=folder)


def _changed_file(then: dict, *, root: Path) -> str:
    """What has become of a file whose hash a run recorded when it wrote or read it; "" if all are
    still the same.
    """
    for name, digest in then.get("files", {}).items():
        if not (root / name).is_file():
            return f"{name} is missing"
        if runs.file_hash(root / name) != digest:
            return f"{name} has changed"
    return ""


def _newer_run(then: dict, *, folder: Path) -> str:
    """Which run of an earlier notebook finished after this one began, so that it may not have been
    read here; "" if none.
    """
    begun = datetime.fromisoformat(then["date"]).timestamp()
    for path in sorted(folder.parent.glob("*/_SUCCESS")):
        newer = number(path.parent.name) < number(folder.name) and int(path.stat().st_mtime) > begun
        # two runs that name their files meet in those, whose hashes are compared
        if newer and not (
            "files" in then and "files" in runs.read_json(path.parent / "params.json")
        ):
            return f"{path.parent.name} has finished since"
    return ""


def number(stem: str) -> str:
    """The number that a notebook's name, or that of its run, begins with: 02 of
    02_train_baseline--rotation1.
    """
    return stem.partition("_")[0]
