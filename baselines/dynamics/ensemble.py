r"""An ensemble of probabilistic dynamics networks: trained on a dataset, then stepped in its place.

N networks, seven as published, each a Gaussian over (s' - s, r) given (s, a) (`gaussian`), each on a bootstrap sample of its own; the five with the
lowest error on held-out rows are the elites. A step takes one elite for each row, draws from its Gaussian, and asks how unsure the
networks are (`penalties`).

Deviations from OfflineRL-Kit's `ensemble_dynamics.py`:

- Targets are standardized as inputs are, so that rewards of a thousand and angles of a hundredth weigh alike; predictions,
  deviations and penalties are in the units of the data.
- Training takes a given number of updates and keeps each network's best weights of forty checks; there it ends after five epochs
  without an improvement by a hundredth.
- Each elite gets the same number of rows in a step, drawn without replacement, where there each row draws its elite. For a row that is the
  same, and without a penalty only the networks that are used are computed.
- Where the termination of an environment is not known (`terminations`) it can be learned from the data, by a network of s'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.dynamics.gaussian import GaussianModel, gaussian, networks_of
from assay.baselines.dynamics.penalties import penalty
from assay.baselines.dynamics.terminations import Termination
from assay.baselines.engine.held_out import Networks, Rows, member_seeds, train_best
from assay.baselines.engine.scale import Scale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Specification
from assay.datasets.errors import ConfigError
from assay.datasets.generators import block_generator

__all__ = [
    "DynamicsEnsemble",
    "ModelStep",
    "clone_categories",
    "clone_policy",
    "require_enough",
    "train_dynamics",
    "train_terminations",
]

_MOST_HELD_OUT, _HELD_OUT_SHARE = 1000, 0.2
_LEAST = 10  # transitions
_PURPOSE = "dynamics"
_CACHED_ROWS = 512  # whose activations stay in a core's cache

Progress = Callable[[int], None]


@dataclass(frozen=True)
class ModelStep:
    """What the model says of a step of B rows.

    Parameters
    ----------
    states : [B, observation] tensor
        Next states.
    rewards, penalties : [B] tensors
    """

    states: torch.Tensor
    rewards: torch.Tensor
    penalties: torch.Tensor


class DynamicsEnsemble:
    """Trained networks.

    Parameters
    ----------
    networks : FixedNetwork
        Of N members.
    elites : (E,) int64 array
        Which of them are drawn from.
    held_out_errors : (N,) float64 array
        Mean squared error on held-out rows, in standardized units.
    inputs, targets : Scale
    penalty : str, optional
        One of `penalties.PENALTIES`; without it penalties are zero, and steps cheaper.
    variant : "paper" or "released"
        Of the penalty.
    """

    def __init__(
        self,
        networks: FixedNetwork,
        elites: np.ndarray,
        held_out_errors: np.ndarray,
        inputs: Scale,
        targets: Scale,
        *,
        penalty: str | None = None,
        variant: str = "paper",
    ) -> None:
        self.networks, self.elites, self.held_out_errors = networks, elites, held_out_errors
        self.inputs, self.targets, self.penalty, self.variant = inputs, targets, penalty, variant
        chosen = torch.as_tensor(elites, device=networks.buffer.device)
        self._varying = torch.as_tensor(
            targets.deviation > 0, device=networks.buffer.device
        )  # of the others all are sure
        self._elite_networks = FixedNetwork(networks.name, networks.spec, networks.buffer[chosen])

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.networks.buffer.device

    @torch.no_grad()
    def predict(self, states: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return means and standard deviations [N, B, observation + 1] of the next state and reward, of all networks."""
        together = _CACHED_ROWS if states.device.type == "cpu" else max(len(states), 1)
        parts = []
        for some, done in zip(torch.split(states, together), torch.split(actions, together)):
            inputs = self._standardized(some, done)
            mean, log_variance = gaussian(self.networks, inputs.expand(self.networks.members, -1, -1), weights="frozen")
            parts.append(self._in_units(mean, log_variance, some))
        means, deviations = zip(*parts)
        return torch.cat(means, 1), torch.cat(deviations, 1)

    @torch.no_grad()
    def step(self, states: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor, order: torch.Tensor) -> ModelStep:
        """Draw the next state and reward of each row.

        Parameters
        ----------
        states : [B, observation] tensor
        actions : [B, action] tensor
            As the networks see them.
        noise : [B, observation + 1] tensor
            Standard normal.
        order : [B] int64 tensor
            A permutation of the rows, which deals them out to the elites.

        Returns
        -------
        ModelStep
        """
        count, elites = len(states), len(self.elites)
        if self.penalty is None:
            share = -(-count // elites)
            again = torch.arange(share * elites, device=order.device) % count
            dealt = order[again].view(elites, share)  # the first ones again
            inputs = self._standardized(states, actions)[dealt]  # [E, B / E, in]
            mean, log_variance = gaussian(self._elite_networks, inputs, weights="frozen")
            means, deviations = self._in_units(mean, log_variance, states[dealt])
            drawn = torch.empty_like(noise)
            drawn[dealt.flatten()] = (means + deviations * noise[dealt]).flatten(0, 1)
            unsure = torch.zeros_like(drawn[:, 0])
        else:
            means, deviations = self.predict(states, actions)
            unsure = penalty(self.penalty, means[..., self._varying], deviations[..., self._varying], self.variant)
            of_row = torch.empty(count, dtype=torch.int64, device=states.device)
            of_row[order] = torch.arange(count, device=states.device) * elites // count
            chosen = torch.as_tensor(self.elites, device=states.device)[of_row]
            rows = torch.arange(count, device=states.device)
            drawn = means[chosen, rows] + deviations[chosen, rows] * noise
        return ModelStep(drawn[:, :-1], drawn[:, -1], unsure)

    def _standardized(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return self.inputs.down_on_device(torch.cat([states, actions], -1))

    def _in_units(
        self, mean: torch.Tensor, log_variance: torch.Tensor, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shift, scale = mean.new_tensor(self.targets.mean), mean.new_tensor(self.targets.deviation)
        means = mean * scale + shift
        means[..., :-1] += states
        return means, torch.exp(0.5 * log_variance) * scale


def train_dynamics(
    states: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    next_states: np.ndarray,
    *,
    networks: int = 7,
    elites: int = 5,
    model: GaussianModel | None = None,
    updates: int = 20_000,
    seed: int = 0,
    device: str = "cpu",
    penalty: str | None = None,
    variant: str = "paper",
    progress: Progress | None = None,
) -> DynamicsEnsemble:
    """Train an ensemble on transitions, all networks as one population.

    Parameters
    ----------
    states, next_states : (M, observation) float arrays
    actions : (M, action) float array
        As the networks are to see them: one-hot where they are categories.
    rewards : (M,) float array
    networks, elites : int
        N, and how many of them are drawn from.
    model : GaussianModel, optional
        Hidden layers, learning rate and batch size; the published ones by default.
    updates : int
    seed : int
    device : str
    penalty, variant : str
        As of `DynamicsEnsemble`.
    progress : callable, optional
        Called with the updates done.

    Raises
    ------
    ConfigError
        If there are more elites than networks, or fewer than ten transitions.
    DatasetError
        If a network diverges at once.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> s, a = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    >>> ensemble = train_dynamics(s, a, s[:, 0], 0.9 * s + a, networks=3, elites=2, updates=20,
    ...                           model=GaussianModel(hidden=(16,)))
    >>> means, _ = ensemble.predict(torch.zeros(5, 1), torch.zeros(5, 1))
    >>> means.shape, len(ensemble.elites)
    (torch.Size([3, 5, 2]), 2)
    """
    if not 1 <= elites <= networks:
        raise ConfigError(f"elites={elites} must be between 1 and networks={networks}")
    require_enough(len(states))
    algorithm = model or GaussianModel()
    held = held_out_rows(len(states), seed)
    inputs, outputs = np.concatenate([states, actions], 1), np.concatenate([next_states - states, rewards[:, None]], 1)
    input_scale, output_scale = Scale.of(inputs[~held]), Scale.of(outputs[~held])
    inputs, outputs = input_scale.down(inputs), output_scale.down(outputs)
    fitted = np.flatnonzero(~held)
    samples = []
    for number in range(networks):
        drawn = block_generator(seed, _PURPOSE, "bootstrap", number).integers(len(fitted), size=len(fitted))
        samples.append(Rows(inputs[fitted[drawn]], outputs[fitted[drawn]]))
    trained = train_best(
        algorithm,
        samples,
        [Rows(inputs[held], outputs[held])] * networks,
        list(range(networks)),
        member_seeds(seed, _PURPOSE, networks),
        squared_error,
        steps=updates,
        device=device,
        progress=progress,
    )
    best = np.sort(np.argsort(trained.losses, kind="stable")[:elites])
    return DynamicsEnsemble(
        networks_of(trained.networks), best, trained.losses, input_scale, output_scale, penalty=penalty, variant=variant
    )


def require_enough(transitions: int) -> None:
    """Raise ConfigError where so many transitions are too few for a model."""
    if transitions < _LEAST:
        raise ConfigError(
            f"{transitions} transitions are too few to learn dynamics from, and to hold some out; {_LEAST} are needed"
        )


def held_out_rows(count: int, seed: int) -> np.ndarray:
    """Return which rows (M,) are held out: a fifth, at most a thousand, the same for all networks."""
    held = np.zeros(count, bool)
    held[block_generator(seed, _PURPOSE, "held out", 0).permutation(count)[: held_out_count(count)]] = True
    return held


def held_out_count(count: int) -> int:
    """Return how many of so many rows are held out."""
    return max(1, min(int(_HELD_OUT_SHARE * count), _MOST_HELD_OUT))


def squared_error(networks: Networks, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the squared error of the means, [P, V]."""
    mean, _ = gaussian(networks_of(networks), inputs, weights="frozen")
    return (mean - targets).square().mean(-1)


def clone_policy(
    states: np.ndarray,
    actions: np.ndarray,
    *,
    model: GaussianModel | None = None,
    updates: int = 20_000,
    seed: int = 0,
    device: str = "cpu",
) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Clone what acted in the data as one Gaussian network.

    Parameters
    ----------
    states : (M, observation) float array
    actions : (M, action) float array
    model, updates, seed, device
        As of `train_dynamics`.

    Returns
    -------
    callable
        States [B, observation] -> mean and standard deviation of the action, [B, action] each.
    """
    held = held_out_rows(len(states), seed)
    input_scale, output_scale = Scale.of(states[~held]), Scale.of(actions[~held])
    inputs, outputs = input_scale.down(states), output_scale.down(actions)
    trained = train_best(
        model or GaussianModel(),
        [Rows(inputs[~held], outputs[~held])],
        [Rows(inputs[held], outputs[held])],
        [0],
        member_seeds(seed, f"{_PURPOSE} clone", 1),
        squared_error,
        steps=updates,
        device=device,
    )
    network = networks_of(trained.networks)

    @torch.no_grad()
    def act(found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = gaussian(network, input_scale.down_on_device(found)[None], weights="frozen")
        shift, scale = mean.new_tensor(output_scale.mean), mean.new_tensor(output_scale.deviation)
        return mean[0] * scale + shift, torch.exp(0.5 * log_variance[0]) * scale

    return act


@dataclass(frozen=True)
class CategoryModel(Algorithm):
    """Multinomial logistic regression of `actions` (one-hot) on `observations` of a batch, by a network."""

    learning_rate: float = 1e-3
    batch_size: int = 256
    hidden: tuple[int, ...] = (200, 200)

    name = "category_model"
    label = "category model"

    def networks(self, shapes: Shapes) -> dict[str, Specification]:
        return {
            "model": MLP(
                shapes.observation_size,
                shapes.action_size,
                self.hidden,
                learning_rate="learning_rate",
                activation="silu",
            )
        }

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(category_loss),)


def category_loss(setting: Setting) -> Losses:
    """Cross-entropy of the categories."""
    logits = setting.networks["model"](setting.batch.observations)
    loss = -(torch.log_softmax(logits, -1) * setting.batch.actions).sum(-1).mean(1)
    return Losses({"model": loss}, {"cross_entropy": loss})


def surprise(networks: Networks, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each row, [P, V]."""
    logits = networks["model"](inputs, weights="frozen")
    return -(torch.log_softmax(logits, -1) * targets).sum(-1)


def clone_categories(
    states: np.ndarray,
    actions: np.ndarray,
    *,
    updates: int = 20_000,
    hidden: tuple[int, ...] = (200, 200),
    seed: int = 0,
    device: str = "cpu",
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Clone what chose among categories in the data.

    Parameters
    ----------
    states : (M, observation) float array
    actions : (M, categories) float array
        One-hot.
    updates, hidden, seed, device
        As of `train_dynamics`.

    Returns
    -------
    callable
        States [B, observation] -> log probabilities [B, categories].

    Examples
    --------
    >>> states = np.random.default_rng(0).normal(size=(2_000, 1))
    >>> found = clone_categories(states, np.eye(2)[(states[:, 0] > 0).astype(int)], updates=1_000, hidden=(16,))
    >>> found(torch.tensor([[-1.0], [1.0]])).argmax(1).tolist()
    [0, 1]
    """
    held = held_out_rows(len(states), seed)
    scale = Scale.of(states[~held])
    inputs, targets = scale.down(states), np.asarray(actions, np.float32)
    trained = train_best(
        CategoryModel(hidden=hidden),
        [Rows(inputs[~held], targets[~held])],
        [Rows(inputs[held], targets[held])],
        [0],
        member_seeds(seed, f"{_PURPOSE} clone", 1),
        surprise,
        steps=updates,
        device=device,
    )

    @torch.no_grad()
    def logits(found: torch.Tensor) -> torch.Tensor:
        answers = trained.networks["model"](scale.down_on_device(found)[None], weights="frozen")[0]
        return torch.log_softmax(answers, -1)

    return logits


# -------------------------------------------------------------------------------------------------- terminations


@dataclass(frozen=True)
class TerminationModel(Algorithm):
    """Logistic regression of whether an episode ends in s', by a network."""

    learning_rate: float = 1e-3
    batch_size: int = 256
    hidden: tuple[int, ...] = (200, 200)

    name = "termination_model"
    label = "termination model"

    def networks(self, shapes: Shapes) -> dict[str, Specification]:
        return {"model": MLP(shapes.observation_size, 1, self.hidden, learning_rate="learning_rate", activation="silu")}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(termination_loss),)


def termination_loss(setting: Setting) -> Losses:
    """Cross-entropy."""
    logits = setting.networks["model"](setting.batch.observations)
    loss = torch.nn.functional.softplus(logits).sub(logits * setting.batch.actions).mean((1, 2))
    return Losses({"model": loss}, {"cross_entropy": loss})


def cross_entropy(networks: Networks, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy, [P, V]."""
    logits = networks["model"](inputs, weights="frozen")
    return torch.nn.functional.softplus(logits).sub(logits * targets)[..., 0]


def train_terminations(
    next_states: np.ndarray,
    terminations: np.ndarray,
    *,
    updates: int = 20_000,
    hidden: tuple[int, ...] = (200, 200),
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Termination:
    """Learn when episodes terminate from transitions.

    Steps that terminate are drawn as often as the others in training; the threshold on the network's output undoes that, so
    that the model terminates where the data more likely than not does.

    Parameters
    ----------
    next_states : (M, observation) float array
    terminations : (M,) bool array
        With both kinds.
    updates, hidden, seed, device, progress
        As of `train_dynamics`.

    Returns
    -------
    callable
        Next states [..., observation] -> bool [...].

    Examples
    --------
    >>> states = np.random.default_rng(0).normal(size=(2_000, 1))
    >>> found = train_terminations(states, states[:, 0] > 1.5, updates=1_500, hidden=(16,))
    >>> found(torch.tensor([[-1.0], [0.0], [3.0]])).tolist()
    [False, False, True]
    """
    ended = np.asarray(terminations, bool)
    if ended.all() or not ended.any():
        raise ConfigError(f"all {len(ended)} steps {'terminate' if ended.all() else 'go on'}: there is no end to learn")
    scale = Scale.of(next_states)
    inputs, targets = scale.down(next_states), ended[:, None].astype(np.float32)
    generator, parts = block_generator(seed, _PURPOSE, "terminations", 0), []
    held = held_out_rows(len(ended), seed)
    kinds = [np.flatnonzero(ended == kind) for kind in (False, True)]
    for part in (~held, held):
        rows = [kind[part[kind]] if part[kind].any() else kind for kind in kinds]  # the only end is in both parts
        most = max(len(kind) for kind in rows)
        chosen = np.concatenate([generator.choice(kind, most) for kind in rows])
        parts.append(Rows(inputs[chosen], targets[chosen]))
    trained = train_best(
        TerminationModel(hidden=hidden),
        parts[:1],
        parts[1:],
        [0],
        member_seeds(seed, f"{_PURPOSE} terminations", 1),
        cross_entropy,
        steps=updates,
        device=device,
        progress=progress,
    )
    prior = float(np.log(len(kinds[1]) / len(kinds[0])))  # log odds that drawing both alike took away

    def ends(states: torch.Tensor) -> torch.Tensor:
        flat = scale.down_on_device(states).flatten(0, -2)
        logits = trained.networks["model"](flat[None], weights="frozen")
        return (logits[0, :, 0] + prior > 0).view(states.shape[:-1])

    return ends
