"""The rules by which golden figures were made: parameters filled by name, images made from
sines.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch


def golden(name: str) -> dict:
    return json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text())


def filled(keys: dict) -> dict:
    """A published state dict with every floating-point entry filled by the rule for its name."""
    return {
        key: _fill(key, shape)
        for key, shape in keys.items()
        if not key.endswith("num_batches_tracked")
    }


def _fill(key, shape):
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        noise = 0.5 + np.abs(noise)
    elif key.endswith("running_mean"):
        noise = 0.1 * noise
    elif len(shape) >= 2:
        noise = noise / np.sqrt(np.prod(shape[1:]))
    else:
        noise = 1 + 0.1 * noise if key.endswith("weight") else 0.1 * noise
    return torch.from_numpy(np.asarray(noise, np.float32))


def image(seed: int, height: int, width: int) -> torch.Tensor:
    """(1, 3, height, width) in [0, 1]."""
    random = np.random.RandomState(seed)
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    channels = []
    for _ in range(3):
        channel = np.zeros((height, width))
        for frequency in (1, 3, 7, 17):
            a, b, phase, power = random.standard_normal(4)
            channel += (
                np.sin(2 * np.pi * frequency * (a * x + b * y) + phase) * abs(power) / frequency
            )
        channels.append(channel + 0.1 * random.standard_normal((height, width)))
    stack = np.stack(channels)
    return torch.from_numpy(
        ((stack - stack.min()) / (stack.max() - stack.min())).astype(np.float32)
    )[None]
