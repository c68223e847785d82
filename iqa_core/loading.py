"""Pixels: decoded once into a cache on disk, cropped many times from there."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from tqdm.auto import tqdm

FLIPS = {"none": (0, 0, 0), "horizontal": (0.5, 0, 0), "all": (0.5, 0.5, 0.5)}  # chances: across, down, transposed


def read_image(path: Path) -> np.ndarray:
    """Decode an image file to uint8 RGB (h, w, 3).

    FileNotFoundError for a missing file, ValueError for one that cannot be decoded; both name it and the fix.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is missing; paths in a table are relative to the project root") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"image {path} cannot be decoded ({error}); replace the file (delete it if a notebook made it), or drop its row"
        ) from error


class PixelCache(Sequence):
    """Decoded images of a list of files: `cache[i]` is uint8 (h, w, 3), read from one flat file, never decoded twice.

    An image is decoded when it is first asked for, or all by `fill`. The cache is keyed by path, size and time of
    change of every file, so a changed file makes a new one; an interrupted fill goes on where it stopped.
    """

    def __init__(self, paths: Sequence[Path], folder: Path):
        self.paths = [Path(p) for p in paths]
        stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) if p.exists() else (str(p), 0, 0) for p in self.paths]
        self.file = Path(folder) / f"{hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]}.pixels"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.index_file = self.file.with_suffix(".json")  # {image number: (offset, height, width)}
        self.index = self._read_index()
        self._pixels = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        i = int(i) % len(self)
        if i not in self.index:
            self._append([(i, self._decode(i))])
        offset, height, width = self.index[i]
        if self._pixels is None or offset + height * width * 3 > len(self._pixels):
            self._pixels = np.memmap(self.file, np.uint8, "r")
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    def fill(self, *, workers: int | None = None) -> "PixelCache":
        """Decode what is missing, with a progress bar; Pillow decodes outside the interpreter lock, so in threads."""
        missing = [i for i in range(len(self)) if i not in self.index]
        workers = workers or torch.get_num_threads()
        with ThreadPoolExecutor(workers) as pool:
            for start in tqdm(range(0, len(missing), 64), desc="decode", unit="x64", disable=not missing, mininterval=2):
                some = missing[start : start + 64]
                self._append(list(zip(some, pool.map(self._decode, some), strict=True)))
        return self

    def subset(self, numbers: Sequence[int]) -> "Subset":
        """Some of the images, in the order of `numbers`, from this cache."""
        return Subset(self, [int(i) for i in numbers])

    def _decode(self, i):
        return read_image(self.paths[i])

    def _read_index(self):
        done = json.loads(self.index_file.read_text()) if self.index_file.exists() and self.file.exists() else {}
        return {int(i): tuple(place) for i, place in done.items()}

    def _append(self, images):
        with FileLock(self.file.with_suffix(".lock")), open(self.file, "ab") as file:
            self.index = self._read_index()  # another process may have added to it
            for i, pixels in images:
                self.index[i] = (file.seek(0, os.SEEK_END), *pixels.shape[:2])
                file.write(pixels.tobytes())
            file.flush()
            draft = self.index_file.with_suffix(".part")
            draft.write_text(json.dumps(self.index))
            draft.replace(self.index_file)


class Subset(Sequence):
    """Images of a cache by number, as `PixelCache.subset` makes it."""

    def __init__(self, cache: PixelCache, numbers: list[int]):
        self.cache, self.numbers = cache, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.cache[self.numbers[i]]


def resize(image: np.ndarray, size: int | tuple[int, int] | None, interpolation: str = "bilinear") -> np.ndarray:
    """A uint8 image (h, w, 3) by Pillow to that shorter side or that (height, width); untouched for None.

    The longer side is cut to whole pixels, as torchvision does.
    """
    height, width = image.shape[:2]
    if isinstance(size, int):
        size = (size, size * width // height) if height <= width else (size * height // width, size)
    if size is None or tuple(size) == (height, width):
        return image
    how = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), how))


def grid(height: int, width: int, *, crop: int, crops: int | None) -> list[tuple[int, int]]:
    """Top-left corners of `crops` square crops: an even grid whose outer crops touch all four borders.

    One crop is the centre, placed as torchvision does. None: as few as cover the image. Otherwise rows and columns are the
    factors of `crops` nearest to the image's shape.
    ValueError if the image is smaller than the crop.
    """
    _check_size(height, width, crop)
    if crops is None:
        return _corners(height, width, crop, -(-height // crop), -(-width // crop))
    if crops < 1:
        raise ValueError(f"crops is {crops}; at least 1 is wanted")
    if crops == 1:
        return [(round((height - crop) / 2), round((width - crop) / 2))]
    shapes = [(r, crops // r) for r in range(2, crops // 2 + 1) if crops % r == 0]
    if not shapes:
        raise ValueError(f"{crops} crops make no grid that reaches all borders; use 1, 4, 6, 9, 12, 16, 20 or 25")
    return _corners(height, width, crop, *min(shapes, key=lambda s: abs(np.log(s[1] / s[0] * height / width))))


def _corners(height, width, crop, rows, columns):
    tops = np.linspace(0, height - crop, rows).round().astype(int)
    lefts = np.linspace(0, width - crop, columns).round().astype(int)
    return [(int(t), int(left)) for t in tops for left in lefts]


def _check_size(height, width, crop):
    if min(height, width) < crop:
        raise ValueError(f"an image of {width}x{height} is smaller than the crop of {crop}; enlarge it or use a smaller crop")


def random_crops(
    images: Sequence[np.ndarray],
    numbers: Sequence[int],
    *,
    crop: int,
    generator: np.random.Generator,
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
    flips: str = "horizontal",
) -> torch.Tensor:
    """One random crop of each numbered image -> uint8 (n, 3, crop, crop). `prepare`: what is done to the image before.

    `flips`: none; horizontal, with probability one half; or all, one of the eight flips and quarter turns of a square.
    """
    if flips not in FLIPS:
        raise ValueError(f"flips is {flips!r}; there are {', '.join(FLIPS)}")
    out = np.empty((len(numbers), crop, crop, 3), np.uint8)
    for k, i in enumerate(numbers):
        image = prepare(images[i])
        _check_size(*image.shape[:2], crop)
        top, left = generator.integers(0, (image.shape[0] - crop + 1, image.shape[1] - crop + 1))
        patch = image[top : top + crop, left : left + crop]
        across, down, turned = generator.random(3) < FLIPS[flips]
        patch = patch[:: -1 if down else 1, :: -1 if across else 1]
        out[k] = patch.swapaxes(0, 1) if turned else patch
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def batches(
    images: Sequence[np.ndarray],
    labels: np.ndarray,
    *,
    crop: int,
    batch_size: int,
    crops_per_image: int,
    generator: np.random.Generator,
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
    flips: str = "horizontal",
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch: every image `crops_per_image` times in random order -> uint8 (b, 3, crop, crop), float labels (b,).

    A last batch of less than half the size is left out, so that no step follows one or two images.
    """
    order = generator.permutation(np.tile(np.arange(len(images)), crops_per_image))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        if len(numbers) >= batch_size / 2 or start == 0:
            crops = random_crops(images, numbers, crop=crop, generator=generator, prepare=prepare, flips=flips)
            yield crops, torch.from_numpy(labels[numbers].astype(np.float32))
