"""Loading a file from a stranger in a process of its own, under limits on memory and time.

::

    this process                                  child
    ------------                                  -----
    what to load, as JSON on its input     ->     sets its limits, reads the file, checks it
    waits, at most so many seconds                writes the dataset in Assay's own format to a private folder
    maps the columns, removes the folder   <-     what was warned of, or the error, as JSON on its output

A library that crashes, never ends, or takes all memory for a hostile file does so in the child, and becomes one error
here. Nothing is unpickled: the dataset comes back as arrays whose dtypes, shapes and hashes are checked. The child has the
rights of this process; isolation is for accidents and for files made to exhaust a machine, and is no sandbox.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.datasets import errors
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.memory import scratch_folder

__all__ = ["Limits", "load_isolated"]


@dataclass(frozen=True)
class Limits:
    """What the process that reads a file may take.

    Parameters
    ----------
    memory_gib : float
        Memory, in GiB, beyond what the program itself takes. Large columns lie in files and do not count.
    timeout_seconds : float
        Time from its start to the dataset, the start of Python (a second or two) included.

    Raises
    ------
    ConfigError
        If one is not positive.
    """

    memory_gib: float = 4.0
    timeout_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name in ("memory_gib", "timeout_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise ConfigError(f"{name} is {value!r}; a positive number belongs there")


def load_isolated(name: str, format: str | None, options: Mapping[str, Any], limits: Limits) -> Dataset:
    """Load a path in a process of its own.

    Parameters
    ----------
    name : str
        As for `assay.load`, but of a file or folder, not of the catalog.
    format : str or None
        Read as this format.
    options : mapping
        For the format's reader; values that JSON can hold.
    limits : Limits

    Returns
    -------
    Dataset
        Equal to what `assay.load` returns, its history included. Its columns are maps of files that have no name any
        more, and that vanish with it.

    Raises
    ------
    FormatError
        If the process died or took more than its limits; with the file and what happened.
    AssayError
        What reading raised there.
    """
    try:
        request = json.dumps({"name": name, "format": format, "options": dict(options), "memory": limits.memory_gib})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"an option of an isolated load must be plain numbers, texts and lists: {error}") from error
    scratch = scratch_folder()
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="isolated-", dir=scratch))
    try:
        outcome = _run(name, request, folder, limits)
        for text in outcome["warnings"]:
            warnings.warn(text, AssayWarning, stacklevel=4)
        if outcome["error"] is not None:
            raise _as_error(*outcome["error"])
        from assay.datasets.formats import format_named

        return format_named("assay").read(folder / "dataset")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(name: str, request: str, folder: Path, limits: Limits) -> dict[str, Any]:
    """Let a child load; return its report.

    Raises
    ------
    FormatError
        If it gave none.
    """
    from assay.datasets.environments.pool import worker_environment

    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "assay.datasets.isolation", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=worker_environment(),
        start_new_session=True,
    )
    try:
        output, complaints = child.communicate(request.encode(), timeout=limits.timeout_seconds)
    except subprocess.TimeoutExpired:
        raise FormatError(
            f"{name}: reading it took more than {limits.timeout_seconds:g} seconds and was stopped. The file is damaged, made "
            "to keep its reader busy, or large: isolated=Limits(timeout_seconds=...) gives it more time"
        ) from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    try:
        report = json.loads(output)
        warned, error = report["warnings"], report["error"]
        if isinstance(warned, list) and (error is None or len(error) == 2):
            return {"warnings": [str(text) for text in warned], "error": error}
    except (ValueError, KeyError, TypeError):
        pass
    raise FormatError(f"{name}: {_death(child.returncode, complaints.decode(errors='replace'), limits)}")


def _death(code: int, complaints: str, limits: Limits) -> str:
    """Return what ended a child that gave no report."""
    last = complaints.strip().splitlines()[-1:] or ["it left no message"]
    if "MemoryError" in complaints or "bad_alloc" in complaints or "emory allocation" in complaints:
        what = f"took more than {limits.memory_gib:g} GiB of memory"
        return f"the process that read it {what}; isolated=Limits(memory_gib=...) allows more"
    try:
        how = f"was ended by the signal {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    except ValueError:
        how = f"ended with status {code}"
    return f"the process that read it {how} ({last[0][:200]}); the file is damaged, or made to crash its reader"


def _as_error(kind: str, text: str) -> AssayError:
    """Return the error of the child, of its own class where that is one of Assay's."""
    found = getattr(errors, kind, DatasetError)
    result: AssayError
    if found is errors.UnknownNameError or not (isinstance(found, type) and issubclass(found, AssayError)):
        result = DatasetError(text)
    else:
        result = found(text)
    return result


# -------------------------------------------------------------------- the child


def _limit_memory(gib: float) -> None:
    """Limit the memory of this process to what it takes now and so much more; it leaves no core file behind."""
    taken = 0
    for line in Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else ():
        if line.startswith("VmData:"):
            taken = int(line.split()[1]) << 10
    room = taken + int(gib * (1 << 30))
    for kind, limit in ((resource.RLIMIT_DATA, room), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, hard))


def _serve(folder: Path) -> None:
    """Do what the request on the input says, and report on the output."""
    from assay.datasets.formats import format_named
    from assay.datasets.loading import load

    output = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no part of the report
    request = json.loads(sys.stdin.buffer.read())
    _limit_memory(request["memory"])
    report: dict[str, Any] = {"warnings": [], "error": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AssayWarning)
        try:
            dataset = load(request["name"], format=request["format"], **request["options"])
            format_named("assay").write(dataset, folder / "dataset")  # type: ignore[attr-defined]
        except AssayError as error:
            report["error"] = [type(error).__name__, str(error)]
    report["warnings"] = [str(item.message) for item in caught if issubclass(item.category, AssayWarning)]
    with os.fdopen(output, "w") as stream:
        json.dump(report, stream)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
