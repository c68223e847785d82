"""One training distributed over processes: what notebooks and the command line start, what is
shown, and how all of it ends.

Most of it is asked of a `training` that is a few lines of Python and starts at once; the real one
comes at the end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import training_jobs
from conftest import REPOSITORY

from iqa_core import runs
from iqa_core.apps import distributed, sweep

CELL = """\
experiment: str = "lab"  # folder of runs
run: str = ""  # folder of this run
processes: int = 1  # that share the training
steps: int = 4  # rows
"""
START = """\
import os
import toy as training
from iqa_core import runs
from iqa_core.apps import distributed
record = runs.start("02_x", globals())
threads, backend = os.environ["OMP_NUM_THREADS"], os.environ.get("MPLBACKEND")
print("threads", threads, "backend", backend, "in", os.getcwd())
display("shown");"""
FIT = """\
distributed.train(record, processes)
for row in training.fit(record.trainings / "x/last.ckpt", steps):
    record.rows.append(row)"""
END = "record.finish({'rows': record.rows})"
TOY = """\
import json, os, signal, time
from pathlib import Path
from iqa_core.files import write_json
from tqdm import tqdm

def fit(checkpoint, steps):
    rank, trap = os.environ.get("RANK", "alone"), Path(os.environ["IQA_ROOT"], "trap")
    (Path(os.environ["IQA_ROOT"]) / f"pid{rank}").write_text(str(os.getpid()))
    rows = json.loads(checkpoint.read_text()) if checkpoint.exists() else []
    print("goes on from", len(rows), "in", rank, flush=True)
    yield from rows
    bar = tqdm(total=steps, desc="train")
    for step in range(len(rows) + 1, steps + 1):
        if trap.exists() and step == 3:
            while not checkpoint.exists() or len(json.loads(checkpoint.read_text())) < 2:
                time.sleep(0.05)
            what = trap.read_text()
            if what == f"error {rank}":
                raise ValueError("no labels in here")
            if what == f"kill {rank}":
                trap.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        rows.append(step)
        print("step", step, flush=True)
        bar.update()
        if rank in ("0", "alone"):
            write_json(checkpoint, rows)
        yield rows[-1]
    bar.close()
