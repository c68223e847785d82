"""Files to pixels: every kind of image file is read right, or refused by name."""

import re
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from conftest import REPOSITORY
from decoders import chunk
from decoders import png as coded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import noise, save
from PIL import Image, ImageOps

from iqa_core.pixels import image_size, image_sizes, read_image
from iqa_core.pixels.cache import PixelCache


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
    exif, picture = (
        Image.Exif(),
        Image.fromarray(np.kron(noise(3, 5, 3), np.ones((8, 8, 1), np.uint8))),
    )
    exif[0x0112] = orientation
    how = {"quality": 95} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    path = save(
        tmp_path,
        f"a.{ending}",
        picture,
        exif=exif,
        **how | ({"compression": "tiff_lzw"} if ending == "tif" else {}),
    )
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_sizes([path]).to_numpy().tolist() == [[expected.shape[1], expected.shape[0]]]
    # EXIF numbers orientations in this order, from 2
    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270")
    turns = (*turns, "TRANSVERSE", "ROTATE_90")
    upright = picture
    if orientation > 1:
        upright = picture.transpose(Image.Transpose[turns[orientation - 2]])
    np.testing.assert_allclose(
        read_image(path).astype(int), np.asarray(upright), atol=90 if ending == "jpg" else 0
    )


def test_metadata_that_cannot_be_read_turns_nothing(tmp_path):
    path = save(
        tmp_path, "a.jpg", noise(8, 16, 3), exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff garbage"
    )
    assert read_image(path).shape == (8, 16, 3) and image_sizes([path]).to_numpy().tolist() == [
        [16, 8]
    ]


def test_what_is_transparent_becomes_white_whatever_hides_below(tmp_path):
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[0, :, 3], clear[1, :, 3], clear[0] = 255, 128, (10, 20, 30, 255)
    expected = np.full((4, 6, 3), 255)
    expected[0], expected[1] = (10, 20, 30), 127
    for ending in ("png", "webp", "tif"):
        path = save(
            tmp_path,
            f"a.{ending}",
            clear,
            **({"lossless": True, "exact": True} if ending == "webp" else {}),
        )
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


def png(head, data):
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d))
        for name, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_grey_bilevel_and_cmyk(tmp_path):
    assert (
        read_image(save(tmp_path, "l.png", Image.new("L", (40, 50), 77))).tolist()
        == np.full((50, 40, 3), 77).tolist()
    )
    assert np.unique(
        read_image(save(tmp_path, "1.png", Image.fromarray(noise(5, 5) > 99)))
    ).tolist() == [0, 255]
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
    with pytest.raises(
        FileNotFoundError,
        match="none.png is missing; paths in a table are relative to the project root",
    ):
        read_image(tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(
        ValueError, match="bad.png cannot be decoded .* replace the file .* or drop its row"
    ):
        read_image(tmp_path / "bad.png")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty.jpg cannot be decoded \(it is empty\)"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(
        ValueError,
        match=r"text.jpg cannot be decoded \(its first bytes are those of none of JPEG, PNG",
    ):
        read_image(tmp_path / "text.jpg")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=r"folder.png cannot be decoded \(it is a folder\)"):
        read_image(tmp_path / "folder.png")
    save(tmp_path, "a.eps", Image.new("RGB", (9, 9)))
    with pytest.raises(ValueError, match="none of JPEG"):  # Pillow would start Ghostscript
        read_image(tmp_path / "a.eps")


def test_sizes_are_told_from_headers_or_the_file_is_named(tmp_path):
    paths = [save(tmp_path, f"{i}.png", noise(10 + i, 20, 3)) for i in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    assert image_sizes(paths).to_dict("list") == {"width": [20, 20, 20], "height": [10, 11, 12]}
    paths[2].write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"2.png cannot be decoded \(it is empty\); .* or drop its row",
    ):
        image_sizes(paths)
    with pytest.raises(
        FileNotFoundError,
        match="1 of 2 images are missing; .* data check`, .* lists all:\n.*none.png$",
    ):
        image_sizes([paths[0], tmp_path / "none.png"])


@pytest.mark.parametrize("use", [read_image, image_size])
def test_a_file_that_is_not_there_is_missing_not_undecodable(use, tmp_path):
    for name in ("none.png", "none.heic"):
        with pytest.raises(FileNotFoundError, match=f"{name} is missing; paths in a table are"):
            use(tmp_path / name)


def test_of_many_files_without_a_size_the_first_three_and_the_number_are_told(tmp_path):
    paths = [save(tmp_path, "good.png", noise(9, 9, 3))]
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(b"")
    lines = "".join(rf"[^\n]*{number}.png[^\n]*\n" for number in range(3))
    wanted = rf"(?s)^5 of 6 images are refused; .*lists all:\n{lines}and 2 more$"
    with pytest.raises(ValueError, match=wanted):
        image_sizes(paths)
    for path in paths[1:]:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=wanted.replace("refused", "missing")):
        image_sizes(paths)


