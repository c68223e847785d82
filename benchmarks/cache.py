"""What does an epoch of 25 random crops an image cost from the pixel cache, against the published
and the usual loaders?

python benchmarks/cache.py: CPU seconds, workers included, of three ways to the same crops of 224
from the same photographs at 512 x 384, side by side in one process, and their ratios; then how busy
building a cache keeps the cores. About a minute.

decode per crop  the file opened, decoded, resized and cropped for every crop, as HyperIQA's loader
                 does
small copies     a copy of 512 x 384 of every file, made beforehand (not counted), decoded for every
                 crop by torch's DataLoader in worker processes: PNG or JPEG, whichever is decoded
                 in less time
cache            `PixelCache` built beforehand (not counted) and opened anew: every checksum is
                 compared once

Photographs: parts of the demo's, enlarged to 1024 x 768, with noise of 3 grey levels so that they
compress like a camera's, as JPEG of quality 90 to 95; the 1,000 of which a cache is built are those
again under other names. All ways give batches of 96 uint8 crops, half of them mirrored; none
converts them to floats.
"""

import itertools
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from iqa_core.loading import Batches, Samples
from iqa_core.models import Contract, Objective
from iqa_core.pixels.cache import PixelCache
from iqa_core.runs import project_root

PHOTOGRAPHS, BLOCKS, CROPS, SIZE = 160, 4, 25, (384, 512)


class Decoded(Dataset):
    """Crops by number, each from a file that is decoded for it; `resize`: and resized."""

    def __init__(self, files: list[Path], *, resize: bool):
        self.files, self.resize = files * CROPS, resize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        with Image.open(self.files[i]) as file:
            image = file.convert("RGB")
        if self.resize:
            image = image.resize(SIZE[::-1], Image.Resampling.BILINEAR)
        if np.random.random() < 0.5:  # noqa: NPY002 - as the loaders do
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        top, left = (int(torch.randint(side - 224 + 1, ())) for side in SIZE)
        crop = np.array(image.crop((left, top, left + 224, top + 224)))
        return torch.from_numpy(crop).permute(2, 0, 1)


def photographs(folder: Path) -> list[Path]:
    """Camera-like JPEGs of 1024 x 768."""
    random, files = np.random.default_rng(0), []
    paths = sorted((project_root() / "data/demo").glob("*.png"))
    sources = [Image.open(path).convert("RGB") for path in paths]
    for number in range(PHOTOGRAPHS):
        source = sources[number % len(sources)]
        left, top = random.integers(0, (source.width // 4, source.height // 4))
        box = (left, top, left + source.width * 3 // 4, top + source.height * 3 // 4)
        enlarged = source.resize((1024, 768), Image.Resampling.BICUBIC, box=box)
        pixels = np.asarray(enlarged, np.float32)
        noise = random.normal(0, 3, pixels.shape).astype(np.float32)
        photograph = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
        files.append(folder / f"{number:04}.jpg")
        photograph.save(files[-1], quality=int(random.integers(90, 96)))
    return files


def small_copies(files: list[Path]) -> list[Path]:
    """Copies of 512 x 384 as PNG or JPEG, whichever is decoded faster."""
    taken, copies = {}, {}
    for ending, how in ((".png", {"compress_level": 1}), (".jpeg", {"quality": 95})):
        copies[ending] = [file.with_suffix(ending) for file in files]
        for file, copy in zip(files, copies[ending], strict=True):
            Image.open(file).resize(SIZE[::-1], Image.Resampling.BILINEAR).save(copy, **how)
        start = time.process_time()
        for copy in copies[ending]:
            Image.open(copy).load()
        taken[ending] = time.process_time() - start
    fastest = min(taken, key=taken.get)
    each = ", ".join(
        f"{ending[1:]} {seconds / len(files) * 1e3:.2f} ms" for ending, seconds in taken.items()
    )
    print(f"decoding a small copy: {each}")
    return copies[fastest]


def cpu() -> float:
    """CPU seconds of this process and its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def epoch(way: str, files: list[Path], copies: list[Path], folder: Path) -> float:
    """CPU seconds of an epoch."""
    start = cpu()
    if way == "cache":
        cache, labels = PixelCache(files, folder, resize=SIZE), np.zeros(len(files))
        table = pd.DataFrame({"label": labels})
        data = Batches(
            Samples({"image": cache}, table),
            Contract("this benchmark"),
            Objective(),
            batch_size=96,
            crops_per_image=CROPS,
            generator=np.random.default_rng(0),
        )
        count = sum(len(batch.rows) for batch in itertools.islice(data, len(data)))
    else:
        if way == "decode per crop":
            data, workers = Decoded(files, resize=True), 0
        else:
            data, workers = Decoded(copies, resize=False), os.cpu_count()
        count = sum(len(crops) for crops in DataLoader(data, 96, shuffle=True, num_workers=workers))
    assert count >= len(files) * CROPS - 48, "half a batch may be left out"
    return cpu() - start


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder)
        copies, each = small_copies(files), PHOTOGRAPHS // BLOCKS
        total = dict.fromkeys(("decode per crop", "small copies", "cache"), 0.0)
        for first in range(0, PHOTOGRAPHS, each):
            some, theirs = files[first : first + each], copies[first : first + each]
            PixelCache(some, folder / "cache", resize=SIZE).fill()
            taken = {way: epoch(way, some, theirs, folder / "cache") for way in total}
            total = {way: total[way] + taken[way] for way in total}
            print(
                f"  {each} photographs:",
                ", ".join(f"{way} {seconds:.2f} s" for way, seconds in taken.items()),
            )
        for way, seconds in total.items():
            crop = seconds / PHOTOGRAPHS / CROPS * 1e3
            times = seconds / total["cache"]
            print(f"{way:16} {crop:6.3f} ms of CPU a crop, {times:5.1f} times the cache's")

        many = []
        for number in range(1000):
            copy, place = divmod(number, PHOTOGRAPHS)
            many.append(folder / f"{copy}-{files[place].name}")
            many[-1].hardlink_to(files[place])
        cache = PixelCache(many, folder / "thousand", resize=SIZE)
        wanted, load = cache.size_needed(), os.getloadavg()[0]
        start, used = time.perf_counter(), cpu()
        cache.fill(workers=os.cpu_count())
        seconds, used = time.perf_counter() - start, cpu() - used
        print(
            f"building 1,000 photographs, {wanted / 1e9:.2f} GB: {seconds:.1f} s, {used:.1f} s of "
            f"CPU, {used / seconds:.2f} of {os.cpu_count()} cores busy; load average before "
            f"{load:.1f}"
        )


if __name__ == "__main__":
    main()