"""
CORES = pytest.mark.skipif(sweep.cores() < 2, reason="two processes are not allowed on one core")


@pytest.fixture
def toy(project, monkeypatch, restored_environment):
    project.notebook("02_x", CELL, START, FIT, END, training=FIT)
    project.notebook(
        "03_y", 'experiment: str = "lab"  # folder\nrun: str = ""  # folder in it\n', END
    )
    project.parameters("tiny/02_x", "steps: 5\n")
    project.parameters("one/02_x", "")
    project.parameters("one/03_y", "")
    (project.root / "toy.py").write_text(TOY)
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(project.root), str(REPOSITORY), str(REPOSITORY / "tests")]),
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    return project


def started():
    """The run of params/tiny/02_x.yaml as its notebook starts it."""
    return runs.start("02_x", {"experiment": "tiny", "run": "02_x", "processes": 2, "steps": 5})


def checkpoint(project):
    return json.loads((project.root / "data/runs/.trainings/x/last.ckpt").read_text())


@CORES
@pytest.mark.slow
def test_a_notebook_s_training_fails_and_goes_on(toy, capfd):
    """A process that fails, then the whole of it: in a kernel, by torchrun, and on to the
    notebook's end.
    """
    (toy.root / "trap").write_text("error 1")
    why = (
        "training by 2 processes ended with exit code 1; what failed .*; start this again, it goes"
    )
    with pytest.raises(RuntimeError, match=why):
        distributed.train(started(), 2)
    said = capfd.readouterr().out
    assert "\nerror in process 1: 02_x.ipynb, cell 4: ValueError: no labels in here\n" in said
    assert (
        'File "02_x.ipynb, cell 4", line 2, in <module>\n    for row in training.fit(record' in said
    ), "a line of the cell"
    assert "goes on from 0 in 1" not in said

    (toy.root / "trap").unlink()
    distributed.run_distributed("tiny/02_x", [], processes=2, timeout_s=60.0)
    said = [line.removeprefix("    ") for line in capfd.readouterr().out.splitlines()]
    where = f"in {toy.root}"
    assert [line for line in said if line.startswith("threads")] == [
        f"threads 7 backend module://matplotlib_inline.backend_inline {where}",
        f"threads 3 backend agg {where}",
    ]
    assert [line for line in said if line.startswith("goes on")] == [
        "goes on from 2 in 0",
        "goes on from 5 in alone",
    ]
    assert [line for line in said if line.startswith("step")] == ["step 3", "step 4", "step 5"]
    bars = [line for line in said if "train:" in line]
    assert (
        all(bar.startswith("train: ") for bar in bars)
        and len([bar for bar in bars if "0/5" in bar]) == 1
    ), "process 0's"
    folder = toy.root / "data/runs/tiny/02_x"
    assert (folder / "_SUCCESS").is_file() and json.loads(
        (folder / "metrics.json").read_text()
    ) == {"rows": [1, 2, 3, 4, 5]}
    assert json.loads((folder / "params.json").read_text())["parameters"]["processes"] == 2
    assert "step 5" in (folder / "02_x.ipynb").read_text(), (
        "the executed notebook holds what was printed"
    )


@pytest.mark.slow
@CORES
def test_a_killed_process_and_what_goes_on(toy, capfd):
    (toy.root / "trap").write_text("kill 0")
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        distributed.train(started(), 2)
    assert "SIGKILL" in capfd.readouterr().out
    distributed.train(started(), 2)
    assert "\ngoes on from 2 in 0\n" in capfd.readouterr().out
    assert checkpoint(toy) == [1, 2, 3, 4, 5]


SCRIPT = """\
import signal
from iqa_core import runs
from iqa_core.apps import distributed
signal.signal(signal.SIGINT, signal.default_int_handler)
parameters = {"experiment": "tiny", "run": "02_x", "processes": 2, "steps": 5}
distributed.train(runs.start("02_x", parameters), 2)"""


def alive(process):
    """Whether a process is there, and is more than an entry of the process table."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def waited(condition, *, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@CORES
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks processes up in /proc")
@pytest.mark.parametrize(
    "kind", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_processes_end_with_the_notebook(toy, kind):
    (toy.root / "trap").write_text("sleep")
    told = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    with subprocess.Popen([sys.executable, "-c", SCRIPT], **told) as notebook:
        files = [toy.root / f"pid{rank}" for rank in (0, 1)]
        assert waited(
            lambda: all(file.is_file() and file.read_text() for file in files), seconds=60
        )
        processes = [int(file.read_text()) for file in files]
        with open(f"/proc/{processes[0]}/stat") as file:
            torchrun = int(file.read().rpartition(")")[2].split()[1])
        assert all(map(alive, [*processes, torchrun]))
        notebook.send_signal(kind)
        notebook.wait(10)
        assert waited(lambda: not any(map(alive, processes)), seconds=10)
        assert waited(lambda: not alive(torchrun), seconds=20)
        said = notebook.stderr.read()
    assert ("KeyboardInterrupt" in said) == (kind == signal.SIGINT)


# ------------------------------------------------------------------------------
# several machines
@CORES
def test_the_verb_inside_torchrun_leaves_what_run_goes_on_with(toy, capfd):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr=127.0.0.1",
        "--nproc-per-node=2",
    ]
    command += ["-m", "iqa_core", "train", "tiny", "--set", "steps=6"]
    done = subprocess.run(command, cwd=toy.root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "trained; `python -m iqa_core run tiny --set steps=6` goes on from the checkpoint: tests, "
        "figures\n"
    )
    assert done.stdout.count("goes on from 0") == 1
    assert checkpoint(toy) == [1, 2, 3, 4, 5, 6]
    assert not [*toy.root.glob("data/runs/tiny/*/_SUCCESS")], "it has not finished"


def test_the_verb_refuses(toy, monkeypatch):
    def train(target, *given, processes=None, timeout_s=None):
        distributed.run_distributed(target, [*given], processes=processes, timeout_s=timeout_s)

    with pytest.raises(
        ValueError, match="train one: that is 2 parameter files; name one, as one/02_x"
    ):
        train("one")
    with pytest.raises(
        ValueError,
        match=(
            r"03_y.ipynb declares no parameter `processes`, so none can share it; use `python "
            r"-m iqa_core run one/03_y`"
        ),
    ):
        train("one/03_y")
    with pytest.raises(KeyError, match="'step'; did you mean 'steps'"):
        train("tiny", "step=1")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(
        ValueError, match="--processes 2: torchrun has said how many there are; leave it out"
    ):
        train("tiny", processes=2)
    with pytest.raises(ValueError, match="--timeout: inside torchrun nothing keeps it; leave it"):
        train("tiny", timeout_s=60.0)
    toy.notebook("02_x", CELL, START, END)
    with pytest.raises(
        ValueError, match="02_x.ipynb: 0 cells are tagged `training`; tag the one that trains"
    ):
        train("tiny")


