"""Files to pixels, and the store of decoded pixels: whatever happens to it, it never gives wrong ones."""

import pickle
import random
import re
import signal
import struct
import subprocess
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import REPOSITORY
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from iqa_core import pixels
from iqa_core.loading import batches
from iqa_core.pixels import PixelCache, image_sizes, read_image


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(folder, name, image, **options):
    path = folder / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.fixture
def files(tmp_path):
    return [save(tmp_path, f"{i}.png", noise(*s, 3, seed=i)) for i, s in enumerate([(70, 90), (64, 64), (100, 80), (65, 130)])]


@pytest.fixture
def decodes(monkeypatch):
    seen = []
    monkeypatch.setattr(pixels, "read_image", lambda path, **rule: seen.append(path) or read_image(path, **rule))
    return seen


# files


def test_red_stays_red_in_every_format_and_swapped_channels_are_seen(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0], picture[..., 1] = 200, 60

    def is_right(image):
        return image.shape == picture.shape and np.abs(image.astype(int) - picture).max() < 12

    for ending in ("png", "jpg", "bmp", "tif", "webp", "gif", "ppm", "jp2"):
        image = read_image(save(tmp_path, f"red.{ending}", picture))
        assert is_right(image), ending
        assert not is_right(image[..., ::-1]), "a planted fault"
        assert image.dtype == np.uint8 and not image.flags.writeable
    assert is_right(PixelCache([tmp_path / "red.png"], tmp_path / "cache")[0])


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "raw.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_by_their_exif(tmp_path, ending, orientation):
    exif, picture = Image.Exif(), Image.fromarray(np.kron(noise(3, 5, 3), np.ones((8, 8, 1), np.uint8)))
    exif[0x0112] = orientation
    how = {"quality": 95} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    path = save(tmp_path, f"a.{ending}", picture, exif=exif, **how | ({"compression": "tiff_lzw"} if ending == "tif" else {}))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_sizes([path]).to_numpy().tolist() == [[expected.shape[1], expected.shape[0]]]
    upright = picture.transpose(Image.Transpose(pixels.UPRIGHT[orientation])) if orientation > 1 else picture
    np.testing.assert_allclose(read_image(path).astype(int), np.asarray(upright), atol=90 if ending == "jpg" else 0)


def test_metadata_that_cannot_be_read_turns_nothing(tmp_path):
    path = save(tmp_path, "a.jpg", noise(8, 16, 3), exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff garbage")
    assert read_image(path).shape == (8, 16, 3) and image_sizes([path]).to_numpy().tolist() == [[16, 8]]


def test_what_is_transparent_becomes_white_whatever_hides_below(tmp_path):
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[0, :, 3], clear[1, :, 3], clear[0] = 255, 128, (10, 20, 30, 255)
    expected = np.full((4, 6, 3), 255)
    expected[0], expected[1] = (10, 20, 30), 127
    for ending in ("png", "webp", "tif"):
        path = save(tmp_path, f"a.{ending}", clear, **({"lossless": True, "exact": True} if ending == "webp" else {}))
        np.testing.assert_allclose(read_image(path).astype(int), expected, atol=1)
    grey = read_image(save(tmp_path, "la.png", Image.fromarray(clear).convert("LA")))
    assert (grey[2:] == 255).all() and grey[1, 0, 0] == 127


def test_palettes_with_and_without_transparency(tmp_path):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 250, 10, 20, 0, 90, 180])
    image.putpixel((0, 0), 2)
    for ending in ("png", "gif"):
        got = read_image(save(tmp_path, f"p.{ending}", image))
        assert got[0, 0].tolist() == [0, 90, 180] and got[1, 3].tolist() == [250, 10, 20]
        got = read_image(save(tmp_path, f"t.{ending}", image, transparency=2))
        assert got[0, 0].tolist() == [255, 255, 255] and got[1, 3].tolist() == [250, 10, 20]
    half = read_image(save(tmp_path, "half.png", image, transparency=bytes([255, 255, 128])))
    np.testing.assert_allclose(half[0, 0], [127, 172, 217], atol=1)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256 * 4).astype(np.uint16).reshape(4, 256)
    for name in ("a.png", "a.tif", "a.pgm"):
        image = read_image(save(tmp_path, name, ramp))
        np.testing.assert_array_equal(image, np.repeat((ramp >> 8)[..., None], 3, 2))
        assert len(np.unique(image)) == 256, name
    (tmp_path / "rgb.png").write_bytes(sixteen_bit_rgb(ramp))
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.png")[..., 0], ramp >> 8)
    assert (read_image(tmp_path / "rgb.png")[..., 2] == 255).all()


