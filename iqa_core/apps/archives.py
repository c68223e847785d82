"""Archives of data sets: unpacked so that nothing lands outside the folder, and again only what is
missing.
"""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError)
KNOWN = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
)  # what Python can decompress


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a .zip archive into `folder`; the number of files written.

    A file that is there with its full size is left as it is, so an interrupted call can be
    repeated; a file has its name only when it is complete. ValueError for an archive that is
    damaged; and before anything is written for one that holds links, passwords, unknown compression
    or names that lead out of the folder, or needs more disk than is free."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            if odd := [
                m.filename
                for m in members
                if stat.S_ISLNK(m.external_attr >> 16) or m.flag_bits & 1
            ]:
                raise ValueError(
                    f"{archive} holds {odd[0]}, a link or a file with a password; unpack it by "
                    f"hand if you trust it"
                )
            if odd := [member.filename for member in members if member.compress_type not in KNOWN]:
                raise ValueError(
                    f"{archive} holds {odd[0]}, compressed as Python cannot undo; unpack it with "
                    f"7-Zip"
                )
            places = [(_inside(folder, member.filename, archive), member) for member in members]
            missing = [
                (p, m) for p, m in places if not (p.is_file() and p.stat().st_size == m.file_size)
            ]
            _check_room(sum(member.file_size for _, member in missing), folder, archive)
            for path, member in tqdm(
                missing, desc=f"unpack {archive.name}", mininterval=2, disable=not missing
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(file, member, path)
    except DAMAGED as error:
        raise ValueError(
            f"{archive} cannot be unpacked ({error}); delete it and fetch it again"
        ) from error
    return len(missing)


def _write(file, member, path):
    draft = path.with_name(f".{path.name}.part")
    try:
        with file.open(member) as source, draft.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _inside(folder, name, archive):
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(
            f"{archive} holds {name}, which leads out of {folder}; do not trust this file"
        )
    return folder.joinpath(*parts)


def _check_room(needed, folder, archive):
    folder.mkdir(parents=True, exist_ok=True)
    if needed > (free := shutil.disk_usage(folder).free):
        sizes = f"unpacks to {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB"
        raise ValueError(f"{archive} {sizes}; free some or let data/raw be a link to another disk")
