"""The strict runner: everything is checked before anything runs, order, resume, what is said when a
cell fails, and sweeps: runs side by side in processes, and shards for several machines."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

from iqa_core import runs
from iqa_core.apps import commands, execute, kernel, planning, sweep
from iqa_core.runs import committed, folders, resume

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
run.record(python=sys.executable, package=iqa_core.__file__, cwd=os.getcwd())
run.record(allocator=os.environ['MALLOC_TOP_PAD_'])
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
        [sys.executable, "-m", "iqa_core", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def read(project, name):
    return json.loads((project.root / "data/runs" / name).read_text())


def of_starting(warned):
    """What kernels print, without what an interrupt prints, by which they are stopped."""
    caught = r"ERROR:tornado\.general:Uncaught exception in ZMQStream.*?KeyboardInterrupt\n"
    warned = re.sub(caught, "", warned, flags=re.DOTALL)
    return re.sub(r".*KeyboardInterrupt caught in kernel.*\n?", "", warned)


def test_an_experiment_in_order_then_resumed(tiny, capfd):
    took = execute.execute("tiny")
    said, warned = capfd.readouterr()
    unasked = [line for line in of_starting(warned).splitlines() if line]
    assert unasked == [], "kernels start without warnings"
    states = [(entry.job.run, entry.state) for entry in took]
    assert states == [("01_first", "done"), ("01_first--more", "done")]
    in_order = ("[1/2] tiny/01_first\n", "    one line", "[2/2] tiny/01_first--more\n")
    places = [said.index(text) for text in in_order]
    assert places == sorted(places)
    assert "load average" in said
    assert "CPU s" in said
    assert all(entry.seconds > 0 for entry in took)
    assert took[0].cpu_seconds > 0

    first = {"epochs": 1, "weights": "x # y", "colour": "#ff0000"}
    assert read(tiny, "tiny/01_first/metrics.json") == first
    second = {"epochs": 2, "weights": "None", "colour": "#ff0000"}
    assert read(tiny, "tiny/01_first--more/metrics.json") == second
    facts = read(tiny, "tiny/01_first--more/params.json")
    assert facts["python"] == sys.executable and facts["cwd"] == str(tiny.root)
    assert facts["package"] == str(REPOSITORY / "iqa_core/__init__.py")
    cells = read(tiny, "tiny/01_first--more/01_first--more.ipynb")["cells"]
    printed = [line for output in cells[-1]["outputs"] for line in output.get("text", [])]
    assert "one line\n" in printed

    again = execute.execute("tiny", resume=True)
    assert [entry.state for entry in again] == ["skipped", "skipped"]
    assert "skipped: finished 20" in capfd.readouterr().out


def test_what_is_set_for_once_is_another_run(tiny):
    (took,) = execute.execute("tiny/01_first", overrides={"colour": "#00ff00"})
    assert re.fullmatch(r"tiny/01_first--[0-9a-f]{6}", took.job.name)
    assert read(tiny, f"{took.job.name}/metrics.json")["colour"] == "#00ff00"
    assert not (tiny.root / "data/runs/tiny/01_first").exists()
    (same,) = planning.plan("tiny/01_first", root=tiny.root, overrides={"epochs": 1})
    assert same.name == "tiny/01_first", "as the file has it"
    with pytest.raises(ValueError, match=r"makes 1 of the 2 runs .*--set experiment=tiny-trial"):
        planning.plan("tiny", root=tiny.root, overrides={"epochs": 1})


def test_a_notebook_that_was_edited_wants_a_word(tiny, capfd):
    committed.write(tiny.root / "notebooks")
    tiny.notebook("01_first", CELL.replace("#ff0000", "#00ff00"), START, LOOK + "\nmore = 1")
    with pytest.raises(ValueError, match=r"01_first.ipynb: not as committed.* --edited runs them"):
        execute.execute("tiny")
    said = capfd.readouterr().out
    assert "01_first.ipynb: default of colour: '#ff0000' became '#00ff00'" in said
    assert "01_first.ipynb: cell 4 has other code" in said
    execute.execute("tiny/01_first", edited=True)
    assert len(read(tiny, "tiny/01_first/params.json")["edited"]) == 2


def test_a_cell_that_fails(tiny):
    failing = "first = epochs\nif first == 1:\n    raise ValueError('no images in here')"
    tiny.notebook("01_first", CELL, START, "print('so far')", failing, LOOK)
    tiny.notebook("02_second", CELL)
    tiny.parameters("tiny/02_second", "")
    done = command("run", "tiny", project=tiny)
    assert done.returncode == 1
    where = "tiny/01_first: notebooks/01_first.ipynb failed in cell 5, `first = epochs`"
    message = f"{where}: ValueError: no images in here"
    assert f"error: {message}\n" in done.stderr
    assert f"\n{message}\n" in done.stdout, "said when it happens as well, since others follow"
    assert "as far as it came: data/runs/tiny/01_first.failed.ipynb\n" in done.stderr
    assert "\nnot started: tiny/02_second\n" in done.stderr
    assert "Traceback" not in of_starting(done.stderr)
    assert "so far" in done.stdout
    assert "so far" in (tiny.root / "data/runs/tiny/01_first.failed.ipynb").read_text()
    assert not (tiny.root / "data/runs/tiny/01_first").exists()
    assert (tiny.root / "data/runs/tiny/01_first--more/_SUCCESS").exists(), "an independent run is"
    assert not (tiny.root / "data/runs/tiny/02_second").exists(), "the next notebook is not run"


@pytest.mark.parametrize(
    ("stops", "error"),
    [
        ("import time\ntime.sleep(60)", "CellTimeoutError"),
        ("import os\nos.kill(os.getpid(), 9)", "DeadKernelError"),
    ],
)
def test_a_cell_that_is_stopped_is_named_whatever_stands_below_it(tiny, stops, error):
    notebook = tiny.notebook("01_first", CELL, stops, "print('not reached')")
    book = json.loads(notebook.read_text())
    book["cells"].append(
        {"cell_type": "markdown", "id": "end", "metadata": {}, "source": "Next: nothing."}
    )
    notebook.write_text(json.dumps(book))
    wanted = f"failed in cell 3, `{stops.splitlines()[0]}`: {error}"
    with pytest.raises(kernel.NotebookFailed, match=wanted):
        execute.execute("tiny/01_first", timeout_s=1)
    assert (tiny.root / "data/runs/tiny/01_first.failed.ipynb").is_file()


@pytest.mark.parametrize("verb", ["run", "train"])
@pytest.mark.parametrize("hours", ["0", "0.0002", "-1", "nan", "inf"])
def test_a_time_limit_that_cannot_be_kept_is_refused(tiny, verb, hours, monkeypatch, capsys):
    tiny.notebook("01_first", CELL + "processes: int = 1  # of a training\n", START, LOOK)
    monkeypatch.setattr(sys, "argv", ["iqa_core", verb, "tiny/01_first", f"--timeout={hours}"])
    with pytest.raises(SystemExit, match="2"):
        commands.main()
    assert f"--timeout {hours}: hours are wanted, at least 0.0003" in capsys.readouterr().err
    assert not (tiny.root / "data").exists(), "nothing was run"
    kernel.check_timeout(0.0003 * 3600)  # as it advises


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("epoch: 1", KeyError, "tiny/02.yaml: .*no parameter 'epoch'; did you mean 'epochs'"),
        ("epochs: yes", ValueError, r"tiny/02.yaml: .*epochs = True \(bool\), but int is wanted"),
        ("epochs: 1\nepochs: 2", ValueError, "the key 'epochs' stands twice"),
        ("- 1", ValueError, "holds a list; lines `name: value` are wanted"),
        ("a: [", ValueError, "cannot be read"),
        ("run: other", ValueError, "run is 'other', but the file's place makes it '02': leave it"),
        ("experiment: other", ValueError, "is 'other', but the file's place makes it 'tiny'"),
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
    wanted = "params/tiny/03_other--big.yaml: no notebook 03_other.ipynb"
    with pytest.raises(FileNotFoundError, match=wanted):
        execute.execute("tiny")


def test_papermill_alone_is_as_strict(tiny, monkeypatch):
    """As in the README's line without this package's runner: it only warns of a misspelt name."""
    import papermill

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("MALLOC_TOP_PAD_", "")
    books = str(tiny.root / "notebooks/01_first.ipynb"), str(tiny.root / "out.ipynb")
    wanted = r"declares no parameter 'color'; did you mean 'colour'\? It has: experiment, run"
    with pytest.raises(papermill.PapermillExecutionError, match=wanted):
        papermill.execute_notebook(*books, parameters={"epochs": 2, "color": "red"})
    assert not (tiny.root / "data").exists(), "nothing was run"
    papermill.execute_notebook(*books, parameters={"epochs": 2, "colour": "red"})
    (folder,) = (tiny.root / "data/runs/lab").glob("01_first--*")
    assert json.loads((folder / "metrics.json").read_text())["colour"] == "red"


def test_order_is_by_stem(tiny):
    tiny.notebook("10_last", CELL)
    tiny.parameters("tiny/10_last", "")
    names = [path.stem for path in planning.parameter_files("tiny", root=tiny.root)]
    assert names == ["01_first", "01_first--more", "10_last"]
    (path,) = planning.parameter_files("params/tiny/10_last.yaml", root=tiny.root)
    assert path.stem == "10_last"


def test_overrides(tiny):
    found = planning.parse_overrides(["epochs=2", "weights=null", "rate=1.0e-3"])
    assert found == {"epochs": 2, "weights": None, "rate": 1e-3}
    with pytest.raises(ValueError, match="write --set name=value"):
        planning.parse_overrides(["epochs"])
    wanted = r"declares a parameter 'epoch'; did you mean 'epochs'\? They have: colour"
    with pytest.raises(KeyError, match=wanted):
        planning.plan("tiny", root=tiny.root, overrides={"epoch": 2})
    with pytest.raises(ValueError, match="run follows from the file's name"):
        planning.plan("tiny", root=tiny.root, overrides={"run": "x"})
    jobs = planning.plan("tiny", root=tiny.root, overrides={"experiment": "scratch", "epochs": 7})
    assert [(job.experiment, job.parameters["epochs"]) for job in jobs] == [("scratch", 7)] * 2


def test_a_target_that_is_not_there(tiny):
    done = command("run", "nosuch", project=tiny)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no experiment 'nosuch' in params/; there are: tiny\n"
    wanted = "no 02.yaml in params/tiny/; there are: 01_first, 01_first--more"
    with pytest.raises(FileNotFoundError, match=wanted):
        execute.execute("tiny/02")


def another_kernel(project):
    """A folder of kernels with another `python3`."""
    kernel = project.root / "kernels/python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/usr/bin/false", "-m"], "display_name": "x", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return kernel.parent


def test_another_interpreter_behind_python3_is_refused(project, monkeypatch):
    kernels = str(another_kernel(project))
    monkeypatch.setattr("jupyter_client.kernelspec.jupyter_path", lambda *_: [kernels])
    with pytest.raises(FileNotFoundError, match="kernel 'python3' runs /usr/bin/false"):
        kernel.prepare_environment(project.root)


def test_a_users_kernel_does_not_win(project, monkeypatch):
    """A kernelspec `python3` in JUPYTER_PATH or the home stands behind the environment's own."""
    another_kernel(project)
    monkeypatch.setenv("JUPYTER_PATH", str(project.root))
    kernel.prepare_environment(project.root)


