"""Every layout of samples that can be written here is read as its samples say, and as another
decoder reads it; what is refused is refused for its true reason.
"""

import collections
import itertools
import os
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import REPOSITORY
from decoders import by_another_decoder, chunk, on_white, png
from pictures import noise, save
from PIL import Image
from skimage import color
from test_bit_depths import tiff

from iqa_core.pixels import image_size, read_image

COLOURS = {"miniswhite": 1, "minisblack": 1, "rgb": 3, "separated": 4}
ALPHA = (None, "unspecified", "unassalpha", "assocalpha")
TIFF_KINDS = [
    (bits, colours, extra)
    for bits, colours, extra in itertools.product((1, 4, 8, 12, 16), COLOURS, ALPHA)
]


def ramps(channels, bits):
    """Samples (20, 24, channels) in which every channel runs another way."""
    y, x = np.mgrid[:20, :24]
    ways = np.stack([x / 23, y / 19, (x + y) / 42, 1 - x / 23, x * y / 437], axis=2)[..., :channels]
    return np.rint(ways * ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def tiff_on_white(samples, bits, colours, extra):
    """What a TIFF's samples mean, RGB from 0 to 255."""
    values = samples / ((1 << bits) - 1)
    values, rest = values[..., : COLOURS[colours]], values[..., COLOURS[colours] :]
    if colours == "miniswhite":
        values = 1 - values
    if colours == "separated":
        values = (1 - values[..., :3]) * (1 - values[..., 3:])
    if extra == "unassalpha":
        return on_white(values, rest)
    if extra == "assocalpha":
        return on_white(np.minimum(values + 1 - rest, 1))
    return on_white(values)


def layouts(channels, bits):
    """Keyword arguments of `tifffile.imwrite` for all layouts of these samples."""
    planes = ("contig", "separate") if channels > 1 else (None,)
    packed = (
        ((None, False), ("lzw", False), ("zlib", True)) if bits in (8, 16) else ((None, False),)
    )
    for plane, order, (compression, predictor), tile in itertools.product(
        planes, "<>", packed, (None, (16, 16))
    ):
        if bits in (8, 16) or (order == "<" and not tile):  # of 12, tifffile swaps bytes wrongly
            kwargs = dict(planarconfig=plane, byteorder=order, compression=compression)
            yield kwargs | dict(tile=tile, predictor=predictor)


@pytest.mark.parametrize(("bits", "colours", "extra"), TIFF_KINDS)
def test_tiffs_of_every_layout_are_read_as_their_samples_say(tmp_path, bits, colours, extra):
    channels = COLOURS[colours] + (extra is not None)
    samples, path = ramps(channels, bits), tmp_path / "a.tif"
    expected = tiff_on_white(samples, bits, colours, extra)
    for layout in layouts(channels, bits):
        written = np.moveaxis(samples, 2, 0) if layout["planarconfig"] == "separate" else samples
        tifffile.imwrite(
            path,
            written[..., 0] if channels == 1 else written,
            photometric=colours,
            extrasamples=extra and [extra],
            bitspersample=None if bits in (8, 16) else bits,
            metadata=None,
            **layout,
        )
        read = read_image(path)
        np.testing.assert_allclose(read, expected, atol=2.1, err_msg=str(layout))
        assert image_size(path) == (24, 20)
        if bits in (8, 16) and colours == "rgb" and extra != "unspecified":
            other = by_another_decoder(path.read_bytes())
            np.testing.assert_allclose(read, other, atol=2.1, err_msg=str(layout))


@pytest.mark.parametrize("compression", ["jpeg", "zstd", "lzma", "webp", "jpeg2000"])
def test_compressed_tiffs_are_read_as_by_tifffile_and_libtiff(tmp_path, compression):
    picture, path = ramps(3, 8), tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", compression=compression, metadata=None)
    np.testing.assert_array_equal(read_image(path), tifffile.imread(path))
    if compression == "jpeg":
        np.testing.assert_allclose(read_image(path), by_another_decoder(path.read_bytes()), atol=1)


def test_jpeg_in_ycbcr_bilevel_fax_and_big_endian_twelve_bits(tmp_path):
    picture = Image.fromarray(ramps(3, 8))
    for name, image, how in (
        ("jpeg.tif", picture, {"compression": "jpeg", "quality": 95}),
        ("fax.tif", picture.convert("1"), {"compression": "group4"}),
    ):
        path = save(tmp_path, name, image, **how)
        np.testing.assert_allclose(read_image(path), by_another_decoder(path.read_bytes()), atol=2)
    small = bytearray(tiff(12, 1, bytes.fromhex("00080ffff0"), 3))
    big = b"MM\0*" + struct.pack(">IH", 8, 10)
    for start in range(10, 130, 12):
        big += struct.pack(">HHII", *struct.unpack("<HHII", small[start : start + 12]))
    (tmp_path / "big.tif").write_bytes(big + bytes(small[130:]))
    assert read_image(tmp_path / "big.tif")[0, :, 1].tolist() == [0, 128, 255]


def test_cielab_of_8_bits_is_read_by_its_formula(tmp_path):
    picture = 64 + ramps(3, 8) // 2
    light = ((picture / 255 + 0.055) / 1.055) ** 2.4
    to_xyz = [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]]
    lab = color.xyz2lab(light @ np.transpose(to_xyz), illuminant="D50") * [2.55, 1, 1]
    written = np.rint(lab).astype(np.int16).astype(np.uint8)  # a and b have a sign
    tifffile.imwrite(tmp_path / "a.tif", written, photometric="cielab", metadata=None)
    error = np.abs(read_image(tmp_path / "a.tif").astype(int) - picture)
    assert error.max() <= 10 and error.mean() < 1.5  # 8 bits of a and b are coarse in the dark


