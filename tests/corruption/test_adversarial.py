"""Adversarial corruption: where it goes, what it leaves alone, and whether it can be made again."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from assay.baselines import BC, EDAC, IQL, TD3BC, Job, ReBRAC, train
from assay.baselines.training.run_victim import RunVictim, train_victim
from assay.corruption import AdversarialCorruption, RandomCorruption, preset
from assay.corruption.attacks.descent import start_positions
from assay.corruption.attacks.input_gradients import Target, input_gradient
from assay.datasets import Dataset, load, replay, save
from assay.datasets.errors import ConfigError, DatasetError, DatasetIntegrityError
from assay.datasets.generators import BLOCK_STEPS, block_generator
from assay.datasets.spaces import Box

ELEMENTS = ("observations", "actions", "dynamics", "states")
COLUMN = {"dynamics": "next_observations", "states": "observations"}


def make(steps: int = 120, dtype: type = np.float32, episode_length: int = 10, **columns: np.ndarray) -> Dataset:
    generator = np.random.default_rng(0)
    lengths = np.full(steps // episode_length, episode_length)
    ends = np.arange(steps) % episode_length == episode_length - 1
    spread = np.array([1.0, 10.0, 0.0])  # the last dimension is constant
    return Dataset(
        {
            "observations": (generator.standard_normal((steps + len(lengths), 3)) * spread + 5).astype(dtype),
            "actions": generator.uniform(-1, 1, (steps, 2)).astype(dtype),
            "rewards": generator.standard_normal(steps).astype(dtype),
            "terminations": ends,
            "truncations": np.zeros(steps, bool),
            **columns,
        },
        lengths,
    )


class Perceptrons:
    """Three critics with two hidden layers and a tanh policy, as a live victim in float64."""

    dtype = torch.float64

    def __init__(self, layered: bool = False, critics: int = 3) -> None:
        generator = torch.Generator().manual_seed(0)
        widths = (5, 16, 12, 1)
        self.layers = [
            (
                torch.randn(critics, i, o, generator=generator, dtype=self.dtype) / i**0.5,
                0.1 * torch.randn(critics, 1, o, generator=generator, dtype=self.dtype),
            )
            for i, o in itertools.pairwise(widths)
        ]
        self.policy = torch.randn(3, 2, generator=generator, dtype=self.dtype) / 5
        if layered:
            self.critic_layers = lambda: self.layers

    def q_values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        hidden = torch.cat([observations, actions], -1)
        for weight, bias in self.layers[:-1]:
            hidden = torch.relu(hidden @ weight + bias)
        return (hidden @ self.layers[-1][0] + self.layers[-1][1]).squeeze(-1)

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.tanh(observations @ self.policy)


def linear(observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor([1.0, -2.0, 3.0], dtype=observations.dtype)
    return observations @ weights - actions.sum(-1)


def field(dataset: Dataset, element: str) -> np.ndarray:
    return {
        "observations": lambda: dataset.observations[dataset.observation_rows],
        "states": lambda: dataset.observations[dataset.observation_rows],
        "actions": lambda: dataset.actions,
        "rewards": lambda: dataset.rewards,
        "dynamics": lambda: dataset.next_observations,
    }[element]()


def attack(element: str, victim: object = None, **options: object) -> AdversarialCorruption:
    return AdversarialCorruption(**{"element": element, "victim": victim, "rate": 0.4, "steps": 7, **options})


def values(victim: Perceptrons, dataset: Dataset, element: str, corrupted: np.ndarray) -> np.ndarray:
    """(K, N) values of the pairs that an attack of the element lowers."""
    moved = torch.from_numpy(corrupted.astype(np.float64))
    observations = torch.from_numpy(field(dataset, "observations").astype(np.float64))
    actions = torch.from_numpy(dataset.actions.astype(np.float64))
    if element == "dynamics":
        return victim.q_values(moved, victim.act(moved)).numpy()
    return (victim.q_values(observations, moved) if element == "actions" else victim.q_values(moved, actions)).numpy()


# -------------------------------------------------------------------- where it goes


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("initialization", ["uniform", "published"])
def test_the_attack_never_leaves_the_box_and_leaves_other_rows_alone(element, layered, initialization):
    dataset = make(dtype=np.float64)
    options = {"scale": 0.7, "step_size": 0.3, "initialization": initialization}
    variant = attack(element, Perceptrons(layered), **options)(dataset)
    clean, corrupted, mask = field(dataset, element), field(variant, element), variant.masks[element]
    distance = np.abs(corrupted - clean)
    assert np.all(distance <= 0.7 * clean.std(0) * (1 + 1e-12))
    assert np.array_equal(distance.any(axis=1), mask)
    assert 0 < mask.sum() < len(mask)
    assert corrupted[~mask].tobytes() == clean[~mask].tobytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_linear_value_is_driven_to_the_exact_corner(dtype):
    dataset = make(dtype=dtype)
    variant = attack("observations", linear, rate=1.0, steps=200, scale=2.0)(dataset)
    clean = field(dataset, "observations")
    std = clean.astype(np.float64).std(0)
    corner = (clean.astype(np.float64) - 2.0 * np.array([1, -1, 1]) * std).astype(dtype)
    assert field(variant, "observations").dtype == dtype
    assert np.allclose(field(variant, "observations"), corner, rtol=1e-6 if dtype != np.float16 else 2e-3, atol=1e-9)


def by_hand(victim: Perceptrons, dataset: Dataset, element: str, attack: AdversarialCorruption) -> np.ndarray:
    """The definition with plain autograd, all rows at once."""
    clean = torch.tensor(field(dataset, element))
    std = clean.std(0, correction=0)
    column = COLUMN.get(element, element)
    draws = block_generator(attack.seed, attack.name, f"{element}:{column}", 0).random(clean.shape, dtype=np.float32)
    z = attack.scale * (2 * torch.from_numpy(draws).double() - 1)
    if attack.initialization == "published":
        z = z * std
    observations, actions = torch.tensor(field(dataset, "observations")), torch.tensor(dataset.actions)
    for _ in range(attack.steps):
        z = z.clone().requires_grad_()
        x = clean + z * std
        if element == "dynamics":
            ensemble = victim.q_values(x, victim.act(x))
        else:
            ensemble = victim.q_values(observations, x) if element == "actions" else victim.q_values(x, actions)
        value = ensemble.mean(0) if attack.aggregate == "mean" else ensemble.min(0).values
        (gradient,) = torch.autograd.grad(value.sum(), z)
        with torch.no_grad():
            z = (z - attack.step_size * attack.scale * gradient.sign()).clamp(-attack.scale, attack.scale)
    return (clean + z.detach() * std).numpy()


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_it_equals_a_plain_statement_of_the_definition(element, layered, aggregate):
    victim, dataset = Perceptrons(layered), make(dtype=np.float64)
    for initialization in ("uniform", "published"):
        made = attack(element, victim, aggregate=aggregate, initialization=initialization, scale=1.3, seed=5)
        variant = made(dataset)
        mask = variant.masks[element]
        expected = by_hand(victim, dataset, element, made)
        assert np.allclose(field(variant, element)[mask], expected[mask], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("aggregate", ["mean", "min"])
@pytest.mark.parametrize("one_by_one", [True, False])  # as on a CPU, and as on a GPU
def test_gradients_of_layers_are_those_of_autograd(element, aggregate, one_by_one, monkeypatch):
    monkeypatch.setattr("assay.corruption.attacks.input_gradients._one_by_one", lambda device: one_by_one)
    layered, plain = Perceptrons(layered=True), Perceptrons()
    kind = {"actions": "actions", "dynamics": "policy"}.get(element, "observations")
    generator = torch.Generator().manual_seed(1)
    size, others = (2, 3) if element == "actions" else (3, 2)
    base = torch.randn(30, size, generator=generator, dtype=torch.float64)
    other = None if element == "dynamics" else torch.randn(30, others, generator=generator, dtype=torch.float64)
    target = Target(kind, base, torch.rand(size, generator=generator, dtype=torch.float64), other)
    z = torch.randn(30, size, generator=generator, dtype=torch.float64)
    found = input_gradient(layered, target, aggregate, torch.float64)(z)
    expected = input_gradient(plain, target, aggregate, torch.float64)(z)
    factor = 3.0 if aggregate == "mean" else 1.0  # a sum in place of the mean
    assert torch.allclose(found, expected * factor, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("element", ELEMENTS)
def test_it_lowers_the_value_by_more_than_three_times_as_much_as_noise_of_its_size(element):
    victim, dataset = Perceptrons(layered=True), make(600, dtype=np.float64)
    before = values(victim, dataset, element, field(dataset, element)).mean()
    ours = attack(element, victim, rate=1.0, steps=100)(dataset)
    noise = RandomCorruption(element, rate=1.0)(dataset)
    drop, of_noise = (before - values(victim, dataset, element, field(item, element)).mean() for item in (ours, noise))
    assert drop > 3 * abs(of_noise)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("initialization", ["uniform", "published"])
def test_the_fast_mode_lowers_the_value_at_least_as_far_as_the_published_descent(element, initialization):
    dataset, victim = make(600), Perceptrons(layered=True)
    falls = []
    for mode in ("adversarial", "fast_adversarial"):
        (plain,) = preset("published", element, mode, victim=victim, initialization=initialization)
        (parameters,) = plain.values()
        variant = AdversarialCorruption(**parameters)(dataset)
        before, after = (values(victim, dataset, element, field(one, element)).mean() for one in (dataset, variant))
        falls.append(before - after)
    assert falls[1] >= falls[0] > 0


def test_it_does_not_raise_a_concave_value_above_its_start():
    def concave(observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return torch.minimum(linear(observations, actions), 3.0 - observations[:, 1])

    dataset = make(dtype=np.float64)
    short, long = (
        attack("observations", concave, rate=1.0, steps=steps, step_size=1e-3)(dataset) for steps in (1, 400)
    )

    def at(variant: Dataset) -> np.ndarray:
        return concave(torch.tensor(field(variant, "observations")), torch.tensor(dataset.actions)).numpy()

    assert np.all(at(long) <= at(short) + 1e-12)


def test_min_lowers_the_smallest_critic_and_mean_their_mean():
    victim, dataset = Perceptrons(layered=True), make(300, dtype=np.float64)
    lowered = {}
    for aggregate in ("mean", "min"):
        variant = attack("observations", victim, rate=1.0, steps=100, aggregate=aggregate)(dataset)
        found = values(victim, dataset, "observations", field(variant, "observations"))
        lowered[aggregate] = {"mean": found.mean(), "min": found.min(0).mean()}
    assert lowered["min"]["min"] < lowered["mean"]["min"]
    assert lowered["mean"]["mean"] < lowered["min"]["mean"]


def test_the_published_start_is_outside_the_box_as_often_as_measured():
    draws = torch.from_numpy(np.random.default_rng(0).random((20_000, 4)))
    std = torch.tensor([0.5, 2.0, 5.0, 10.0], dtype=torch.float64)
    outside = (start_positions(draws, 1.5, std, "published").abs() > 1.5).double().mean(0)
    assert torch.allclose(outside, torch.clamp(1 - 1 / std, min=0), atol=0.015)
    assert (start_positions(draws, 1.5, std, "uniform").abs() <= 1.5).all()


def test_rewards_are_reversed_and_need_no_victim():
    dataset = make()
    variant = AdversarialCorruption("rewards", rate=0.5, scale=2.0)(dataset)
    mask = variant.masks["rewards"]
    assert np.array_equal(variant.rewards[mask], -2 * dataset.rewards[mask])
    assert np.array_equal(variant.rewards[~mask], dataset.rewards[~mask])
    assert replayed(variant, dataset) == variant


def test_a_victim_whose_gradient_is_not_finite_is_refused():
    with pytest.raises(DatasetError, match="gradients must be finite"):
        attack("observations", lambda observations, actions: (0 * observations.sum(-1)).sqrt())(make())


def test_actions_may_be_kept_in_their_space():
    dataset = make()
    dataset = dataset.replace(
        info=dataclasses.replace(dataset.info, action_space=Box((2,), "float32", [-1.0, -1.0], [1.0, 1.0]))
    )
    free = attack("actions", linear, rate=1.0, steps=200)(dataset)
    kept = attack("actions", linear, rate=1.0, steps=200, clip=True)(dataset)
    assert np.abs(free.actions).max() > 1
    assert np.allclose(kept.actions, np.clip(free.actions, -1, 1), atol=1e-6)


def test_states_change_together_with_the_next_observation_of_the_step_before():
    dataset = make()
    variant = attack("states", Perceptrons())(dataset)
    assert not variant.has_next_observations
    assert set(variant.columns) == {*dataset.columns, "corrupted/states"}


# -------------------------------------------------------------------- what it depends on


def in_float32(layered: bool) -> Perceptrons:
    victim = Perceptrons()
    victim.dtype = torch.float32
    victim.layers = [(weight.float(), bias.float()) for weight, bias in victim.layers]
    victim.policy = victim.policy.float()
    if layered:
        victim.critic_layers = lambda: [(weight.double(), bias.double()) for weight, bias in victim.layers]
    return victim


@pytest.mark.parametrize("layered", [False, True])
def test_pieces_in_memory_and_threads_do_not_change_a_bit(layered, monkeypatch):
    pattern = np.tile([[1.0, 1.0], [-1.0, -1.0]], (600, 1)).astype(np.float32)  # whose sums are exact in any order
    dataset, victim = make(1200, actions=pattern), in_float32(layered)
    whole = attack("actions", victim, steps=50)(dataset)
    monkeypatch.setattr("assay.corruption.shared.elements.CHUNK_BYTES", 1024)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pieces = attack("actions", victim, steps=50)(dataset)
    finally:
        torch.set_num_threads(threads)
    assert pieces.fingerprint == whole.fingerprint


def test_a_longer_dataset_and_another_rate_give_the_same_to_rounding():
    steps = BLOCK_STEPS + 400
    pattern = np.tile([[1.0, 1.0], [-1.0, -1.0]], (steps // 2, 1))  # of standard deviation 1 at any even length
    dataset = make(steps, episode_length=8, actions=pattern.astype(np.float64))
    short = dataset.select(np.arange((BLOCK_STEPS + 80) // 8))
    options = {"rate": 0.01, "steps": 3, "seed": 2}
    long, cut = (attack("actions", Perceptrons(), **options)(item) for item in (dataset, short))
    assert np.allclose(long.actions[: short.total_steps], cut.actions, atol=1e-9)
    more = attack("actions", Perceptrons(), **{**options, "rate": 0.02})(short)
    mask = cut.masks["actions"]
    assert np.all(more.masks["actions"][mask])
    assert np.allclose(more.actions[mask], cut.actions[mask], atol=1e-9)


def test_equal_seeds_give_equal_bytes_and_others_differ():
    one, again, other = (attack("actions", Perceptrons(), seed=seed)(make()) for seed in (3, 3, 4))
    assert one.fingerprint == again.fingerprint
    assert not np.array_equal(one.masks["actions"], other.masks["actions"])


def test_progress_counts_the_touched_steps():
    reports: list[tuple[int, int]] = []
    variant = attack("observations", linear, rate=0.5, steps=2)(
        make(), progress=lambda done, total: reports.append((done, total))
    )
    touched = int(variant.masks["observations"].sum())
    assert reports[-1] == (touched, touched)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


# -------------------------------------------------------------------- victims and records


@pytest.fixture(scope="module")
def pendulum() -> Dataset:
    return load("pendulum/random", steps=400)


def trained(algorithm: object, dataset: Dataset, folder: Path):
    (run,) = train([Job(algorithm, dataset)], steps=5, runs=folder, evaluation=None)
    return run


def replayed(variant: Dataset, dataset: Dataset) -> Dataset:
    record = variant.history[-1]
    return AdversarialCorruption(**json.loads(json.dumps(record.parameters)))(dataset)


@pytest.mark.parametrize(
    "algorithm", [EDAC(hidden=(16, 16)), IQL(hidden=(16, 16)), TD3BC(hidden=(16, 16)), ReBRAC(hidden=(16, 16))]
)
def test_any_finished_run_with_a_critic_is_a_victim_and_its_record_makes_it_again(algorithm, pendulum, tmp_path):
    run = trained(algorithm, pendulum, tmp_path)
    for element in ELEMENTS:
        variant = AdversarialCorruption(element, run, steps=3)(pendulum)
        assert variant.history[-1].parameters["victim"] == str(run.folder)
        assert replayed(variant, pendulum).fingerprint == variant.fingerprint
    save(variant, tmp_path / "variant")
    assert replay(load(tmp_path / "variant").history) == variant


@pytest.mark.parametrize("algorithm", [EDAC(hidden=(16, 16)), IQL(hidden=(16, 16))])
def test_a_run_values_and_acts_as_it_does_otherwise_and_its_layers_do_too(algorithm, pendulum, tmp_path):
    run = trained(algorithm, pendulum, tmp_path)
    victim = RunVictim(run.folder)
    observations, actions = pendulum.observations[:50].astype(np.float64), pendulum.actions[:50].astype(np.float64)
    tensors = torch.from_numpy(observations).float(), torch.from_numpy(actions).float()
    assert np.allclose(victim.q_values(*tensors).numpy(), run.q_values(observations, actions), atol=1e-5)
    assert np.allclose(victim.act(tensors[0]).numpy(), run.policy(observations), atol=1e-5)
    hidden = torch.from_numpy(np.hstack([observations, actions]))[None]
    for number, (weight, bias) in enumerate(victim.critic_layers()):
        hidden = (torch.relu(hidden) if number else hidden) @ weight + bias
    assert np.allclose(hidden.squeeze(-1).numpy(), run.q_values(observations, actions), atol=1e-5)


def test_a_victim_is_trained_once_per_dataset_algorithm_and_steps(pendulum, tmp_path):
    options = {"steps": 3, "runs": tmp_path}
    first = train_victim(TD3BC(hidden=(8,)), pendulum, **options)
    written = (first.folder / "policy.safetensors").stat().st_mtime_ns
    assert (
        train_victim(TD3BC(hidden=(8,)), pendulum, **options).folder / "policy.safetensors"
    ).stat().st_mtime_ns == written
    train_victim(TD3BC(hidden=(9,)), pendulum, **options)
    train_victim(TD3BC(hidden=(8,)), pendulum, steps=4, runs=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(ConfigError, match="BC cannot be a victim"):
        train_victim(BC(), pendulum, **options)


def test_a_live_victim_is_named_in_the_record_which_cannot_make_it_again():
    dataset = make()
    variant = attack("actions", Perceptrons())(dataset)
    assert variant.history[-1].parameters["victim"].endswith("Perceptrons")
    with pytest.raises(ConfigError, match=r"live object.*Perceptrons.*cannot hold"):
        replayed(variant, dataset)


def test_another_victim_in_the_folder_is_refused(pendulum, tmp_path):
    run, other = trained(IQL(hidden=(8,)), pendulum, tmp_path), trained(IQL(hidden=(9,)), pendulum, tmp_path)
    variant = AdversarialCorruption("actions", run, steps=2)(pendulum)
    file = run.folder / "policy.safetensors"
    file.write_bytes((other.folder / "policy.safetensors").read_bytes())
    with pytest.raises(DatasetIntegrityError, match="other networks"):
        replayed(variant, pendulum)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda observations, actions: 3.0, r"values are a float; they must be a tensor, \[critics, 64\]"),
        (lambda observations, actions: actions.sum(), r"values are of shape \[\]"),
        (lambda observations, actions: actions, r"values are of shape \[64, 2\]"),
        (lambda observations, actions: actions.detach().sum(-1), "no gradient leads"),
        (lambda observations, actions: observations.sum(-1), "no gradient leads"),
    ],
)
def test_a_function_that_gives_no_value_per_row_or_no_gradient_is_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        attack("actions", value)(make())


def test_impossible_requests_are_refused_by_name(pendulum, tmp_path):
    with pytest.raises(ConfigError, match="victim is missing"):
        AdversarialCorruption("actions")(pendulum)
    with pytest.raises(ConfigError, match="is not the folder of a finished run"):
        AdversarialCorruption("actions", "edac")(pendulum)
    with pytest.raises(ConfigError, match=r"victim=3: .*run folder"):
        AdversarialCorruption("actions", 3)
    with pytest.raises(ConfigError, match="steps=0"):
        AdversarialCorruption("actions", steps=0)
    with pytest.raises(ConfigError, match=r"corruption\.adversarial: only actions are clipped"):
        AdversarialCorruption("states", clip=True)
    with pytest.raises(ConfigError, match="BC has no critic"):
        AdversarialCorruption("actions", trained(BC(hidden=(8,)), pendulum, tmp_path))(pendulum)
    with pytest.raises(ConfigError, match="needs a victim with a policy"):
        attack("dynamics", linear)(make())
    with pytest.raises(ConfigError, match=r"device 'abacus' cannot be used"):
        attack("actions", linear, device="abacus")(make())
    discrete = make(actions=np.zeros(120, np.int64))
    with pytest.raises(DatasetError, match="column actions is int64"):
        attack("observations", linear)(discrete)
    spoilt = make()
    actions = spoilt.actions.copy()
    actions[33] = np.nan
    with pytest.raises(DatasetError, match="cannot value episode 3, step 3"):
        attack("observations", linear, rate=1.0)(spoilt.replace({"actions": actions}))
