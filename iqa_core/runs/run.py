"""Run folders: what a notebook was given, what it measured, and where that lies.

A notebook starts its run with `run = runs.start("02_train_baseline", globals())` after its
parameters cell. The run is then made in a draft, which holds `params.json` at once, `history.csv`
and `train.log` as rows are logged; `run.finish(...)` writes `metrics.json` and `_SUCCESS`, and the
draft takes its place, `data/runs/<experiment>/<run>/`. Until then what had finished there stays as
it was. docs/runs.md tells the story in one place."""

import hashlib
import json
import math
import os
import shutil
import time
from pathlib import Path

from iqa_core import datasets
from iqa_core.files import file_hash as file_hash  # as runs.file_hash, for notebooks
from iqa_core.files import project_root, read_json, write_json, write_text
from iqa_core.hints import nearest
from iqa_core.runs import committed, folders, sources
from iqa_core.runs.choices import check_choices, check_folder_name
from iqa_core.runs.facts import circumstances
from iqa_core.runs.history import History
from iqa_core.runs.parameters import (
    check_names,
    check_parameters,
    declared_parameters,
    injected_parameters,
)

# two runs that differ in these alone give the same numbers
OF_NO_RESULT = ("experiment", "run", "processes")


class Run:
    """One run that is being made. Made by `start`, never by hand.

    Of the processes of torchrun, the first one alone writes. Once it has finished it refuses to
    write: RuntimeError.

    Attributes:
        experiment, name: of the run; <run>/<variant> for a run within a run.
        notebook: the name of its notebook.
        folder: where it lies: a draft, and once it has finished data/runs/<experiment>/<name>.
        parameters: all of the notebook's, name -> value.
        finished: whether a variant had finished before: it is read then, and not made again.
        trainings: the folder in which `training.fit` keeps trainings.
    """

    def __init__(self, facts: dict, *, place: Path, folder: Path, finished: bool = False):
        self.parameters = facts["parameters"]
        self.experiment = facts["experiment"]
        self.name = facts["run"]
        self.notebook = facts["notebook"]
        self.folder = folder
        self.finished = finished
        self.trainings = folders.home() / ".trainings"
        self.first = os.environ.get("RANK", "0") == "0"
        self._place = place  # of the run, or of that which this one is within
        self._closed = False
        self._begun = time.perf_counter()
        self._history = History(folder)
        if finished:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.first:
            if not _shares_a_training():
                _clear(folder)
            # in one step: a kill at any moment leaves the earlier file or this one
            write_json(self.folder / "params.json", facts)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(
                f"the run {self.experiment}/{self.name} has finished, its files stay as they are: "
                "read them in `record.folder`, or run the cell with runs.start(...) again, and all "
                "after it, to make the run anew"
            )

    def path(self, name: str) -> Path:
        """Where the run's file `name` is to be written (its folder exists)."""
        self._check_open()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, row: dict) -> None:
        """Adds one row (a validation, by its `step`) to `history.csv`, `train.log` and
        TensorBoard's scalars in `tensorboard/`.

        A row that a training taken up again gives a second time is in each of them once.
        """
        self._check_open()
        self._history.add(row)
        if self.first:
            for line in self._history.write():
                self.note(line)

    @property
    def rows(self) -> list[dict]:
        """What was logged, in order."""
        return self._history.rows

    def note(self, text: str) -> None:
        """Adds lines to `train.log` and, but for a run inside a run, prints them."""
        if not self.first:
            return
        with self.path("train.log").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        if "/" not in self.name:
            print(text, flush=True)

    def record(self, **facts: object) -> None:
        """Merges facts into `params.json`, dicts into those that are there; `model`, `set` and
        `split_hash` also go to the row of `index.csv`.
        """
        self._check_open()
        if not self.first:
            return
        known = read_json(self.path("params.json"))
        for name, value in facts.items():
            merges = isinstance(value, dict) and isinstance(known.get(name), dict)
            known[name] = known[name] | value if merges else value
        write_json(self.path("params.json"), known)

    @property
    def facts(self) -> dict:
        """What `params.json` holds by now."""
        return read_json(self.folder / "params.json")

    # ---- what it depends on

    def uses(self, *files: Path) -> None:
        """Records hashes of files below the project's root that this run wrote or read: it is made
        again when they change.
        """
        root = project_root()
        draft = folders.draft_of(self._place)
        hashes = {}
        for path in files:
            name = path.relative_to(root)
            if path.is_relative_to(draft):  # where it will lie
                name = (self._place / path.relative_to(draft)).relative_to(root)
            hashes[name.as_posix()] = file_hash(path)
        self.record(files=hashes)

    def uses_code(self, *modules: str) -> None:
        """Records modules that the notebook reaches by a name (a model, a set that makes its own
        images), with all that they import.
        """
        named = dict.fromkeys(modules, True)
        self.record(code=sources.code_of_modules(modules), by_name=named)

    def uses_set(self, name: str, *parts: str) -> None:
        """Records what lies behind a data set's table: `parts` of `datasets.FINGERPRINTS`, all if
        none are given.
        """
        now = datasets.fingerprint(name, parts or datasets.FINGERPRINTS, root=project_root())
        if module := datasets.module_of(name):
            self.uses_code(module)
        self.record(sets={name: now})

    def uses_runs(self, found: folders.Found) -> None:
        """Records which runs were looked for and found: this one is made again when others would
        be. Prints both, and those that were passed over.
        """
        print(f"taken: {', '.join(found.taken) or 'none'}", flush=True)
        if found.passed_over:
            print(
                f"passed over (older, or set for once): {', '.join(found.passed_over)}", flush=True
            )
        known = read_json(self.path("params.json")).get("found", [])
        self.record(found=[*known, {"taken": found.taken, "asked": found.asked}])

    def find_run(
        self, notebook: str, *, split: list[str] | None = None, without: str = "left out"
    ) -> str:
        """The newest finished run of a notebook in this experiment, of `split` (as `newest_runs`
        takes it) alone where that is given; printed and recorded. "" if there is none.

        without   what is printed then, before why
        """
        asked = {"experiment": self.experiment, "notebooks": [notebook], "split": split}
        asked["one"] = True
        try:
            found = folders.newest_runs(**asked)
        except FileNotFoundError as error:
            print(f"{without}: {error}", flush=True)
            found = folders.Found([], [], asked)
        self.uses_runs(found)
        return found.taken[0] if found.taken else ""

    # ---- runs within it, and its end

    def variant(self, name: str, **parameters: object) -> "Run":
        """A run inside this one (`<run>/<name>/`, a row of the index of its own), with these
        parameters changed.

        Its `finished` says whether it has finished already, with the same parameters, code and
        files, in this draft or in the finished run that the draft is to replace; then its folder
        stays as it is.
        """
        facts = read_json(self.path("params.json"))
        check_folder_name(name)
        facts["run"] = f"{self.name}/{name}"
        facts["parameters"] = self.parameters | parameters
        folder = self.folder / name
        before = self._place / name
        there = self._is_made(folder, facts)
        if not there and self.first:
            shutil.rmtree(folder, ignore_errors=True)
            there = self._is_made(before, facts)
            if there:
                _link(before, folder)
        return Run(facts, place=self._place, folder=folder, finished=there)

    def _is_made(self, folder: Path, facts: dict) -> bool:
        """Whether a variant has finished in a folder and would come out the same."""
        if not (folder / "_SUCCESS").is_file():
            return False
        before = read_json(folder / "params.json")
        same = before["parameters"] == facts["parameters"] and all(
            before.get(key, {}).get(name) == value
            for key in ("code", "files", "sets")
            for name, value in facts.get(key, {}).items()
        )
        return same and before.get("notebook_hash") == facts["notebook_hash"]

    def finish(self, headline: dict) -> None:
        """Writes `metrics.json` and `_SUCCESS`, moves the draft to its place, and writes the index.
        Nested values stay out of the index.

        Its seconds are those of the process that finished the run.
        """
        self._check_open()
        if self.first:
            write_json(self.path("metrics.json"), headline)
            seconds = round(time.perf_counter() - self._begun, 1)
            self.record(seconds=seconds, finished=time.time())
            self._history.close()
            write_text(self.path("_SUCCESS"), "")
        self._closed = True
        is_within = "/" in self.name
        if not self.first or is_within:
            return
        folders.take_place(self._place)
        self.folder = self._place
        folders.let_go(f"{self.experiment}/{self.name}")
        folders.write_index()
        self._say_what_was_made(headline)

    def _say_what_was_made(self, headline: dict) -> None:
        name = f"{self.experiment}/{self.name}"
        print(f"finished {name}: {self.folder.relative_to(project_root())}", flush=True)
        if figures := _headline(headline):
            print(figures, flush=True)
        if (self.folder / "model.json").is_file():
            print(f'load it: runs.load_model("{name}")', flush=True)


