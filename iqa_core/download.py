"""One file from the web: resumed where it broke off, checked, and there only when it is
complete.
"""

import hashlib
import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from filelock import FileLock
from tqdm.auto import tqdm

from iqa_core.files import write_text

DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
DRIVE_PAGE = "https://drive.google.com/file/d/{}/view"  # for people
SILENCE = 60  # seconds without a byte, then the connection counts as broken
CHUNK = 1 << 20
BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def download(address: str, path: Path, *, sha256: str | None = None) -> str:
    """Fetch a file; one that is there already is only checked.

    What arrives lies in <path>.part, where the next call goes on after an interruption.

    Args:
        address: a URL, or drive:<id> of Google Drive.
        path: where the file is to be.
        sha256: expected, or its first digits alone; without it the one written at the first time.

    Returns:
        The file's sha256, also written to <path>.sha256.

    Raises:
        FileNotFoundError: when the file cannot be had (offline, 404, a web page in its place).
        ValueError: for a file that is not the expected one. Both tell the address, the path and
            what to do.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):  # two at once would write into one .part
        return _download(address, path, sha256 or "")


def _download(address, path, sha256):
    part = path.with_name(f"{path.name}.part")
    note = path.with_name(f"{path.name}.sha256")
    if _size(path):
        noted = note.read_text(encoding="utf-8").split()[:1] if note.is_file() else []
        return _check(path, sha256 or "".join(noted), address)
    in_drive = address.startswith("drive:")
    try:
        _fetch(DRIVE.format(address[6:]) if in_drive else address, part)
    except BROKEN as error:
        kept = ""
        if _size(part):
            kept = "; what has arrived is kept, and the same command goes on from there"
        raise FileNotFoundError(
            f"{address} could not be fetched ({error}){kept}. {_by_hand(address, path)}"
        ) from error
    except _WebPageError as error:
        why = "it has moved, or asks for a login"
        if in_drive:
            why = "the quota is used up, or it is shared no more"
        raise FileNotFoundError(
            f"{address} answers with a web page instead of a file: {why}. {_by_hand(address, path)}"
        ) from error
    try:
        digest = _check(part, sha256, address)
    except ValueError:
        part.unlink()
        raise
    write_text(note, f"{digest}  {path.name}\n")
    part.replace(path)
    return digest


class _WebPageError(Exception):
    """HTML where a file was asked for."""


def page(address: str) -> str:
    """What a person opens in a browser to have the file."""
    return DRIVE_PAGE.format(address[6:]) if address.startswith("drive:") else address


def _by_hand(address, path):
    return f"Open {page(address)} in a browser and put the file at {path}"


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def _fetch(url, part):
    """Append to `part` what it lacks, or write it anew where the server does not know byte
    ranges.
    """
    if not re.match(r"https?://", url):
        raise ValueError(f"{url} is no address to fetch from; https://, http:// and drive: are")
    start = _size(part)
    headers = {"User-Agent": "iqa_core"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # the range begins at the end: all is there, or the file has become another
        error.close()
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
            return
        part.unlink()
        return _fetch(url, part)
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise _WebPageError
        content_range = answer.headers.get("Content-Range", "")
        if answer.status == 206 and not content_range.startswith(f"bytes {start}-"):
            part.unlink()  # another part of the file than was asked for: all of it anew
            return _fetch(url, part)
        if answer.status != 206:
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        _write(answer, part, start=start, total=total)
    if total is not None and _size(part) != total:
        raise ConnectionError(f"{_size(part)} of {total} bytes arrived")


def _write(answer, part, *, start, total):
    name = part.name.removesuffix(".part")
    bar = tqdm(
        desc=name,
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        disable=None,
        mininterval=1,
    )
    with bar, part.open("ab" if start else "wb") as file:
        while chunk := answer.read1(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _check(path, sha256, address):
    """The file's sha256; ValueError if it does not begin as it should."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256.lower()):
        fix = "remove it and fetch it again"
        if path.suffix == ".part":
            fix = "what arrived was removed, fetch it again"
        raise ValueError(
            f"{path} is not the file expected from {address}: its sha256 is {digest}, {sha256} is "
            f"wanted; {fix}"
        )
    return digest
