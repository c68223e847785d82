"""Downloads from a server on this machine that cuts, ignores ranges, and answers with pages."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from iqa_core import download
from iqa_core.apps import commands

DATA = bytes(range(256)) * 20_000  # 5 MB: more than one chunk
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/file; /cut breaks off half-way of what is asked; /whole knows no ranges; /page and /id
    answer HTML; else 404.
    """

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        kind = self.path.partition("?")[0]
        if kind in ("/page", "/id"):
            return self._answer(
                200, b"<html>Quota exceeded</html>", {"Content-Type": "text/html; charset=utf-8"}
            )
        if kind not in ("/file", "/cut", "/whole", "/unsized", "/shifted"):
            return self.send_error(404)
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if kind != "/whole" else 0
        if start >= len(DATA):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(DATA)}"})
        told = start + 7 if kind == "/shifted" else start
        ranged = {"Content-Range": f"bytes {told}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        self._answer(
            206 if start else 200,
            DATA[start:],
            ranged,
            sized=kind != "/unsized",
            cut=kind == "/cut",
        )

    def _answer(self, status, body, headers, *, sized=True, cut=False):
        self.send_response(status)
        for key, value in (
            {"Content-Length": str(len(body))} if sized else {} | {"Connection": "close"}
        ).items():
            self.send_header(key, value)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """Its address; `.asked` has the paths and ranges asked for."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.url = [], f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("kind", ["file", "whole", "unsized"])
@pytest.mark.parametrize("known", [SHA256, SHA256[:8].upper(), None])
def test_a_file_arrives_whole_with_its_checksum(server, tmp_path, kind, known):
    path = tmp_path / "folder/weights.pth"
    assert download.download(f"{server.url}/{kind}", path, sha256=known) == SHA256
    assert path.read_bytes() == DATA
    assert (tmp_path / "folder/weights.pth.sha256").read_text() == f"{SHA256}  weights.pth\n"
    assert names(path.parent) == ["weights.pth", "weights.pth.sha256"]


def test_a_file_that_is_there_is_checked_and_not_fetched(server, tmp_path):
    path = tmp_path / "weights.pth"
    for _ in range(2):
        download.download(f"{server.url}/file", path)
    assert len(server.asked) == 1
    path.write_bytes(DATA[:-1])
    with pytest.raises(
        ValueError,
        match="weights.pth is not the file expected from .*; remove it and fetch it again",
    ):
        download.download(f"{server.url}/file", path)
    assert path.exists()


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    path, half = tmp_path / "weights.pth", len(DATA) // 2
    with pytest.raises(
        FileNotFoundError,
        match="arrived.*the same command goes on from there.*put the file at .*weights.pth",
    ):
        download.download(f"{server.url}/cut", path)
    assert names(tmp_path) == ["weights.pth.part"]
    assert (tmp_path / "weights.pth.part").stat().st_size == half
    assert download.download(f"{server.url}/file", path, sha256=SHA256) == SHA256
    assert path.read_bytes() == DATA
    assert server.asked[-1] == ("/file", f"bytes={half}-")


def test_a_server_without_ranges_begins_again(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(b"something else")
    download.download(f"{server.url}/whole", tmp_path / "weights.pth", sha256=SHA256)
    assert server.asked == [("/whole", "bytes=14-")]
    assert (tmp_path / "weights.pth").read_bytes() == DATA


@pytest.mark.parametrize("rest", [DATA, DATA + b"too long"])
def test_a_part_that_cannot_be_continued(server, tmp_path, rest):
    """All was there but the renaming; or another file, longer than this one."""
    (tmp_path / "weights.pth.part").write_bytes(rest)
    assert download.download(f"{server.url}/file", tmp_path / "weights.pth") == SHA256
    assert (tmp_path / "weights.pth").read_bytes() == DATA


def test_a_wrong_checksum_is_told_and_the_part_removed(server, tmp_path):
    with pytest.raises(
        ValueError, match=rf"its sha256 is {SHA256}, 00ff is wanted; what arrived was removed"
    ):
        download.download(f"{server.url}/file", tmp_path / "weights.pth", sha256="00ff")
    assert names(tmp_path) == []


def test_a_missing_file_tells_address_and_place(server, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=rf"{server.url}/none could not be fetched .*404.*put the file at {tmp_path}",
    ):
        download.download(f"{server.url}/none", tmp_path / "weights.pth")
    assert names(tmp_path) == []


def test_no_connection_tells_address_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(
        FileNotFoundError, match="could not be fetched .*refused.*in a browser and put the file at"
    ):
        download.download("http://127.0.0.1:9/file", tmp_path / "weights.pth")


def test_a_web_page_is_no_file(server, tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match="answers with a web page instead of a file: it has moved"
    ):
        download.download(f"{server.url}/page", tmp_path / "weights.pth")
    monkeypatch.setattr(download, "DRIVE", server.url + "/id?id={}&confirm=t")
    with pytest.raises(
        FileNotFoundError,
        match="quota is used up.*Open https://drive.google.com/file/d/1abc/view in a browser",
    ):
        download.download("drive:1abc", tmp_path / "weights.pth")
    assert server.asked[-1][0] == "/id?id=1abc&confirm=t"
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "", "timm:resnet50"]
)
def test_other_addresses_are_refused(address, tmp_path):
    with pytest.raises(ValueError, match="is no address to fetch from"):
        download.download(address, tmp_path / "weights.pth")


def test_weights_get_fetches_and_tells_what_is_next(server, project, monkeypatch, capsys):
    from iqa_core.models import published

    row = published.row("ckdn-pipal")._replace(address=f"{server.url}/file")
    monkeypatch.setattr(published, "row", lambda name: row)
    monkeypatch.setattr("sys.argv", ["iqa_core", "weights", "get", "ckdn-pipal"])
    for told in ("fetched", "was here already"):
        with pytest.raises(SystemExit) as ended:
            commands.main()
        out = capsys.readouterr().out
        assert ended.value.code == 0 and told in out and SHA256 in out
        assert "weights convert --model ckdn-pipal" in out
    assert row.path.read_bytes() == DATA


def test_an_empty_file_is_fetched_again_and_an_empty_note_is_no_checksum(server, tmp_path):
    path = tmp_path / "weights.pth"
    path.touch()
    assert download.download(f"{server.url}/file", path) == SHA256
    path.with_name("weights.pth.sha256").write_text("")
    assert download.download(f"{server.url}/file", path) == SHA256


def test_a_server_that_answers_another_range_is_asked_for_all(server, tmp_path):
    path = tmp_path / "weights.pth"
    path.with_name("weights.pth.part").write_bytes(DATA[:1000])
    assert download.download(f"{server.url}/shifted", path) == SHA256
    assert [asked for _, asked in server.asked] == ["bytes=1000-", None]


def test_two_downloads_of_one_file_do_not_mix(server, tmp_path, monkeypatch):
    check = download._check
    monkeypatch.setattr(
        download, "_check", lambda *arguments: time.sleep(0.2) or check(*arguments)
    )  # as a large file's is
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda _: download.download(f"{server.url}/file", tmp_path / "weights.pth"),
                range(4),
            )
        )
    assert found == [SHA256] * 4 and (tmp_path / "weights.pth").read_bytes() == DATA
