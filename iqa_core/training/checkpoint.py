"""Checkpoints that are there whole or not at all, and that only the training they came from takes
up again.
"""

import os
import pickle
import time
import zlib
from contextlib import suppress
from pathlib import Path

import torch


class Checkpoint:
    """Writes what a training consists of to a file, and takes it up again.

    path        None: nothing is kept
    identity    what must be the same to go on, name -> plain value
    parts       name -> object with state_dict and load_state_dict
    minutes     the longest time without a checkpoint
    rank        of several processes all read the file, and the first one writes it
    """

    def __init__(
        self, path: Path | None, identity: dict, parts: dict, *, minutes: float, rank: int
    ):
        self.path, self.identity, self.parts = path, identity, parts
        self.minutes, self.rank, self.written = minutes, rank, time.monotonic()

    def due(self) -> bool:
        """Whether the last checkpoint is `minutes` old."""
        if self.path is None or self.rank:
            return False
        return time.monotonic() - self.written >= 60 * self.minutes

    def save(self, progress: dict) -> None:
        """Write all parts, torch's random state, and the plain values and tensors of `progress`;
        errors as `save`.
        """
        if self.path is None or self.rank:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["torch"] = torch.get_rng_state()
        state["cuda"] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        save(self.path, state | {"progress": progress, "identity": self.identity})
        self.written = time.monotonic()

    def restore(self) -> dict | None:
        """Bring parts and torch's random state to where they were and return `progress`; None
        without a file; errors as `load`.
        """
        state = None if self.path is None else load(self.path, self.identity)
        if state is None:
            return None
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        if self.rank == 0:
            torch.set_rng_state(state["torch"])
            if len(state["cuda"]) == torch.cuda.device_count() > 0:
                torch.cuda.set_rng_state_all(state["cuda"])
        else:  # the first process's numbers would repeat its dropout
            torch.manual_seed(zlib.crc32(state["torch"].numpy()) + self.rank)
        return state["progress"]


def save(path: Path, state: dict) -> None:
    """Write `state` (tensors, numbers, text, lists and dicts of them); a kill at any moment leaves
    the earlier file whole.

    OSError where it cannot be written, also with the earlier file whole.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer makes the second of a full disk
        with suppress(OSError):  # a folder stands there, or the disk refuses that too
            draft.unlink(missing_ok=True)  # half a file on a disk that may be full
        earlier = (
            "the earlier checkpoint is untouched" if path.exists() else "there is no earlier one"
        )
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        why = str(cause).splitlines()[0]
        raise OSError(
            f"the checkpoint {path} cannot be written ({why}); {earlier}; free some space or make "
            "the folder writable, then start the run again: it goes on from the last checkpoint"
        ) from error


def load(path: Path, identity: dict) -> dict | None:
    """The state that was saved with this very `identity`; None where there is no file.

    ValueError naming what differs for a checkpoint of another training, and for a damaged file.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        before = state["identity"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of this code; delete it to begin anew"
        ) from error
    keys = sorted(before.keys() | identity)
    differences = [
        f"{key} was {before.get(key)!r}, is {identity.get(key)!r}"
        for key in keys
        if before.get(key) != identity.get(key)
    ]
    if differences:
        raise ValueError(
            f"{path} belongs to another training: {'; '.join(differences)}; give what was given "
            "then to go on, or delete the file to begin anew"
        )
    return state
