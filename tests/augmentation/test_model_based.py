"""Model-based augmentation: what is added is what the learned model does from states of the data, and is said to be so."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.augmentation import ModelBasedAugmentation
from assay.datasets import Dataset
from assay.datasets.errors import AssayError
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box, Discrete

QUICK = {"updates": 30, "hidden": (16,), "networks": 3, "elites": 2}


def linear(episodes: int = 40, length: int = 10, seed: int = 0, stop: float = np.inf, **changes) -> Dataset:
    """s' = 0.9 s + a, r = -|s|, actions of a policy -0.5 s with noise; terminates where s' is above `stop`."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(episodes):
        states, actions = [rng.uniform(-2, 2)], []
        while len(actions) < length and states[-1] <= stop:
            actions.append(float(np.clip(-0.5 * states[-1] + 0.3 * rng.normal(), -1, 1)))
            states.append(0.9 * states[-1] + actions[-1])
        if actions:
            made.append((states, actions, states[-1] > stop))
    lengths = np.array([len(actions) for _, actions, _ in made])
    ends = np.zeros(lengths.sum(), bool)
    ends[np.cumsum(lengths) - 1] = [terminated for *_, terminated in made]
    lasts = np.zeros(len(ends), bool)
    lasts[np.cumsum(lengths) - 1] = True
    states = np.concatenate([states for states, *_ in made])
    rows = np.concatenate([np.arange(n) + start for n, start in zip(lengths, np.cumsum(lengths + 1) - lengths - 1)])
    columns = {
        "observations": states[:, None].astype(np.float32),
        "actions": np.concatenate([actions for _, actions, _ in made])[:, None].astype(np.float32),
        "rewards": -np.abs(states[rows]),
        "terminations": ends,
        "truncations": lasts & ~ends,
        "info": DatasetInfo(id="linear", action_space=Box((1,), "float32", [-1.0], [1.0])),
    }
    return Dataset.from_arrays(**{**columns, **changes})


def new_steps(more: Dataset) -> np.ndarray:
    return np.flatnonzero(more.column("augmented"))


def test_original_steps_are_untouched_and_new_ones_stand_behind_them():
    dataset = linear()
    more = ModelBasedAugmentation(ratio=0.6, horizon=4, **QUICK)(dataset)
    n, e = dataset.total_steps, dataset.total_episodes
    assert more.total_steps == n + round(0.6 * n)
    assert new_steps(more).tolist() == list(range(n, more.total_steps))
    for name in ("actions", "rewards", "terminations", "truncations"):
        assert np.array_equal(more.column(name)[:n], dataset.column(name))
        assert more.column(name).dtype == dataset.column(name).dtype
    assert np.array_equal(more.observations[: n + e], dataset.observations)
    assert set(more.episode_lengths[e:].tolist()) <= {1, 2, 3, 4}
    assert not more.terminations[n:].any()
    lasts = np.cumsum(more.episode_lengths) - 1
    assert np.flatnonzero(more.truncations[n:]).tolist() == (lasts[e:] - n).tolist()


@pytest.mark.parametrize("policy", ["clone", "random"])
def test_a_rollout_begins_in_a_state_of_the_data_and_follows_the_dynamics(policy):
    dataset = linear(episodes=150)
    more = ModelBasedAugmentation(
        ratio=1.0, horizon=5, policy=policy, updates=2_500, hidden=(32, 32), networks=3, elites=2, penalty=None
    )(dataset)
    known = set(dataset.observations[:, 0].tolist())
    starts = more.observation_rows[more.episode_starts[dataset.total_episodes :]]
    assert set(more.observations[starts, 0].tolist()) <= known
    steps = new_steps(more)
    states, following = (more.observations[more.observation_rows[steps] + k, 0] for k in (0, 1))
    actions = more.actions[steps, 0]
    assert np.abs(following - (0.9 * states + actions)).mean() < 0.06
    assert np.abs(more.rewards[steps] + np.abs(states)).mean() < 0.06
    assert np.abs(actions).max() <= 1.0
    if policy == "clone":
        residual = actions + 0.5 * states
        assert abs(np.median(residual)) < 0.05
        assert abs(residual.std() - 0.3) < 0.06
    else:
        assert abs(actions.mean()) < 0.06
        assert abs(actions.std() - 3**-0.5) < 0.04


def test_the_penalty_is_taken_from_the_rewards_by_its_weight():
    dataset = linear()
    without, light, heavy = (
        ModelBasedAugmentation(penalty="ensemble_deviation", penalty_weight=weight, **QUICK)(dataset)
        for weight in (0.0, 1.0, 3.0)
    )
    n = dataset.total_steps
    taken = [(without.rewards - item.rewards)[n:] for item in (light, heavy)]
    assert (taken[0] > 0).all()
    assert np.allclose(3 * taken[0], taken[1], rtol=1e-3, atol=1e-4)
    assert np.isclose(light.info.extra["augmentation"][-1]["mean_penalty"], taken[0].mean(), rtol=1e-3)


