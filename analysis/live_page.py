"""The report of a folder of runs, served on this machine while they are going.

The page is made anew when the folder has changed, at most as often as leaves most of the time to the training, and asks for itself again every
few seconds. `assay.datasets.loopback` says who can read it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from assay.analysis.page import escape, page_text, tables_script
from assay.analysis.report import report_body
from assay.datasets import loopback
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.loopback import LoopbackHandler

__all__ = ["LivePage", "served"]

_SHARE = 0.2  # of the time that may go into making pages


class LivePage:
    """The page of a folder, as it is now.

    Parameters
    ----------
    folder : Path
        Of runs; it may be empty still.

    Examples
    --------
    >>> import tempfile
    >>> b"There is no run yet" in LivePage(Path(tempfile.mkdtemp())).content()
    True
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._state: tuple[object, ...] | None = None
        self._content = b""
        self._not_before = 0.0

    def content(self) -> bytes:
        """Return the page, made anew where something has changed."""
        with self._lock:
            now = time.monotonic()
            if now >= self._not_before and (state := _state(self.folder)) != self._state:
                self._content, self._state = self._made(), state
                self._not_before = time.monotonic() + (time.monotonic() - now) / _SHARE
            return self._content

    def _made(self) -> bytes:
        title, body = self.folder.name, f"<h1>{escape(self.folder.name)}</h1><p>There is no run yet.</p>"
        try:
            if any(self.folder.rglob("run.json")) or (self.folder / "suite.json").exists():
                title, body = report_body(self.folder)
        except AssayError as error:  # what is being written, or damaged, is said, and looked at again
            body = f"<h1>{escape(title)}</h1><p>{escape(str(error))}</p>"
        return page_text(title, body, "report").encode()


def _state(folder: Path) -> tuple[object, ...]:
    """Return what changes whenever a file of a run does."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it was replaced just now
                status = os.stat(os.path.join(place, name))
                found.append((place, name, status.st_mtime_ns, status.st_size))
    return tuple(sorted(found))


@contextlib.contextmanager
def served(folder: Path, *, port: int = 0, refresh_seconds: float = 5.0) -> Iterator[str]:
    """Serve the page of a folder while the block runs; gives its address.

    Parameters
    ----------
    folder : Path
    port : int
        0 takes a free one.
    refresh_seconds : float
        Time until the browser asks again.

    Raises
    ------
    ConfigError
        If there is no such folder, or the port is taken.

    Examples
    --------
    >>> import tempfile, urllib.request
    >>> with served(Path(tempfile.mkdtemp())) as address:
    ...     urllib.request.urlopen(address).headers["Refresh"]
    '5'
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; runs= of a training, or runs/SUITE-BUDGET of a suite, is one")
    if not refresh_seconds > 0:
        raise ConfigError(f"refresh_seconds={refresh_seconds} must be above 0")
    page = LivePage(folder)
    mark = base64.b64encode(hashlib.sha256(tables_script().encode()).digest()).decode()
    allowed = f"sha256-{mark}"  # the one script of the page, and no other

    class Handler(LoopbackHandler):
        policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{allowed}'; frame-ancestors 'none'"

        def do_GET(self) -> None:
            if self.parts() == [""]:
                self.send(200, "text/html; charset=utf-8", page.content(), Refresh=f"{refresh_seconds:g}")
            else:
                self.send(404, "text/plain", b"not found")

    with loopback.served(Handler, port) as address:
        yield address
