"""How much faster is a training step of SMART-IQA here than in the published code, and what do
TF32, bf16 and compiling add?

python benchmarks/training.py: a step is forward, L1, backward, clipping, AdamW; network (no
pretrained weights), batch, crops and strength of jitter are the same, images made up, all ways in
one process, turn by turn. With a GPU Swin-Base in batches of 96, some minutes; without one
Swin-Tiny in batches of 8, two minutes or so, which does not answer the question.

published, kept     fp32; images resized once, then flip, crop and jitter by PIL, no workers; the
                    loss is read at every step: SMART-IQA's code
published, decoded  the same, but a JPEG of 1024 x 768 decoded and resized for every crop:
                    HyperIQA's code
workbook            `loading.Batches` and the step of `training.fit`: crops leave the CPU as uint8,
                    the device jitters them

fp32 is PyTorch's default: TF32 not in matrix products, but in convolutions. Printed are medians
over rounds; `times published` compares with "published, kept" within a round. Peak memory is that
of tensors, the other ways' left out.
"""

import io
import itertools
import os
import platform
import time

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from iqa_core.loading import Batches, Samples
from iqa_core.loading import jitter as augment
from iqa_core.models import Contract, Objective, create_model
from iqa_core.training import Recipe
from iqa_core.training.step import set_up, take_step

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
KEPT, DECODED = "published, kept", "published, decoded"
FP32, BF16 = "workbook fp32", "workbook bf16-mixed"
ON_CPU = (KEPT, DECODED, FP32, BF16)
WAYS = (*ON_CPU, "workbook fp32 and TF32", "workbook bf16-mixed, compiled")


class Published(torch.utils.data.Dataset):
    """Normalised crops, one by one, of PIL images, or of files that are decoded and resized for
    each.
    """

    def __init__(self, images: list, *, colours: bool):
        steps = [transforms.RandomHorizontalFlip()]
        if isinstance(images[0], io.BytesIO):
            steps.append(transforms.Resize((512, 384)))
        steps.append(transforms.RandomCrop(224))
        if colours:
            steps.append(transforms.ColorJitter(*augment.STRENGTH))
        steps.append(transforms.ToTensor())
        steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        self.images, self.change = images * 20, transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, np.float32]:
        image = self.images[i]
        if isinstance(image, io.BytesIO):
            image = Image.open(image).convert("RGB")
        return self.change(image), np.float32(0.5)


