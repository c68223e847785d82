"""Ten thousand files by the command line: killed again and again, the result is that of a run that
was left alone, and memory stays where it was.
"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from PIL import Image

pytestmark = pytest.mark.slow
FILES, SIDE = 10_000, 224


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Crops of the embedded photographs, as JPEG of rising compression."""
    folder = tmp_path_factory.mktemp("crops")
    sources = [Image.open(path).convert("RGB") for path in sorted_photos()]
    generator = np.random.default_rng(0)
    for number in range(FILES):
        source = sources[number % len(sources)]
        left, top = generator.integers(0, [source.width - SIDE, source.height - SIDE])
        crop = source.crop((left, top, left + SIDE, top + SIDE))
        crop.save(folder / f"{number:05d}.jpg", quality=int(generator.integers(5, 96)))
    (folder / "00100.jpg").write_bytes(b"damaged")
    return folder


def sorted_photos():
    return sorted((REPOSITORY / "data/demo").glob("*.png"))


def begun(photos, out):
    """A scoring in a process of its own."""
    words = ["score", photos, "--crops", 1, "--save-results", out]
    return subprocess.Popen(
        [sys.executable, "-m", "iqa_core", *map(str, words)],
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kept(out):
    """How many rows are kept by now."""
    file = out.with_name(f".{out.name}.rows")
    if not file.is_file():
        return 0
    whole = [line for line in file.read_text().splitlines()[1:] if line.endswith("]")]
    return sum(len(json.loads(line)) for line in whole)


def peak(process):
    """Highest memory of a process so far, MB."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def test_killed_and_left_alone_come_to_the_same_file(photos, tmp_path):
    alone = tmp_path / "alone/scores.csv"
    process, peaks = begun(photos, alone), {}
    while process.poll() is None:
        count = kept(alone)
        if count >= 1000:
            peaks.setdefault("a tenth", peak(process))
        if count >= 9900:
            peaks["the end"] = peak(process)
        time.sleep(0.5)
    assert process.returncode == 1, "one is damaged"
    assert pd.read_csv(alone).weak_scorer.notna().sum() == FILES - 1
    assert peaks["the end"] < 1.1 * peaks["a tenth"] + 20
    print(f"peak memory, MB: {peaks}")

    killed = tmp_path / "killed/scores.csv"
    for share in (0.05, 0.5):
        process = begun(photos, killed)
        while kept(killed) < share * FILES:
            assert process.poll() is None
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not killed.exists()
    rows = killed.with_name(".scores.csv.rows")
    rows.write_bytes(rows.read_bytes()[:-100])  # killed during a write
    process = begun(photos, killed)
    process.wait()
    assert killed.read_bytes() == alone.read_bytes()
    failures = [path.with_name("scores.csv.failures.csv").read_bytes() for path in (killed, alone)]
    assert failures[0] == failures[1]