def sixteen_bit_rgb(red):
    """A PNG of 16 bits a channel: that red, no green, full blue."""
    rows = np.stack([red, np.zeros_like(red), np.full_like(red, 65535)], 2).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return png(struct.pack(">IIBBBBB", red.shape[1], red.shape[0], 16, 2, 0, 0, 0), zlib.compress(data))


def png(head, data):
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("values", [np.array([[0, 1e5]], np.int32), np.array([[-1, 7]], np.int32), np.array([[0, 1]], "f4")])
def test_values_without_a_known_white_are_refused(tmp_path, values):
    with pytest.raises(ValueError, match=r"a.tif cannot be decoded .*grey values run from .* to .*; write it with 8 or 16"):
        read_image(save(tmp_path, "a.tif", Image.fromarray(values)))


def test_grey_bilevel_and_cmyk(tmp_path):
    assert read_image(save(tmp_path, "l.png", Image.new("L", (40, 50), 77))).tolist() == np.full((50, 40, 3), 77).tolist()
    assert np.unique(read_image(save(tmp_path, "1.png", Image.fromarray(noise(5, 5) > 99)))).tolist() == [0, 255]
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan: red
    for name in ("c.jpg", "c.tif"):
        red, green, blue = read_image(save(tmp_path, name, ink))[8, 8].astype(int)
        assert red > 240 and green < 15 and blue < 15


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        more = {"lossless": True} if name == "a.webp" else {}
        path = save(tmp_path, name, frames[0], save_all=True, append_images=frames[1:], **more)
        assert read_image(path)[5, 5].tolist() == [255, 0, 0], name


