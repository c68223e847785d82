"""Weights in and out: published state dicts by their key names, our own as safetensors beside a
model.json.
"""

import hashlib
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

from iqa_core import architecture
from iqa_core.files import file_hash
from iqa_core.hints import nearest

from . import Contract, create_model, list_models, module_of, published

# a model makes these itself
COMPUTED = (
    "num_batches_tracked",
    "relative_position_index",
    "attn_mask",
    "normalise.mean",
    "normalise.std",
)
BACKBONE = "backbone."  # how the keys of a backbone begin
MODEL_FILES = {"model.safetensors", "model.json"}


def from_published(name: str, state_dict: dict, *, named: int = 5, **kwargs) -> nn.Module:
    """A model with published weights, in evaluation mode.

    `name`: of the model; `state_dict`: with published key names; kwargs as for `create_model`.

    ValueError counting the keys that do not fit, with the first `named` of each kind: every entry
    must find its place and every parameter be given, but for entries that a model computes itself.
    """
    model = create_model(name, **kwargs, pretrained=False)
    ours = _stored(model.state_dict())
    published_keys = {}  # our key -> published ones
    for key in _stored(state_dict):
        published_keys.setdefault(renamed(key, module_of(name).PUBLISHED), []).append(key)
    if twice := [key for keys in published_keys.values() if len(keys) > 1 for key in keys]:
        raise ValueError(
            f"not a {name} checkpoint: several of its entries have one place: "
            f"{_first(twice, named)}"
        )
    theirs = {key: state_dict[keys[0]] for key, keys in published_keys.items()}
    _check_fit(name, theirs, ours, named)
    model.load_state_dict(theirs, strict=False)
    return model.eval()


def _stored(state):
    """The entries that a model does not compute itself."""
    return {key: value for key, value in state.items() if not key.endswith(COMPUTED)}


def _check_fit(name, theirs, ours, named):
    strangers = theirs.keys() - ours
    missing = ours.keys() - theirs
    shapes = []
    for key in ours.keys() & theirs:
        if theirs[key].shape != ours[key].shape:
            shapes.append(f"{key} {tuple(theirs[key].shape)} for {tuple(ours[key].shape)}")
    groups = {"not ours": strangers, "missing": missing, "of another shape": shapes}
    faults = [
        f"{len(keys)} {fault}: {_first(keys, named)}" for fault, keys in groups.items() if keys
    ]
    if faults:
        fitting = len(ours) - len(missing) - len(shapes)
        raise ValueError(
            f"not a {name} checkpoint for these arguments: {fitting} of {len(ours)} entries fit; "
            f"{'; '.join(faults)}"
        )


def _first(keys, named):
    """The first keys in words, and how many more there are."""
    keys = sorted(keys)
    more = len(keys) - named
    return ", ".join(keys[:named]) + (f" and {more} more (--named {len(keys)})" if more > 0 else "")


def renamed(key: str, rules) -> str:
    """The key after the first of the (pattern, replacement) rules that changes it."""
    for pattern, replacement in rules:
        other = re.sub(pattern, replacement, key)
        if other != key:
            return other
    return key


def convert(
    file: Path,
    name: str,
    *,
    out: Path | None = None,
    named: int = 5,
    entry: str = "",
    **kwargs,
) -> Path:
    """A published file as a folder that `load` reads. The file is only read; the folder is there
    complete or not at all.

    `name`: a row of the table, whose arguments and score range the model gets, or a model.
    `out`: data/raw/weights/<name> if not given. `named`: how many entries of a kind a refusal
    names. `entry`: which to take of a file that holds several, as `published.read`. kwargs go to
    the model, and replace a row's arguments.

    Returns the folder.

    KeyError for an unknown name; ValueError for a file that does not fit, and for an `out` that
    holds anything else.
    """
    file = Path(file)
    row = _row_for(file, name, out=out)
    model_name = row.model if row else name
    arguments = {**(row.arguments if row else {}), **kwargs}
    folder = Path(out).resolve() if out else published.folder() / (row.name if row else _stem(file))
    _check_folder(folder, file)
    _check_arguments(model_name, arguments)
    try:
        state = published.read(file, model_name, entry=entry)
        model = from_published(model_name, state, named=named, **arguments)
    except TypeError as error:
        raise ValueError(f"{model_name} cannot be built with {arguments}: {error}") from error
    source = f"{model.contract.source}; {_origin(row, file)}"
    if entry:
        source += f", entry {entry}"
    if row:
        model.contract = contract_with(model.contract, row)
    model.contract = replace(model.contract, source=source)
    _replace(folder, model)
    return folder


def _stem(file):
    return re.sub(r"(\.(pkl|pth|pt|tar|npz|safetensors|bin))+$", "", file.name)


