"""Files to pixels: an image file read in one way for everything, and a store on disk of images decoded once.

What is done about rotation, alpha, palettes, 16 bits and the like is decided here alone; docs/preprocessing.md lists it.
"""

import hashlib
import json
import math
import os
import re
import shutil
import threading
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from joblib import Parallel, delayed
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

RULES = 1  # part of every cache's key: raise it when `read_image` or `resize` gives other pixels
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")  # no EPS: that runs a program
MEGAPIXELS = 120  # of a file that is read, else refused: 1.3 to 2 GB of memory at the peak; telephones reach 108
ENLARGED = 16  # megapixels that an image may be enlarged to
SPARE = 10**9  # bytes of a disk that a cache leaves free
REASONS = {
    Image.DecompressionBombError: f"it has more than {MEGAPIXELS} megapixels; make a smaller copy, or cut it into parts",
    IsADirectoryError: "it is a folder",
    UnidentifiedImageError: f"it is empty, or none of {', '.join(FORMATS)}",
}
QUIET = ("ignore", None, Warning, re.compile("PIL"), 0)  # large images, damaged metadata: decided here, so not told as well
UPRIGHT = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))  # EXIF orientation -> Image.Transpose that undoes it
Size = int | tuple[int, int] | None  # shorter side, (height, width), or as it is; pixels
_writing = threading.RLock()  # file locks hold off other processes; this one, threads