def test_palettes_of_a_tiff_are_of_16_bits_or_of_8(tmp_path):
    index, palette = noise(20, 24), noise(3, 256, seed=1).astype(np.uint16)
    for scale in (1, 257):
        colormap = palette * np.uint16(scale)
        tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colormap)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), palette.T[index])


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("layout", [*layouts(3, 16)][::3])
def test_truncated_tiffs_of_16_bits_are_refused(tmp_path, layout, share):
    written = ramps(3, 16)
    written = np.moveaxis(written, 2, 0) if layout["planarconfig"] == "separate" else written
    tifffile.imwrite(tmp_path / "a.tif", written, photometric="rgb", metadata=None, **layout)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"a.tif cannot be decoded \(it is .*; replace the file"):
        read_image(tmp_path / "a.tif")


PNG_KINDS = [
    (kind, bits, interlaced, clear)
    for kind, bits, interlaced, clear in itertools.product(
        (0, 2, 3, 4, 6), (1, 2, 4, 8, 16), (False, True), (False, True)
    )
    if bits in {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(kind, (8, 16))
    and not (clear and kind > 3)
]


@pytest.mark.parametrize(("kind", "bits", "interlaced", "clear"), PNG_KINDS)
def test_pngs_of_every_layout_are_read_as_their_samples_say(
    tmp_path, kind, bits, interlaced, clear
):
    random = np.random.default_rng(bits)
    samples = random.integers(0, 1 << bits, (13, 17, {2: 3, 4: 2, 6: 4}.get(kind, 1)))
    values, alpha, before = (samples >> max(0, bits - 8)) / ((1 << min(bits, 8)) - 1), 1.0, []
    if kind == 3:
        palette = random.integers(0, 256, (1 << bits, 3), dtype=np.uint8)
        values, before = palette[samples[..., 0]] / 255, [chunk(b"PLTE", palette.tobytes())]
        if clear:
            clearness = random.integers(0, 256, 1 << bits, dtype=np.uint8)
            alpha, before = clearness[samples] / 255, [*before, chunk(b"tRNS", clearness.tobytes())]
    elif kind > 3:
        values, alpha = values[..., :-1], values[..., -1:]
    elif clear:
        key = samples[6, 8].copy()
        samples[1, 1] = samples[2, 2] = key
        if bits == 16:  # of the same upper 8 bits, and of the same lower
            samples[3, 3], samples[4, 4] = key ^ 1, key ^ 0x100
        values = (samples >> max(0, bits - 8)) / ((1 << min(bits, 8)) - 1)
        alpha = 1.0 - (samples == key).all(2, keepdims=True)
        before = [chunk(b"tRNS", key.astype(">u2").tobytes())]
    data = png(samples, kind, bits, interlaced=interlaced, before=before)
    (tmp_path / "a.png").write_bytes(data)
    read = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(read, on_white(values, alpha), atol=1.1)
    np.testing.assert_allclose(read, by_another_decoder(data), atol=2.1)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_jpeg_2000_of_more_bits(tmp_path, bits, channels):
    samples = ramps(channels, bits)
    data = imagecodecs.jpeg2k_encode(samples.squeeze(), bitspersample=bits, reversible=True)
    (tmp_path / "a.jp2").write_bytes(data)
    values = (samples >> bits - 8) / 255
    expected = (
        on_white(values) if channels in (1, 3) else on_white(values[..., :-1], values[..., -1:])
    )
    np.testing.assert_allclose(read_image(tmp_path / "a.jp2"), expected, atol=1.1)


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (12, np.uint16)])
@pytest.mark.parametrize("channels", [3, 4])
def test_avif_of_more_bits(tmp_path, bits, dtype, channels):
    samples = ramps(channels, bits).astype(dtype)
    data = imagecodecs.avif_encode(samples, level=100, bitspersample=bits, speed=10)
    (tmp_path / "a.avif").write_bytes(data)
    values = samples / ((1 << bits) - 1)
    alpha = values[..., 3:] if channels == 4 else 1.0
    np.testing.assert_allclose(
        read_image(tmp_path / "a.avif"), on_white(values[..., :3], alpha), atol=3
    )


