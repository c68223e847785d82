"""One training shared by several processes, asked for by a notebook or, on several machines, by the
command line.

Each process runs the notebook's cells with the run's parameters as far as its training, which
`training.fit` shares among the processes of torchrun, and ends. The checkpoint then holds every
step: the notebook's own `fit` finds it, gives its rows again, and the notebook goes on as after a
training of one process."""

import linecache
import os
import shlex
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from iqa_core import runs
from iqa_core.apps import execute, sweep
from iqa_core.runs import resume
from iqa_core.runs.parameters import declared_parameters

TRAINING = "training.fit("  # the first cell that holds it is the last one that is shared
# figures without a screen; each state of a progress bar is a line, one every 5 seconds
OUTPUT = {"MPLBACKEND": "agg", "TQDM_BAR_FORMAT": "{l_bar}{bar}{r_bar}\n", "TQDM_MININTERVAL": "5"}


def train(record: runs.Run, processes: int) -> None:
    """Has `processes` processes of this machine do this run's training, up to the checkpoint that
    `training.fit` then finds.

    Does nothing for 1, and inside torchrun. They run the notebook as it was last saved. What the
    first one prints is printed here, also errors and warnings of all. They end with this process,
    however it ends. ValueError for a number that cannot be and for a notebook that keeps no
    checkpoint, RuntimeError when a process failed."""
    if processes == 1 or "RANK" in os.environ:
        return
    threads = (
        int(given) if (given := os.environ.get(sweep.THREADS[0], "")).isdecimal() else sweep.cores()
    )
    threads = max(1, threads // _allowed(processes))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr=127.0.0.1",
    ]
    command += [f"--nproc-per-node={processes}", "-m", __name__, str(record.folder)]
    environment = os.environ | dict.fromkeys(sweep.THREADS, str(threads))
    lines = dict(
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with subprocess.Popen(
        command, env=environment, **lines
    ) as torchrun:  # whose end closes stdin, which ends the processes
        for line in filter(str.strip, torchrun.stdout):
            print(line, end="", flush=True)
    if torchrun.returncode:
        why = f"the training by {processes} processes ended with exit code {torchrun.returncode}; what failed stands above"
        raise RuntimeError(f"{why}; start this again, it goes on from the last checkpoint")
    if not record.path("last.ckpt").is_file():
        raise ValueError(
            "the training left no last.ckpt: give `training.fit` "
            "checkpoint=record.path('last.ckpt')"
        )


def _allowed(processes: int | None) -> int:
    """The number of processes: as many as GPUs, or 1, for None; ValueError for more than GPUs, or
    without these cores.
    """
    import torch

    gpus, cores = torch.cuda.device_count(), sweep.cores()
    number = (gpus or 1) if processes is None else processes
    if not 1 <= number <= (gpus or cores):
        raise ValueError(
            f"processes is {number}; 1 to {gpus or cores} are allowed here, for {cores} cores and "
            f"{gpus} GPUs"
        )
    return number


def run_or_share(
    target: str, given: list[str], *, processes: int | None, timeout_s: float | None
) -> None:
    """What `python -m iqa_core train` does: the run of one parameter file, its training shared by
    `processes` (as many as GPUs if None); inside torchrun, this process's share of that training
    alone.

    `given`: other parameters, as for `execute.parse_overrides`. ValueError for a target that is not
    one file of a notebook that declares `processes`; other errors as `execute.execute`."""
    root, overrides, inside = (
        runs.project_root(),
        execute.parse_overrides(given),
        "RANK" in os.environ,
    )
    job, *others = execute.plan(target, root=root, overrides=overrides)
    again = shlex.join(
        [
            "python",
            "-m",
            "iqa_core",
            "run",
            target,
            *(word for text in given for word in ("--set", text)),
        ]
    )
    if others:
        many = f"{len(others) + 1} parameter files"
        raise ValueError(f"train {target}: that is {many}; name one, as {job.experiment}/{job.run}")
    if "processes" not in declared_parameters(job.notebook):
        raise ValueError(
            f"{job.notebook.name} declares no parameter `processes`, so none can share it; use "
            f"`{again}`"
        )
    if not inside:
        execute.execute(
            target, timeout_s=timeout_s, overrides=overrides | {"processes": _allowed(processes)}
        )
        return
    if processes is not None:
        raise ValueError(
            f"--processes {processes}: torchrun has said how many there are; leave it out"
        )
    first = os.environ["RANK"] == "0"
    with resume.alone(root / "data/runs" / job.experiment / job.run) if first else nullcontext():
        _share(job.notebook, job.parameters)
    if first:
        print(f"trained; `{again}` goes on from the checkpoint: tests, figures", flush=True)


def _share(notebook: Path, parameters: dict) -> None:
    """Runs a notebook's code cells as far as its training, from the project's root; only the first
    process prints.
    """
    cells = enumerate(runs.read_json(notebook)["cells"], start=1)
    code = [
        (n, "".join(c["source"]), c["metadata"].get("tags", []))
        for n, c in cells
        if c["cell_type"] == "code"
    ]
    last = next((place for place, (_, source, _) in enumerate(code) if TRAINING in source), None)
    if last is None:
        raise ValueError(
            f"{notebook.name} has no cell with `{TRAINING}`: there is nothing to share"
        )
    os.chdir(runs.project_root())
    first, namespace = os.environ["RANK"] == "0", {"__name__": "__main__", "display": print}
    os.environ |= OUTPUT | ({} if first else {"TQDM_DISABLE": "1"})
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(sys.stdout if first else nowhere):
        for number, source, tags in code[: last + 1]:
            _run_cell(f"{notebook.name}, cell {number}", source, namespace)
            namespace |= parameters if "parameters" in tags else {}
    if (torch := sys.modules.get("torch")) and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _run_cell(name: str, source: str, namespace: dict) -> None:
    linecache.cache[name] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        name,
    )  # tracebacks show lines of it
    try:
        exec(compile(source, name, "exec"), namespace)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"error in process {os.environ['RANK']}: {name}: {type(error).__name__}: {error}")
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


def _end_with_stdin() -> None:
    """Ends this process when the one at the other end of its stdin is dead or has closed it."""
    os.read(0, 1)  # nothing is ever written
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    told = runs.read_json(Path(sys.argv[1]) / "params.json")
    _share(runs.project_root() / "notebooks" / f"{told['notebook']}.ipynb", told["parameters"])