def read_image(path: Path, **rule) -> np.ndarray:
    """Decode an image file to uint8 RGB (h, w, 3), upright by its EXIF orientation, on white where it is transparent.

    Of 16 bits the upper 8 are kept; of an animation, the first frame; colour profiles are not applied. `rule`: size,
    interpolation and at_least, as `resize` takes them, to resize what was read.
    FileNotFoundError for a missing file; ValueError for one that cannot be decoded to the end, has more than 120 megapixels,
    or is refused by `resize`; all name it and the fix. Pillow's warnings are switched off: here is decided what they are about.
    """
    try:
        with _opened(path) as image:
            image.load()
            pixels = np.asarray(_rgb(_upright(image)))
            return resize(pixels, **rule) if rule else pixels
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is missing; paths in a table are relative to the project root") from None
    except Exception as error:  # a damaged file can raise anything inside Pillow
        why = REASONS.get(type(error)) or f"{type(error).__name__}: {error}"
        raise ValueError(
            f"image {path} cannot be decoded ({why}); replace the file (delete it if a notebook made it), or drop its row"
        ) from error


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

    FileNotFoundError naming the first files that are missing, ValueError one that is no image.
    """
    if missing := [str(path) for path in paths if not Path(path).exists()]:
        some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise FileNotFoundError(f"{len(missing)} of {len(paths)} images are missing: {some}; `data get` and `data check` help")
    return pd.DataFrame([_size(path) for path in paths], columns=["width", "height"])


def _size(path):
    try:
        with _opened(path) as image:  # Pillow turns the size of a TIFF itself, and would decode a PNG to ask it for its EXIF
            turned = image.format != "TIFF" and _orientation(image, Image.Image.getexif) in (5, 6, 7, 8)
            return image.size[::-1] if turned else image.size
    except Exception as error:
        raise ValueError(
            f"image {path} cannot be read ({type(error).__name__}: {error}); replace it or drop its row"
        ) from error


def _orientation(image, exif):
    try:
        return exif(image).get(0x0112)
    except Exception:  # metadata that cannot be read turns nothing
        return None


def _upright(image):
    orientation = _orientation(image, type(image).getexif)
    return image.transpose(Image.Transpose(UPRIGHT[orientation])) if orientation in UPRIGHT else image


def _rgb(image):
    if image.mode[0] in "IF":  # integers of 16 or 32 bits, floats
        grey = np.asarray(image)
        if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"its grey values run from {grey.min()} to {grey.max()}; write it with 8 or 16 bits")
        image = Image.fromarray((grey >> 8).astype(np.uint8))
    if image.has_transparency_data:
        clear, image = image.convert("RGBA"), Image.new("RGB", image.size, "white")
        image.paste(clear, mask=clear)
    return image if image.mode == "RGB" else image.convert("RGB")


def resize(image: np.ndarray, size: Size, interpolation: str = "bilinear", *, at_least: int = 0) -> np.ndarray:
    """A uint8 image (h, w, 3) by Pillow to that shorter side or that (height, width); untouched for None.

    The longer side is cut to whole pixels, as torchvision does. An image whose shorter side would then be below `at_least`
    is enlarged to that instead, its shape kept: crops of that size fit, but a model sees it blurred.
    ValueError where enlarging makes more than 16 megapixels of a very long and narrow image.
    """
    height, width = sides(*image.shape[:2], size, at_least)
    if (height, width) == image.shape[:2]:
        return image
    how = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def sides(height: int, width: int, size: Size, at_least: int = 0) -> tuple[int, int]:
    """The height and width to which `resize` brings an image of the first two numbers; ValueError where it refuses."""
    new = tuple(size) if isinstance(size, tuple | list) else (height, width)
    if isinstance(size, int) or min(new) < at_least:
        new = _shorter(*new, max(size, at_least) if isinstance(size, int) else at_least)
    if new[0] * new[1] > max(ENLARGED * 1e6, height * width):
        raise ValueError(
            f"an image of {width}x{height} would be enlarged to {new[1]}x{new[0]}, over {ENLARGED} megapixels; cut it to a "
            "shape less extreme, or leave it out"
        )
    return new


def _shorter(height, width, side):
    return (side, side * width // height) if height <= width else (side * height // width, side)


class PixelCache(Sequence):
    """Decoded images of a list of files: `cache[i]` is uint8 (h, w, 3), a read-only view of one flat file.

    `resize`, `interpolation`, `at_least`: what `resize` is to do with every image before it is kept.
    An image is decoded when it is first asked for, or all by `fill`. The cache is keyed by these rules and by path, size and
    time of change of every file, so a changed file makes a new one. Any number of processes may read and fill it at once,
    and one may be killed at any moment: an image counts as kept once a record with its place and checksum stands in the
    index, and the checksum is compared when a process first reads the image; if it is wrong the file is decoded again.
    Where the disk is short, which a warning says once, nothing more is kept and files are decoded at every use.
    """

    def __init__(
        self, paths: Sequence[Path], folder: Path, *, resize: Size = None, interpolation: str = "bilinear", at_least: int = 0
    ):
        self.paths = [Path(p) for p in paths]
        self.rule = {"size": resize, "interpolation": interpolation, "at_least": at_least}
        stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) if p.exists() else (str(p), 0, 0) for p in self.paths]
        key = json.dumps([RULES, self.rule, stats])
        self.file = Path(folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pixels"  # images, back to back
        self.index = self.file.with_suffix(".index")  # a record an image: 5 integers, its number and a row of _places
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._places = np.zeros((len(self.paths), 4), np.int64)  # offset, height, width, checksum; height 0: not kept
        self._checked = np.zeros(len(self.paths), bool)
        self._pixels, self._read, self._writes = None, 0, True
        self._refresh()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        i = int(i) % len(self)
        pixels = self._kept(i)
        return self._decode(i) if pixels is None else pixels

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_pixels": None}  # another process maps the file itself

    def size_needed(self) -> int:
        """Bytes that the images still missing will take, by their headers; files that cannot be read count as none."""
        return sum(map(self._bytes, self._missing()))

    def fill(self, *, workers: int | None = None) -> "PixelCache":
        """Decode what is missing, with a progress bar; Pillow decodes outside the interpreter lock, so in threads.

        Several processes may do so together: each takes the images in an order of its own and leaves out what others did.
        ValueError or FileNotFoundError naming all the files that cannot be read; the others are kept then, too.
        """
        self._refresh()
        missing, needed = self._missing(), self.size_needed()
        if not missing or not self._room(needed):
            return self
        pool = Parallel(workers or _cores(), backend="threading", return_as="generator_unordered")
        done = pool(delayed(self._add)(i) for i in np.random.default_rng().permutation(missing).tolist())
        bar = tqdm(done, desc=f"decode {needed / 1e9:.2g} GB", total=len(missing), mininterval=2)
        if refused := sorted((error for error in bar if error), key=str):
            raise type(refused[0])("\n".join(map(str, refused)))
        return self

    def verify(self) -> list[int]:
        """Compare every image kept with its checksum; those that were damaged, decoded and kept anew, are returned."""
        self._checked[:] = False
        damaged = [i for i in np.flatnonzero(self._places[:, 1]).tolist() if self._kept(i) is None]
        for i in damaged:
            self._decode(i)
        return damaged

    def subset(self, numbers: Sequence[int]) -> "Subset":
        """Some of the images, in the order of `numbers`, from this cache."""
        return Subset(self, [int(i) for i in numbers])

    def _missing(self):
        return np.flatnonzero(self._places[:, 1] == 0).tolist()

    def _bytes(self, i):
        try:
            return 3 * math.prod(sides(*_size(self.paths[i])[::-1], self.rule["size"], self.rule["at_least"]))
        except ValueError:  # `fill` tells of it
            return 0

    def _add(self, i):
        try:
            if self._kept(i) is None:  # as far as the last append of this process told; others may have added it since
                self._decode(i)
        except (ValueError, FileNotFoundError) as error:
            return error

    def _kept(self, i):
        """Image i in the store; None where it is missing or damaged."""
        offset, height, width, checksum = self._places[i].tolist()
        end = offset + 3 * height * width
        if not height:
            return None
        if self._pixels is None or end > len(self._pixels):
            if not self.file.exists() or self.file.stat().st_size < end:
                return None
            self._pixels = np.asarray(np.memmap(self.file, np.uint8, "r"))
        pixels = self._pixels[offset:end]
        if not self._checked[i]:
            self._checked[i] = _signed(zlib.crc32(pixels), i, offset, height, width) == checksum
        return pixels.reshape(height, width, 3) if self._checked[i] else None

    def _decode(self, i):
        known = self._places[i].copy()
        pixels = read_image(self.paths[i], **self.rule)
        if self._room(pixels.nbytes):
            self._append(i, known, pixels)
        pixels.flags.writeable = False
        return pixels

    def _append(self, i, known, pixels):
        pixels = np.ascontiguousarray(pixels)
        checksum = zlib.crc32(pixels)
        with _writing, FileLock(self.file.with_suffix(".lock")).acquire(poll_interval=0.002):
            self._refresh()
            if (self._places[i] != known).any():
                return  # another process was faster
            with open(self.file, "ab") as file:
                place = (file.seek(0, os.SEEK_END), *pixels.shape[:2])
                file.write(pixels)
            with open(self.index, "ab") as file:
                file.truncate(file.tell() // 40 * 40)  # of a record cut short by a kill or a full disk
                file.write(np.array([i, *place, _signed(checksum, i, *place)], np.int64).tobytes())
            self._refresh()

    def _refresh(self):
        """Read the records that were added to the index."""
        with _writing:
            if not (self.index.exists() and self.file.exists()):
                return
            records = np.fromfile(self.index, np.int64, offset=self._read)
            records = records[: len(records) // 5 * 5].reshape(-1, 5)
            self._read += records.nbytes
            number, offset, height, width, _ = records.T
            size = self.file.stat().st_size
            sound = (records >= 0).all(1) & (number < len(self)) & (offset + 3 * height * width <= size)
            records = records[sound]
            self._checked[records[:, 0]] = False
            self._places[records[:, 0]] = records[:, 1:]

    def _room(self, needed):
        free = shutil.disk_usage(self.file.parent).free
        if self._writes and needed + SPARE > free:
            self._writes = False
            short = f"{free / 1e9:.3g} GB are free, {needed / 1e9:.2g} GB and {SPARE / 1e9:g} GB to spare are wanted"
            fix = "free some space (`make clean` removes old caches), or name another folder"
            warnings.warn(f"no decoded images are kept in {self.file.parent}, every use decodes: {short}; {fix}", stacklevel=3)
        return self._writes


class Subset(Sequence):
    """Images of a cache by number, as `PixelCache.subset` makes it."""

    def __init__(self, cache: PixelCache, numbers: list[int]):
        self.cache, self.numbers = cache, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.cache[self.numbers[i]]


def _signed(checksum, *place):
    """The checksum of an image's pixels, continued over its number, offset, height and width."""
    return zlib.crc32(np.array(place, np.int64), checksum)


def _cores():
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
