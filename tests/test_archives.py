import stat
import zipfile

import pytest

from iqa_core.apps import archives
from iqa_core.apps.archives import unpack

FILES = {
    "images/a.png": b"a" * 5000,
    "images/deep/b.png": b"b" * 300,
    "labels.csv": b"image,label\n",
}


def make_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_an_archive_is_unpacked_once_and_what_lacks_is_put_back(tmp_path):
    archive, out = make_zip(tmp_path / "x.zip"), tmp_path / "out"
    assert unpack(archive, out) == 3
    assert content(out) == FILES
    (out / "images/a.png").write_bytes(b"half")
    kept = (out / "labels.csv").stat().st_mtime_ns
    assert unpack(archive, out) == 1
    assert content(out) == FILES and (out / "labels.csv").stat().st_mtime_ns == kept
    assert unpack(archive, out) == 0


def test_a_call_that_was_killed_leaves_no_half_file_under_its_name(tmp_path, monkeypatch):
    archive, out = make_zip(tmp_path / "x.zip"), tmp_path / "out"

    def killed(source, target, size):
        target.write(source.read(10))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "copyfileobj", killed)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, out)
    assert not content(out)
    assert unpack(archive, out) == 3 and content(out) == FILES


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "images/../../evil", "..\\evil", "C:\\evil"]
)
def test_names_that_lead_out_of_the_folder_are_refused_before_anything_is_written(tmp_path, name):
    archive = make_zip(tmp_path / "x.zip", {"good.png": b"1", name: b"2"})
    with pytest.raises(ValueError, match="leads out of .*; do not trust this file"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not content(tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_links_passwords_and_unknown_compression_are_refused_before_anything_is_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr("good.png", b"1")
        link = zipfile.ZipInfo("odd")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    make_zip(tmp_path / "locked.zip", {"good.png": b"1", "odd": b"2"})
    whole = bytearray((tmp_path / "locked.zip").read_bytes())
    whole[whole.rindex(b"PK\x01\x02") + 8] |= (
        1  # the flag of a password, in the list at the archive's end
    )
    (tmp_path / "locked.zip").write_bytes(whole)
    whole[whole.rindex(b"PK\x01\x02") + 8] &= ~1
    whole[whole.rindex(b"PK\x01\x02") + 10] = 9  # the kind of compression there: Deflate64
    (tmp_path / "newer.zip").write_bytes(whole)
    with pytest.raises(
        ValueError,
        match="newer.zip holds odd, compressed as Python cannot undo; unpack it with 7-Zip",
    ):
        unpack(tmp_path / "newer.zip", tmp_path / "out")
    for name in ("link.zip", "locked.zip"):
        with pytest.raises(
            ValueError,
            match=f"{name} holds odd, a link or a file with a password; unpack it by hand",
        ):
            unpack(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_and_too_large_archives_are_refused(tmp_path, monkeypatch):
    whole = make_zip(tmp_path / "x.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-40])
    (tmp_path / "spoilt.zip").write_bytes(
        whole[:42] + bytes(255 - b for b in whole[42:46]) + whole[46:]
    )
    for name in ("cut.zip", "spoilt.zip"):
        with pytest.raises(ValueError, match="cannot be unpacked .*; delete it and fetch it again"):
            unpack(tmp_path / name, tmp_path / "out")
    assert not content(tmp_path / "out"), "the draft of a damaged file is removed"
    monkeypatch.setattr(
        archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100})
    )
    with pytest.raises(ValueError, match="unpacks to 0.0 GB, but .* has 0.0 GB; free some"):
        unpack(tmp_path / "x.zip", tmp_path / "out")
