from __future__ import annotations

import gymnasium
import numpy as np

from assay.datasets.collection.environments import EnvironmentPool


def test_the_sparse_pendulum_is_pendulum_with_other_rewards() -> None:
    rng = np.random.default_rng(0)
    reference = gymnasium.make("Pendulum-v1")
    with EnvironmentPool("assay/SparsePendulum-v0", 1, workers=1) as pool:
        for seed in range(3):
            expected, found = reference.reset(seed=seed)[0], pool.reset([0], [seed])[0]
            for step in range(200):
                assert np.array_equal(found, expected)
                action = rng.uniform(-2, 2, 1).astype(np.float32)
                expected, _, _, over, _ = reference.step(action)
                (found,), (reward,), (terminated,), (truncated,) = pool.step([0], action[None])
                assert reward == float(np.arccos(expected[0]) < np.arccos(0.95))
                assert not terminated
                assert truncated == over == (step == 199)
    assert pool.spec_json is not None


def test_it_is_found_by_the_name_that_its_datasets_carry() -> None:
    import assay

    dataset = assay.load("pendulum-sparse/random", steps=400)
    assert dataset.info.environment_id == "assay/SparsePendulum-v0"
    assert set(np.unique(dataset.rewards)) <= {0.0, 1.0}
    assert dataset.rewards.sum() == dataset.returns.sum()
