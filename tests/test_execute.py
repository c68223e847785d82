"""The strict runner: everything is checked before anything runs, order, resume, and what is said when a cell fails."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from iqa_core.apps import execute

CELL = """\
experiment: str = "lab"  # folder of runs
run: str = ""  # folder of this run
epochs: int = 3  # passes
colour: str = "#ff0000"  # a default with a # in it
weights: str | None = "x # y"  # checkpoint
"""
START = "from iqa_core import runs\nrun = runs.start('01_first', globals())"
LOOK = """\
import os, sys, iqa_core
run.record(python=sys.executable, package=iqa_core.__file__, allocator=os.environ['MALLOC_TOP_PAD_'], cwd=os.getcwd())
print('one line')
run.finish({'epochs': epochs, 'weights': str(weights), 'colour': colour})"""

pytestmark = pytest.mark.usefixtures("restored_environment")


@pytest.fixture
def tiny(project):
    project.notebook("01_first", CELL, START, LOOK)
    project.parameters("tiny/01_first", "epochs: 1\n")
    project.parameters("tiny/01_first--more", "# why\nepochs: 2\nweights: null\n")
    return project


def command(*arguments, project):
    environment = os.environ | {"IQA_ROOT": str(project.root), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", "iqa_core", *arguments], capture_output=True, text=True, env=environment, check=False
    )


def read(project, name):
    return json.loads((project.root / "data/runs" / name).read_text())


def test_an_experiment_in_order_then_resumed(tiny, capfd):
    took = execute.execute("tiny", overrides={"colour": "#00ff00"})
    said, warned = capfd.readouterr()
    unasked = [line for line in warned.splitlines() if "KeyboardInterrupt caught in kernel" not in line]  # how one is stopped
    assert unasked == [], "kernels start without warnings"
    assert [(entry.job.run, entry.state) for entry in took] == [("01_first", "done"), ("01_first--more", "done")]
    assert said.index("[1/2] tiny/01_first\n") < said.index("    one line") < said.index("[2/2] tiny/01_first--more\n")
    assert "load average" in said
    assert "CPU s" in said
    assert all(entry.seconds > 0 for entry in took)
    assert took[0].cpu_seconds > 0

    assert read(tiny, "tiny/01_first/metrics.json") == {"epochs": 1, "weights": "x # y", "colour": "#00ff00"}
    assert read(tiny, "tiny/01_first--more/metrics.json") == {"epochs": 2, "weights": "None", "colour": "#00ff00"}
    told = read(tiny, "tiny/01_first--more/params.json")
    assert (told["python"], told["cwd"]) == (sys.executable, str(tiny.root)), "the runner's interpreter, at the root"
    assert told["package"] == str(REPOSITORY / "iqa_core/__init__.py")
    cells = read(tiny, "tiny/01_first--more/01_first--more.ipynb")["cells"]
    assert ["one line\n"] in [output.get("text") for output in cells[-1]["outputs"]]

    again = execute.execute("tiny", resume=True, overrides={"colour": "#00ff00"})
    assert [entry.state for entry in again] == ["skipped", "skipped"]
    assert "skipped: finished 20" in capfd.readouterr().out
    folder = tiny.root / "data/runs/tiny/01_first"
    (job,) = execute.plan("tiny/01_first", root=tiny.root)
    assert not execute._is_done(job, folder, root=tiny.root), "other parameters"
    (job,) = execute.plan("tiny/01_first", root=tiny.root, overrides={"colour": "#00ff00"})
    assert execute._is_done(job, folder, root=tiny.root)
    (tiny.root / "data/demo").mkdir(parents=True)
    (tiny.root / "data/demo/labels.csv").write_text("image,label")
    assert not execute._is_done(job, folder, root=tiny.root), "other labels"
    (tiny.root / "data/demo/labels.csv").unlink()
    tiny.notebook("01_first", CELL, START, LOOK + "\n# changed")
    assert not execute._is_done(job, folder, root=tiny.root), "another notebook"


def test_a_cell_that_fails(tiny):
    tiny.notebook("01_first", CELL, START, "print('so far')", "first = 1\nraise ValueError('no images in here')", LOOK)
    done = command("run", "tiny", project=tiny)
    assert done.returncode == 1
    assert "tiny/01_first: notebooks/01_first.ipynb failed in cell 5, `first = 1`: ValueError: no images in here" in done.stderr
    assert "as far as it came: data/runs/tiny/01_first/01_first.ipynb" in done.stderr
    assert "Traceback" not in done.stderr
    assert "so far" in done.stdout
    assert "so far" in (tiny.root / "data/runs/tiny/01_first/01_first.ipynb").read_text()
    assert not (tiny.root / "data/runs/tiny/01_first/_SUCCESS").exists()
    assert not (tiny.root / "data/runs/tiny/01_first--more").exists(), "the next notebook is not run"


def test_a_cell_that_takes_too_long(tiny):
    tiny.notebook("01_first", CELL, START, "import time\ntime.sleep(60)")
    with pytest.raises(execute.NotebookFailed, match=r"failed in cell 4, `import time`: CellTimeoutError"):
        execute.execute("tiny/01_first", timeout_s=4)
    assert (tiny.root / "data/runs/tiny/01_first/01_first.ipynb").is_file()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("epoch: 1", KeyError, r"params/tiny/02.yaml: .*no parameter 'epoch'; did you mean 'epochs'"),
        ("epochs: yes", ValueError, r"params/tiny/02.yaml: .*epochs = True \(bool\), but int is wanted"),
        ("epochs: 1\nepochs: 2", ValueError, "the key 'epochs' stands twice"),
        ("- 1", ValueError, "holds a list; lines `name: value` are wanted"),
        ("a: [", ValueError, "cannot be read"),
        ("run: other", ValueError, "run is 'other', but the file's place makes it '02': leave it out"),
        ("experiment: other", ValueError, "experiment is 'other', but the file's place makes it 'tiny'"),
    ],
)
def test_all_files_are_checked_before_the_first_run(project, text, error, message):
    project.notebook("01_first", CELL, START, LOOK)
    project.notebook("02", CELL, START, LOOK)
    project.parameters("tiny/01_first", "epochs: 1\n")
    project.parameters("tiny/02", text)
    with pytest.raises(error, match=message):
        execute.execute("tiny")
    assert not (project.root / "data").exists(), "nothing was run"


def test_a_file_without_notebook(project):
    project.parameters("tiny/03_other--big", "")
    with pytest.raises(FileNotFoundError, match=r"params/tiny/03_other--big.yaml: no notebook 03_other.ipynb"):
        execute.execute("tiny")


def test_order_is_by_stem(tiny):
    tiny.notebook("10_last", CELL)
    tiny.parameters("tiny/10_last", "")
    names = [path.stem for path in execute.parameter_files("tiny", root=tiny.root)]
    assert names == ["01_first", "01_first--more", "10_last"]
    assert [path.stem for path in execute.parameter_files("params/tiny/10_last.yaml", root=tiny.root)] == ["10_last"]


def test_overrides(tiny):
    assert execute.parse_overrides(["epochs=2", "weights=null", "rate=1.0e-3"]) == {
        "epochs": 2,
        "weights": None,
        "rate": 1e-3,
    }
    with pytest.raises(ValueError, match="write --set name=value"):
        execute.parse_overrides(["epochs"])
    with pytest.raises(KeyError, match=r"declares a parameter 'epoch'; did you mean 'epochs'\? They have: colour"):
        execute.plan("tiny", root=tiny.root, overrides={"epoch": 2})
    with pytest.raises(ValueError, match="run follows from the file's name"):
        execute.plan("tiny", root=tiny.root, overrides={"run": "x"})
    jobs = execute.plan("tiny", root=tiny.root, overrides={"experiment": "scratch", "epochs": 7})
    assert [(job.experiment, job.parameters["epochs"]) for job in jobs] == [("scratch", 7), ("scratch", 7)]


def test_a_target_that_is_not_there(tiny):
    done = command("run", "nosuch", project=tiny)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no experiment 'nosuch' in params/; there are: tiny\n"
    with pytest.raises(FileNotFoundError, match=r"no 02.yaml in params/tiny/; there are: 01_first, 01_first--more"):
        execute.execute("tiny/02")


def test_another_interpreter_behind_python3_is_refused(project, monkeypatch):
    kernel = project.root / "kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": ["/usr/bin/false", "-m"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setattr("jupyter_client.kernelspec.jupyter_path", lambda *_: [str(kernel.parent)])
    with pytest.raises(FileNotFoundError, match="kernel 'python3' runs /usr/bin/false"):
        execute._check_kernel()


def test_a_users_kernel_does_not_win(project, monkeypatch):
    """A kernelspec `python3` in JUPYTER_PATH or the home stands behind the environment's own."""
    kernel = project.root / "kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": ["/usr/bin/false", "-m"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(project.root))
    execute.prepare_environment(project.root)
