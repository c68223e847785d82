"""What others published: the table of weights, where their files lie here, and reading those
without running anything.

`published.csv` lists everything that can be loaded. Its `megabytes` are the file's where its size
is known, else 4 bytes a parameter (a file that also holds an optimiser's state has up to three
times that); its `sha256` may be the first digits only.
"""

import argparse
import csv
import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import yaml

from iqa_core.files import project_root
from iqa_core.hints import nearest

if TYPE_CHECKING:  # torch takes seconds to import, and the table needs none
    from torch import Tensor

# where checkpoints keep the state dict, the first that is there counts
WRAPPERS = ("params", "params_ema", "state_dict", "model_state_dict", "model", "net")
# what DataParallel, pyiqa, Lightning, torch.compile, GANs and averages put before every key
PREFIXES = ("module.", "net.", "model.", "_orig_mod.", "generator.", "ema_model.")
# what ema_pytorch puts before its average, and before the weights that are averaged
AVERAGE, ONLINE = "ema_model.", "online_model."
COUNTERS = ("n_averaged", "initted", "step")  # what averages keep beside the weights


class Published(NamedTuple):
    """A row of published.csv: weights that somebody published, and what is known of them."""

    name: str
    model: str  # ours; empty for what models start from, which has no quality head
    arguments: dict  # of that model's build
    trained_on: str
    task: str  # of the machines whose opinion is predicted: cls, det, ins; empty for people's
    label: str
    file: str  # in data/raw/weights; empty where a library fetches the weights by itself
    address: str  # https://..., drive:<id>, timm:<name>, torchvision:<name>; empty: not published
    licence: str  # in a word or two, then after a semicolon what else is to be said of it
    megabytes: int
    low: float | None  # scores are expected between low and high, in units
    high: float | None
    units: str
    resize: str  # before training: 512x384 (height x width) or 288 (shorter side), interpolation
    sha256: str
    needed_by: str
    note: str

    @property
    def path(self) -> Path:
        """Where the file lies, or should; ValueError for weights that a library fetches by
        itself.
        """
        if not self.file:
            library = self.address.partition(":")[0]
            raise ValueError(
                f"{self.name} is no file here: {library} fetches it on first use and keeps it in "
                f"its own cache"
            )
        return folder() / self.file


def folder() -> Path:
    """data/raw/weights of the project."""
    return project_root() / "data/raw/weights"


def rows() -> list[Published]:
    """All rows of published.csv."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as file:
        return [_row(texts) for texts in csv.DictReader(file)]


def _row(texts):
    values = dict(texts)
    pairs = [pair.split("=", 1) for pair in texts["arguments"].split()]
    values["arguments"] = {key: yaml.safe_load(value) for key, value in pairs}
    values["megabytes"] = int(texts["megabytes"])
    for key in ("low", "high"):
        values[key] = float(texts[key]) if texts[key] else None
    return Published(**values)


def row(name: str) -> Published:
    """The row of that name; KeyError with the names near it."""
    known = {row.name: row for row in rows()}
    if name not in known:
        hint = nearest(name, known, most=3) or "."
        raise KeyError(
            f"no published weights {name!r}{hint} `python -m iqa_core weights list` tells all"
        )
    return known[name]


def local_file(name: str) -> Path:
    """The local file of a row; FileNotFoundError with the command that fetches it, its address and
    where it should lie.
    """
    published = row(name)
    if not published.path.is_file():
        source = published.note
        if published.address:
            source = f"`python -m iqa_core weights get {name}` fetches it from {published.address}"
        raise FileNotFoundError(
            f"the weights {name} are missing: {source}; or put the file at {published.path}"
        )
    return published.path


def read(path: Path, model: str | None = None, *, entry: str = "") -> "dict[str, Tensor]":
    """The state dict in a .safetensors, .npz or torch file, out of its wrappers, without prefixes
    common to all keys. A warning tells which of several was taken.

    Nothing in the file is executed: of a pickle only tensors, plain values, NumPy's numbers and
    arrays, and argparse.Namespace are read.

    path     of the file; its ending tells the kind, torch's is any other
    model    "musiq": the arrays of an official .npz get the names that musiq.py knows
    entry    of several, this: its keys from the outermost in, joined by points, or what stands
             before the names of its weights

    FileNotFoundError; ValueError for a damaged file, for one that holds other objects (a whole
    pickled model), for one that is no state dict and for an entry that there is not. All say what
    to do.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; `python -m iqa_core weights list` tells where files come "
            f"from"
        )
    trail = entry.split(".") if entry else []
    state = _unwrap(_entry(_read(path), trail, path), trail, path)
    if path.suffix == ".npz" and model == "musiq":
        return musiq_state(state)
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    other = [key for key, value in arrays.items() if value.dtype.kind not in "fiub"]
    if other:
        raise ValueError(
            f"{path} holds arrays that are no numbers: {', '.join(other[:5])}; "
            "it is no file of weights"
        )
    state |= {key: torch.from_numpy(value) for key, value in arrays.items()}
    return _without_prefixes(state, trail, path)


