"""Random corruption: what is touched, by how much, and what stays."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from assay.corruption import RandomCorruption
from assay.datasets import Dataset, make_transform
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.formats import format_named
from assay.datasets.generators import BLOCK_STEPS, block_generator

ELEMENTS = ("observations", "actions", "rewards", "dynamics")
CHANGED = {
    "observations": {"observations", "next_observations", "corrupted/observations"},
    "actions": {"actions", "corrupted/actions"},
    "rewards": {"rewards", "corrupted/rewards"},
    "dynamics": {"next_observations", "corrupted/dynamics"},
}


def make(steps: int = 500, dtype: type = np.float32, episode_length: int = 7, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    lengths = [episode_length] * (steps // episode_length) + [steps % episode_length] * (steps % episode_length > 0)
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    spread = np.array([1.0, 10.0, 0.0])  # the last dimension is constant
    return Dataset(
        {
            "observations": (generator.standard_normal((steps + len(lengths), 3)) * spread + 5).astype(dtype),
            "actions": generator.uniform(-1, 1, (steps, 2)).astype(dtype),
            "rewards": generator.standard_normal(steps).astype(dtype),
            "terminations": ends & (np.arange(steps) % 2 == 0),
            "truncations": ends & (np.arange(steps) % 2 == 1),
            "infos/qpos": generator.standard_normal((steps + len(lengths), 2)),
        },
        lengths,
    )


def touched_field(dataset: Dataset, element: str) -> np.ndarray:
    """The N rows of what an element names."""
    return {
        "observations": lambda: dataset.observations[dataset.observation_rows],
        "actions": lambda: dataset.actions,
        "rewards": lambda: dataset.rewards,
        "dynamics": lambda: dataset.next_observations,
    }[element]()


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_outside_the_mask_are_bit_identical_and_dtypes_are_kept(element: str, dtype: type) -> None:
    dataset = make(dtype=dtype)
    variant = RandomCorruption(element)(dataset)
    mask = variant.masks[element]
    assert mask.dtype == bool
    assert mask.shape == (dataset.total_steps,)
    assert 0 < mask.sum() < len(mask)
    assert same_bits(touched_field(variant, element)[~mask], touched_field(dataset, element)[~mask])
    assert np.any(touched_field(variant, element)[mask] != touched_field(dataset, element)[mask])


@pytest.mark.parametrize("element", ["observations", "actions", "dynamics"])
@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_touched_rows_stay_within_scale_standard_deviations(element: str, scale: float) -> None:
    dataset = make(dtype=np.float64)
    variant = RandomCorruption(element, rate=1.0, scale=scale)(dataset)
    clean = touched_field(dataset, element)
    distance = np.abs(touched_field(variant, element) - clean)
    assert np.all(distance <= scale * clean.std(0) + 1e-12)
    assert np.all(distance.max(0) >= 0.9 * scale * clean.std(0))


def test_rewards_are_replaced_within_thirty_times_the_scale() -> None:
    dataset = make(5000)
    huge = dataset.replace({"rewards": dataset.rewards + np.float32(1e6)})
    rewards = RandomCorruption("rewards", rate=1.0, scale=2.0)(huge).rewards
    assert np.abs(rewards).max() <= 60
    assert rewards.min() < -55
    assert rewards.max() > 55


@pytest.mark.parametrize("element", ELEMENTS)
def test_only_the_named_element_changes_and_the_rest_shares_memory(element: str) -> None:
    dataset = make()
    variant = RandomCorruption(element)(dataset)
    assert set(variant.columns) == set(dataset.columns) | CHANGED[element]
    for name in set(dataset.columns) - CHANGED[element]:
        assert np.shares_memory(variant.column(name), dataset.column(name)), name
    assert np.array_equal(variant.episode_lengths, dataset.episode_lengths)
    assert same_bits(touched_field(make(), element), touched_field(dataset, element))  # the original is as it was


def test_corrupting_observations_leaves_every_next_observation_and_the_final_ones_alone() -> None:
    dataset = make()
    variant = RandomCorruption("observations", rate=1.0)(dataset)
    assert same_bits(variant.next_observations, dataset.next_observations)
    finals = dataset.episode_starts + np.arange(dataset.total_episodes) + dataset.episode_lengths
    assert same_bits(variant.observations[finals], dataset.observations[finals])


def test_stored_next_observations_are_what_dynamics_corrupts_and_what_observations_keeps() -> None:
    stored = np.random.default_rng(1).standard_normal((500, 3)).astype(np.float32) * 100
    dataset = make().replace({"next_observations": stored})
    assert np.shares_memory(RandomCorruption("observations")(dataset).next_observations, dataset.next_observations)
    variant = RandomCorruption("dynamics", rate=1.0)(dataset)
    assert np.all(np.abs(variant.next_observations - stored) <= stored.std(0) * 1.001)
    assert same_bits(dataset.next_observations, stored)


def test_observations_and_dynamics_may_be_corrupted_in_either_order() -> None:
    first, second = RandomCorruption("observations", seed=1), RandomCorruption("dynamics", seed=2)
    assert second(first(make())).fingerprint == first(second(make())).fingerprint


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 0.9, 1.0])
def test_the_number_of_touched_steps_is_binomial(rate: float) -> None:
    steps = 20_000
    touched = int(RandomCorruption("rewards", rate=rate)(make(steps)).masks["rewards"].sum())
    low, high = stats.binom.ppf([1e-6, 1 - 1e-6], steps, rate)
    assert low <= touched <= high


def test_masks_are_nested_in_the_rate_with_the_same_noise() -> None:
    dataset = make(dtype=np.float64)
    variants = [RandomCorruption("actions", rate=rate)(dataset) for rate in (0.1, 0.3, 0.8)]
    for smaller, larger in pairwise(variants):
        inside = smaller.masks["actions"]
        assert np.all(larger.masks["actions"][inside])
        assert same_bits(larger.actions[inside], smaller.actions[inside])


def test_elements_draw_independently() -> None:
    masks = [RandomCorruption(element, rate=0.5)(make(4000)).masks[element] for element in ELEMENTS]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert abs((first == second).mean() - 0.5) < 0.05


def test_the_same_seed_repeats_and_another_differs() -> None:
    one, again, other = (RandomCorruption("actions", seed=seed)(make()) for seed in (3, 3, 4))
    assert one.fingerprint == again.fingerprint
    assert not np.array_equal(one.masks["actions"], other.masks["actions"])


def naive(dataset: Dataset, element: str, rate: float, scale: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The definition, row by row, with one draw per block for all of its rows."""
    column = {"dynamics": "next_observations"}.get(element, element)
    clean = touched_field(dataset, element)
    result, mask = clean.copy(), np.zeros(len(clean), bool)
    for block, start in enumerate(range(0, len(clean), BLOCK_STEPS)):
        uniform = block_generator(seed, "corruption.random", f"{element}:mask", block).random(BLOCK_STEPS)
        noise = block_generator(seed, "corruption.random", f"{element}:{column}", block).random(
            (BLOCK_STEPS, *clean.shape[1:])
        )
        for row in range(start, min(start + BLOCK_STEPS, len(clean))):
            mask[row] = uniform[row - start] < rate
            if mask[row]:
                unit = 2 * noise[row - start] - 1
                result[row] = 30 * scale * unit if element == "rewards" else clean[row] + scale * unit * clean.std(0)
    return result, mask


