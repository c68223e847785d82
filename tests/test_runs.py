"""Parameters are read and checked strictly; run folders and the index say what was done."""

import csv
import json
import math

import numpy as np
import pytest
from conftest import CELL

from iqa_core import files, runs


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
    run = runs.start("02_train_baseline", given(rate=1))
    assert run.folder == project.root / "data/runs/lab/02_train_baseline"
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
    run.finish({"srcc": np.float32(0.5), "plcc": math.nan, "intervals": {"srcc": (0.4, 0.6)}})

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
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")], (
        "drafts are renamed"
    )


def test_rows_given_again_are_logged_once(project, notebook):
    rows = [{"epoch": k, "step": 3 * k, "loss": 1 / k} for k in (1, 2, 3)]

    def files(run):
        history = [row["step"] for row in rows_of(run.folder / "history.csv")]
        return history, [
            line.split()[3] for line in (run.folder / "train.log").read_text().splitlines()
        ]

    run = runs.start("02_train_baseline", given())
    (run.folder / "last.ckpt").write_bytes(b"")
    for row in [*rows[:2], *rows[:2]]:  # a cell that is run again in the same notebook
        run.log(row)
    assert files(run) == (["3", "6"], ["3", "6"]) and run.rows == rows[:2]
    again = runs.start("02_train_baseline", given())
    again.log(rows[0])  # and is killed while the rows are given again
    assert files(again) == (["3", "6"], ["3", "6"])
    for row in rows:
        again.log(row)
    assert files(again) == (["3", "6", "9"], ["3", "6", "9"]) and again.rows == rows


def test_a_second_run_replaces_its_row_only(project, notebook):
    for seed, name in ((1, "a"), (2, "b"), (3, "a")):
        runs.start("02_train_baseline", given(run=name)).finish({"srcc": seed})
    rows = rows_of(project.root / "data/runs/index.csv")
    assert [(row["run"], row["srcc"]) for row in rows] == [("b", "2"), ("a", "3")]


def test_start_removes_success_and_nothing_else(project, notebook):
    run = runs.start("02_train_baseline", given())
    run.finish({})
    kept = run.path("02_train_baseline.ipynb")
    kept.write_text("{}")
    runs.start("02_train_baseline", given())
    assert kept.is_file()
    assert not (run.folder / "_SUCCESS").exists()


def test_a_checkpoint_of_the_same_parameters_notebook_and_code_is_kept_and_any_other_put_aside(
    project, notebook
):
    folder = runs.start("02_train_baseline", given()).folder
    for change in ("none", "parameters", "notebook", "code"):
        for name in ("last.ckpt", "train.log", "history.csv"):
            (folder / name).write_text(f"hours {change}")
        if change == "notebook":
            project.notebook("02_train_baseline", CELL, "changed = True")
        if change == "code":  # tables of data/demo count as code
            (project.root / "data/demo").mkdir()
            (project.root / "data/demo/labels.csv").write_text("image,label")
        runs.start("02_train_baseline", given(epochs=3 if change == "none" else 7))
        suffix = "" if change == "none" else ".old"
        assert all(
            (folder / f"{name}{suffix}").read_text() == f"hours {change}"
            for name in ("last.ckpt", "train.log")
        )
        assert (folder / "last.ckpt").exists() == (change == "none")
    (folder / "last.ckpt").write_text("x")
    runs.start("02_train_baseline", given(epochs=7)).finish({})
    assert not (folder / "last.ckpt").exists()


def test_a_start_that_was_killed_does_not_hinder_the_next(project, notebook, monkeypatch):
    folder = runs.start("02_train_baseline", given()).folder
    (folder / "last.ckpt").write_bytes(b"hours")
    for epochs in (3, 4):  # as before; others, so that the checkpoint would be put aside
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                runs.start("02_train_baseline", given(epochs=epochs))
        runs.start("02_train_baseline", given())
        assert (folder / "last.ckpt").exists()
    (folder / "params.json").write_text("{}")
    runs.start("02_train_baseline", given())
    assert not (folder / "last.ckpt").exists() and (folder / "last.ckpt.old").exists()


def test_the_start_cell_a_second_time(notebook):
    run = runs.start("02_train_baseline", given(run="a"))
    assert runs.start("02_train_baseline", given(run=run)).folder == run.folder