def test_terminations_are_learned_and_end_a_rollout():
    dataset = linear(episodes=400, stop=1.0)
    more = ModelBasedAugmentation(
        horizon=5, policy="random", updates=1_500, hidden=(32, 32), networks=2, elites=2, penalty=None
    )(dataset)
    steps = new_steps(more)
    following = more.observations[more.observation_rows[steps] + 1, 0]
    ended = more.terminations[steps]
    assert more.info.extra["augmentation"][-1]["termination"] == "learned"
    assert ended.any()
    assert (ended == (following > 1.0))[np.abs(following - 1.0) > 0.15].mean() > 0.99
    inner = np.ones(len(steps), bool)
    inner[np.cumsum(more.episode_lengths[dataset.total_episodes :]) - 1] = False
    assert not (ended & inner).any()
    never = ModelBasedAugmentation(horizon=5, termination="none", **QUICK)(dataset)
    assert not never.terminations[dataset.total_steps :].any()


def test_the_rule_of_a_known_environment_is_used():
    dataset = assay.load("hopper/random", steps=300)
    more = ModelBasedAugmentation(horizon=20, policy="random", **QUICK)(dataset)
    assert more.info.extra["augmentation"][-1]["termination"] == "environment"
    steps = new_steps(more)
    following = more.observations[more.observation_rows[steps] + 1]
    fallen = (following[:, 0] <= 0.7) | (np.abs(following[:, 1]) >= 0.2) | (np.abs(following[:, 1:]) >= 100).any(1)
    assert np.array_equal(more.terminations[steps], fallen)
    assert fallen.any()


