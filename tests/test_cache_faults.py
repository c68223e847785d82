"""A store of decoded pixels that is damaged, cut, deleted, replaced or cannot be written still
gives right pixels.
"""

import os
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from iqa_core.files import SPARE
from iqa_core.pixels import cache as store
from iqa_core.pixels import read_image
from iqa_core.pixels.cache import PixelCache


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for number, shape in enumerate([(70, 90), (64, 64), (100, 80), (65, 130)]):
        pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def decodes(monkeypatch):
    """The files that were decoded, one after another."""
    seen = []

    def counted(path, **rule):
        seen.append(path)
        return read_image(path, **rule)

    monkeypatch.setattr(store, "read_image", counted)
    return seen


def records(cache):
    """What the index says of each image: [offset, height, width, checksums]."""
    numbers = np.fromfile(cache.index, np.int64).reshape(-1, 6).tolist()
    return {number: place for number, *place in numbers[1:]}  # the first is no image's


def test_where_the_disk_is_short_files_are_decoded_each_time_and_a_warning_says_so_once(
    files, tmp_path, decodes, monkeypatch
):
    free = SPARE + 20_000
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("", (), {"free": free}))
    cache = PixelCache(files, tmp_path / "c")
    wanted = (
        r"at every use: 1 GB are free, 8.1e-05 GB and 1 GB to spare are wanted; "
        r"free some space \(delete this folder while"
    )
    with pytest.warns(UserWarning, match=wanted):
        cache.fill()
    assert not cache.file.exists() and not decodes
    for _ in range(2):  # a second warning would be an error
        np.testing.assert_array_equal(cache[2], read_image(files[2]))
    assert len(decodes) == 2
    lazy = PixelCache(files[:2], tmp_path / "c")
    lazy[1]
    free -= 15_000
    with pytest.warns(UserWarning, match="no more decoded images are kept"):
        np.testing.assert_array_equal(lazy[0], read_image(files[0]))
    np.testing.assert_array_equal(lazy[1], read_image(files[1]))
    assert decodes[-1] == files[0], "what is there is still used"


def assert_right(cache, paths):
    for image, path in zip(cache, paths, strict=True):
        np.testing.assert_array_equal(image, read_image(path))


def test_a_full_disk_leaves_nothing_wrong_behind_and_stops_nothing(
    files, tmp_path, decodes, monkeypatch
):
    cache = PixelCache(files, tmp_path / "c")
    cache[0]

    def full(file, mode="r", *arguments, **options):
        if file == cache.index and mode == "ab":  # the pixels are written, not yet their record
            raise OSError(28, "No space left on device")
        return real(file, mode, *arguments, **options)

    real = open
    wanted = "no more decoded images are kept in .*: .*No space left on device; free some space"
    monkeypatch.setattr("builtins.open", full)
    with pytest.warns(UserWarning, match=wanted):
        np.testing.assert_array_equal(cache[1], read_image(files[1]))
    monkeypatch.setattr("builtins.open", real)
    assert_right(cache, files)  # a second warning would be an error
    assert_right(cache, files)
    assert len(decodes) == 2 + 3 + 3, "what is kept is used, the rest decoded"
    assert_right(PixelCache(files, tmp_path / "c").fill(), files)