@pytest.mark.parametrize("element", ELEMENTS)
def test_a_block_is_corrupted_as_its_rows_are(element: str) -> None:
    dataset = make(600, dtype=np.float64)
    variant = RandomCorruption(element, rate=0.4, scale=1.5, seed=9)(dataset)
    expected, mask = naive(dataset, element, 0.4, 1.5, 9)
    assert np.array_equal(variant.masks[element], mask)
    assert np.allclose(touched_field(variant, element), expected, rtol=1e-12, atol=1e-12)


def test_blocks_join_without_a_seam_and_do_not_depend_on_what_follows() -> None:
    long_steps, short_steps = 2 * BLOCK_STEPS + 100, BLOCK_STEPS + 1000
    actions = np.tile([[1.0], [-1.0]], (long_steps // 2, 1))  # of standard deviation 1 at any even length

    def corrupted(steps: int) -> Dataset:
        dataset = Dataset.from_arrays(
            observations=np.zeros((steps + 1, 1)),
            actions=actions[:steps],
            rewards=np.zeros(steps),
            terminations=np.arange(steps) == steps - 1,
            truncations=np.zeros(steps, bool),
        )
        return RandomCorruption("actions", rate=0.5)(dataset)

    long, short = corrupted(long_steps), corrupted(short_steps)
    assert np.array_equal(long.masks["actions"][:short_steps], short.masks["actions"])
    assert same_bits(long.actions[:short_steps], short.actions)
    assert not np.array_equal(long.actions[:1000], long.actions[BLOCK_STEPS : BLOCK_STEPS + 1000])


def test_the_size_of_the_pieces_in_memory_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(2000)
    whole = RandomCorruption("actions", rate=0.5)(dataset)
    monkeypatch.setattr("assay.corruption.shared.elements.CHUNK_BYTES", 1024)
    pieces = RandomCorruption("actions", rate=0.5)(dataset)
    assert np.allclose(pieces.actions, whole.actions, rtol=1e-6)
    assert np.array_equal(pieces.masks["actions"], whole.masks["actions"])


def test_corrupting_two_elements_keeps_both_masks_and_one_element_twice_unites_them() -> None:
    dataset = make()
    once = RandomCorruption("actions", rate=0.2, seed=0)(dataset)
    both = RandomCorruption("rewards", rate=0.2, seed=0)(once)
    assert set(both.masks) == {"actions", "rewards"}
    twice = RandomCorruption("actions", rate=0.2, seed=1)(both)
    alone = RandomCorruption("actions", rate=0.2, seed=1)(dataset)
    assert np.array_equal(twice.masks["actions"], once.masks["actions"] | alone.masks["actions"])
    assert np.array_equal(twice.masks["rewards"], both.masks["rewards"])


@pytest.mark.parametrize("element", ELEMENTS)
def test_its_record_in_the_history_makes_it_again(element: str) -> None:
    variant = RandomCorruption(element, rate=0.25, scale=0.5, seed=11)(make())
    record = variant.history[-1]
    assert record.seed == 11
    assert record.parent == make().fingerprint
    assert make_transform(record.transform, record.parameters)(make()).fingerprint == variant.fingerprint


def test_noise_is_uniform() -> None:
    dataset = make(20_000, dtype=np.float64)
    variant = RandomCorruption("observations", rate=1.0, scale=1.0, seed=5)(dataset)
    clean = touched_field(dataset, "observations")[:, :2]
    unit = (touched_field(variant, "observations")[:, :2] - clean) / clean.std(0)
    for j in range(2):
        assert stats.kstest(unit[:, j], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(unit.T)[0, 1]) < 0.03
    rewards = RandomCorruption("rewards", rate=1.0, seed=5)(dataset).rewards
    assert stats.kstest(rewards, stats.uniform(-30, 60).cdf).pvalue > 1e-3


def test_a_large_offset_does_not_spoil_the_standard_deviation() -> None:
    dataset = make(3000, dtype=np.float64)
    shifted = dataset.replace({"actions": dataset.actions + 1e8})
    variant = RandomCorruption("actions", rate=1.0)(shifted)
    reach = np.abs(variant.actions - shifted.actions).max(0)
    assert np.allclose(reach, dataset.actions.std(0), rtol=0.01)


def test_memory_mapped_columns_give_the_same_variant(tmp_path: Path) -> None:
    store = format_named("assay")
    store.write(make(), tmp_path / "stored")
    opened = store.read(tmp_path / "stored", verify=False)
    for element in ELEMENTS:
        assert RandomCorruption(element)(opened).fingerprint == RandomCorruption(element)(make()).fingerprint


def structured() -> Dataset:
    steps, generator = 40, np.random.default_rng(0)
    ends = np.arange(steps) % 10 == 9
    return Dataset.from_arrays(
        observations={
            "position": generator.standard_normal((44, 2)),
            "goal": generator.standard_normal((44, 2)),
            "gripper": generator.integers(0, 2, 44),
        },
        actions=generator.integers(0, 3, steps),
        rewards=generator.integers(0, 2, steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
    )


def test_floating_leaves_get_their_own_noise_under_one_mask_and_others_stay() -> None:
    dataset = structured()
    variant = RandomCorruption("observations", rate=0.5)(dataset)
    rows, mask = dataset.observation_rows, variant.masks["observations"]
    moved = {name: (variant.observations[name] - dataset.observations[name])[rows] for name in ("position", "goal")}
    for difference in moved.values():
        assert np.array_equal(np.any(difference != 0, axis=1), mask)
    assert not np.allclose(moved["position"], moved["goal"])
    assert np.shares_memory(variant.observations["gripper"], dataset.observations["gripper"])
    for name, expected in dataset.next_observations.items():
        assert same_bits(variant.next_observations[name], expected)


@pytest.mark.parametrize("element", ["actions", "rewards"])
def test_discrete_columns_are_refused_with_the_reason(element: str) -> None:
    with pytest.raises(DatasetError, match=rf"{element} int64.*choose another element"):
        RandomCorruption(element)(structured())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("element", ELEMENTS)
def test_values_that_are_not_finite_are_named_with_their_place(element: str, value: float) -> None:
    dataset = make()
    column = {"dynamics": "observations"}.get(element, element)
    spoilt = np.array(dataset.column(column))
    # step 17 is step 3 of episode 2; its own observation is row 19, and the next one of step 16 is the same row
    spoilt[(19 if column == "observations" else 17, *([1] if spoilt.ndim == 2 else []))] = value
    place = {"dynamics": r"next_observations\[1\].*episode 2, step 2", "rewards": "rewards.*episode 2, step 3"}
    with pytest.raises(DatasetError, match=place.get(element, rf"{element}\[1\].*episode 2, step 3")):
        RandomCorruption(element)(dataset.replace({column: spoilt}))


@pytest.mark.parametrize("element", ["observations", "actions", "rewards", "dynamics"])
def test_an_unknown_final_observation_is_not_made_into_a_transition(element: str) -> None:
    dataset = make(21)
    unknown = Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        episode_columns={"final_observation": np.array([True, False, True])},
    )
    usable = unknown.transitions(keep_terminal=False).steps
    assert len(usable) == 20
    assert np.array_equal(RandomCorruption(element)(unknown).transitions(keep_terminal=False).steps, usable)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"element": "rewards", "rate": 1.5}, "rate=1.5"),
        ({"element": "rewards", "rate": -0.1}, "rate=-0.1"),
        ({"element": "rewards", "rate": float("nan")}, "rate=nan"),
        ({"element": "rewards", "scale": -1.0}, "scale=-1.0"),
        ({"element": "rewards", "scale": float("inf")}, "scale=inf"),
        ({"element": "rewards", "seed": -1}, "seed=-1"),
        ({"element": "reward"}, "element='reward'"),
        ({}, "element is missing"),
        ({"element": "rewards", "ratio": 0.1}, "ratio is not a parameter"),
    ],
)
def test_impossible_parameters_are_one_clear_line(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=r"corruption\.random: ") as error:
        RandomCorruption(**parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_scale_that_the_column_cannot_hold_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"float16.*cannot hold noise of scale 5000"):
        RandomCorruption("rewards", scale=5000.0)(make(dtype=np.float16))


