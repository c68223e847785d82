"""How fast are images scored, beside pyiqa 0.1.16, on one thread of this machine?

HyperIQA (25 crops of 224), MUSIQ (whole images, pyiqa's conventions) and MANIQA (a few crops of
224; 20 are its contract) score the same JPEG files of 1024 x 768 pixels, made of the demo's
photographs. Both sides build the same networks with random weights, one after the other in one
process, turn by turn; printed are CPU seconds an image, the least of all rounds.

    pip install --target ENV --no-deps pyiqa==0.1.16 einops addict opencv-python-headless
    OMP_NUM_THREADS=1 python benchmarks/scoring.py --pyiqa ENV

ENV is any folder outside the repository. `--no-deps` because pyiqa asks for much that these three
models do not need; torch, timm, numpy and Pillow are this environment's own. pyiqa's licence is
non-commercial: it is called here, and nothing of it is part of this workbook.

end to end    from the files: decoding, crops, the network, scores
model         the network alone, crops or the image ready as a float32 tensor
decode        share of the end-to-end time that reading the JPEG takes
products      share of the model's time that matrix products and convolutions take, by the profiler
GFLOP/s       of the model, fused attention not counted; `peak` is a 2048 x 1024 x 1024 product's
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pandas as pd
import timm
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from iqa_core import evaluation
from iqa_core.loading.views import batch, evaluation_views, floats
from iqa_core.models import create_model
from iqa_core.pixels import read_image

PHOTOGRAPHS = Path(__file__).parents[1] / "data/demo"
SIZE = (1024, 768)  # width and height, pixels
PRODUCTS = ("addmm", "mm", "bmm", "baddbmm", "convolution", "attention", "conv2d")


def make_jpegs(folder: Path, count: int) -> list[Path]:
    """So many of the demo's photographs, enlarged, as JPEG files."""
    files = []
    for photograph in sorted(PHOTOGRAPHS.glob("*.png"))[:count]:
        image = Image.open(photograph).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        files.append(folder / f"{photograph.stem}.jpg")
        image.save(files[-1], quality=90)
    return files


def their_network(name: str, crops: int | None) -> torch.nn.Module:
    """pyiqa's network with random weights; its backbone would fetch ImageNet's in spite of
    `pretrained=False`.
    """
    from pyiqa.archs.hypernet_arch import HyperNet
    from pyiqa.archs.maniqa_arch import MANIQA
    from pyiqa.archs.musiq_arch import MUSIQ

    create, timm.create_model = timm.create_model, without_weights(timm.create_model)
    try:
        if name == "hyperiqa":
            network = HyperNet(num_crop=crops, pretrained=False)
        elif name == "maniqa":
            network = MANIQA(test_sample=crops, scale=0.8, pretrained=False)
        else:
            network = MUSIQ(pretrained=False)
    finally:
        timm.create_model = create
    return network.eval()


def without_weights(create):
    """timm's `create_model`, which then never looks for weights."""

    def untrained(name, pretrained=False, **options):
        return create(name, pretrained=False, **options)

    return untrained


def from_file(scorer, crops: int | None, file: Path) -> float:
    """The score of a file, all the way."""
    return evaluation.predict(scorer, [read_image(file)], crops=crops)[0]


@torch.inference_mode()
def their_from_file(network, file: Path) -> float:
    """pyiqa's way from a file to a score, without the fetching of weights."""
    from pyiqa.utils.img_util import imread2tensor

    return network(imread2tensor(str(file), rgb=True)[None]).item()


@torch.inference_mode()
def from_tensor(scorer, views: torch.Tensor) -> torch.Tensor:
    """Scores of views that are ready."""
    with evaluation.computing(scorer):
        return scorer(views)


def products(call) -> float:
    """Share of a call's time in matrix products and convolutions."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    seconds = {event.key: event.self_cpu_time_total / 1e6 for event in profile.key_averages()}
    inside = sum(value for key, value in seconds.items() if key.endswith(PRODUCTS))
    inside += sum(value for key, value in seconds.items() if "flash_attention" in key)
    return inside / sum(seconds.values())


def least_seconds(ways: dict, rounds: int) -> dict[str, float]:
    """CPU seconds of each way, the least of its rounds; all ways take turns."""
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for way, call in ways.items():
            start = time.process_time()
            call()
            least[way] = min(least[way], time.process_time() - start)
    return least


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of one large matrix product."""
    tokens, weight = torch.ones(2048, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    call = partial(torch.nn.functional.linear, tokens, weight)
    return 2 * 2048 * 1024 * 1024 / least_seconds({"product": call}, 5)["product"] / 1e9


def compare(name: str, crops: int | None, files: list[Path], rounds: int) -> dict:
    """One model's seconds and ratios."""
    arguments = {"convention": "pyiqa"} if name == "musiq" else {}
    torch.manual_seed(0)
    model = create_model(name, **arguments, pretrained=False)
    scorers = {how: evaluation.prepared(model, precision=how) for how in evaluation.PRECISIONS}
    theirs = their_network(name, crops)

    image = read_image(files[0])
    arrays = evaluation_views({"image": image}, model.contract, crops=crops)
    views = floats(batch(arrays), "cpu", torch.float32)
    whole = floats(batch([image[None]]), "cpu", torch.float32).contiguous()
    ways = {"decode": partial(read_image, files[0])}
    ways["theirs"] = lambda: [their_from_file(theirs, file) for file in files]
    ways["their model"] = torch.inference_mode()(partial(theirs, whole))
    for how, scorer in scorers.items():
        ways[how] = lambda scorer=scorer: [from_file(scorer, crops, file) for file in files]
        ways[f"{how} model"] = partial(from_tensor, scorer, views)
    seconds = least_seconds(ways, rounds)
    for way in ("theirs", *scorers):
        seconds[way] /= len(files)

    with FlopCounterMode(display=False) as counter:
        from_tensor(scorers["fp32"], views)
    row = {"model": name, "pyiqa s": seconds["theirs"], "pyiqa model s": seconds["their model"]}
    for how in scorers:
        row |= {
            f"{how} s": seconds[how],
            f"{how} ratio": seconds["theirs"] / seconds[how],
            f"{how} model s": seconds[f"{how} model"],
            f"{how} model ratio": seconds["their model"] / seconds[f"{how} model"],
            f"{how} decode": seconds["decode"] / seconds[how],
            f"{how} products": products(ways[f"{how} model"]),
            f"{how} GFLOP/s": counter.get_total_flops() / 1e9 / seconds[f"{how} model"],
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="scoring beside pyiqa")
    parser.add_argument("--pyiqa", type=Path, required=True, help="the folder pyiqa is in")
    parser.add_argument("--models", nargs="+", default=["hyperiqa", "musiq", "maniqa"])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--maniqa-crops", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sys.path.append(str(given.pyiqa))
    crops = {"hyperiqa": 25, "musiq": None, "maniqa": given.maniqa_crops}
    print(
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads, load average {os.getloadavg()[0]:.1f}; torch "
        f"{torch.__version__}; peak {peak(torch.float32):.0f} GFLOP/s fp32, "
        f"{peak(torch.bfloat16):.0f} bf16"
    )
    with tempfile.TemporaryDirectory() as folder:
        files = make_jpegs(Path(folder), given.images)
        rows = [compare(name, crops[name], files, given.rounds) for name in given.models]
    print(pd.DataFrame(rows).set_index("model").T.round(3).to_string())


if __name__ == "__main__":
    main()
