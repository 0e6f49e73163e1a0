"""Inverse dynamics: exact where it can be, honest where it cannot, and the best of what it tried."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import assay
from assay.baselines.engine.held_out import Rows, member_seeds, train_best
from assay.baselines.engine.randomness import Draws
from assay.datasets.errors import AssayError, ConfigError, DatasetError
from assay.relabeling import HideActions, InverseDynamicsLabels, RestoreTruth, UncertainLabels, label_error
from assay.relabeling.shared.inverse_model import Inverse, gaussian_scores, score, squashed_moments
from assay.relabeling.shared.windows import Windows
from tests.relabeling.systems import dataset_of, linear, moves, summed

SMALL = {"hidden": (32, 32), "learning_rate": 1e-2, "batch_size": 128, "dropout": 0.0, "ensemble": 2, "past_states": 0}
EXACT = {"hidden": (256,), "learning_rate": 3e-3, "batch_size": 256, "dropout": 0.0, "ensemble": 1, "past_states": 0}
WITHIN = 0.03  # of the nominal coverage


@pytest.fixture
def blind(monkeypatch):
    """Windows that do not show the next state."""
    inputs = Windows.inputs

    def without_next(self, steps, past, width=None):
        found = inputs(self, steps, past, width)
        found[:, self.size : 2 * self.size] = 0.0
        return found

    monkeypatch.setattr(Windows, "inputs", without_next)


# -------------------------------------------------------------------- what is asked of the method


def error_on_a_linear_system(steps):
    model = InverseDynamicsLabels(**EXACT, steps=steps).fit(linear(0, episodes=100), progress=None)
    fresh = linear(1)
    return np.sqrt(np.square(model.predict(fresh)[0] - fresh.actions).mean())


def coverage_on_summed_actions():
    """The coverage of the 90 % intervals on fresh steps, by how much the next state says of the actions."""
    model = InverseDynamicsLabels(**{**SMALL, "ensemble": 1}, steps=400, validation=0.3).fit(summed(0), progress=None)
    fresh = summed(1)
    actions, width = model.predict(fresh)
    inside = np.abs(actions - fresh.actions) <= width
    seen = np.abs(fresh.actions.sum(1))  # near 1.8 the next state fixes both actions, near 0 neither
    third = np.digitize(seen, np.quantile(seen, [1 / 3, 2 / 3]))
    return [inside[third == number].mean() for number in range(3)], [
        width[third == number].mean() for number in range(3)
    ]


@pytest.mark.slow
def test_actions_of_a_linear_system_are_recovered_to_a_thousandth():
    assert error_on_a_linear_system(2000) < 1e-3


def test_without_the_next_state_they_are_not(blind):
    assert error_on_a_linear_system(200) > 0.3


def test_where_actions_share_a_next_state_the_uncertainty_covers_them_as_often_as_it_says():
    coverage, widths = coverage_on_summed_actions()
    assert np.abs(np.array(coverage) - 0.9).max() < WITHIN
    assert widths[0] > 1.5 * widths[2]


def test_without_the_next_state_it_does_not(blind):
    coverage, widths = coverage_on_summed_actions()
    assert np.abs(np.array(coverage) - 0.9).max() > WITHIN
    assert widths[0] < 1.1 * widths[2]


# -------------------------------------------------------------------- filling in


@pytest.fixture(scope="module")
def filled():
    hidden = HideActions(fraction=0.5, quantiles=(0.0, 1.0))(linear(0, episodes=30, length=30))
    return hidden, InverseDynamicsLabels(**SMALL, steps=300)(hidden, progress=None)


def test_labels_come_where_they_were_missing_and_nowhere_else(filled):
    hidden, result = filled
    mask = hidden.missing["actions"]
    assert not result.missing["actions"].any()
    assert "missing/actions" not in result.columns
    assert np.array_equal(result.actions[~mask], hidden.actions[~mask])
    assert np.isfinite(result.actions).all()
    assert result.actions.dtype == hidden.actions.dtype
    uncertainty = result.column("uncertainty/actions")
    assert uncertainty.shape == result.actions.shape
    assert (uncertainty[mask] > 0).all()
    assert not uncertainty[~mask].any()


def test_the_truth_stays_and_the_error_against_it_is_what_numpy_says(filled):
    hidden, result = filled
    mask = hidden.missing["actions"]
    errors = np.abs(result.actions - hidden.column("truth/actions"))[mask]
    table = label_error(result, quantiles=2)
    assert table["returns"].unique(maintain_order=True).to_list() == ["all", "0-50%", "50-100%"]
    first = table.row(0, named=True)
    assert first["steps"] == mask.sum()
    assert first["mean_absolute"] == pytest.approx(errors.mean())
    assert first["root_mean_square"] == pytest.approx(np.sqrt(np.square(errors).mean()))
    assert first["covered"] == pytest.approx((errors <= result.column("uncertainty/actions")[mask]).mean())
    of_entry = table.filter((table["returns"] == "all") & (table["entry"] == 1)).row(0, named=True)
    assert of_entry["mean_absolute"] == pytest.approx(errors[:, 1].mean())
    halves = table.filter(table["entry"].is_null())["steps"].to_list()
    assert halves[1] + halves[2] == halves[0]
    assert RestoreTruth()(result).fingerprint == linear(0, episodes=30, length=30).fingerprint


def test_the_report_says_what_it_was_measured_on(filled):
    report = filled[1].info.extra["proxy_actions"]
    assert report["labelled_steps"] == 450
    assert report["held_out_steps"] == 60  # a tenth of 15 episodes of 30 steps
    assert [row["nominal"] for row in report["calibration"]] == [0.5, 0.68, 0.8, 0.9, 0.95]
    assert min(report["explained"]) > 0.99


def test_a_seed_repeats_and_another_differs():
    hidden = HideActions(fraction=0.5)(linear(0, episodes=8, length=20))
    first, again, other = (
        InverseDynamicsLabels(**SMALL, steps=20, seed=seed)(hidden, progress=None) for seed in (0, 0, 1)
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_dataset_without_gaps_is_returned_as_it_is():
    dataset = linear(0, episodes=4)
    assert InverseDynamicsLabels()(dataset).fingerprint == dataset.fingerprint


def test_a_last_step_without_a_next_state_goes_on_missing():
    dataset = linear(0, episodes=8, length=20)
    dataset = dataset.replace(episode_columns={"final_observation": np.zeros(8, bool)})
    result = InverseDynamicsLabels(**SMALL, steps=20)(HideActions(fraction=0.5)(dataset), progress=None)
    assert (np.flatnonzero(result.missing["actions"]) % 20 == 19).all()
    assert result.missing["actions"].sum() == 4
    assert np.isnan(result.column("uncertainty/actions")[result.missing["actions"]]).all()


def test_labels_that_were_filled_in_earlier_are_not_learned_from_as_if_they_were_true(filled):
    _, result = filled
    more = np.arange(result.total_steps) % 900 < 30  # one labelled or filled-in episode loses its labels
    again = InverseDynamicsLabels(**SMALL, steps=2)(
        result.replace({"actions": np.where(more[:, None], np.nan, result.actions), "missing/actions": more}),
        progress=None,
    )
    true = (result.column("uncertainty/actions") == 0).all(1) & ~more
    assert again.info.extra["proxy_actions"]["labelled_steps"] == true.sum()
    kept = ~more & (result.column("uncertainty/actions") > 0).all(1)
    assert np.array_equal(again.column("uncertainty/actions")[kept], result.column("uncertainty/actions")[kept])


def test_uncertain_labels_are_dropped_or_drawn_less_often(filled):
    hidden, kept = filled
    dropped = InverseDynamicsLabels(**SMALL, steps=300, uncertain="drop", share=0.2)(hidden, progress=None)
    assert dropped.fingerprint == UncertainLabels(method="drop", share=0.2)(kept).fingerprint
    mask = hidden.missing["actions"]
    assert kept.total_steps - dropped.total_steps == round(0.2 * mask.sum())
    spread = kept.column("uncertainty/actions")
    relative = (spread / np.median(spread[mask], axis=0)).mean(1)
    left = dropped.column("uncertainty/actions")
    assert np.sort(left.sum(1))[-1] <= spread.sum(1).max()
    threshold = np.sort(relative)[-round(0.2 * mask.sum())]
    assert (left / np.median(spread[mask], axis=0)).mean(1).max() <= threshold
    weights = UncertainLabels(method="weight")(kept).weights
    assert np.allclose(weights, 1.0 / (1.0 + relative**2))
    assert (weights[~mask] == 1.0).all()


def test_discrete_actions_are_the_most_probable_ones_with_the_probability_of_being_wrong():
    hidden = HideActions(fraction=0.5)(moves(0))
    result = InverseDynamicsLabels(**SMALL, steps=150)(hidden, progress=None)
    mask = hidden.missing["actions"]
    assert result.actions.dtype == np.int64
    assert (result.actions == hidden.column("truth/actions"))[mask].mean() > 0.98
    assert result.column("uncertainty/actions").shape == (480,)
    assert 0 < result.column("uncertainty/actions")[mask].mean() < 0.1
    assert label_error(result, quantiles=1).row(0, named=True)["covered"] > 0.9


# -------------------------------------------------------------------- training


def test_the_best_weights_are_kept_and_not_the_last():
    """Labels of noise: on the held-out rows a model is best before it has learned the others by heart."""
    generator = np.random.default_rng(0)
    rows = [
        Rows(generator.standard_normal((n, 4), np.float32), generator.uniform(-0.9, 0.9, (n, 1)).astype(np.float32))
        for n in (60, 200)
    ]
    algorithm = Inverse(learning_rate=1e-2, dropout=0.0, batch_size=60, hidden=(128,))
    trained = train_best(algorithm, rows[:1], rows[1:], [0, 0], [1, 2], score, steps=400)
    inputs, targets = (torch.from_numpy(item)[None].expand(2, -1, -1) for item in (rows[1].inputs, rows[1].targets))
    assert np.allclose(score(trained.networks, inputs, targets).mean(1).numpy(), trained.losses, rtol=1e-5)
    assert (trained.losses < trained.last_losses - 0.1).all()
    assert (trained.updates < 400).all()


def test_members_splits_and_past_states_train_together_as_they_would_alone():
    dataset = linear(0, episodes=12, length=20)
    settings = {**SMALL, "steps": 30, "splits": 2}
    together = InverseDynamicsLabels(**{**settings, "past_states": (0, 2)}).fit(dataset, progress=None)
    alone = InverseDynamicsLabels(**{**settings, "past_states": 2}).fit(dataset, progress=None)
    assert together.report["held_out_losses"]["2"] == pytest.approx(alone.report["held_out_losses"]["2"], abs=1e-4)
    assert len(together.report["best_updates"]) == 4
    fewer = InverseDynamicsLabels(**{**settings, "past_states": 2, "ensemble": 1}).fit(dataset, progress=None)
    assert fewer.report["best_updates"] == alone.report["best_updates"][::2]


def test_of_several_past_states_the_best_labels():
    """The state hides its velocity, and the action is the acceleration: one past state is needed."""
    generator = np.random.default_rng(0)
    actions = generator.uniform(-0.9, 0.9, (40, 30, 1)).astype(np.float32)
    places = np.concatenate([np.zeros((40, 1)), np.cumsum(np.cumsum(actions[..., 0], axis=1), axis=1)], axis=1)
    model = InverseDynamicsLabels(**{**SMALL, "past_states": (0, 1)}, steps=200).fit(
        dataset_of(places[..., None], actions), progress=None
    )
    assert model.report["past_states"] == 1


def test_splits_hold_every_share_out_once():
    dataset = linear(0, episodes=20, length=10)
    report = InverseDynamicsLabels(**SMALL, steps=2, splits=5, validation=0.2).fit(dataset, progress=None).report
    assert report["held_out_steps"] == dataset.total_steps
    with pytest.raises(ConfigError, match="more than there is"):
        InverseDynamicsLabels(**SMALL, steps=2, splits=5, validation=0.3).fit(dataset, progress=None)


def test_dropout_is_the_members_own_and_keeps_the_mean():
    draws = Draws([1, 2], torch.zeros(1, dtype=torch.int64))
    kept = draws.events("dropout", torch.tensor([[0.9], [0.5]]), 20_000)
    assert np.allclose((kept / torch.tensor([[0.9], [0.5]])).mean(1).numpy(), 1.0, atol=0.03)
    dataset = linear(0, episodes=8, length=20)
    losses = [
        InverseDynamicsLabels(**{**SMALL, "dropout": dropout}, steps=20)
        .fit(dataset, progress=None)
        .report["loss_of_last"]
        for dropout in (0.0, 0.5)
    ]
    assert losses[0] != losses[1]


def test_moments_of_the_squashed_gaussian_are_those_of_samples():
    mean, std = torch.tensor([-2.0, 0.0, 0.3, 1.0]), torch.tensor([1.0, 0.01, 0.5, 1.0])
    samples = torch.tanh(mean + std * torch.randn(400_000, 4, generator=torch.Generator().manual_seed(0)))
    middle, variance = squashed_moments(mean, std)
    assert torch.allclose(middle, samples.mean(0), atol=5e-3)
    assert torch.allclose(variance.sqrt(), samples.std(0), rtol=2e-2)


def test_actions_at_the_bounds_have_a_finite_loss():
    found = gaussian_scores(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), torch.tensor([[[1.0], [-1.0]]]))
    assert torch.isfinite(found).all()
    assert member_seeds(3, "a", 2) != member_seeds(3, "b", 2)


# -------------------------------------------------------------------- what cannot be


def test_too_few_labels_are_refused():
    dataset = linear(0, episodes=2, length=3)
    mask = np.arange(6) > 0
    with pytest.raises(DatasetError, match="1 of 6 steps"):
        InverseDynamicsLabels()(dataset.replace({"missing/actions": mask}))


@pytest.mark.parametrize("past", [(), (1, 1), -1])
def test_impossible_past_states_are_refused(past):
    with pytest.raises(AssayError, match="past_states"):
        InverseDynamicsLabels(past_states=past)(HideActions(fraction=0.5)(linear(0, episodes=4, length=5)))


def test_it_is_saved_with_its_uncertainty_its_truth_and_its_report(tmp_path, filled):
    _, result = filled
    assay.save(result, tmp_path / "filled")
    again = assay.load(tmp_path / "filled")
    assert again.fingerprint == result.fingerprint
    assert again.info.extra["proxy_actions"]["method"] == "relabeling.inverse_dynamics"
    assert again.history[1].parameters["hidden"] == [32, 32]
