"""Training data: what a row holds, what its neighbours are, and what n-step returns and sequences make of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assay.baselines import BC, IQL, TD3BC, DecisionTransformer
from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.batches import Batches
from assay.baselines.engine.data import ActionScale, TrainingData, rows_remaining
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.tables import DatasetTable
from assay.datasets.errors import ConfigError
from assay.datasets.transitions import Transitions
from tests.baselines.problems import population, training_data, transitions

SMALL = {"hidden": (16, 16), "batch_size": 32}


def three_episodes() -> Transitions[np.ndarray]:
    """Steps 0-2 (terminated), 3-4 (truncated), 6-8 (no end; step 5 was never usable). Every number is its step's own."""
    steps = np.array([0, 1, 2, 3, 4, 6, 7, 8])
    numbers = steps.astype(float)
    return Transitions(
        observations=numbers[:, None],
        actions=numbers[:, None] / 10,
        rewards=10.0**-numbers,
        next_observations=numbers[:, None] + 0.5,
        terminations=steps == 2,
        truncations=steps == 4,
        steps=steps,
    )


def laid_out(*extra: str) -> TrainingData:
    return TrainingData.of(three_episodes(), ActionScale.of(-np.ones(1), np.ones(1)), normalize=False, extra=extra)


class _Sampler:
    """Batches of every row of `three_episodes` in turn."""

    def __init__(self, algorithm: Algorithm, data: TrainingData, discount: float = 1.0) -> None:
        self.update = torch.zeros(1, dtype=torch.int64)
        table = DatasetTable([data], [0], torch.float64, torch.device("cpu"))
        hyperparameters = SimpleNamespace(discount=torch.tensor([[discount]], dtype=torch.float64))
        draws = Draws([0], self.update, torch.float64)
        self.batches = Batches(algorithm.streams(), table, {}, draws, hyperparameters)

    def by_row(self) -> dict[int, dict[str, np.ndarray]]:
        found = {}
        for update in range(40):
            self.update.fill_(update)
            rows = self.batches.draw_indices()[0].tolist()
            batch = self.batches.batches()["batch"]
            columns = {**batch.columns} | ({} if batch.valid is None else {"valid": batch.valid})
            for place, row in enumerate(rows):
                found[row] = {name: value[0, place].numpy() for name, value in columns.items()}
        assert sorted(found) == list(range(8))
        return found


def test_rows_remaining_end_with_the_episode_and_at_gaps():
    assert rows_remaining(three_episodes()).tolist() == [3, 2, 1, 2, 1, 3, 2, 1]


def test_episodes_that_end_without_a_flag_are_not_joined():
    from assay.datasets.dataset import Dataset

    dataset = Dataset.from_arrays(
        observations=np.arange(7.0)[:, None],
        actions=np.zeros((5, 1)),
        rewards=np.ones(5),
        terminations=np.zeros(5, bool),
        truncations=np.zeros(5, bool),
        episode_lengths=[3, 2],
    )
    assert rows_remaining(dataset.transitions()).tolist() == [3, 2, 1, 2, 1]


def test_next_actions_stay_inside_the_episode():
    data = laid_out("next_actions")
    columns = [name for name, _ in data.columns]
    following = data.rows[:, columns.index("next_actions")]
    exists = data.rows[:, columns.index("has_next_actions")]
    assert np.allclose(following, [0.1, 0.2, 0, 0.4, 0, 0.7, 0.8, 0])
    assert exists.tolist() == [1, 1, 0, 1, 0, 1, 1, 0]


def test_returns_to_go_and_timesteps_count_within_the_episode():
    data = laid_out("returns_to_go", "timesteps")
    columns = [name for name, _ in data.columns]
    r = 10.0 ** -np.array([0, 1, 2, 3, 4, 6, 7, 8])
    expected = [r[0] + r[1] + r[2], r[1] + r[2], r[2], r[3] + r[4], r[4], r[5] + r[6] + r[7], r[6] + r[7], r[7]]
    assert np.allclose(data.rows[:, columns.index("returns_to_go")], expected, rtol=1e-9, atol=1e-15)
    assert data.rows[:, columns.index("timesteps")].tolist() == [0, 1, 2, 0, 1, 0, 1, 2]


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_n_step_returns_are_the_sums_of_their_definition(steps):
    data, source, discount = laid_out(), three_episodes(), 0.9
    ends = [2, 2, 2, 4, 4, 7, 7, 7]  # last row of each row's episode
    for row, found in _Sampler(IQL(return_steps=steps, batch_size=8), data, discount).by_row().items():
        last = min(row + steps - 1, ends[row])
        expected = sum(discount ** (k - row) * source.rewards[k] for k in range(row, last + 1))
        assert np.isclose(found["rewards"], expected, rtol=1e-12)
        assert found["observations"] == source.observations[row]
        assert found["actions"] == source.actions[row]
        assert found["next_observations"] == source.next_observations[last]
        # The loss multiplies by the discount once more: gamma^m in all.
        bootstrap = 0.0 if source.terminations[last] else discount ** (last - row)
        assert np.isclose(found["bootstraps"], bootstrap, rtol=1e-12)


def test_sequences_are_the_rows_that_follow_padded_behind_the_episodes_end():
    data, source = laid_out("returns_to_go", "timesteps"), three_episodes()
    ends = [2, 2, 2, 4, 4, 7, 7, 7]
    for row, found in _Sampler(DecisionTransformer(sequence_length=4, batch_size=8), data).by_row().items():
        count = min(4, ends[row] - row + 1)
        assert found["valid"].tolist() == [True] * count + [False] * (4 - count)
        assert np.allclose(found["observations"][:count], source.observations[row : row + count])
        assert np.allclose(found["rewards"][:count], source.rewards[row : row + count])
        assert not found["observations"][count:].any()
        assert not found["actions"][count:].any()
        start = [0, 0, 0, 3, 3, 5, 5, 5][row]
        assert found["timesteps"][:count].tolist() == [row - start + k for k in range(count)]


# -------------------------------------------------------------------- where the rows are


@pytest.mark.parametrize("algorithm", [BC(**SMALL), TD3BC(**SMALL)], ids=lambda item: item.name)
@pytest.mark.parametrize("weighted", [False, True])
def test_streaming_from_the_host_equals_data_on_the_device_bit_for_bit(algorithm, weighted):
    weights = np.random.default_rng(0).random(500) if weighted else None
    data = [training_data(0, weights=weights), training_data(1, steps=77)]
    there, here = (population(algorithm, [0, 1, 2], data=data, streaming=flag) for flag in (True, False))
    for updates in (1, 30, 9):
        there.advance(updates)
        here.advance(updates)
    assert all(torch.equal(value, here.state().tensors[name]) for name, value in there.state().tensors.items())


@pytest.mark.parametrize(("storage", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_half_storage_halves_the_data_and_rounds_the_batch(storage, tolerance):
    half, full = (population(BC(**SMALL), [0], storage=kind) for kind in (storage, torch.float32))
    assert half.table.rows.nbytes * 2 == full.table.rows.nbytes
    rounded, exact = (made.batches.batches()["batch"].observations for made in (half, full))
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, rtol=tolerance, atol=tolerance)


def test_data_too_large_for_half_storage_is_refused():
    broken = transitions()
    broken.rewards[7] = 1e5
    data = [TrainingData.of(broken, ActionScale.of(-np.ones(2), np.ones(2)), normalize=True)]
    with pytest.raises(ConfigError, match="does not fit into float16"):
        population(BC(**SMALL), [0], data=data, storage=torch.float16)
