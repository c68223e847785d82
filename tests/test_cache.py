"""The store of decoded pixels: whatever happens to it, it never gives wrong ones."""

import itertools
import pickle
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from filelock import FileLock
from pictures import noise, save
from PIL import Image
from torch.utils.data import Subset

from iqa_core import pixels
from iqa_core.loading import Batches, Samples
from iqa_core.models import Contract, Objective
from iqa_core.pixels import cache as store
from iqa_core.pixels import read_image
from iqa_core.pixels.cache import RECORD, PixelCache


@pytest.fixture
def files(tmp_path):
    return [
        save(tmp_path, f"{i}.png", noise(*s, 3, seed=i))
        for i, s in enumerate([(70, 90), (64, 64), (100, 80), (65, 130)])
    ]


@pytest.fixture
def decodes(monkeypatch):
    seen = []
    monkeypatch.setattr(
        store, "read_image", lambda path, **rule: seen.append(path) or read_image(path, **rule)
    )
    return seen


def test_one_decode_an_image_however_many_epochs_and_crops(files, tmp_path, decodes):
    cache, generator = PixelCache(files, tmp_path / "cache"), np.random.default_rng(0)
    samples = Samples({"image": cache}, pd.DataFrame({"label": range(4)}))
    for _ in range(3):
        data = Batches(
            samples,
            Contract("test", crop=32),
            Objective(),
            batch_size=8,
            crops_per_image=20,
            generator=generator,
        )
        for step in itertools.islice(data, len(data)):
            assert step.views[0].shape[1:] == (3, 32, 32)
        assert sorted(decodes) == files
    again = PixelCache(files, tmp_path / "cache").fill()
    np.testing.assert_array_equal(again[2], read_image(files[2]))
    assert sorted(decodes) == files, "a cache that is there decodes nothing"


def test_a_cache_holds_the_pixels_of_the_files_in_any_order_of_asking(files, tmp_path):
    cache = PixelCache(files, tmp_path / "cache")
    for number in (3, 0, 1, 2, -1, 3):
        np.testing.assert_array_equal(cache[number], read_image(files[number]))
        assert not cache[number].flags.writeable and np.shares_memory(cache[number], cache[number])
    np.testing.assert_array_equal(Subset(cache, [3, 0])[1], read_image(files[0]))
    with pytest.raises(IndexError):
        cache[4]


def test_images_are_kept_as_they_are_resized_and_each_rule_has_a_store_of_its_own(
    files, tmp_path, decodes
):
    for rule in (
        {"resize": 48},
        {"resize": (48, 60)},
        {"resize": 48, "interpolation": "bicubic"},
        {"at_least": 90},
        {},
    ):
        cache = PixelCache(files, tmp_path / "c", **rule)
        needed, known = (
            cache.size_needed(),
            {"size": rule.get("resize")} | {k: v for k, v in rule.items() if k != "resize"},
        )
        assert needed == sum(image.nbytes for image in cache.fill()) == cache.file.stat().st_size
        for image, path in zip(cache, files, strict=True):
            np.testing.assert_array_equal(image, pixels.resize(read_image(path), **known))
            assert pixels.resize(image, **known) is image, (
                "nothing is left to be resized for each crop"
            )
        assert cache.size_needed() == 0
    assert len(decodes) == 5 * 4 and len(list((tmp_path / "c").glob("*.pixels"))) == 5


def test_an_interrupted_fill_goes_on_and_a_changed_file_makes_a_new_cache(files, tmp_path, decodes):
    PixelCache(files, tmp_path / "cache")[1]
    PixelCache(files, tmp_path / "cache").fill()
    assert len(decodes) == 4
    Image.new("RGB", (77, 66), (1, 2, 3)).save(files[0])
    assert PixelCache(files, tmp_path / "cache")[0].shape == (66, 77, 3)


def test_two_caches_of_the_same_files_open_at_once_do_not_spoil_each_other(files, tmp_path):
    first, second = PixelCache(files, tmp_path / "c"), PixelCache(files, tmp_path / "c")
    first[0], second[1], first[2], second[3]
    first.fill(), second.fill()
    assert first.index.stat().st_size == 5 * RECORD
    for i, path in enumerate(files):
        for cache in (first, second, PixelCache(files, tmp_path / "c")):
            np.testing.assert_array_equal(cache[i], read_image(path))


def test_fill_names_every_refused_file_and_keeps_the_others(files, tmp_path):
    files[1].write_bytes(b"")
    files[2].write_bytes(files[2].read_bytes()[:99])
    with pytest.raises(
        ValueError, match=r"(?s)1.png cannot be decoded \(it is empty.*2.png cannot be decoded"
    ):
        PixelCache(files, tmp_path / "c").fill()
    assert PixelCache(files, tmp_path / "c").index.stat().st_size == 3 * RECORD
    with pytest.raises(FileNotFoundError, match="none.png is missing"):
        PixelCache([tmp_path / "none.png"], tmp_path / "c").fill()


