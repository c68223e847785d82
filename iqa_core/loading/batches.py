"""Crops of decoded images: a fixed grid for evaluation, random ones for training."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import torch

from .jitter import draw_jitter
from .views import FEATURES, check_size

FLIPS = {  # chances: across, down, transposed
    "none": (0, 0, 0),
    "horizontal": (0.5, 0, 0),
    "vertical": (0, 0.7, 0),  # MANIQA's code, whose horizontal flip turns the rows round
    "all": (0.5, 0.5, 0.5),
}


def random_crops(
    images: Sequence[np.ndarray],
    numbers: Sequence[int],
    *,
    crop: int,
    generator: np.random.Generator,
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
    flips: str = "horizontal",
    share: tuple[int, int] = (0, 1),
) -> torch.Tensor:
    """One random crop of each numbered image -> uint8 (n, 3, crop, crop). `prepare`: what is done
    to the image before.

    `flips`: none; horizontal, with probability one half; vertical, with .7; or all, one of the
    eight flips and quarter turns of a square. `share`: (first, step) of the crops that are cut; all
    are drawn, so that what is cut does not depend on it."""
    if flips not in FLIPS:
        raise ValueError(f"flips is {flips!r}; there are {', '.join(FLIPS)}")
    cut = range(share[0], len(numbers), share[1])
    out = np.empty((len(cut), crop, crop, 3), np.uint8)
    for k, i in enumerate(numbers):
        image = prepare(images[i])
        check_size(*image.shape[:2], crop)
        top, left = generator.integers(0, (image.shape[0] - crop + 1, image.shape[1] - crop + 1))
        patch = image[top : top + crop, left : left + crop]
        across, down, turned = generator.random(3) < FLIPS[flips]
        if k not in cut:
            continue
        patch = patch[:: -1 if down else 1, :: -1 if across else 1]
        patch = patch.swapaxes(0, 1) if turned else patch
        for channels in (
            (0, 1, 2) if across or turned else (slice(None),)
        ):  # 5 times faster than whole pixels turned round
            out[cut.index(k), ..., channels] = patch[..., channels]
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def random_features(
    images: Sequence[np.ndarray], numbers: Sequence[int], *, generator, share=(0, 1)
) -> torch.Tensor:
    """Features (n, f) of a random one of the crops of each numbered image; `share` as for
    `random_crops`.
    """
    picks = zip(numbers, generator.integers(len(images[0]), size=len(numbers)), strict=True)
    return torch.from_numpy(np.stack([images[i][k] for i, k in list(picks)[share[0] :: share[1]]]))


class Batches:
    """Batches of random crops, epoch after epoch without end, that can be taken up again anywhere.

    In an epoch every image comes `crops_per_image` times, in random order; a last batch of less
    than half the size is left out, so that no step follows one or two images. `next` gives uint8
    crops (b, 3, crop, crop), float labels (b,) or (b, k), and what `augment.jitter` wants beside
    the crops (None without `colour_jitter`). Images may be features: then `next` gives those of a
    random one of their crops, (b, f). Of several processes, given as `share` = (rank, processes),
    all draw the same, and each cuts and gets every so manieth crop of the batch, but all labels.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        labels: np.ndarray,
        *,
        crop: int,
        batch_size: int,
        crops_per_image: int,
        generator: np.random.Generator,
        prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
        flips: str = "horizontal",
        colour_jitter: bool = False,
        share: tuple[int, int] = (0, 1),
    ):
        self.images, self.labels, self.batch_size, self.generator = (
            images,
            labels.astype(np.float32),
            batch_size,
            generator,
        )
        self.crops = dict(crop=crop, prepare=prepare, flips=flips, share=share)
        self.numbers, self.colour_jitter = (
            np.tile(np.arange(len(images)), crops_per_image),
            colour_jitter,
        )
        self.order, self.taken = self.numbers, 0  # of the epoch; batches taken in all

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.numbers), self.batch_size)
        return max(1, full + (rest > 0 and rest >= self.batch_size / 2))

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor, tuple | None]:
        if self.taken % len(self) == 0:
            self.order = self.generator.permutation(self.numbers)
        start = self.taken % len(self) * self.batch_size
        numbers = self.order[start : start + self.batch_size]
        if self.images[0].dtype == FEATURES:
            crops, colours = (
                random_features(
                    self.images, numbers, generator=self.generator, share=self.crops["share"]
                ),
                None,
            )
        else:
            crops, colours = (
                random_crops(self.images, numbers, **self.crops, generator=self.generator),
                None,
            )
        if self.colour_jitter:
            order, amounts = draw_jitter(self.generator, len(numbers))
            first, step = self.crops["share"]
            colours = order, amounts[first::step]
        self.taken += 1
        return crops, torch.from_numpy(self.labels[numbers]), colours

    def state_dict(self) -> dict:
        """The order of this epoch, how far it is taken, and the generator: tensors, numbers and
        text.
        """
        generator = json.dumps(self.generator.bit_generator.state)
        return {"order": torch.from_numpy(self.order), "taken": self.taken, "generator": generator}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was asked for."""
        self.order, self.taken = state["order"].numpy(), state["taken"]
        self.generator.bit_generator.state = json.loads(state["generator"])
