"""Archives of data sets: unpacked so that nothing lands outside the folder, and again only what is
missing.
"""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from iqa_core.files import replacing

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError)
# what Python can decompress
KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a .zip archive into a folder; the number of files written.

    A file that is there with its full size is left as it is, so an interrupted call can be
    repeated; a file has its name only when it is complete.

    Raises:
        ValueError: for an archive that is damaged; and, before anything is written, for one that
            holds links, passwords, unknown compression or names that lead out of the folder, or
            needs more disk than is free.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = {}
            for member in file.infolist():
                if not member.is_dir():
                    _check(member, archive)
                    members[_inside(folder, member.filename, archive)] = member
            missing = {
                path: member
                for path, member in members.items()
                if not (path.is_file() and path.stat().st_size == member.file_size)
            }
            _check_room(sum(member.file_size for member in missing.values()), folder, archive)
            bar = dict(desc=f"unpack {archive.name}", mininterval=2, disable=not missing)
            for path, member in tqdm(missing.items(), **bar):
                with (
                    replacing(path) as draft,
                    file.open(member) as source,
                    draft.open("wb") as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 20)
    except DAMAGED as error:
        raise ValueError(
            f"{archive} cannot be unpacked ({error}); delete it and fetch it again"
        ) from error
    return len(missing)


def _check(member: zipfile.ZipInfo, archive: Path) -> None:
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    has_password = member.flag_bits & 1
    if is_link or has_password:
        raise ValueError(
            f"{archive} holds {member.filename}, a link or a file with a password; unpack it by "
            f"hand if you trust it"
        )
    if member.compress_type not in KNOWN:
        raise ValueError(
            f"{archive} holds {member.filename}, compressed as Python cannot undo; unpack it with "
            f"7-Zip"
        )


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Where a member goes: below the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(
            f"{archive} holds {name}, which leads out of {folder}; do not trust this file"
        )
    return folder.joinpath(*parts)


def _check_room(needed: int, folder: Path, archive: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{archive} unpacks to {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB; "
            f"free some or let data/raw be a link to another disk"
        )
