"""Grey and colour of 10, 12 and 16 bits is scaled to 8; where nothing says which value is white,
the file is refused.
"""

import struct
import zlib

import numpy as np
import pytest
from pictures import save
from test_pixels import png

from iqa_core.pixels import read_image


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
    return png(
        struct.pack(">IIBBBBB", red.shape[1], red.shape[0], 16, 2, 0, 0, 0), zlib.compress(data)
    )


def tiff(bits, kind, data, width):
    """A TIFF of one row of grey values; kind 1: not negative, 2: with a sign."""
    place = 8 + 2 + 10 * 12 + 4
    tags = {
        256: width,
        257: 1,
        258: bits,
        259: 1,
        262: 1,
        273: place,
        277: 1,
        278: 1,
        279: len(data),
        339: kind,
    }
    head = (
        b"II*\0"
        + struct.pack("<IH", 8, len(tags))
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    )
    return head + bytes(4) + data


def test_twelve_bits_are_scaled_too(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(12, 1, bytes.fromhex("00080ffff0"), 3))  # 0, 2048, 4095
    assert read_image(tmp_path / "a.tif")[0, :, 1].tolist() == [0, 128, 255]
    ten_bits = np.array([0, 1, 512, 1023], ">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 4 1 1023\n" + ten_bits)
    assert read_image(tmp_path / "a.pgm")[0, :, 1].tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        (1, [0, 255], "<u4"),
        (1, [0, 65535], "<u4"),
        (2, [0, 10**5], "<i4"),
        (2, [-1, 7], "<i4"),
        (2, [0, 32767], "<i2"),
        (3, [0, 255], "<f4"),
    ],
)
def test_values_without_a_known_white_are_refused(tmp_path, kind, values, dtype):
    values = np.array(values, dtype)
    (tmp_path / "a.tif").write_bytes(tiff(8 * values.itemsize, kind, values.tobytes(), 2))
    wanted = rf"of {8 * values.itemsize} bits, of which nothing says which is white; write it with"
    with pytest.raises(ValueError, match=wanted):
        read_image(tmp_path / "a.tif")


def test_floats_of_a_pfm_are_refused(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 1\n-1.0\n" + np.array([0, 1], "<f4").tobytes())
    with pytest.raises(
        ValueError, match="its values are floats or numbers of 32 bits, of which nothing"
    ):
        read_image(tmp_path / "a.pfm")
