"""What a table of metrics is made of: measures, by group, and what they share while one dataset is measured.

A metric of one's own is a function of a dataset::

    @register_metric("action_energy", unit="squared action")
    def action_energy(dataset: Dataset) -> float:
        return float(np.square(dataset.actions).mean())

A metric file of this package offers its functions to everybody and one function `measures(basis)` to the table, which is
registered by `register_group` and returns for every name a function that computes it. Nothing is computed until it is asked
for, and what several measures need is computed once, by `basis.cache`. A measure that lacks something (a reference, real-valued observations) raises `NotMeasurable` with
the reason: the table leaves it out, or shows the reason where it was asked for by name.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.missing import LABELS, require_labels
from assay.datasets.registry import Registry
from assay.datasets.streaming import StepReader

__all__ = [
    "Basis",
    "Measure",
    "Measures",
    "MetricGroup",
    "NotMeasurable",
    "bootstrap_interval",
    "groups",
    "register_group",
    "register_metric",
    "remove_metric",
]

RESAMPLES = 1_000

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])


class NotMeasurable(ConfigError):
    """A metric lacks what it is measured by; the text says what, and how to give it."""


class Measure(NamedTuple):
    """One value of the table.

    Parameters
    ----------
    value : float
    unit : str
        In words, such as `"fraction of steps"`.
    source : str
        Definition or paper, and the parameters that decide the value.
    interval : (float, float) or None
        95 % interval, where the value is an estimate.
    """

    value: float
    unit: str
    source: str
    interval: tuple[float, float] | None = None


Measures = dict[str, Callable[[], Measure]]


@dataclass(frozen=True)
class Basis:
    """What the measures of one dataset are measured by.

    Parameters
    ----------
    dataset : Dataset
    reference : Dataset or None
        What relative measures compare with.
    bins : int or None
        Bin edges per column of state-action grids; None is what the definition of SACo takes.
    seed : int
        Of resampling and subsampling.
    sample : int
        Most steps that measures of quadratic cost look at; they say so, and give an interval.
    definition : str
        Of SACo, where its sources disagree: `assay.metrics.saco` has them.
    """

    dataset: Dataset
    reference: Dataset | None = None
    bins: int | None = None
    seed: int = 0
    sample: int = 20_000
    definition: str = "paper"
    _results: dict[str, Any] = field(default_factory=dict, repr=False)

    def cache(self, name: str, function: Callable[[], Result]) -> Result:
        """Return the result of the function, which is called once per name and kept."""
        if name not in self._results:
            self._results[name] = function()
        result: Result = self._results[name]
        return result

    def once(self, name: str, function: Callable[[], Result]) -> Result:
        """Former name of `cache`."""
        warnings.warn(
            "Basis.once is now Basis.cache; the former name goes with the next release", DeprecationWarning, 2
        )
        return self.cache(name, function)

    def require_reference(self) -> Dataset:
        """Return the reference, or raise NotMeasurable."""
        if self.reference is None:
            raise NotMeasurable("this compares with a reference dataset: pass reference=")
        return self.reference

    def sampled_steps(self, dataset: Dataset | None = None) -> np.ndarray:
        """Return at most `sample` steps, drawn without replacement by the seed, in order; (n,) int64."""
        return sample_steps(dataset or self.dataset, self.sample, self.seed)


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that are measured together, or one metric that stands alone.

    Parameters
    ----------
    measures : callable
        Basis -> name of each metric -> what computes it.
    order : int
        The table lists groups from low to high; 10 to 160 are the built-in ones.
    of_steps : bool
        Whether it measures steps, whatever episodes they are of: then it goes on without steps that hold NaN.
    """

    measures: Callable[[Basis], Measures]
    order: int
    of_steps: bool = False


_REGISTRY: Registry[MetricGroup] = Registry("group of metrics", ["assay.metrics"], "assay.metrics")
_LAST = 1000  # order of what gives none


def groups() -> dict[str, MetricGroup]:
    """Return all groups of metrics by name, in the order of the table.

    Examples
    --------
    >>> list(groups())[:3]
    ['size', 'returns', 'return_structure']
    """
    return dict(sorted(_REGISTRY.all().items(), key=lambda item: item[1].order))


def register_group(name: str, order: int = _LAST, of_steps: bool = False) -> Callable[[Function], Function]:
    """Register a function `measures(basis)` as a group of metrics.

    Parameters
    ----------
    name : str
        Of the group; `select` takes it for all of its metrics.
    order, of_steps
        As in `MetricGroup`.

    Raises
    ------
    ConfigError
        If another module has taken the name.
    """

    def decorate(function: Function) -> Function:
        _REGISTRY.add(name, MetricGroup(function, order, of_steps), function.__module__)
        return function

    return decorate


