"""Progress of what takes more than two seconds, shown where somebody looks.

Functions that may take long have an argument `progress`. By default it is `"auto"`: after two seconds a bar appears on the
standard error stream of a terminal, or below the cell of a Jupyter notebook, and it is removed at the end. Nothing is shown
where the standard error stream is no terminal. None is silent, and a callable is called in place of the bar.

One call reports at a time. A function that is called by another one that reports is silent unless it is given a callable.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Auto", "Draw", "Progress", "counted", "in_notebook", "reporting", "show_bar"]

Auto: TypeAlias = Literal["auto"]
Progress: TypeAlias = Callable[[int, int], None]  # (done, total)
Draw: TypeAlias = Callable[[str, int, int], None]  # (title, done, total)
Report = TypeVar("Report")

SECONDS_BEFORE_BAR = 2.0
_SECONDS_BETWEEN_DRAWINGS = 0.25
_SECONDS_OF_SPEED = 600.0  # that the time left is estimated from
_at_work = threading.Lock()  # held by the call that reports


def in_notebook() -> bool:
    """Whether this process is the kernel of a Jupyter notebook."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def counted(title: str) -> Callable[[Draw], Progress]:
    """Return what makes a callable (done, total) of one that takes a title as well.

    Examples
    --------
    >>> counted("loading")(print)(3, 10)
    loading 3 10
    """

    def of(draw: Draw) -> Progress:
        return lambda done, total: draw(title, done, total)

    return of


@contextmanager
def reporting(progress: Report | Auto | None, title: str, of: Callable[[Draw], Report]) -> Iterator[Report | None]:
    """Give the callable that a function reports to: the caller's own one, a bar's, or None where nobody looks.

    Parameters
    ----------
    progress : callable, "auto" or None
        As the function was given it.
    title : str
        Of the bar, until the first report.
    of : callable
        Makes what the function calls from a callable (title, done, total) that draws; `counted` is one.

    Examples
    --------
    >>> with reporting(lambda done, total: print(done, "of", total), "counting", counted("counting")) as report:
    ...     report(1, 2)
    1 of 2
    >>> with reporting(None, "counting", counted("counting")) as report:
    ...     report is None
    True
    """
    first = _at_work.acquire(blocking=False)
    try:
        if progress != "auto":
            yield progress
        elif first and (in_notebook() or (sys.stderr is not None and sys.stderr.isatty())):
            with show_bar(title) as draw:
                yield of(draw)
        else:
            yield None
    finally:
        if first:
            _at_work.release()


@contextmanager
def show_bar(title: str = "", after: float | None = None) -> Iterator[Draw]:
    """Draw a bar once so many seconds (default 2) have passed, and remove it at the end of the block.

    The callable that it gives only notes (title, done, total). A thread draws four times a second, so that a bar appears
    although nothing was reported yet, and frequent reports cost nothing.
    """
    state = _State(title)
    ended = threading.Event()
    seconds = SECONDS_BEFORE_BAR if after is None else after
    context = copy_context()  # holds the cell that a notebook's output belongs to
    thread = threading.Thread(target=context.run, args=(_draw_until, ended, state, seconds), daemon=True)
    thread.start()
    try:
        yield state.note
    finally:
        ended.set()
        thread.join()


class _State:
    """What was reported last; a total of None is not known yet."""

    def __init__(self, title: str) -> None:
        self.latest: tuple[str, int, int | None] = (title, 0, None)

    def note(self, title: str, done: int, total: int) -> None:
        self.latest = (title, done, total)


def _draw_until(ended: threading.Event, state: _State, seconds: float) -> None:
    if ended.wait(seconds):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    notebook = in_notebook()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, force_jupyter=notebook),
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout is not None
        and sys.stdout.isatty(),  # else lines for a file would go to the terminal
        speed_estimate_period=_SECONDS_OF_SPEED,
    )
    title, done, total = state.latest
    task = bar.add_task(title, completed=done, total=total)
    with _in_cell(bar) if notebook else _on_terminal(bar) as refresh:
        while not ended.wait(_SECONDS_BETWEEN_DRAWINGS):
            _update(bar, task, state)
            refresh()


def _update(bar: Bar, task: TaskID, state: _State) -> None:
    """Move the bar to what was reported last; the time left starts anew where other things are counted."""
    title, done, total = state.latest
    before = bar.tasks[0]
    if done < before.completed or total != before.total:
        bar.reset(task, completed=done, total=total)
    bar.update(task, description=title, completed=done, total=total)


@contextmanager
def _on_terminal(bar: Bar) -> Iterator[Callable[[], None]]:
    with bar:
        bar.refresh()
        yield bar.refresh


@contextmanager
def _in_cell(bar: Bar) -> Iterator[Callable[[], None]]:
    """Show the bar as an output that is replaced; rich's own live display in notebooks needs ipywidgets."""
    from IPython.display import display

    handle = display(bar, display_id=True)  # type: ignore[no-untyped-call]
    try:
        yield lambda: handle.update(bar)
    finally:
        handle.update({"text/plain": ""}, raw=True)