def test_an_empty_selection_stays_empty() -> None:
    empty = make().select([])
    for element in ELEMENTS:
        assert RandomCorruption(element)(empty).total_steps == 0


# -------------------------------------------------------------------- states, distributions, clipping


def test_states_change_together_with_the_next_observation_of_the_step_before() -> None:
    dataset = make(100)
    plain = RandomCorruption("states", rate=0.4)(dataset)
    assert not plain.has_next_observations  # the view follows by itself
    stored = dataset.replace({"next_observations": dataset.next_observations})
    variant = RandomCorruption("states", rate=0.4)(stored)
    assert same_bits(variant.next_observations, plain.next_observations)
    mask = variant.masks["states"]
    rows = dataset.observation_rows
    changed = np.zeros(len(dataset.observations), bool)
    changed[rows[mask]] = True
    assert ((variant.observations != dataset.observations)[:, 0] == changed).all()
    assert {finding.check for finding in variant.validate().findings} <= {"constant"}


def test_states_leave_a_next_observation_alone_that_was_another_state_already() -> None:
    dataset = RandomCorruption("dynamics", rate=0.5, seed=1)(make(100))
    variant = RandomCorruption("states", rate=1.0)(dataset)
    disturbed = dataset.masks["dynamics"]
    assert same_bits(variant.next_observations[disturbed], dataset.next_observations[disturbed])
    inside = ~disturbed
    inside[dataset.episode_starts + dataset.episode_lengths - 1] = False
    assert same_bits(variant.next_observations[inside], variant.observations[dataset.observation_rows + 1][inside])


