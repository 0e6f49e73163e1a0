r"""What finished policies are worth, estimated from data alone, for those who may not touch an environment.

Fitted Q evaluation (Le, Voloshin & Yue 2019, arXiv 1903.00738) regresses a critic of a fixed policy on its own target:

.. math::
    L(Q) = E_{(s,a,r,s') \sim D} \, (r + \gamma (1 - d) Q'(s', \pi(s')) - Q(s, a))^2, \quad
    \hat V(\pi) = \tfrac{1}{E} \sum_i Q(s_0^i, \pi(s_0^i))

over the first states of the dataset's episodes. Paine et al. 2020 (arXiv 2007.09055) use it to rank policies trained
offline, next to the value that the algorithm's own critic gives to the same states. All runs are trained as one
population: the policies do not change, so their actions at s' are computed once and are a column of the data.

Deviation from both papers: Q' follows Q slowly, as everywhere in this package, in place of a regression to the end (or a
copy) per iteration. A critic needs a few times 1 / (target_update_rate (1 - discount)) updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.algorithms.registry import algorithm_of_run
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.baselines.runs.job import Job
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.run import Run
from assay.baselines.training.options import Precision, TrainingOptions
from assay.baselines.training.train import matmul_precision
from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.progress import Auto, Progress, counted, reporting

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FittedQ", "Policy", "fit_critics", "fitted_q_evaluation", "initial_observations", "initial_value"]

Policy: TypeAlias = Callable[[np.ndarray], np.ndarray]  # (n, observation) -> (n, action), in the environment's units

_ROWS_PER_CALL = 65_536  # of a policy
_RESAMPLES = 1_000  # of the bootstrap
_UPDATES_PER_REPORT = 100


@dataclass(frozen=True)
class FittedQ(Algorithm):
    """How the critic of a fixed policy is trained; the next actions of the batch are the policy's."""

    discount: float = 0.99
    target_update_rate: float = 0.01  # of Q'
    learning_rate: float = 3e-4  # of Adam
    batch_size: int = 256  # transitions per update
    hidden: tuple[int, ...] = (256, 256)  # widths of the hidden layers
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset

    name = "fitted_q"
    label = "fitted Q evaluation"

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        inputs = shapes.observation_size + shapes.action_size
        return {"critic": MLP(inputs, 1, self.hidden, learning_rate="learning_rate", target=True)}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(critic_loss, follow=("critic",)),)


