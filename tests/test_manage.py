"""Runs are listed, shown, compared and removed."""

import pytest
from conftest import CELL

from iqa_core import runs
from iqa_core.apps.commands import app
from iqa_core.runs import folders, manage


@pytest.fixture
def three(project, notebook):
    """lab/a and lab/b, which has read a file of a, have finished; lab/c has not."""
    project.notebook("10_export", CELL)
    for name, rate in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        namespace = {}
        exec(CELL, namespace)
        stem = "10_export" if name == "b" else "02_train_baseline"
        run = runs.start(stem, namespace | {"run": name, "rate": rate})
        run.record(method="light", split="demo-rotation1", training=f"key{name}")
        kept = run.trainings / f"key{name}/{'last' if name == 'c' else 'finished'}.ckpt"
        kept.parent.mkdir(parents=True)
        kept.write_text("weights")
        if name == "b":
            run.uses(runs.finished("lab/a") / "predictions.csv")
        run.path("predictions.csv").write_text(name)
        if name != "c":
            run.finish({"srcc": rate, "n": 7})
    return project


def lines(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        app(["runs", *arguments])
    assert end.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_all_runs_are_listed_with_their_state(three, capsys):
    rows = {row["run"]: row for row in manage.rows()}
    states = {name: row["state"] for name, row in rows.items()}
    assert states == {"lab/a": "finished", "lab/b": "finished", "lab/c": "unfinished"}
    assert rows["lab/a"]["headline"] == "srcc 0.1" and rows["lab/a"]["method"] == "light"
    text = "\n".join(lines(capsys, "list"))
    assert "lab/c" in text and "0 finished ones, 0 MB, belong to no run" in text
    facts = runs.read_json(three.root / "data/runs/lab/a/params.json")
    del facts["format"]
    runs.run.write_json(three.root / "data/runs/lab/a/params.json", facts)
    assert manage.rows()[0]["state"] == "earlier format"
    assert runs.finished("lab/a"), "it is found as before"


def test_a_run_is_shown(three, capsys):
    text = "\n".join(lines(capsys, "show", "lab/a"))
    assert "defaults: run a, rate 0.1" in text and "read by: lab/b" in text
    assert "stale: no, it would come out the same" in text and "results: srcc 0.1, n 7" in text
    three.notebook("02_train_baseline", CELL, "more = 1")
    assert "stale: code of 02_train_baseline.ipynb has changed" in manage.described("lab/a")


def test_two_runs_are_compared(three, capsys):
    rows = {what: (one, other) for what, one, other in manage.differences("lab/a", "lab/b")}
    assert rows["rate"] == ("0.1", "0.2") and rows["result: srcc"] == ("0.1", "0.2")
    assert "epochs" not in rows and "result: n" not in rows
    assert any("rate" in line for line in lines(capsys, "diff", "lab/a", "lab/b"))


def test_a_run_that_others_have_read_is_not_removed(three, capsys):
    with pytest.raises(ValueError, match="lab/a was read by lab/b: remove these first"):
        manage.remove("lab/a")
    for name in "abc":
        folders.let_go(f"lab/{name}")
    assert lines(capsys, "remove", "lab/b")[0].endswith("data/runs/lab/b")
    lines(capsys, "remove", "lab/a")
    kept = sorted(path.name for path in (three.root / "data/runs/.trainings").iterdir())
    assert kept == ["keyc"], "their trainings are gone as well"
    left = three.root / "data/runs/.trainings/keyc/last.ckpt"
    lines(capsys, "remove", "--unused-trainings")
    lines(capsys, "remove", "lab/c")
    assert not manage.rows()
    assert [*(three.root / "data/runs/.trainings").iterdir()] == [left.parent], "not finished"
    for name in ("lab/", "../raw", "lab/.", ".trainings/keyc", "lab"):
        with pytest.raises(ValueError, match="a run is named|names a folder"):
            manage.remove(name)
    assert left.is_file()
    with pytest.raises(FileNotFoundError, match="no run 'lab/a'"):
        manage.remove("lab/a")


def test_an_attempt_to_make_a_run_anew_is_removed_alone(three):
    namespace = {}
    exec(CELL, namespace)
    draft = runs.start("10_export", namespace | {"run": "b", "rate": 0.2}).folder
    folders.let_go("lab/b")
    assert manage.remove("lab/b") == [draft]
    assert runs.finished("lab/b")
    assert runs.finished("lab/b") in manage.remove("lab/b")


def test_trainings_of_runs_that_are_being_made_stay(three):
    with pytest.raises(ValueError, match="lab/c: wait until these runs have finished"):
        manage.remove_unused_trainings()
