"""Downloads against a real server on this machine, which misbehaves in every way that servers do."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.datasets import download as module
from assay.datasets.download import check_download, download, record_of
from assay.datasets.errors import (
    AssayError,
    ConfigError,
    DatasetError,
    DatasetIntegrityError,
    DownloadError,
    UnknownNameError,
)
from assay.datasets.info import reference_scores
from assay.datasets.remote import d4rl_file, d4rl_table, download_dataset

CONTENT = np.random.default_rng(0).bytes(300_000)
Act = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers each request with the next of `acts`, and the last one from then on; keeps the headers it got."""

    def __init__(self) -> None:
        self.content, self.etag, self.ignore_if_range = CONTENT, '"v1"', False
        self.acts: list[Act] = [self.serve]
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append(dict(self.headers))
                act = outer.acts.pop(0) if len(outer.acts) > 1 else outer.acts[0]
                self.close_connection = True
                act(self)

            def log_message(self, *_: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/data.hdf5"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def head(self, handler: BaseHTTPRequestHandler, status: int, **headers: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()

    def body(self, handler: BaseHTTPRequestHandler) -> bytes:
        """Send the head of a correct answer; return what is to follow."""
        given, size = handler.headers.get("Range"), len(self.content)
        matches = self.ignore_if_range or handler.headers.get("If-Range") in (None, self.etag)
        if not given or not matches:
            self.head(handler, 200, Content_Length=size, ETag=self.etag)
            return self.content
        start = int(given.removeprefix("bytes=").removesuffix("-"))
        if start >= size:
            self.head(handler, 416, Content_Range=f"bytes */{size}", Content_Length=0)
            return b""
        place = f"bytes {start}-{size - 1}/{size}"
        self.head(handler, 206, Content_Range=place, Content_Length=size - start, ETag=self.etag)
        return self.content[start:]

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(self.body(handler))

    def die_after(self, size: int) -> Act:
        def act(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(self.body(handler)[:size])

        return act

    def stall_after(self, size: int) -> Act:
        def act(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(self.body(handler)[:size])
            handler.wfile.flush()
            time.sleep(1.5)

        return act

    def answer(self, status: int, **headers: Any) -> Act:
        return lambda handler: self.head(handler, status, Content_Length=0, **headers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def fetch(server: Server, path: Path, **options: Any) -> Path:
    return download(server.url, path, **{"wait_seconds": 0.01, "timeout_seconds": 5.0, "attempts": 4} | options)


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_a_file_comes_whole_with_its_record_and_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(server, tmp_path / "deep" / "data.hdf5", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["data.hdf5", "data.hdf5.download.json"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    record = record_of(path)
    assert record is not None
    assert (record["url"], record["size"], record["etag"]) == (server.url, len(CONTENT), '"v1"')


def test_a_second_download_asks_nobody_and_checks_the_hash(server: Server, tmp_path: Path) -> None:
    path = fetch(server, tmp_path / "data")
    fetch(server, path)
    assert len(server.requests) == 1
    path.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(DatasetIntegrityError, match="is not what was downloaded"):
        fetch(server, path)


def test_a_file_removed_and_fetched_again_must_be_the_first_one(server: Server, tmp_path: Path) -> None:
    path = fetch(server, tmp_path / "data")
    path.unlink()
    fetch(server, path)
    path.unlink()
    server.content, server.etag = CONTENT[::-1], '"v2"'
    with pytest.raises(DatasetIntegrityError, match=r"another file than at the first download.*remove .*to accept it"):
        fetch(server, path)
    assert names(tmp_path) == ["data.download.json"]
    (tmp_path / "data.download.json").unlink()
    assert fetch(server, path).read_bytes() == CONTENT[::-1]


def test_a_connection_that_dies_half_way_is_continued_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.acts = [server.die_after(100_000), server.die_after(50_000), server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1]["If-Range"] == '"v1"'


def test_progress_resets_the_count_of_failures(server: Server, tmp_path: Path) -> None:
    server.acts = [server.die_after(40_000)] * 7 + [server.serve]
    assert fetch(server, tmp_path / "data", attempts=2).read_bytes() == CONTENT


def test_truncation_every_time_ends_in_an_error_and_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.acts = [server.die_after(100_000), server.die_after(0)]
    with pytest.raises(DownloadError, match=r"ended after 100000 of 300000 bytes, 3 times.*100000 bytes are kept"):
        fetch(server, tmp_path / "data", attempts=3)
    assert names(tmp_path) == ["data.part", "data.part.json"]
    server.acts = [server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == "bytes=100000-"


def test_a_server_that_stalls_is_left_and_continued(server: Server, tmp_path: Path) -> None:
    server.acts = [server.stall_after(100_000), server.serve]
    assert fetch(server, tmp_path / "data", timeout_seconds=0.3).read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=100000-"
    server.acts = [server.stall_after(0)]
    with pytest.raises(DownloadError, match="the server is silent, 2 times in a row"):
        fetch(server, tmp_path / "other", timeout_seconds=0.2, attempts=2)
    assert names(tmp_path) == ["data", "data.download.json"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_leaves_nothing(server: Server, tmp_path: Path, status: int) -> None:
    server.acts = [server.answer(status)]
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        fetch(server, tmp_path / "data")
    assert (len(server.requests), names(tmp_path)) == (1, [])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.acts = [server.answer(status), server.answer(status), server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    server.acts = [server.answer(status)]
    with pytest.raises(DownloadError, match=f"answers {status} .*, 4 times in a row"):
        fetch(server, tmp_path / "other")


def test_416_starts_anew(server: Server, tmp_path: Path) -> None:
    server.acts = [server.die_after(100_000), server.answer(416, Content_Range="bytes */5"), server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    assert "Range" not in server.requests[2]
    server.acts = [server.answer(416)]
    with pytest.raises(DownloadError, match="answers 416"):
        fetch(server, tmp_path / "other")


def test_a_server_that_ignores_range_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    def whole(handler: BaseHTTPRequestHandler) -> None:
        server.head(handler, 200, Content_Length=len(CONTENT), ETag='"v1"')
        handler.wfile.write(CONTENT)

    server.acts = [server.die_after(100_000), whole]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    assert "Range" in server.requests[1]


@pytest.mark.parametrize("ignore_if_range", [False, True])
def test_a_file_that_changes_between_attempts_is_never_mixed(
    server: Server, tmp_path: Path, ignore_if_range: bool
) -> None:
    def change(handler: BaseHTTPRequestHandler) -> None:
        server.content, server.etag, server.ignore_if_range = CONTENT[::-1], '"v2"', ignore_if_range
        server.serve(handler)

    server.acts = [server.die_after(100_000), change, server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT[::-1]


def test_another_part_than_asked_for_is_not_appended(server: Server, tmp_path: Path) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        place = f"bytes 50000-{len(CONTENT) - 1}/{len(CONTENT)}"
        server.head(handler, 206, Content_Range=place, Content_Length=len(CONTENT) - 50_000, ETag='"v1"')
        handler.wfile.write(CONTENT[50_000:])

    server.acts = [server.die_after(100_000), elsewhere, server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT


def test_without_a_validator_a_partial_file_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.etag = 'W/"weak"'
    server.acts = [server.die_after(100_000), server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    assert "Range" not in server.requests[1]


def test_a_file_in_chunks_needs_no_length_but_one_without_either_is_refused(server: Server, tmp_path: Path) -> None:
    def chunked(whole: bool) -> Act:
        def act(handler: BaseHTTPRequestHandler) -> None:
            server.head(handler, 200, Transfer_Encoding="chunked")
            handler.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT + b"\r\n" + (b"0\r\n\r\n" if whole else b""))

        return act

    server.acts = [chunked(False), chunked(True)]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    server.acts = [lambda handler: server.head(handler, 200)]
    with pytest.raises(DownloadError, match="does not say how long"):
        fetch(server, tmp_path / "other")


def test_the_given_hash_is_checked(server: Server, tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = fetch(server, tmp_path / "data", sha256=digest.upper())
    assert json.loads((tmp_path / "data.download.json").read_text())["sha256"] == digest
    with pytest.raises(DatasetIntegrityError, match="sha256 is"):
        fetch(server, tmp_path / "other", sha256="0" * 64)
    assert names(tmp_path) == ["data", "data.download.json"]
    with pytest.raises(DatasetIntegrityError, match="sha256 is"):
        check_download(path, sha256="0" * 64)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:secret@127.0.0.1/x"])
def test_redirects_go_to_http_only(server: Server, tmp_path: Path, target: str) -> None:
    server.acts = [server.answer(302, Location=target)]
    with pytest.raises(AssayError) as caught:
        fetch(server, tmp_path / "data")
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1
    server.acts = [server.answer(302, Location="/other"), server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "data.hdf5", "http://", "https://user:secret@host/x?token=secret"]
)
def test_other_addresses_are_refused_without_their_passwords(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        download(url, tmp_path / "data")
    assert "secret" not in str(caught.value)
    assert names(tmp_path) == []


def test_messages_and_records_have_no_query(server: Server, tmp_path: Path) -> None:
    server.acts = [server.serve, server.answer(404)]
    download(server.url + "?token=secret", tmp_path / "data")
    assert "secret" not in (tmp_path / "data.download.json").read_text()
    with pytest.raises(DownloadError) as caught:
        download(server.url + "?token=secret", tmp_path / "other")
    assert "secret" not in str(caught.value)


def test_nobody_at_the_address_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the connection failed"):
        download("http://127.0.0.1:9/x", tmp_path / "data", attempts=2, wait_seconds=0.01)
    assert names(tmp_path) == []


def test_a_full_disk_is_noticed_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="has 0 MB free"):
        fetch(server, tmp_path / "data")


def test_a_killed_download_is_continued_and_two_at_a_time_are_refused(server: Server, tmp_path: Path) -> None:
    server.acts = [server.stall_after(100_000)]
    program = "import sys; from assay.datasets.download import download; download(sys.argv[1], sys.argv[2])"
    child = subprocess.Popen(
        [sys.executable, "-c", program, server.url, str(tmp_path / "data")], cwd=Path(__file__).parents[2]
    )
    part = tmp_path / "data.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == 100_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(DownloadError, match="is being downloaded by another process"):
        fetch(server, tmp_path / "data")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert names(tmp_path) == ["data.part", "data.part.json"]
    server.acts = [server.serve]
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == "bytes=100000-"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url": 5}', b'{"url": "x", "size": "y"}'])
def test_a_damaged_note_about_a_partial_file_starts_anew(server: Server, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.part").write_bytes(b"something else")
    (tmp_path / "data.part.json").write_bytes(content)
    assert fetch(server, tmp_path / "data").read_bytes() == CONTENT


def test_a_damaged_record_is_an_error(server: Server, tmp_path: Path) -> None:
    path = fetch(server, tmp_path / "data")
    (tmp_path / "data.download.json").write_text("{")
    with pytest.raises(DatasetIntegrityError, match="is damaged"):
        fetch(server, path)


# -------------------------------------------------------------------- names


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_loading_never_downloads_and_says_how_to(home: Path) -> None:
    import assay

    with pytest.raises(DatasetError, match="assay datasets download d4rl:hopper-medium-v2"):
        assay.load("d4rl:hopper-medium-v2")
    with pytest.raises(UnknownNameError, match="did you mean 'd4rl:hopper-medium-v2'"):
        assay.load("d4rl:hoper-medium-v2")
    assert not home.exists()


def test_a_d4rl_name_is_fetched_from_its_public_address(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetched(url: str, path: Path, **options: Any) -> Path:
        asked.append(url)
        return download(server.url, path, **options)

    monkeypatch.setattr("assay.datasets.remote.download", fetched)
    path = download_dataset("d4rl:hopper-medium-v2")
    assert path == home / "downloads/d4rl/hopper-medium-v2.hdf5" == d4rl_file("hopper-medium-v2")
    assert asked == ["http://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2/hopper_medium-v2.hdf5"]
    path.write_bytes(b"")
    with pytest.raises(DatasetIntegrityError):
        d4rl_file("hopper-medium-v2")


def test_minari_downloads_its_own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))

    def fetched(identifier: str) -> None:
        if "absent" in identifier:
            raise ValueError("no such dataset")
        (tmp_path / identifier / "data").mkdir(parents=True)

    monkeypatch.setattr(minari, "download_dataset", fetched)
    assert download_dataset("minari:D4RL/door/human-v2") == tmp_path / "D4RL/door/human-v2"
    with pytest.raises(DownloadError, match="minari:absent-v0: no such dataset"):
        download_dataset("minari:absent-v0")
    with pytest.raises(DatasetError, match="is not a Minari id"):
        download_dataset("minari:../x-v0")
    with pytest.raises(UnknownNameError, match="source of downloads"):
        download_dataset("s3:x")


def test_the_command_downloads(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from assay.cli import main

    monkeypatch.setattr("assay.datasets.remote.download", lambda url, path, **o: download(server.url, path, **o))
    main(["datasets", "download", "d4rl:pen-human-v1"])
    assert "pen-human-v1.hdf5" in capsys.readouterr().out
    assert (home / "downloads/d4rl/pen-human-v1.hdf5").read_bytes() == CONTENT


def test_the_shipped_table_has_every_reference_that_d4rl_gives() -> None:
    table = d4rl_table()
    assert len(table) == 155
    assert all(entry.url.startswith("http://rail.eecs.berkeley.edu/datasets/") for entry in table.values())
    references = reference_scores("hopper-medium-v2")
    assert references is not None
    assert references.normalize(3234.3) == 100.0
    assert "hopper-medium-v2" in references.source
    assert reference_scores("carla-town-full-v0") is None
