"""What vision models answered to the pictures of one photograph, kept in files and asked once."""

import hashlib
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..detections import Found
from ..files import replacing
from . import Machine


def state_of(paths: Sequence[Path]) -> str:
    """What tells files from others that lie in their places: names, sizes, times of change."""
    stats = [(path.name, path.stat()) for path in paths]
    return "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


def file_of(folder: Path, machine: Machine, name: str, state: str) -> Path:
    """Where a machine's answers to the pictures of `name` are kept: under another name as soon as
    the machine, how it looks or the state of the files (`state_of`) is another.
    """
    key = hashlib.sha256(f"{machine.identity} {machine.views} {machine.task} {name}".encode())
    key.update(state.encode())
    plain, name = (re.sub(r"[^\w.-]+", "_", text) for text in (machine.name, name))
    return folder / plain / f"{name}.{key.hexdigest()[:12]}.npz"


def write_answers(path: Path, machine: Machine, answers: Sequence) -> None:
    """Keep a machine's answers; classifiers' probabilities as 16-bit floats.

    ValueError for answers of another form, or probabilities that are no such.
    """
    if machine.task == "cls":
        values = np.stack([np.atleast_2d(np.asarray(answer, float)) for answer in answers])
        sums = values.sum(-1)
        if not (values.min() >= 0 and abs(sums - 1).max() <= 1e-3):
            raise ValueError(
                f"{machine.name} answers with rows of sum {sums.min():.3g} to {sums.max():.3g}; "
                "probabilities of classes are wanted, of sum 1"
            )
        arrays = {"probabilities": values.astype(np.float16)}
    else:
        arrays = _packed(machine, answers)
    with replacing(path) as draft, open(draft, "wb") as file:
        np.savez(file, **arrays)


def read_answers(path: Path, task: str):
    """What `write_answers` kept: probabilities (n, views, classes), float32; or a list of Found.

    ValueError for a damaged file.
    """
    try:
        with open(path, "rb") as file, np.load(file) as kept:
            arrays = dict(kept)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, it is made again") from error
    if task == "cls":
        return arrays["probabilities"].astype(np.float32)
    return _unpacked(arrays, masked=task == "ins")


def _packed(machine, answers):
    """Objects of several images as flat arrays."""
    if wrong := [type(answer).__name__ for answer in answers if not isinstance(answer, Found)]:
        raise ValueError(f"{machine.name} answers with {wrong[0]}; detections.Found is wanted")
    if machine.task == "ins" and any(len(each) != len(each.masks) for each in answers):
        raise ValueError(f"{machine.name} finds objects without masks; task det compares boxes")
    codes = [mask["counts"] for each in answers for mask in each.masks]
    return {
        "number": np.array([len(each) for each in answers]),
        "size": np.array([each.size for each in answers]),
        "boxes": np.concatenate([np.reshape(each.boxes, (-1, 4)) for each in answers]),
        "classes": np.concatenate([each.classes for each in answers]).astype(int),
        "scores": np.concatenate([each.scores for each in answers]).astype(float),
        "code_lengths": np.array([len(code) for code in codes], int),
        "codes": np.frombuffer(b"".join(codes), np.uint8),
    }


def _unpacked(arrays, *, masked):
    ends = np.cumsum(arrays["number"])
    code_ends = np.cumsum(arrays["code_lengths"])
    codes = arrays["codes"].tobytes()
    found = []
    for end, number, size in zip(ends, arrays["number"], arrays["size"], strict=True):
        rows = slice(end - number, end)
        size = tuple(size.tolist())
        masks = ()
        if masked:
            lengths = zip(code_ends[rows], arrays["code_lengths"][rows], strict=True)
            masks = tuple(
                {"size": list(size), "counts": codes[last - length : last]}
                for last, length in lengths
            )
        boxes, classes, scores = (arrays[name][rows] for name in ("boxes", "classes", "scores"))
        found.append(Found(boxes, classes, scores, masks, size=size))
    return found