def made_up(number: int = 48) -> tuple[list[io.BytesIO], list[Image.Image]]:
    """JPEGs of 1024 x 768, the size of KonIQ-10k's, and the same images resized as published, sides
    swapped.
    """
    random, files = np.random.default_rng(0), [io.BytesIO() for _ in range(number)]
    for file in files:
        small = Image.fromarray(random.integers(0, 256, (96, 128, 3), np.uint8))
        blots = small.resize((1024, 768), Image.Resampling.BICUBIC)
        noisy = np.asarray(blots) + random.normal(0, 3, (768, 1024, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return files, [transforms.Resize((512, 384))(Image.open(file)) for file in files]


def batches(way: str, photos: tuple, size: int, *, colours: bool):
    """Batches without end; 960 crops an epoch, so that all are as large."""
    if way in (KEPT, DECODED):
        data = Published(photos[way == KEPT], colours=colours)
        loader = torch.utils.data.DataLoader(data, size, shuffle=True)
        return itertools.chain.from_iterable(itertools.repeat(loader))
    return Batches(
        kept(photos),
        Contract("this benchmark"),
        Objective(),
        batch_size=size,
        crops_per_image=20,
        colour_jitter=colours,
        generator=np.random.default_rng(0),
    )


def kept(photos: tuple) -> Samples:
    """The resized images as a training gets them."""
    images = [np.asarray(image) for image in photos[1]]
    return Samples({"image": images}, pd.DataFrame({"label": np.linspace(0, 1, len(images))}))


def cpu_of_data(name: str, photos: tuple, size: int):
    """Measures CPU seconds of a batch, of the workbook's also made floats and jittered on this
    CPU.
    """
    data = [batches(name, photos, size, colours=colours) for colours in (False, True)]

    def measure(colours):
        start = time.process_time()
        batch = next(data[colours])
        if name == "workbook, all on the CPU":
            crops = batch.views[0].to(memory_format=torch.channels_last).float() / 255
            crops = augment.jitter(crops, *batch.colours) if colours else crops
        return time.process_time() - start, np.nan

    return measure


def workbook(way: str, model: nn.Module, photos: tuple, size: int, *, colours: bool):
    """A training of the workbook, set up."""
    recipe = Recipe(
        epochs=10_000,
        batch_size=size,
        crops_per_image=20,
        backbone_lr=5e-7,
        head_lr=5e-6,
        weight_decay=2e-4,
        clip=1.0,
        colour_jitter=colours,
        precision="bf16-mixed" if "bf16" in way else "32-true",
    )
    sets = {"train": kept(photos)}
    return set_up(model, Objective(), recipe, sets, np.random.default_rng(0))


def training_step(way: str, photos: tuple, size: int, *, swin: str, count: int):
    """Measures seconds of a step, mean of `count`, and GiB of GPU memory."""
    others = torch.cuda.memory_allocated()
    model = create_model("smart_iqa", size=swin, pretrained=False).train()
    if way in (KEPT, DECODED):
        model.to(DEVICE).backbone.normalise = nn.Identity()  # the loader has done it
        data = [batches(way, photos, size, colours=colours) for colours in (False, True)]
        optimizer = torch.optim.AdamW(model.parameters(), 5e-6, weight_decay=2e-4)
    else:
        learner = torch.compile(model, dynamic=False) if "compiled" in way else model
        trainings = [workbook(way, learner, photos, size, colours=c) for c in (False, True)]

    def step(colours):
        if way not in (KEPT, DECODED):
            take_step(trainings[colours], trainings[colours].batches.taken)
            return
        crops, labels = next(data[colours])
        optimizer.zero_grad()
        loss = nn.functional.l1_loss(model(crops.to(DEVICE)), labels.to(DEVICE))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.item()
        optimizer.step()

    def measure(colours):
        torch.set_float32_matmul_precision("high" if "TF32" in way else "highest")
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        held, start = torch.cuda.memory_allocated(), time.perf_counter()
        for _ in range(count):
            step(colours)
        torch.get_device_module(DEVICE).synchronize()
        seconds = (time.perf_counter() - start) / count
        memory = (torch.cuda.max_memory_allocated() - held + own) / 2**30
        return seconds, memory or np.nan

    own = 0
    ready = measure(True)[0] + measure(False)[0]  # compiled in the first steps
    print(f"{way}: ready after {ready:.1f} s", flush=True)
    own = torch.cuda.memory_allocated() - others
    return measure


def compare(measures: dict, size: int, *, rounds: int, what: str) -> None:
    """Prints the table."""
    every = itertools.product(range(rounds), ("plain", "jitter"), measures)
    rows = [(n, jitter, way, *measures[way](jitter == "jitter")) for n, jitter, way in every]
    table = pd.DataFrame(rows, columns=["round", "", "way", what, "peak GiB"]).dropna(axis=1)
    table["images/s"] = size / table[what]
    base = table.loc[table.way == KEPT, ["round", "", what]]
    beside = table.merge(base, on=["round", ""], suffixes=("", " base"))
    table["times published"] = beside[f"{what} base"] / table[what]
    groups = table.drop(columns="round").groupby(["way", ""], sort=False)
    medians = groups.median().unstack(sort=False)
    print(medians.rename_axis(None).round(3).to_string(), "\n")


def main() -> None:
    threads, photos = torch.get_num_threads(), made_up()
    gpu = torch.cuda.get_device_name() if GPU else "no GPU"
    print(
        f"{gpu}; {platform.machine()}, {os.cpu_count()} cores, {threads} threads, "
        f"load average {os.getloadavg()[0]:.1f}; torch {torch.__version__}"
    )
    kilobytes = np.mean([len(file.getvalue()) for file in photos[0]]) / 1e3
    print(f"{len(photos[0])} made-up JPEGs of {kilobytes:.0f} kB, data alone:")
    torch.set_num_threads(1)
    names = (KEPT, DECODED, "workbook, uint8 for a GPU", "workbook, all on the CPU")
    measures = {name: cpu_of_data(name, photos, 96) for name in names}
    compare(measures, 96, rounds=5, what="CPU s a batch")
    torch.set_num_threads(threads)
    if not GPU:
        print(
            "Swin-Tiny on a CPU: it tells that the code runs; what a GPU gains, which is the "
            "question, it does not tell"
        )
    if GPU:
        ways, size, rounds, options = WAYS, 96, 5, {"swin": "base", "count": 5}
    else:
        ways, size, rounds, options = ON_CPU, 8, 3, {"swin": "tiny", "count": 1}
    steps = {way: training_step(way, photos, size, **options) for way in ways}
    if not GPU and steps[BF16](False)[0] > steps[FP32](False)[0]:
        del steps[BF16]
        print(f"{BF16} is slower than fp32 on this CPU and left out")
    compare(steps, size, rounds=rounds, what="s a step")


if __name__ == "__main__":
    main()
