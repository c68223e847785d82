"""Files to pixels: an image file read in one way for everything.

What is done about rotation, alpha, palettes, 16 bits and the like is decided here alone;
docs/preprocessing.md lists it.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from .beyond_pillow import RefusedError, by_its_own_library, orientation_of
from .tiff import FIRST_BYTES, read_tiff, tiff_header

# no EPS: that runs a program
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")
# how names of pictures end, in lower case; folders are looked through for them
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".tif", ".tiff"}
ENDINGS |= {".gif", ".webp", ".avif", ".pbm", ".pgm", ".ppm", ".pnm"}
ENDINGS |= {".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"}
# those of kinds that are not read; raw ones would be taken for the small copy that they begin with
NOT_READ = {".heic", ".heif", ".hif", ".jxl", ".psd", ".tga", ".exr", ".hdr", ".dng", ".cr2"}
NOT_READ |= {".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"}
# of a file that is read, else refused: 1.3 to 2.5 GB of memory at the peak; telephones reach 108
MEGAPIXELS = 120
ENLARGED = 16  # megapixels that an image may be enlarged to
REASONS = {
    Image.DecompressionBombError: (
        f"it has more than {MEGAPIXELS} megapixels; make a smaller copy, or cut it into parts"
    ),
    IsADirectoryError: "it is a folder",
}
# a filter for Pillow's warnings of large images and damaged metadata, which is decided here
QUIET = ("ignore", None, Warning, re.compile("PIL"), 0)
# EXIF orientation -> Image.Transpose that undoes it
UPRIGHT = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))
HEIC = re.compile(b"hei[cxms]|hev[cx]")  # brands of telephones' files
SIDEWAYS = (5, 6, 7, 8)  # the orientations that swap width and height
Size = int | tuple[int, int] | None  # shorter side, (height, width), or as it is; pixels


def read_image(path: Path, **rule) -> np.ndarray:
    """Decode an image file to uint8 RGB (h, w, 3), upright by its EXIF orientation, on white where
    it is transparent.

    Of more than 8 bits the upper 8 are kept; of an animation, the first frame; colour profiles are
    not applied. Pillow's warnings are switched off: here is decided what they are about.

    Args:
        path: of the file.
        rule: size, interpolation and at_least, as `resize` takes them, to resize what was read.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for one that cannot be decoded to the end, is of a kind that is not read, has
            more than 120 megapixels, or is refused by `resize`. All name file, reason and fix.
    """
    try:
        _check_ending(path)
        image, orientation = _read_tiff(path) if _is_tiff(path) else _read(path)
        pixels = np.asarray(_upright(image, orientation))
        return resize(pixels, **rule) if rule else pixels
    except Exception as error:  # a damaged file can raise anything inside Pillow
        raise _refusal(path, error) from error


def _check_ending(path):
    ending = Path(path).suffix.lower()
    if ending in NOT_READ and Path(path).exists():
        raise RefusedError(f"pictures that end in {ending} are not read; export it as PNG or TIFF")


def _is_tiff(path):
    with open(path, "rb") as file:
        return file.read(4) in FIRST_BYTES


def _read_tiff(path):
    width, height, _ = tiff_header(path)
    _check_size(width, height)
    return read_tiff(path)


def _read(path):
    """An image of any other format as RGB, and its orientation."""
    with _opened(path) as image:
        orientation = orientation_of(image, path)  # before pixels are decoded, as in `image_size`
        image = by_its_own_library(image, path) or image
        image.load()
        return _rgb(image), orientation


def _opened(path):
    """An image of which only the header has been read."""
    if warnings.filters[:1] != [QUIET]:
        warnings.filterwarnings("ignore", module="PIL")
    image = Image.open(path, formats=FORMATS)
    try:
        _check_size(*image.size)
    except Image.DecompressionBombError:
        image.close()
        raise
    return image


def _check_size(width, height):
    if width * height > MEGAPIXELS * 1e6:
        raise Image.DecompressionBombError


def image_sizes(paths: Sequence[Path]) -> pd.DataFrame:
    """Columns width and height in pixels, one row a file, upright; read from the headers alone.

    FileNotFoundError naming the first three files that are missing, ValueError those that are no
    images, and their number.
    """
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        what = "missing; notebook 01 goes on without them by `--set without_absent=true`"
        raise FileNotFoundError(_first(missing, what, len(paths)))
    sizes, refused = [], []
    for path in paths:
        try:
            sizes.append(image_size(path))
        except ValueError as error:
            refused.append(str(error))
    if refused:
        raise ValueError(_first(refused, "refused", len(paths)))
    return pd.DataFrame(sizes, columns=["width", "height"])


def _first(messages, what, count):
    lines = [
        f"{len(messages)} of {count} images are {what}; `python -m iqa_core data check`, with "
        f"the set's name, lists all:",
        *messages[:3],
    ]
    if len(messages) > 3:
        lines.append(f"and {len(messages) - 3} more")
    return "\n".join(lines)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, upright, by the header and metadata alone; errors as `read_image`."""
    try:
        _check_ending(path)
        if _is_tiff(path):
            width, height, orientation = tiff_header(path)
            _check_size(width, height)
        else:
            with _opened(path) as image:
                width, height = image.size
                orientation = orientation_of(image, path)
        return (height, width) if orientation in SIDEWAYS else (width, height)
    except Exception as error:
        raise _refusal(path, error) from error