def test_missing_and_damaged_files_are_refused_by_name_and_reason(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.png is missing; paths in a table are relative to the project root"):
        read_image(tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(ValueError, match="bad.png cannot be decoded .* replace the file .* or drop its row"):
        read_image(tmp_path / "bad.png")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty.jpg cannot be decoded \(it is empty, or none of JPEG, PNG"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"text.jpg cannot be decoded \(it is empty, or none of JPEG, PNG"):
        read_image(tmp_path / "text.jpg")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=r"folder.png cannot be decoded \(it is a folder\)"):
        read_image(tmp_path / "folder.png")
    save(tmp_path, "a.eps", Image.new("RGB", (9, 9)))
    with pytest.raises(ValueError, match="none of JPEG"):  # Pillow would start Ghostscript
        read_image(tmp_path / "a.eps")


@pytest.mark.parametrize("ending", ["jpg", "progressive.jpg", "png", "bmp", "tif", "gif", "webp", "ppm", "jp2"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, ending, share):
    path = save(tmp_path, f"cut.{ending}", noise(64, 64, 3), **({"progressive": True} if "pro" in ending else {}))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match="cut.* cannot be decoded"):
        read_image(path)


def test_giant_images_are_refused_before_they_are_decoded_and_large_ones_read_without_a_word(tmp_path):
    def claims(width, height):
        (tmp_path / "a.png").write_bytes(png(struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), zlib.compress(bytes(99))))
        return tmp_path / "a.png"

    for size in [(12_000, 10_001), (18_000, 10_000), (60_000, 60_000)]:  # Pillow warns above 89, stops above 179 megapixels
        with pytest.raises(ValueError, match=r"a.png .*more than 120 megapixels; make a smaller copy, or cut it into parts"):
            read_image(claims(*size))
    assert PixelCache([claims(10_000, 12_000)], tmp_path / "c").size_needed() == 360_000_000
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        with pytest.raises(ValueError, match="a.png cannot be decoded .*truncated"):
            read_image(claims(10_000, 12_000))
    assert not told


def test_images_of_a_pixel_and_of_extreme_shapes(tmp_path):
    for shape in [(1, 1, 3), (1, 5000, 3), (5000, 1, 3)]:
        np.testing.assert_array_equal(read_image(save(tmp_path, "a.png", noise(*shape))), noise(*shape))


VALID = {}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder, exif = tmp_path_factory.mktemp("valid"), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    picture = Image.fromarray(noise(24, 32, 3))
    options = {"jpg": {"exif": exif}, "png": {"exif": exif}, "gif": {}, "bmp": {}, "webp": {"exif": exif}, "ppm": {}}
    made = [save(folder, f"a.{ending}", picture, **how) for ending, how in options.items()]
    made += [save(folder, "p.png", picture.quantize(9), transparency=2), save(folder, "i.png", noise(8, 8).astype(np.uint16))]
    made += [save(folder, "lzw.tif", picture, compression="tiff_lzw"), save(folder, "cmyk.jpg", picture.convert("CMYK"))]
    return [*made, save(folder, "raw.tif", picture.convert("LA"), exif=exif)]


@settings(max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_read_or_refused_by_name_and_reason(valid, data):
    path = data.draw(st.sampled_from(valid))
    content, broken = bytearray(path.read_bytes()), path.with_name(f"broken{path.suffix}")
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 80))
        new = data.draw(st.binary(max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"]))
        content[place : place + data.draw(st.integers(0, 4))] = new
    broken.write_bytes(content[: data.draw(st.none() | st.integers(0, len(content)))])
    refused = None
    try:
        image = read_image(broken)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size
    except ValueError as error:
        refused = str(error)
    assert refused is None or re.match(rf"image {broken} cannot be decoded \(.+\); replace the file", refused)


def test_an_image_too_narrow_to_be_enlarged_is_refused_by_name(tmp_path):
    path = save(tmp_path, "narrow.png", noise(1, 5000, 3))
    with pytest.raises(ValueError, match=r"narrow.png .*5000x1 would be enlarged to 1120000x224, over 16 megapixels; cut it"):
        PixelCache([path], tmp_path / "c", at_least=224).fill()
    assert PixelCache([path], tmp_path / "c", at_least=224).size_needed() == 0


# the store


def test_one_decode_an_image_however_many_epochs_and_crops(files, tmp_path, decodes):
    cache, generator = PixelCache(files, tmp_path / "cache"), np.random.default_rng(0)
    for _ in range(3):
        for crops, _ in batches(cache, np.arange(4.0), crop=32, batch_size=8, crops_per_image=20, generator=generator):
            assert crops.shape[1:] == (3, 32, 32)
        assert sorted(decodes) == files
    again = PixelCache(files, tmp_path / "cache").fill()
    np.testing.assert_array_equal(again[2], read_image(files[2]))
    assert sorted(decodes) == files, "a cache that is there decodes nothing"


def test_a_cache_holds_the_pixels_of_the_files_in_any_order_of_asking(files, tmp_path):
    cache = PixelCache(files, tmp_path / "cache")
    for number in (3, 0, 1, 2, -1, 3):
        np.testing.assert_array_equal(cache[number], read_image(files[number]))
        assert not cache[number].flags.writeable and np.shares_memory(cache[number], cache[number])
    np.testing.assert_array_equal(cache.subset([3, 0])[1], read_image(files[0]))
    with pytest.raises(IndexError):
        cache[4]


def test_images_are_kept_as_they_are_resized_and_each_rule_has_a_store_of_its_own(files, tmp_path, decodes):
    for rule in ({"resize": 48}, {"resize": (48, 60)}, {"resize": 48, "interpolation": "bicubic"}, {"at_least": 90}, {}):
        cache = PixelCache(files, tmp_path / "c", **rule)
        needed, known = cache.size_needed(), {"size": rule.get("resize")} | {k: v for k, v in rule.items() if k != "resize"}
        assert needed == sum(image.nbytes for image in cache.fill()) == cache.file.stat().st_size
        for image, path in zip(cache, files, strict=True):
            np.testing.assert_array_equal(image, pixels.resize(read_image(path), **known))
            assert pixels.resize(image, **known) is image, "nothing is left to be resized for each crop"
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
    assert first.index.stat().st_size == 4 * 40
    for i, path in enumerate(files):
        for cache in (first, second, PixelCache(files, tmp_path / "c")):
            np.testing.assert_array_equal(cache[i], read_image(path))


def test_fill_names_every_refused_file_and_keeps_the_others(files, tmp_path):
    files[1].write_bytes(b"")
    files[2].write_bytes(files[2].read_bytes()[:99])
    with pytest.raises(ValueError, match=r"(?s)1.png cannot be decoded \(it is empty.*2.png cannot be decoded"):
        PixelCache(files, tmp_path / "c").fill()
    assert PixelCache(files, tmp_path / "c").index.stat().st_size == 2 * 40
    with pytest.raises(FileNotFoundError, match="none.png is missing"):
        PixelCache([tmp_path / "none.png"], tmp_path / "c").fill()


def test_where_the_disk_is_short_files_are_decoded_each_time_and_a_warning_says_so_once(files, tmp_path, decodes, monkeypatch):
    free = pixels.SPARE + 20_000
    monkeypatch.setattr(pixels.shutil, "disk_usage", lambda folder: type("", (), {"free": free}))
    cache = PixelCache(files, tmp_path / "c")
    wanted = r"every use decodes: 1 GB are free, 8.1e-05 GB and 1 GB to spare are wanted; free some space"
    with pytest.warns(UserWarning, match=wanted):
        cache.fill()
    assert not cache.file.exists() and not decodes
    for _ in range(2):  # a second warning would be an error
        np.testing.assert_array_equal(cache[2], read_image(files[2]))
    assert len(decodes) == 2
    lazy = PixelCache(files[:2], tmp_path / "c")
    lazy[1]
    free -= 15_000
    with pytest.warns(UserWarning, match="no decoded images are kept"):
        np.testing.assert_array_equal(lazy[0], read_image(files[0]))
    np.testing.assert_array_equal(lazy[1], read_image(files[1]))
    assert decodes[-1] == files[0], "what is there is still used"


def test_a_full_disk_leaves_nothing_wrong_behind(files, tmp_path, monkeypatch):
    cache, signed = PixelCache(files, tmp_path / "c"), pixels._signed

    def full(*_):
        raise OSError(28, "No space left on device")

    cache[0]
    monkeypatch.setattr(pixels, "_signed", full)  # between the pixels and their record
    with pytest.raises(OSError, match="No space left"):
        cache[1]
    monkeypatch.setattr(pixels, "_signed", signed)
    for store in (cache, PixelCache(files, tmp_path / "c")):
        for image, path in zip(store, files, strict=True):
            np.testing.assert_array_equal(image, read_image(path))


def test_verify_finds_what_was_damaged_and_mends_it(files, tmp_path, decodes):
    cache = PixelCache(files, tmp_path / "c").fill()
    assert cache.verify() == []
    offset, height = cache._places[2, :2].tolist()
    with open(cache.file, "r+b") as store:
        store.seek(offset + 5 * height)
        store.write(b"damage")
    assert PixelCache(files, tmp_path / "c").verify() == [2] and decodes[4:] == [files[2]]
    again = PixelCache(files, tmp_path / "c")
    assert again.verify() == []
    np.testing.assert_array_equal(again[2], read_image(files[2]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_store_cut_and_damaged_anywhere_gives_no_wrong_pixel(files, tmp_path, data):
    """What a kill, a full disk or a failing one leave: either file ends anywhere, bytes are changed anywhere."""
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


FILL = """
import sys
from pathlib import Path
from iqa_core import pixels
read, decoded = pixels.read_image, []
pixels.read_image = lambda path, **rule: decoded.append(path) or read(path, **rule)
pixels.PixelCache(sorted(Path(sys.argv[1]).glob("*.png")), Path(sys.argv[2]), resize=60).fill(workers=2)
print(len(decoded))
"""


def filling(folder, cache):
    command = [sys.executable, "-c", FILL, folder, cache]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


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
    assert cache.index.stat().st_size == 200 * 40 and not decodes


def test_a_fill_killed_at_any_moment_is_completed_by_the_next(many, tmp_path):
    (folder, paths), killed, chance = many, 0, random.Random(0)
    cache = PixelCache(paths, tmp_path, resize=60)
    for goal in (1, 30, 60, 90, 120):
        process = filling(folder, tmp_path)
        for _ in range(20_000):
            if process.poll() is not None or (cache.index.exists() and cache.index.stat().st_size >= 40 * goal):
                break
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.004))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert_right(PixelCache(paths, tmp_path, resize=60).subset(range(40)), paths[:40])
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
    assert cache.index.stat().st_size == 40


def test_a_store_is_shared_by_threads_and_pickled_without_its_pixels(many, tmp_path, decodes):
    _, paths = many
    cache = PixelCache(paths, tmp_path, resize=60)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cache.__getitem__, [*range(60)] * 2))
    assert cache.index.stat().st_size == 60 * 40
    cache.fill()
    copy = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 40_000 < cache.file.stat().st_size
    before = len(decodes)
    assert_right(copy, paths)
    assert len(decodes) == before


@pytest.mark.slow
def test_loader_workers_read_one_store(many, tmp_path, decodes):
    from torch.utils.data import DataLoader

    _, paths = many
    cache = PixelCache(paths, tmp_path, resize=60).fill()
    loader = DataLoader(cache, batch_size=None, collate_fn=np.copy, num_workers=2, multiprocessing_context="spawn")
    assert_right(list(loader), paths)
    assert cache.index.stat().st_size == 200 * 40


@pytest.mark.slow
def test_the_largest_images_are_read_in_two_gigabytes(tmp_path):
    code = "import resource, sys; from iqa_core.pixels import read_image; print(read_image(sys.argv[1]).shape, flush=True); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path, "a.png", Image.new("LA", (12_000, 10_000)), compress_level=1, exif=exif)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path / "a.png"], cwd=REPOSITORY, capture_output=True)
    shape, kilobytes = done.stdout.decode().splitlines()
    assert shape == "(12000, 10000, 3)" and int(kilobytes) < 2.1e6 and not done.stderr
