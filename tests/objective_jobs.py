"""Tiny builds of the models whose step is more than a crop and a score, each with eight samples, and
what other processes do with them.
"""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqa_core import training
from iqa_core.loading import Samples
from iqa_core.models import create_model

NAMES = ("musiq", "musiq votes", "iqt", "ckdn", "ra_miqa", "frozen crops")
SIZES = ((40, 70), (64, 64), (90, 50))  # of whole images, height and width, pixels
RATES = dict(batch_size=4, backbone_lr=1e-3, head_lr=1e-3, weight_decay=0.0, flips="none")


def case(name, *, epochs):
    """The model, its samples, and a recipe of so many epochs (in two stages, if it has such)."""
    torch.manual_seed(0)
    recipe = RATES | dict(epochs=epochs, validate_every=epochs, warmup=0.0, schedule="constant")
    small = dict(pretrained=False, width=32, depth=1, heads=2, mlp=48)
    if name == "musiq":
        model = create_model("musiq", scales=[64], patch_encoder="conv", **small)
        return model, _samples(SIZES), training.Recipe(**recipe, backbone_parts=["patches"])
    if name == "musiq votes":
        model = create_model("musiq", scales=[], patch_encoder="linear", bins=10, **small)
        recipe = recipe | dict(backbone_parts=["patches"], batch_tokens=18)
        return model, _voted(_samples(SIZES)), training.Recipe(**recipe)
    if name == "iqt":
        model = create_model(
            "iqt", size="iqt_c", backbone="test_efficientnet", dropout=0.0, pretrained=False
        )
        samples = _samples(((192, 192),), pristine=True)
        return (
            model,
            samples,
            training.Recipe(**recipe | {"head_lr": 4e-4}, backbone_parts=["features"]),
        )
    if name == "ckdn":
        model = create_model("ckdn", backbone="test_convnext", dropout=0.0, pretrained=False)
        model.contract = model.contract.changed(crop=32, resize=None)
        samples = _samples(((32, 36),), pristine=True, degraded=True)
        stages = [epochs // 2, epochs - epochs // 2]
        return model, samples, training.Recipe(**recipe, stages=stages, backbone_parts=["qse"])
    if name == "ra_miqa":
        model = create_model(
            "ra_miqa", backbone="test_vit", region="test_efficientnet", pretrained=False
        )
        model.regress[2].p = 0.0  # its dropout
        return model, _samples(((288, 300),)), training.Recipe(**recipe)
    none = dict(dropout=0.0, gate_dropout=0.0, drop_path=0.0)
    model = create_model("smart_iqa", backbone="resnet18", pretrained=False, **none).eval()
    model.backbone.requires_grad_(False)
    return model, _frozen(model), training.Recipe(**recipe)


def _samples(sizes, *, pristine=False, degraded=False):
    """Eight images of two contents, darker and noisier where the label is lower, with what they
    stem from.
    """
    random = np.random.default_rng(0)
    labels = random.permutation(8) / 7
    photographs = [random.integers(60, 200, 3) * np.ones((*sizes[0], 3)) for _ in range(2)]
    images, clean = [], []
    for k, label in enumerate(labels):
        height, width = sizes[k % len(sizes)]
        base = photographs[k % 2][:1, :1] * np.ones((height, width, 3))
        base[::4] *= 0.7
        noise = random.normal(0, 30 * (1 - label) + 2, base.shape)
        images.append(np.clip(base * (0.3 + 0.7 * label) + noise, 0, 255).astype(np.uint8))
        clean.append(base.astype(np.uint8))
    parts = {"image": images}
    if pristine:
        parts["pristine"] = clean
    if degraded:
        parts["degraded"] = [np.clip(image * 0.8, 0, 255).astype(np.uint8) for image in clean]
    return Samples(parts, pd.DataFrame({"label": labels, "content": [k % 2 for k in range(8)]}))


def _voted(samples):
    """The same with labels of 1 to 10 that are the means of ten columns of votes."""
    centres = 1 + 9 * samples.table.label.to_numpy()
    votes = np.exp(-((centres[:, None] - np.arange(1, 11)) ** 2))
    columns = {f"c{k}": votes[:, k - 1] for k in range(1, 11)}
    means = votes @ np.arange(1, 11) / votes.sum(1)
    return samples._replace(table=samples.table.assign(label=means, **columns))


@torch.no_grad()
def _frozen(model):
    """Two crops of every image as the model's backbone makes them."""
    samples = _samples(((224, 300),))
    crops = [
        torch.stack([torch.from_numpy(image[:, left : left + 224].copy()) for left in (0, 76)])
        for image in samples.parts["image"]
    ]
    frozen = [
        model.pooled_features(crop.permute(0, 3, 1, 2) / 255).numpy().astype(np.float16)
        for crop in crops
    ]
    return samples._replace(parts={"image": frozen})


def _trained(name, epochs, **options):
    """The model of a case after its training, and the rows without their seconds."""
    model, samples, recipe = case(name, epochs=epochs)
    rows = []
    for row in training.fit(model, samples, samples, recipe=recipe, log=str, **options):
        rows.append({key: value for key, value in row.items() if key != "seconds"})
    return model, rows


def killed_case(rank, folder: Path, name: str, die_at: int | None) -> None:
    """Train a case for four epochs of two steps, or until a step, in which this process is killed;
    rows and weights go to a file.
    """
    torch.set_num_threads(1)
    model, samples, recipe = case(name, epochs=4)
    recipe = recipe.model_copy(update={"validate_every": 1, "colour_jitter": "frozen" not in name})
    steps = 0

    def count(module, *_):
        nonlocal steps
        steps += module.training
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    called_once_a_step = {
        "musiq": "norm", "musiq votes": "norm", "iqt": "judge", "ckdn": "aux_fc",
        "ra_miqa": "regress", "frozen crops": "hyper",
    }  # fmt: skip
    getattr(model, called_once_a_step[name]).register_forward_pre_hook(count)
    rows = []
    checkpoint = folder / f"{name}.ckpt"
    for row in training.fit(model, samples, samples, recipe=recipe, checkpoint=checkpoint, log=str):
        rows.append({key: value for key, value in row.items() if key != "seconds"})
    torch.save({"rows": rows, "weights": model.state_dict()}, folder / f"{name}.pt")


def shared_cases(rank, folder: Path, world: int, port: int) -> None:
    """Every case trained for two epochs by `world` processes; rows and weights to files."""
    torch.set_num_threads(1)
    if world > 1:
        told = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, LOCAL_WORLD_SIZE=world)
        told |= dict(MASTER_PORT=port, GROUP_RANK=0)
        os.environ |= {name: str(value) for name, value in told.items()}
        os.environ |= dict(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="test")
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    for name in NAMES:
        model, rows = _trained(name, epochs=2)
        state = {"rows": rows, "weights": model.state_dict()}
        torch.save(state, folder / f"{name}-{world}-{rank}.pt")
