"""What do very large and very long pictures cost MUSIQ, in memory and in time?

python benchmarks/large_images.py: one picture after the other, scored by `evaluation.predict` in a
process of its own; three minutes on two cores, 1.5 GB. The published MUSIQ, and notebook 06's small
one, both with random weights.

tokens       patches of all scales, and the scored token
growth       by how much scoring raised the most memory that the process held (getrusage)
picture      the picture in float32; growth is 5 to 8 copies of it where it is large
all encoded  what all encoded patches would take at once; they are embedded 256 at a time
attention    what the weights of one layer would take; the fused kernel never holds them all
"""

import argparse
import multiprocessing
import os
import platform
import resource
import time

import numpy as np
import pandas as pd
import torch

from iqa_core.evaluation import predict
from iqa_core.models import create_model, musiq

MODELS = {
    "published": {},
    "small": dict(patch_encoder="tf_efficientnet_lite0", width=96, depth=3, heads=3, mlp=192),
}
SIZES = {  # height, width
    "512x384": (384, 512),
    "1920x1080": (1080, 1920),
    "strip, 64x2000": (2000, 64),
    "4000x3000": (3000, 4000),
}
MB = 1e6


def held() -> float:
    """The most memory that this process has held, MB."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def cost(arguments: dict, height: int, width: int) -> dict:
    """What scoring one noisy picture costs; the process has scored a small one before."""
    torch.manual_seed(0)
    network = create_model("musiq", **arguments, pretrained=False)
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (height, width, 3), np.uint8)
    predict(network, [picture[:64, :64]])
    before, start = held(), time.perf_counter()
    predict(network, [picture])
    seconds, growth = time.perf_counter() - start, held() - before
    network.max_seq_len = height * width  # of `length`, which counts what training reads
    tokens = 1 + musiq.length(network, height, width)
    heads = network.blocks[0].attention.heads
    return {
        "tokens": tokens,
        "seconds": seconds,
        "growth": growth,
        "picture": 4 * picture.size / MB,
        "all encoded": 4 * tokens * network.embed.in_features / MB,
        "attention": 4 * heads * tokens**2 / MB,
    }


def main() -> None:
    argparse.ArgumentParser(description="MUSIQ on large images").parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; "
        f"torch {torch.__version__}; memory in MB"
    )
    forked = multiprocessing.get_context("fork")
    rows = []
    for model, arguments in MODELS.items():
        for name, size in SIZES.items():
            with forked.Pool(1) as process:
                found = process.apply(cost, (arguments, *size))
            rows.append({"MUSIQ": model, "picture of": name, **found})
    table = pd.DataFrame(rows).set_index(["MUSIQ", "picture of"])
    whole = dict.fromkeys(table.columns.drop("seconds"), "{:,.0f}".format)
    print(table.to_string(formatters=whole | {"seconds": "{:.1f}".format}))


if __name__ == "__main__":
    main()
