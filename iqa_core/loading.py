"""Crops of decoded images: a fixed grid for evaluation, random ones for training."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

FLIPS = {"none": (0, 0, 0), "horizontal": (0.5, 0, 0), "all": (0.5, 0.5, 0.5)}  # chances: across, down, transposed


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
        raise ValueError(
            f"an image of {width}x{height} is smaller than the crop of {crop}; enlarge it (pixels.resize(image, None, "
            f"at_least={crop})) or use a smaller crop"
        )


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
        patch = patch.swapaxes(0, 1) if turned else patch
        for channels in (0, 1, 2) if across or turned else (slice(None),):  # 5 times faster than whole pixels turned round
            out[k, ..., channels] = patch[..., channels]
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
