r"""A model of the dynamics inside a training: an ensemble of N Gaussian networks for every member of a population.

The first stage, `dynamics`, trains all networks of all members at once by maximum likelihood (`assay.baselines.dynamics.gaussian`):
each predicts the change of the state and the reward, standardized as its inputs are, and has a bootstrap sample of its own.
Forty times the errors on held-out rows are looked at, and every network's best weights are kept; the E networks with the least
errors are the elites. Everything that is learned lies in networks, so that checkpoints, resumes and companies need not know of it:

======================  ======================================================================================================
`dynamics`              the N networks; their target copies are the best weights so far
`dynamics_errors`       the least held-out error of each, [P, N]; infinite before the first look
`dynamics_scale`        mean and deviation of the inputs and of the targets
`terminations`          where they are learned: the log odds that an episode ends in s'
======================  ======================================================================================================

Deviations from OfflineRL-Kit's `ensemble_dynamics.py`: held-out rows are evenly spaced in the data and not drawn; targets are standardized
too; training takes `model_updates` and keeps the best of forty looks, where there it ends after five epochs without an improvement by a
hundredth; weights of a dataset do not change what the model is trained on; where no penalty asks all networks, each elite takes
the same number of rows of a step, drawn without replacement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from assay.baselines.algorithms.algorithm import Losses, Pause, Setting
from assay.baselines.dynamics.gaussian import gaussian, gaussian_network, layer_decay, likelihood_loss, regularization
from assay.baselines.dynamics.known import known_dynamics, names_of_known
from assay.baselines.dynamics.penalties import DIVIDING, penalty
from assay.baselines.dynamics.terminations import Termination, known_termination
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import RowSampler
from assay.baselines.engine.tables import Buffer, DatasetTable
from assay.baselines.networks import MLP, FixedNetwork, Network, Scalars, Specification
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.baselines.engine.data import TrainingData

__all__ = [
    "LOOKS",
    "BootstrapRows",
    "ModelScale",
    "ModelStep",
    "adopt_best",
    "dynamics_loss",
    "dynamics_networks",
    "elite_networks",
    "elites_of",
    "keep_best",
    "mean_of_elites",
    "measure_scale",
    "model_step",
    "predict",
    "terminations_of",
    "true_step",
    "unsureness",
]

LOOKS = 40  # at the held-out rows, in a training
_MOST_HELD_OUT, _HELD_OUT_SHARE = 1000, 5  # rows, and one of so many
_SMALLEST_DEVIATION = 1e-6  # of a column, beside the size of its numbers, below which it never changes
_ROWS_AT_ONCE = 1 << 15  # of all members and networks, through the ensemble

Networks = Mapping[str, FixedNetwork]


# -------------------------------------------------------------------------------------------------- rows


def held_out_rows(lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how many rows are held out of so many ([P]), and the distance from one to the next: the rows 0, d, 2 d, ..."""
    count = (lengths // _HELD_OUT_SHARE).clamp(1, _MOST_HELD_OUT)
    return count, lengths // count


@dataclass(frozen=True)
class BootstrapRows(RowSampler):
    """Rows for each of N networks in turn, from a sample of its own: as many rows as are not held out, with replacement.

    Row j of the sample of a network is a function of the member's seed, the network and j, so that no sample is stored.

    Parameters
    ----------
    networks : int
    """

    networks: int

    def choose(  # noqa: D102
        self,
        table: DatasetTable | Buffer,
        rows: int,
        purpose: str,
        draws: Draws,
        drawn: Mapping[str, torch.Tensor],
        hyperparameters: Any,
    ) -> torch.Tensor:
        assert isinstance(table, DatasetTable)
        count, distance = held_out_rows(table.lengths)
        others = table.lengths - count
        places = draws.integers(purpose, others, rows).view(len(others), self.networks, -1)
        names = [f"{purpose} of network {number}" for number in range(self.networks)]
        found = draws.fixed_integers(names, places, others).flatten(
            1
        )  # [P, rows], among the rows that are not held out
        between, last = (distance - 1)[:, None].clamp(min=1), (count * (distance - 1))[:, None]
        passed = torch.where(found < last, found // between + 1, count[:, None])  # held-out rows before it
        return table.offsets[:, None] + found + passed


# -------------------------------------------------------------------------------------------------- networks


def dynamics_networks(
    shapes: Shapes, *, models: int, hidden: tuple[int, ...], learned_terminations: bool
) -> dict[str, Specification]:
    """Describe the networks of the model; their learning rate is the field `model_learning_rate`."""
    state, action = shapes.observation_size, shapes.action_size
    rate = "model_learning_rate"
    found: dict[str, Specification] = {
        "dynamics": gaussian_network(state + action, state + 1, hidden, rate, ensemble=models, target=True),
        "dynamics_errors": Scalars(learning_rate=rate, ensemble=models, value=math.inf),
        "dynamics_scale": Scalars(count=2 * (state + action) + 2 * (state + 1), learning_rate=rate),
    }
    if learned_terminations:
        found["terminations"] = MLP(state, 1, hidden[:2], learning_rate=rate, activation="silu")
    return found


@dataclass(frozen=True)
class ModelScale:
    """Mean and deviation of inputs [P, state + action] and of targets [P, state + 1], as the network `dynamics_scale` holds them."""

    input_mean: torch.Tensor
    input_deviation: torch.Tensor
    target_mean: torch.Tensor
    target_deviation: torch.Tensor

    @classmethod
    def of(cls, networks: Networks) -> ModelScale:
        """Return the numbers in names of their own."""
        numbers, outputs = networks["dynamics_scale"].buffer, networks["dynamics"].spec
        assert isinstance(outputs, MLP)
        sizes = [outputs.inputs, outputs.inputs, outputs.outputs // 2, outputs.outputs // 2]
        return cls(*torch.split(numbers, sizes, 1))

    def inputs(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return standardized inputs [P, ..., state + action]."""
        joined = torch.cat([states, actions], -1)
        return (joined - like(self.input_mean, joined)) / divisor(like(self.input_deviation, joined))

    def targets(self, states: torch.Tensor, next_states: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
        """Return standardized targets [P, ..., state + 1]."""
        joined = torch.cat([next_states - states, rewards[..., None]], -1)
        return (joined - like(self.target_mean, joined)) / divisor(like(self.target_deviation, joined))

    def changes(self, states: torch.Tensor, next_states: torch.Tensor) -> torch.Tensor:
        """Return standardized changes of the state [P, ..., state], by what their entries are among the targets."""
        change, mean, deviation = next_states - states, self.target_mean[:, :-1], self.target_deviation[:, :-1]
        return (change - like(mean, change)) / divisor(like(deviation, change))

    def next_states(self, states: torch.Tensor) -> torch.Tensor:
        """Return standardized next states, by what their first entries are among the inputs."""
        size = states.shape[-1]
        return (states - like(self.input_mean[:, :size], states)) / divisor(
            like(self.input_deviation[:, :size], states)
        )


def like(numbers: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return [P, D] numbers with axes of size 1 before the last one, as many as rows have."""
    return numbers.view(len(numbers), *[1] * (rows.ndim - 2), -1)


def divisor(deviation: torch.Tensor) -> torch.Tensor:
    """Return what to divide by: a column that never changes is only shifted."""
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


# -------------------------------------------------------------------------------------------------- training


def dynamics_loss(setting: Setting, models: int) -> Losses:
    """Likelihood of the batch of each network, and the terminations where they are learned."""
    networks, batch, scale = setting.networks, setting.batch, ModelScale.of(setting.networks)
    parts = (batch.observations, batch.actions, batch.next_observations, batch.rewards)
    states, actions, following, rewards = (
        part.view(len(part), models, -1, *part.shape[2:]) for part in parts
    )  # [P, N, B, ...]
    mean, log_variance = gaussian(networks["dynamics"], scale.inputs(states, actions), repeated=True)
    likelihood = likelihood_loss(mean, log_variance, scale.targets(states, following, rewards))  # [P, N]
    spec = networks["dynamics"].spec
    assert isinstance(spec, MLP)
    decay = layer_decay(len(spec.hidden) + 1)
    loss = likelihood.sum(1) + regularization(networks["dynamics"], decay, setting.hyperparameters.model_decay)
    losses, metrics = {"dynamics": loss}, {"model_likelihood_loss": likelihood.mean(1)}
    if "terminations" in networks:
        log_odds = networks["terminations"](scale.next_states(batch.next_observations))[..., 0]
        surprise = torch.nn.functional.softplus(log_odds) - log_odds * (1.0 - batch.bootstraps)
        losses["terminations"] = metrics["terminations_loss"] = surprise.mean(1)
    return Losses(losses, metrics)


@torch.no_grad()
def measure_scale(pause: Pause, only: Sequence[torch.Tensor] | None = None) -> None:
    """Set the scale of each member's model to that of its dataset, or of some rows of the table, (n,) for each member."""
    data, rows = pause.data, []
    for member, item in enumerate(data.members):
        first = int(data.offsets[member])
        own = (data.rows[first : first + len(item.rows)] if only is None else data.rows[only[member]]).double()
        parts = dict(zip((name for name, _ in data.columns), torch.split(own, [size for _, size in data.columns], 1)))
        change = parts["next_observations"] - parts["observations"]
        numbers = []
        for values in (
            torch.cat([parts["observations"], parts["actions"]], 1),
            torch.cat([change, parts["rewards"]], 1),
        ):
            mean, deviation = values.mean(0), values.std(0, correction=0)
            changes = deviation > _SMALLEST_DEVIATION * mean.abs().clamp(min=1.0)
            numbers += [mean, torch.where(changes, deviation, torch.zeros_like(deviation))]
        rows.append(torch.cat(numbers))
    buffer = pause.networks["dynamics_scale"].buffer
    buffer.copy_(torch.stack(rows))


@torch.no_grad()
def keep_best(pause: Pause) -> None:
    """Keep the weights of every network whose error on the held-out rows is less than ever."""
    data, networks = pause.data, pause.networks
    count, distance = held_out_rows(data.lengths)
    places = torch.arange(int(count.max()), device=count.device)
    rows = data.offsets[:, None] + (places % count[:, None]) * distance[:, None]
    column = {name: data.column(name, rows).to(networks["dynamics"].buffer.dtype) for name, _ in data.columns[:4]}
    scale = ModelScale.of(networks)
    targets = scale.targets(column["observations"], column["next_observations"], column["rewards"][..., 0])
    mean, _ = gaussian(networks["dynamics"], scale.inputs(column["observations"], column["actions"]), weights="frozen")
    own = (places < count[:, None])[:, None]  # the rows behind are repetitions
    errors = ((mean - targets[:, None]).square().mean(-1) * own).sum(-1) / count[:, None]  # [P, N]
    least, dynamics = networks["dynamics_errors"].buffer.view_as(errors), networks["dynamics"]
    better = errors < least  # False for NaN
    least.copy_(torch.where(better, errors, least))
    assert dynamics.target_buffer is not None
    dynamics.target_buffer.copy_(torch.where(better.view(-1, 1), dynamics.buffer, dynamics.target_buffer))


@torch.no_grad()
def adopt_best(networks: Networks) -> None:
    """Make the best weights those of the networks, once they are trained, for policies that act by them."""
    dynamics = networks["dynamics"]
    assert isinstance(dynamics, Network)
    assert dynamics.target_buffer is not None
    dynamics.buffer.copy_(dynamics.target_buffer)


# -------------------------------------------------------------------------------------------------- stepping


@dataclass(frozen=True)
class ModelStep:
    """What a model says of a step.

    Parameters
    ----------
    states : [P, B, observation] tensor
        Next states, as the networks see them.
    rewards, penalties : [P, B] tensors
    stopped : [P, B] bool tensor, optional
        Where the rollout goes no further, though the episode does not end.
    """

    states: torch.Tensor
    rewards: torch.Tensor
    penalties: torch.Tensor
    stopped: torch.Tensor | None = None


def elites_of(networks: Networks, elites: int) -> torch.Tensor:
    """Return the E networks with the least held-out errors of each member, [P, E]."""
    errors = networks["dynamics_errors"].buffer.view(networks["dynamics"].members, -1)
    return errors.argsort(dim=1, stable=True)[:, :elites].sort(1).values


@torch.no_grad()
def predict(networks: Networks, states: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return means and deviations [P, N, B, state + 1] of the next state and the reward, of all networks' best weights."""
    scale, together = ModelScale.of(networks), max(1, _ROWS_AT_ONCE // len(networks["dynamics"].buffer))
    means, deviations = [], []
    for some, done in zip(torch.split(states, together, 1), torch.split(actions, together, 1)):
        mean, log_variance = gaussian(networks["dynamics"], scale.inputs(some, done), weights="target")
        mean = mean * like(scale.target_deviation, mean) + like(scale.target_mean, mean)
        mean[..., :-1] += some[:, None]
        means.append(mean)
        deviations.append(torch.exp(0.5 * log_variance) * like(scale.target_deviation, mean))
    return torch.cat(means, 2), torch.cat(deviations, 2)


@torch.no_grad()
def model_step(
    networks: Networks,
    states: torch.Tensor,
    actions: torch.Tensor,
    draws: Draws,
    purpose: str,
    *,
    elites: int,
    uncertainty: str | None,
    variant: str,
) -> ModelStep:
    """Draw the next state and reward of every row from one of the elites, and say how unsure all networks are.

    Parameters
    ----------
    networks : mapping
    states, actions : [P, B, ...] tensors
    draws : Draws
    purpose : str
    elites : int
    uncertainty : str or None
        One of `penalties.PENALTIES`; without it penalties are zero.
    variant : "paper" or "released"
        Of the penalty.
    """
    members, count = states.shape[:2]
    if uncertainty is None:
        drawn = step_of_dealt_rows(networks, states, actions, draws, purpose, elites)
        return ModelStep(drawn[..., :-1], drawn[..., -1], torch.zeros_like(drawn[..., 0]))
    means, deviations = predict(networks, states, actions)  # [P, N, B, D]
    limits = torch.full((members,), elites, dtype=torch.int64, device=means.device)
    chosen = elites_of(networks, elites).gather(1, draws.integers(f"{purpose}: elites", limits, count))  # [P, B]
    taken = chosen[:, None, :, None].expand(-1, 1, -1, means.shape[-1])
    noise = draws.normal(f"{purpose}: noise", count, means.shape[-1])
    drawn = means.gather(1, taken)[:, 0] + deviations.gather(1, taken)[:, 0] * noise
    return ModelStep(drawn[..., :-1], drawn[..., -1], unsureness(networks, means, deviations, uncertainty, variant))


def unsureness(
    networks: Networks, means: torch.Tensor, deviations: torch.Tensor, uncertainty: str, variant: str
) -> torch.Tensor:
    """Return a penalty [P, B] of what all networks say, [P, N, B, state + 1]."""
    if uncertainty in DIVIDING:  # of a column that never changes all networks are sure alike
        deviations = deviations.masked_fill(like(ModelScale.of(networks).target_deviation, deviations) == 0, 1.0)
    return penalty(uncertainty, means.transpose(0, 1), deviations.transpose(0, 1), variant)


def step_of_dealt_rows(
    networks: Networks, states: torch.Tensor, actions: torch.Tensor, draws: Draws, purpose: str, elites: int
) -> torch.Tensor:
    """Draw what follows each row, [P, B, state + 1], where nobody asks all networks: each elite takes as many rows as any other."""
    members, count = states.shape[:2]
    share = -(-count // elites)
    order = draws.bits(f"{purpose}: elites", count).argsort(1)
    order = order[:, torch.arange(share * elites, device=order.device) % count]  # the first ones again
    network, scale = elite_networks(networks, elites), ModelScale.of(networks)
    inputs = rows_at(scale.inputs(states, actions), order).view(members, elites, share, -1)
    together, parts = max(1, _ROWS_AT_ONCE // (members * elites)), []
    for some in torch.split(inputs, together, 2):
        mean, log_variance = gaussian(network, some, weights="frozen", repeated=True)
        apart = members, elites, *mean.shape[-2:]
        parts.append((mean.view(apart), torch.exp(0.5 * log_variance).view(apart)))
    mean, deviation = (torch.cat(each, 2).flatten(1, 2) for each in zip(*parts))  # [P, E share, D], standardized
    noise = rows_at(draws.normal(f"{purpose}: noise", count, mean.shape[-1]), order)
    found = (mean + deviation * noise) * like(scale.target_deviation, mean) + like(scale.target_mean, mean)
    drawn = torch.empty(members, count, mean.shape[-1], dtype=mean.dtype, device=mean.device)
    found = found[:, :count]  # without those that were dealt twice
    drawn.scatter_(1, order[:, :count, None].expand_as(found), found)
    drawn[..., :-1] += states
    return drawn


@torch.no_grad()
def mean_of_elites(networks: Networks, states: torch.Tensor, actions: torch.Tensor, elites: int) -> torch.Tensor:
    """Return the mean of the elites' means of the next state, [P, B, state]."""
    network, scale = elite_networks(networks, elites), ModelScale.of(networks)
    mean, _ = gaussian(network, scale.inputs(states, actions), weights="frozen")
    mean = (mean if elites == 1 else mean.mean(1)) * like(scale.target_deviation, states) + like(
        scale.target_mean, states
    )
    return states + mean[..., :-1]


def elite_networks(networks: Networks, elites: int) -> FixedNetwork:
    """Return the best weights of the elites; of networks as they act, their weights (see `adopt_best`)."""
    models = networks["dynamics"]
    best = models.target_buffer if isinstance(models, Network) else models.buffer
    assert best is not None
    firsts = torch.arange(models.members, device=best.device)[:, None] * models.spec.ensemble
    chosen = (elites_of(networks, elites) + firsts).flatten()
    return FixedNetwork(models.name, replace(models.spec, ensemble=elites), best[chosen])


def rows_at(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return rows [P, B, D] at places [P, n]: [P, n, D]."""
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[-1]))


@torch.no_grad()
def true_step(data: Sequence[TrainingData], states: torch.Tensor, actions: torch.Tensor) -> ModelStep:
    """Step the environments themselves, where they are known in closed form."""
    reached, rewards = torch.empty_like(states), torch.empty_like(states[..., 0])
    for member, item in enumerate(data):
        known = known_dynamics(item.environment)
        if known is None:
            raise ConfigError(
                f"the true dynamics of {item.environment or 'a dataset without an environment'} are not known in closed form; "
                f'those of {", ".join(names_of_known())} are. Use dynamics="learned"'
            )
        centre, half = (states.new_tensor(part) for part in (item.action_scale.center, item.action_scale.half_range))
        following, earned = known(in_units(item, states[member]), centre + half * actions[member])
        mean, scale = (states.new_tensor(part) for part in (item.observation_scale.mean, item.observation_scale.scale))
        reached[member], rewards[member] = (following - mean) / scale, earned
    return ModelStep(reached, rewards, torch.zeros_like(rewards))


def in_units(item: TrainingData, states: torch.Tensor) -> torch.Tensor:
    """Return states in the environment's units."""
    mean, scale = (states.new_tensor(part) for part in (item.observation_scale.mean, item.observation_scale.scale))
    return states * scale + mean


@torch.no_grad()
def terminations_of(
    networks: Networks, data: Sequence[TrainingData], kind: str, next_states: torch.Tensor
) -> torch.Tensor:
    """Return where episodes end, [P, B] bool, by known functions ("known"), the learned one ("learned") or never ("none")."""
    if kind == "learned":
        log_odds = networks["terminations"](ModelScale.of(networks).next_states(next_states), weights="frozen")
        return log_odds[..., 0] > 0
    found = torch.zeros(next_states.shape[:-1], dtype=torch.bool, device=next_states.device)
    if kind == "known":
        for member, item in enumerate(data):
            found[member] = termination_or_error(item.environment)(in_units(item, next_states[member]))
    return found


def termination_or_error(environment: str | None) -> Termination:
    """Return the termination function of an environment.

    Raises
    ------
    ConfigError
        If it is not known.
    """
    found = known_termination(environment)
    if found is None:
        raise ConfigError(
            f"when episodes of {environment or 'a dataset without an environment'} terminate is not known: "
            'terminations="learned" learns it from the data, and "none" lets episodes go on'
        )
    return found
