"""Pages for the person in front of this machine: served on the loopback address, under a path that holds a random token.

Other users of the machine cannot read or answer them, and neither can a page from elsewhere that a browser is showing (by a name
that leads here, DNS rebinding). Nothing is kept by the browser, and nothing is fetched from anywhere else.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from assay.datasets.errors import ConfigError

__all__ = ["LoopbackHandler", "served"]


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers requests for a page; a subclass has `do_GET`, and what its page may do in `policy`."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    token: ClassVar[str] = ""
    policy: ClassVar[str] = "default-src 'none'; frame-ancestors 'none'"  # Content-Security-Policy

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the token is part of every path."""

    def parts(self) -> list[str] | None:
        """Return the path below the token, or None for who does not know it or came by another name."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        parts = self.path.split("?")[0].split("/")[1:]
        known = secrets.compare_digest(parts[0].encode(), self.token.encode()) if parts else False
        return parts[1:] if known and host in ("127.0.0.1", "localhost") and len(parts) > 1 else None

    def send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """Send an answer of a content type."""
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": self.policy,
        }
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)


@contextlib.contextmanager
def served(handler: type[LoopbackHandler], port: int = 0) -> Iterator[str]:
    """Serve pages while the block runs; gives the address of the first.

    Parameters
    ----------
    handler : type
    port : int
        0 takes a free one.

    Raises
    ------
    ConfigError
        If the port is taken.

    Examples
    --------
    >>> import urllib.request
    >>> class Hello(LoopbackHandler):
    ...     def do_GET(self):
    ...         self.send(200, "text/plain", b"hello") if self.parts() == [""] else self.send(404, "text/plain", b"not found")
    >>> with served(Hello) as address:
    ...     urllib.request.urlopen(address).read()
    b'hello'
    """
    token = secrets.token_urlsafe(24)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (handler,), {"token": token}))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} cannot be used: {error}; port=0 takes a free one") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{token}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
