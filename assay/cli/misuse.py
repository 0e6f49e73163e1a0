"""What a misspelt command or option was probably meant to be."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
from collections.abc import Sequence

from assay.cli.application import COMMANDS, GROUPS, application
from assay.cli.console import err

__all__ = ["print_suggestions", "suggestions"]

_EVERYWHERE = ("--debug", "--help", "--import")


def suggestions(arguments: Sequence[str]) -> list[str]:
    """Return what misspelt words of a command line may have meant.

    Parameters
    ----------
    arguments : sequence of str
        What was typed behind `assay`.

    Examples
    --------
    >>> import assay.cli
    >>> suggestions(["corupt", "hopper/medium"])
    ['corupt: did you mean `assay corrupt`?']
    """
    words: list[str] = []
    for word in arguments:
        if word.startswith("-"):
            break
        known = sorted(
            {path[len(words)] for path in COMMANDS if len(path) > len(words) and path[: len(words)] == tuple(words)}
        )
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            return [f"{word}: did you mean `assay {' '.join([*words, near[0]])}`?"] if near else []
        words.append(word)
        if tuple(words) in COMMANDS and words[0] not in GROUPS:
            break
        if len(words) == 2:
            break
    if tuple(words) not in COMMANDS:
        return []
    known = [*_options_of(words), *_EVERYWHERE]
    found = []
    for word in arguments[len(words) :]:
        option = word.partition("=")[0].replace("_", "-")
        if option.startswith("--") and option not in known:
            near = difflib.get_close_matches(option[2:], [each[2:] for each in known], n=1)  # all begin with --
            found += [f"{option}: did you mean --{near[0]}?"] if near else []
    return found


def print_suggestions(arguments: Sequence[str]) -> None:
    """Print them on the standard error stream."""
    for line in suggestions(arguments):
        err.print(line, markup=False, highlight=False)


def _options_of(words: Sequence[str]) -> list[str]:
    """Return the options that the help of a command lists."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        application.cli(prog="assay", args=[*words, "--help"])
    return sorted(set(re.findall(r"--[a-z][a-z-]*[a-z]", text.getvalue())))
