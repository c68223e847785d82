"""TIFF files to pixels. tifffile decodes the samples, whatever their bits, planes and compression;
which colours they are is decided here, and what is not decided is refused by its name.

Pillow, which reads all other formats, gives the negative of a TIFF of 16 bits in which 0 is white,
garbles its separate planes, and knows but few kinds with alpha or fewer bits than 8.
"""

import logging
import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from .beyond_pillow import RefusedError

FIRST_BYTES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
# kinds of colour, and the channels of each
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
CHANNELS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3}
MOST_CHANNELS = 8
UNSIGNED = 1
NUMBERS = {UNSIGNED: "numbers", 2: "numbers with a sign", 3: "floats"}
UNCOMPRESSED, OLD_JPEG = 1, 6  # kinds of compression
ONE_PLANE = 1
PREMULTIPLIED, STRAIGHT, COREL = 1, 2, 999  # kinds of alpha; the last is Corel Draw's straight one


def tiff_header(path: Path) -> tuple[int, int, int]:
    """Width and height as they are kept, and the EXIF orientation, of the first page; RefusedError
    where there is none.
    """
    with _first_page(path) as page:
        return page.imagewidth, page.imagelength, _tag(page, "Orientation", 1)


def read_tiff(path: Path) -> tuple[Image.Image, int]:
    """The first page as 8-bit RGB on white, of more than 8 bits the upper 8; and the EXIF
    orientation that is still to be undone.

    RefusedError for a kind of image that is not read, or a damaged file.
    """
    with _first_page(path) as page:
        _check(page)
        if page.photometric in (YCBCR, CIELAB) or page.compression == OLD_JPEG:
            return _by_pillow(path), 1
        samples = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # (planes, h, w, channels)
        samples = np.moveaxis(samples, 0, 2).reshape(*samples.shape[1:3], -1)
        if samples.dtype == bool:
            samples = samples.view(np.uint8)
        return _on_white(samples, page), _tag(page, "Orientation", 1)


@contextmanager
def _first_page(path):
    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # of damaged metadata, not pixels
    try:
        with TiffFile(path) as file:
            if not len(file.pages):
                raise RefusedError("it is a TIFF without any page")
            yield file.pages[0]
    except RefusedError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise RefusedError(f"it is a damaged or unusual TIFF: {error}") from error


def _tag(page, name, otherwise):
    return page.tags.valueof(name, otherwise)


def _check(page):
    """Refuses what is not read, by its name."""
    kind = getattr(page.photometric, "name", page.photometric)
    other_inks = page.photometric == CMYK and _tag(page, "InkSet", 1) != 1
    if page.photometric not in CHANNELS or other_inks:
        raise RefusedError(
            f"its colours are {kind}{' of other inks' * other_inks}; write it as RGB"
        )
    if page.photometric == YCBCR and page.compression == UNCOMPRESSED:
        raise RefusedError("its colours are YCbCr without compression; write it as RGB")
    bits = page.bitspersample
    if page.sampleformat != UNSIGNED or not isinstance(bits, int) or bits > 16:
        what = NUMBERS.get(page.sampleformat, f"of sample format {page.sampleformat}")
        raise RefusedError(
            f"its values are {what} of {bits} bits, of which nothing says which is white; write it "
            f"with 8 or 16 bits"
        )
    channels = page.samplesperpixel
    if not CHANNELS[page.photometric] <= channels <= MOST_CHANNELS or page.imagedepth > 1:
        raise RefusedError(
            f"it has {channels} channels in {page.imagedepth} layers, too few for {kind} or more "
            f"than a picture; write it as RGB"
        )
    if page.photometric == CIELAB and (bits, channels, page.planarconfig) != (8, 3, ONE_PLANE):
        raise RefusedError(
            "its colours are CIELAB, not of 3 x 8 bits in one plane; write it as RGB"
        )
    if page.photometric == PALETTE and page.colormap is None:
        raise RefusedError("it has no palette, but its values are numbers of a palette's colours")
    _check_data(page)


def _check_data(page):
    """Refuses what tifffile would fill with zeros: strips and tiles that are not there."""
    ends = np.add(page.dataoffsets, page.databytecounts)
    if len(ends) < math.prod(page.chunked) or not all(page.databytecounts):
        raise RefusedError("it is incomplete: parts of the picture are missing")
    if max(ends) > page.parent.filehandle.size:
        raise RefusedError("it is truncated, or tells wrongly where its pixels are")


def _by_pillow(path):
    """Upright, by Pillow, whose libtiff knows the ways in which JPEG shares colour, and whose
    LittleCMS knows CIELAB.
    """
    with Image.open(path, formats=["TIFF"]) as image:
        image.info.pop("xmp", None)  # where Pillow finds another orientation than the tag's
        return image.convert("RGB")


def _on_white(samples, page):
    channels, bits = CHANNELS[page.photometric], page.bitspersample
    alpha_kind = _alpha_kind(page, channels)
    alpha = _eight_bits(samples[..., channels], bits) if alpha_kind else None
    values = samples[..., :channels]
    if page.photometric == PALETTE:
        colours = page.colormap.T  # (colours, 3), of 16 bits, but by some writers of 8
        values = _eight_bits(colours, 16 if colours.max() > 255 else 8)[values[..., 0]]
    else:
        values = _eight_bits(values, bits)
    if page.photometric == WHITE_IS_ZERO:
        values = 255 - values
    if page.photometric == CMYK:
        values = np.asarray(Image.fromarray(values, "CMYK").convert("RGB"))
    if alpha_kind == PREMULTIPLIED:
        values = np.minimum(values, alpha[..., None]) + (255 - alpha[..., None])
    image = Image.fromarray(values.squeeze(2) if values.shape[2] == 1 else values).convert("RGB")
    if alpha_kind not in (STRAIGHT, COREL):
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=Image.fromarray(alpha))
    return white


def _alpha_kind(page, channels):
    """Of the first channel behind the colours; 0 where it is no alpha, or there is none. A fourth
    channel that no tag explains is alpha, as in Pillow.
    """
    if page.samplesperpixel == channels:
        return 0
    kinds = np.atleast_1d(_tag(page, "ExtraSamples", STRAIGHT))
    kind = int(kinds[0])
    return kind if kind in (PREMULTIPLIED, STRAIGHT, COREL) else 0


def _eight_bits(values, bits):
    if bits < 8:
        top = (1 << bits) - 1
        return ((values.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8)
    return (values >> bits - 8).astype(np.uint8)