def _entry(holds, trail, path):
    """What a file holds under the keys of `trail`, or behind them in the names of its weights."""
    for name in trail:
        entries = holds if isinstance(holds, dict) else {}
        behind = {
            key.removeprefix(f"{name}."): value
            for key, value in entries.items()
            if str(key).startswith(f"{name}.")
        }
        holds = entries.get(name, behind)
        if not isinstance(holds, dict) or not holds:
            known = dict.fromkeys(str(key).partition(".")[0] for key in entries)
            raise ValueError(
                f"{path} has no entry {'.'.join(trail)} with weights; where {name} is wanted, "
                f"there are {', '.join([*known][:9]) or 'none'}"
            )
    return holds


def _without_prefixes(state, trail, path):
    """The entries without what stands before every key, once or one behind the other; of an average
    and what it is of, the average.
    """
    weights = {key: value for key, value in state.items() if key not in COUNTERS}
    averaged = {key: value for key, value in weights.items() if key.startswith(AVERAGE)}
    online = [key for key in weights if key.startswith(ONLINE)]
    if averaged and online and len(averaged) + len(online) == len(weights):
        _tell_taken(AVERAGE[:-1], [ONLINE[:-1]], trail, path)
        weights = averaged
    prefixes = [prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in weights)]
    if not weights or not prefixes:
        return state
    inner = {key.removeprefix(prefixes[0]): value for key, value in weights.items()}
    return _without_prefixes(inner, [*trail, prefixes[0][:-1]], path)


def _tell_taken(taken, others, trail, path):
    warnings.warn(
        f"{path.name}: {taken} is taken, not {', '.join(others)} beside it; for another, "
        f"`weights convert` with --entry {'.'.join([*trail, others[0]])}",
        stacklevel=4,
    )