MAPS = [(b"P1", 1), (b"P4", 1)]
MAPS += itertools.product((b"P2", b"P3", b"P5", b"P6"), (1, 15, 255, 1000, 65535))


@pytest.mark.parametrize(("kind", "top"), MAPS)
def test_portable_maps(tmp_path, kind, top):
    channels, is_text, is_bitmap = 3 if kind in b"P3P6" else 1, kind < b"P4", kind in (b"P1", b"P4")
    samples = np.rint(ramps(channels, 16) / 65535 * top).astype(int)
    if is_text:
        body = " ".join(map(str, samples.ravel())).encode()
    elif is_bitmap:
        body = np.packbits(samples[..., 0], axis=1).tobytes()
    else:
        body = samples.astype(">u2" if top > 255 else "u1").tobytes()
    (tmp_path / "a.pnm").write_bytes(kind + b" 24 20 " + b"%d " % top * (not is_bitmap) + body)
    values = 1 - samples if is_bitmap else samples / top
    np.testing.assert_allclose(read_image(tmp_path / "a.pnm"), on_white(values), atol=1.1)


def sideways():
    """EXIF of orientation 6, and the same as XMP."""
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='6'/>".replace(b"'", b'"')
    return chunk(b"eXIf", exif.tobytes()[6:]), chunk(b"iTXt", xmp)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("place", ["before", "after"])
def test_an_orientation_behind_the_pixels_turns_picture_and_size(tmp_path, number, place):
    (tmp_path / "a.png").write_bytes(png(noise(5, 9, 3), 2, 8, **{place: [sideways()[number]]}))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(noise(5, 9, 3), -1))
    assert image_size(tmp_path / "a.png") == (5, 9)


def test_of_a_tiff_the_tag_turns_and_not_the_xmp(tmp_path):
    xmp = b'<x tiff:Orientation="6"/>'
    for name, picture, tags in (
        ("grey.tif", noise(5, 9), [(700, "B", len(xmp), xmp, True)]),
        ("deep.tif", ramps(3, 16)[:5, :9], [(700, "B", len(xmp), xmp, True)]),
        ("both.tif", noise(5, 9), [(700, "B", len(xmp), xmp, True), (274, "H", 1, 8, True)]),
    ):
        tifffile.imwrite(tmp_path / name, picture, extratags=tags, metadata=None)
        height, width = read_image(tmp_path / name).shape[:2]
        assert image_size(tmp_path / name) == (width, height)
        assert (height, width) == ((9, 5) if name == "both.tif" else (5, 9))


def test_libraries_of_single_formats_are_imported_when_such_a_file_is_read():
    code = "import sys, iqa_core.pixels.read, iqa_core.pixels.cache; "
    code += "print({'tifffile', 'imagecodecs'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    assert done.stdout.decode().strip() == "set()"


# ---- refusals


def float_rgb(path):
    tifffile.imwrite(path, np.zeros((4, 4, 3), np.float32), photometric="rgb", metadata=None)


def signed(path):
    tifffile.imwrite(path, np.zeros((4, 4), np.int8), metadata=None)


def lab(path):
    tifffile.imwrite(path, ramps(3, 16), photometric="cielab", metadata=None)


def logarithms(path):
    tifffile.imwrite(path, noise(4, 4, 3), photometric="logluv", metadata=None)


def bad_profile(path):
    path.write_bytes(png(noise(4, 4, 3), 2, 8, before=[chunk(b"iCCP", b"icc\0\7damaged")]))


