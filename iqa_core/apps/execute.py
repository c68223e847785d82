"""Runs notebooks headless, strictly: `params/<experiment>/<notebook stem>[--variant].yaml` says
which and with what.

All parameter files of a target are checked before the first notebook starts. The executed notebook
is kept in the run's folder, also when a cell fails. An experiment is a folder; its files run in the
order of their names. Those whose notebooks have the same number do not depend on each other: they
may run at once, and one that fails does not stop the others.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import yaml

from iqa_core import runs
from iqa_core.apps import sweep
from iqa_core.hints import nearest
from iqa_core.runs import committed, folders
from iqa_core.runs import resume as resuming
from iqa_core.runs.choices import check_choices, named_runs
from iqa_core.runs.parameters import check_parameters, declared_parameters
from iqa_core.runs.variants import trainings
from iqa_core.training.recipe import Recipe

KERNEL = "python3"  # the kernelspec that the ipykernel wheel puts into this environment


class Job(NamedTuple):
    """One notebook with its parameters: what the YAML file `file` asks for."""

    file: Path
    experiment: str
    run: str
    notebook: Path
    parameters: dict

    @property
    def name(self) -> str:
        """Of the run: its folder below data/runs."""
        return f"{self.experiment}/{self.run}"


class Took(NamedTuple):
    """What one job took; `state` is "done" or "skipped"."""

    job: Job
    state: str
    seconds: float
    cpu_seconds: float


class NotebookFailed(RuntimeError):
    """A notebook stopped; the message names notebook, cell, error and the partial output."""


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice in a file is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if key in keys:
                raise ValueError(f"the key {key!r} stands twice")
            keys.append(key)
        return super().construct_mapping(node, deep)


def execute(
    target: str,
    *,
    resume: bool = False,
    at_once: int = 1,
    shard: str = "",
    timeout_s: float | None = None,
    overrides: dict | None = None,
    edited: bool = False,
) -> list[Took]:
    """Runs the notebooks of a target, in order, and prints what each took.

    Args:
        target: an experiment ("demo"), or one of its files ("demo/02_train_baseline").
        resume: leave out what would come out the same.
        at_once: how many runs of notebooks with the same number go side by side.
        shard: "i/n", this machine's part of the runs (see `sweep.shard`); "" for all.
        timeout_s: the longest time of one cell, seconds; None without limit.
        overrides: name -> another value, for every notebook that declares the parameter.
        edited: run notebooks also where they are not as they were committed.

    Returns:
        What each run took.

    Raises:
        FileNotFoundError, KeyError, ValueError: for what was asked wrongly, before anything runs.
        NotebookFailed: when cells failed, after all runs with the same notebook number.
    """
    root = runs.project_root()
    overrides = dict(overrides or {})
    jobs = plan(target, root=root, overrides=overrides)
    check_runs(jobs, root=root)
    check_committed(jobs, edited=edited)
    by_notebook = groupby(jobs, key=lambda job: resuming.number(job.notebook.stem))
    groups = [list(group) for _, group in by_notebook]
    mine, left = sweep.shard(groups, shard) if shard else (groups, [])
    sweep.environments(at_once)  # refuses a wrong number before anything runs
    prepare_environment(root)
    if shard:
        shared = groups[len(mine) - 1]
        print(
            f"shard {shard}: {len(mine[-1])} of the {len(shared)} runs of "
            f"{shared[0].notebook.stem}",
            flush=True,
        )
    begun = time.perf_counter()
    took: list[Took] = []
    failed: list[NotebookFailed] = []
    try:
        for place, group in enumerate(mine):
            # what all machines need may be there already, where they share a disk
            skip = resume or bool(shard and group is not mine[-1])
            titles = _titles(mine, place)
            if at_once > 1 and len(group) > 1:
                commands = [
                    _command(job, resume=skip, timeout_s=timeout_s, overrides=overrides)
                    for job in group
                ]
                outcomes = _side_by_side(group, titles, commands, at_once=min(at_once, len(group)))
            else:
                outcomes = _one_by_one(group, titles, root=root, resume=skip, timeout_s=timeout_s)
            with closing(outcomes):
                for outcome in outcomes:
                    (took if isinstance(outcome, Took) else failed).append(outcome)
                    if isinstance(outcome, NotebookFailed) and len(group) > 1:
                        print(str(outcome).partition("\n")[0], flush=True)
            # later notebooks may read what this one should have written
            if failed:
                lines = [str(failure) for failure in failed]
                if mine[place + 1 :]:
                    lines.append(f"not started: {_names(mine[place + 1 :])}")
                raise NotebookFailed("\n".join(lines))
    finally:
        runs.write_index()  # data/runs may hold what another machine ran
        _print_times(took, time.perf_counter() - begun)
    if left:
        print(
            f"left for a call without --shard, once data/runs holds what all shards ran: "
            f"{_names(left)}"
        )
    return took


def execute_child(
    target: str, *, resume: bool, timeout_s: float | None, overrides: dict | None
) -> None:
    """What a process that `execute` started does: the run of one file, as `execute` would. What
    became of it is the last line that it prints, for `_outcome`.
    """
    root = runs.project_root()
    (job,) = plan(target, root=root, overrides=overrides)
    prepare_environment(root)
    try:
        took = _run_or_skip(job, root=root, resume=resume, timeout_s=timeout_s)
        outcome = {key: value for key, value in took._asdict().items() if key != "job"}
    except NotebookFailed as error:
        outcome = {"failed": str(error)}
    print(f"{sweep.OUTCOME}{json.dumps(outcome)}", flush=True)


def plan(target: str, *, root: Path, overrides: dict | None = None) -> list[Job]:
    """The checked jobs of a target, in order; nothing is run."""
    overrides = dict(overrides or {})
    files = parameter_files(target, root=root)
    jobs = [_job(path, root=root, overrides=overrides) for path in files]
    known = sorted({name for job in jobs for name in declared_parameters(job.notebook)})
    for name in set(overrides) - set(known):
        hint = nearest(name, known) or "."
        raise KeyError(
            f"no notebook of {target} declares a parameter {name!r}{hint} They have: "
            f"{', '.join(known)}"
        )
    renamed = [job.run != job.file.stem for job in jobs]
    if any(renamed) and not all(renamed) and "experiment" not in overrides:
        raise ValueError(
            f"--set makes {sum(renamed)} of the {len(jobs)} runs of {target} others, and the rest "
            f"would read them in place of those that are there; keep them apart: "
            f"--set experiment={target.strip('/').partition('/')[0]}-trial"
        )
    return jobs


def check_committed(jobs: list[Job], *, edited: bool) -> None:
    """Prints how notebooks differ from the committed ones; ValueError unless that is meant."""
    differ = []
    for notebook in dict.fromkeys(job.notebook for job in jobs):
        lines = committed.edits(notebook)
        for line in lines:
            print(f"{notebook.name}: {line}", flush=True)
        if lines:
            differ.append(notebook.name)
    if differ and not edited:
        raise ValueError(
            f"{', '.join(differ)}: not as committed, see above (JupyterLab saves by itself); "
            "`git checkout notebooks` brings them back, --edited runs them as they are; to try a "
            "value say --set, to keep a change run scripts/record_notebooks.py"
        )


def parameter_files(target: str, *, root: Path) -> list[Path]:
    """The YAML files of an experiment in the order of their stems, or the one file
    `experiment/stem` names.
    """
    experiment, _, stem = (
        target.strip("/").removesuffix(".yaml").removeprefix("params/").partition("/")
    )
    files = sorted((root / "params" / experiment).glob("*.yaml"), key=lambda path: path.stem)
    if not experiment or not files:
        known = sorted({path.parent.name for path in root.glob("params/*/*.yaml")})
        raise FileNotFoundError(
            f"no experiment {experiment!r} in params/; there are: {', '.join(known) or 'none yet'}"
        )
    chosen = [path for path in files if not stem or path.stem == stem]
    if not chosen:
        known = ", ".join(path.stem for path in files)
        raise FileNotFoundError(f"no {stem}.yaml in params/{experiment}/; there are: {known}")
    return chosen


def read_parameters(path: Path) -> dict:
    """The mapping a parameter file holds ({} for comments alone); ValueError where it is no mapping
    or no YAML.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    if not isinstance(values, dict | None):
        raise ValueError(f"{where} holds a {type(values).__name__}; lines `name: value` are wanted")
    return values or {}


