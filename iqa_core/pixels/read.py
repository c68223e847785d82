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

# no EPS: that runs a program
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")
# of a file that is read, else refused: 1.3 to 2.2 GB of memory at the peak; telephones reach 108
MEGAPIXELS = 120
ENLARGED = 16  # megapixels that an image may be enlarged to
REASONS = {
    Image.DecompressionBombError: (
        f"it has more than {MEGAPIXELS} megapixels; make a smaller copy, or cut it into parts"
    ),
    IsADirectoryError: "it is a folder",
    UnidentifiedImageError: f"it is empty, or none of {', '.join(FORMATS)}",
}
# a filter for Pillow's warnings of large images and damaged metadata, which is decided here
QUIET = ("ignore", None, Warning, re.compile("PIL"), 0)
# EXIF orientation -> Image.Transpose that undoes it
UPRIGHT = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))
SIDEWAYS = (5, 6, 7, 8)  # the orientations that swap width and height
Size = int | tuple[int, int] | None  # shorter side, (height, width), or as it is; pixels


def read_image(path: Path, **rule) -> np.ndarray:
    """Decode an image file to uint8 RGB (h, w, 3), upright by its EXIF orientation, on white where
    it is transparent.

    Of 12 or 16 bits the upper 8 are kept; of an animation, the first frame; colour profiles are not
    applied. Pillow's warnings are switched off: here is decided what they are about.

    Args:
        path: of the file.
        rule: size, interpolation and at_least, as `resize` takes them, to resize what was read.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for one that cannot be decoded to the end, has more than 120 megapixels, or is
            refused by `resize`. All name it and the fix.
    """
    try:
        with _opened(path) as image:
            image.load()
            pixels = np.asarray(_rgb(_upright(image)))
            return resize(pixels, **rule) if rule else pixels
    except FileNotFoundError:
        raise FileNotFoundError(
            f"image {path} is missing; paths in a table are relative to the project root"
        ) from None
    except Exception as error:  # a damaged file can raise anything inside Pillow
        raise _refusal(path, error) from error


def _opened(path):
    """An image of which only the header has been read."""
    if warnings.filters[:1] != [QUIET]:
        warnings.filterwarnings("ignore", module="PIL")
    image = Image.open(path, formats=FORMATS)
    if image.width * image.height > MEGAPIXELS * 1e6:
        image.close()
        raise Image.DecompressionBombError
    return image


def image_sizes(paths: Sequence[Path]) -> pd.DataFrame:
    """Columns width and height in pixels, one row a file, upright; read from the headers alone.

    FileNotFoundError naming the first three files that are missing, ValueError those that are no
    images, and their number.
    """
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        what = "missing; notebook 01 goes on without them where `without_absent: true`"
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
        f"{len(messages)} of {count} images are {what}; `python -m iqa_core data check <set>` "
        f"lists all:",
        *messages[:3],
    ]
    if len(messages) > 3:
        lines.append(f"and {len(messages) - 3} more")
    return "\n".join(lines)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, upright, by the header alone; errors as `read_image`."""
    try:
        with _opened(path) as image:
            # Pillow turns the size of a TIFF itself, and would decode a PNG to ask it for its EXIF
            turned = image.format != "TIFF" and (
                _orientation(image, Image.Image.getexif) in SIDEWAYS
            )
            return image.size[::-1] if turned else image.size
    except Exception as error:
        raise _refusal(path, error) from error


def _refusal(path, error):
    why = REASONS.get(type(error)) or f"{type(error).__name__}: {error}"
    fix = "replace the file (delete it if a notebook made it), or drop its row"
    return ValueError(f"image {path} cannot be decoded ({why}); {fix}")


def _orientation(image, exif):
    try:
        return exif(image).get(0x0112)
    except Exception:  # metadata that cannot be read turns nothing
        return None


def _upright(image):
    orientation = _orientation(image, type(image).getexif)
    if orientation not in UPRIGHT:
        return image
    return image.transpose(Image.Transpose(UPRIGHT[orientation]))


def _rgb(image):
    if image.mode[0] in "IF":  # integers of 12 to 32 bits, floats
        image = _upper_bits(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(clear, mask=clear)
    return image if image.mode == "RGB" else image.convert("RGB")


def _upper_bits(image):
    """The upper 8 bits of a grey image of 12 or 16."""
    grey = np.asarray(image)
    is_16_bit = image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")
    if not is_16_bit:
        raise ValueError(
            f"its grey values, here {grey.min()} to {grey.max()}, have no known white; write it "
            f"with 8 or 16 bits"
        )
    # a TIFF's tag for the bits of its samples tells 12, which Pillow gives as 16
    bits = 12 if getattr(image, "tag_v2", {}).get(258) == (12,) else 16
    return Image.fromarray((grey >> bits - 8).astype(np.uint8))


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