def bad_checksum(path):
    data = png(noise(4, 4, 3), 2, 8)
    path.write_bytes(data[:29] + b"\0\0\0\0" + data[33:])


def heic(path):
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(99))


REFUSALS = [
    (
        "float.tif",
        float_rgb,
        "its values are floats of 32 bits, of which nothing says which is white",
    ),
    (
        "signed.tif",
        signed,
        "its values are numbers with a sign of 8 bits, .* write it with 8 or 16",
    ),
    ("log.tif", logarithms, "its colours are LOGLUV; write it as RGB"),
    ("lab.tif", lab, "its colours are CIELAB, not of 3 x 8 bits in one plane; write it as RGB"),
    (
        "profile.png",
        bad_profile,
        "it is a damaged or unusual PNG: Unknown compression method 7 in iCCP",
    ),
    (
        "checksum.png",
        bad_checksum,
        "it is a damaged or unusual PNG: broken PNG file .*bad header checksum",
    ),
    ("phone.jpg", heic, "it is HEIC, none of JPEG, PNG"),
    ("empty.png", Path.touch, "it is empty"),
]


@pytest.mark.parametrize(("name", "write", "why"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_refusal_tells_the_true_reason(tmp_path, name, write, why):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} cannot be decoded \({why}"):
        read_image(tmp_path / name)


def test_what_a_refused_tiff_is_told_to_become_is_read(tmp_path):
    signed(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="write it with 8 or 16 bits"):
        read_image(tmp_path / "a.tif")
    for dtype in (np.uint8, np.uint16):
        tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), np.iinfo(dtype).max, dtype))
        assert (read_image(tmp_path / "a.tif") == 255).all()


# ---- other people's files


@pytest.fixture(scope="module")
def pillows_images(tmp_path_factory):
    """The pictures of the tests in Pillow's source distribution: $PILLOW_SOURCE is the archive."""
    archive = os.environ.get("PILLOW_SOURCE")
    if not archive:
        pytest.skip(
            "PILLOW_SOURCE is not set; `pip download --no-deps --no-binary pillow pillow` fetches "
            "the archive that it is to name"
        )
    folder = tmp_path_factory.mktemp("pillow")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (images,) = folder.glob("*/Tests/images")
    return images


@pytest.mark.slow
def test_all_pictures_of_pillows_tests_are_read_right_or_refused_by_a_true_reason(pillows_images):
    paths = sorted(path for path in pillows_images.rglob("*") if path.is_file())
    found, reasons = collections.defaultdict(list), collections.Counter()
    for path in paths:
        name = path.relative_to(pillows_images).as_posix()
        try:
            kind = compared(path)
        except ValueError as error:
            kind = "refused"
            reasons[re.search(r"(?s)\((.*)\); replace", str(error)).group(1)[:60]] += 1
        found[kind].append(name)
    print({kind: len(names) for kind, names in found.items()}, len(paths))
    print({kind: names for kind, names in found.items() if kind.startswith("no")}, reasons)
    assert set(found["different"]) == set(DIFFERENT)
    assert len(found["refused"]) < 0.4 * len(paths)
    assert not any(why.startswith(("TypeError", "AttributeError", "IndexError")) for why in reasons)


LAB = "libtiff does not adapt CIELAB's white, as LittleCMS and the formula do"
DIFFERENT = {  # name: why
    **dict.fromkeys(("hopper.Lab.tif", "lab.tif", "lab-green.tif", "lab-red.tif"), LAB),
    "test_extents.gif": "giflib makes room for later frames, which reach beyond the first",
    "tiff_strip_ycbcr_jpeg_2x2_sampling.tif": "chroma of half the size is enlarged otherwise, by 4",
}


def compared(path):
    """How `read_image` compares with another decoder, whose picture may have to be turned."""
    read, data = read_image(path), path.read_bytes()
    assert image_size(path) == read.shape[1::-1], path
    if path.name == "decompression_bomb_extents.gif":  # giflib takes 13 GB for its later frames
        return "no other decoder"
    try:
        other = by_another_decoder(data)
    except Exception as error:
        return f"not read by {type(error).__name__}"
    if other is None:
        return "no other decoder"
    turns = [np.rot90(side, turn) for side in (other, other[:, ::-1]) for turn in range(4)]
    same = [turned for turned in turns if turned.shape == read.shape]
    if not any(np.abs(read - turned).max() <= 3.1 for turned in same):
        return "different"
    return "equal" if same[0] is turns[0] and np.abs(read - other).max() <= 3.1 else "equal, turned"