def parse_overrides(settings: list[str]) -> dict:
    """{"epochs": 2} from ["epochs=2"]; the values are read as YAML."""
    overrides = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--set {text!r}: write --set name=value")
        try:
            overrides[name] = yaml.load(value, Loader=_StrictLoader)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {text!r}: {value!r} is no YAML value; quote it") from error
    return overrides


def check_file(path: Path, *, root: Path, overrides: dict | None = None) -> dict:
    """Every parameter its notebook will be given for a YAML file, `experiment` and `run` filled in,
    all checked.
    """
    return _job(path, root=root, overrides=overrides or {}).parameters


def _names(groups: list[list[Job]]) -> str:
    return ", ".join(job.name for group in groups for job in group)


def _job(path: Path, *, root: Path, overrides: dict) -> Job:
    """The checked job of one parameter file; errors name the file."""
    notebook = root / "notebooks" / f"{path.stem.partition('--')[0]}.ipynb"
    by_place = {"experiment": path.parent.name, "run": path.stem}
    try:
        values = read_parameters(path)
        for key in by_place.keys() & values.keys():
            if values[key] != by_place[key]:
                raise ValueError(
                    f"{key} is {values[key]!r}, but the file's place makes it {by_place[key]!r}: "
                    f"leave it out"
                )
        if "run" in overrides:
            raise ValueError(
                "run follows from the file's name and cannot be set; copy the file instead"
            )
        declared = declared_parameters(notebook)
        replaced = {name: value for name, value in overrides.items() if name in declared}
        parameters = check_parameters(notebook, by_place | values | replaced)
        defaults = {name: parameter.default for name, parameter in declared.items()}
        of_file = defaults | check_parameters(notebook, by_place | values)
        if replaced:  # makes another run than that of the file
            parameters["run"] = runs.name_of(path.stem, of_file | parameters, defaults=of_file)
        _check_values(of_file | parameters, notebook, root=root)
    except (KeyError, ValueError, FileNotFoundError) as error:
        where = f"params/{path.parent.name}/{path.name}"
        raise type(error)(f"{where}: {error.args[0]}") from error
    return Job(path, parameters["experiment"], parameters["run"], notebook, parameters)


