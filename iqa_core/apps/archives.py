"""Archives of data sets: unpacked so that nothing lands outside the folder, and again only what is missing."""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


def is_archive(path: Path) -> bool:
    """Whether `unpack` knows the file, by its name."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a .zip or .tar (also compressed) archive into `folder`; the number of files written.

    A file that is there with its full size is left as it is, so an interrupted call can be repeated; a file has its name only
    when it is complete. ValueError, before anything is written, for an archive that is damaged, holds links, passwords or
    names that lead out of the folder, or needs more disk than is free.
    """
    try:
        with _opened(archive) as members:
            places = [(_inside(folder, name, archive), size, read) for name, size, read in members]
            missing = [entry for entry in places if not (entry[0].is_file() and entry[0].stat().st_size == entry[1])]
            _check_room(sum(size for _, size, _ in missing), folder, archive)
            for path, _, read in tqdm(missing, desc=f"unpack {archive.name}", mininterval=2, disable=not missing):
                path.parent.mkdir(parents=True, exist_ok=True)
                draft = path.with_name(f".{path.name}.part")
                with read() as source, draft.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                draft.replace(path)
    except DAMAGED as error:
        raise ValueError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again") from error
    return len(missing)


@contextmanager
def _opened(archive):
    """[(name, bytes, function that opens it)] of the files in the archive."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            odd = [m.filename for m in members if stat.S_ISLNK(m.external_attr >> 16) or m.flag_bits & 1]
            _refuse(odd, archive)
            yield [(member.filename, member.file_size, partial(file.open, member)) for member in members]
    else:
        with tarfile.open(archive) as file:
            members = [member for member in file.getmembers() if not member.isdir()]
            _refuse([member.name for member in members if not member.isfile()], archive)
            yield [(member.name, member.size, partial(file.extractfile, member)) for member in members]


def _refuse(odd, archive):
    if odd:
        raise ValueError(
            f"{archive} holds {odd[0]}, a link, a device or a file with a password; unpack it by hand if you trust it"
        )


def _inside(folder, name, archive):
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{archive} holds {name}, which leads out of {folder}; do not trust this file")
    return folder.joinpath(*parts)


def _check_room(needed, folder, archive):
    folder.mkdir(parents=True, exist_ok=True)
    if needed > (free := shutil.disk_usage(folder).free):
        sizes = f"unpacks to {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB"
        raise ValueError(f"{archive} {sizes}; free some or let data/raw be a link to another disk")
