"""All metrics of a dataset in one table.

A value that estimates something about the policies behind the data (mean return, mean length, score, TQ) comes with a
95 % percentile bootstrap interval over episodes, if there are two episodes or more. A value that counts what is there has
no interval. A value that was measured on a sample of the steps has an interval, and its source names the sample.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, MissingLabelsError, UnknownNameError
from assay.datasets.progress import Auto, Draw, reporting
from assay.datasets.recording import unrecorded
from assay.metrics.finite_part import finite_part
from assay.metrics.labelled_part import labelled_parts
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, groups
from assay.metrics.returns import require_episodes

if TYPE_CHECKING:
    from assay.metrics.robot import RobotChecks
    from assay.metrics.robot.episode_table import EpisodeTable
    from assay.metrics.table import MetricTable

__all__ = ["assess", "metric_names"]

_TITLE = "measuring"


@overload
def assess(
    dataset: Dataset,
    reference: Dataset | None = None,
    select: Sequence[str] | str | None = None,
    bins: int | None = None,
    seed: int = 0,
    sample: int = 20_000,
    definition: str = "paper",
    progress: Callable[[int, int, str], None] | Auto | None = "auto",
    *,
    per: Literal["dataset"] = "dataset",
    checks: None = None,
) -> MetricTable: ...


@overload
def assess(
    dataset: Dataset,
    reference: Dataset | None = None,
    select: Sequence[str] | str | None = None,
    bins: int | None = None,
    seed: int = 0,
    sample: int = 20_000,
    definition: str = "paper",
    progress: Callable[[int, int, str], None] | Auto | None = "auto",
    *,
    per: Literal["episode"],
    checks: RobotChecks | Mapping[str, Any] | None = None,
) -> EpisodeTable: ...


def assess(
    dataset: Dataset,
    reference: Dataset | None = None,
    select: Sequence[str] | str | None = None,
    bins: int | None = None,
    seed: int = 0,
    sample: int = 20_000,
    definition: str = "paper",
    progress: Callable[[int, int, str], None] | Auto | None = "auto",
    *,
    per: Literal["dataset", "episode"] = "dataset",
    checks: RobotChecks | Mapping[str, Any] | None = None,
) -> MetricTable | EpisodeTable:
    """Measure a dataset.

    Parameters
    ----------
    dataset : Dataset
    reference : Dataset, optional
        Dataset that relative metrics compare with, such as the replay dataset of the same environment. Without it there are no
        rows such as `saco` and `lsaco`, and `unique_state_actions` counts on the dataset's own range.
    select : sequence of str, optional
        Metrics or groups of them to compute, in this order; default: every metric whose inputs this dataset has. With
        `per="episode"`: "robot" (the default; all checks of recorded robots), names of these checks, or any other metric,
        which is then measured on each episode alone.
    bins : int, optional
        Bin edges per column of the state-action grid; default 100, and 5 for the notebook's definition.
    seed : int
        Seed of the bootstrap and of subsamples.
    sample : int
        Most steps that metrics of quadratic cost look at.
    definition : "paper", "published code" or "d4rl notebook"
        Definition of SACo; `assay.metrics.saco` says how they differ.
    progress : callable, optional
        Called with (metrics done, metrics in all, name of the next). By default a bar is shown where somebody looks; None is
        silent. See `assay.datasets.progress`.
    per : "dataset" or "episode"
        One value for all, or one per episode and, where that is meaningful, dimension.
    checks : RobotChecks or mapping of its fields, optional
        Settings and limits of the checks per episode, such as `{"limits": {"idle_tail": 0.1}}`.

    Returns
    -------
    polars.DataFrame
        With `per="episode"` an `assay.metrics.robot.episode_table.EpisodeTable`, whose `wide()` has one row per episode and
        which prints the correlation of each score with the length of the episodes. Otherwise
        columns metric, value, interval (a struct of low and high, the 95 % interval, or null), unit, source, seconds
        (what several metrics share counts for the first of them). `print` shows all rows. `.unnest("interval")` makes two
        columns of the interval. `metric_names(dataset)` lists the metrics by group. A metric that meets NaN or infinity
        is measured on the steps, or on the whole episodes where it needs those, whose numbers are all finite, and its source says
        how many; where none is left, an `AssayWarning` and the table's `skipped` name the reason and the place.
        So is one that needs actions or rewards where the dataset has none. Where it has some, the metric is measured on the
        episodes that have all of them, and its source says how many.

    Raises
    ------
    UnknownNameError
        If a selected metric does not exist; with the nearest names.
    ConfigError
        If a selected metric needs a reference or reference scores that are not there.
    DatasetError
        If there are no episodes, or if a metric that is selected by its own name meets values that are not finite, and nothing
        is left without them; with the place.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> assess(dataset, select=["return_mean", "fraction_terminated"])["value"].to_list()
    [3.0, 0.5]
    >>> assess(dataset, per="episode", select="length", checks={"rate": 10})["value"].to_list()
    [2.0, 1.0]
    """
    from assay.metrics.table import MetricTable

    require_episodes(dataset)
    if per not in ("dataset", "episode"):
        raise UnknownNameError("per", str(per), ("dataset", "episode"))
    if per == "episode":
        chosen_names = [select] if isinstance(select, str) else select
        return _assess_episodes(
            Basis(dataset, reference, bins, seed, sample, definition), chosen_names, checks, progress
        )
    if checks is not None:
        raise ConfigError('checks are settings of checks per episode: pass per="episode" too')
    if isinstance(select, str):
        if select == "robot":
            raise ConfigError('select="robot" stands for checks of each episode: pass per="episode" too')
        raise ConfigError(f"select must be a list of metric names, such as [{select!r}]")
    basis = Basis(dataset, reference, bins, seed, sample, definition)
    measured = {name: group.measures(basis) for name, group in groups().items()}
    parts = _Parts(basis)
    known = {name: function for measures in measured.values() for name, function in measures.items()}
    of_steps = {name for group, measures in measured.items() if groups()[group].of_steps for name in measures}
    chosen: dict[str, None] = {}
    for name in known if select is None else select:
        if name not in known and name not in measured:
            raise UnknownNameError("metric", name, {*known, *measured})
        chosen |= dict.fromkeys(measured.get(name, [name]))
    rows: list[tuple[str, Measure, float]] = []
    skipped: dict[str, str] = {}
    with reporting(progress, _TITLE, _draw_metrics) as report:
        for number, name in enumerate(chosen):
            if report is not None:
                report(number, len(chosen), name)
            start = time.perf_counter()
            try:
                measure = parts.measure(name, known[name])
            except NotMeasurable as reason:
                if select is not None and name in select:
                    raise NotMeasurable(f"{name}: {reason}") from None
                continue
            except DatasetError as error:
                found = parts.measure_finite(name, name in of_steps, str(error))
                if found is None:
                    if select is not None and name in select:
                        raise
                    skipped[name] = str(error)
                    continue
                measure = found
            rows.append((name, measure, time.perf_counter() - start))
        if report is not None:
            report(len(chosen), len(chosen), "")
    table = MetricTable(rows, skipped)
    for note in [*table.notes, *parts.notes()]:
        warnings.warn(note, AssayWarning, stacklevel=2)
    return table


def _assess_episodes(
    basis: Basis,
    select: Sequence[str] | None,
    checks: RobotChecks | Mapping[str, Any] | None,
    progress: Callable[[int, int, str], None] | Auto | None,
) -> EpisodeTable:
    from assay.metrics.robot.episode_table import EpisodeTable
    from assay.metrics.robot.profile import ROBOT, robot_table

    names = [ROBOT] if select is None else list(select)
    plain = [name for name in names if name in _names_of_measures(basis)]
    robot = [name for name in names if name not in plain]
    with reporting(progress, _TITLE, _draw_metrics) as report:
        table = robot_table(basis.dataset, None if ROBOT in robot else robot, checks) if robot else None
        scores = [] if table is None else list(table.scores)
        scores += [_score_of_episodes(name, basis, report) for name in plain]
    result = EpisodeTable(scores, basis.dataset.episode_lengths, {} if table is None else table.skipped)
    for note in result.notes:
        warnings.warn(note, AssayWarning, stacklevel=3)
    return result


def _names_of_measures(basis: Basis) -> set[str]:
    return set(_measures_of(basis))


def _score_of_episodes(name: str, basis: Basis, report: Callable[[int, int, str], None] | None) -> Any:
    """Measure a metric on each episode alone; NaN where one episode is not enough."""
    import numpy as np

    from assay.metrics.robot import Score

    dataset = basis.dataset
    values, last, reason = np.full(dataset.total_episodes, np.nan), None, ""
    for episode in range(dataset.total_episodes):
        if report is not None:
            report(episode, dataset.total_episodes, name)
        with unrecorded():
            alone = replace(basis, dataset=dataset.select([episode]), _results={})
        try:
            last = _measures_of(alone)[name]()
        except (NotMeasurable, KeyError) as error:
            reason = str(error)
            continue
        values[episode] = last.value
    if last is None:
        raise NotMeasurable(f"{name} cannot be measured on one episode: {reason}")
    return Score(name, values, last.unit, definition=last.source)


class _Parts:
    """Measures on the whole dataset, or on the episodes whose labels are all there (`labelled_parts`).

    Parameters
    ----------
    basis : Basis
        Of the whole dataset.
    """

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._left = labelled_parts(basis)  # each is made when a metric asks for it
        self._made: list[tuple[Measures, str]] = []
        self._finite: dict[bool, tuple[Measures, str] | None] = {}
        self._on_finite: dict[str, list[str]] = {}  # which part -> what each metric met

    def measure(self, name: str, on_the_whole: Callable[[], Measure]) -> Measure:
        """Return the measure, of the first part that has the labels it needs.

        Raises
        ------
        MissingLabelsError
            If no part has them.
        """
        try:
            return on_the_whole()
        except MissingLabelsError as error:
            lacking = error
        number = 0
        while (part := self._part(number)) is not None:
            measures, note = part
            try:
                measure = measures[name]()
            except MissingLabelsError as error:
                lacking, number = error, number + 1
                continue
            return measure._replace(source=f"{measure.source}; {note}")
        raise lacking

    def measure_finite(self, name: str, of_steps: bool, reason: str) -> Measure | None:
        """Return the measure of the part whose numbers are finite, or None where there is none, or it is not measurable."""
        if of_steps not in self._finite:
            found = finite_part(self._basis, of_steps)
            self._finite[of_steps] = None if found is None else (_measures_of(found[0]), found[1])
        part = self._finite[of_steps]
        if part is None or name not in part[0]:
            return None
        measures, note = part
        try:
            measure = measures[name]()
        except (DatasetError, NotMeasurable):
            return None
        self._on_finite.setdefault(note, []).append(reason)
        return measure._replace(source=f"{measure.source}; {note}")

    def notes(self) -> list[str]:
        """Say how many metrics were measured on the finite part, and what that is."""
        found = []
        for note, reasons in self._on_finite.items():
            metrics = "1 metric is" if len(reasons) == 1 else f"{len(reasons)} metrics are"
            found.append(f"{metrics} measured on {note}: {reasons[0].partition('; ')[0]}")
        return found

    def _part(self, number: int) -> tuple[Measures, str] | None:
        while len(self._made) <= number:
            following = next(self._left, None)
            if following is None:
                return None
            basis, note = following
            self._made.append((_measures_of(basis), note))
        return self._made[number]


def _measures_of(basis: Basis) -> Measures:
    return {name: function for group in groups().values() for name, function in group.measures(basis).items()}


def _draw_metrics(draw: Draw) -> Callable[[int, int, str], None]:
    return lambda done, total, following: draw(f"{_TITLE}, {following}" if following else _TITLE, done, total)


def metric_names(dataset: Dataset) -> dict[str, list[str]]:
    """Return the names of the metrics by group; some depend on the dataset, such as `corrupted_<element>`."""
    return {name: list(group.measures(Basis(dataset))) for name, group in groups().items()}


def __getattr__(name: str) -> Any:
    if name == "GROUPS":
        warnings.warn("GROUPS is now assay.metrics.measures.groups()", DeprecationWarning, stacklevel=2)
        return {name: group.measures for name, group in groups().items()}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