def test_it_depends_on_the_seed_alone_and_is_replayed_from_the_history():
    dataset = assay.load("pendulum/random", steps=400)
    transform = ModelBasedAugmentation(ratio=0.5, seed=3, **QUICK)
    first, again, other = (
        transform(dataset),
        transform(dataset),
        ModelBasedAugmentation(ratio=0.5, seed=4, **QUICK)(dataset),
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert assay.replay(first.history).fingerprint == first.fingerprint


def test_nested_observations_come_back_nested_and_goals_stay():
    flat = linear()
    goal = np.repeat(np.float64(3.0), len(flat.observations))[:, None]
    nested = linear(observations={"position": flat.observations, "goal": goal})
    more = ModelBasedAugmentation(**QUICK)(nested)
    assert set(more.observations) == {"position", "goal"}
    assert (more.observations["goal"] == 3.0).all()
    assert more.observations["position"].dtype == np.float32


def test_numbers_that_the_data_holds_twice_stay_the_same():
    flat = linear()
    twice = linear(observations={"position": flat.observations, "state": np.repeat(flat.observations, 2, axis=1)})
    more = ModelBasedAugmentation(**QUICK)(twice)
    assert np.array_equal(more.observations["state"], np.repeat(more.observations["position"], 2, axis=1))
    alone = ModelBasedAugmentation(**QUICK)(flat)
    assert np.array_equal(more.observations["position"], alone.observations)


def test_the_rule_of_an_environment_sees_numbers_that_the_data_holds_twice():
    dataset = assay.load("hopper/random", steps=300)
    observations = np.array(dataset.observations)
    observations[:, 1] = observations[:, 0]  # the torso leans by its height, which is beyond the rule's 0.2
    more = ModelBasedAugmentation(horizon=3, policy="random", **QUICK)(dataset.replace({"observations": observations}))
    assert more.info.extra["augmentation"][-1]["termination"] == "environment"
    assert more.terminations[new_steps(more)].all()


def of_categories() -> Dataset:
    """The action is 5 below 0, and 6 or 7, as often, above."""
    flat = linear()
    states = flat.observations[flat.observation_rows, 0]
    actions = np.where(states < 0, 5, 6 + np.arange(flat.total_steps) % 2).astype(np.int64)
    return linear(actions=actions, info=DatasetInfo(id="discrete", action_space=Discrete(3, start=5)))


def test_categories_are_rolled_out_at_random_and_come_back_as_they_were():
    dataset = of_categories()
    more = ModelBasedAugmentation(policy="random", **QUICK)(dataset)
    assert more.actions.dtype == np.int64
    new = more.actions[dataset.total_steps :]
    assert np.bincount(new - 5).min() > len(new) / 5


def test_a_clone_of_categories_chooses_as_often_as_the_data():
    dataset = of_categories()
    more = ModelBasedAugmentation(ratio=3.0, horizon=2, **{**QUICK, "updates": 1_000, "hidden": (32,)})(dataset)
    steps = new_steps(more)
    states, actions = more.observations[more.observation_rows[steps], 0], more.actions[steps]
    assert (actions[states < -0.3] == 5).mean() > 0.9
    above = actions[states > 0.3]
    assert (above == 5).mean() < 0.1
    assert 0.35 < (above == 6).mean() < 0.65  # drawn, not the likeliest


def test_a_run_that_chooses_among_categories_is_a_policy(tmp_path):
    from assay.baselines import BC, Job, train

    dataset = of_categories()
    (run,) = train([Job(BC(hidden=(8,), batch_size=32), dataset)], steps=50, runs=tmp_path, evaluation=None)
    more = ModelBasedAugmentation(policy=str(run.folder), **QUICK)(dataset)
    first = more.episode_starts[dataset.total_episodes :]
    expected = run.policy(more.observations[more.observation_rows[first]]).reshape(-1)
    assert np.array_equal(more.actions[first], expected)


def test_a_penalty_beyond_the_range_of_numbers_is_an_error():
    with pytest.raises(AssayError, match="leaves the range of numbers"):
        ModelBasedAugmentation(penalty_weight=1e308, **QUICK)(linear())


def test_a_run_is_a_policy_too(tmp_path):
    from assay.baselines import BC, Job, train
    from assay.datasets.collection.policies_by_path import policy_at

    flat = linear()
    nested = linear(observations={"z": flat.observations, "a": -2.0 * flat.observations})
    (run,) = train([Job(BC(hidden=(8,), batch_size=32), nested)], steps=200, runs=tmp_path, evaluation=None)
    both = {name: array[:5] for name, array in nested.observations.items()}
    expected = run.policy(np.concatenate([both["a"], both["z"]], axis=1))
    assert np.array_equal(policy_at(str(run.folder))(both), expected)
    more = ModelBasedAugmentation(policy=str(run.folder), **QUICK)(nested)
    first = more.episode_starts[nested.total_episodes :]
    rows = more.observation_rows[first]
    inputs = np.stack([more.observations["a"][rows, 0], more.observations["z"][rows, 0]], 1)
    assert np.allclose(more.actions[first], run.policy(inputs), atol=1e-5)
    with pytest.raises(AssayError, match=r"run\.json"):  # no run
        policy_at(str(tmp_path))


@pytest.mark.parametrize(
    ("message", "options", "changes"),
    [
        ("elites=9 is more than networks=3", {"elites": 9}, {}),
        (
            "neither .clone. nor .random. nor a file or folder of a run that exists",
            {"policy": "nothing.safetensors"},
            {},
        ),
        ("ratio 0.0001 of 400 steps is less than one step", {"ratio": 1e-4}, {}),
        ("horizon", {"horizon": 0}, {}),
        ("images", {}, {"observations": np.zeros((440, 8, 8, 3), np.uint8)}),
        (
            "1 of 400 transitions hold NaN or infinite numbers, the first at step 7",
            {},
            {"rewards": np.where(np.arange(400) == 7, np.nan, 0.0)},
        ),
    ],
)
def test_misuse_is_named(message, options, changes):
    with pytest.raises(AssayError, match=message):
        ModelBasedAugmentation(**{**QUICK, **options})(linear(**changes))


def test_missing_labels_are_named():
    from assay.relabeling import HideActions

    with pytest.raises(AssayError, match="actions"):
        ModelBasedAugmentation(**QUICK)(HideActions(rate=0.5)(linear()))


def test_a_model_that_leaves_the_range_of_numbers_is_an_error(monkeypatch):
    from assay.baselines.dynamics import ensemble

    step = ensemble.DynamicsEnsemble.step

    def broken(self, *arguments):
        found = step(self, *arguments)
        found.states[2] = float("inf")
        return found

    monkeypatch.setattr(ensemble.DynamicsEnsemble, "step", broken)
    with pytest.raises(AssayError, match="leaves the range of numbers in 1 of 80 rollouts"):
        ModelBasedAugmentation(**QUICK)(linear())


@pytest.mark.parametrize("name", ["model_based", "generative"])
def test_what_was_added_before_is_neither_learned_from_nor_counted(name):
    from assay.augmentation import GaussianNoise, GenerativeAugmentation

    if name == "generative":
        transform = GenerativeAugmentation(ratio=0.5, updates=20, width=16, blocks=1, sampling_steps=4)
    else:
        transform = ModelBasedAugmentation(ratio=0.5, **QUICK)
    dataset = linear()
    twice, once = transform(GaussianNoise(scale=3.0)(dataset)), transform(dataset)
    assert twice.total_steps == 2 * dataset.total_steps + dataset.total_steps // 2
    assert np.array_equal(twice.actions[-200:], once.actions[-200:])
    assert np.array_equal(twice.rewards[-200:], once.rewards[-200:])
