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
    """/file; /slow pauses half-way, /cut breaks off there; /whole knows no ranges, /unsized no
    length, /shifted answers another range; /page and /id answer HTML; else 404.
    """

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        kind = self.path.partition("?")[0]
        if kind in ("/page", "/id"):
            html = {"Content-Type": "text/html; charset=utf-8"}
            return self._answer(200, b"<html>Quota exceeded</html>", html)
        if kind not in ("/file", "/slow", "/cut", "/whole", "/unsized", "/shifted"):
            return self.send_error(404)
        start = 0
        if kind != "/whole" and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(DATA):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(DATA)}"})
        if start == 0:
            return self._answer(200, DATA, {}, kind)
        first = start + 7 if kind == "/shifted" else start
        content_range = {"Content-Range": f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"}
        self._answer(206, DATA[start:], content_range, kind)

    def _answer(self, status, body, headers, kind=""):
        self.send_response(status)
        if kind != "/unsized":
            self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if kind == "/slow":
            time.sleep(0.2)
        if kind != "/cut":
            self.wfile.write(body[half:])
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
    wanted = "weights.pth is not the file expected from .*; remove it and fetch it again"
    with pytest.raises(ValueError, match=wanted):
        download.download(f"{server.url}/file", path)
    assert path.exists()


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    path, half = tmp_path / "weights.pth", len(DATA) // 2
    wanted = "arrived.*the same command goes on from there.*put the file at .*weights.pth"
    with pytest.raises(FileNotFoundError, match=wanted):
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
    wanted = f"its sha256 is {SHA256}, 00ff is wanted; what arrived was removed"
    with pytest.raises(ValueError, match=wanted):
        download.download(f"{server.url}/file", tmp_path / "weights.pth", sha256="00ff")
    assert names(tmp_path) == []


def test_a_missing_file_tells_address_and_place(server, tmp_path):
    wanted = f"{server.url}/none could not be fetched .*404.*put the file at {tmp_path}"
    with pytest.raises(FileNotFoundError, match=wanted):
        download.download(f"{server.url}/none", tmp_path / "weights.pth")
    assert names(tmp_path) == []


def test_no_connection_tells_address_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    wanted = "could not be fetched .*refused.*in a browser and put the file at"
    with pytest.raises(FileNotFoundError, match=wanted):
        download.download("http://127.0.0.1:9/file", tmp_path / "weights.pth")


def test_a_web_page_is_no_file(server, tmp_path, monkeypatch):
    wanted = "answers with a web page instead of a file: it has moved"
    with pytest.raises(FileNotFoundError, match=wanted):
        download.download(f"{server.url}/page", tmp_path / "weights.pth")
    monkeypatch.setattr(download, "DRIVE", server.url + "/id?id={}&confirm=t")
    wanted = "quota is used up.*Open https://drive.google.com/file/d/1abc/view in a browser"
    with pytest.raises(FileNotFoundError, match=wanted):
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


def test_downloads_of_one_file_at_once_do_not_mix(server, tmp_path):
    path = tmp_path / "weights.pth"
    with ThreadPoolExecutor(4) as pool:
        downloads = [pool.submit(download.download, f"{server.url}/slow", path) for _ in range(4)]
    assert [done.result() for done in downloads] == [SHA256] * 4
    assert path.read_bytes() == DATA
    assert server.asked == [("/slow", None)], "one fetches, the others find it there"
