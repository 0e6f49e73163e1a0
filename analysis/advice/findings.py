"""What a dataset itself shows that matters for the choice of an algorithm: each finding with what it means.

The limits are stated at each finding. They are those at which the metric leaves what clean data of the catalog show (at most 0.08 for the
noise of transitions and 0.01 for multimodality, as measured on 20,000 steps), or the point where a table of this package gives no
interval worth the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from assay.datasets.dataset import Dataset
from assay.datasets.missing import complete_episodes
from assay.datasets.spaces import Discrete, MultiBinary, MultiDiscrete
from assay.datasets.validation import Finding, ValidationReport
from assay.datasets.wording import count_of

__all__ = ["METRICS", "AdviceFinding", "findings_of"]

METRICS = ("returns", "labels", "noise", "behaviour")
"""Groups of metrics that the findings read."""

FEWEST_EPISODES = 20
EQUAL = 1e-6  # spread of the returns, relative to their size
SPARSE = 0.95  # share of the steps with the most frequent reward
NOISY = 0.1  # lower end of the interval of the noise of transitions
SEVERAL_MODES = 0.25  # lower end of the share of states
SEVERAL_ACTIONS = 0.5  # lower end of the action variance in one state, of discrete actions
BORDERS = ("both flags", "episode end", "early flag", "time limit", "continuity", "final observation", "timestamps")
"""Checks of validation whose errors and warnings are about where episodes begin and end."""


@dataclass(frozen=True)
class AdviceFinding:
    """One thing that a dataset shows.

    Parameters
    ----------
    name : str
        What it is called.
    found : str
        The numbers.
    means : str
        What they mean for the choice of an algorithm.
    """

    name: str
    found: str
    means: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}. {self.means}"


@dataclass(frozen=True)
class Measured:
    """What the finders look at; a metric is (value, low, high), with the value for both ends where it has no interval."""

    dataset: Dataset
    report: ValidationReport
    metrics: Mapping[str, tuple[float, float, float]]


def findings_of(dataset: Dataset, report: ValidationReport, metrics: pl.DataFrame) -> tuple[AdviceFinding, ...]:
    """Return what a dataset shows, in a fixed order.

    Parameters
    ----------
    dataset : Dataset
    report : ValidationReport
        From `dataset.validate()`.
    metrics : polars.DataFrame
        From `assay.metrics.assess`, with the groups `METRICS`. What was not measured there is not found.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 2.0],
    ...     terminations=[False, True, True], truncations=np.zeros(3, bool))
    >>> empty = pl.DataFrame(schema={"metric": pl.String, "value": pl.Float64, "interval": pl.Struct({})})
    >>> [finding.name for finding in findings_of(dataset, dataset.validate(), empty)]
    ['too few episodes', 'returns all equal']
    """
    known = {}
    for row in metrics.iter_rows(named=True):
        between = row["interval"] or {"low": row["value"], "high": row["value"]}
        known[row["metric"]] = (row["value"], between["low"], between["high"])
    measured = Measured(dataset, report, known)
    return tuple(finding for find in _FINDERS for finding in find(measured))


def _labels_missing(measured: Measured) -> Iterator[AdviceFinding]:
    means = {
        "rewards": "Only cloning learns without rewards, and TQ is that of the labelled episodes. relabeling.preferences, "
        "relabeling.progress and relabeling.success fill rewards in, each with its uncertainty.",
        "actions": "No algorithm learns from steps without an action; relabeling.inverse_dynamics and "
        "relabeling.nearest_neighbour fill them in.",
    }
    for element, mask in measured.dataset.missing.items():
        if mask.any():
            found = f"{element} are missing at {int(mask.sum()):,} of {len(mask):,} steps"
            yield AdviceFinding("labels missing", found, means.get(element, "These steps are not learned from."))


def _few_episodes(measured: Measured) -> Iterator[AdviceFinding]:
    count = measured.dataset.total_episodes
    if count < FEWEST_EPISODES:
        known = measured.metrics.get("return_mean")
        between = "" if known is None else f"; the mean return is {known[0]:.4g} [{known[1]:.4g}, {known[2]:.4g}]"
        yield AdviceFinding(
            "too few episodes",
            f"{count_of(count, 'episode')}, fewer than {FEWEST_EPISODES}{between}",
            "The place on the plane, and what is chosen by it, is uncertain; too few are left to hold any out for a comparison. "
            "Prefer what stays near the data, and train several seeds.",
        )


def _known_returns(dataset: Dataset) -> np.ndarray:
    returns: np.ndarray = dataset.returns[complete_episodes(dataset, ("rewards",))]
    finite: np.ndarray = returns[np.isfinite(returns)]
    return finite


def _equal_returns(measured: Measured) -> Iterator[AdviceFinding]:
    returns = _known_returns(measured.dataset)
    if len(returns) > 1 and np.ptp(returns) <= EQUAL * np.abs(returns).max(initial=0):
        yield AdviceFinding(
            "returns all equal",
            f"all {len(returns):,} episodes have the return {returns[0]:.4g}",
            "Weighting or filtering by return (10%BC, reweighting.trajectory) changes nothing. Where the return is good, cloning "
            "loses nothing; where it is poor, there is nothing better to imitate.",
        )


def _rewards(measured: Measured) -> Iterator[AdviceFinding]:
    sparsity = measured.metrics.get("reward_sparsity")
    if sparsity is None or sparsity[0] < SPARSE:
        return
    rewards = measured.dataset.rewards[~measured.dataset.missing["rewards"]]
    values, counts = np.unique(rewards, return_counts=True)
    usual = values[counts.argmax()]
    if len(values) == 1 and usual != 0:
        yield AdviceFinding(
            "constant rewards",
            f"every step has the reward {usual:.4g}",
            "The return is the length of the episode, so terminations are all that tells good from bad. They must be right: a "
            "truncation that is stored as a termination teaches the opposite. A model of rewards learns a constant.",
        )
        return
    yield AdviceFinding(
        "sparse rewards",
        f"{sparsity[0]:.1%} of the steps have the reward {usual:.4g}",
        "Value has to be carried far: n-step returns and longer training help those that bootstrap, and MCE needs no bootstrap. "
        "Where no step has another reward, only cloning learns anything.",
    )


def _stochastic(measured: Measured) -> Iterator[AdviceFinding]:
    noise = measured.metrics.get("transition_noise")
    if noise is not None and noise[1] > NOISY:
        yield AdviceFinding(
            "stochastic dynamics",
            f"state and action leave {noise[0]:.0%} [{noise[1]:.0%}, {noise[2]:.0%}] of the variance of the next state open",
            "A good return may have been luck: filtering by return (10%BC) and return-conditioned policies mistake it for skill. "
            "Methods that average over outcomes (DQN's family, CQL, IQL) do not. Hidden state looks the same.",
        )


def has_discrete_actions(dataset: Dataset) -> bool:
    """Tell whether actions are discrete, by their space, or by their type where no space is recorded."""
    space = dataset.info.action_space
    if space is not None:
        return isinstance(space, Discrete | MultiDiscrete | MultiBinary)
    return "actions" in dataset.columns and dataset.actions.dtype.kind in "iub"


def _several_actions(measured: Measured) -> Iterator[AdviceFinding]:
    if has_discrete_actions(measured.dataset):
        metric, limit = "action_variance", SEVERAL_ACTIONS
        text = "actions in one state vary {0:.0%} [{1:.0%}, {2:.0%}] as much as all actions"
        means = (
            "The behaviour chooses by more than the state: several policies, or exploration. A clone that samples repeats its "
            "mistakes, one that takes the likeliest action does not; a value function has alternatives to choose from."
        )
    else:
        metric, limit = "multimodality", SEVERAL_MODES
        text = "actions form several groups in {0:.0%} [{1:.0%}, {2:.0%}] of the states"
        means = (
            "A Gaussian policy fits actions between the groups, that nobody took. Take an expressive policy, such as a diffusion "
            "policy, or one that is filtered by value; BC by squared error and TD3+BC average."
        )
    value = measured.metrics.get(metric)
    if value is not None and value[1] > limit:
        yield AdviceFinding("multimodal actions", text.format(*value), means)


def _borders(measured: Measured) -> Iterator[AdviceFinding]:
    doubtful = [item for item in measured.report.findings if _is_doubt(item) and item.check in BORDERS]
    if doubtful:
        yield AdviceFinding(
            "episode borders doubtful",
            "; ".join(f"{item.check}: {item.message}" for item in doubtful),
            "Values are bootstrapped over a false border, or stopped at one: all that bootstraps (DQN's family, BCQ, CQL, CRR, IQL) and "
            "every return suffer, cloning does not. Correct the borders first; `assay validate` names the places.",
        )


def _is_doubt(finding: Finding) -> bool:
    return finding.severity in ("error", "warning")


def _other_errors(measured: Measured) -> Iterator[AdviceFinding]:
    errors = [item for item in measured.report.findings if item.severity == "error" and item.check not in BORDERS]
    if errors:
        yield AdviceFinding(
            "errors in the data",
            "; ".join(f"{item.check}: {item.message}" for item in errors),
            "Correct these before anything is trained.",
        )


_FINDERS: tuple[Callable[[Measured], Iterator[AdviceFinding]], ...] = (
    _labels_missing,
    _few_episodes,
    _equal_returns,
    _rewards,
    _stochastic,
    _several_actions,
    _borders,
    _other_errors,
)
