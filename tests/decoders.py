"""Independent decoders and encoders for tests of pixels: libtiff, libpng and others by imagecodecs,
and what a file's samples should look like, computed from the samples.
"""

import struct
import zlib

import imagecodecs
import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
PASSES += ((1, 0, 2, 1),)  # of interlaced PNG: first row and column, steps down and across


def on_white(colours, alpha=1.0):
    """(h, w, 1 or 3) and (h, w, 1) in [0, 1] -> RGB from 0 to 255."""
    colours = colours * alpha + 1 - alpha
    return 255 * np.broadcast_to(colours, (*colours.shape[:2], 3))


def chunk(name, data):
    """A PNG's chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples, kind, bits, *, interlaced=False, before=(), after=()):
    """A PNG of samples (h, w, c) of colour type `kind`, with chunks around its pixels."""
    height, width = samples.shape[:2]
    parts = [samples[top::down, left::right] for top, left, down, right in PASSES]
    rows = [row for part in (parts if interlaced else [samples]) if part.size for row in part]
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + _packed(row.ravel(), bits) for row in rows))
    chunks = [chunk(b"IHDR", head), *before, chunk(b"IDAT", data), *after, chunk(b"IEND", b"")]
    return PNG + b"".join(chunks)


def _packed(row, bits):
    places = np.arange(bits)[::-1]
    return np.packbits((row[:, None].astype(int) >> places) & 1).tobytes()


def by_another_decoder(data):
    """RGB from 0 to 255, as it lies in the file, by a library that is not Pillow; None where it has
    none for this format.
    """
    decode = _decoder(data[:16])
    if decode is None:
        return None
    pixels = decode(data)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    values = pixels / _white(pixels, data)
    channels = values.shape[2]
    if decode is imagecodecs.jpeg8_decode and channels == 4:  # CMYK, inverted as Adobe has it
        return 255 * values[..., :3] * values[..., 3:]
    if channels in (1, 3):
        return on_white(values)
    colours, alpha = values[..., :-1], values[..., -1:]
    if data[:4] in TIFFS:  # libtiff multiplies colours by alpha
        return on_white(np.minimum(colours + 1 - alpha, 1))
    return on_white(colours, alpha)


def _decoder(start):
    if start.startswith(PNG):
        return imagecodecs.png_decode
    if start.startswith(b"\xff\xd8"):
        return imagecodecs.jpeg8_decode
    if start.startswith(b"GIF8"):
        return lambda data: imagecodecs.gif_decode(data, index=0)
    if start.startswith(b"BM"):
        return imagecodecs.bmp_decode
    if start[8:12] == b"WEBP":
        return imagecodecs.webp_decode
    if start[4:12] == b"ftypavif":  # of a sequence, ftypavis, imagecodecs ends the process
        return lambda data: imagecodecs.avif_decode(data, index=0)
    if start.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")):
        return imagecodecs.jpeg2k_decode
    if start[:4] in TIFFS:
        return lambda data: imagecodecs.tiff_decode(data, asrgb=True)
    return None


def _white(pixels, data):
    if (place := data.find(b"\xff\x4f\xff\x51")) >= 0:  # JPEG 2000 tells its bits in its header
        return (1 << (data[place + 42] & 127) + 1) - 1
    return 1 if pixels.dtype == bool else np.iinfo(pixels.dtype).max