def test_the_command_line_takes_a_mistake_for_one(toy):
    done = subprocess.run(
        [sys.executable, "-m", "iqa_core", "train", "one"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: train one: that is 2 parameter files; name one, as one/02_x\n"


@pytest.mark.parametrize(
    ("gpus", "cores", "number"), [(0, 4, 5), (0, 4, 0), (2, 16, 3), (2, 1, -1)]
)
def test_how_many_processes(monkeypatch, gpus, cores, number):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr(sweep, "cores", lambda: cores)
    most = gpus or cores
    message = (
        f"processes is {number}; 1 to {most} are allowed here, for {cores} cores and {gpus} GPUs"
    )
    with pytest.raises(ValueError, match=message):
        distributed.train(SimpleNamespace(folder=None, notebook=None), number)
    assert sweep.processes_allowed(most) == most and sweep.processes_allowed(None) == max(1, gpus)


@CORES
def test_a_training_without_checkpoint_would_be_done_twice(toy, monkeypatch):
    alone = FIT.replace("record.trainings", "record.folder")
    toy.notebook("02_x", CELL, START, alone, END, training=alone)
    with pytest.raises(ValueError, match="02_x.ipynb keeps no training, .*=record.trainings"):
        distributed.train(started(), 2)


def test_one_process_and_those_of_torchrun_start_none(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    distributed.train(None, 1)
    monkeypatch.setenv("RANK", "1")
    distributed.train(None, 2)


# ------------------------------------------------------------------------------
# the real training
REAL = """\
import torch
from iqa_core import runs, training
from iqa_core.apps import distributed
from training_jobs import SGD, Swin, data, fit
record = runs.start("02_x", globals())
torch.set_default_dtype(torch.float64)
training.seed_everything(0)
model, images, val = Swin(), data(20, size=(70, 66)), data(7, seed=1, size=(66, 66))"""
REAL_FIT = """\
distributed.train(record, processes)
given = SGD | dict(epochs=1, batch_size=4, checkpoint=record.trainings, log=record.note)
for row in fit(model, *images, *val, **given):
    record.log(row)"""


@pytest.fixture
def real(toy, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    toy.notebook("02_x", CELL, REAL, REAL_FIT, END, training=REAL_FIT)
    toy.parameters("tiny/02_x--one", "")
    return toy


def part_of_training(rank, root, port):
    """What torchrun has a worker do."""
    torch.set_num_threads(1)
    told = dict(
        RANK=rank,
        LOCAL_RANK=rank,
        WORLD_SIZE=2,
        LOCAL_WORLD_SIZE=2,
        MASTER_PORT=port,
        GROUP_RANK=0,
        IQA_ROOT=root,
    )
    os.environ |= {name: str(value) for name, value in told.items()}
    os.environ |= dict(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="test", GLOO_SOCKET_IFNAME="lo")
    distributed.run_distributed("tiny/02_x", [], processes=None, timeout_s=None)
    assert not torch.distributed.is_initialized()


def whole_notebook(rank, root, parameters):
    """What a kernel does."""
    torch.set_num_threads(1)
    os.environ["IQA_ROOT"] = str(root)
    namespace = {}
    for source in (CELL, REAL, REAL_FIT, END):
        exec(source, namespace)
        namespace |= parameters if source == CELL else {}


def history(project, run):
    return pd.read_csv(project.root / f"data/runs/tiny/{run}/history.csv").drop(columns="seconds")


def log(project, run):
    return (project.root / f"data/runs/tiny/{run}/train.log").read_text()


def forget_trainings(project):
    """So that the next one is done, and not taken as it was kept."""
    shutil.rmtree(project.root / "data/runs/.trainings")


def test_two_processes_train_what_one_does(real):
    assert training_jobs.run(
        part_of_training, real.root, training_jobs.free_port(), processes=2
    ) == [0, 0]
    for run in ("02_x", "02_x--one"):
        parameters = {"experiment": "tiny", "run": run, "steps": 5 if run == "02_x" else 4}
        assert training_jobs.run(whole_notebook, real.root, parameters) == [0]
        forget_trainings(real)
    assert len(history(real, "02_x")) == 5
    pd.testing.assert_frame_equal(
        history(real, "02_x"), history(real, "02_x--one"), rtol=0, atol=1e-6
    )
    assert "not trained again" in log(real, "02_x")
    assert "not trained again" not in log(real, "02_x--one")
    assert log(real, "02_x").count("step 5  train_loss") == 1, "no row is told twice"


@pytest.mark.slow
@CORES
def test_the_real_training_by_the_command_line(real, capfd):
    """By `train --processes 2`; and by torchrun on one machine, then `run`; against one process."""
    real.parameters("tiny/02_x--machines", "")
    verb, limits = [sys.executable, "-m", "iqa_core"], dict(check=True, timeout=240, cwd=real.root)
    subprocess.run([*verb, "train", "tiny/02_x", "--processes", "2"], **limits)
    forget_trainings(real)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr=127.0.0.1",
        "--nproc-per-node=2",
    ]
    subprocess.run([*torchrun, *verb[1:], "train", "tiny/02_x--machines"], **limits)
    for run in ("02_x--machines", "02_x--one"):
        subprocess.run([*verb, "run", f"tiny/{run}"], **limits)
        forget_trainings(real)
    said = capfd.readouterr().out
    assert said.count("not trained again") == 2 and "destroy_process_group" not in said
    for run in ("02_x", "02_x--machines"):
        assert len(history(real, run)) == 5
        pd.testing.assert_frame_equal(
            history(real, run), history(real, "02_x--one"), rtol=0, atol=1e-6
        )
        assert log(real, run).count("step 5  train_loss") == 1
