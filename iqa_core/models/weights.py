"""Weights in and out: published state dicts by their key names, our own as safetensors beside a
model.json.
"""

import inspect
import json
import os
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from iqa_core.files import file_hash
from iqa_core.hints import nearest

from . import create_model, list_models, module_of, published

# a model makes these itself
COMPUTED = (
    "num_batches_tracked",
    "relative_position_index",
    "attn_mask",
    "normalise.mean",
    "normalise.std",
)
MODEL_FILES = {"model.safetensors", "model.json"}


def from_published(name: str, state_dict: dict, **kwargs) -> nn.Module:
    """The model `name` with a published state dict, in evaluation mode; kwargs as for
    `create_model`.

    Strict: every entry must find its place and every parameter be given, but for entries that a
    model computes itself. ValueError naming all keys that do not fit.
    """
    model = create_model(name, **kwargs, pretrained=False)
    rules = module_of(name).PUBLISHED
    kept = {key: value for key, value in state_dict.items() if not key.endswith(COMPUTED)}
    given = {renamed(key, rules): value for key, value in kept.items()}
    if len(given) < len(kept):
        twice = [
            key
            for key in kept
            if [renamed(other, rules) for other in kept].count(renamed(key, rules)) > 1
        ]
        raise ValueError(
            f"not a {name} checkpoint: several of its entries have one place: "
            f"{', '.join(sorted(twice))}"
        )
    own = {key: value for key, value in model.state_dict().items() if not key.endswith(COMPUTED)}
    shapes = {key: (tuple(given[key].shape), tuple(own[key].shape)) for key in own.keys() & given}
    other = {
        key: f"{key} {theirs} for {ours}"
        for key, (theirs, ours) in shapes.items()
        if theirs != ours
    }
    groups = {
        "not ours": given.keys() - own,
        "missing": own.keys() - given,
        "of another shape": other.values(),
    }
    if any(groups.values()):
        told = [
            f"{', '.join(sorted(keys))} {'is' if len(keys) == 1 else 'are'} {how}"
            for how, keys in groups.items()
            if keys
        ]
        number = sum(map(len, groups.values()))
        raise ValueError(
            f"not a {name} checkpoint for these arguments: {number} entries differ: "
            f"{'; '.join(told)}"
        )
    model.load_state_dict(given, strict=False)
    return model.eval()


def renamed(key: str, rules) -> str:
    """The key after the first of the (pattern, replacement) rules that changes it."""
    for pattern, replacement in rules:
        other = re.sub(pattern, replacement, key)
        if other != key:
            return other
    return key


def convert(file: Path, name: str, *, out: Path | None = None, **kwargs) -> Path:
    """A published file as a folder that `load` reads; returns the folder, data/raw/weights/<name>
    if `out` is not given.

    `name`: a row of the table, whose arguments and score range the model gets, or a model, to which
    kwargs go; kwargs also replace a row's arguments. The file is only read, the folder is there
    complete or not at all. KeyError for an unknown name; ValueError for a file that does not fit,
    and for an `out` that holds anything else.
    """
    file, rows = Path(file), {row.name: row for row in published.rows()}
    row = rows.get(name)
    stem = re.sub(r"(\.(pkl|pth|pt|tar|npz|safetensors|bin))+$", "", file.name)
    if row is None and name not in list_models():
        raise KeyError(
            f"neither weights nor a model are named {name!r}"
            f"{nearest(name, [*rows, *list_models()], most=3)}"
        )
    if row is None and out is None and stem in rows:
        raise ValueError(
            f"{file.name} would be taken for the published {stem}; say --model {stem}, or give a "
            f"folder with --out"
        )
    if row and not row.model:
        raise ValueError(
            f"{name} has no quality head, so it is no model; it is where models start, read by "
            f"{row.needed_by}"
        )
    out = Path(out).resolve() if out else published.folder() / (row.name if row else stem)
    if out.exists() and (
        not out.is_dir() or file.resolve().parent == out.resolve() or _others(out)
    ):
        raise ValueError(
            f"{out} is there and holds something else than a converted model; give another folder "
            f"with --out"
        )
    model_name = row.model if row else name
    arguments = (row.arguments if row else {}) | kwargs
    known = [
        key
        for key in inspect.signature(module_of(model_name).build).parameters
        if key != "pretrained"
    ]
    if unknown := sorted(set(arguments) - set(known)):
        raise ValueError(
            f"{model_name} has no argument {', '.join(unknown)} to set; it has {', '.join(known)}"
        )
    try:
        model = from_published(model_name, published.read(file, model_name), **arguments)
    except TypeError as error:
        raise ValueError(f"{model_name} cannot be built with {arguments}: {error}") from error
    model.contract = _contract(model.contract, row, file)
    _replace(out, model)
    return out


def _replace(out, model):
    """Save a model as the folder `out`, which holds all of the old one or all of the new one at any
    time but a moment.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    old = draft.with_name(f"{draft.name}.old")
    try:
        save(model, draft)
        if out.exists():
            out.rename(old)
        draft.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        for rest in (draft, old):
            shutil.rmtree(rest, ignore_errors=True)


def _others(folder):
    return {path.name for path in folder.iterdir()} - MODEL_FILES


def _contract(contract, row, file):
    """The model's own contract with what the table says of these weights, and where they come
    from.
    """
    digest = file_hash(file)
    source = f"{contract.source}; weights {row.name if row else 'without a row in the table'}: {file.name} {digest}"
    if row is None:
        return replace(contract, source=source)
    if not digest.removeprefix("sha256-").startswith(row.sha256[:8]):
        source += ", which is not the file that was published"
    if row.resize:
        source += f"; images resized to {row.resize}, as these weights were trained"
    told = {"low": row.low, "high": row.high, "units": row.units}
    if row.resize:
        size, _, interpolation = row.resize.partition(" ")
        sides = tuple(int(side) for side in size.split("x"))
        told["resize"] = sides if len(sides) == 2 else sides[0]
        told["interpolation"] = (
            interpolation or contract.interpolation[0],
            contract.interpolation[1],
        )
        if sides == (contract.crop, contract.crop):
            told["crops"] = 1  # all would be the same
    return replace(contract, source=source, **told)


def save(model: nn.Module, folder: Path) -> None:
    """Write model.safetensors and model.json (name, arguments, contract with its label scale) into
    `folder`.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    (folder / "model.safetensors").write_bytes(
        to_bytes(tensors)
    )  # its own writer makes a file that only its owner can read
    told = model.config | {"contract": asdict(model.contract)}
    (folder / "model.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> nn.Module:
    """The model that `save` wrote, in evaluation mode; it predicts what it predicted then.

    FileNotFoundError naming the fix where the folder holds no model, ValueError for a damaged one.
    """
    if not (folder / "model.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no model.json; a training notebook writes it when it has finished"
        )
    try:
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        model = create_model(told["name"], **told["arguments"], pretrained=False)
        model.load_state_dict(load_file(folder / "model.safetensors"))
        model.contract = model.contract.changed(**told["contract"])
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(
            f"{folder} is damaged, or of another version of this code; make it again ({why})"
        ) from error
    return model.eval()
