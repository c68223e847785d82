"""Trainings that are kept, each under the key of what it depends on: while it runs a checkpoint
that is there whole or not at all, and afterwards its rows and weights.
"""

import hashlib
import json
import os
import pickle
import time
import zlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import torch

from ..files import read_json, shortage, write_json

OLD = 600  # seconds without a byte more: what another process writes is younger
MOST_DIFFERENCES = 3  # told of the kept training that is nearest to one that begins anew


class Checkpoint:
    """Keeps one training in `<folder>/<key>/`: `identity.json`, what the key stands for;
    `last.ckpt` while it runs; `finished.ckpt` afterwards.

    folder      None: nothing is kept
    identity    what a training depends on, name -> plain value; another one has another key
    parts       name -> object with state_dict and load_state_dict
    minutes     the longest time without a checkpoint
    rank        of several processes all read the files, and the first one writes them
    """

    def __init__(
        self, folder: Path | None, identity: dict, parts: dict, *, minutes: float, rank: int
    ):
        self.identity, self.parts = json.loads(json.dumps(identity)), parts
        self.minutes, self.rank, self.written = minutes, rank, time.monotonic()
        text = json.dumps(identity, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.folder = None if folder is None else Path(folder) / self.key

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.ckpt"

    def finished(self) -> dict | None:
        """What `finish` has kept of this training; None where it has not finished; errors as
        `load`.
        """
        return None if self.folder is None else load(self._file("finished"))

    def due(self) -> bool:
        """Whether the last checkpoint is `minutes` old."""
        if self.folder is None or self.rank:
            return False
        return time.monotonic() - self.written >= 60 * self.minutes

    def save(self, progress: dict) -> None:
        """Write all parts, torch's random state, and the plain values and tensors of `progress`;
        errors as `save`.
        """
        if self.folder is None or self.rank:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["torch"] = torch.get_rng_state()
        state["cuda"] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        if not self.folder.is_dir():
            self._begin(state)
        save(self._file("last"), state | {"progress": progress})
        self.written = time.monotonic()

    def _begin(self, state):
        """Makes the folder; OSError where two checkpoints with a second set of weights, as they
        will be, have no place on the disk.
        """
        sizes = {name: _bytes_of(part) for name, part in state.items()}
        needed = 2 * (sum(sizes.values()) + 3 * sizes.get("model", 0))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            short = shortage(self.folder, needed)
        except OSError as error:
            short = str(error)
        if short:
            raise OSError(
                f"no training can be kept in {self.folder.parent}: {short}; free some space or "
                "make the folder writable"
            )
        write_json(self.folder / "identity.json", {"date": _now(), "identity": self.identity})

    def finish(self, result: dict) -> None:
        """Keep what a finished training has led to, plain values and tensors, in place of its
        checkpoint; errors as `save`.
        """
        if self.folder is None or self.rank:
            return
        save(self._file("finished"), result | {"date": _now(), "torch": str(torch.__version__)})
        self._file("last").unlink(missing_ok=True)
        for draft in self.folder.glob(".*.ckpt.*"):  # of processes that were killed
            with suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > OLD:
                    draft.unlink()

    def restore(self) -> dict | None:
        """Bring parts and torch's random state to where they were and return `progress`; None
        without a file; errors as `load`.
        """
        state = None if self.folder is None else load(self._file("last"))
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

    def why_anew(self) -> str:
        """What differs from the kept training that is nearest to this one, where there is one that
        differs in little; else "".
        """
        if self.folder is None:
            return ""
        found = []
        for file in sorted(self.folder.parent.glob("*/identity.json")):
            kept = read_json(file)["identity"]
            differences = _differences(kept, self.identity)
            found.append((len(differences), file.parent.name, differences))
        number, key, differences = min(found, default=(0, "", []))
        if not 0 < number <= MOST_DIFFERENCES:
            return ""
        return f"begins anew; the kept training {key} differs: {'; '.join(differences)}"


def _differences(before: dict, now: dict) -> list[str]:
    """What is not the same, in words."""
    names = sorted(before.keys() | now)
    return [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _bytes_of(state) -> int:
    """The size of all tensors in nested dicts and lists."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    values = state.values() if isinstance(state, dict) else state
    return sum(map(_bytes_of, values)) if isinstance(state, dict | list | tuple) else 0


def save(path: Path, state: dict) -> None:
    """Write `state` (tensors, numbers, text, lists and dicts of them); a kill at any moment leaves
    the earlier file whole.

    OSError where it cannot be written, also with the earlier file whole.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
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


def load(path: Path) -> dict | None:
    """What was saved; None where there is no file; ValueError for a damaged one."""
    if not path.exists():
        return None
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or no checkpoint of this code; delete it to begin anew"
        ) from error