# ------------------------------------------------------------------------------
# resume
@pytest.fixture
def chain(tiny):
    """01_first prepares data, 02_train reads it, 10_last reads 02_train's results; all finished."""
    (tiny.root / "data/tables").mkdir(parents=True)
    (tiny.root / "data/splits").mkdir()
    table, split = tiny.root / "data/tables/set.csv", tiny.root / "data/splits/set-a.csv"
    table.write_text("image,label\n")
    split.write_text("image,split\n")
    used = {"01_first": (table, split), "02_train": (table, split), "10_last": ()}
    for stem, files in used.items():
        tiny.notebook(stem, CELL, START)
        by_default = {"epochs": 3, "colour": "#ff0000", "weights": "x # y"}
        run = runs.start(stem, {"experiment": "tiny", "run": stem, **by_default})
        if files:
            run.uses(*files)
        run.finish({})
    return tiny


def why(project, stem, **parameters):
    parameters |= {"experiment": "tiny", "run": stem}
    notebook = project.root / f"notebooks/{stem}.ipynb"
    folder = project.root / "data/runs/tiny" / stem
    return resume.why_again(notebook, parameters, folder=folder, root=project.root)


def test_what_would_come_out_the_same_is_not_made_again(chain):
    assert [why(chain, stem) for stem in ("01_first", "02_train", "10_last")] == ["", "", ""]
    assert why(chain, "02_train", epochs=3, weights="x # y") == "", "given as they are by default"


