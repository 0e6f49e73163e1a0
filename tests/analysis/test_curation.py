"""The curation audit: shares of a gap by hand, their intervals, what is compared with what, and an oracle that has to win."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest

import assay
from assay.analysis.figures import detection_against_benefit
from assay.analysis.trials import CurationResult, compare, curation, curation_scores
from assay.analysis.trials.curation import DETECTION
from assay.analysis.trials.multiplicity import holm
from assay.analysis.trials.sign_flip import sign_flip_interval, sign_flip_ratio_interval
from assay.baselines import Suite, run_suite
from assay.datasets.errors import ConfigError, UnknownNameError

SIDES = {
    ("", "", ""): 90.0,
    ("noise", "", ""): 50.0,
    ("noise", "jerk", "drop"): 80.0,
    ("noise", "lag", "drop"): 58.0,
    ("noise", "oracle", "drop"): 86.0,
    ("noise", "random 1", "drop"): 52.0,
    ("noise", "random 2", "drop"): 60.0,
}
NAMES = ["task", "algorithm", "defect", "detector", "action", "seed", "score", "unit"]


def scores_of(sides=SIDES, seeds=8, noise=0.0, task="maze", rng=None):
    """Scores whose seeds shift every side alike, so that differences are those of `sides` up to `noise`."""
    rng = np.random.default_rng(0) if rng is None else rng
    shifts = rng.normal(0, 10, seeds)
    rows = [
        (task, "bc", *side, seed, score + shifts[seed] + noise * rng.normal(), "score points")
        for side, score in sides.items()
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows, schema=NAMES, orient="row")


# ---------------------------------------------------------------- by hand


def test_shares_and_differences_are_those_of_the_means():
    table = curation(scores_of()).table
    rows = {row["detector"]: row for row in table.iter_rows(named=True)}
    assert list(rows) == ["jerk", "lag", "oracle", "random"]
    for row in rows.values():
        assert (row["gap"], row["gap_low"], row["gap_high"]) == pytest.approx((40.0,) * 3)
    assert rows["jerk"]["recovered"] == pytest.approx(30 / 40)
    assert rows["oracle"]["recovered"] == pytest.approx(36 / 40)
    assert rows["random"]["recovered"] == pytest.approx(6 / 40)  # the mean of the draws
    assert rows["jerk"]["over_random"] == pytest.approx(80 - 56)
    assert rows["lag"]["gain"] == pytest.approx(8.0)
    assert rows["random"]["over_random"] is None


def test_verdicts_hold_for_all_detectors_together_and_intervals_are_those_of_a_trial():
    scores = scores_of(noise=6.0)
    table = curation(scores).table
    by_hand = {}
    for name in ("jerk", "lag"):
        sides = [
            scores.filter(pl.col("detector").str.starts_with(of))
            .group_by("seed")
            .agg(pl.col("score").mean())
            .sort("seed")
            for of in ("random", name)
        ]
        by_hand[name] = compare(*(side["score"].to_numpy() for side in sides))
    adjusted = holm([found.p_value for found in by_hand.values()])
    for (name, found), p_value in zip(by_hand.items(), adjusted, strict=True):
        row = table.filter(detector=name).row(0, named=True)
        assert (row["over_random_low"], row["over_random_high"]) == pytest.approx(found.interval)
        assert row["smallest_difference"] == pytest.approx(found.smallest_difference)
        assert (row["adjusted_p_value"], row["comparisons"]) == (pytest.approx(p_value), 2)
    assert table["verdict"].to_list() == ["better", "not shown", None, None]


def test_there_is_no_share_of_a_gap_that_is_not_shown_or_that_is_a_gain():
    flat = curation(scores_of({**SIDES, ("", "", ""): 50.0}, noise=5.0))
    assert flat.table["recovered"].null_count() == flat.table.height
    assert "0 of 1 defects" in flat.sentences[0]
    helped = curation(scores_of({**SIDES, ("", "", ""): 20.0}))
    assert helped.table["gap_high"].max() < 0
    assert helped.table["recovered"].null_count() == helped.table.height


def test_six_seeds_are_the_fewest_that_show_anything():
    few = curation(scores_of(seeds=5, noise=1.0)).table
    assert few["gap_low"].null_count() == few.height == few["recovered"].null_count()
    assert set(few.filter(detector="jerk")["verdict"]) == {"not shown"}
    assert curation(scores_of(seeds=6, noise=1.0)).table["recovered"].null_count() == 0


@pytest.mark.parametrize(
    ("leave_out", "words"),
    [
        ({"defect": ""}, "no run on clean data"),
        ({"defect": "noise", "detector": ""}, "the contaminated data"),
        ({"detector": "random 1"}, None),
        ({"detector": "jerk", "seed": 3}, "finish the suite first"),
    ],
)
def test_a_side_that_is_missing_is_named(leave_out, words):
    scores = scores_of()
    kept = scores.filter(~pl.all_horizontal(pl.col(name) == value for name, value in leave_out.items()))
    if words is None:
        assert curation(kept).table.filter(detector="random")["curated"][0] == pytest.approx(
            kept.filter(detector="random 2")["score"].mean()
        )
        return
    with pytest.raises(ConfigError, match=words):
        curation(kept)


def test_without_a_random_choice_there_is_nothing_to_compare_with():
    with pytest.raises(ConfigError, match="no random choice"):
        curation(scores_of({key: value for key, value in SIDES.items() if not key[1].startswith("random")}))


# ---------------------------------------------------------------- the interval of a share


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says():
    rng, held, trials = np.random.default_rng(3), 0, 300
    for _ in range(trials):
        gap = rng.standard_t(3, 8) + 6.0
        gain = 0.4 * gap + rng.standard_t(3, 8)
        low, high = sign_flip_ratio_interval(gain, gap)
        held += low <= 0.4 <= high
    assert held / trials > 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)


def test_the_interval_of_a_ratio_is_fiellers_where_differences_are_normal():
    from scipy.stats import t

    rng = np.random.default_rng(0)
    gap = rng.normal(10, 2, 16)
    gain = 0.5 * gap + rng.normal(0, 1, 16)
    n, squared = len(gap), t.isf(0.025, 15) ** 2
    variance = np.cov(gain, gap) / n
    a = gap.mean() ** 2 - squared * variance[1, 1]
    b = gain.mean() * gap.mean() - squared * variance[0, 1]
    c = gain.mean() ** 2 - squared * variance[0, 0]
    fieller = ((b - np.sqrt(b * b - a * c)) / a, (b + np.sqrt(b * b - a * c)) / a)
    assert sign_flip_ratio_interval(gain, gap) == pytest.approx(fieller, rel=0.1)


def test_a_ratio_to_a_constant_is_an_interval_of_the_mean_and_a_gap_of_nothing_has_none():
    gain = np.random.default_rng(1).normal(3, 1, 10)
    assert sign_flip_ratio_interval(gain, np.full(10, 2.0)) == pytest.approx(
        np.array(sign_flip_interval(gain)) / 2, abs=1e-5
    )
    assert sign_flip_ratio_interval(gain, np.array([1.0, -1.0] * 5)) == (-np.inf, np.inf)


# ---------------------------------------------------------------- detection and benefit


def detections(detectors, aurocs, task="maze"):
    columns = dict.fromkeys(DETECTION, aurocs)
    return pl.DataFrame({"task": task, "defect": "noise", "detector": detectors, "per": "episode", **columns})


def several_tasks(slope, tasks=8):
    """Tasks of five detectors whose share grows with their AUROC by `slope`."""
    rng, scores, found = np.random.default_rng(0), [], []
    for number in range(tasks):
        names, aurocs = [f"d{i}" for i in range(5)], rng.uniform(0.4, 1.0, 5)
        sides = {key: value for key, value in SIDES.items() if key[1] in ("", "random 1")}
        sides |= {("noise", name, "drop"): 60 + slope * 40 * (auroc - 0.7) for name, auroc in zip(names, aurocs)}
        scores.append(scores_of(sides, noise=1.5, task=f"task{number}", rng=rng))
        found.append(detections([*names, "random 1"], [*aurocs, 0.5], f"task{number}"))
    return curation(pl.concat(scores), pl.concat(found))


def test_a_benefit_that_follows_detection_is_correlated_with_it_and_one_that_does_not_is_not():
    follows, against, neither = (several_tasks(slope).relation() for slope in (1.0, -1.0, 0.0))
    for row in range(2):
        assert follows["low"][row] > 0.8
        assert against["high"][row] < -0.8
        assert neither["low"][row] < 0 < neither["high"][row]
    assert follows.row(0)[0::4] == ("all", 40)
    assert follows["cells"].to_list() == [8, 8]


def test_within_compares_detectors_of_one_defect_only():
    """Tasks where everything is found and repaired, and tasks where nothing is, make a correlation of tasks alone."""
    rng, scores, found = np.random.default_rng(0), [], []
    for number in range(8):
        easy, names = number % 2, [f"d{i}" for i in range(4)]
        sides = {key: value for key, value in SIDES.items() if key[1] in ("", "random 1")}
        sides |= {("noise", name, "drop"): 60 + 25 * easy for name in names}
        scores.append(scores_of(sides, noise=1.5, task=f"task{number}", rng=rng))
        found.append(detections(names, 0.55 + 0.35 * easy + rng.uniform(0, 0.05, 4), f"task{number}"))
    relation = curation(pl.concat(scores), pl.concat(found)).relation()
    assert relation["low"][0] > 0
    assert relation["low"][1] < 0 < relation["high"][1]


def test_no_interval_is_given_of_few_cells_and_no_correlation_of_few_points():
    assert several_tasks(1.0, tasks=3).relation()["low"].to_list() == [None, None]
    result = curation(scores_of(), detections(["jerk", "lag"], [0.9, 0.6]))
    with pytest.raises(ConfigError, match="three are needed"):
        result.relation()
    with pytest.raises(UnknownNameError, match="auroc"):
        several_tasks(1.0, tasks=1).relation("auorc")
    assert "highest AUROC had the highest score in 1 of 1" in str(result)


def test_the_draws_of_the_random_choice_are_one_control_with_their_mean_detection():
    result = curation(scores_of(), detections(["jerk", "random 1", "random 2", "oracle"], [0.9, 0.4, 0.5, 1.0]))
    found = dict(result.table.select("detector", "auroc").iter_rows())
    assert found == {"jerk": 0.9, "lag": None, "oracle": 1.0, "random": pytest.approx(0.45)}
    assert result.detectors["detector"].to_list() == ["jerk", "lag"]


# ---------------------------------------------------------------- the figure


def test_the_figure_has_a_point_and_an_interval_for_what_is_known():
    scores = pl.concat([scores_of(noise=2.0), scores_of({**SIDES, ("", "", ""): 50.0}, noise=2.0, task="no gap")])
    names = ["jerk", "lag", "oracle", "random 1", "random 2"]
    found = pl.concat([detections(names, [0.9, 0.6, 1.0, 0.4, 0.5], task) for task in ("maze", "no gap")])
    result = curation(scores, found)
    axes = result.plot().axes[0]
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    table = result.table.drop_nulls("recovered")
    assert len(points) == table.height == 4
    drawn = {(line.get_xdata()[0], line.get_ydata()[0]) for line in points}
    assert drawn == set(table.select("auroc_beyond_length", "recovered").rows())
    bars = {tuple(line.get_ydata()) for line in axes.lines if line.get_zorder() == 2}
    assert set(table.select("recovered_low", "recovered_high").rows()) <= bars
    assert [text.get_text() for text in axes.texts] == ["no gap: 4"]
    assert all(line.get_markerfacecolor() != "white" for line in points)


def test_what_is_not_dropped_is_hollow_and_a_table_without_points_is_refused():
    sides = {(defect, detector, action and "weight"): value for (defect, detector, action), value in SIDES.items()}
    found = detections(["jerk", "lag"], [0.9, 0.6])
    figure = detection_against_benefit(curation(scores_of(sides), found).table)
    points = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert {line.get_markerfacecolor() for line in points} == {"white"}
    with pytest.raises(ConfigError, match="no detector has both"):
        detection_against_benefit(curation(scores_of(sides)).table)
    with pytest.raises(ConfigError, match="'recovered' is missing"):
        detection_against_benefit(curation(scores_of(sides)).table.drop("recovered"))


# ---------------------------------------------------------------- trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Expert data with other actions in some episodes: who leaves the right ones out has the expert's."""
    replaced = [{"corruption.random": {"element": "actions", "rate": 0.6, "distribution": "replacement", **EPISODES}}]
    suite = Suite.from_plain(
        {
            "name": "planted",
            "source": "pendulum/expert",
            "seeds": list(range(6)),
            "evaluation": {"episodes": 2},
            "variants": {
                "clean": [],
                "audit": {
                    "corruption.curation": {
                        "defects": {"replaced": replaced},
                        "detectors": {"low return": {"of": "return", "worse": "lower"}},
                        "draws": 1,
                    }
                },
            },
            "algorithms": {"bc": {"hidden": [32], "learning_rate": 5e-3, "batch_size": 64}},
            "budgets": {"small": {"steps": 600, "dataset_steps": 4000}},
        }
    )
    folder = tmp_path_factory.mktemp("planted")
    run_suite(suite, "small", runs=folder, workers=0, progress=None)
    return folder


