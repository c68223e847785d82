"""Parameters are read and checked strictly; run folders and the index say what was done."""

import csv
import json
import math

import numpy as np
import pytest

from iqa_core import files, runs

CELL = """\
experiment: str = "lab"  # folder of runs
run: str = ""  # folder of this run
epochs: int = 3  # passes over the training images
rate: float = 1e-4  # learning rate, per step
colour: str = "#ff0000"  # a default with a # in it
weights: str | None = None  # checkpoint, none: ImageNet
stages: list[int] = [1, 2]  # backbone stages
monitor: dict[str, float] = {}  # other sets
flip: bool = True  # mirror crops
"""


@pytest.fixture
def notebook(project):
    return project.notebook("02_train_baseline", CELL)


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


def test_declared_parameters(notebook):
    declared = runs.declared_parameters(notebook)
    assert list(declared)[:3] == ["experiment", "run", "epochs"]
    assert declared["colour"].default == "#ff0000"
    assert declared["colour"].comment == "a default with a # in it"
    assert (declared["weights"].default, declared["weights"].annotation) == (None, "str | None")
    assert declared["rate"].default == 1e-4
    assert declared["stages"].default == [1, 2]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("epochs = 3", "only lines like `epochs: int = 3"),
        ("import os", "only lines like"),
        ("size: tuple = (1, 2)  # x", "the type must be one of int, float"),
        ("size: int = len('x')  # x", "the default a literal"),
        ("size: int = 'x'  # x", "size = 'x' .str., but int is wanted"),
    ],
)
def test_a_cell_that_is_no_declaration(project, cell, message):
    with pytest.raises(ValueError, match=message):
        runs.declared_parameters(project.notebook("x", cell))


def test_notebook_missing_or_untagged(project, notebook):
    with pytest.raises(FileNotFoundError, match=r"no notebook 2_train.ipynb .* there are: 02_train_baseline"):
        runs.declared_parameters(notebook.with_name("2_train.ipynb"))
    notebook.write_text(notebook.read_text().replace('"parameters"', '"other"'))
    with pytest.raises(ValueError, match="0 cells are tagged `parameters`"):
        runs.declared_parameters(notebook)


def test_an_undeclared_name(notebook):
    with pytest.raises(KeyError, match=r"no parameter 'epoch'; did you mean 'epochs'\? It has: experiment, run, epochs"):
        runs.check_parameters(notebook, {"epoch": 3})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", True, "int"),
        ("epochs", 3.0, "int"),
        ("epochs", "3", "int"),
        ("rate", True, "float"),
        ("rate", "fast", "float"),
        ("colour", 3, "str"),
        ("colour", None, "str"),
        ("weights", 3, r"str \| None"),
        ("stages", [1, "2"], r"list\[int\]"),
        ("stages", [True], r"list\[int\]"),
        ("stages", 1, r"list\[int\]"),
        ("monitor", {"a": "b"}, r"dict\[str, float\]"),
        ("flip", 1, "bool"),
    ],
)
def test_a_value_of_another_type(notebook, name, value, wanted):
    with pytest.raises(ValueError, match=rf"02_train_baseline.ipynb: {name} = .*, but {wanted} is wanted"):
        runs.check_parameters(notebook, {name: value})


def test_numbers_that_yaml_reads_as_text(notebook):
    with pytest.raises(ValueError, match="YAML reads 1e-4 as text, write 1.0e-04"):
        runs.check_parameters(notebook, {"rate": "1e-4"})


def test_an_int_is_taken_for_a_float(notebook):
    checked = runs.check_parameters(notebook, {"rate": 1, "monitor": {"spaq": 2}, "weights": "a.pt", "stages": []})
    assert checked == {"rate": 1.0, "monitor": {"spaq": 2.0}, "weights": "a.pt", "stages": []}
    assert isinstance(checked["rate"], float)


def test_a_run_from_start_to_end(project, notebook, capsys):
    run = runs.start("02_train_baseline", given(rate=1))
    assert run.folder == project.root / "data/runs/lab/02_train_baseline"
    assert "run lab/02_train_baseline: 9 parameters" in capsys.readouterr().out
    run.record(model="hyperiqa", split_hash="abc", set="demo", rows=np.int64(7), table=run.path("x/table.csv"))
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
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")], "drafts are renamed"


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


def test_a_checkpoint_of_other_parameters_is_put_aside_and_one_of_the_same_kept(project, notebook):
    folder = runs.start("02_train_baseline", given()).folder
    (folder / "last.ckpt").write_bytes(b"hours")
    runs.start("02_train_baseline", given())
    assert (folder / "last.ckpt").read_bytes() == b"hours"
    assert json.loads((folder / "params.json").read_text())["goes_on_with"]["code_hash"]
    runs.start("02_train_baseline", given(epochs=7))
    assert not (folder / "last.ckpt").exists() and (folder / "last.ckpt.old").read_bytes() == b"hours"


def test_a_start_that_was_killed_does_not_hinder_the_next(project, notebook, monkeypatch):
    folder = runs.start("02_train_baseline", given()).folder
    (folder / "last.ckpt").write_bytes(b"hours")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_circumstances", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runs.start("02_train_baseline", given())
    assert (folder / "last.ckpt").exists() and runs.start("02_train_baseline", given()).unfinished
    (folder / "params.json").write_text("{}")
    assert not runs.start("02_train_baseline", given()).unfinished


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


def test_variants(project, notebook):
    run = runs.start("02_train_baseline", given())
    run.record(set="demo")
    variant = run.variant("seed2", epochs=9)
    variant.finish({"srcc": 0.1})
    assert variant.folder == run.folder / "seed2"
    assert json.loads((variant.folder / "params.json").read_text())["parameters"]["epochs"] == 9
    (row,) = rows_of(project.root / "data/runs/index.csv")
    assert (row["run"], row["set"]) == ("02_train_baseline/seed2", "demo")
    assert not (run.folder / "_SUCCESS").exists()


def test_run_folder(project, notebook):
    run = runs.start("02_train_baseline", given())
    assert runs.run_folder("lab/02_train_baseline") == run.folder == runs.run_folder(run.folder)
    with pytest.raises(FileNotFoundError, match="no run 'lab/other' in data/runs; there are: lab/02_train_baseline"):
        runs.run_folder("lab/other")


def test_only_finished_runs_are_read(project, notebook):
    run = runs.start("02_train_baseline", given())
    with pytest.raises(FileNotFoundError, match="has no _SUCCESS: it did not finish"):
        runs.load_model("lab/02_train_baseline")
    with pytest.raises(FileNotFoundError, match="no finished run of 02_train_baseline in data/runs/lab"):
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
