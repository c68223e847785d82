"""A real cluster of several worker processes on this machine: its shards hold what the local scorer
gives, whatever dies on the way.
"""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import REPOSITORY
from PIL import Image

from iqa_core.apps import scoring
from iqa_core.apps.scale import scale

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray's own modules
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 120 small pictures, one of which is damaged, and their reference."""
    folder = tmp_path_factory.mktemp("photos")
    with Image.open(REPOSITORY / "data/demo/bee.png") as photo:
        small = np.asarray(photo.convert("RGB").resize((320, 240)))
    Image.fromarray(small).save(folder.parent / "reference.png")
    generator = np.random.default_rng(0)
    for number in range(120):
        noisy = small + generator.normal(0, number / 4 + 1, small.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
    (folder / "050.png").write_bytes(b"damaged")
    return folder


@pytest.fixture(scope="module")
def cluster():
    """Four places for work, so that two scorers and decoders run at once."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=4, _node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def shards_of(out):
    return pd.concat([pd.read_parquet(file) for file in sorted(Path(out).glob("part-*.parquet"))])


def the_same(shards, local):
    """Whether shards hold the local scorer's rows and failures."""
    good = shards[shards.failure == ""].drop(columns="failure")
    columns = local.columns.tolist()
    known = local.dropna().reset_index(drop=True)
    pd.testing.assert_frame_equal(
        good[columns].reset_index(drop=True), known, check_dtype=False, rtol=1e-5
    )
    failed = shards[shards.failure != ""].image.tolist()
    return failed == [failure["image"] for failure in local.attrs["failures"]]


def test_shards_are_the_local_scores_and_are_not_made_twice(photos, cluster, tmp_path):
    options = {"reference": photos.parent / "reference.png"}
    local = scoring.score(photos, ["psnr", "mdsi"], progress=False, **options)
    made = scale(photos, tmp_path, ["psnr", "mdsi"], per_shard=50, workers=2, **options)
    assert made.images.tolist() == [50, 50, 20]
    assert made.failures.tolist() == [0, 1, 0]
    assert the_same(shards_of(tmp_path), local)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("part-*")}
    (tmp_path / "part-00001.parquet").unlink()
    again = scale(photos, tmp_path, ["psnr", "mdsi"], per_shard=50, workers=2, **options)
    assert again.equals(made)
    after = {file: file.stat().st_mtime_ns for file in tmp_path.glob("part-*")}
    assert [file.name for file in before if before[file] != after[file]] == ["part-00001.parquet"]
    with pytest.raises(ValueError, match=r"of another job \(other settings\)"):
        scale(photos, tmp_path, ["psnr"], per_shard=50, **options)
    with pytest.raises(ValueError, match="other per_shard, shards"):
        scale(photos, tmp_path, ["psnr", "mdsi"], per_shard=40, **options)


def test_a_worker_that_is_killed_loses_nothing(photos, cluster, tmp_path):
    local = scoring.score(photos, progress=False)
    killed = []

    def kill():
        """One of the scorers, as soon as the first shard is there."""
        while not killed:
            time.sleep(0.1)
            if any(tmp_path.glob("part-*.parquet")):
                killed.extend(scorers()[:1])
                os.kill(killed[0], signal.SIGKILL)

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    made = scale(photos, tmp_path, per_shard=16, workers=2)
    watcher.join(timeout=5)
    assert killed, "nothing was killed"
    assert made.images.sum() == 120
    assert the_same(shards_of(tmp_path), local)


def scorers():
    """The processes of the actors that score."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "MapWorker" in " ".join(process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def test_addresses_are_opened_like_paths(photos, cluster, tmp_path):
    reference = str(photos.parent / "reference.png")
    scale(f"file://{photos}", tmp_path, "psnr", per_shard=200, reference=reference)
    shards = shards_of(tmp_path)
    assert shards.image.str.startswith("file://").all()
    local = scoring.score(photos, "psnr", reference=reference, progress=False)
    assert shards.psnr.dropna().to_numpy() == pytest.approx(
        local.psnr.dropna().to_numpy(), rel=1e-6
    )