def _check_values(values: dict, notebook: Path, *, root: Path) -> None:
    """Refuses values, of the right names and types, with which the notebook cannot run."""
    check_choices(values, notebook_stem=notebook.stem, root=root)
    if "options" not in values:
        return
    for variant, parameters in trainings(values).items():
        try:
            Recipe.from_parameters(parameters)
        except (KeyError, ValueError) as error:
            where = f"variants: {variant}: " if variant else ""
            raise type(error)(f"{where}{error.args[0]}") from None


def check_runs(jobs: list[Job], *, root: Path) -> None:
    """FileNotFoundError for a run that a job is to read, if neither data/runs nor an earlier job
    has it.
    """
    planned: list[str] = []
    for job in jobs:
        for parameter, run in named_runs(job.parameters):
            # a variant's run lies in its notebook's: demo-full/04_ablations/full-seed0
            made = any(f"{run}/".startswith(f"{name}/") for name in planned)
            if made or (root / "data/runs" / run / "params.json").is_file():
                continue
            known = sorted({*runs.all_runs(), *planned})
            hint = nearest(run, known) or "."
            raise FileNotFoundError(
                f"params/{job.file.parent.name}/{job.file.name}: {parameter}: there is no run "
                f"{run!r}, nor is one made before{hint} There are {', '.join(known) or 'none yet'}"
            )
        planned.append(job.name)


