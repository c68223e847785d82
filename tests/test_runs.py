"""Run folders and the index say what was done, and a finished run is never lost."""

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
from conftest import CELL

from iqa_core import files, runs
from iqa_core.runs import committed, folders


def given(**values):
    namespace: dict = {"other": object()}
    exec(CELL, namespace)
    return namespace | values


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_project_root(project, monkeypatch, tmp_path):
    assert runs.project_root() == tmp_path.resolve()
    monkeypatch.delenv("IQA_ROOT")
    monkeypatch.chdir(tmp_path / "notebooks")
    assert runs.project_root() == tmp_path, "the nearest parent of the working directory"


def test_project_root_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("IQA_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"IQA_ROOT is .* holds no folder params/"):
        runs.project_root()
    monkeypatch.delenv("IQA_ROOT")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages/iqa_core/files.py"))
    with pytest.raises(FileNotFoundError, match="set IQA_ROOT"):
        runs.project_root()


def test_a_run_from_start_to_end(project, notebook, capsys):
    run = runs.start("02_train_baseline", given(rate=1, run="02_train_baseline"))
    place = project.root / "data/runs/lab/02_train_baseline"
    assert run.folder == place.with_name(".02_train_baseline.part") and not place.exists()
    assert "run lab/02_train_baseline: 9 parameters" in capsys.readouterr().out
    run.record(
        model="hyperiqa",
        split_hash="abc",
        set="demo",
        rows=np.int64(7),
        table=run.path("x/table.csv"),
    )
    run.log({"epoch": 1, "loss": 0.123456})
    run.log({"epoch": 2, "loss": 0.1, "srcc": 0.9})
    assert "epoch 1  loss 0.1235" in capsys.readouterr().out
    run.finish({"srcc": 0.5, "plcc": math.nan, "intervals": {"srcc": (0.4, 0.6)}, "n": 3})
    said = capsys.readouterr().out
    assert run.folder == place and "finished lab/02_train_baseline: data/runs/lab/02_" in said
    assert "srcc 0.500, plcc nan, n 3" in said and "load" not in said, "it has no model"

    told = json.loads((run.folder / "params.json").read_text())
    assert told["parameters"]["rate"] == 1.0
    assert told["parameters"]["run"] == "02_train_baseline"
    assert told["rows"] == 7
    assert {"git", "versions", "seed", "device", "date", "notebook_hash"} <= told.keys()
    assert told["versions"]["torch"]
    assert json.loads((run.folder / "metrics.json").read_text()) == {
        "srcc": 0.5,
        "plcc": None,
        "intervals": {"srcc": [0.4, 0.6]},
        "n": 3,
    }
    assert rows_of(run.folder / "history.csv")[0] == {"epoch": "1", "loss": "0.123456", "srcc": ""}
    assert (run.folder / "train.log").read_text().count("\n") == 2
    (row,) = rows_of(project.root / "data/runs/index.csv")
    assert (row["experiment"], row["run"], row["model"], row["set"], row["srcc"]) == (
        "lab",
        "02_train_baseline",
        "hyperiqa",
        "demo",
        "0.5",
    )
    assert (run.folder / "_SUCCESS").is_file()
    names = [path.name for path in (project.root / "data/runs/lab").rglob("*")]
    assert not [name for name in names if name.startswith(".")], "drafts are renamed"


def test_rows_given_again_are_logged_once(project, notebook, monkeypatch):
    rows = [{"epoch": k, "step": 3 * k, "loss": 1 / k} for k in (1, 2, 3)]

    def files(run):
        history = [row["step"] for row in rows_of(run.folder / "history.csv")]
        return history, [
            line.split()[3] for line in (run.folder / "train.log").read_text().splitlines()
        ]

    run = runs.start("02_train_baseline", given())
    for row in [*rows[:2], *rows[:2]]:  # a cell that is run again in the same notebook
        run.log(row)
    assert files(run) == (["3", "6"], ["3", "6"]) and run.rows == rows[:2]
    monkeypatch.setenv("WORLD_SIZE", "2")  # another process of the same run
    again = runs.start("02_train_baseline", given())
    for row in rows:
        again.log(row)
    assert files(again) == (["3", "6", "9"], ["3", "6", "9"]) and again.rows == rows
    again.log(other := rows[0] | {"loss": 7.0})  # of another training, in a cell that is run again
    assert files(again)[0] == ["3"] and again.rows == [other]


def test_a_second_run_replaces_its_row_only(project, notebook):
    for seed, name in ((1, "a"), (2, "b"), (3, "a")):
        runs.start("02_train_baseline", given(run=name)).finish({"srcc": seed})
    rows = rows_of(project.root / "data/runs/index.csv")
    assert [(row["run"], row["srcc"]) for row in rows] == [("b", "2"), ("a", "3")]


def test_a_finished_run_stays_as_it_is_until_another_has_finished(project, notebook):
    run = runs.start("02_train_baseline", given())
    run.path("predictions.csv").write_text("first")
    run.finish({"srcc": 0.5})
    before = tree(run.folder)
    again = runs.start("02_train_baseline", given())
    again.path("predictions.csv").write_text("second")
    assert tree(run.folder) == before and runs.finished("lab/02_train_baseline") == run.folder
    again.finish({"srcc": 0.6})
    assert again.folder == run.folder
    assert (run.folder / "predictions.csv").read_text() == "second"
    assert [path.name for path in (project.root / "data/runs/lab").iterdir()] == [run.name]


def tree(folder):
    """All files of a folder with their bytes and times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files]


@pytest.mark.parametrize("verb", ["path", "log", "note", "record", "uses", "variant", "finish"])
def test_a_finished_record_refuses_to_write(notebook, verb):
    run = runs.start("02_train_baseline", given())
    run.finish({})
    arguments = {"log": [{}], "record": [], "uses": [], "finish": [{}]}.get(verb, ["x"])
    with pytest.raises(RuntimeError, match=r"has finished, .* run the cell with runs.start"):
        getattr(run, verb)(*arguments)


def test_a_start_finds_nothing_of_an_earlier_one_but_runs_within_it(project, notebook):
    run = runs.start("02_train_baseline", given())
    for name in ("history.csv", "predictions.csv", "tensorboard/events"):
        run.path(name).write_text("of other labels")
    run.variant("seed1").finish({})
    again = runs.start("02_train_baseline", given())
    assert sorted(path.name for path in again.folder.iterdir()) == ["params.json", "seed1"]
    assert again.variant("seed1").finished


def test_a_variant_that_is_left_is_not_taken_for_the_one_before(project, notebook):
    table = project.root / "table.csv"
    table.write_text("first")
    run = runs.start("02_train_baseline", given())
    run.uses(table)
    run.variant("seed1").finish({"srcc": 0.1})
    table.write_text("second")
    run = runs.start("02_train_baseline", given())
    run.uses(table)
    assert not run.variant("seed1").finished  # and is killed in its training
    run = runs.start("02_train_baseline", given())
    run.uses(table)
    assert not run.variant("seed1").finished


def test_a_start_that_was_killed_does_not_hinder_the_next(notebook, monkeypatch):
    folder = runs.start("02_train_baseline", given()).folder
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runs.start("02_train_baseline", given())
    for left in ("{}", '{"parameters": {}, "code": {}}'):
        (folder / "params.json").write_text(left)
        runs.start("02_train_baseline", given())
    assert json.loads((folder / "params.json").read_text())["parameters"]["epochs"] == 3


SECOND = (
    f"CELL = {CELL!r}"
    + """
import os, signal, sys
from pathlib import Path
from iqa_core import runs
namespace = {}
exec(CELL, namespace)
run = runs.start("02_train_baseline", namespace)
run.path("predictions.csv").write_text("second")
seen = 0
def die(*arguments, **kwargs):
    global seen
    seen += 1
    if seen == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(*arguments, **kwargs)
rename = Path.rename
Path.rename = die
if sys.argv[1] == "0":
    os.kill(os.getpid(), signal.SIGKILL)
run.finish({"srcc": 0.6})
os.kill(os.getpid(), signal.SIGKILL)
"""
)


@pytest.mark.parametrize("moment", ["0", "1", "2", "9"])
def test_a_second_run_killed_at_any_moment_leaves_the_first_or_the_second(
    project, notebook, moment
):
    run = runs.start("02_train_baseline", given())
    run.path("predictions.csv").write_text("first")
    run.finish({"srcc": 0.5})
    before = tree(run.folder)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", SECOND, moment], env=environment)
    assert killed.returncode == -signal.SIGKILL
    folder = runs.finished("lab/02_train_baseline")
    whole = {"second": 0.6, "first": 0.5}[(folder / "predictions.csv").read_text()]
    assert runs.read_json(folder / "metrics.json") == {"srcc": whole}
    assert whole == (0.5 if moment == "0" else 0.6)
    assert moment != "0" or tree(folder) == before
    runs.start("02_train_baseline", given()).finish({"srcc": 0.7})
    assert runs.read_json(folder / "metrics.json") == {"srcc": 0.7}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_second_kernel_on_the_same_run_is_refused(project, notebook):
    runs.start("02_train_baseline", given())
    environment = {k: v for k, v in os.environ.items() if k != folders.HELD}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SECOND, "9"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "another process is making the run lab/02_train_baseline: wait until" in refused.stderr


def test_a_disk_without_room_is_told_at_the_start(project, notebook, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Namespace(free=10**9 - 1))
    with pytest.raises(OSError, match=r"no room for lab/02_train_baseline: 1 GB are free, .*free"):
        runs.start("02_train_baseline", given())


def test_a_run_of_other_parameters_has_another_name(project, notebook):
    committed.write(project.root / "notebooks")
    one = runs.start("02_train_baseline", given())
    other = runs.start("02_train_baseline", given(epochs=7))
    assert one.name == "02_train_baseline"
    assert re.fullmatch(r"02_train_baseline--[0-9a-f]{6}", other.name)
    assert runs.start("02_train_baseline", given(epochs=7)).name == other.name
    assert runs.start("02_train_baseline", given(epochs=8)).name != other.name
    assert runs.start("02_train_baseline", given(processes=2)).name == one.name
    # what JupyterLab has saved is no default
    project.notebook("02_train_baseline", CELL.replace("epochs: int = 3", "epochs: int = 7"))
    edited = runs.start("02_train_baseline", given(epochs=7))
    assert edited.name == other.name
    told = runs.read_json(edited.folder / "params.json")["edited"]
    assert told == ["default of epochs: 3 became 7"]


def test_the_start_cell_a_second_time(notebook):
    run = runs.start("02_train_baseline", given(run="a"))
    assert runs.start("02_train_baseline", given(run=run)).folder == run.folder


def test_start_before_the_parameters_cell(notebook):
    with pytest.raises(KeyError, match="run the parameters cell first, experiment, run, epochs"):
        runs.start("02_train_baseline", {})


@pytest.mark.parametrize("name", ["../up", "a/b", " "])
def test_a_name_that_is_no_folder(notebook, name):
    with pytest.raises(ValueError, match="run: .* names a folder"):
        runs.start("02_train_baseline", given(run=name))


def test_the_index_is_made_of_the_run_folders(project, notebook):
    for name in ("a", "b"):
        run = runs.start("02_train_baseline", given(run=name))
        run.record(model=name)
        run.finish({"srcc": 0.5})
    home = project.root / "data/runs"
    (home / "index.csv").unlink()
    (home / "lab/a").rename(home / "lab/c")  # as it came from another machine
    runs.start("02_train_baseline", given(run="d"))
    runs.write_index()
    assert [row["model"] for row in rows_of(home / "index.csv")] == ["a", "b"], "what has finished"


def test_files_of_a_run_are_known_by_their_hashes(project, notebook):
    run = runs.start("02_train_baseline", given())
    for name in ("a.csv", "data/b.csv"):
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(name)
        run.uses(project.root / name)
    told = json.loads((run.folder / "params.json").read_text())["files"]
    assert told == {name: runs.file_hash(project.root / name) for name in ("a.csv", "data/b.csv")}


def test_files_of_a_draft_are_known_by_where_they_will_lie(project, notebook):
    run = runs.start("02_train_baseline", given())
    run.path("a/model").write_text("x")
    run.uses(run.path("a/model"))
    name = "data/runs/lab/02_train_baseline/a/model"
    assert [*runs.read_json(run.folder / "params.json")["files"]] == [name]
    run.finish({})
    assert (project.root / name).is_file()


def test_variants(project, notebook):
    run = runs.start("02_train_baseline", given())
    run.record(set="demo")
    variant = run.variant("seed2", epochs=9)
    assert not variant.finished
    variant.finish({"srcc": 0.1})
    assert variant.folder == run.folder / "seed2"
    assert runs.all_runs() == [], "it is there once the whole run has finished"
    run.finish({})
    folder = runs.finished("lab/02_train_baseline/seed2")
    assert runs.read_json(folder / "params.json")["parameters"]["epochs"] == 9
    rows = {row["run"]: row for row in rows_of(project.root / "data/runs/index.csv")}
    assert rows["02_train_baseline/seed2"]["set"] == "demo"


def test_a_variant_that_has_finished_is_left_as_it_is(project, notebook, capsys):
    run = runs.start("02_train_baseline", given())
    run.variant("seed2", epochs=9).finish({"srcc": 0.1})
    again = runs.start("02_train_baseline", given())
    variant = again.variant("seed2", epochs=9)
    assert variant.finished and (variant.folder / "_SUCCESS").is_file(), "in the same draft"
    again.finish({})
    file = again.folder / "seed2/metrics.json"
    third = runs.start("02_train_baseline", given())
    variant = third.variant("seed2", epochs=9)
    assert variant.finished and (variant.folder / "metrics.json").samefile(file), "linked"
    (project.root / "table.csv").write_text("x")
    third.uses(project.root / "table.csv")
    other = third.variant("seed2", epochs=9)
    assert not other.finished, "of other files"
    other.finish({"srcc": 0.2})
    assert runs.read_json(file) == {"srcc": 0.1}, "the finished run has kept its own"
    assert third.variant("seed2", epochs=9).finished
    assert not third.variant("seed2", epochs=8).finished


def test_run_folder(project, notebook):
    run = runs.start("02_train_baseline", given())
    with pytest.raises(FileNotFoundError, match="run lab/02_train_baseline did not finish; run it"):
        runs.load_model("lab/02_train_baseline")
    with pytest.raises(FileNotFoundError, match="no finished run of 02_train in data/runs/lab"):
        runs.newest_runs("lab", ["02_train"])
    run.finish({})
    folder = runs.finished("lab/02_train_baseline")
    assert folder == run.folder == runs.run_folder(run.folder)
    with pytest.raises(
        FileNotFoundError, match="no run 'lab/other' in data/runs; there are: lab/02_train_baseline"
    ):
        runs.run_folder("lab/other")


def test_a_run_that_cannot_be_read_spoils_no_other(project, notebook, capsys):
    runs.start("02_train_baseline", given(run="a")).finish({})
    (project.root / "data/runs/lab/a/params.json").write_text("{")
    runs.start("02_train_baseline", given(run="b")).finish({})
    assert [row["run"] for row in rows_of(project.root / "data/runs/index.csv")] == ["b"]
    assert "lab/a/params.json cannot be read and is passed over" in capsys.readouterr().out


def test_a_reader_leaves_a_draft_to_the_process_that_makes_it(project, notebook):
    run = runs.start("02_train_baseline", given())
    (run.folder / "_SUCCESS").write_text("")  # as in the middle of `finish`
    assert runs.all_runs() == []
    run.finish({"srcc": 0.5})
    assert runs.finished("lab/02_train_baseline") == run.folder


def test_the_newest_run_of_a_method_and_split_is_taken(project, notebook, capsys):
    for name, method, split in [
        ("02_a", "light", "1"),
        ("02_b", "light", "2"),
        ("02_c", "light", "1"),
        ("02_d", "other", "1"),
    ]:
        run = runs.start("02_train_baseline", given(run=name))
        run.record(method=method, set="demo", split_hash=split)
        run.finish({})
    found = runs.newest_runs("lab", ["02_train_baseline"])
    assert found.taken == ["lab/02_b", "lab/02_c", "lab/02_d"]
    assert found.passed_over == ["lab/02_a"]
    found = runs.newest_runs("lab", ["02_train_baseline"], split=["demo", "1"])
    assert found.taken == ["lab/02_c", "lab/02_d"]
    runs.start("02_train_baseline", given(run="10_x")).uses_runs(found)
    said = capsys.readouterr().out
    assert (
        "taken: lab/02_c, lab/02_d\npassed over (older, or set for once): lab/02_a, lab/02_b"
        in (said)
    )
    assert runs.newest_runs("lab", ["02_train_baseline"], one=True).taken == ["lab/02_d"]
    project.parameters("lab/02_a", "")
    assert runs.newest_runs("lab", ["02_train_baseline"]).taken == ["lab/02_a"], "others are trials"


def test_hashes(project, notebook):
    path = project.root / "x.txt"
    path.write_text("x")
    assert runs.file_hash(path) == "sha256-2d711642b726"
