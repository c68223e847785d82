"""Weights in and out: published checkpoints by their key names, and our own as safetensors beside a model.json."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from . import Contract, _module, create_model

COMPUTED = (
    "num_batches_tracked",
    "relative_position_index",
    "attn_mask",
    "pyramid.mean",
    "pyramid.std",
)  # a model makes these itself


def from_published(name: str, state_dict: dict, **kwargs) -> nn.Module:
    """The model `name` with a published state dict, in evaluation mode; kwargs as for `create_model`.

    Strict: every entry must find its place and every parameter be given, but for entries that a model computes itself.
    ValueError naming the keys that do not fit.
    """
    model = create_model(name, **kwargs, pretrained=False)
    rules = _module(name).PUBLISHED
    given = {_rename(key, rules): value for key, value in state_dict.items() if not key.endswith(COMPUTED)}
    own = {key: value for key, value in model.state_dict().items() if not key.endswith(COMPUTED)}
    wrong = [f"{k} is missing" for k in own.keys() - given] + [f"{k} is not ours" for k in given.keys() - own]
    wrong += [
        f"{k} {tuple(given[k].shape)} for {tuple(own[k].shape)}" for k in own.keys() & given if given[k].shape != own[k].shape
    ]
    if wrong:
        raise ValueError(
            f"not a {name} checkpoint for these arguments: {len(wrong)} entries differ: {'; '.join(sorted(wrong)[:5])}"
        )
    model.load_state_dict(given, strict=False)
    return model.eval()


def _rename(key, rules):
    for pattern, replacement in rules:
        renamed = re.sub(pattern, replacement, key)
        if renamed != key:
            return renamed
    return key


def save(model: nn.Module, folder: Path) -> None:
    """Write model.safetensors and model.json (name, arguments, contract with its label scale) into `folder`."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    told = model.recipe | {"contract": asdict(model.contract)}
    (folder / "model.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> nn.Module:
    """The model that `save` wrote, in evaluation mode; it predicts what it predicted then.

    FileNotFoundError naming the fix where the folder holds no model.
    """
    if not (folder / "model.json").is_file():
        raise FileNotFoundError(f"{folder} holds no model.json; a training notebook writes it when it has finished")
    told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model = create_model(told["name"], **told["arguments"], pretrained=False)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.contract = Contract(**{k: tuple(v) if isinstance(v, list) else v for k, v in told["contract"].items()})
    return model.eval()
