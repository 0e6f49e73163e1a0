"""The nearest row of a member's own dataset: the same as a k-d tree's, in pieces or whole, at any precision of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.neighbours import nearest_rows
from assay.baselines.engine.tables import DatasetTable
from assay.datasets.errors import ConfigError
from tests.baselines.problems import transitions

CPU = torch.device("cpu")


def table_of(*sizes: int, of_member: list[int], storage: torch.dtype = torch.float64) -> DatasetTable:
    scale = ActionScale.of(-np.ones(2), np.ones(2))
    data = [TrainingData.of(transitions(seed, size), scale, normalize=True) for seed, size in enumerate(sizes)]
    return DatasetTable(data, of_member, storage, CPU)


def queries(members: int, count: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    states, actions = rng.normal(size=(members, count, 3)), rng.uniform(-1, 1, (members, count, 2))
    return torch.from_numpy(states).to(dtype), torch.from_numpy(actions).to(dtype)


def by_tree(table: DatasetTable, first: int, behind: int, states, actions, beta: float) -> np.ndarray:
    scale = np.array([beta, beta, beta, 1.0, 1.0])
    tree = cKDTree(table.rows[first:behind, :5].double().numpy() * scale)
    return first + tree.query(torch.cat([states, actions], -1).double().numpy() * scale)[1]


@pytest.mark.parametrize("together", [None, 128, 1_000])
def test_the_nearest_of_a_hundred_thousand_rows_is_that_of_a_k_d_tree(together):
    table = table_of(100_000, of_member=[0])
    states, actions = queries(1, 100)
    found = nearest_rows(table, states, actions, torch.tensor([[2.0]], dtype=torch.float64), together=together)
    assert np.array_equal(found[0].numpy(), by_tree(table, 0, 100_000, states[0], actions[0], 2.0))


def test_every_member_finds_rows_of_its_own_dataset_by_its_own_weight():
    table = table_of(700, 333, 129, of_member=[2, 0, 1, 0])  # sizes that are no multiples of a block
    states, actions = queries(4, 50)
    states[3], actions[3] = states[1], actions[1]
    betas = torch.tensor([[0.0], [0.5], [1.0], [8.0]], dtype=torch.float64)
    found = nearest_rows(table, states, actions, betas)
    for member, (first, behind) in enumerate([(1_033, 1_162), (0, 700), (700, 1_033), (0, 700)]):
        expected = by_tree(table, first, behind, states[member], actions[member], betas[member].item())
        assert np.array_equal(found[member].numpy(), expected)
    assert not torch.equal(found[1], found[3])  # the same queries and data, another weight
    assert torch.equal(table.column("actions", found), table.rows[found][..., 3:5])


@pytest.mark.parametrize("storage", [torch.float32, torch.float16])
@pytest.mark.parametrize("precision", ["highest", "medium", "bf16"])
def test_low_precision_of_training_does_not_choose_other_rows(precision, storage):
    table = table_of(5_000, of_member=[0], storage=storage)
    states, actions = queries(1, 200, torch.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "bf16" else precision)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found = nearest_rows(table, states, actions, torch.tensor([[2.0]]))
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(found[0].numpy(), by_tree(table, 0, 5_000, states[0], actions[0], 2.0))


def test_of_equally_near_rows_the_first_counts():
    table = table_of(300, of_member=[0])
    table.rows[:, :5] = 1.0
    states, actions = queries(1, 5)
    assert nearest_rows(table, states, actions, torch.ones(1, 1, dtype=torch.float64)).tolist() == [[0] * 5]


def test_data_that_is_not_on_the_device_is_refused():
    with pytest.raises(ConfigError, match="nearest neighbours are looked for on the device"):
        nearest_rows(None, *queries(1, 2), torch.ones(1, 1))
