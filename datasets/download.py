"""Downloads of single files: explicit, resumable, whole or not at all, and checked from the second time on.

::

    data.hdf5.part             what has arrived; locked while a download is at work
    data.hdf5.part.json        which version of the file that is: url, ETag, Last-Modified, size
    data.hdf5                  the file, renamed from .part when it is complete
    data.hdf5.download.json    its url, size and hash; stays when the file is removed, so that the next download is
                               compared with the first

A partial file is continued by `Range` with `If-Range`, so that a file that changed on the server starts anew. What a
server declares is checked against what arrives; a connection that ends early is not an end.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from assay.datasets.atomic import atomic_write
from assay.datasets.errors import ConfigError, DatasetIntegrityError, DownloadError

__all__ = ["check_download", "download", "record_of"]

Progress = Callable[[int, int], None]
_BLOCK = 1 << 20  # bytes
_LONGEST_WAIT_SECONDS = 30.0
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # statuses worth another attempt


class _Response(Protocol):
    status: int
    headers: http.client.HTTPMessage

    def read1(self, amount: int, /) -> bytes: ...


@dataclass
class _Version:
    """Which version of a file a partial one belongs to."""

    url: str
    etag: str = ""
    last_modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:
        """What `If-Range` takes: a strong ETag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _InterruptedError(Exception):
    """The connection failed in a way that another attempt may mend."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    timeout_seconds: float = 30.0,
    attempts: int = 5,
    wait_seconds: float = 1.0,
) -> Path:
    """Download a file, or continue a download that was interrupted; nothing is done when it is there already.

    Parameters
    ----------
    url : str
        http or https. Redirects are followed, but not from https to http nor to another scheme.
    path : Path
        The file to make.
    sha256 : str, optional
        The known hash of the file, in hexadecimal.
    progress : callable, optional
        Called with (bytes done, bytes in all, or 0 where the server does not say).
    timeout_seconds : float
        How long a connection may be silent.
    attempts : int
        How often in a row an attempt may fail without a byte of progress.
    wait_seconds : float
        Before the second attempt; doubled for each one after it, up to half a minute.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DownloadError
        If the server refuses, or every attempt failed; what has arrived stays for the next call.
    DatasetIntegrityError
        If the hash is not the given one, or not that of the first download.
    ConfigError
        If the address is none, or carries a password.
    """
    path = Path(os.path.abspath(path))
    _check_address(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as part:
        if path.exists():
            check_download(path, sha256=sha256, url=url)
            return path
        version = _fetch_all(url, part, progress, timeout_seconds, attempts, wait_seconds)
        if os.path.getsize(part) != version.size:  # nobody but us writes it
            raise DownloadError(f"{part} was changed by somebody else meanwhile; remove it and try again")
        try:
            _accept(part, path, version, sha256)
        except DatasetIntegrityError:
            part.unlink()  # whole, and wrong: there is nothing to continue
            raise
        finally:
            _version_file(part).unlink(missing_ok=True)
    return path


def record_of(path: Path) -> dict[str, Any] | None:
    """Return what was recorded about a downloaded file: url, size, hashes; None where nothing was."""
    try:
        record = json.loads(_record_file(path).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetIntegrityError(f"{_record_file(path)} is damaged ({error}); remove it and the file") from error
    if not isinstance(record, dict) or not isinstance(record.get("xxh3_128"), str):
        raise DatasetIntegrityError(f"{_record_file(path)} is damaged; remove it and the file")
    return record


def check_download(path: Path, *, sha256: str | None = None, url: str = "") -> None:
    """Check a downloaded file against its recorded hash, which is made when there is none yet.

    Raises
    ------
    DatasetIntegrityError
        If the file is not what was downloaded first, or not that of the given hash.
    """
    record = record_of(path)
    if record is None:
        _write_record(path, path, _Version(url), sha256)
        return
    size = path.stat().st_size
    if size != record.get("size") or hash_file(path) != record["xxh3_128"]:
        raise DatasetIntegrityError(
            f"{path} is not what was downloaded ({size} bytes; {record.get('size')} were recorded in "
            f"{_record_file(path).name}); remove the file and download it again"
        )
    if sha256 is not None and record.get("sha256") != sha256.lower():
        _check_sha256(path, sha256)
        atomic_write(_record_file(path), json.dumps(record | {"sha256": sha256.lower()}))


def hash_file(path: Path) -> str:
    """Return the xxh3-128 hash of a file, streamed."""
    import xxhash

    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


# -------------------------------------------------------------------- files beside the file


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _record_file(path: Path) -> Path:
    return path.with_name(path.name + ".download.json")


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Hold the partial file of `path`, so that two downloads never write it at the same time."""
    part = path.with_name(path.name + ".part")
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DownloadError(f"{path} is being downloaded by another process") from None
        if part.exists() and os.path.samestat(part.stat(), os.fstat(descriptor)):
            break
        os.close(descriptor)  # another download finished between the two lines
    try:
        yield part
    finally:
        with suppress(FileNotFoundError):
            if os.path.getsize(part) == 0:
                part.unlink()
                _version_file(part).unlink(missing_ok=True)
        os.close(descriptor)