@pytest.mark.parametrize(
    ("distribution", "law"),
    [
        ("uniform", stats.uniform(-0.5, 1.0)),
        ("gaussian", stats.norm(0, 0.5)),
        ("student_t", stats.t(3, scale=0.5)),
    ],
)
@pytest.mark.parametrize("element", ["actions", "dynamics", "states", "rewards"])
def test_noise_follows_its_distribution_in_standard_deviations(distribution: str, law, element: str) -> None:  # type: ignore[no-untyped-def]
    dataset = make(40_000, dtype=np.float64)
    variant = RandomCorruption(
        element, rate=0.5, scale=0.5, distribution=distribution, degrees_of_freedom=3, rewards="added"
    )(dataset)
    field = "observations" if element == "states" else element
    before, after = touched_field(dataset, field), touched_field(variant, field)
    if element == "rewards":
        before, after = before[:, None], after[:, None]
    noise = ((after - before) / np.where(before.std(0) > 0, before.std(0), 1))[variant.masks[element]]
    assert stats.kstest(noise[:, 0], law.cdf).pvalue > 1e-4


def test_absolute_noise_is_in_the_columns_own_unit() -> None:
    dataset = make(5000, dtype=np.float64)
    variant = RandomCorruption("dynamics", rate=1.0, scale=0.25, unit="absolute")(dataset)
    noise = variant.next_observations - dataset.next_observations
    assert (np.abs(noise) <= 0.25 + 1e-12).all()
    assert (np.abs(noise).max(axis=0) > 0.24).all()  # the constant dimension, too


