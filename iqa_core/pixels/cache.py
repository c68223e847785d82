"""A store on disk of images decoded once, which whoever wants the same files resized by the same
rule shares.
"""

import hashlib
import json
import math
import os
import secrets
import threading
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ..files import shortage
from .read import Size, image_size, read_image, sides

RULES = 4  # part of every cache's key: raise it when `read_image` or `resize` gives other pixels
NOTHING = b"", {}  # no file is mapped, nothing in it compared
RECORD = 48  # bytes of a record in the index: 6 integers of 64 bits
# a file lock holds off other processes but, on network disks, no threads; this one does
_writing = threading.RLock()


class PixelCache(Sequence):
    """Decoded images of a list of files: `cache[i]` is uint8 (h, w, 3), a read-only view of one
    flat file.

    An image is decoded when it is first asked for, or all by `fill`. The cache is keyed by the
    rules of resizing and by path, size and time of change of every file, so a changed file makes a
    new one. Any number of processes may read and fill it at once, and one may be killed at any
    moment: an image counts as kept once a record with its place and checksum stands in the index,
    and the checksum is compared when a process first reads the image; if it is wrong the file is
    decoded again. Where the disk is short or refuses to be written, which a warning says once,
    nothing more is kept and what is missing is decoded at every use. A store that is deleted, or
    replaced by another, while caches are open gives no wrong pixels either.

    Args:
        paths: of the image files.
        folder: where the cache lies.
        resize, interpolation, at_least: what `resize` is to do with every image before it is kept.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        folder: Path,
        *,
        resize: Size = None,
        interpolation: str = "bilinear",
        at_least: int = 0,
    ):
        self.paths = [Path(p) for p in paths]
        self.rule = {"size": resize, "interpolation": interpolation, "at_least": at_least}
        stats = [
            (str(p), p.stat().st_size, p.stat().st_mtime_ns) if p.exists() else (str(p), 0, 0)
            for p in self.paths
        ]
        key = json.dumps([RULES, self.rule, stats])
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.file = Path(folder) / f"{name}.pixels"  # images, back to back
        # 6 integers a record: an image's number, a row of _places
        self.index = self.file.with_suffix(".index")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # offset, height, width, checksum of the pixels, and of all of it; height 0: not kept
        self._places = np.zeros((len(self.paths), 5), np.int64)
        self._mapped = NOTHING  # the file's bytes; the checksums found right in them, by image
        self._head = b""  # the index's first record
        self._read = 0  # bytes of the index
        self._writes = True
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
        return self.__dict__ | {"_mapped": NOTHING}  # another process maps the file itself

    def size_needed(self) -> int:
        """Bytes that the images still missing will take, by their headers; files that cannot be
        read count as none.
        """
        return sum(map(self._bytes, self._missing()))

    def fill(self, *, workers: int | None = None) -> "PixelCache":
        """Decode what is missing, with a progress bar; Pillow decodes outside the interpreter lock,
        so in threads.

        Several processes may do so together: each takes the images in an order of its own and
        leaves out what others did. ValueError or FileNotFoundError naming all the files that cannot
        be read; the others are kept then, too.
        """
        self._refresh()
        missing, needed = self._missing(), self.size_needed()
        if not missing or not self._room(needed):
            return self
        workers = workers or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        pool = Parallel(workers, backend="threading", return_as="generator_unordered")
        order = np.random.default_rng().permutation(missing).tolist()
        done = pool(delayed(self._add)(i) for i in order)
        bar = tqdm(done, desc=f"decode {needed / 1e9:.2g} GB", total=len(missing), mininterval=2)
        refused = sorted((error for error in bar if error), key=str)
        if refused:
            raise type(refused[0])("\n".join(map(str, refused)))
        return self

    def verify(self) -> list[int]:
        """Compare every image kept with its checksum; those that were damaged, decoded and kept
        anew, are returned.
        """
        self._mapped = NOTHING
        damaged = [i for i in np.flatnonzero(self._places[:, 1]).tolist() if self._kept(i) is None]
        for i in damaged:
            self._decode(i)
        return damaged

    def shape(self, i: int) -> tuple[int, int]:
        """Height and width of image i as it is kept, pixels, without reading it: from the index, or
        from the file's header.
        """
        height, width = self._places[i, 1:3].tolist()
        if height:
            return height, width
        width, height = image_size(self.paths[i])
        return sides(height, width, self.rule["size"], self.rule["at_least"])

    def checksum(self, i: int) -> int:
        """The CRC-32 of image i's pixels, wherever its file lies and whenever it was written."""
        if not self._places[i, 1]:
            return zlib.crc32(np.ascontiguousarray(self[i]))
        return int(self._places[i, 3])

    def _missing(self):
        return np.flatnonzero(self._places[:, 1] == 0).tolist()

    def _bytes(self, i):
        try:
            width, height = image_size(self.paths[i])
            return 3 * math.prod(sides(height, width, self.rule["size"], self.rule["at_least"]))
        except (ValueError, FileNotFoundError):  # `fill` tells of it
            return 0

    def _add(self, i):
        try:
            # as of the last append of this process; others may have added it since
            if self._writes and self._kept(i) is None:
                self._decode(i)
        except (ValueError, FileNotFoundError) as error:
            return error

    def _kept(self, i):
        """Image i in the store; None where it is missing or damaged."""
        place = self._places[i].tolist()
        if not place[1]:
            return None
        pixels = self._look(i, *place)
        return self._look(i, *place) if pixels is None and self._map() else pixels

    def _map(self):
        """Map the file, if there is one; it may be another than before, so nothing in it counts as
        compared.
        """
        try:
            self._mapped = np.asarray(np.memmap(self.file, np.uint8, "r")), {}
        except (OSError, ValueError):  # deleted; empty
            return False
        return True

    def _look(self, i, offset, height, width, checksum, signed):
        file, compared = self._mapped
        pixels = file[offset : offset + 3 * height * width]
        if compared.get(i) != signed:
            found = zlib.crc32(pixels)
            if found != checksum or _signed(found, i, offset, height, width) != signed:
                return None
            compared[i] = signed
        return pixels.reshape(height, width, 3)

    def _decode(self, i):
        known = self._places[i].copy()
        pixels = read_image(self.paths[i], **self.rule)
        if self._room(pixels.nbytes):
            try:
                self._append(i, known, pixels)
            # a quota, a disk that filled up meanwhile, a folder that is gone
            except OSError as error:
                self._stop(error)
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
            record = [i, *place, checksum, _signed(checksum, i, *place)]
            with open(self.index, "ab") as file:
                # a record may have been cut short by a kill or a full disk
                end = file.tell() // RECORD * RECORD
                file.truncate(end)
                if end == 0:  # the first is no image's: it tells one store from the next
                    record = [-1, secrets.randbits(63), 0, 0, 0, 0, *record]
                file.write(np.array(record, np.int64).tobytes())
            self._refresh()

    def _refresh(self):
        """Read the records that were added to the index, or all of them where the store is no
        longer the same.
        """
        with _writing:
            try:
                with open(self.index, "rb") as file:
                    head = file.read(RECORD)
                    end = file.seek(0, os.SEEK_END)
                    if head != self._head or end < self._read:
                        self._head = head
                        self._read = 0
                        self._places[:] = 0
                    file.seek(self._read)
                    added = file.read((end - self._read) // RECORD * RECORD)
                records = np.frombuffer(added, np.int64).reshape(-1, 6)
                size = self.file.stat().st_size  # after the index, whose records come last
            except FileNotFoundError:
                return
            self._read += records.nbytes
            number, offset, height, width, *_ = records.T
            inside = offset + 3 * height * width <= size
            sound = (records >= 0).all(1) & (number < len(self)) & inside
            self._places[number[sound]] = records[sound, 1:]

    def _room(self, needed):
        try:
            short = shortage(self.file.parent, needed)
        except OSError as error:
            short = error
        if short:
            self._stop(short)
        return self._writes

    def _stop(self, why):
        """Keep nothing more, and say so once."""
        with _writing:
            writes, self._writes = self._writes, False
        if writes:
            warnings.warn(
                f"no more decoded images are kept in {self.file.parent}, what is missing is "
                f"decoded at every use: {why}; free some space (delete this folder while nothing "
                f"runs) and start again, or name another folder",
                stacklevel=4,
            )


def _signed(checksum, *place):
    """The checksum of an image's pixels, continued over its number, offset, height and width."""
    return zlib.crc32(np.array(place, np.int64), checksum)
