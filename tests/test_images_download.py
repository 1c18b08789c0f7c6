"""A download that breaks off goes on where it stopped; what arrives is compared with what is expected."""

import hashlib
import http.server
import threading

import pytest
import torch

from hierlib.images import download

CONTENT = torch.randint(256, (3 * (1 << 20) + 17,), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
CONTENT = CONTENT.numpy().tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; breaks off after `limit` bytes; understands ranges if told so."""

    limit, ranges, seen = None, True, []

    def do_GET(self):
        if self.path != "/file":
            return self.send_error(404)
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if self.headers["Range"] else 0
        Server.seen.append(start)
        start = start if Server.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : None if Server.limit is None else start + Server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    Server.limit, Server.ranges, Server.seen = None, True, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(path, url, **change):
    download.fetch(path, **dict(url=url, size=len(CONTENT), sha256=SHA256, show=False) | change)


@pytest.mark.parametrize("ranges", [True, False])
def test_it_goes_on_where_it_stopped(url, tmp_path, ranges):
    path = tmp_path / "new" / "weights.pt"
    Server.limit = 1 << 20
    with pytest.raises(ValueError, match=r"call again to go on from weights\.pt\.part"):
        fetch(path, url)
    assert not path.exists() and (tmp_path / "new" / "weights.pt.part").stat().st_size == 1 << 20
    Server.limit, Server.ranges = None, ranges
    fetch(path, url)
    assert path.read_bytes() == CONTENT and Server.seen == [0, 1 << 20]
    assert [f.name for f in path.parent.iterdir()] == ["weights.pt"]
    with pytest.raises(ValueError, match="expected no file there, got one; remove it"):
        fetch(path, url)


def test_another_file_is_refused(url, tmp_path):
    path = tmp_path / "weights.pt"
    with pytest.raises(ValueError, match="expected 5 bytes, got 3,145,745; is it the right address"):
        fetch(path, url, size=5)
    with pytest.raises(ValueError, match=r"expected sha256 00, got .*; the file was removed"):
        fetch(path, url, sha256="00")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="expected the file, got HTTP Error 404"):
        fetch(path, url + "s")
    fetch(path, url, sha256=None)
    assert path.read_bytes() == CONTENT


@pytest.mark.slow
def test_command_and_progress(url, tmp_path, capsys, call):
    code, said = call("images", "download", str(tmp_path / "x"), "--url", url)
    assert code == 2 and "hierlib images download: " in said and "expected 2,211,383,297 bytes, got 3,145,745" in said
    fetch(tmp_path / "x", url, show=True)
    assert "3/3 MiB  100%" in capsys.readouterr().err


def test_nothing_is_fetched_without_being_asked(monkeypatch, tmp_path):
    from hierlib.images import adm

    asked = []
    monkeypatch.setattr(adm, "fetch", asked.append)
    with pytest.raises(ValueError, match="or pass download=True"):
        adm.load_adm(tmp_path / "x.pt")
    assert not asked
    with pytest.raises(ValueError):
        adm.load_adm(tmp_path / "x.pt", download=True)
    assert asked == [tmp_path / "x.pt"]
