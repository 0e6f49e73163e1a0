"""Verdicts of trials: the error rates and the power are what is stated, and what would break them is seen to break them."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assay.analysis.trials.checks import bootstrap_t_interval, crossed_effects, t_interval
from assay.analysis.trials.comparison import Pair, Rules, compare, judge, pooled
from assay.analysis.trials.multiplicity import holm, max_t
from assay.analysis.trials.power import predicted_power, resampled_power, seeds_needed, smallest_difference
from assay.analysis.trials.sequential import levels_of_looks, spent_by
from assay.analysis.trials.sign_flip import sign_flip_interval, sign_flip_test, smallest_p_value
from assay.datasets.errors import ConfigError

ALPHA = 0.05


# ---------------------------------------------------------------- scores of sides that are equal by construction


def heavy_tails(generator, shape):
    return 50 + 10 * generator.standard_t(3, shape)


def collapses(generator, shape):
    """One run in ten scores near 0."""
    return np.where(generator.random(shape) < 0.1, generator.normal(1, 1, shape), generator.normal(80, 5, shape))


def success_rates(generator, shape):
    """Ten episodes each, so that there are 11 values and many ties."""
    return 10.0 * generator.binomial(10, 0.8, shape)


NOISES = {"heavy tails": heavy_tails, "collapses": collapses, "success rates": success_rates}


def pairs(noise, generator, seeds, trials):
    """Return (seeds, trials) scores before and after, equal by construction, with an effect of the seed on both."""
    seed_effect = generator.normal(0, 15, (seeds, trials))
    return (NOISES[noise](generator, (seeds, trials)) + seed_effect for _ in range(2))


def within(share, rate, trials):
    """Whether a share of wrong verdicts is no larger than the rate allows: its binomial interval of 99.9 %."""
    return share <= stats.binom.ppf(0.999, trials, rate) / trials


# ---------------------------------------------------------------- the test and its interval


@given(st.lists(st.floats(-100, 100).filter(lambda value: abs(value) > 1e-6), min_size=1, max_size=8))
def test_the_p_value_is_the_share_of_all_sign_vectors(values):
    differences = np.array(values)
    means = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(values))]
    far = [mean >= abs(differences.sum()) - 1e-9 * np.abs(differences).sum() for mean in means]
    assert sign_flip_test(differences) == pytest.approx(np.mean(far))


def test_the_p_value_is_that_of_scipy():
    differences = np.random.default_rng(0).normal(0.5, 1, 9)
    found = stats.permutation_test(
        (differences, np.zeros(9)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=1e6,
    )
    assert sign_flip_test(differences) == pytest.approx(found.pvalue)


def test_many_seeds_draw_sign_vectors_and_agree_with_the_normal_limit():
    differences = np.random.default_rng(1).normal(0.2, 1, (100, 5))
    expected = 2 * stats.norm.sf(np.abs(differences.sum(0)) / np.sqrt((differences**2).sum(0)))
    assert sign_flip_test(differences) == pytest.approx(expected, abs=0.01)
    assert np.array_equal(sign_flip_test(differences), sign_flip_test(differences))


def test_the_interval_is_that_of_the_means_of_all_subsets():
    """Hartigan 1969: of the 2^S - 1 means of subsets, as many lie beyond either end as the level says."""
    differences = np.random.default_rng(2).standard_t(3, 9)
    means = sorted(differences[list(chosen)].mean() for size in range(1, 10) for chosen in combinations(range(9), size))
    beyond = math.floor(ALPHA / 2 * 2**9)  # with the observed vector itself, that many are rejected
    low, high = sign_flip_interval(differences, ALPHA)
    assert low == pytest.approx(means[beyond - 1], abs=1e-5)
    assert high == pytest.approx(means[-beyond], abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([6, 9, 17]), st.sampled_from(["mean", "trimmed_mean"]))
def test_the_interval_excludes_what_the_test_rejects(seed, count, statistic):
    if statistic == "trimmed_mean" and count > 9:
        count = 9  # sorting 100,000 vectors many times takes seconds
    differences = np.random.default_rng(seed).normal(0.6, 1, count)
    low, high = sign_flip_interval(differences, ALPHA, statistic)
    assert (low > 0 or high < 0) == (sign_flip_test(differences, statistic) <= ALPHA)
    shifted = sign_flip_interval(differences + 7, ALPHA, statistic)
    assert shifted == pytest.approx((low + 7, high + 7), abs=1e-4)


def test_no_verdict_is_given_that_the_test_does_not_give_where_many_differences_are_0():
    """Five seeds that differ have a p value of 1/16, however many others do not: 0 is an end of the interval, and not beyond it."""
    values = np.array([31.0, 12, 7, 20, 4] + [0] * 7)
    assert sign_flip_test(values) == 0.0625
    assert sign_flip_interval(values)[0] <= 0 <= sign_flip_interval(-values)[1]
    assert compare(np.zeros(12), values).verdict == "undecided" == compare(values, np.zeros(12)).verdict


def test_differences_that_are_equal_up_to_rounding_have_an_interval_of_no_width():
    values = 40.0 + np.array([0, 1, -1, 0, 1, 0, -1, 1]) * 1e-14
    low, high = sign_flip_interval(values)
    assert low == pytest.approx(40.0) == high


@pytest.mark.parametrize(("noise", "center"), [("heavy tails", 3.0), ("success rates", 0.0), ("collapses", -2.0)])
def test_the_interval_covers_the_center_as_often_as_stated(noise, center):
    generator, trials = np.random.default_rng(3), 400
    before, after = pairs(noise, generator, 8, trials)
    found = [sign_flip_interval(column + center, ALPHA) for column in (after - before).T]
    missed = np.mean([not low - 1e-6 <= center <= high + 1e-6 for low, high in found])
    assert within(missed, ALPHA, trials)


def test_few_seeds_call_nothing_however_far_the_scores_are_apart():
    for seeds in range(1, 6):
        found = compare(np.zeros(seeds), np.full(seeds, 1e6) + np.arange(seeds), Rules(margin=1e9))
        assert found.verdict == "undecided"
        assert found.smallest_difference == math.inf
        assert found.seeds_for_half is None
        assert "6 seeds are needed" in found.notes[0]
    assert compare(np.zeros(6), np.arange(1.0, 7.0)).verdict == "better"
    assert smallest_p_value(5) > ALPHA >= smallest_p_value(6)


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), "abc", np.array(1.0)])
def test_what_is_no_difference_is_refused(bad):
    with pytest.raises(ConfigError):
        sign_flip_test(bad)


def test_sides_of_other_shapes_and_impossible_rules_are_refused():
    with pytest.raises(ConfigError, match="the same seeds"):
        compare(np.zeros(6), np.zeros(7))
    for wrong in (
        {"alpha": 0},
        {"power": 1},
        {"margin": -1.0},
        {"futility": 0},
        {"statistic": "median"},
        {"starts": "some"},
    ):
        with pytest.raises(ConfigError):
            Rules(**wrong)
    with pytest.raises(ConfigError, match="holm"):
        Rules(multiplicity="max_t", starts="random")


# ---------------------------------------------------------------- the error rate


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("seeds", [6, 8, 16])
def test_equal_sides_are_called_different_as_often_as_stated_at_most(noise, seeds):
    trials = 4000
    before, after = pairs(noise, np.random.default_rng(seeds), seeds, trials)
    assert within((sign_flip_test(after - before) <= ALPHA).mean(), ALPHA, trials)


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("seeds", [6, 8, 16, 64])
def test_equal_sides_are_called_different_as_often_as_stated_in_many_trials(noise, seeds):
    trials = 10_000
    before, after = pairs(noise, np.random.default_rng(100 + seeds), seeds, trials)
    share = (sign_flip_test(after - before) <= ALPHA).mean()
    assert within(share, ALPHA, trials)
    if noise == "heavy tails" and seeds >= 16:
        assert share > 0.04  # it is not conservative where ties and small samples do not make it so


def wrong_in_sequence(differences, looks, levels):
    """Whether a trial on (seeds, trials) differences is ever called, looking after so many seeds."""
    called = np.zeros(differences.shape[1], bool)
    for seeds, level in zip(looks, levels):
        if level > 0:
            called |= sign_flip_test(differences[:seeds]) <= level
    return called


@pytest.mark.parametrize("noise", NOISES)
def test_growing_trials_hold_the_rate_and_stopping_at_the_first_significant_look_does_not(noise):
    trials, looks = 4000, [6, 8, 10, 12, 16]
    before, after = pairs(noise, np.random.default_rng(5), 16, trials)
    held = wrong_in_sequence(after - before, looks, levels_of_looks(looks, ALPHA)).mean()
    stub = wrong_in_sequence(after - before, looks, [ALPHA] * len(looks)).mean()
    assert within(held, ALPHA, trials)
    assert not within(stub, ALPHA, trials)


def test_judging_look_by_look_is_what_is_simulated():
    before, after = pairs("heavy tails", np.random.default_rng(6), 16, 60)
    after += 12  # so that many are called, at different looks
    looks = [8, 12, 16]
    levels = levels_of_looks(looks, ALPHA)
    expected = wrong_in_sequence(after - before, looks, levels)
    found = [
        any(
            compare_at(before[:seeds, trial], after[:seeds, trial], level) in ("better", "worse")
            for seeds, level in zip(looks, levels)
        )
        for trial in range(60)
    ]
    assert 0.1 < np.mean(found) < 0.9
    assert found == expected.tolist()


def compare_at(before, after, level):
    return judge({"": Pair(before, after)}, Rules(), level)[""].verdict


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8, unique=True), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_levels_of_looks_sum_to_alpha_at_most_and_never_precede_what_is_allowed(looks, alpha):
    looks = sorted(looks)
    levels = levels_of_looks(looks, alpha)
    assert all(level == 0 or level >= smallest_p_value(seeds) for seeds, level in zip(looks[:-1], levels))
    assert sum(levels) == pytest.approx(alpha)
    for number in range(1, len(looks) + 1):
        assert sum(levels[:number]) <= spent_by(looks[number - 1] / looks[-1], alpha) + 1e-12


def inside(differences, margin, level):
    """Whether the interval at level 1 - 2 level lies inside (-margin, margin): shifts by both ends are rejected, from inside."""
    if smallest_p_value(len(differences)) > 2 * level or level == 0:
        return np.zeros(differences.shape[1], bool)
    within_ends = np.abs(differences.mean(0)) < margin
    return within_ends & np.all([sign_flip_test(differences - end) <= 2 * level for end in (-margin, margin)], axis=0)


def ever_inside(differences, margin, looks, levels):
    """Whether a trial on (seeds, trials) differences ever has its interval inside the margin, looking after so many seeds."""
    return np.any([inside(differences[:seeds], margin, level) for seeds, level in zip(looks, levels)], axis=0)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("rate", [ALPHA, 0.2])  # of a wrong equivalence, and of giving up what is worth finding
def test_stopping_on_the_other_side_holds_its_rate_at_the_edge_and_without_spending_it_does_not(noise, rate):
    trials, looks, edge = 2000, [6, 8, 10, 12, 16], 60.0
    before, after = pairs(noise, np.random.default_rng(20), 16, trials)
    differences = after - before + edge
    held = ever_inside(differences, edge, looks, levels_of_looks(looks, rate)).mean()
    stub = ever_inside(differences, edge, looks, [rate] * len(looks)).mean()
    assert within(held, rate, trials)
    if noise == "heavy tails":
        assert held > rate / 4  # it is spent
        assert not within(stub, rate, trials)


def test_giving_up_look_by_look_is_what_is_simulated():
    trials, looks, edge = 60, [8, 12], 12.0
    rules = Rules(futility=edge)
    before, after = pairs("heavy tails", np.random.default_rng(21), 16, trials)
    betas = levels_of_looks([*looks, 16], 1 - rules.power)
    for seeds, beta in zip(looks, betas):
        expected = inside((after - before)[:seeds], edge, beta)
        found = [
            judge({"": Pair(before[:seeds, trial], after[:seeds, trial])}, rules, 0.0, beta)[""]
            for trial in range(trials)
        ]
        assert [item.futile for item in found] == expected.tolist()
        assert 0 < expected.sum() < trials
        assert {item.verdict for item in found} == {"undecided"}
        assert all(any("given up" in note for note in item.notes) == item.futile for item in found)
    called = judge({"": Pair(np.zeros(8), np.arange(1.0, 9.0))}, rules, ALPHA, 0.2)[""]
    assert (called.verdict, called.futile) == ("better", False)  # what has a verdict is not given up
    assert not compare(before[:, 0], before[:, 0] + np.arange(16) % 2 - 0.5, rules).futile  # nor without a look


def test_looks_that_do_not_grow_are_refused():
    for wrong in ([], [8, 8], [8, 6], [0, 6]):
        with pytest.raises(ConfigError, match="grow"):
            levels_of_looks(wrong)


def test_seeds_of_several_tasks_are_no_replicates_of_the_tasks():
    """An effect that differs from task to task and is 0 on average: the tasks are the units."""
    generator, tasks, seeds, trials = np.random.default_rng(7), 8, 8, 2000
    of_task = generator.normal(0, 5, (tasks, 1, trials))
    differences = of_task + generator.normal(0, 5, (tasks, seeds, trials))
    tasks_as_units = (sign_flip_test(differences.mean(1)) <= ALPHA).mean()
    stub = (sign_flip_test(differences.reshape(tasks * seeds, trials)[:, :500]) <= ALPHA).mean()
    assert within(tasks_as_units, ALPHA, trials)
    assert not within(stub, ALPHA, 500)


def test_dropping_what_diverged_makes_a_difference_out_of_none():
    """Low scores diverge and earn little; on one side they are found and dropped, with their partners kept out of it."""
    generator, trials = np.random.default_rng(8), 1500
    before, after = (collapses(generator, (16, trials)) for _ in range(2))
    kept = sign_flip_test(after - before) <= ALPHA
    dropped = np.array(
        [float(sign_flip_test((after - before)[after[:, trial] > 20, trial])) <= ALPHA for trial in range(trials)]
    )
    assert within(kept.mean(), ALPHA, trials)
    assert not within(dropped.mean(), ALPHA, trials)
    with pytest.raises(ConfigError, match="is not left out"):
        compare(np.zeros(6), np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0]))


# ---------------------------------------------------------------- several comparisons


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_its_definition_does(p_values):
    order, rejected = np.argsort(p_values, kind="stable"), set()
    for step, index in enumerate(order):
        if p_values[index] * (len(p_values) - step) > ALPHA:
            break
        rejected.add(int(index))
    assert {index for index, value in enumerate(holm(p_values)) if value <= ALPHA} == rejected


def shared_control(generator, seeds, variants, trials):
    return generator.standard_t(3, (trials, seeds, variants + 1))


def test_one_control_and_several_variants_hold_the_rate_for_all_together():
    trials, seeds = 500, 12
    sides = shared_control(np.random.default_rng(9), seeds, 3, trials)
    sides[:, :, 3] += 3  # one variant does differ
    by_holm, by_max_t, uncorrected = [], [], []
    for scores in sides:
        p_values = sign_flip_test(scores[:, 1:] - scores[:, :1])
        by_holm.append(bool((holm(p_values)[:2] <= ALPHA).any()))
        by_max_t.append(bool((max_t(scores[:, 0], scores[:, 1:], draws=199)[:2] <= ALPHA).any()))
        uncorrected.append(bool((p_values[:2] <= ALPHA).any()))
    assert within(np.mean(by_holm), ALPHA, trials)
    assert within(np.mean(by_max_t), ALPHA, trials)
    assert not within(np.mean(uncorrected), ALPHA, trials)


def test_max_t_shows_more_than_holm_where_variants_share_a_control():
    generator = np.random.default_rng(10)
    found = np.zeros(2)
    for scores in generator.normal(0, 1, (150, 10, 6)):
        scores[:, 1:] += 1.0
        found[0] += (holm(sign_flip_test(scores[:, 1:] - scores[:, :1])) <= ALPHA).mean()
        found[1] += (max_t(scores[:, 0], scores[:, 1:], draws=199) <= ALPHA).mean()
    assert found[1] > 1.1 * found[0] > 0


@pytest.mark.parametrize("multiplicity", ["holm", "max_t", "none"])
def test_verdicts_agree_with_the_adjusted_p_values_and_with_the_intervals(multiplicity):
    generator = np.random.default_rng(11)
    rules, before = Rules(multiplicity=multiplicity), generator.normal(0, 1, 10)
    for _ in range(5):
        sides = {key: Pair(before, before + generator.normal(0.6, 1, 10)) for key in "abc"}
        verdicts = judge(sides, rules)
        for found in verdicts.values():
            called = found.verdict != "undecided"
            assert called == (found.adjusted_p_value <= ALPHA)
            assert called == (found.interval[0] > 0 or found.interval[1] < 0)
            assert found.alpha <= ALPHA
            if multiplicity == "holm" and not called:
                assert found.alpha * sum(item.verdict == "undecided" for item in verdicts.values()) == pytest.approx(
                    ALPHA
                )


def test_max_t_refuses_other_controls_and_too_many_variants():
    one = Pair(np.arange(8.0), np.arange(8.0))
    with pytest.raises(ConfigError, match="share one control"):
        judge({"a": one, "b": Pair(one.before + 1, one.after)}, Rules(multiplicity="max_t"))
    with pytest.raises(ConfigError, match="Holm"):
        max_t(np.zeros(8), np.zeros((8, 7)))


def test_pooling_over_algorithms_holds_the_rate_and_scaling_by_the_control_alone_does_not():
    generator, trials, seeds = np.random.default_rng(12), 5000, 16
    of_both, of_control = np.zeros((seeds, trials)), np.zeros((seeds, trials))
    for _ in range(2):
        before, after = (collapses(generator, (seeds, trials)) for _ in range(2))
        of_both += (after - before) / np.concatenate([before, after]).std(0, ddof=1)
        of_control += (after - before) / before.std(0, ddof=1)
    assert within((sign_flip_test(of_both) <= ALPHA).mean(), ALPHA, trials)
    assert not within((sign_flip_test(of_control) <= ALPHA).mean(), ALPHA, trials)
    one = {
        name: Pair(10 * scale * generator.random(8), 10 * scale * generator.random(8))
        for name, scale in (("a", 1), ("b", 9))
    }
    by_hand = np.mean(
        [pair.differences / np.concatenate([pair.before, pair.after]).std(ddof=1) for pair in one.values()], axis=0
    )
    assert pooled(one).differences == pytest.approx(by_hand)


# ---------------------------------------------------------------- power and equivalence


@pytest.mark.parametrize(("seeds", "alpha"), [(6, 0.05), (7, 0.05), (8, 0.05), (16, 0.05), (9, 0.005)])
def test_the_smallest_difference_is_shown_with_the_stated_power(seeds, alpha):
    generator, trials, deviation = np.random.default_rng(13), 4000, 10.0
    planted, low, high = smallest_difference(deviation, seeds, alpha)
    assert low < planted < high
    differences = generator.normal(planted, deviation, (seeds, trials))
    shown = ((sign_flip_test(differences) <= alpha) & (differences.mean(0) > 0)).mean()
    assert shown == pytest.approx(0.8, abs=0.03)


def test_power_is_predicted_by_student_and_by_resampling():
    planted = smallest_difference(10.0, 16)[0]
    assert predicted_power(planted, 10.0, 16) == pytest.approx(0.8, abs=0.02)
    observed = np.random.default_rng(19).normal(0, 10.0, 400)
    assert resampled_power(observed, planted, 16) == pytest.approx(0.8, abs=0.07)
    assert smallest_difference(1.0, 6)[0] == pytest.approx(stats.norm.ppf(0.8 ** (1 / 6)), abs=0.03)  # all 6 agree


def test_a_trial_that_ignores_pairing_loses_the_stated_power():
    generator, trials, seeds = np.random.default_rng(14), 2000, 16
    seed_effect = generator.normal(0, 20, (seeds, trials))
    before, after = (50 + seed_effect + generator.normal(0, 5, (seeds, trials)) for _ in range(2))
    after += smallest_difference(5 * math.sqrt(2), seeds)[0]
    paired = (sign_flip_test(after - before) <= ALPHA).mean()
    stub = (stats.ttest_ind(after, before).pvalue <= ALPHA).mean()
    assert paired > 0.75
    assert stub < 0.3


@given(st.floats(0.5, 50), st.floats(0.1, 50))
def test_the_seeds_needed_are_the_fewest(difference, deviation):
    needed = seeds_needed(difference, deviation)
    assert needed is not None
    assert needed >= 6
    assert smallest_difference(deviation, needed)[0] <= difference * (1 + 1e-9)
    assert needed == 6 or smallest_difference(deviation, needed - 1)[0] > difference


def test_an_error_that_seeds_do_not_reduce_bounds_what_can_be_shown():
    assert seeds_needed(1.0, 1.0, floor=1.0) is None
    assert seeds_needed(10.0, 1.0, floor=1.0) >= seeds_needed(10.0, 1.0)
    assert seeds_needed(0.0, 1.0) is None


def test_equivalence_at_the_edge_of_the_margin_is_called_as_often_as_stated_at_most():
    generator, trials, seeds, margin = np.random.default_rng(15), 200, 12, 5.0
    called = [
        compare(np.zeros(seeds), generator.normal(margin, 4, seeds), Rules(margin=margin)).verdict == "equivalent"
        for _ in range(trials)
    ]
    assert within(np.mean(called), ALPHA, trials)
    inside = compare(np.zeros(seeds), generator.normal(0, 4, seeds), Rules(margin=margin))
    assert inside.verdict == "equivalent"
    assert compare(np.zeros(seeds), inside.interval[1] * np.ones(seeds) / 1e9, Rules()).verdict != "equivalent"


# ---------------------------------------------------------------- checks by other methods


def test_crossed_effects_are_those_of_the_two_way_table():
    values = np.random.default_rng(16).normal(size=(7, 5)) + np.arange(7)[:, None]
    found = crossed_effects(values)
    rows, columns = values.mean(1), values.mean(0)
    residual = values - rows[:, None] - columns + values.mean()
    squares = 5 * rows.var(ddof=1), 7 * columns.var(ddof=1), (residual**2).sum() / 24
    assert found.seed_variance == pytest.approx((squares[0] - squares[2]) / 5)
    assert found.start_variance == pytest.approx(max(0, (squares[1] - squares[2]) / 7))
    assert found.residual_variance == pytest.approx(squares[2])
    parts = found.seed_variance / 7 + found.start_variance / 5 + found.residual_variance / 35
    assert found.standard_error == pytest.approx(math.sqrt(parts))


def test_random_start_states_are_covered_by_the_crossed_interval_and_not_by_seeds_alone():
    generator, trials, seeds, starts = np.random.default_rng(17), 600, 8, 8
    wrong = np.zeros(2)
    for _ in range(trials):
        values = generator.normal(0, 1, (seeds, 1)) + generator.normal(0, 3, (1, starts))
        values = values + generator.normal(0, 1, (seeds, starts))
        found = compare(np.zeros_like(values), values, Rules(starts="random"))
        wrong += [found.verdict != "undecided", sign_flip_test(values.mean(1)) <= ALPHA]
    assert within(wrong[0] / trials, 0.06, trials)  # Satterthwaite's degrees of freedom are an approximation
    assert not within(wrong[1] / trials, ALPHA, trials)


def test_all_three_intervals_agree_on_many_normal_differences_and_a_note_says_where_they_do_not():
    generator = np.random.default_rng(18)
    values = generator.normal(1, 1, 60)
    intervals = [sign_flip_interval(values), t_interval(values), bootstrap_t_interval(values)]
    width = np.ptp(intervals[0])
    assert np.ptp(intervals, axis=0).max() < 0.2 * width
    assert compare(np.zeros(60), values).notes == ()
    skewed = np.concatenate([generator.normal(0, 0.1, 11), [40.0]])
    assert any("bootstrap-t" in note for note in compare(np.zeros(12), skewed).notes)
