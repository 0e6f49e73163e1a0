"""A live table of a training for a terminal: the populations at work, their speed and time left, and their members.

::

    1 of 3 populations done ━━━━━━━━━╺━━━━━━━━━━━━━━━━━━━━━
    TD3+BC (2/3), 6 jobs    ━━━━━━━━━━━━━━━━━━━━━╺━━━━━━━━━ 2,840/4,000 updates   812 updates/s   0:00:09 left
      algorithm   variant          seed   critic_loss   actor_loss   return   score
      TD3+BC      clean            0      3.211         -1.42        512.3    16.4
      TD3+BC      random-rewards   0      3.847         -1.317
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from assay.baselines.training.progress import MemberProgress, TrainingProgress

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

__all__ = ["LiveTable"]

_BAR_WIDTH = 30
_LINES_AROUND = 4  # of the terminal, that rows of members leave free
_SMOOTHING = 0.5  # weight of the speed since the last report


class LiveTable:
    """Something rich can draw, over and over; `update` tells it what is new.

    Examples
    --------
    >>> from rich.console import Console
    >>> table = LiveTable()
    >>> table.update(TrainingProgress(0, 2, "BC", 1, 50, 100, 25.0, rows=(MemberProgress("BC", "clean", 0, score=7.5),)))
    >>> console = Console(width=120)
    >>> with console.capture() as captured:
    ...     console.print(table)
    >>> "50/100 updates" in captured.get(), "0:00:02 left" in captured.get(), "7.5" in captured.get()
    (True, True, True)
    """

    def __init__(self) -> None:
        self.reports: dict[int, TrainingProgress] = {}
        self.speeds: dict[int, float] = {}
        self.preparing: tuple[str, int, int] | None = None

    def prepare(self, title: str, done: int, total: int) -> None:
        """Show a bar until the training begins."""
        self.preparing = (title, done, total)

    def update(self, report: TrainingProgress) -> None:
        """Take the latest report of a population."""
        self.preparing = None
        self.reports[report.population] = report
        if report.updates_per_second:
            before = self.speeds.get(report.population, report.updates_per_second)
            self.speeds[report.population] = before + _SMOOTHING * (report.updates_per_second - before)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.table import Table

        reports = list(self.reports.values())
        lines = Table.grid(padding=(0, 2))
        if self.preparing is not None:
            title, done, total = self.preparing
            lines.add_row(title, _bar(done, total), f"{done / max(total, 1):.0%}")
        if reports:
            done, total = sum(report.ended for report in reports), reports[-1].populations
            lines.add_row(f"{done} of {total} populations done", _bar(done, total))
        at_work = [report for report in reports if not report.ended]
        for report in at_work:
            lines.add_row(*self._line(report))
        yield lines
        rows = [row for report in at_work for row in report.rows]
        if rows:
            yield _members(rows, max(1, console.height - len(at_work) - _LINES_AROUND))

    def _line(self, report: TrainingProgress) -> tuple[RenderableType, ...]:
        if report.waiting_for:
            return (report.title,)  # whose progress another process shows
        if report.evaluated:
            return report.title, _bar(report.evaluated, 1.0), f"evaluating, {report.evaluated:.0%}"
        updates = f"{report.update:,}/{report.steps:,} updates"
        if not (speed := self.speeds.get(report.population)):
            return report.title, _bar(report.update, report.steps), updates
        left = timedelta(seconds=round((report.steps - report.update) * report.members / speed))
        return report.title, _bar(report.update, report.steps), updates, f"{speed:,.0f} updates/s", f"{left} left"


def _bar(done: float, total: float) -> RenderableType:
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=max(total, 1e-9), completed=done, width=_BAR_WIDTH)


def _members(rows: Sequence[MemberProgress], most: int) -> Table:
    """Draw a row per member, or where they are too many the means over seeds."""
    from rich.table import Table

    losses = list(dict.fromkeys(name for row in rows for name, _ in row.metrics if name.endswith("loss")))
    table = Table(box=None, padding=(0, 1), header_style="dim")
    lines = [_member(str(row.seed), [row], losses) for row in rows]
    if len(lines) > most:
        groups = [list(group) for _, group in groupby(rows, lambda row: (row.label, row.variant))]
        lines = [_member(f"{len(group)} members", group, losses) for group in groups]
    for title in ("algorithm", "variant", "seed", *losses, "return", "score"):
        table.add_column(title, no_wrap=True)
    for line in lines[:most]:
        table.add_row(*line)
    if len(lines) > most:
        table.add_row(f"and {len(lines) - most} more", style="dim")
    return table


def _member(seed: str, members: Sequence[MemberProgress], losses: Sequence[str]) -> tuple[str, ...]:
    metrics = [dict(member.metrics) for member in members]
    return (
        members[0].label,
        members[0].variant,
        seed,
        *(_mean([values.get(name) for values in metrics], ".4g") for name in losses),
        _mean([member.mean_return for member in members], ",.1f"),
        _mean([member.score for member in members], ".1f"),
    )


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(sum(known) / len(known), form) if known else ""