# ------------------------------------------------------------------------------
# running
def prepare_environment(root: Path) -> None:
    """Sets what kernels inherit: threads, memory allocator, and that `python3` is this interpreter
    with this iqa_core.
    """
    defaults = {
        "OMP_NUM_THREADS": str(sweep.cores()),
        # spinning threads make a step 5 times slower as soon as anything else runs
        "OMP_WAIT_POLICY": "passive",
        # glibc hands large blocks back to the system at every free; keeping them made training on
        # CPU faster
        "MALLOC_MMAP_THRESHOLD_": "100000000000",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "500000000",
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TQDM_MININTERVAL": "10",  # seconds: a progress bar that stays readable in a file
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # else a user's own `python3` kernel may win
    _put_first("JUPYTER_PATH", str(Path(sys.prefix) / "share/jupyter"))
    _put_first("PYTHONPATH", str(Path(runs.__file__).parents[2]))
    _check_kernel()


def _put_first(variable: str, folder: str) -> None:
    others = [
        entry
        for entry in os.environ.get(variable, "").split(os.pathsep)
        if entry not in ("", folder)
    ]
    os.environ[variable] = os.pathsep.join([folder, *others])


def _check_kernel() -> None:
    """Says so if the kernel `python3` would be another interpreter than this one."""
    from jupyter_client.kernelspec import KernelSpecManager

    program = KernelSpecManager().get_kernel_spec(KERNEL).argv[0]
    # for these jupyter_client puts this interpreter in
    ours = {"python", "python3", f"python3.{sys.version_info.minor}", sys.executable}
    if program not in ours and Path(program).resolve() != Path(sys.executable).resolve():
        raise FileNotFoundError(
            f"the Jupyter kernel {KERNEL!r} runs {program}, not {sys.executable}; "
            "install ipykernel into this environment (make env) or remove that kernelspec"
        )


def _titles(groups: list[list[Job]], place: int) -> list[str]:
    """ "[2/5] demo/02_train_baseline" for each job of one group, of all that are run."""
    total = sum(map(len, groups))
    first = 1 + sum(map(len, groups[:place]))
    return [f"[{k}/{total}] {job.name}" for k, job in enumerate(groups[place], start=first)]


def _one_by_one(
    group: list[Job], titles: list[str], *, root: Path, resume: bool, timeout_s: float | None
) -> Iterator[Took | NotebookFailed]:
    """What became of independent jobs that run in this process, one after the other."""
    for job, title in zip(group, titles, strict=True):
        print(title, flush=True)
        try:
            yield _run_or_skip(job, root=root, resume=resume, timeout_s=timeout_s)
        except NotebookFailed as failure:
            yield failure


def _side_by_side(
    group: list[Job], titles: list[str], commands: list[list[str]], *, at_once: int
) -> Iterator[Took | NotebookFailed]:
    """What became of independent jobs that run in processes of their own, as they end; what one
    prints stands behind the name of its job.
    """
    names = [job.run.partition("--")[2] or job.run for job in group]
    if len({*names}) < len(names):
        names = [job.run for job in group]
    calls = [
        sweep.Call(title, f"{name} | ", command)
        for title, name, command in zip(titles, names, commands, strict=True)
    ]
    jobs = dict(zip(titles, group, strict=True))
    for call, ended in sweep.side_by_side(calls, at_once=at_once):
        yield _outcome(jobs[call.title], ended)


def _command(job: Job, *, resume: bool, timeout_s: float | None, overrides: dict) -> list[str]:
    """The command line that runs one job as `execute_child` does."""
    target = f"{job.file.parent.name}/{job.file.stem}"
    command = [sys.executable, "-m", "iqa_core", "run", target, "--child"]
    if resume:
        command.append("--resume")
    if timeout_s is not None:
        command.append(f"--timeout={timeout_s / 3600!r}")
    for name in overrides.keys() & job.parameters.keys():  # those that its notebook declares
        value = yaml.safe_dump(overrides[name], default_flow_style=True, width=float("inf"))
        command.append(f"--set={name}={value}")
    return command


def _outcome(job: Job, ended: sweep.Ended) -> Took | NotebookFailed:
    """What became of a job, as its process told in `execute_child`."""
    if not ended.outcome:
        return NotebookFailed(f"{job.name}: its process ended with exit code {ended.exit_code}")
    outcome = json.loads(ended.outcome)
    return NotebookFailed(outcome["failed"]) if "failed" in outcome else Took(job, **outcome)


def _run_or_skip(job: Job, *, root: Path, resume: bool, timeout_s: float | None) -> Took:
    folder = root / "data/runs" / job.experiment / job.run
    with folders.alone(job.name, lead=sweep.INDENT):
        folders.settle(folder)
        if resume:
            why = resuming.why_again(job.notebook, job.parameters, folder=folder, root=root)
            if not why:
                date = runs.read_json(folder / "params.json")["date"]
                print(
                    f"{sweep.INDENT}skipped: finished {date}, same parameters, notebook, code and "
                    f"files",
                    flush=True,
                )
                return Took(job, "skipped", 0.0, 0.0)
            print(f"{sweep.INDENT}runs: {why}", flush=True)
        wall, cpu, before = time.perf_counter(), _children_cpu(), _finished(folder)
        _run(job, root=root, timeout_s=timeout_s)
        if _finished(folder) in (None, before):
            raise NotebookFailed(
                f"{job.notebook.name} ended without run.finish(...), so {job.name} is no result"
            )
        _failed(folder).replace(folder / f"{job.run}.ipynb")
        return Took(job, "done", time.perf_counter() - wall, _children_cpu() - cpu)


def _failed(folder: Path) -> Path:
    """Where an executed notebook lies that has not finished the run of a folder, in plain sight."""
    return folder.with_name(f"{folder.name}.failed.ipynb")


def _run(job: Job, *, root: Path, timeout_s: float | None) -> None:
    """Executes one notebook with papermill; what it prints is shown, indented; progress bars stay
    in the output. However it ends, that lies at `_failed`.
    """
    import logging

    import papermill
    from traitlets.config import Config

    # its inspector warns of `str | None` parameters, which it misreads
    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = root / f"data/runs/{job.experiment}/.{job.run}.ipynb"
    output.parent.mkdir(parents=True, exist_ok=True)
    kept = _failed(output.with_name(job.run))
    try:
        papermill.execute_notebook(
            job.notebook,
            output,
            parameters=job.parameters,
            kernel_name=KERNEL,
            language="python",
            execution_timeout=timeout_s and round(timeout_s),
            cwd=root,
            progress_bar=False,
            stdout_file=_Indented(),
            # so that others on this machine cannot listen
            config=Config(KernelManager={"transport_encryption": "auto"}),
        )
    # a failed cell, a timeout, a dead kernel: all told in the same words
    except Exception as error:
        if output.is_file():
            output.replace(kept)
        raise NotebookFailed(_what_failed(job, kept, error, root=root)) from error
    output.replace(kept)


def _finished(folder: Path) -> int | None:
    """When a run's `_SUCCESS` was written, nanoseconds; None without one."""
    return (folder / "_SUCCESS").stat().st_mtime_ns if (folder / "_SUCCESS").is_file() else None


class _Indented:
    """A file that shows what the kernel prints, every line indented."""

    def write(self, text: str) -> None:
        for line in text.splitlines():
            print(f"{sweep.INDENT}{line}", flush=True)

    def flush(self) -> None:
        sys.stdout.flush()


def _what_failed(job: Job, output: Path, error: Exception, *, root: Path) -> str:
    """Notebook, cell (as counted in the notebook itself), its first line, the error, and where the
    rest stands.
    """
    # papermill tells name and value of an error in a cell; others have their own
    name = getattr(error, "ename", type(error).__name__)
    value = getattr(error, "evalue", str(error).strip().partition("\n")[0])
    return (
        f"{job.name}: notebooks/{job.notebook.name} failed {_failed_cell(output)}: "
        f"{name}: {value}\n"
        f"    as far as it came: {output.relative_to(root)}"
    )


def _failed_cell(output: Path) -> str:
    """The cell that raised, else (timeout, dead kernel) the last one begun: "in cell <number from
    1>, `<first line>`".
    """
    cells = runs.read_json(output)["cells"] if output.is_file() else []
    cells = [cell for cell in cells if not _is_papermills(cell)]
    raised, begun = [], []
    for number, cell in enumerate(cells, start=1):
        state = cell["metadata"].get("papermill", {})
        if state.get("exception"):
            raised.append(number)
        if state.get("status", "pending") != "pending":
            begun.append(number)
    if not raised and not begun:
        return "before its first cell"
    number = raised[0] if raised else begun[-1]
    line = "".join(cells[number - 1]["source"]).strip().partition("\n")[0]
    return f"in cell {number}, `{line}`"


def _is_papermills(cell: dict) -> bool:
    return bool(
        {"injected-parameters", "papermill-error-cell-tag"} & set(cell["metadata"].get("tags", []))
    )


def _children_cpu() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _print_times(took: list[Took], elapsed: float) -> None:
    """One line a notebook, one for all: wall and CPU seconds; then the load of the machine: times
    hold for an idle one.
    """
    if not took:
        return
    width = max(len(entry.job.run) for entry in took)
    for job, state, seconds, cpu_seconds in took:
        print(f"{job.run:{width}}  {state:7}  {seconds:7.1f} s  {cpu_seconds:8.1f} CPU s")
    cpu = sum(entry.cpu_seconds for entry in took)
    print(f"{'all':{width}}  {'':7}  {elapsed:7.1f} s  {cpu:8.1f} CPU s")
    if hasattr(os, "getloadavg"):
        one, five, fifteen = os.getloadavg()
        print(
            f"load average {one:.1f} {five:.1f} {fifteen:.1f} (1, 5, 15 minutes) on "
            f"{os.cpu_count()} cores",
            flush=True,
        )
