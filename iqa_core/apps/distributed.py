"""One training distributed over several processes, asked for by a notebook or, on several machines,
by the command line.

Each process runs the notebook's cells with the run's parameters as far as its training, which
`training.fit` distributes over the processes of torchrun, and ends. The checkpoint then holds every
step: the notebook's own `fit` finds it, gives its rows again, and the notebook goes on as after a
training of one process.
"""

import linecache
import os
import shlex
import subprocess
import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from iqa_core import runs
from iqa_core.apps import execute, planning, sweep
from iqa_core.runs import folders
from iqa_core.runs.parameters import declared_parameters

TAG = "training"  # of the last cell that every process runs: the one that trains
OUTPUT = {
    "MPLBACKEND": "agg",  # figures without a screen
    # each state of a progress bar is a line, one every 5 seconds
    "TQDM_BAR_FORMAT": "{l_bar}{bar}{r_bar}\n",
    "TQDM_MININTERVAL": "5",
}


class Cell(NamedTuple):
    """A code cell: its number among all cells, from 1, its source and its tags."""

    number: int
    source: str
    tags: list[str]


def train(record: runs.Run, processes: int) -> None:
    """Has several processes of this machine do a run's training, up to the checkpoint that
    `training.fit` then finds.

    Does nothing for 1, and inside torchrun. They run the notebook as it was last saved. What the
    first one prints is printed here, also errors and warnings of all. They end with this process,
    however it ends.

    Args:
        record: the run, whose notebook has a cell tagged `training`.
        processes: their number, up to that of the GPUs, or of the cores where there is none.

    Raises:
        ValueError: for a number that cannot be, and a notebook that keeps no checkpoint.
        RuntimeError: when a process failed.
    """
    if processes == 1 or "RANK" in os.environ:
        return
    threads = max(1, sweep.threads_allowed() // sweep.processes_allowed(processes))
    notebook = runs.project_root() / f"notebooks/{record.notebook}.ipynb"
    if not any("record.trainings" in cell.source for cell in cells_to_training(notebook)):
        raise ValueError(
            f"{notebook.name} keeps no training, so that of several processes would be lost: give "
            "`training.fit` checkpoint=record.trainings"
        )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    command += ["-m", __name__, str(record.folder)]
    torchrun = subprocess.Popen(
        command,
        env=os.environ | dict.fromkeys(sweep.THREADS, str(threads)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with torchrun:  # its end closes stdin, which ends the processes
        for line in torchrun.stdout:
            if line.strip():
                print(line, end="", flush=True)
    if torchrun.returncode:
        raise RuntimeError(
            f"the training by {processes} processes ended with exit code {torchrun.returncode}; "
            f"what failed stands above; start this again, it goes on from the last checkpoint"
        )


def run_distributed(
    target: str,
    settings: list[str],
    *,
    processes: int | None,
    timeout_s: float | None,
    edited: bool = False,
) -> None:
    """What `python -m iqa_core train` does: the run of one parameter file, its training by several
    processes. Inside torchrun, only what this process does of that training.

    Args:
        target: the parameter file, as for `execute.execute`.
        settings: other parameters, as for `planning.parse_overrides`.
        processes: their number, None for as many as GPUs and inside torchrun.
        timeout_s: the longest time of one cell, seconds.
        edited: as for `execute.execute`.

    Raises:
        ValueError: for a target that is not one file of a notebook that declares `processes`.
        Others as `execute.execute`.
    """
    root = runs.project_root()
    overrides = planning.parse_overrides(settings)
    job, *others = planning.plan(target, root=root, overrides=overrides)
    set_words = [word for text in settings for word in ("--set", text)]
    run_command = shlex.join(["python", "-m", "iqa_core", "run", target, *set_words])
    if others:
        raise ValueError(
            f"train {target}: that is {len(others) + 1} parameter files; name one, as {job.name}"
        )
    if "processes" not in declared_parameters(job.notebook):
        raise ValueError(
            f"{job.notebook.name} declares no parameter `processes`, so none can share it; use "
            f"`{run_command}`"
        )
    if "RANK" not in os.environ:
        overrides["processes"] = sweep.processes_allowed(processes)
        execute.execute(target, timeout_s=timeout_s, overrides=overrides, edited=edited)
        return
    if processes is not None:
        raise ValueError(
            f"--processes {processes}: torchrun has said how many there are; leave it out"
        )
    if timeout_s is not None:
        raise ValueError("--timeout: inside torchrun nothing keeps it; leave it out")
    first = os.environ["RANK"] == "0"
    with folders.alone(job.name) if first else nullcontext():
        _run_to_training(job.notebook, job.parameters)
    if first:
        print(f"trained; `{run_command}` goes on from the checkpoint: tests, figures", flush=True)


def cells_to_training(notebook: Path) -> list[Cell]:
    """The code cells of a notebook as far as the one tagged `training`; ValueError if it is not
    exactly one.
    """
    cells = [
        Cell(number, "".join(cell["source"]), cell["metadata"].get("tags", []))
        for number, cell in enumerate(runs.read_json(notebook)["cells"], start=1)
        if cell["cell_type"] == "code"
    ]
    tagged = [place for place, cell in enumerate(cells) if TAG in cell.tags]
    if len(tagged) != 1:
        raise ValueError(
            f"{notebook.name}: {len(tagged)} cells are tagged `{TAG}`; tag the one that trains, "
            f"the last that all processes run"
        )
    return cells[: tagged[0] + 1]


def _run_to_training(notebook: Path, parameters: dict) -> None:
    """Runs a notebook's code cells as far as its training, from the project's root; only the first
    process prints.
    """
    cells = cells_to_training(notebook)
    os.chdir(runs.project_root())
    os.environ.update(OUTPUT)
    first = os.environ["RANK"] == "0"
    if not first:
        os.environ["TQDM_DISABLE"] = "1"
    namespace = {"__name__": "__main__", "display": print}
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(sys.stdout if first else nowhere):
        for cell in cells:
            _run_cell(f"{notebook.name}, cell {cell.number}", cell.source, namespace)
            if "parameters" in cell.tags:
                namespace.update(parameters)
    torch = sys.modules.get("torch")
    if torch and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _run_cell(name: str, source: str, namespace: dict) -> None:
    # tracebacks then show lines of it
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        exec(compile(source, name, "exec"), namespace)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"error in process {os.environ['RANK']}: {name}: {type(error).__name__}: {error}")
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot:
        pyplot.close("all")


if __name__ == "__main__":
    sweep.end_with_stdin()
    facts = runs.read_json(Path(sys.argv[1]) / "params.json")
    notebook = runs.project_root() / "notebooks" / f"{facts['notebook']}.ipynb"
    _run_to_training(notebook, facts["parameters"])