def test_a_quota_reached_while_filling_stops_the_fill_and_no_use(files, tmp_path, decodes):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache = PixelCache(files, tmp_path / "c")
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))  # bytes of a file: two images
    try:
        with pytest.warns(UserWarning, match="File too large"):
            cache.fill(workers=1)
        filled = len(decodes)
        assert_right(cache, files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert filled < 4, "what could not be kept is not decoded for nothing"
    again = PixelCache(files, tmp_path / "c").fill()
    assert_right(again, files)
    assert again.verify() == []


@pytest.mark.parametrize("fill", [False, True])
def test_a_folder_that_is_gone_is_told_once_and_stops_nothing(files, tmp_path, fill):
    cache = PixelCache(files, tmp_path / "c")
    cache[0], cache[0]
    shutil.rmtree(tmp_path / "c")
    wanted = "no more decoded images are kept .*No such file or directory"
    with pytest.warns(UserWarning, match=wanted):
        cache.fill() if fill else cache[1]
    assert_right(cache, files)


@pytest.mark.parametrize("looked", [False, True])
def test_a_store_replaced_by_another_under_a_live_cache_is_read_anew(
    files, tmp_path, decodes, looked
):
    live = PixelCache(files, tmp_path / "c")
    for i in (0, 1, 2) * (1 + looked):  # at the second look the file is mapped
        live[i]
    copy = pickle.loads(pickle.dumps(live))
    shutil.rmtree(tmp_path / "c")
    other = PixelCache(files, tmp_path / "c")
    for i in (3, 1, 0, 2):  # larger than the first, in another order
        other[i]
    for cache in (live, copy):
        np.testing.assert_array_equal(cache[3], read_image(files[3]))
        before = len(decodes)
        assert_right(cache, files)
        assert len(decodes) == before, "the other store has them all"
    assert other.index.stat().st_size == 5 * store.RECORD


def test_what_was_compared_in_one_store_is_compared_again_in_the_next(files, tmp_path):
    live = PixelCache(files, tmp_path / "c")
    for i in (0, 1, 2, 0, 1, 2, 3):  # the last is not in the part that is mapped
        live[i]
    before = records(live)
    shutil.rmtree(tmp_path / "c")
    other = PixelCache(files, tmp_path / "c")
    for i in (1, 0, 2, 3):
        other[i]
    after = records(other)
    assert before[3] == after[3] and before[0] != after[0], "0 lies elsewhere, 3 where it was"
    for i in (3, 0, 1, 2):
        np.testing.assert_array_equal(live[i], read_image(files[i]))


def test_a_store_that_became_empty_under_a_live_cache_is_filled_again(files, tmp_path):
    live = PixelCache(files, tmp_path / "c")
    live[0]
    live.file.write_bytes(b"")
    for _ in range(2):
        assert_right(live, files)
    assert_right(PixelCache(files, tmp_path / "c"), files)


def test_a_fill_decodes_what_a_file_cut_short_no_longer_holds(files, tmp_path, decodes):
    os.truncate(PixelCache(files, tmp_path / "c").fill().file, 30_000)
    cache = PixelCache(files, tmp_path / "c").fill()
    before = len(decodes)
    assert_right(cache, files)
    assert before > 4 and len(decodes) == before


@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize("value", [-(2**62), -1, 0, 2**62, 2**63 - 1])
def test_records_of_any_numbers_are_passed_over(files, tmp_path, field, value):
    index = PixelCache(files, tmp_path / "c").fill().index
    changed = np.fromfile(index, np.int64).reshape(5, 6)
    changed[1:, field] = value
    changed.tofile(index)
    for _ in range(2):
        assert_right(PixelCache(files, tmp_path / "c").fill(), files)


def test_an_index_cut_short_under_a_live_cache_is_completed(files, tmp_path):
    live = PixelCache(files, tmp_path / "c")
    live[0], live[1], live[2]
    os.truncate(live.index, 2 * store.RECORD + 7)
    for _ in range(2):
        np.testing.assert_array_equal(live[3], read_image(files[3]))
        assert_right(live, files)
    assert_right(live, files)
    assert live.index.stat().st_size == 5 * store.RECORD


EVENTS = ("ask", "ask", "ask", "new", "fill", "pickle", "pixels", "index", "both", "cut")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_stores_deleted_and_replaced_in_any_order_give_no_wrong_pixel_and_come_to_rest(
    files, tmp_path, decodes, data
):
    shutil.rmtree(tmp_path / "c", ignore_errors=True)
    caches = [PixelCache(files, tmp_path / "c") for _ in range(2)]
    for _ in range(data.draw(st.integers(1, 12))):
        cache = data.draw(st.sampled_from(caches))
        what = data.draw(st.sampled_from(EVENTS))
        if what == "ask":
            for i in data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)):
                np.testing.assert_array_equal(cache[i], read_image(files[i]))
        elif what == "new":
            caches.append(PixelCache(files, tmp_path / "c"))
        elif what == "pickle":
            caches.append(pickle.loads(pickle.dumps(cache)))
        elif what == "fill":
            cache.fill(workers=1)
        elif what == "cut" and cache.index.exists():
            os.truncate(cache.index, data.draw(st.integers(0, cache.index.stat().st_size)))
        if what in ("pixels", "both"):
            cache.file.unlink(missing_ok=True)
        if what in ("index", "both"):
            cache.index.unlink(missing_ok=True)
    for _ in range(4):
        for cache in caches:
            assert_right(cache, files)
    before = len(decodes)
    for cache in caches:
        assert_right(cache, files)
    assert len(decodes) == before, "in the end all is kept"


def test_verify_finds_what_was_damaged_and_mends_it(files, tmp_path, decodes):
    cache = PixelCache(files, tmp_path / "c").fill()
    assert cache.verify() == []
    offset, height, *_ = records(cache)[2]
    with open(cache.file, "r+b") as pixels:
        pixels.seek(offset + 5 * height)
        pixels.write(b"damage")
    assert cache.verify() == [2], "also what this cache has compared before"
    assert decodes[4:] == [files[2]]
    again = PixelCache(files, tmp_path / "c")
    assert again.verify() == []
    np.testing.assert_array_equal(again[2], read_image(files[2]))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_store_cut_and_damaged_anywhere_gives_no_wrong_pixel(files, tmp_path, data):
    """What a kill, a full disk or a failing one leave: either file ends anywhere, bytes are changed
    anywhere.
    """
    whole = PixelCache(files, tmp_path / "whole").fill()
    for file in (whole.file, whole.index):
        content = bytearray(file.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
            content[place] ^= data.draw(st.integers(1, 255))
        cut = data.draw(st.none() | st.integers(0, len(content)))
        target = tmp_path / "c" / file.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content[:cut])
        if data.draw(st.integers(0, 9)) == 0:
            target.unlink()
    for _ in range(2):
        cache = PixelCache(files, tmp_path / "c")
        if data.draw(st.booleans()):
            cache.fill()
        for number in data.draw(st.permutations(range(4))):
            np.testing.assert_array_equal(cache[number], read_image(files[number]))
    assert cache.verify() == []
