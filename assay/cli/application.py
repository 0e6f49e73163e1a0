"""The application that commands register with, and what it is told before any command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tyro.extras import SubcommandApp

__all__ = ["COMMANDS", "GROUPS", "Misuse", "application", "arguments", "command", "refuse_options"]

application = SubcommandApp()
datasets = SubcommandApp()
application.command(datasets, name="datasets", help="List, show, collect, download, convert and validate datasets.")
relabel = SubcommandApp()
application.command(relabel, name="relabel", help="Fill in labels that a dataset lacks, each with its uncertainty.")

GROUPS = {"datasets": datasets, "relabel": relabel}
COMMANDS: set[tuple[str, ...]] = set()
"""What every command is called: one word, or a group's name and one word."""
arguments: list[str] = []
"""What was typed behind `assay`, for commands that record it."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Misuse(Exception):
    """A command was called in a way that its usage does not allow, such as with options that exclude each other; the exit status is 2."""

    def __init__(self, reason: str, usage: str) -> None:
        super().__init__(reason)
        self.usage = usage


def command(*words: str) -> Callable[[Function], Function]:
    """Register a function as a command of these words, such as `"datasets", "list"`."""

    def decorate(function: Function) -> Function:
        COMMANDS.add(words)
        group = GROUPS[words[0]] if len(words) > 1 else application
        register: Callable[[Function], Function] = group.command(name=words[-1])
        return register(function)

    return decorate


def refuse_options(options: Iterable[str], reason: str, usage: str) -> None:
    """Raise Misuse where one of these options was typed: it would be ignored, and `reason` says why."""
    typed = [word.partition("=")[0].replace("_", "-") for word in arguments]
    if found := [option for option in options if option in typed]:
        raise Misuse(f"{', '.join(found)}: {reason}", usage)
