"""Which runs need not be made again: those of which nothing has changed that their numbers depend
on.
"""

from pathlib import Path

from iqa_core import datasets
from iqa_core.files import file_hash, read_json
from iqa_core.runs import folders, sources
from iqa_core.runs.facts import FORMAT
from iqa_core.runs.parameters import declared_parameters


def why_again(notebook: Path, parameters: dict, *, folder: Path, root: Path) -> str:
    """In a few words why the run of a notebook in `folder` is to be made again; "" if it would come
    out the same.

    `parameters` are those that are not to be the notebook's defaults.
    """
    if not ((folder / "_SUCCESS").is_file() and (folder / "params.json").is_file()):
        return "it has not finished yet"
    before = read_json(folder / "params.json")
    if before.get("format") != FORMAT:
        return "it was made by an earlier version of the workbook, which kept no list of its code"
    defaults = {name: each.default for name, each in declared_parameters(notebook).items()}
    changes = _changed_parameters(before["parameters"], defaults | parameters)
    return "; ".join(changes) or _changed_code(before, notebook) or _changed_input(before, root)


def _changed_parameters(before: dict, now: dict) -> list[str]:
    """Words on every parameter that is not as it was, but for the number of processes, which
    changes results only as `training.fit` says.
    """
    names = [name for name in now | before if name != "processes"]
    return [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _changed_code(before: dict, notebook: Path) -> str:
    """Which code cells or modules are not as they were; "" if all are."""
    version = ".".join(before["versions"]["python"].split(".")[:2])
    if version != sources.python_minor():
        return f"it was made with Python {version}, this is {sources.python_minor()}"
    if before["notebook_hash"] != sources.notebook_hash(notebook):
        return f"code of {notebook.name} has changed"
    now = sources.code_of_notebook(notebook) | sources.code_of_modules(before.get("by_name", {}))
    files = sources.changed(before["code"], now)
    return f"{', '.join(files)} changed" if files else ""


def _changed_input(before: dict, root: Path) -> str:
    """What a run has read that is not as it was; "" if all is."""
    for name, digest in before.get("files", {}).items():
        if not (root / name).is_file():
            return f"{name} is missing"
        if file_hash(root / name) != digest:
            return f"{name} has changed"
    for name, known in before.get("sets", {}).items():
        try:
            now = datasets.fingerprint(name, known, root=root)
        except (KeyError, ValueError, FileNotFoundError) as error:
            return f"{name} cannot be read: {error.args[0]}"
        for part, digest in known.items():
            if now[part] != digest:
                return f"{part} of {name} changed"
    return _newer_runs(before)


def _newer_runs(before: dict) -> str:
    """Which finished runs would be found in place of those that were; "" if the same would."""
    for found in before.get("found", []):
        try:
            taken = folders.newest_runs(**found["asked"]).taken
        except FileNotFoundError:
            taken = []
        if taken != found["taken"]:
            return f"the newest runs are now {', '.join(taken) or 'none'}"
    return ""


def number(stem: str) -> str:
    """The number that a notebook's name, or that of its run, begins with: 02 of
    02_train_baseline--rotation1.
    """
    return stem.partition("_")[0]
