"""What the command line prints: consoles, numbers, tables, progress. The library prints nothing."""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from assay.datasets.errors import AssayWarning
from assay.datasets.progress import show_bar

if TYPE_CHECKING:
    from assay.baselines import TrainingProgress

__all__ = [
    "byte_bar",
    "drawing",
    "err",
    "escape",
    "number",
    "out",
    "print_any_character",
    "print_error",
    "progress_bar",
    "show_warning",
    "training_display",
]

WIDTH_OF_FILES = 140  # columns, where the output is not a terminal
SECONDS_BETWEEN_LINES = 10.0  # of progress, where there is no terminal to draw a bar on

out = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
err = Console(stderr=True)


def number(value: float | None) -> str:
    """Write a number for people: four significant digits, integers whole."""
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


@contextmanager
def drawing() -> Iterator[Callable[[str, int, int], None]]:
    """Give a callable (title, done, total) that draws a bar, or prints a line now and then without a terminal."""
    if err.is_terminal:
        with show_bar() as draw:
            yield draw
        return
    last = time.monotonic()

    def print_line(title: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN_LINES or done >= total:
            last = time.monotonic()
            err.print(f"{title}: {done / max(total, 1):.0%}", highlight=False)

    yield print_line


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callable (done, total)."""
    with drawing() as draw:
        yield lambda done, total: draw(title, done, total)


@contextmanager
def byte_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callable (bytes done, bytes in all or 0) that draws a bar, or prints a line now and then."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    if not err.is_terminal:
        last = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                err.print(f"{title}: {done / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f} MB" if total else ""))

        yield report
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


@contextmanager
def training_display() -> Iterator[tuple[Callable[[str, int, int], None], Callable[[TrainingProgress], None]]]:
    """Give what draws a bar, as `drawing` does, and what shows a training: live on a terminal, else as lines."""
    if not err.is_terminal:
        from assay.baselines.training.progress import training_bar

        with drawing() as draw:
            yield draw, training_bar(draw)
        return
    from rich.live import Live

    from assay.baselines.training.live_table import LiveTable

    table = LiveTable()
    with Live(table, console=err, transient=True):
        yield table.prepare, table.update


def print_error(text: str) -> None:
    """Print an error as one line on the standard error stream."""
    err.print(f"[bold red]error:[/] {escape(' '.join(text.split()))}", soft_wrap=True, highlight=False)


def print_any_character() -> None:
    """Let both streams write what their encoding has no place for, such as a path that is not UTF-8, as \\xff."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_warning(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
    """Print Assay's warnings as one line, others as Python does."""
    if issubclass(category, AssayWarning):
        err.print(f"[bold yellow]warning:[/] {escape(str(message))}", soft_wrap=True, highlight=False)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, *where[:2]))