@pytest.mark.parametrize(
    "ending", ["jpg", "progressive.jpg", "png", "bmp", "tif", "gif", "webp", "ppm", "jp2"]
)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, ending, share):
    path = save(
        tmp_path,
        f"cut.{ending}",
        noise(64, 64, 3),
        **({"progressive": True} if "pro" in ending else {}),
    )
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match="cut.* cannot be decoded"):
        read_image(path)


def test_giant_images_are_refused_before_they_are_decoded_and_large_ones_read_without_a_word(
    tmp_path,
):
    def claims(width, height):
        (tmp_path / "a.png").write_bytes(
            png(struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), zlib.compress(bytes(99)))
        )
        return tmp_path / "a.png"

    for size in [
        (12_000, 10_001),
        (18_000, 10_000),
        (60_000, 60_000),
    ]:  # Pillow warns above 89, stops above 179 megapixels
        with pytest.raises(
            ValueError,
            match=r"a.png .*more than 120 megapixels; make a smaller copy, or cut it into parts",
        ):
            read_image(claims(*size))
    assert PixelCache([claims(10_000, 12_000)], tmp_path / "c").size_needed() == 360_000_000
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        with pytest.raises(ValueError, match="a.png cannot be decoded .*truncated"):
            read_image(claims(10_000, 12_000))
    assert not told


def test_images_of_a_pixel_and_of_extreme_shapes(tmp_path):
    for shape in [(1, 1, 3), (1, 5000, 3), (5000, 1, 3)]:
        np.testing.assert_array_equal(
            read_image(save(tmp_path, "a.png", noise(*shape))), noise(*shape)
        )


VALID = {}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder, exif = tmp_path_factory.mktemp("valid"), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    picture = Image.fromarray(noise(24, 32, 3))
    options = {
        "jpg": {"exif": exif},
        "png": {"exif": exif},
        "gif": {},
        "bmp": {},
        "webp": {"exif": exif},
        "ppm": {},
    }
    made = [save(folder, f"a.{ending}", picture, **how) for ending, how in options.items()]
    made += [
        save(folder, "p.png", picture.quantize(9), transparency=2),
        save(folder, "i.png", noise(8, 8).astype(np.uint16)),
    ]
    made += [
        save(folder, "lzw.tif", picture, compression="tiff_lzw"),
        save(folder, "cmyk.jpg", picture.convert("CMYK")),
    ]
    clear = [chunk(b"tRNS", bytes(2))]
    (folder / "deep.png").write_bytes(
        coded(noise(8, 9, 1), 0, 16, before=clear, after=[chunk(b"eXIf", exif.tobytes()[6:])])
    )
    deep = noise(3, 8, 9).astype(np.uint16) << 8
    for name, compression in (("deep.tif", None), ("lzw16.tif", "lzw")):
        tifffile.imwrite(folder / name, deep, photometric="rgb", compression=compression)
    made += [folder / name for name in ("deep.png", "deep.tif", "lzw16.tif")]
    return [*made, save(folder, "raw.tif", picture.convert("LA"), exif=exif)]


@settings(
    max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_are_read_or_refused_by_name_and_reason(valid, data):
    path = data.draw(st.sampled_from(valid))
    content, broken = bytearray(path.read_bytes()), path.with_name(f"broken{path.suffix}")
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 80))
        new = data.draw(
            st.binary(max_size=4)
            | st.sampled_from([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
        )
        content[place : place + data.draw(st.integers(0, 4))] = new
    broken.write_bytes(content[: data.draw(st.none() | st.integers(0, len(content)))])
    refused = None
    try:
        image = read_image(broken)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size
        assert image_size(broken) == image.shape[1::-1]
    except ValueError as error:
        refused = str(error)
    assert refused is None or re.match(
        rf"image {broken} cannot be decoded \(.+\); replace the file", refused
    )


def test_an_image_too_narrow_to_be_enlarged_is_refused_by_name(tmp_path):
    path = save(tmp_path, "narrow.png", noise(1, 5000, 3))
    with pytest.raises(
        ValueError,
        match=r"narrow.png .*5000x1 would be enlarged to 1120000x224, over 16 megapixels; cut it",
    ):
        PixelCache([path], tmp_path / "c", at_least=224).fill()
    assert PixelCache([path], tmp_path / "c", at_least=224).size_needed() == 0


@pytest.mark.slow
def test_the_largest_images_are_read_in_little_more_than_two_gigabytes(tmp_path):
    # Not ru_maxrss, in which a new process begins with what its parent had.
    code = "import sys; from pathlib import Path; from iqa_core.pixels import read_image; "
    code += "print(read_image(sys.argv[1]).shape); "
    code += "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path, "a.png", Image.new("LA", (12_000, 10_000)), compress_level=1, exif=exif)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path / "a.png"],
        cwd=REPOSITORY,
        capture_output=True,
    )
    shape, kilobytes = done.stdout.decode().splitlines()
    assert shape == "(12000, 10000, 3)" and int(kilobytes) < 2.3e6 and not done.stderr
