"""One notebook in a kernel of its own: the environment that it inherits, what it prints, and which
cell it stopped in.
"""

import logging
import math
import os
import sys
from pathlib import Path

from iqa_core import runs
from iqa_core.apps import sweep
from iqa_core.apps.planning import Job

KERNEL = "python3"  # the kernelspec that the ipykernel wheel puts into this environment


class NotebookFailed(RuntimeError):
    """A notebook stopped; the message names notebook, cell, error and the partial output."""


def check_timeout(timeout_s: float | None) -> None:
    """ValueError for a limit of a cell's time that Jupyter would not keep: it counts whole
    seconds.
    """
    if timeout_s is not None and not 1 <= timeout_s < math.inf:
        raise ValueError(
            f"--timeout {timeout_s / 3600:g}: hours are wanted, at least 0.0003, which is a "
            f"second; leave it out for no limit"
        )


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


def failed_notebook(folder: Path) -> Path:
    """Where an executed notebook lies that has not finished the run of a folder, in plain sight."""
    return folder.with_name(f"{folder.name}.failed.ipynb")


def run_notebook(job: Job, *, root: Path, timeout_s: float | None) -> None:
    """Executes one notebook with papermill; what it prints is shown, indented; progress bars stay
    in the output. However it ends, that lies at `failed_notebook`.
    """
    import papermill
    from traitlets.config import Config

    # its inspector warns of `str | None` parameters, which it misreads
    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = root / f"data/runs/{job.experiment}/.{job.run}.ipynb"
    output.parent.mkdir(parents=True, exist_ok=True)
    kept = failed_notebook(output.with_name(job.run))
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
        if state.get("start_time"):  # at the end papermill calls every cell completed
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
