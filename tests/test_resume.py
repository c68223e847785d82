"""Trainings that are killed, or cannot write, and are begun again: the same history and weights,
nothing done twice.
"""

import linecache
import os
import re
import signal
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from training_jobs import KILLS, OPTIONS, Small, data, fit, killed_training, run

from iqa_core import training
from iqa_core.loading.samples import fingerprint
from iqa_core.models import Objective
from iqa_core.pixels import PixelCache
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
    (kept,) = (project.root / "data/runs/.trainings").iterdir()
    left = sorted(path.name for path in kept.iterdir() if not path.name.startswith("."))
    assert left == ["finished.ckpt", "identity.json"]


def test_scalars_are_drawn_once(project, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    project.notebook("01_x", CELL)
    trained(project, "validation")
    assert trained(project, "nowhere") == 0
    scalars = EventAccumulator(str(project.root / "data/runs/lab/a/tensorboard")).Reload()
    drawn = [(event.step, pytest.approx(event.value)) for event in scalars.Scalars("val_srcc")]
    assert drawn == list(zip(whole[0].step, whole[0].val_srcc, strict=True))


def start():
    """A network with the same weights at every call."""
    training.seed_everything(0)
    return Small()


def fitted(folder, *, model=None, train=None, **changes):
    """Rows of a training that is kept in a folder."""
    model = model or start()
    options = OPTIONS | dict(epochs=1, checkpoint=folder, log=lambda text: None) | changes
    return list(fit(model, *(train or data()), *data(25, seed=1), **options))


def test_a_finished_training_is_not_done_again(tmp_path, monkeypatch):
    def no_step(self, images):
        raise AssertionError("a finished training judges no image")

    said = []
    model, again = start(), start()
    rows = fitted(tmp_path, model=model)
    monkeypatch.setattr(Small, "forward", no_step)
    assert fitted(tmp_path, model=again, log=said.append) == rows
    assert (again.contract.offset, again.contract.scale) == (
        model.contract.offset,
        model.contract.scale,
    )
    weights = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)
    assert "not trained again: it is the kept training" in said[0]


def test_a_cell_that_is_run_again_is_the_same_training(tmp_path):
    """Left after its first row, then to its end, then once more: with the same network, as a
    notebook's cell has it.
    """
    model, said = start(), []
    options = OPTIONS | dict(epochs=3, checkpoint=tmp_path, log=said.append)
    for _ in fit(model, *data(), *data(25, seed=1), **options):
        break
    rows = list(fit(model, *data(), *data(25, seed=1), **options))
    assert "goes on from last.ckpt, 6 of 18 steps done, processes 1" in "\n".join(said)
    assert list(fit(model, *data(), *data(25, seed=1), **options)) == rows
    assert "not trained again" in said[-2] and len(list(tmp_path.iterdir())) == 1
    whole = list(fit(start(), *data(), *data(25, seed=1), **options | {"checkpoint": None}))
    assert [row | {"seconds": 0} for row in whole] == [row | {"seconds": 0} for row in rows]


def test_numpy_numbers_are_those_of_python(tmp_path):
    rows = fitted(tmp_path, head_lr=np.float64(0.001), clip=np.float32(2.0))
    assert fitted(tmp_path, head_lr=0.001, clip=2.0) == rows


def test_another_training_is_kept_beside_and_the_log_names_what_differs(tmp_path):
    said = []
    rows = fitted(tmp_path)
    fitted(tmp_path, epochs=2, seed=3, log=said.append)
    assert re.search(
        r"begins anew; the kept training \w{12} differs: epochs was 1, is 2; seed was 0, is 3",
        "\n".join(said),
    )
    images, table = data(25, seed=2)
    fitted(tmp_path, monitor={"spaq": (images, table)}, log=said.append)
    assert "table of spaq was None, is '25 rows, " in "\n".join(said)
    assert len(list(tmp_path.iterdir())) == 3 and fitted(tmp_path) == rows


