"""Trainings that are killed, or cannot write, and are begun again: the same history and weights,
nothing done twice.
"""

import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from training_jobs import KILLS, OPTIONS, Small, data, fit, killed_training, run

from iqa_core import runs, training
from iqa_core.training import checkpoint as checkpoints

CELL = 'experiment: str = "lab"  # folder\nrun: str = ""  # folder in it\n'
STEPS = 6  # an epoch
REDONE = {
    "first step": 1,
    "in a write": 1,
    "after a write": 0,
    "middle of an epoch": 4,
    "validation": 0,
}  # steps begun twice


def trained(project, where, *, minutes=60.0):
    """Exit code of one process that trains in that project."""
    return run(killed_training, project.root, where, minutes)[0]


def results(project):
    """History without seconds, weights and number of steps begun."""
    folder = project.root / "data/runs/lab/a"
    weights = torch.load(folder / "weights.pt", weights_only=True)
    history = pd.read_csv(folder / "history.csv").drop(columns="seconds")
    return (
        history,
        weights,
        len((project.root / "steps.txt").read_text()),
        (folder / "train.log").read_text(),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of a training that nobody killed."""
    from conftest import Project

    project = Project(tmp_path_factory.mktemp("whole"))
    project.notebook("01_x", CELL)
    assert trained(project, "nowhere") == 0
    assert pd.read_csv(project.root / "data/runs/lab/a/history.csv").best.tolist() == [
        True,
        True,
        False,
    ]
    return results(project)


@pytest.mark.parametrize("where", KILLS)
def test_a_killed_training_goes_on_as_if_nothing_had_been(project, whole, where):
    project.notebook("01_x", CELL)
    minutes = 0.0 if where == "in a write" else 60.0  # 0: a checkpoint at every step
    assert trained(project, where, minutes=minutes) == -signal.SIGKILL
    assert trained(project, "nowhere", minutes=minutes) == 0
    history, weights, steps, log = results(project)
    pd.testing.assert_frame_equal(history, whole[0], check_exact=True)
    assert all(torch.equal(value, whole[1][name]) for name, value in weights.items())
    assert (whole[2], steps) == (3 * STEPS, 3 * STEPS + REDONE[where])
    assert [line.split()[1] for line in log.splitlines() if line.startswith("epoch ")] == [
        "1",
        "2",
        "3",
    ]
    assert "goes on from last.ckpt" in log and log.count("weights chosen on val: epoch") == 1
    assert not list((project.root / "data/runs/lab/a").glob(".*")), (
        "what was half written is overwritten"
    )


def test_scalars_are_drawn_once(project, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    project.notebook("01_x", CELL)
    trained(project, "validation")
    assert trained(project, "nowhere") == 0
    scalars = EventAccumulator(str(project.root / "data/runs/lab/a/tensorboard")).Reload()
    drawn = [(event.step, pytest.approx(event.value)) for event in scalars.Scalars("val_srcc")]
    assert drawn == list(zip(whole[0].step, whole[0].val_srcc, strict=True))


def fitted(folder, **changes):
    training.seed_everything(0)
    options = (
        OPTIONS | dict(epochs=1, checkpoint=folder / "last.ckpt", log=lambda text: None) | changes
    )
    return list(fit(Small(), *data(), *data(25, seed=1), **options))


def test_a_finished_training_is_not_done_again(tmp_path, monkeypatch):
    def no_step(self, images):
        assert not self.training, "a step is taken again"
        return forward(self, images)

    rows, forward = fitted(tmp_path), Small.forward
    monkeypatch.setattr(Small, "forward", no_step)
    again = fitted(tmp_path)
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in rows]


def test_numpy_numbers_do_not_spoil_a_checkpoint(tmp_path):
    rows = fitted(tmp_path, head_lr=np.float64(0.001), clip=np.float32(2.0))
    assert len(fitted(tmp_path, head_lr=0.001)) == len(rows)


def test_a_checkpoint_of_another_training_is_refused_naming_what_differs(tmp_path):
    fitted(tmp_path)
    with pytest.raises(
        ValueError,
        match=(
            r"belongs to another training: epochs was 1, is 2; seed was 0, is 3; give what was "
            r".* or delete"
        ),
    ):
        fitted(tmp_path, epochs=2, seed=3)
    images, table = data(25, seed=2)
    with pytest.raises(ValueError, match=r"table of spaq was None, is '25 rows, [0-9a-f]{12}'"):
        fitted(tmp_path, monitor={"spaq": (images, table)})
    (tmp_path / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"last.ckpt is damaged, or no checkpoint .* delete it"):
        fitted(tmp_path)


def test_a_checkpoint_holds_nothing_but_plain_values_and_tensors(tmp_path):
    fitted(tmp_path, monitor={"other": data(9)}, select="other")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert {
        "model",
        "optimizer",
        "batches",
        "torch",
        "cuda",
        "precision",
        "progress",
        "identity",
    } == state.keys()


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_earlier_checkpoint_whole(tmp_path):
    import resource

    path = tmp_path / "last.ckpt"
    checkpoints.save(path, {"identity": {}, "a": 1})
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        with pytest.raises(
            OSError, match=r"cannot be written \(.*; the earlier checkpoint is untouched; free some"
        ):
            checkpoints.save(path, {"identity": {}, "a": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and checkpoints.load(path, {})["a"] == 1


def test_a_read_only_disk_with_a_half_written_draft_is_told_in_the_same_words(
    tmp_path, monkeypatch
):
    path = tmp_path / "last.ckpt"
    checkpoints.save(path, {"identity": {}, "a": 1})
    (tmp_path / ".last.ckpt.part").write_bytes(b"half")

    def refuse(self, *_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(type(path), "open", refuse)
    monkeypatch.setattr(type(path), "unlink", refuse)
    with pytest.raises(
        OSError,
        match=r"cannot be written \(.*Read-only.*; the earlier checkpoint is untouched; free",
    ):
        checkpoints.save(path, {"identity": {}, "a": 2})


def test_a_folder_that_cannot_be_written_is_noticed_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(Small, "forward", None)
    (tmp_path / ".last.ckpt.part").mkdir()  # what root, who may write anywhere, cannot write either
    with pytest.raises(
        OSError,
        match=(
            r"cannot be written \(.*; there is no earlier one; free some space or make the "
            r"folder"
        ),
    ):
        fitted(tmp_path)


def test_only_the_first_process_writes(project, monkeypatch):
    project.notebook("01_x", CELL)
    first = runs.start("01_x", {"experiment": "lab", "run": "a"})
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    monkeypatch.setenv("RANK", "1")
    second = runs.start("01_x", {"experiment": "lab", "run": "a"})
    second.log({"epoch": 1, "val_srcc": 0.5})
    second.note("x")
    second.record(a=1)
    second.finish({})
    assert second.rows and {path: path.read_bytes() for path in first.folder.iterdir()} == before