def _link(source: Path, target: Path) -> None:
    """Gives a folder a second name, whole or not at all, without copying bytes where the disk can
    do that.
    """
    draft = target.with_name(f".{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(source, draft, copy_function=os.link)
    except (OSError, shutil.Error):  # of a disk that knows no second name
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(source, draft)
    draft.rename(target)


def _clear(draft: Path) -> None:
    """Removes what an earlier run has left in a draft but for runs within it, of which `variant`
    takes those that are still right. Trainings are kept elsewhere.
    """
    for path in draft.iterdir():
        if not path.is_dir():
            path.unlink()
        elif not (path / "params.json").is_file():
            shutil.rmtree(path)


def _of_results(parameters: dict) -> dict:
    """The parameters that change what comes out."""
    return {name: value for name, value in parameters.items() if name not in OF_NO_RESULT}


def _headline(metrics: dict) -> str:
    """Counts and first figures of a run's metrics, with their intervals where they have some."""
    words = []
    for key, value in metrics.items():
        if not isinstance(value, int | float) or key.endswith(("_low", "_high")):
            continue
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        is_known = low is not None and math.isfinite(low)
        interval = f" [{low:.3f}, {high:.3f}]" if is_known else ""
        number = f"{value:.3f}" if isinstance(value, float) else str(value)
        words.append(f"{key} {number}{interval}")
    return ", ".join(words[:4])


def start(notebook_stem: str, namespace: dict) -> Run:
    """The run of a notebook: checks its parameters, makes its draft and writes `params.json`.

    Args:
        notebook_stem: the notebook's name without .ipynb.
        namespace: its globals, out of which the declared parameters are taken. `experiment`
            defaults to "lab"; an empty `run` to the notebook's stem, with six characters more that
            stand for the parameters where these are not the committed defaults.

    Raises:
        KeyError, ValueError, FileNotFoundError: as `check_parameters` and `check_choices`;
            KeyError for a name that papermill was given and the notebook does not declare, and
            before the parameters cell was run; ValueError where another process makes this run.
        OSError: for a disk on which the draft has no place beside the run that it is to replace.
    """
    root = project_root()
    notebook = root / "notebooks" / f"{notebook_stem}.ipynb"
    declared = declared_parameters(notebook)
    missing = [name for name in declared if name not in namespace]
    if missing:
        raise KeyError(
            f"{notebook.name}: run the parameters cell first, {', '.join(missing)} not set yet"
        )
    check_names(notebook, injected_parameters(notebook, namespace.get("In", [])))
    values = {name: namespace[name] for name in declared}
    if isinstance(values.get("run"), Run):  # the cell `run = runs.start(...)` is run a second time
        values["run"] = values["run"].parameters["run"]
    parameters = check_parameters(notebook, values)
    check_choices(parameters, notebook_stem=notebook_stem, root=root)
    experiment = parameters.get("experiment") or "lab"
    name = parameters.get("run")
    if not name:
        name = name_of(notebook_stem, parameters, defaults=committed.defaults_of(notebook))
    parameters |= {"experiment": experiment, "run": name}
    place = folders.home() / experiment / name
    if not _shares_a_training():
        folders.let_go_all(but=f"{experiment}/{name}")  # a cell that is run again with other values
        folders.hold(f"{experiment}/{name}")
        folders.settle(place)
        folders.check_room(place)
    facts = {"experiment": experiment, "run": name, "parameters": parameters}
    facts |= circumstances(notebook, parameters, root=root)
    facts["edited"] = committed.edits(notebook)
    record = Run(facts, place=place, folder=folders.draft_of(place))
    print(
        f"run {experiment}/{name}: {len(parameters)} parameters, files in "
        f"{place.relative_to(root)} once it has finished",
        flush=True,
    )
    return record


def _shares_a_training() -> bool:
    """Whether this is one of several processes: the run's draft is then others' as well."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def name_of(stem: str, parameters: dict, *, defaults: dict) -> str:
    """The name of a run by its parameters: `stem` where they are the `defaults`, else <stem>--<6
    characters>, the same for the same parameters.
    """
    chosen = _of_results(parameters)
    if chosen == _of_results(defaults):
        return stem
    text = json.dumps(chosen, sort_keys=True, default=str)
    return f"{stem}--{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def load_model(run: str | Path):
    """The best weights of a finished run as a module in evaluation mode; by `<experiment>/<run>` or
    by folder.

    Also published weights that `weights convert` brought here, by their name in data/raw/weights or
    by folder, and the scorer that comes with the workbook, weak_scorer.
    """
    from ..models import published, weights

    # a folder of converted weights has no params.json, as a run has
    for folder in (published.folder() / run, project_root() / "data/demo" / run, Path(run)):
        if (folder / "model.json").is_file() and not (folder / "params.json").is_file():
            return weights.load(folder)
    if str(run) in {row.name for row in published.rows()}:
        fix = f"`python -m iqa_core weights get {run}`, then `weights convert --model {run}`"
        raise FileNotFoundError(f"the published weights {run} are not here as a model: {fix}")
    hint = nearest(run, [row.name for row in published.rows()], most=3)
    if hint and "/" not in str(run):
        raise FileNotFoundError(f"there is no run and there are no published weights {run}{hint}")
    return weights.load(folders.finished(run))