def _row_for(file, name, *, out):
    """The row of the table by that name, or None for a model's name; refuses what is neither."""
    rows = {row.name: row for row in published.rows()}
    row = rows.get(name)
    if row is None and name not in list_models():
        hint = nearest(name, [*rows, *list_models()], most=3)
        raise KeyError(f"neither weights nor a model are named {name!r}{hint}")
    if row is None and out is None and _stem(file) in rows:
        stem = _stem(file)
        raise ValueError(
            f"{file.name} would be taken for the published {stem}; say --model {stem}, or give a "
            f"folder with --out"
        )
    if row and not row.model:
        raise ValueError(
            f"{name} has no quality head, so it is no model; it is where models start, read by "
            f"{row.needed_by}"
        )
    return row


def _check_folder(folder, file):
    """Refuses a place that holds anything but a converted model."""
    if not folder.exists():
        return
    beside_the_file = file.resolve().parent == folder.resolve()
    if not folder.is_dir() or beside_the_file or _others(folder):
        raise ValueError(
            f"{folder} is there and holds something else than a converted model; give another "
            f"folder with --out"
        )


def _check_arguments(model_name, arguments):
    known = [*inspect.signature(module_of(model_name).build).parameters]
    known.remove("pretrained")
    if unknown := sorted(set(arguments) - set(known)):
        raise ValueError(
            f"{model_name} has no argument {', '.join(unknown)} to set; it has {', '.join(known)}"
        )


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


def contract_with(contract: Contract, row: published.Published) -> Contract:
    """A model's own contract with what the table says of published weights: score range and units,
    and the resize that they were trained with.
    """
    contract = replace(contract, low=row.low, high=row.high, units=row.units)
    if not row.resize:
        return contract
    size, _, interpolation = row.resize.partition(" ")
    sides = tuple(int(side) for side in size.split("x"))
    image, reference = contract.interpolation
    contract = replace(
        contract,
        resize=sides if len(sides) == 2 else sides[0],
        interpolation=(interpolation or image, reference),
    )
    if sides == (contract.crop, contract.crop):
        return replace(contract, crops=1)  # all would be the same
    return contract


def _origin(row, file):
    """In words, where weights come from."""
    digest = file_hash(file)
    origin = f"weights {row.name if row else 'without a row in the table'}: {file.name} {digest}"
    if row and not digest.removeprefix("sha256-").startswith(row.sha256[:8]):
        origin += ", which is not the file that was published"
    if row and row.resize:
        origin += f"; images resized to {row.resize}, as these weights were trained"
    return origin


def save(model: nn.Module, folder: Path, *, head_alone: bool = False) -> None:
    """Write model.safetensors and model.json (name, arguments, contract with its label scale,
    `architecture.describe`) into `folder`.

    head_alone   the backbone is that of ImageNet, as `create_model` makes it: it is left out, all
                 else is kept in float16, and model.json holds the backbone's hash
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    facts = model.config | {"contract": asdict(model.contract)}
    facts["architecture"] = architecture.describe(model)
    if head_alone:
        facts["imagenet_backbone"] = _hash_of_backbone(tensors)
        tensors = {
            key: value.half() if value.is_floating_point() else value
            for key, value in tensors.items()
            if not key.startswith(BACKBONE)
        }
    # the library's own writer makes a file that only its owner can read
    (folder / "model.safetensors").write_bytes(to_bytes(tensors))
    (folder / "model.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _hash_of_backbone(tensors):
    digest = hashlib.sha256()
    for key in sorted(key for key in tensors if key.startswith(BACKBONE)):
        digest.update(key.encode() + tensors[key].numpy().tobytes())
    return digest.hexdigest()[:16]


def load(folder: Path) -> nn.Module:
    """The model that `save` wrote, in evaluation mode; it predicts what it predicted then.

    FileNotFoundError naming the fix where the folder holds no model, ValueError for a damaged one.
    """
    if not (folder / "model.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no model.json; a training notebook writes it when it has finished"
        )
    try:
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "model.safetensors")
        backbone = facts.get("imagenet_backbone")
        model = create_model(facts["name"], **facts["arguments"], pretrained=bool(backbone))
        if backbone:
            tensors |= _backbone_of(model, backbone)
        model.load_state_dict(tensors)
        model.contract = model.contract.changed(**facts["contract"])
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(
            f"{folder} is damaged, or of another version of this code; make it again ({why})"
        ) from error
    return model.eval()


def _backbone_of(model, digest):
    """The backbone that a model started with; ValueError where it is another than that beside which
    the head learnt.
    """
    tensors = {key: value for key, value in model.state_dict().items() if key.startswith(BACKBONE)}
    found = _hash_of_backbone(tensors)
    if found != digest:
        raise ValueError(f"its head was trained on the backbone {digest}, but {found} is installed")
    return tensors