EPISODES = {"granularity": "trajectory", "count": "exact"}


def oracle_beats_random(result: CurationResult) -> bool:
    row = result.table.filter(detector="oracle").row(0, named=True)
    return row["over_random_low"] > 0


def test_leaving_out_what_is_wrong_beats_leaving_out_as_much_at_random(trained):
    result = assay.audit(trained)
    assert oracle_beats_random(result)
    rows = {row["detector"]: row for row in result.table.iter_rows(named=True)}
    assert (rows["oracle"]["auroc"], rows["oracle"]["recovered_low"] > 0.2) == (1.0, True)
    assert rows["low return"]["auroc"] == pytest.approx(0.5, abs=0.25)  # recorded returns do not know of other actions
    assert "replaced" in str(result)


def test_the_stub_that_calls_a_random_choice_the_oracle_is_seen(trained):
    scores = curation_scores(trained)
    exchanged = scores.with_columns(pl.col("detector").replace({"oracle": "random 1", "random 1": "oracle"}))
    assert not oracle_beats_random(curation(exchanged))
    assert oracle_beats_random(curation(scores))


def test_an_unfinished_suite_is_refused_by_name(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    shutil.rmtree(
        next(folder for folder in copy.iterdir() if "low-return" in folder.name or "low return" in folder.name)
    )
    with pytest.raises(ConfigError, match="finish the suite first"):
        assay.audit(copy)