def test_why_a_run_is_made_again(chain):
    changed = why(chain, "02_train", epochs=4, weights=None)
    assert changed == "epochs was 3, is 4; weights was 'x # y', is None"
    chain.notebook("02_train", CELL, START, "changed = True")
    assert why(chain, "02_train") == "code of 02_train.ipynb has changed"
    chain.notebook("02_train", CELL, START)
    assert why(chain, "02_train") == ""
    (chain.root / "data/runs/tiny/02_train/_SUCCESS").unlink()
    assert why(chain, "02_train") == "it has not finished yet"


def test_a_changed_table_or_split_makes_its_runs_again(chain):
    (chain.root / "data/splits/set-a.csv").write_text("image,split\na.png,test\n")
    changed = "data/splits/set-a.csv has changed"
    assert why(chain, "01_first") == why(chain, "02_train") == changed
    assert why(chain, "10_last") == ""
    (chain.root / "data/splits/set-a.csv").write_text("image,split\n")
    (chain.root / "data/tables/set.csv").unlink()
    assert why(chain, "01_first") == why(chain, "02_train") == "data/tables/set.csv is missing"


def test_a_run_is_made_by_one_process_at_a_time(project):
    with folders.alone("tiny/01"):
        environment = {k: v for k, v in os.environ.items() if k != folders.HELD}
        code = "from iqa_core.runs import folders\nwith folders.alone('tiny/01', lead='x | '): pass"
        second = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"IQA_ROOT": str(project.root), "PYTHONPATH": str(REPOSITORY)},
        )
        assert second.stdout.readline() == "x | waits: another process is making it\n"
        assert second.poll() is None
    assert second.wait(20) == 0
    second.stdout.close()