def _accept(part: Path, path: Path, version: _Version, sha256: str | None) -> None:
    record = record_of(path)
    if record is not None and record["xxh3_128"] != hash_file(part):
        raise DatasetIntegrityError(
            f"{_shown(version.url)} is another file than at the first download ({version.size} bytes, "
            f"{record.get('size')} then); remove {_record_file(path)} to accept it"
        )
    _write_record(part, path, version, sha256)
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.replace(part, path)
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_record(content: Path, path: Path, version: _Version, sha256: str | None) -> None:
    if sha256 is not None:
        _check_sha256(content, sha256)
    record: dict[str, Any] = {
        "url": _shown(version.url),
        "size": content.stat().st_size,
        "xxh3_128": hash_file(content),
        "etag": version.etag,
        "last_modified": version.last_modified,
    }
    atomic_write(_record_file(path), json.dumps(record | ({"sha256": sha256.lower()} if sha256 else {}), indent=1))


def _check_sha256(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.lower():
        raise DatasetIntegrityError(f"{path}: sha256 is {found}, not {expected.lower()}; it is another file")


# -------------------------------------------------------------------- addresses


def _check_address(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"{_shown(url)} is not an http or https address")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{_shown(url)}: an address with a password in it is not used")


def _shown(url: str) -> str:
    """Return an address for messages and records: without user, password, query and fragment."""
    return re.sub(r"^([a-z+]*:/*)[^/]*@", r"\1", url.split("?")[0].split("#")[0], flags=re.IGNORECASE)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not to another scheme; http may become https."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url).scheme, urllib.parse.urlsplit(newurl).scheme
        if new != old and (old, new) != ("http", "https"):
            raise DownloadError(f"{_shown(req.full_url)} redirects to {_shown(newurl)}, which is not followed")
        _check_address(newurl)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            request.headers.pop("Authorization", None)
        return request


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that knows http and https only; urllib's own would also read files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        _Redirects,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


# -------------------------------------------------------------------- fetching


def _fetch_all(
    url: str, part: Path, progress: Progress | None, timeout_seconds: float, attempts: int, wait_seconds: float
) -> _Version:
    """Fetch until `part` is complete; return its version."""
    failures = 0
    while True:
        before = os.path.getsize(part)
        try:
            return _fetch(url, part, progress, timeout_seconds)
        except _InterruptedError as error:
            done = os.path.getsize(part)
            failures = 1 if done > before else failures + 1
            if failures >= attempts:
                kept = f"; {done} bytes are kept, and the next attempt goes on from there" if done else ""
                raise DownloadError(f"{_shown(url)}: {error}, {attempts} times in a row{kept}") from error.__cause__
            time.sleep(min(wait_seconds * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS))


def _fetch(url: str, part: Path, progress: Progress | None, timeout_seconds: float) -> _Version:
    """Make one request and read its answer into `part`, from where that ends."""
    known = _read_version(part, url)
    offset = os.path.getsize(part) if known is not None and known.validator else 0
    if known is not None and known.size is not None and offset == known.size:
        return known
    headers = {"Accept-Encoding": "identity", "User-Agent": "assay (dataset download)"}
    if offset and known is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": known.validator}
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and offset:
            _restart(part)
            raise _InterruptedError("the server has nothing beyond what was kept") from error
        if error.code in _TEMPORARY:
            raise _InterruptedError(f"the server answers {error.code} {error.reason}") from error
        raise DownloadError(f"{_shown(url)}: the server answers {error.code} {error.reason}") from error
    except DownloadError:
        raise
    except ValueError as error:  # a redirect to what is no address
        raise DownloadError(f"{_shown(url)}: the server's answer cannot be followed ({error})") from error
    except (OSError, http.client.HTTPException) as error:  # no connection, a timeout, no HTTP
        raise _InterruptedError(_reason(error)) from error
    with response:
        version, start = _understand(response, url, known, offset, part)
        if start == 0:
            _restart(part)
        atomic_write(_version_file(part), json.dumps(asdict(version)))
        return _receive(response, part, start, version, progress)


def _understand(response: _Response, url: str, known: _Version | None, offset: int, part: Path) -> tuple[_Version, int]:
    """Return which version the answer is of, and from which byte on it goes."""
    headers = response.headers
    if headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise DownloadError(f"{_shown(url)}: the server compresses the file, though it was asked not to")
    version = _Version(_shown(url), headers.get("ETag", ""), headers.get("Last-Modified", ""))
    length = headers.get("Content-Length", "")
    if response.status == 200:
        version.size = int(length) if length.isdecimal() else None
        if version.size is None and "chunked" not in headers.get("Transfer-Encoding", "").lower():
            raise DownloadError(f"{_shown(url)}: the server does not say how long the file is; its end cannot be told")
        _check_space(part, version.size)
        return version, 0
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip())
    if response.status != 206 or not match or known is None:
        raise DownloadError(f"{_shown(url)}: the server answers {response.status}, which was not asked for")
    version.size = known.size if match[3] == "*" else int(match[3])
    same = (not version.etag or version.etag == known.etag) and version.size == (known.size or version.size)
    if int(match[1]) != offset or not same:
        _restart(part)
        raise _InterruptedError("the server sends another part than was asked for, or of another file")
    return _Version(known.url, known.etag, known.last_modified, version.size), offset


