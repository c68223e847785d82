"""Detectors and instance segmenters of torchvision, with the weights that COCO has taught them."""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
import torchvision
from pycocotools import mask as run_length

from ..detections import Found
from ..hints import nearest
from ..models.pyramid import fetching
from . import Machine

BATCH = 4  # images that a network gets at a time
MASK = 0.5  # of a mask's probability: from here on a pixel is the object's


def open_detector(name: str, which: str, task: str, precision: str) -> Machine:
    """A detector or segmenter as `open_machine` describes it; classes are COCO's category ids."""
    known = torchvision.models.list_models(module=torchvision.models.detection)
    known = [each for each in known if not each.startswith("keypointrcnn")]
    if which not in known:
        hint = nearest(which, known) or "."
        raise KeyError(f"torchvision has no detector {which!r}{hint} There are {', '.join(known)}")
    if task == "cls" or (task == "ins" and not which.startswith("maskrcnn")):
        masks = [each for each in known if each.startswith("maskrcnn")]
        raise ValueError(
            f"{name} does not do {task}; a detector does det, and for ins there are "
            f"{', '.join(masks)}"
        )
    with fetching(f"torchvision's weights {which}"):
        network = torchvision.models.get_model(which, weights="DEFAULT")
    return machine_of(network, name, task, precision)


def machine_of(network: torch.nn.Module, name: str, task: str, precision: str = "fp32") -> Machine:
    """A network that answers as torchvision's detectors do, as a machine."""
    network = network.eval().requires_grad_(False)
    digest = hashlib.sha256(repr((task, precision)).encode())
    for tensor in network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.to(device)

    def respond(images: Sequence[np.ndarray]) -> list[Found]:
        return _found(network, images, task, precision, device)

    return Machine(name, task, respond, identity=digest.hexdigest()[:12])


@torch.inference_mode()
def _found(network, images, task, precision, device):
    """What a network finds in images."""
    bf16 = torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
    answers = []
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        batch = [torch.from_numpy(np.array(each)).to(device).permute(2, 0, 1) for each in some]
        with bf16:
            outputs = network([each.float() / 255 for each in batch])
        for image, output in zip(some, outputs, strict=True):
            answers.append(_one(output, image.shape[:2], task))
    return answers


def _one(output, size, task):
    """A network's answer to one image."""
    masks = ()
    if task == "ins":
        planes = (output["masks"][:, 0] >= MASK).cpu().numpy().astype(np.uint8)
        masks = tuple(run_length.encode(np.asfortranarray(plane)) for plane in planes)
    return Found(
        boxes=output["boxes"].float().cpu().numpy().astype(float),
        classes=output["labels"].cpu().numpy().astype(int),
        scores=output["scores"].float().cpu().numpy().astype(float),
        masks=masks,
        size=size,
    )