def test_salt_and_pepper_sets_dimensions_to_the_extremes_of_their_column() -> None:
    dataset = make(20_000, dtype=np.float64)
    variant = RandomCorruption("actions", rate=0.5, scale=0.2, distribution="salt_and_pepper")(dataset)
    low, high = dataset.actions.min(0), dataset.actions.max(0)
    differs = variant.actions != dataset.actions
    assert ((variant.actions == low) | (variant.actions == high) | ~differs).all()
    struck = differs[variant.masks["actions"]].mean()
    assert abs(struck - 0.2) < 0.01
    at_low = (variant.actions == low)[differs].mean()
    assert abs(at_low - 0.5) < 0.02
    with pytest.raises(ConfigError, match="is a probability"):
        RandomCorruption("actions", scale=1.5, distribution="salt_and_pepper")


@pytest.mark.parametrize("element", [*ELEMENTS, "states"])
def test_replacement_takes_the_row_of_another_step(element: str) -> None:
    dataset = make(3000, dtype=np.float64)
    variant = RandomCorruption(element, rate=0.5, distribution="replacement")(dataset)
    field = "observations" if element == "states" else element
    before, after = touched_field(dataset, field), touched_field(variant, field)
    mask = variant.masks[element]
    rows = {row.tobytes(): number for number, row in enumerate(before)}
    found = np.array([rows[row.tobytes()] for row in after[mask]])
    assert (found != np.flatnonzero(mask)).all()
    assert stats.kstest(found / 3000, "uniform").pvalue > 1e-4
    assert same_bits(after[~mask], before[~mask])


def test_replacement_serves_discrete_actions_and_keeps_the_leaves_of_a_row_together() -> None:
    dataset = make(200)
    numbers = np.arange(200)
    structured = dataset.replace({"actions": None, "actions/kind": numbers, "actions/force": numbers * 0.5})
    variant = RandomCorruption("actions", rate=0.5, distribution="replacement")(structured)
    assert variant.column("actions/kind").dtype == numbers.dtype
    assert (variant.column("actions/force") == variant.column("actions/kind") * 0.5).all()
    assert (variant.column("actions/kind") != numbers).sum() == variant.masks["actions"].sum()


def test_clipped_actions_stay_inside_the_space_and_untouched_ones_as_they_are() -> None:
    from dataclasses import replace

    from assay.datasets.spaces import Box

    dataset = make(500, dtype=np.float64)
    space = Box((2,), "float64", [-0.5, -1.0], [0.5, 1.0])
    dataset = dataset.replace(info=replace(dataset.info, action_space=space))
    variant = RandomCorruption("actions", rate=0.5, scale=2.0, clip=True)(dataset)
    free = RandomCorruption("actions", rate=0.5, scale=2.0)(dataset)
    mask = variant.masks["actions"]
    assert np.array_equal(variant.actions[mask], np.clip(free.actions[mask], *space.bounds()))
    assert same_bits(variant.actions[~mask], dataset.actions[~mask])
    with pytest.raises(DatasetError, match="no bounded space"):
        RandomCorruption("actions", clip=True)(make())
    with pytest.raises(ConfigError, match="only actions are clipped"):
        RandomCorruption("rewards", clip=True)


@pytest.mark.parametrize("element", ["observations", "actions", "dynamics", "states"])
@pytest.mark.parametrize("distribution", ["gaussian", "student_t", "salt_and_pepper", "replacement"])
def test_every_distribution_gives_the_same_in_pieces_of_any_size(
    monkeypatch: pytest.MonkeyPatch, distribution: str, element: str
) -> None:
    dataset, transform = make(2000), RandomCorruption(element, rate=0.5, scale=0.5, distribution=distribution)
    whole = transform(dataset)
    monkeypatch.setattr("assay.corruption.shared.elements.CHUNK_BYTES", 512)
    pieces = transform(dataset)
    field = "observations" if element == "states" else element
    assert np.allclose(touched_field(pieces, field), touched_field(whole, field), rtol=1e-6)
    assert np.array_equal(pieces.masks[element], whole.masks[element])