@pytest.mark.parametrize("change", ["pixel", "label", "weight", "fixed", "crop", "code"])
def test_what_a_training_depends_on_has_another_key(tmp_path, monkeypatch, change):
    fitted(tmp_path)
    model, (images, table) = start(), data()
    if change == "pixel":
        images[7][3, 5] ^= 1
    if change == "label":
        table.loc[5, "label"] += 0.5
    if change == "weight":
        model.head.bias.data += 0.01
    if change == "fixed":
        model.backbone.requires_grad_(False)
    if change == "crop":
        model.contract = model.contract.changed(crop=15)
    if change == "code":
        code = {"iqa_core.training.losses": "another"}
        monkeypatch.setattr(training.prepare, "code_of_modules", lambda modules: code)
    fitted(tmp_path, model=model, train=(images, table))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_loss_of_ones_own_is_known_by_its_source(tmp_path):
    def objective(text):
        linecache.cache["cell"] = (len(text), None, text.splitlines(keepends=True), "cell")
        exec(compile(text, "cell", "exec"), namespace := {"__name__": "cell"})
        return Objective(loss=namespace["loss"])

    cell = "def loss(outputs, target, stage):\n    return (outputs - target).abs().mean()\n"
    for text in (cell, cell.replace("return", "return 5 *"), cell):
        fitted(tmp_path, objective=objective(text))
    assert len(list(tmp_path.iterdir())) == 2


def test_pixels_are_known_wherever_they_lie(tmp_path):
    arrays = [np.random.default_rng(k).integers(0, 256, (9, 7, 3), np.uint8) for k in range(3)]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for k, array in enumerate(arrays):
            Image.fromarray(array).save(tmp_path / f"{folder}/{k}.png")
    paths = {folder: [tmp_path / f"{folder}/{k}.png" for k in range(3)] for folder in "ab"}
    one = PixelCache(paths["a"], tmp_path / "c").fill()
    other = PixelCache(paths["b"][::-1], tmp_path / "c")  # decoded when asked for
    assert fingerprint(one) == fingerprint(Subset(other, [2, 1, 0])) == fingerprint(arrays)
    assert fingerprint(one) != fingerprint(other)


def test_a_damaged_checkpoint_is_named(tmp_path):
    fitted(tmp_path)
    (file,) = tmp_path.glob("*/finished.ckpt")
    file.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"finished.ckpt is damaged, or no .* delete it"):
        fitted(tmp_path)
    file.unlink()
    assert fitted(tmp_path)


def test_a_checkpoint_holds_nothing_but_plain_values_and_tensors(tmp_path):
    watched = dict(monitor={"other": data(9)}, select="other")
    for _ in fit(Small(), *data(), *data(25, seed=1), **OPTIONS, checkpoint=tmp_path, **watched):
        break
    (file,) = tmp_path.glob("*/last.ckpt")
    state = torch.load(file, weights_only=True)
    parts = {"model", "optimizer", "batches", "torch", "cuda", "precision", "progress"}
    assert parts == state.keys()


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
    assert path.read_bytes() == before and checkpoints.load(path)["a"] == 1


def test_a_read_only_disk_with_a_half_written_draft_is_told_in_the_same_words(
    tmp_path, monkeypatch
):
    path = tmp_path / "last.ckpt"
    checkpoints.save(path, {"identity": {}, "a": 1})

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
    (tmp_path / "file").write_text("")  # what root, who may write anywhere, cannot write either
    with pytest.raises(OSError, match=r"no training can be kept in .*; free some space or make"):
        fitted(tmp_path / "file")


def test_a_disk_too_full_for_checkpoints_is_noticed_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(Small, "forward", None)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Namespace(free=10**9))
    with pytest.raises(OSError, match=r"no training can be kept in .*1 GB are free, .* free some"):
        fitted(tmp_path)