def critic_loss(setting: Setting) -> Losses:
    """Squared temporal-difference error of the policy's value."""
    critic, batch, h = setting.networks["critic"], setting.batch, setting.hyperparameters
    with torch.no_grad():
        next_inputs = torch.cat([batch.next_observations, batch["next_actions"]], -1)
        next_values = critic(next_inputs, weights="target").squeeze(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    values = critic(torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, B]
    loss = (values - targets).square().mean(-1)
    return Losses({"critic": loss}, {"critic_loss": loss, "q_mean": values.mean(-1)})


def fitted_q_evaluation(
    runs: Sequence[Run],
    dataset: Dataset,
    *,
    discount: float = 0.99,
    steps: int = 50_000,
    device: str = "cpu",
    precision: Precision = "highest",
    population: int = 16,
    seed: int = 0,
    progress: Progress | Auto | None = "auto",
) -> pl.DataFrame:
    """Estimate the discounted return of finished runs from a dataset, without an environment.

    Read the estimates as a ranking, not as values. They are discounted, so they are not on the scale of returns or scores.
    They are about the rewards of `dataset`: where these are corrupted, so are the estimates; use held-out or clean data if
    there is any. Where a policy leaves the data its critic extrapolates, most often upwards. The interval is over initial
    states only: it does not know about the critic's error.

    Parameters
    ----------
    runs : sequence of Run
        Finished; of algorithms that act on single observations. They may differ in everything else.
    dataset : Dataset
        Usually the one that the policies were trained on. Its episodes' first states are the initial states.
    discount : float
        In [0, 1).
    steps : int
        Updates of each critic; at least a few times 100 / (1 - discount).
    device, precision : str
        As in `train`.
    population : int
        Most runs at a time; each takes its own copy of the data, with its policy's actions.
    seed : int
        Of the critics' initial weights and batches, the same ones for every run so that runs are compared on equal terms,
        and of the bootstrap.
    progress : callable, optional
        Called with the updates done and all of them, summed over populations; default as in `train`.

    Returns
    -------
    polars.DataFrame
        One row per run and method: `run` (folder name), `label`, `variant`, `seed`, `method`, `estimate` (mean value of
        the initial states), `low`, `high` (95% percentile bootstrap). Method `fitted_q` is what this function trains (null
        where the critic diverged), `own_critic` is `initial_value`, for the runs that have a critic.

    Raises
    ------
    ConfigError
        If a run is not finished, acts on sequences, or does not fit the dataset; before anything is trained.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Job, train
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> runs = train([Job(BC(), dataset)], steps=10, runs=tempfile.mkdtemp(), evaluation=None)
    >>> fitted_q_evaluation(runs, dataset, discount=0.9, steps=10).select("label", "method").rows()
    [('BC', 'fitted_q')]
    """
    import polars as pl

    if not 0.0 <= discount < 1.0:
        raise ConfigError(f"discount={discount} must be at least 0 and below 1")
    TrainingOptions(device=device, precision=precision, population=population).check_device()
    plan = Plan(steps, None, precision)
    initial = initial_observations(dataset)
    for run in runs:
        _check(run, initial)
    algorithm = FittedQ(discount=discount)
    parts = [runs[start : start + population] for start in range(0, len(runs), population)]
    rows = []
    with reporting(progress, FittedQ.label, counted(FittedQ.label)) as tell:
        for number, part in enumerate(parts):

            def report(done: int, number: int = number) -> None:
                if tell is not None:
                    tell(number * steps + done, len(parts) * steps)

            policies = [run.policy for run in part]
            with matmul_precision(precision, device):
                critics = fit_critics(
                    policies, dataset, algorithm, steps, device=device, bf16=plan.bf16, seed=seed, progress=report
                )
                values = critic_values(critics, policies, initial)
            for run, value, diverged in zip(part, values, critics.frozen_at):
                rows.append(_row(run, "fitted_q", None if diverged is not None else value, seed))
                if _has_critic(run):
                    rows.append(_row(run, "own_critic", _own_values(run, initial), seed))
    schema = {
        "run": pl.String,
        "label": pl.String,
        "variant": pl.String,
        "seed": pl.Int64,
        "method": pl.String,
        "estimate": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def initial_value(run: Run, dataset: Dataset) -> float:
    """Return what a run's own critic expects from the initial states: the mean over states and critics of Q(s0, pi(s0)).

    It is discounted with the algorithm's own discount, in the units of the rewards that it learned from (`reward_scale` of IQL and
    others), and it is the critic that the policy was trained against: it tends
    to over-estimate, or where an algorithm is pessimistic by design to under-estimate. So it compares runs of one
    algorithm at best (Paine et al. 2020 find that it ranks them well enough for some algorithms).

    Parameters
    ----------
    run : Run
        Finished.
    dataset : Dataset
        Its episodes' first states are the initial states.

    Raises
    ------
    ConfigError
        If the run is not finished, has no critic, acts on sequences, or does not fit the dataset.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import IQL, Job, train
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> run, = train([Job(IQL(), dataset)], steps=10, runs=tempfile.mkdtemp(), evaluation=None)
    >>> abs(initial_value(run, dataset)) < 10
    True
    """
    initial = initial_observations(dataset)
    _check(run, initial)
    return float(_own_values(run, initial).mean())


# -------------------------------------------------------------------- critics of any policies


def fit_critics(
    policies: Sequence[Policy],
    dataset: Dataset,
    algorithm: FittedQ,
    steps: int,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    bf16: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Population:
    """Train one critic per policy, all with the same initial weights and batches; returns the population."""
    shared = algorithm.training_data(dataset, Job(algorithm, dataset).action_scale)
    next_observations = dataset.transitions(keep_terminal=True).next_observations
    data = [_with_next_actions(shared, policy, next_observations) for policy in policies]
    members = [Member(algorithm, seed, number) for number in range(len(data))]
    population = Population(members, data, steps, device=device, dtype=dtype, bf16=bf16)
    while population.completed < steps:
        population.advance(min(_UPDATES_PER_REPORT, steps - population.completed))
        if progress is not None:
            progress(population.completed)
    return population


def critic_values(critics: Population, policies: Sequence[Policy], observations: np.ndarray) -> np.ndarray:
    """Return (P, n) what each critic says of its policy's actions at these observations."""
    inputs = []
    for data, policy in zip(critics.data, policies):
        scaled = (observations - data.observation_scale.mean) / data.observation_scale.scale
        inputs.append(np.hstack([scaled, _scaled_actions(policy, observations, data.action_scale)]))
    with torch.no_grad():
        stacked = torch.from_numpy(np.stack(inputs)).to(critics.device, critics.dtype)
        values = critics.networks["critic"](stacked, weights="frozen").squeeze(-1)
    found: np.ndarray = values.double().cpu().numpy()
    return found


def initial_observations(dataset: Dataset) -> np.ndarray:
    """Return (E, observation) float32 first observations of the episodes."""
    observations = dataset.observations
    if isinstance(observations, dict) or not dataset.total_episodes:
        raise ConfigError("off-policy estimates need episodes with flat observations")
    found: np.ndarray = observations[dataset.observation_rows[dataset.episode_starts]].astype(np.float32)
    return found


def _with_next_actions(data: TrainingData, policy: Policy, next_observations: np.ndarray) -> TrainingData:
    actions = _scaled_actions(policy, next_observations, data.action_scale)
    rows = np.concatenate([data.rows, actions], axis=1, dtype=data.rows.dtype)
    return replace(data, rows=rows, columns=(*data.columns, ("next_actions", actions.shape[1])))


def _scaled_actions(policy: Policy, observations: np.ndarray, scale: ActionScale) -> np.ndarray:
    """Return the policy's actions as networks see them, in [-1, 1]."""
    chunks = range(0, len(observations), _ROWS_PER_CALL)
    actions = np.concatenate([policy(observations[start : start + _ROWS_PER_CALL]) for start in chunks])
    scaled: np.ndarray = (actions - scale.center) / scale.half_range
    return scaled


# -------------------------------------------------------------------- runs


def _algorithm(run: Run) -> Algorithm:
    return algorithm_of_run(run.description)


def _has_critic(run: Run) -> bool:
    return bool(_algorithm(run).valued_by)


def _own_values(run: Run, initial: np.ndarray) -> np.ndarray:
    values: np.ndarray = run.q_values(initial, run.policy(initial)).mean(0)  # (K, E) -> (E,)
    return values


def _check(run: Run, initial: np.ndarray) -> None:
    if run.status not in ("finished", "diverged"):
        raise ConfigError(f"{run.folder} is {run.status}: only finished runs have a policy to estimate")
    if _algorithm(run).looks_back:
        raise ConfigError(
            f"{run.folder}: {run.description['job']['label']} acts on sequences; off-policy estimates need a policy of "
            "single observations"
        )
    run.policy(initial[:1])  # raises where the shapes differ


def _row(run: Run, method: str, values: np.ndarray | None, seed: int) -> tuple[object, ...]:
    job = run.description["job"]
    numbers = (None, None, None) if values is None else (float(values.mean()), *_interval(values, seed))
    return (run.folder.name, job["label"], job["variant"], job["seed"], method, *numbers)


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95% percentile bootstrap of the mean of (E,) values; equal seeds draw the same states, so runs are paired."""
    means = bootstrap([values], lambda rows: rows.mean(1), _RESAMPLES, np.random.default_rng(seed))
    low, high = percentile_interval(means)
    return float(low), float(high)
