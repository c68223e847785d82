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


class Keeper:
    """Writes what a training consists of, and takes it up again.

    `parts`: name -> object with state_dict and load_state_dict. `configuration`: what must be the
    same to go on, name -> plain value. `rank`: of several processes all read the file, and the
    first one writes it. No `path`: nothing is kept."""

    def __init__(
        self, path: Path | None, configuration: dict, parts: dict, *, minutes: float, rank: int
    ):
        self.path, self.configuration, self.parts = path, configuration, parts
        self.minutes, self.rank, self.written = minutes, rank, time.monotonic()

    def due(self) -> bool:
        """Whether the last checkpoint is `minutes` old."""
        return (
            self.path is not None
            and self.rank == 0
            and time.monotonic() - self.written >= 60 * self.minutes
        )

    def save(self, past: dict) -> None:
        """Write a checkpoint with the plain values and tensors of `past`; errors as `save`."""
        if self.path is None or self.rank:
            return
        states = {name: part.state_dict() for name, part in self.parts.items()}
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        random = {"torch": torch.get_rng_state(), "cuda": cuda}
        save(self.path, states | random | {"past": past, "configuration": self.configuration})
        self.written = time.monotonic()

    def restore(self) -> dict | None:
        """Bring parts and torch's random state to where they were and return `past`; None without a
        file; errors as `load`.
        """
        if self.path is None or (state := load(self.path, self.configuration)) is None:
            return None
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        if self.rank == 0:
            torch.set_rng_state(state["torch"])
            if len(state["cuda"]) == torch.cuda.device_count() > 0:
                torch.cuda.set_rng_state_all(state["cuda"])
        else:  # the first process's numbers would repeat its dropout
            torch.manual_seed(zlib.crc32(state["torch"].numpy()) + self.rank)
        return state["past"]


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
        kept = "the earlier checkpoint is untouched" if path.exists() else "there is no earlier one"
        fix = "free some space or make the folder writable, then start the run again: it goes on from the last checkpoint"
        why = str(
            error.__context__ if isinstance(error.__context__, OSError) else error
        ).splitlines()[0]
        raise OSError(f"the checkpoint {path} cannot be written ({why}); {kept}; {fix}") from error


def load(path: Path, configuration: dict) -> dict | None:
    """The state that was saved with this very `configuration`; None where there is no file.

    ValueError naming what differs for a checkpoint of another training, and for a damaged file.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        then = state["configuration"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of this code; delete it to begin anew"
        ) from error
    names = sorted(
        key for key in then.keys() | configuration if then.get(key) != configuration.get(key)
    )
    if names:
        told = "; ".join(
            f"{key} was {then.get(key)!r}, is {configuration.get(key)!r}" for key in names
        )
        fix = "give what was given then to go on, or delete the file to begin anew"
        raise ValueError(f"{path} belongs to another training: {told}; {fix}")
    return state
