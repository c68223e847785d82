"""What there is in data/runs, what tells two runs apart, and how one is thrown away."""

import shutil
from pathlib import Path

from iqa_core.files import project_root, read_json
from iqa_core.runs import folders, resume
from iqa_core.runs.choices import check_folder_name
from iqa_core.runs.facts import FORMAT
from iqa_core.runs.parameters import declared_parameters

HEADLINES = ("content_srcc", "headline", "srcc", "n")  # the first of them that a run has is shown


def rows() -> list[dict]:
    """A row for every run that is not within another, finished or not: run, state, method, split,
    headline, date, bytes.
    """
    result = []
    for name in folders.all_runs():
        if name.count("/") == 1:
            folder = folders.home() / name
            result.append(_row(name, folders.facts_of(name), folder))
    for file in sorted(folders.home().glob("*/.*.part/params.json")):
        name = f"{file.parents[1].name}/{file.parent.name[1:-5]}"
        result.append(_row(name, read_json(file), file.parent) | {"state": "unfinished"})
    return result


def _row(name: str, facts: dict, folder: Path) -> dict:
    states = []
    if not (folder / "_SUCCESS").is_file():
        states.append("unfinished")
    if facts.get("format") != FORMAT:
        states.append("earlier format")
    if facts.get("edited"):
        states.append("notebook edited")
    metrics = _metrics(folder)
    key = next((key for key in HEADLINES if isinstance(metrics.get(key), int | float)), "")
    return {
        "run": name,
        "state": ", ".join(states) or "finished",
        "method": facts.get("method") or "",
        "split": facts.get("split") or facts.get("set") or "",
        "headline": f"{key} {_shown(metrics[key])}" if key else "",
        "date": str(facts.get("date", ""))[:16].replace("T", " "),
        "bytes": size_of(folder),
    }


def _metrics(folder: Path) -> dict:
    file = folder / "metrics.json"
    return read_json(file) if file.is_file() else {}


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def unused_trainings() -> list[Path]:
    """The folders of finished trainings that no finished run has its weights from: of runs that
    were removed or replaced. Those that have not finished are not among them.
    """
    used = set()
    for name in folders.all_runs("_SUCCESS"):
        used.add(folders.facts_of(name).get("training"))
    kept = sorted((folders.home() / ".trainings").glob("*/finished.ckpt"))
    return [file.parent for file in kept if file.parent.name not in used]


def remove_unused_trainings() -> list[Path]:
    """Removes `unused_trainings`; the folders. ValueError while a run is being made, which may be
    one of them.
    """
    if busy := folders.being_made():
        raise ValueError(f"{', '.join(busy)}: wait until these runs have finished, or stop them")
    removed = unused_trainings()
    for folder in removed:
        shutil.rmtree(folder)
    return removed


def read_by(name: str) -> list[str]:
    """The runs that have read a file of a run."""
    prefix = f"data/runs/{name}/"
    readers = []
    for other in folders.all_runs():
        if f"{other}/".startswith(f"{name}/"):
            continue
        files = folders.facts_of(other).get("files", {})
        if any(file.startswith(prefix) for file in files):
            readers.append(other)
    return readers


def described(name: str) -> list[str]:
    """What is known of a finished run, in lines: when and how it was made, what it read, who reads
    it, whether it is stale, what came out.
    """
    folder = folders.finished(name)
    facts = read_json(folder / "params.json")
    root = project_root()
    notebook = root / f"notebooks/{facts['notebook']}.ipynb"
    declared = declared_parameters(notebook)
    other = {
        key: value
        for key, value in facts["parameters"].items()
        if key in declared and declared[key].default != value
    }
    why = resume.why_again(notebook, facts["parameters"], folder=folder, root=root)
    lines = [
        f"made: {facts['date']} by {facts['notebook']}, commit {facts['git']['commit']}",
        f"parameters that are not the notebook's defaults: {_pairs(other)}",
        f"read: {', '.join(facts.get('files', {})) or 'no file'}",
        f"read by: {', '.join(read_by(name)) or 'no run'}",
        f"stale: {why or 'no, it would come out the same'}",
        f"results: {_pairs(_scalars(_metrics(folder)))}",
    ]
    if facts.get("training"):
        lines.append(f"training: {facts['training']}")
    if facts.get("edited"):
        lines.append(f"its notebook was edited: {'; '.join(facts['edited'])}")
    return lines


def _scalars(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if not isinstance(value, dict | list)}


def _pairs(values: dict) -> str:
    shown = [f"{key} {_shown(value)}" for key, value in values.items()]
    return ", ".join(shown) or "none"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def differences(one: str, other: str) -> list[tuple[str, str, str]]:
    """(what, in the first, in the second) for everything in which two finished runs differ:
    parameters, data, code, versions, results.
    """
    pairs = [_flat(folders.finished(name)) for name in (one, other)]
    keys = dict.fromkeys([*pairs[0], *pairs[1]])
    values = [(key, *(str(flat.get(key, "")) for flat in pairs)) for key in keys]
    return [row for row in values if row[1] != row[2]]


def _flat(folder: Path) -> dict:
    """Facts and results of a run, a key a line."""
    facts = read_json(folder / "params.json")
    flat = {key: value for key, value in facts["parameters"].items() if key != "run"}
    for key in ("split_hash", "notebook_hash", "training"):
        flat[key] = facts.get(key, "")
    for group in ("files", "sets", "code", "versions"):
        flat |= {f"{group}: {name}": value for name, value in facts.get(group, {}).items()}
    for key, value in _scalars(_metrics(folder)).items():
        flat[f"result: {key}"] = _shown(value)
    return flat


def remove(name: str) -> list[Path]:
    """Removes a run and the kept trainings that no other run has; what was removed. Where an
    attempt to make it anew lies beside a finished run, that attempt alone.

    ValueError where other runs have read its files, or a process is making it; FileNotFoundError
    for a run that is not there.
    """
    if name.count("/") != 1:
        raise ValueError(f"{name!r}: a run is named <experiment>/<run>; one within it goes with it")
    for part in name.split("/"):
        check_folder_name(part)
    place = folders.home() / name
    draft = folders.draft_of(place)
    there = [folder for folder in (draft, place) if folder.is_dir()][:1]
    notebooks = [
        place.with_name(f"{place.name}.failed.ipynb"),
        place.with_name(f".{place.name}.ipynb"),
    ]
    if not there and not notebooks[0].is_file():
        folders.run_folder(name)  # says which there are
    if there == [place] and (readers := read_by(name)):
        raise ValueError(f"{name} was read by {', '.join(readers)}: remove these first")
    folders.hold(name)
    before = set(unused_trainings())
    for folder in there:
        (folder / "_SUCCESS").unlink(missing_ok=True)  # no half of it counts as finished
        shutil.rmtree(folder)
    for notebook in notebooks:  # of a headless run that failed, or was ended
        notebook.unlink(missing_ok=True)
    folders.let_go(name)
    freed = sorted(set(unused_trainings()) - before)
    for folder in freed:
        shutil.rmtree(folder)
    folders.write_index()
    return [*there, *freed]
