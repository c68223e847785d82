"""A store on disk of images decoded once, which whoever wants the same files resized by the same rule shares."""

import hashlib
import json
import math
import os
import shutil
import threading
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from .pixels import Size, image_size, read_image, sides

RULES = 1  # part of every cache's key: raise it when `read_image` or `resize` gives other pixels
SPARE = 10**9  # bytes of a disk that a cache leaves free
_writing = threading.RLock()  # file locks hold off other processes; this one, threads


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
            return 3 * math.prod(sides(*image_size(self.paths[i])[::-1], self.rule["size"], self.rule["at_least"]))
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
