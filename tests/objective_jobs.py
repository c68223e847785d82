"""Models whose step is more than a crop and a score: tiny builds, eight samples each, a recipe; and
what other processes do with them.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqa_core import training
from iqa_core.loading import Samples
from iqa_core.models import create_model

MIXED = ((40, 70), (64, 64), (90, 50))  # height and width of whole images, pixels
RECIPE = dict(
    batch_size=4,
    backbone_lr=1e-3,
    head_lr=1e-3,
    weight_decay=0.0,
    flips="none",
    warmup=0.0,
    schedule="constant",
)


def case(name, *, epochs, **options):
    """A model, its eight samples and a recipe of so many epochs, where it has two stages half of
    them each; validated once, after the last, unless options of the recipe say otherwise.
    """
    torch.manual_seed(0)
    model, samples, own = CASES[name]()
    if name == "ckdn":
        own["stages"] = [epochs // 2, epochs - epochs // 2]
    recipe = RECIPE | {"epochs": epochs, "validate_every": epochs} | own | options
    return model, samples, training.Recipe(**recipe)


def trained(name, *, epochs, checkpoint=None, **options):
    """The rows of a case's training without their seconds, and its weights."""
    model, samples, recipe = case(name, epochs=epochs, **options)
    rows = []
    for row in training.fit(model, samples, samples, recipe=recipe, checkpoint=checkpoint, log=str):
        rows.append({key: value for key, value in row.items() if key != "seconds"})
    return rows, model.state_dict()


def shared_cases(rank, folder: Path, world: int, port: int, options: dict) -> None:
    """Train the cases of SHARED as one of `world` processes; rows and weights go to
    <name>-<rank>.pt.
    """
    torch.set_num_threads(1)
    torchrun = dict(
        RANK=rank,
        LOCAL_RANK=rank,
        GROUP_RANK=0,
        WORLD_SIZE=world,
        LOCAL_WORLD_SIZE=world,
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        TORCHELASTIC_RUN_ID="test",
        GLOO_SOCKET_IFNAME="lo",
    )
    os.environ.update({name: str(value) for name, value in torchrun.items()})
    for name in SHARED:
        torch.save(trained(name, **options), folder / f"{name}-{rank}.pt")


# ---- the cases: model, samples, what its recipe has of its own


def musiq():
    """Whole images of mixed size, a score."""
    small = dict(width=32, depth=1, heads=2, mlp=48)
    model = create_model("musiq", scales=[64], patch_encoder="conv", pretrained=False, **small)
    return model, noisy(MIXED), dict(backbone_parts=["patches"])


def musiq_votes():
    """Whole images, in batches by a budget of patches; votes instead of a score."""
    small = dict(width=32, depth=1, heads=2, mlp=48)
    model = create_model(
        "musiq", scales=[], patch_encoder="linear", bins=10, pretrained=False, **small
    )
    return model, voted(noisy(MIXED)), dict(backbone_parts=["patches"], batch_tokens=18)


def iqt():
    """An image and its pristine reference."""
    model = create_model(
        "iqt", size="iqt_c", backbone="test_efficientnet", dropout=0.0, pretrained=False
    )
    samples = noisy([(192, 192)], "pristine")
    return model, samples, dict(backbone_parts=["features"], head_lr=4e-4)


def ckdn():
    """Image, degraded and pristine one, and a partner of the same content; two stages."""
    model = create_model("ckdn", backbone="test_convnext", dropout=0.0, pretrained=False)
    model.contract = model.contract.changed(crop=32, resize=None)
    samples = noisy([(32, 36)], "pristine", "degraded")
    return model, samples, dict(backbone_parts=["qse"])


def ra_miqa():
    """A crop and the wider view around it."""
    model = create_model(
        "ra_miqa", backbone="test_vit", region="test_efficientnet", pretrained=False
    )
    model.regress[2].p = 0.0  # its dropout
    return model, noisy([(288, 300)]), {}


def frozen_crops():
    """Two crops of every image, as they leave a backbone that does not learn."""
    none = dict(dropout=0.0, gate_dropout=0.0, drop_path=0.0)
    model = create_model("smart_iqa", backbone="test_convnext", pretrained=False, **none).eval()
    model.backbone.requires_grad_(False)
    samples = noisy([(224, 300)])
    frozen = []
    for image in samples.parts["image"]:
        pixels = torch.from_numpy(image).permute(2, 0, 1) / 255
        crops = torch.stack([pixels[:, :, :224], pixels[:, :, 76:]])
        with torch.no_grad():
            frozen.append(model.frozen_features(crops).numpy().astype(np.float16))
    return model, samples._replace(parts={"image": frozen}), {}


CASES = {
    "musiq": musiq,
    "musiq votes": musiq_votes,
    "iqt": iqt,
    "ckdn": ckdn,
    "ra_miqa": ra_miqa,
    "frozen crops": frozen_crops,
}
# that processes share: whole images by a budget, pairs in two stages, two views, kept features
SHARED = ("musiq votes", "ckdn", "ra_miqa", "frozen crops")


def noisy(sizes, *companions):
    """Eight images of two contents, darker and noisier where the label is lower, with what they
    stem from.
    """
    random = np.random.default_rng(0)
    labels = random.permutation(8) / 7
    colours = random.integers(60, 200, (2, 3))
    parts = {"image": [], "pristine": [], "degraded": []}
    for number, label in enumerate(labels):
        pristine = np.full((*sizes[number % len(sizes)], 3), colours[number % 2], float)
        pristine[::4] *= 0.7
        noise = random.normal(0, 30 * (1 - label) + 2, pristine.shape)
        image = pristine * (0.3 + 0.7 * label) + noise
        made = {"image": image, "pristine": pristine, "degraded": 0.8 * pristine}
        for part, pixels in made.items():
            parts[part].append(np.clip(pixels, 0, 255).astype(np.uint8))
    table = pd.DataFrame({"label": labels, "content": np.arange(8) % 2})
    return Samples({part: parts[part] for part in ("image", *companions)}, table)


def voted(samples):
    """The same with ten columns of votes, c1 to c10, whose means are the labels."""
    classes = np.arange(1, 11)
    centres = 1 + 9 * samples.table.label.to_numpy()
    votes = np.exp(-((centres[:, None] - classes) ** 2))
    columns = {f"c{k}": votes[:, k - 1] for k in classes}
    means = votes @ classes / votes.sum(1)
    return samples._replace(table=samples.table.assign(label=means, **columns))
