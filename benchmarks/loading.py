"""What does a training crop cost from the pixel cache, against decode-resize-crop of the file for each patch?

python benchmarks/loading.py: CPU seconds of both ways on the same photographs, side by side in one process, and their ratio.
Patches: 224 x 224 of 512 x 384 images; files are JPEGs of four times the pixels, as KonIQ-10k's 1024 x 768 ones.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from iqa_core.loading import PixelCache, random_crops
from iqa_core.runs import project_root

PATCHES = 25  # of an image and epoch, as HyperIQA's code takes


def decode_resize_crop(path: Path, generator: np.random.Generator) -> np.ndarray:
    """One patch the published way: decode the file, resize to 512 x 384, crop."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((512, 384), Image.Resampling.BILINEAR))
    top, left = generator.integers(0, (384 - 224 + 1, 512 - 224 + 1))
    return pixels[top : top + 224, left : left + 224].copy()


def main() -> None:
    photos = sorted((project_root() / "data/demo").glob("*.png"))[:12]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{photo.stem}.jpg" for photo in photos]
        small = [Path(folder) / f"{photo.stem}.png" for photo in photos]
        for photo, large, reduced in zip(photos, files, small, strict=True):
            with Image.open(photo) as image:
                image.resize((1024, 768)).save(large, quality=95)
                image.save(reduced)
        cache, generator = PixelCache(small, Path(folder) / "cache").fill(), np.random.default_rng(0)
        for _ in range(3):
            start = time.process_time()
            for path in files:
                for _ in range(PATCHES):
                    decode_resize_crop(path, generator)
            published = time.process_time() - start
            start = time.process_time()
            for i in range(len(files)):
                random_crops(cache, [i] * PATCHES, crop=224, generator=generator)
            cached = time.process_time() - start
            each = len(files) * PATCHES
            slow, fast = published / each * 1e3, cached / each * 1e3
            print(f"{slow:.2f} ms a patch decoded, {fast:.3f} ms cached: {slow / fast:.0f}x less CPU")


if __name__ == "__main__":
    main()
