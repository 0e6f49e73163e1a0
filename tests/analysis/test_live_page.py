"""The report is served while runs are going, to the person in front of this machine alone."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from assay.analysis.live_page import LivePage, served
from assay.datasets.errors import ConfigError

from .conftest import write_run, write_suite


def asked(address: str, path: str = "", **headers: str) -> tuple[int, bytes, str | None]:
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", path or parts.path, headers=headers)
    reply = connection.getresponse()
    found = reply.status, reply.read(), reply.getheader("Refresh")
    connection.close()
    return found


def test_the_page_follows_the_folder(tmp_path: Path) -> None:
    with served(tmp_path, refresh_seconds=0.5) as address:
        status, page, refresh = asked(address)
        assert (status, refresh) == (200, "0.5")
        assert b"There is no run yet" in page
        write_suite(tmp_path, seeds=[0], algorithms=["bc"], variants=["clean"])
        write_run(tmp_path)
        deadline = time.monotonic() + 60
        while b"The only run finished" not in (page := asked(address)[1]):
            assert time.monotonic() < deadline, page[:500]
            time.sleep(0.05)


def test_what_is_damaged_is_said_and_looked_at_again(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    whole = (run / "run.json").read_text()
    page = LivePage(tmp_path)
    (run / "run.json").write_text(whole[:40])
    assert b"run.json" in page.content()
    (run / "run.json").write_text(whole)
    page._not_before = 0.0
    assert b"BC" in page.content()


def test_nothing_is_made_anew_where_nothing_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    page = LivePage(tmp_path)
    first = page.content()
    monkeypatch.setattr(LivePage, "_made", lambda self: pytest.fail("made again"))
    page._not_before = 0.0
    assert page.content() is first


def test_others_and_pages_elsewhere_read_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        for path in ("/", "/x/", urlsplit(address).path + "more"):
            assert asked(address, path)[0] == 404
        assert asked(address, Host="evil.example")[0] == 404
        assert asked(address, Host="localhost:1")[0] == 200
        port = urlsplit(address).port
        with pytest.raises(ConfigError, match=f"port {port} cannot be used"), served(tmp_path, port=port or 0):
            pass
    with pytest.raises(ConfigError, match="is no folder"), served(tmp_path / "absent"):
        pass
    with pytest.raises(ConfigError, match="must be above 0"), served(tmp_path, refresh_seconds=0):
        pass


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    write_run(tmp_path)
    command = [sys.executable, "-u", "-m", "assay.cli", "serve", str(tmp_path), "--no-browser"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it for what runs behind it
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        (address,) = re.findall(r"http://\S+", line)
        assert b"BC" in asked(address)[1]
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()


@pytest.mark.slow
def test_a_browser_shows_what_came_without_being_asked(tmp_path: Path) -> None:
    selenium = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        with served(tmp_path, refresh_seconds=0.5) as address:
            window.get(address)
            for text in (
                "There is no run yet",
                "BC",
            ):  # the source: elements go away while the page asks for itself again
                deadline = time.monotonic() + 60
                while text not in window.page_source.partition("<body")[2]:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                if text != "BC":
                    write_run(tmp_path)
            said = [entry["message"] for entry in window.get_log("browser") if "favicon" not in entry["message"]]
            assert said == []
    finally:
        window.quit()