def test_start_before_the_parameters_cell(notebook):
    with pytest.raises(KeyError, match="run the parameters cell first, experiment, run, epochs"):
        runs.start("02_train_baseline", {})


@pytest.mark.parametrize("name", ["../up", "a/b", " "])
def test_a_name_that_is_no_folder(notebook, name):
    with pytest.raises(ValueError, match="run = .* names a folder"):
        runs.start("02_train_baseline", given(run=name))


def test_the_index_is_made_of_the_run_folders(project, notebook):
    for name in ("a", "b"):
        run = runs.start("02_train_baseline", given(run=name))
        run.record(model=name)
        run.finish({"srcc": 0.5})
    home = project.root / "data/runs"
    (home / "index.csv").unlink()
    (home / "lab/a").rename(home / "lab/c")  # as it came from another machine
    runs.write_index(home)
    assert [row["model"] for row in rows_of(home / "index.csv")] == ["a", "b"]
    runs.start("02_train_baseline", given(run="b"))
    runs.write_index(home)
    assert [row["model"] for row in rows_of(home / "index.csv")] == ["a"], "only what has finished"


def test_files_of_a_run_are_known_by_their_hashes(project, notebook):
    run = runs.start("02_train_baseline", given())
    for name in ("a.csv", "data/b.csv"):
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(name)
        run.uses(project.root / name)
    told = json.loads((run.folder / "params.json").read_text())["files"]
    assert told == {name: runs.file_hash(project.root / name) for name in ("a.csv", "data/b.csv")}


def test_variants(project, notebook):
    run = runs.start("02_train_baseline", given())
    run.record(set="demo")
    variant = run.variant("seed2", epochs=9)
    assert not variant.finished
    variant.finish({"srcc": 0.1})
    assert variant.folder == run.folder / "seed2"
    assert json.loads((variant.folder / "params.json").read_text())["parameters"]["epochs"] == 9
    (row,) = rows_of(project.root / "data/runs/index.csv")
    assert (row["run"], row["set"]) == ("02_train_baseline/seed2", "demo")
    assert not (run.folder / "_SUCCESS").exists()


def test_a_variant_that_has_finished_is_left_as_it_is(project, notebook, capsys):
    run = runs.start("02_train_baseline", given())
    run.variant("seed2", epochs=9).finish({"srcc": 0.1})
    again = runs.start("02_train_baseline", given())
    capsys.readouterr()
    variant = again.variant("seed2", epochs=9)
    assert variant.finished and (variant.folder / "_SUCCESS").is_file()
    assert not capsys.readouterr().out, "nothing is said to be replaced"
    (project.root / "table.csv").write_text("x")
    again.uses(project.root / "table.csv")
    other = again.variant("seed2", epochs=9)
    assert not other.finished, "of other files"
    other.finish({})
    assert again.variant("seed2", epochs=9).finished
    assert not again.variant("seed2", epochs=8).finished


def test_run_folder(project, notebook):
    run = runs.start("02_train_baseline", given())
    assert runs.run_folder("lab/02_train_baseline") == run.folder == runs.run_folder(run.folder)
    with pytest.raises(
        FileNotFoundError, match="no run 'lab/other' in data/runs; there are: lab/02_train_baseline"
    ):
        runs.run_folder("lab/other")


def test_only_finished_runs_are_read(project, notebook):
    run = runs.start("02_train_baseline", given())
    with pytest.raises(FileNotFoundError, match="has no _SUCCESS: it did not finish"):
        runs.load_model("lab/02_train_baseline")
    with pytest.raises(
        FileNotFoundError, match="no finished run of 02_train_baseline in data/runs/lab"
    ):
        runs.finished_runs("lab", "02_train_baseline")
    run.finish({"srcc": 0.5})
    assert runs.finished("lab/02_train_baseline") == run.folder
    assert runs.finished_runs("lab", "02_train_baseline") == ["lab/02_train_baseline"]


def test_hashes(project, notebook):
    path = project.root / "x.txt"
    path.write_text("x")
    assert runs.file_hash(path) == "sha256-2d711642b726"
    before = runs.notebook_hash(notebook)
    content = json.loads(notebook.read_text())
    content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    notebook.write_text(json.dumps(content))
    assert runs.notebook_hash(notebook) == before, "outputs do not count"
    content["cells"][1]["source"] += "\nseed: int = 0  # x"
    notebook.write_text(json.dumps(content))
    assert runs.notebook_hash(notebook) != before