def register_metric(
    name: str, unit: str, source: str = "", order: int = _LAST, labels: Sequence[str] = LABELS
) -> Callable[[Function], Function]:
    """Register a function of a dataset as a metric: `assess`, `assay metrics` and suites then know its name.

    The function is called with the dataset, and with the reference dataset too if it has a parameter named `reference`. It
    returns a number, or a number and its 95 % interval as `(value, (low, high))`. It may raise `NotMeasurable` with what
    it lacks; then the table leaves the metric out.

    Parameters
    ----------
    name : str
    unit : str
        In words, such as `"fraction of steps"`.
    source : str
        Definition or paper; default the first line of the function's docstring.
    order : int
        Its place in the table; without it, after the built-in metrics.
    labels : sequence of "actions" and "rewards"
        What the function may read. Where a dataset has only some of these labels, the function is given the episodes that
        have all of them. A dataset that has none of them raises where the function asks for them.

    Raises
    ------
    ConfigError
        If another module has taken the name.

    Examples
    --------
    >>> from assay.metrics import assess, register_metric
    >>> @register_metric("example_energy", unit="squared action")
    ... def example_energy(dataset):
    ...     "Mean of the squared actions."
    ...     return (dataset.actions**2).mean()
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(3), actions=np.array([1.0, 3.0]), rewards=[0.0, 0.0],
    ...     terminations=[False, True], truncations=[False, False])
    >>> assess(dataset, select=["example_energy"]).select("metric", "value", "unit", "source").rows()
    [('example_energy', 5.0, 'squared action', 'Mean of the squared actions.')]
    >>> remove_metric("example_energy")
    """

    def decorate(function: Function) -> Function:
        takes_reference = "reference" in inspect.signature(function).parameters
        definition = source or (inspect.getdoc(function) or function.__name__).splitlines()[0]

        def measure(basis: Basis) -> Measure:
            more = {"reference": basis.require_reference()} if takes_reference else {}
            for dataset in (basis.dataset, *more.values()):
                require_labels(dataset, *(label for label in labels if not dataset.missing[label].all()), by=name)
            return _as_measure(name, function(basis.dataset, **more), unit, definition)

        _REGISTRY.add(name, MetricGroup(lambda basis: {name: lambda: measure(basis)}, order), function.__module__)
        return function

    return decorate


def remove_metric(name: str) -> None:
    """Forget a metric or group, such as one of a test's own."""
    _REGISTRY.remove(name)


def _as_measure(name: str, returned: Any, unit: str, source: str) -> Measure:
    value, interval = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    try:
        if interval is not None:
            low, high = interval
            interval = float(low), float(high)
        return Measure(float(value), unit, source, interval)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"metric {name} returned {returned!r}; expected a number, or a number and its interval (low, high)"
        ) from error


def sample_steps(dataset: Dataset, size: int, seed: int) -> np.ndarray:
    """Return `size` steps of a dataset without replacement, sorted; all of them where there are fewer."""
    if dataset.total_steps <= size:
        return np.arange(dataset.total_steps)
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.sort(generator.choice(dataset.total_steps, size, replace=False, shuffle=False))


def real_columns(dataset: Dataset, prefix: str, steps: np.ndarray) -> np.ndarray:
    """Return the numbers of a column, or of all columns below it, side by side for some steps; (n, D) float64.

    Parameters
    ----------
    dataset : Dataset
    prefix : str
        `"observations"`, `"actions"` or `"next_observations"`, which need not be stored.
    steps : (n,) int64

    Raises
    ------
    NotMeasurable
        If there are no numbers in it.
    DatasetError
        If a number is NaN or infinite; with the place.
    """
    reader = StepReader(dataset)
    follows = prefix == "next_observations" and not dataset.has_next_observations
    parts = []
    for name in reader.leaves("observations" if follows else prefix):
        array = dataset.column(name)
        if array.dtype.kind not in "fiub":
            continue
        rows = steps if len(array) == dataset.total_steps else steps + reader.episodes_of(steps) + follows
        values = np.asarray(array[rows], np.float64)
        if array.dtype.kind == "f" and not np.isfinite(values).all():
            wrong = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
            reader.require_finite(name, slice(int(steps[wrong]), int(steps[wrong]) + 1), values[wrong : wrong + 1])
        parts.append(values.reshape(len(steps), -1))
    if not parts or not sum(part.shape[1] for part in parts):
        raise NotMeasurable(f"{prefix} hold no numbers to measure")
    return np.concatenate(parts, axis=1)


def bootstrap_interval(
    values: np.ndarray, seed: int, statistic: Callable[[np.ndarray], np.ndarray] = lambda rows: rows.mean(1)
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a statistic of rows of values, or None for fewer than two values.

    The mean by default. 1,000 resamples, seeded; see `assay.datasets.bootstrap`.
    """
    if len(values) < 2:
        return None
    replicates = bootstrap([values], statistic, RESAMPLES, np.random.Generator(np.random.SFC64(seed)))
    low, high = percentile_interval(replicates).tolist()
    return low, high
