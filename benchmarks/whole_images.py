"""What does it cost MUSIQ to train on images of mixed size: batches alike in length, one image
after the other, or everything filled up to the largest?

python benchmarks/whole_images.py: a small MUSIQ (4 layers of 192; give --full for the published
one, on a GPU) on made-up images of 24 sizes, from 224 x 160 to 512 x 384 pixels. All ways do the
same number of images an epoch in one process, turn by turn; printed are medians over rounds, and
ratios within a round.

alike       `loading.Batches`: batches of similar length, shorter ones filled up and masked
shuffled    batches of any lengths, filled up to their longest and masked
largest     every image laid on grey of the size of the largest, as a network without masks needs it
one by one  batches of one image
"""

import argparse
import os
import platform
import time

import numpy as np
import pandas as pd
import torch

from iqa_core.loading import Samples
from iqa_core.models import create_model
from iqa_core.training import Recipe
from iqa_core.training.step import set_up, take_step

BATCH, ROUNDS = 8, 5
SMALL = dict(scales=[224], patch_encoder="conv", width=192, depth=4, heads=3, mlp=576)
SIZES = [(h, w) for w in (224, 320, 416, 512) for h in (160, 192, 224, 256, 320, 384)]


def made_up() -> list[np.ndarray]:
    """Two noisy images of every size."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in SIZES * 2]


def on_grey(images: list[np.ndarray]) -> list[np.ndarray]:
    """All images laid on grey of the largest's size."""
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    laid = []
    for image in images:
        canvas = np.full((height, width, 3), 128, np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        laid.append(canvas)
    return laid


def same_length(model, height: int, width: int) -> int:
    """A length that tells no image from another, so that batches are drawn from all of them."""
    return 1


def training(images: list[np.ndarray], batch_size: int, arguments: dict, **changes):
    """A training of one epoch, set up."""
    torch.manual_seed(0)
    model = create_model("musiq", **arguments, pretrained=False).train()
    objective = type(model.objective)(**vars(model.objective) | changes)
    recipe = Recipe(
        epochs=1000,
        batch_size=batch_size,
        backbone_parts=["patches"],
        backbone_lr=1e-5,
        head_lr=1e-5,
        weight_decay=0.0,
        precision="bf16-mixed" if torch.cuda.is_available() else "32-true",
    )
    table = pd.DataFrame({"label": np.linspace(0, 1, len(images))})
    sets = {"train": Samples({"image": images}, table)}
    return set_up(model, objective, recipe, sets, np.random.default_rng(0))


def main() -> None:
    parser = argparse.ArgumentParser(description="MUSIQ on images of mixed size")
    parser.add_argument("--full", action="store_true", help="the published MUSIQ")
    arguments = {} if parser.parse_args().full else SMALL
    images = made_up()
    ways = {
        "alike": training(images, BATCH, arguments),
        "shuffled": training(images, BATCH, arguments, length=same_length),
        "largest": training(on_grey(images), BATCH, arguments),
        "one by one": training(images, 1, arguments),
    }
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load "
        f"average {os.getloadavg()[0]:.1f}; torch {torch.__version__}; {len(images)} images"
    )
    rows = []
    for number in range(ROUNDS + 1):
        for way, set_up_training in ways.items():
            batches, start = set_up_training.batches, time.perf_counter()
            for _ in range(len(batches)):
                take_step(set_up_training, batches.taken)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds = (time.perf_counter() - start) / len(images)
            if number:  # the first round warms up
                rows.append({"round": number, "way": way, "ms an image": 1e3 * seconds})
    table = pd.DataFrame(rows).pivot(index="round", columns="way", values="ms an image")[list(ways)]
    ratios = table.div(table["alike"], axis=0).median()
    medians = table.median()
    print(pd.DataFrame({"ms an image": medians, "times alike": ratios}).round(2).to_string())


if __name__ == "__main__":
    main()
