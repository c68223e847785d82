"""What Pillow reads otherwise than it stands in a PNG or a JPEG 2000, read by their own libraries;
and metadata that it does not look for.
"""

import io
import logging
import struct
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # the EXIF tag
CODESTREAM = b"\xff\x4f\xff\x51"  # where the header of a JPEG 2000's pixels begins


class RefusedError(ValueError):
    """A file that nothing here can be trusted with; the message says why."""


def orientation_of(image: Image.Image, path: Path) -> int | None:
    """The EXIF orientation of an opened image, None without one; metadata that cannot be read turns
    nothing.
    """
    try:
        if image.format == "PNG":
            image = Image.open(_metadata_first(path), formats=["PNG"])
        return Image.Image.getexif(image).get(ORIENTATION)  # a PNG's own would decode its pixels
    except Exception:
        return None


def _metadata_first(path):
    """A PNG without pixels that has before their place the metadata which may stand behind it."""
    chunks = []
    with open(path, "rb") as file:
        signature = file.read(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name in (b"IHDR", b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                chunks.append(head + file.read(length + 4))
            else:
                file.seek(length + 4, io.SEEK_CUR)
    return io.BytesIO(signature + b"".join(chunks) + struct.pack(">I4s", 0, b"IDAT"))


def by_its_own_library(image: Image.Image, path: Path) -> Image.Image | None:
    """The picture of an opened file that Pillow is wrong about; None for all others."""
    if image.format == "PNG" and image.mode != "P" and "transparency" in image.info:
        return _transparent_png(path)
    if image.format == "JPEG2000" and image.mode in ("LA", "RGB", "RGBA", "CMYK"):
        return _deep_jpeg2000(path, image.mode)
    return None


def _transparent_png(path):
    """Where a transparent value is told in other than 8 bits, which Pillow compares wrongly."""
    data = Path(path).read_bytes()
    if data[24] == 8:
        return None
    from imagecodecs import png_decode

    logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)
    pixels = png_decode(data)
    return Image.fromarray(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8))


def _deep_jpeg2000(path, mode):
    """Where colours have more than 8 bits, of which Pillow rounds white up to black."""
    data = Path(path).read_bytes()
    place = data.find(CODESTREAM) + 40  # of the number of channels, then 3 bytes each
    channels = int.from_bytes(data[place : place + 2], "big")
    depths = {1 + byte for byte in data[place + 2 : place + 2 + 3 * channels : 3]}
    if not depths or max(depths) <= 8:
        return None
    bits = max(depths)
    if len(depths) > 1 or bits > 16:
        raise RefusedError("its channels differ in bits or have a sign; write it with 8 or 16 bits")
    from imagecodecs import jpeg2k_decode

    return Image.fromarray((jpeg2k_decode(data) >> bits - 8).astype(np.uint8), mode)