FILL = """
import sys
from pathlib import Path
from iqa_core.pixels import cache
read, decoded = cache.read_image, []
cache.read_image = lambda path, **rule: decoded.append(path) or read(path, **rule)
paths = sorted(Path(sys.argv[1]).glob("*.png"))
cache.PixelCache(paths, Path(sys.argv[2]), resize=60).fill(workers=2)
print(len(decoded))
"""


def filling(folder, cache):
    command = [sys.executable, "-c", FILL, folder, cache]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return folder, [save(folder, f"{i:03}.png", noise(90, 120, 3, seed=i)) for i in range(200)]


def assert_right(cache, paths):
    for image, path in zip(cache, paths, strict=True):
        np.testing.assert_array_equal(image, pixels.resize(read_image(path), 60))


def test_two_processes_fill_one_store_at_once(many, tmp_path, decodes):
    folder, paths = many
    running = [filling(folder, tmp_path) for _ in range(2)]
    counts = [int(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert 200 <= sum(counts) <= 220, "what one has done the other leaves out"
    cache = PixelCache(paths, tmp_path, resize=60)
    assert_right(cache, paths)
    assert cache.index.stat().st_size == 201 * RECORD and not decodes


@pytest.mark.slow
def test_a_fill_killed_at_any_moment_is_completed_by_the_next(many, tmp_path):
    (folder, paths), killed, chance = many, 0, random.Random(0)
    cache = PixelCache(paths, tmp_path, resize=60)
    for goal in (1, 30, 60, 90, 120):
        process = filling(folder, tmp_path)
        for _ in range(20_000):
            if process.poll() is not None or (
                cache.index.exists() and cache.index.stat().st_size >= RECORD * goal
            ):
                break
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.004))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert_right(Subset(PixelCache(paths, tmp_path, resize=60), range(40)), paths[:40])
    assert killed >= 3, "most were killed before they were done"
    last = filling(folder, tmp_path)
    assert 0 <= int(last.communicate(timeout=60)[0]) < 200 and last.returncode == 0
    assert_right(PixelCache(paths, tmp_path, resize=60), paths)
    assert PixelCache(paths, tmp_path, resize=60).verify() == []


def test_nothing_is_written_while_another_process_writes(files, tmp_path):
    cache = PixelCache(files, tmp_path / "c")
    with ThreadPoolExecutor(1) as pool:
        with FileLock(cache.file.with_suffix(".lock")):
            asked = pool.submit(cache.__getitem__, 0)
            time.sleep(0.3)
            assert not cache.file.exists() and not asked.done()
        np.testing.assert_array_equal(asked.result(timeout=10), read_image(files[0]))
    assert cache.index.stat().st_size == 2 * RECORD  # of the store, of the image


def test_a_store_is_shared_by_threads_and_pickled_without_its_pixels(many, tmp_path, decodes):
    _, paths = many
    cache = PixelCache(paths, tmp_path, resize=60)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cache.__getitem__, [*range(60)] * 2))
    assert cache.index.stat().st_size == 61 * RECORD
    cache.fill()
    copy = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 40_000 < cache.file.stat().st_size
    before = len(decodes)
    assert_right(copy, paths)
    assert len(decodes) == before


class Pass:
    """A file lock that lets everyone in, as on network disks where it holds off other machines and
    processes, not threads.
    """

    inside = most = 0

    def __init__(self, path):
        pass

    def acquire(self, **_):
        return self

    def __enter__(self):
        Pass.inside += 1
        Pass.most = max(Pass.most, Pass.inside)
        time.sleep(0.002)

    def __exit__(self, *_):
        Pass.inside -= 1


def test_threads_write_one_after_the_other_without_the_file_lock(many, tmp_path, monkeypatch):
    _, paths = many
    monkeypatch.setattr(store, "FileLock", Pass)
    cache = PixelCache(paths[:40], tmp_path, resize=60).fill(workers=4)
    assert Pass.most == 1 and not PixelCache(paths[:40], tmp_path, resize=60)._missing()
    assert_right(cache, paths[:40])


@pytest.mark.slow
def test_loader_workers_read_one_store(many, tmp_path, decodes):
    from torch.utils.data import DataLoader

    _, paths = many
    cache = PixelCache(paths, tmp_path, resize=60).fill()
    loader = DataLoader(
        cache, batch_size=None, collate_fn=np.copy, num_workers=2, multiprocessing_context="spawn"
    )
    assert_right(list(loader), paths)
    assert cache.index.stat().st_size == 201 * RECORD