# ------------------------------------------------------------------------------
# side by side
MEET = """\
import os, time
from pathlib import Path
print('here with', os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])
(run.folder / 'pid').write_text(f'{os.getpid()} {os.getppid()}')
end = time.time() + 60
while len([*run.folder.parent.glob('*/pid')]) < 2 and time.time() < end: time.sleep(0.05)
assert time.time() < end, 'alone'
assert colour != 'bad', 'a bad colour'"""


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(sweep, "cores", lambda: 4)
    monkeypatch.setattr(sweep, "gpus", list)
    monkeypatch.delenv("OMP_NUM_THREADS")


def test_runs_side_by_side(project, capfd, four_cores):
    """Two runs wait for each other; one fails, the other finishes, what comes after is not
    started.
    """
    start = START.replace("01_first", "02_train")
    project.notebook("02_train", CELL, start, MEET, "run.finish({})")
    project.notebook("10_last", CELL)
    project.parameters("tiny/02_train--a", "")
    project.parameters("tiny/02_train--b", "colour: bad")
    project.parameters("tiny/10_last", "")
    with pytest.raises(kernel.NotebookFailed) as failure:
        execute.execute("tiny", at_once=2)
    first, *others = str(failure.value).splitlines()
    where = "tiny/02_train--b: notebooks/02_train.ipynb failed in cell 4, `import os, time`"
    assert first.startswith(f"{where}: AssertionError: a bad")
    assert others[-1] == "not started: tiny/10_last"
    said = capfd.readouterr().out.splitlines()
    assert {"[1/3] tiny/02_train--a", "[2/3] tiny/02_train--b", first} <= set(said)
    assert {"a | here with 2 2", "b | here with 2 2"} <= set(said)
    assert not any(line.startswith("    ") for line in said), "every line tells whose it is"
    home = project.root / "data/runs"
    assert [path.parent.name for path in home.glob("tiny/*/_SUCCESS")] == ["02_train--a"]


SLEEPER = """\
import os, signal, time
from iqa_core.apps import sweep
sweep.end_with_stdin(signal.SIGINT)
try:
    print(os.getpid(), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pass"""
