"""The baselines of proxy actions: nearest neighbour, one step, latent actions."""

from __future__ import annotations

import numpy as np
import pytest

from assay.relabeling import HideActions, LatentActionLabels, NearestNeighbourLabels, OneStepLabels, label_error
from assay.relabeling.shared.windows import Windows
from tests.relabeling.systems import dataset_of, linear, moves

ONE_STEP = OneStepLabels(steps=200, hidden=(32, 32), learning_rate=1e-2, batch_size=64)
LATENT = LatentActionLabels(steps=300, hidden=(32, 32), learning_rate=1e-2, batch_size=64)
METHODS = [ONE_STEP, LATENT, NearestNeighbourLabels()]


def hidden_of(dataset):
    return HideActions(fraction=0.5, quantiles=(0.0, 1.0))(dataset)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("system", [linear, moves])
def test_every_method_fills_all_gaps_with_an_uncertainty_and_leaves_labels_alone(method, system):
    hidden = hidden_of(system(0, episodes=12, length=30))
    result = method(hidden, progress=None)
    mask = hidden.missing["actions"]
    assert not result.missing["actions"].any()
    assert np.array_equal(result.actions[~mask], hidden.actions[~mask])
    uncertainty = result.column("uncertainty/actions").reshape(len(mask), -1)
    assert (uncertainty[mask] > 0).all()
    assert not uncertainty[~mask].any()
    assert result.fingerprint == method(hidden, progress=None).fingerprint


def test_the_nearest_neighbour_is_the_one_that_numpy_finds():
    hidden = hidden_of(linear(0, episodes=8, length=20))
    result = NearestNeighbourLabels()(hidden, progress=None)
    inputs, mask = Windows(hidden).inputs(np.arange(160), 0), hidden.missing["actions"]
    distances = np.square(inputs[mask][:, None] - inputs[~mask][None]).sum(2)
    assert np.allclose(result.actions[mask], hidden.actions[~mask][distances.argmin(1)], atol=1e-6)


def test_more_neighbours_give_their_mean():
    hidden = hidden_of(linear(0, episodes=8, length=20))
    result = NearestNeighbourLabels(neighbours=3)(hidden, progress=None)
    inputs, mask = Windows(hidden).inputs(np.arange(160), 0), hidden.missing["actions"]
    nearest = np.square(inputs[mask][:, None] - inputs[~mask][None]).sum(2).argsort(1)[:, :3]
    assert np.allclose(result.actions[mask], hidden.actions[~mask][nearest].mean(1), atol=1e-5)


def test_a_discrete_neighbourhood_votes():
    hidden = hidden_of(moves(0))
    result = NearestNeighbourLabels()(hidden, progress=None)
    mask = hidden.missing["actions"]
    assert (result.actions == hidden.column("truth/actions"))[mask].mean() > 0.98


def test_one_step_has_the_same_spread_everywhere_and_little_error_on_a_linear_system():
    hidden = hidden_of(linear(0, episodes=20, length=30))
    result = ONE_STEP(hidden, progress=None)
    spread = result.column("uncertainty/actions")[hidden.missing["actions"]]
    assert np.allclose(spread, spread[0])
    assert label_error(result, quantiles=1).row(0, named=True)["explained"] > 0.98


def shifted(seed, elsewhere=False):
    """A point that moves by the action, or by something else that has nothing to do with it."""
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-0.9, 0.9, (20, 40, 1)).astype(np.float32)
    unseen = generator.uniform(-0.9, 0.9, actions.shape)
    moved = unseen if elsewhere else actions
    first = generator.standard_normal((20, 1, 1))
    return dataset_of(np.concatenate([first, first + moved.cumsum(1)], axis=1), actions)


@pytest.mark.parametrize("controlled", [True, False])
def test_a_latent_action_carries_the_control_where_the_state_follows_it_and_only_there(controlled):
    hidden = hidden_of(shifted(0, elsewhere=not controlled))
    report = LATENT.fit(hidden, progress=None).report
    assert report["change_explained"] > 0.9  # the latent action explains what happens in both
    assert report["explained"][0] > 0.9 if controlled else report["explained"][0] < 0.1