def _receive(response: _Response, part: Path, start: int, version: _Version, progress: Progress | None) -> _Version:
    """Append what comes to `part`."""
    done = start
    try:
        with part.open("ab", buffering=0) as file:
            while version.size is None or done < version.size:
                rest = _BLOCK if version.size is None else min(_BLOCK, version.size - done)
                block = response.read1(rest)  # what is there; `read` would wait for all, and lose it when that fails
                if not block:
                    break
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, version.size or 0)
    except http.client.IncompleteRead as error:
        with part.open("ab") as file:
            file.write(error.partial)
        raise _InterruptedError("the connection ended early") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _InterruptedError(_reason(error)) from error
    except OSError as error:
        if error.errno is None or "SSL" in type(error).__name__:
            raise _InterruptedError(_reason(error)) from error
        raise DownloadError(f"{part} cannot be written: {error.strerror}") from error
    if version.size is None:  # in chunks, of which the last one came
        version.size = done
    if done < version.size:
        raise _InterruptedError(f"the connection ended after {done} of {version.size} bytes")
    return version


def _reason(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "the server is silent"
    return f"the connection failed ({reason or type(reason).__name__})"


def _restart(part: Path) -> None:
    _version_file(part).unlink(missing_ok=True)
    os.truncate(part, 0)


def _read_version(part: Path, url: str) -> _Version | None:
    try:
        version = _Version(**json.loads(_version_file(part).read_bytes()))
        sound = (
            isinstance(version.size, int | None) and isinstance(version.validator, str) and version.url == _shown(url)
        )
    except (OSError, ValueError, TypeError, AttributeError):
        sound = False
    return version if sound else None


def _check_space(part: Path, size: int | None) -> None:
    free = shutil.disk_usage(part.parent).free + os.path.getsize(part)
    if size is not None and size > free:
        raise DownloadError(f"{part.parent} has {free / 1e6:,.0f} MB free; the file needs {size / 1e6:,.0f} MB")