def _read(path):
    """What a file holds. Whatever goes wrong in a damaged file, in whichever library, becomes one
    message.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        with torch.serialization.safe_globals(_plain_values()):
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        refused = REFUSED.search(str(error))
        if refused:
            what = next(group for group in refused.groups() if group)
            raise ValueError(
                f"{path} is refused: it holds {what}, and to unpickle anything but tensors and "
                "plain values runs code of whoever made the file. Ask for a state dict; or, if you "
                "trust them, load it with their own code in an environment of its own and save "
                "model.state_dict() by torch.save"
            ) from None
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged, cut short, or not "
            "what its ending says; fetch it again, or give it the ending of what it is "
            "(.safetensors, .npz, else torch's)"
        ) from error


def _plain_values():
    """What may be unpickled beside what torch allows: command lines, and NumPy's numbers and arrays
    of them, also by the names they had before NumPy 2.
    """
    from numpy._core import multiarray

    named = []
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        named.append((multiarray.scalar, f"{module}.scalar"))
        named.append((multiarray._reconstruct, f"{module}._reconstruct"))
    dtypes = [type(np.dtype(code)) for code in "?bhilqBHILQefdgFDUS"]
    return [argparse.Namespace, np.ndarray, np.dtype, *dtypes, *named]


# what torch and NumPy say of objects that they do not unpickle
REFUSED = re.compile(r"GLOBAL (\S+)|unrecognized function ([^\n]+)|(Object arrays)")


def _unwrap(state, trail, path):
    """The state dict inside a checkpoint's dicts; ValueError where there is none. `trail` gets the
    keys that it stands under.
    """
    import torch

    for _ in WRAPPERS:  # one may lie in the other, but not without end
        inner = state if isinstance(state, dict) else {}
        held = [key for key in WRAPPERS if _holds_weights(inner.get(key))]
        if not held:
            break
        beside = [key for key in inner if key != held[0] and _holds_weights(inner[key])]
        if beside:
            _tell_taken(held[0], beside, trail, path)
        trail.append(held[0])
        state = inner[held[0]]
    save = "save one with torch.save(model.state_dict(), file)"
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{path} holds {type(state).__name__} and no state dict; {save}")
    other = []
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor | np.ndarray):
            other.append(repr(key))
    if other:
        raise ValueError(
            f"{path} holds no state dict: {', '.join(other[:5])} are no tensors, and none of "
            f"{', '.join(WRAPPERS)} holds a dict; {save}"
        )
    return dict(state)


def _holds_weights(value, depth=3):
    """Whether a value is a dict with tensors, or keeps one, at most so many wrappers deep."""
    import torch

    if not isinstance(value, dict):
        return False
    if any(isinstance(entry, torch.Tensor | np.ndarray) for entry in value.values()):
        return True
    return depth > 0 and any(_holds_weights(value.get(key), depth - 1) for key in WRAPPERS)


def musiq_state(arrays: "dict[str, np.ndarray]") -> "dict[str, Tensor]":
    """The arrays of an official .npz as a state dict with the names of pyiqa's port, which musiq.py
    knows.

    Flax counts unnamed layers, differently from version to version; so layers are told by kind and
    order. ValueError if there is no model among the arrays.
    """
    prefix = "opt/target/"  # the rest is the optimiser's
    target = {}
    for key, array in arrays.items():
        if key.startswith(prefix):
            target[tuple(key.removeprefix(prefix).split("/"))] = array
    if not target:
        raise ValueError(
            f"no array is named {prefix}...; an official MUSIQ .npz is wanted, not one with "
            f"{sorted(arrays)[:3]}"
        )
    layers = {path[:depth] for path in target for depth in range(1, len(path))}
    return {_port_name(path, layers): _port_tensor(path, array) for path, array in target.items()}


PORT_NAMES = {
    "Transformer": "transformer_encoder",
    "pos_embedding": "position_emb",
    "scale_embedding": "scale_emb",
    "kernel": "weight",
    "scale": "weight",
}


def _port_name(path, layers):
    """The port's key for an array at `path`, a tuple of flax's names; `layers`: paths of all that
    hold something.
    """
    names = []
    for depth, part in enumerate(path[:-1]):
        parent = path[depth - 1] if depth else ""
        beside = [layer[-1] for layer in layers if layer[:-1] == path[:depth]]
        beside.sort(key=lambda name: int(re.search(r"\d*$", name)[0] or 0))
        if parent.startswith("encoderblock_"):
            kind = re.search("norm|attention|mlp|$", part.lower())[0]
            rank = [name for name in beside if kind in name.lower()].index(part) + 1
            names.append(f"norm{rank}" if kind == "norm" else kind)
        elif names[-1:] == ["mlp"]:
            names.append(f"fc{beside.index(part) + 1}")
        elif part.startswith("encoderblock_"):
            names.append(f"transformer.{part}")
        elif part != "unit1":
            names.append(PORT_NAMES.get(part, part))
    return ".".join([*names, PORT_NAMES.get(path[-1], path[-1])])


def _port_tensor(path, array):
    """An array at `path` in the shape that torch gives it."""
    import torch

    leaf = path[-1]
    if leaf in ("scale", "bias"):
        array = array.reshape(-1)
    elif leaf == "scale_embedding":
        array = array[0]
    elif leaf == "kernel" and array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif leaf == "kernel" and path[-2] == "out":  # attention's last one: (heads, n, width)
        array = array.reshape(-1, array.shape[-1]).T
    elif leaf == "kernel":  # its others: (width, heads, n)
        array = array.reshape(len(array), -1).T
    return torch.from_numpy(np.array(array, np.float32, order="C"))