SLEEPERS = f"""\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
from iqa_core.apps import sweep
sweep.cores, sweep.gpus = lambda: 2, list
calls = [sweep.Call("begins", "", [sys.executable, "-c", {SLEEPER!r}])] * 3
list(sweep.side_by_side(calls, at_once=2))"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(kind):
    line = [sys.executable, "-c", SLEEPERS]
    options = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    options["env"] = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(line, **options) as main:
        lines = [main.stdout.readline() for _ in range(4)]
        processes = [int(line) for line in lines if line != "begins\n"]
        main.send_signal(kind)
        others, _ = main.communicate(timeout=30)
    assert (main.returncode, others) == (-kind, ""), "the third was not begun"
    for process in processes:
        within(10, functools.partial(is_gone, process))


@pytest.mark.slow
@pytest.mark.skipif(
    os.name != "posix" or sweep.cores() < 2, reason="signals; two runs at once need two cores"
)
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_no_kernel_is_left(project, kind):
    start = START.replace("01_first", "02_train")
    project.notebook("02_train", CELL, start, MEET, "time.sleep(120)")
    for name in "abc":
        project.parameters(f"tiny/02_train--{name}", "")
    environment = os.environ | {"IQA_ROOT": str(project.root), "PYTHONPATH": str(REPOSITORY)}
    line = [sys.executable, "-m", "iqa_core", "run", "tiny", "--jobs", "2"]
    silent = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with subprocess.Popen(line, env=environment, **silent) as main:
        files = [project.root / f"data/runs/tiny/.02_train--{name}.part/pid" for name in "ab"]
        within(90, lambda: all(path.is_file() and path.read_text() for path in files))
        main.send_signal(kind)
        assert main.wait(timeout=40) == (130 if kind == signal.SIGINT else -kind)
    for process in [int(pid) for path in files for pid in path.read_text().split()]:
        within(20, functools.partial(is_gone, process))
    assert not [*(project.root / "data/runs/tiny").glob("*02_train--c*")]


def within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def is_gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_every_command_is_run_once_whatever_becomes_of_the_others(four_cores, capfd):
    codes = {
        "a": "import os; print('    indented', os.environ['OMP_NUM_THREADS'])",
        "b": "raise ValueError('wrong')",
        "c": "import os; os._exit(3)",
        "d": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "e": "print('outcome: {}')",
    }
    calls = [
        sweep.Call(f"begins {name}", f"{name} | ", [sys.executable, "-c", code])
        for name, code in codes.items()
    ]
    ended = {call.title[-1]: ended for call, ended in sweep.side_by_side(calls, at_once=2)}
    assert ended == {"a": (0, ""), "b": (1, ""), "c": (3, ""), "d": (-9, ""), "e": (0, "{}")}
    printed = capfd.readouterr().out.splitlines()
    assert {"begins a", "a | indented 2", "b | ValueError: wrong", "begins e"} <= {*printed}
    assert "outcome" not in "".join(printed), "that is for the caller"


@pytest.mark.slow
@pytest.mark.skipif(sweep.cores() < 2, reason="two runs at once need two cores")
def test_what_runs_side_by_side_is_given_what_was_asked(project, capfd):
    """Overrides of any type, only those that a notebook declares; --resume; a process that dies."""
    cell = CELL + 'rates: dict = {}  # by name\nnote: str = ""  # any text\n'
    show = "import os, signal\nprint([epochs, weights, rates, note, experiment])"
    project.notebook("02_a", cell, START.replace("01_first", "02_a"), show, "run.finish({})")
    start = START.replace("01_first", "02_b")
    die = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"
    project.notebook("02_b", CELL, start, die)
    project.parameters("tiny/02_a", "")
    project.parameters("tiny/02_b", "")
    overrides = {
        "epochs": 7,
        "weights": None,
        "rates": {"a": 1e-05, "b": [True, "1"]},
        "note": "x: 'y' # ü\n" * 9,
        "experiment": "scratch",
    }
    with pytest.raises(kernel.NotebookFailed) as failure:
        execute.execute("tiny", at_once=2, overrides=overrides, timeout_s=60.0)
    pattern = r"scratch/02_b--\w{6}: its process ended with exit code -9"
    assert re.fullmatch(pattern, str(failure.value))
    shown = [overrides[name] for name in ("epochs", "weights", "rates", "note", "experiment")]
    assert f" | {shown}" in capfd.readouterr().out
    project.notebook("02_b", CELL, start, "run.finish({})")
    took = execute.execute("tiny", at_once=2, resume=True, overrides=overrides)
    states = {entry.job.file.stem: entry.state for entry in took}
    assert states == {"02_a": "skipped", "02_b": "done"}
    assert all(entry.cpu_seconds > 0 for entry in took if entry.state == "done")


def each(name, at_once):
    """A variable in the environment of every process."""
    return [environment[name] for environment in sweep.environments(at_once)]


def test_threads_and_processes_stay_within_the_cores(four_cores, monkeypatch):
    assert each("OMP_NUM_THREADS", 3) == ["1", "1", "1"]
    assert each("OMP_NUM_THREADS", 1) == ["4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert sweep.environments(2)[0] == dict.fromkeys(names, "1")


def test_each_process_has_its_gpu(monkeypatch):
    two_gpus = SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: 2))
    monkeypatch.setitem(sys.modules, "torch", two_gpus)
    monkeypatch.setattr(sweep, "cores", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert each("CUDA_VISIBLE_DEVICES", 3) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert each("CUDA_VISIBLE_DEVICES", 2) == ["5", "7"]
    monkeypatch.setattr(sweep, "cores", lambda: 1)
    assert each("OMP_NUM_THREADS", 2) == ["1", "1"], "a GPU each suffices"
    wanted = "--jobs 3: 1 to 2 runs at once are allowed, for 1 cores and 2 GPUs"
    with pytest.raises(ValueError, match=wanted):
        sweep.environments(3)


@pytest.mark.parametrize("at_once", [0, -1, 5])
def test_a_number_of_jobs_that_cannot_be(tiny, four_cores, at_once):
    wanted = f"--jobs {at_once}: 1 to 4 runs at once are allowed, for 4 cores and 0 GPUs"
    with pytest.raises(ValueError, match=wanted):
        execute.execute("tiny", at_once=at_once)
    assert not (tiny.root / "data").exists(), "nothing was run"


# ------------------------------------------------------------------------------
# shards
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_hold_every_run_once(parts):
    groups = [["01"], ["02--a", "02--b", "02--c", "02--d", "02--e"], ["03"], ["05--a", "05--b"]]
    shards = [sweep.shard(groups, f"{part}/{parts}") for part in range(1, parts + 1)]
    assert all(mine[:-1] == groups[:1] and left == groups[2:] for mine, left in shards)
    assert sorted(run for mine, _ in shards for run in mine[-1]) == groups[1]
    sizes = [len(mine[-1]) for mine, _ in shards]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("shard", ["3/2", "0/2", "x", "1", "1/2/3", "-1/2", "1/0", "0/0", " 1/2"])
def test_a_shard_that_cannot_be(tiny, shard):
    wanted = "--shard '.*': write i/n with 1 <= i <= n, as 2/3 for the second of three machines"
    with pytest.raises(ValueError, match=wanted):
        execute.execute("tiny", shard=shard)
    assert not (tiny.root / "data").exists(), "nothing was run"


def test_sweeps_on_the_command_line(tiny):
    done = command("run", "tiny", "--jobs", "1", "--shard", "3/2", project=tiny)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --shard '3/2': write i/n with 1 <= i <= n, as 2/3 for")


def test_one_file_a_notebook_cannot_be_shared_out(tiny):
    wanted = "no notebook has several parameter files here, so there is nothing to share out"
    with pytest.raises(ValueError, match=wanted):
        execute.execute("tiny/01_first", shard="1/2")


def test_a_shard_runs_what_it_needs_and_its_part(tiny, capfd):
    for stem in ("00_data", "02_train", "10_last"):
        tiny.notebook(stem, CELL, START.replace("01_first", stem), "run.finish({})")
        tiny.parameters(f"tiny/{stem}", "")
    took = execute.execute("tiny", shard="2/2")
    assert [entry.job.run for entry in took] == ["00_data", "01_first--more"]
    printed = capfd.readouterr().out
    assert printed.startswith("shard 2/2: 1 of the 2 runs of 01_first\n")
    assert "[1/2] tiny/00_data\n" in printed and "[2/2] tiny/01_first--more\n" in printed
    assert printed.endswith(
        "left for a call without --shard, once data/runs holds what all shards ran: tiny/02_train, "
        "tiny/10_last\n"
    )
    # a machine too many; prepared data is not made twice
    took = execute.execute("tiny", shard="3/3")
    assert [(entry.job.run, entry.state) for entry in took] == [("00_data", "skipped")]
    assert "shard 3/3: 0 of the 2 runs" in capfd.readouterr().out
