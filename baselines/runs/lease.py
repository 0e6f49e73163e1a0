"""Leases: a run folder belongs to one process at a time, and to nobody any more when that process is gone.

::

    RUNS/.owners/<run>                       the owner: machine, process, when it started, a random token
    RUNS/.owners/<run>.<token>               for a moment: a claim that is about to be linked to that name

A claim is written whole and then linked to the name of the run, which succeeds for one process only, on shared folders
too. While it works, the owner renews the file's time every `BEAT_SECONDS`. A lease has lapsed

- at once, where its owner was a process of this machine that does not live any more, or
- when its file was not renewed for `LAPSE_SECONDS`, by the clock of the file system: the times of a new claim and of
  the lease are compared, so clocks of machines may differ.

Who takes over a lapsed lease renames it away first, which one process only can do, and looks at what it renamed: were it
another's new lease, it would be put back. An owner that was thought dead (its machine slept) finds out before it next
writes: `check` compares the token.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from assay.datasets.errors import AssayError

__all__ = ["BEAT_SECONDS", "LAPSE_SECONDS", "Lease", "LeaseLostError", "Owner", "owner_of", "take"]

BEAT_SECONDS = 10.0  # between renewals
LAPSE_SECONDS = 120.0  # without a renewal
OWNERS = ".owners"
_CLAIM = re.compile(r"\.[0-9a-f]{32}(\.lapsed)?$")


class LeaseLostError(AssayError, RuntimeError):
    """Another process has taken over a run, because this one did not renew its lease in time."""


@dataclass(frozen=True)
class Owner:
    """A process that a run belongs to.

    Parameters
    ----------
    machine : str
        Identity of the machine, its boot and its process namespace, so that process numbers mean the same.
    host : str
        Name of the machine, for people.
    process : int
    started : str
        When the process started, as the system counts; empty where it does not say.
    token : str
        Random; of this claim.
    """

    machine: str
    host: str
    process: int
    started: str
    token: str

    @classmethod
    def of_this_process(cls) -> Owner:
        """Make a new claim."""
        process = os.getpid()
        return cls(_machine(), socket.gethostname(), process, _started(process) or "", uuid.uuid4().hex)

    @property
    def known_dead(self) -> bool:
        """Whether it was a process of this machine that does not live any more."""
        return self.machine == _machine() and not _lives(self.process, self.started)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class Lease:
    """Ownership of some run folders; a context manager that gives them back.

    Get one from `take`.
    """

    def __init__(self, files: Sequence[Path], owner: Owner) -> None:
        self.files, self.owner = tuple(files), owner
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._renew, name="assay-lease", daemon=True)
        self._beat.start()

    def _renew(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            for file in self.files:
                with suppress(
                    OSError
                ):  # a file system that fails for a while; `check` finds out what became of the lease
                    if _read(file) == self.owner:
                        os.utime(file)

    def check(self, folder: Path) -> None:
        """Raise LeaseLostError where a folder belongs to another process by now."""
        if (owner := _read(_file(folder))) != self.owner:
            raise LeaseLostError(
                f"{folder} was taken over by {owner or 'another process'}, because this one did not renew its lease for "
                f"{LAPSE_SECONDS:.0f} seconds; what it did since its last checkpoint is dropped"
            )

    @property
    def holds(self) -> bool:
        """Whether all folders still belong to this process."""
        return all(_read(file) == self.owner for file in self.files)

    def release(self) -> None:
        """Give the folders back; those of others are left alone."""
        self._ended.set()
        self._beat.join()
        for file in self.files:
            if _read(file) == self.owner:
                file.unlink(missing_ok=True)
        for folder in {file.parent for file in self.files}:
            with suppress(OSError):  # others are there, or have just tidied up
                for claim in folder.iterdir():
                    if _CLAIM.search(claim.name) and (owner := _read(claim)) is not None and owner.known_dead:
                        claim.unlink(missing_ok=True)  # its process was killed while it claimed
                folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def take(folders: Sequence[Path]) -> Lease | Owner:
    """Take run folders for this process, all or none.

    Parameters
    ----------
    folders : sequence of Path
        They need not exist; the folder that they are in is made.

    Returns
    -------
    Lease, or the Owner of a folder that is another's.
    """
    owner = Owner.of_this_process()
    taken: list[Path] = []
    for file in sorted(
        {_file(folder) for folder in folders}
    ):  # in one order, so that two processes never block each other
        other = _claim(file, owner)
        if other is not None:
            _give_back(taken, owner)
            return other
        taken.append(file)
    return Lease(taken, owner)


def owner_of(folder: Path) -> Owner | None:
    """Return whose a run folder is; None for a folder that is free, or whose owner is known to be dead."""
    owner = _read(_file(folder))
    return None if owner is None or owner.known_dead else owner


def _file(folder: Path) -> Path:
    return folder.parent / OWNERS / folder.name


def _give_back(files: Sequence[Path], owner: Owner) -> None:
    for file in files:
        if _read(file) == owner:
            file.unlink(missing_ok=True)


def _claim(file: Path, owner: Owner) -> Owner | None:
    """Make a process the owner of a folder; returns the owner where that is another one."""
    claim = file.with_name(f"{file.name}.{owner.token}")
    try:
        while True:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                claim.write_text(json.dumps(asdict(owner)))
                if _link(claim, file):
                    return None
                other = _read(file)
                if other is None or not _lapsed(file, other, claim):
                    if other is not None:
                        return other
                    continue  # it was given back just now
                _remove_lapsed(file, other, claim)
            except FileNotFoundError:
                continue  # the last one to leave has removed the folder of owners
    finally:
        claim.unlink(missing_ok=True)


def _link(claim: Path, file: Path) -> bool:
    """Give a claim the name of the folder, unless somebody has it."""
    try:
        os.link(claim, file)
    except FileExistsError:
        return os.stat(claim).st_nlink == 2  # a shared folder may do it and report that it was done already
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        return _create(file, claim.read_bytes())  # a file system without links
    return True


def _create(file: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
    return True


def _lapsed(file: Path, owner: Owner, claim: Path) -> bool:
    return owner.known_dead or os.stat(claim).st_mtime - os.stat(file).st_mtime > LAPSE_SECONDS


def _remove_lapsed(file: Path, lapsed: Owner, claim: Path) -> None:
    """Take the name from a lapsed lease, and from no other."""
    aside = claim.with_name(f"{claim.name}.lapsed")
    try:
        os.rename(file, aside)
    except FileNotFoundError:
        return  # somebody was faster
    if _read(aside) != lapsed:
        with suppress(FileExistsError):
            os.link(aside, file)
    aside.unlink(missing_ok=True)


_NOBODY = Owner("", "unknown", 0, "", "")  # of a file that says nothing (yet); it lapses by its time


def _read(file: Path) -> Owner | None:
    """Return the owner that a file names, None where there is no file."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        plain: Any = json.loads(content)
        return Owner(**plain)
    except (ValueError, TypeError):
        return _NOBODY


def _machine() -> str:
    """Identify where process numbers are those of this process: machine, boot and namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(process: int) -> str | None:
    """Return when a process started, in ticks since boot; "" where the system does not say, None for a dead one."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in ("Z", "X") else fields[19]


def _lives(process: int, started: str) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    now = _started(process)
    return now is not None and (now == started or "" in (now, started))
