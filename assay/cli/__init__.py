"""The command line: `assay --help`. It prints; the library does not.

Commands are in one file per group; importing the file registers them. `console` holds what they print with, `options` what
they understand.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module

from assay.cli import application as _application
from assay.cli.console import err, number, print_any_character, print_error, show_warning
from assay.cli.misuse import print_suggestions
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.registry import import_file
from assay.datasets.system_errors import system_reason

__all__ = ["main", "number"]

# In the order of the help.
for _name in (
    "datasets",
    "editing",
    "policies",
    "transforms",
    "augmentation",
    "relabeling",
    "reweighting",
    "rewards",
    "metrics",
    "advise",
    "training",
    "suites",
    "table",
    "trial",
    "value",
):
    import_module(f"assay.cli.{_name}")

_DESCRIPTION = """What is an offline-RL dataset worth? Load, corrupt, measure, train, report.

After any command, `--import FILE.py` brings algorithms, transforms, metrics and formats of your own (several times for several files), and
`--debug` shows the traceback of an error."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Exit status 0 on success, 1 on an error (one line on the standard error stream), 2 where the command line is not understood, 130 when
    interrupted; `advise` ends with 3 where nothing measured is near. A value that was understood and is impossible, such as an unknown
    algorithm or `--episodes 0`, is an error: what it is checked against may be data.

    Parameters
    ----------
    arguments : list of str, optional
        What would be typed behind `assay`; default the arguments of this process.
    """
    # Threads that spin while they wait cost several times the speed on shared cores; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    print_any_character()
    warnings.showwarning = show_warning
    given = list(sys.argv[1:] if arguments is None else arguments)
    _application.arguments[:] = given
    try:
        _run([item for item in given if item != "--debug"])
    except (Exception, KeyboardInterrupt) as error:
        status = _report(error)
        if status is None or "--debug" in given:
            raise
        raise SystemExit(status) from None


def _run(given: list[str]) -> None:
    """Do what the arguments say."""
    for item in given:
        if "\0" in item:
            raise ConfigError(f"the argument {item!r} holds a NUL character, which no path or name has")
    files, rest = _imports(given)
    for file in files:
        import_file(file)
    try:
        _application.application.cli(prog="assay", description=_DESCRIPTION, args=rest)
    except SystemExit as end:
        if end.code == 2:
            print_suggestions(rest)
        raise


def _imports(given: list[str]) -> tuple[list[str], list[str]]:
    """Split arguments into the files of `--import` and all others."""
    files, rest, left = [], [], iter(given)
    for item in left:
        if item == "--import":
            file = next(left, None)
            if file is None:
                raise _application.Misuse("--import is not followed by a file", "assay COMMAND ... --import FILE.py")
            files.append(file)
        elif item.startswith("--import="):
            files.append(item.partition("=")[2])
        else:
            rest.append(item)
    return files, rest


def _report(error: BaseException) -> int | None:
    """Print an error as one line and return the exit status; None where it is a mistake in Assay itself."""
    match error:
        case _application.Misuse():
            print_error(str(error))
            err.print(f"usage: {error.usage}", markup=False, highlight=False)
            return 2
        case KeyboardInterrupt():
            err.print("interrupted; the same command goes on where this one stopped")
            return 130
        case BrokenPipeError():
            sys.stderr.close()  # the reader of our output has gone; nothing is left to say
            return 1
        case AssayError():
            print_error(str(error))
        case RecursionError():
            print_error("something in the input is nested too deeply to be read; --debug shows where")
        case MemoryError():
            print_error(f"not enough memory: {str(error) or 'it was used up'}")
        case UnicodeError():
            print_error(f"a name or path is not UTF-8 text ({error}); rename it")
        case OSError():
            path = " -> ".join(
                os.fsdecode(item) for item in (error.filename, error.filename2) if isinstance(item, (str, bytes))
            )
            print_error(f"{path}: {system_reason(error)}" if path else f"{system_reason(error)}")
        case _:
            return None
    return 1