def _refusal(path, error):
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(
            f"image {path} is missing; paths in a table are relative to the project root"
        )
    if isinstance(error, UnidentifiedImageError):
        why = _unidentified(path)
    elif isinstance(error, RefusedError):
        why = str(error)
    else:
        why = REASONS.get(type(error)) or f"{type(error).__name__}: {error}"
    fix = "replace the file (delete it if a notebook made it), or drop its row"
    return ValueError(f"image {path} cannot be decoded ({why}); {fix}")


def _unidentified(path):
    """Why Pillow, which does not say it, found no image in a file."""
    with open(path, "rb") as file:
        start = file.read(64)
        if not start:
            return "it is empty"
        if start[4:8] == b"ftyp" and HEIC.search(start):
            return f"it is HEIC, none of {', '.join(FORMATS)}"
        for name in FORMATS:
            factory, accepts = Image.OPEN[name]
            if accepts(start[:16]):
                file.seek(0)
                try:
                    factory(file, str(path))
                except Exception as error:
                    return f"it is a damaged or unusual {name}: {error}"
    return f"its first bytes are those of none of {', '.join(FORMATS)}"


def _upright(image, orientation):
    if orientation not in UPRIGHT:
        return image
    return image.transpose(Image.Transpose(UPRIGHT[orientation]))


def _rgb(image):
    if image.mode[0] in "IF":  # integers of 16 or 32 bits, floats
        image = _upper_bits(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(clear, mask=clear)
    return image if image.mode == "RGB" else image.convert("RGB")


def _upper_bits(image):
    """The upper 8 bits of a grey image of 16, to which Pillow brings what has 10 or 12."""
    is_16_bit = image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")
    if not is_16_bit:
        raise RefusedError(
            "its values are floats or numbers of 32 bits, of which nothing says which is white; "
            "write it with 8 or 16 bits"
        )
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def resize(
    image: np.ndarray, size: Size, interpolation: str = "bilinear", *, at_least: int = 0
) -> np.ndarray:
    """A uint8 image (h, w, 3) by Pillow to that shorter side or that (height, width); untouched for
    None.

    The longer side is cut to whole pixels, as torchvision does. An image whose shorter side would
    then be below `at_least` is enlarged to that instead, its shape kept: crops of that size fit,
    but a model sees it blurred. ValueError where enlarging makes more than 16 megapixels of a very
    long and narrow image.
    """
    height, width = sides(*image.shape[:2], size, at_least)
    if (height, width) == image.shape[:2]:
        return image
    how = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def sides(height: int, width: int, size: Size, at_least: int = 0) -> tuple[int, int]:
    """The height and width to which `resize` brings an image of the first two numbers; ValueError
    where it refuses.
    """
    new = tuple(size) if isinstance(size, tuple | list) else (height, width)
    if isinstance(size, int):
        new = _shorter(height, width, max(size, at_least))
    elif min(new) < at_least:
        new = _shorter(*new, at_least)
    if new[0] * new[1] > max(ENLARGED * 1e6, height * width):
        raise ValueError(
            f"an image of {width}x{height} would be enlarged to {new[1]}x{new[0]}, over {ENLARGED} "
            f"megapixels; cut it to a shape less extreme, or leave it out"
        )
    return new


def _shorter(height, width, side):
    """(height, width) of that shape with a shorter side of `side`."""
    if height <= width:
        return side, side * width // height
    return side * height // width, side
