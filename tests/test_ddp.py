"""Several processes do the training of one: 2 on CPU over the loopback, in float64, against a
single one.
"""

import subprocess
import sys

import pytest
import torch
from conftest import REPOSITORY
from training_jobs import SHARED, free_port, run, shared_training

from iqa_core.training import processes


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with the results of one process, and of two."""
    folder = tmp_path_factory.mktemp("shared")
    assert run(shared_training, folder, 1, 0) == [0]
    assert run(shared_training, folder, 2, free_port(), processes=2) == [0, 0]
    return folder


@pytest.mark.parametrize("name", [name for name in SHARED if name != "parts"])
def test_two_processes_do_the_steps_of_one(done, name):
    one, first, second = (
        torch.load(done / f"{name}-{which}.pt", weights_only=True)
        for which in ("1-0", "2-0", "2-1")
    )
    assert len(one["rows"]) == 5
    for alone, *shared in zip(one["rows"], first["rows"], second["rows"], strict=True):
        weights = alone.pop("weights")
        for row in shared:
            others = row.pop("weights")
            assert weights.keys() == others.keys()
            for key, value in weights.items():
                torch.testing.assert_close(others[key], value, rtol=0, atol=1e-6)
            assert row == pytest.approx(alone, rel=0, abs=1e-6)
    for shared in (first, second):
        torch.testing.assert_close(shared["predicted"], one["predicted"], rtol=0, atol=1e-6)
    assert (
        one["rows"][0]["train_loss"] != one["rows"][4]["train_loss"] and len(one["predicted"]) == 7
    )


def test_a_batch_in_parts_is_the_same_step(done):
    whole, parts, shared = (
        torch.load(done / f"{name}.pt", weights_only=True)["rows"][4]
        for name in ("even-1-0", "parts-1-0", "parts-2-1")
    )
    for other in (parts, shared):
        for key, value in whole["weights"].items():
            torch.testing.assert_close(other["weights"][key], value, rtol=0, atol=1e-6)
        assert other["train_loss"] == pytest.approx(whole["train_loss"], abs=1e-6)


def test_a_shared_training_that_is_left_goes_on(done):
    for rank in (0, 1):
        rows = torch.load(done / f"resumed-{rank}.pt", weights_only=True)
        assert rows["left"] == rows["whole"] and len(rows["whole"]) == 5


def test_all_processes_validate_and_keep_the_same_running_averages(done):
    first, second = (torch.load(done / f"norms-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["rows"] == second["rows"]
    assert all(
        torch.equal(value, second["weights"][name]) for name, value in first["weights"].items()
    )
    assert first["weights"]["backbone.1.running_mean"].any()


def test_processes_with_different_checkpoints_are_refused(done):
    for rank in (0, 1):
        told = (done / f"refused-{rank}.txt").read_text()
        assert (
            "found checkpoints of different steps (0, 2); let all machines share data/runs" in told
        )


def test_processes_without_crops_are_refused(monkeypatch):
    class Four:
        world_size, global_rank = 4, 1

    with pytest.raises(
        ValueError,
        match="4 processes for batches of which some hold 3 images; give each process two",
    ):
        processes.check_batches(Four, 3)


SCRIPT = """
import os, sys
sys.path.insert(0, "tests")
from training_jobs import Small, data, fit, OPTIONS
rows = list(fit(Small(), *data(), *data(25, seed=1), **OPTIONS))
# One write a line, or the lines of two processes run into each other.
sys.stdout.write(f"rank {os.environ['RANK']} rows {len(rows)} world {os.environ['WORLD_SIZE']}\\n")
"""


@pytest.mark.slow
def test_torchrun_itself(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-addr",
        "127.0.0.1",
    ]
    command += ["--master-port", str(free_port()), str(tmp_path / "script.py")]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True
    )
    assert "rank 0 rows 3 world 2" in done.stdout and "rank 1 rows 3 world 2" in done.stdout
    assert done.stdout.count("stopped after epoch 3") == 1
