"""Pictures that are to be scored: read from files or addresses, or the reason why not."""

import os
import shutil
import stat
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from iqa_core.apps.listing import is_address
from iqa_core.pixels import image_size, read_image

UNKNOWN = 2e6  # pixels that are expected behind an address, before it is fetched


class Picture(NamedTuple):
    """A picture that was read, or why it was not."""

    row: dict  # image, files (what tells whether they changed), width and height where it was read
    pixels: np.ndarray | None
    reference: np.ndarray | None
    reason: str  # why it, or its reference, could not be read; "" where both were


def read_picture(image: str, reference: str, wants_reference: bool) -> Picture:
    """A picture and, where it is wanted, its reference, or why they cannot be read."""
    reference = reference if wants_reference else ""
    row = {"image": image, "files": files_of(image, reference)}
    try:
        pixels = _pixels(image)
    except (ValueError, OSError, MemoryError) as error:
        return Picture(row, None, None, _reason(error))
    row |= {"width": pixels.shape[1], "height": pixels.shape[0]}
    if not reference:
        return Picture(row, pixels, None, "")
    try:
        return Picture(row, pixels, _reference(reference, *_identity(reference)), "")
    except (ValueError, OSError, MemoryError) as error:
        return Picture(row, pixels, None, f"its reference: {_reason(error)}")


def files_of(image: str, reference: str) -> list:
    """What tells whether an image, and its reference, are the same still; as JSON has it."""
    return [*_identity(image), reference, *(_identity(reference) if reference else [])]


def _identity(path):
    """Size, bytes, and time of the last change, ns, of a file; of an address what its store tells
    of it; None twice where it is not there.
    """
    if is_address(path):
        import fsspec

        try:
            system, name = fsspec.core.url_to_fs(path)
            facts = system.info(name)
        except Exception:  # every store has errors of its own; reading it will tell
            return [None, None]
        changed = next((facts[key] for key in ("ETag", "etag", "mtime") if key in facts), None)
        return [facts.get("size"), str(changed)]
    try:
        status = os.stat(path)
    except OSError:
        return [None, None]
    return [status.st_size, status.st_mtime_ns]


@lru_cache(maxsize=2)
def _reference(path, size, changed):
    """The pixels of a reference, of which many pictures in a row may have the same."""
    return _pixels(path)


def _pixels(path):
    """The pixels of a file, or of an address through a copy; ValueError or OSError says why not."""
    if not is_address(path):
        _check_kind(path)
        return read_image(Path(path))
    import fsspec

    with tempfile.NamedTemporaryFile(suffix=Path(path).suffix) as copy:
        try:
            with fsspec.open(path) as source:
                shutil.copyfileobj(source, copy)
        except Exception as error:  # every store has errors of its own
            raise ValueError(
                f"{path} cannot be fetched: {type(error).__name__}: {error}"
            ) from error
        copy.flush()
        try:
            return read_image(Path(copy.name))
        except ValueError as error:
            raise ValueError(str(error).replace(copy.name, path)) from error


def _reason(error):
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    return readable(str(error)) or type(error).__name__


def pixels_of(path: str) -> float:
    """Width times height, by the header; 0 for what cannot be read, which reading will tell."""
    if is_address(path):
        return UNKNOWN
    try:
        _check_kind(path)
        width, height = image_size(Path(path))
    except (ValueError, OSError):
        return 0
    return width * height


def _check_kind(path):
    """ValueError for what is no file: reading a pipe would wait for ever. PermissionError for a
    folder that cannot be opened.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        os.listdir(path)
        raise ValueError("it is a folder, no file")
    if not stat.S_ISREG(mode):
        raise ValueError("it is a pipe, socket or device, no file")


def readable(path: str) -> str:
    """A path as text that can be written: bytes of its name that are no UTF-8 as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
