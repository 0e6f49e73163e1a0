"""Training refuses data that lack labels before anything is written, and says what helps."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from assay.augmentation import GaussianNoise
from assay.baselines import BC, TD3BC, Job, train
from assay.corruption import OracleFilter, RandomCorruption
from assay.datasets import Dataset
from assay.datasets.errors import MissingLabelsError
from assay.datasets.missing import without_labels
from assay.datasets.registry import register
from assay.relabeling import ConstantRewards
from tests.baselines.problems import pendulum_like
from tests.datasets.dataset_strategies import clean_dataset

HELP = {"actions": "relabeling.inverse_dynamics", "rewards": "relabeling.preferences"}


@pytest.mark.parametrize("element", HELP)
def test_missing_labels_are_refused_with_the_transform_that_fills_them_in(element: str, tmp_path: Path) -> None:
    whole = clean_dataset()
    columns = {name: whole.column(name) for name in whole.columns}
    partly = Dataset(without_labels(columns, {element: np.arange(60) < 7}), whole.episode_lengths)
    for dataset, count in ((whole.replace({element: None}), "has none"), (partly, "7 of 60 steps have none")):
        with pytest.raises(MissingLabelsError, match=rf"TD3\+BC needs {element}.*{count}.*{HELP[element]}"):
            train([Job(TD3BC(), dataset)], steps=4, evaluation=None, runs=tmp_path / "runs", progress=None)
        assert not list(tmp_path.rglob("run.json"))


def test_cloning_needs_no_rewards_and_learns_the_same_without_them(tmp_path: Path) -> None:
    whole = clean_dataset()
    columns = {name: whole.column(name) for name in whole.columns}
    partly = Dataset(without_labels(columns, {"rewards": np.arange(60) < 7}), whole.episode_lengths, info=whole.info)
    bare = whole.replace({"rewards": None})
    seen = whole.observations[:5]
    actions = []
    for number, dataset in enumerate((whole, partly, bare)):
        (run,) = train(
            [Job(BC(hidden=(8,), batch_size=16), dataset)],
            steps=5,
            evaluation=None,
            runs=tmp_path / str(number),
            progress=None,
        )
        assert run.status == "finished"
        actions.append(run.policy(seen))
        assert (run.description["dataset"]["behaviour_return"] is None) == (number > 0)
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[0], actions[2])
    with pytest.raises(MissingLabelsError, match="BC needs actions"):
        train(
            [Job(BC(), whole.replace({"actions": None}))],
            steps=4,
            evaluation=None,
            runs=tmp_path / "runs",
            progress=None,
        )


def test_a_loss_that_reads_rewards_which_are_not_there_is_seen(tmp_path: Path) -> None:
    """An algorithm that forgot to say that it needs rewards diverges, it does not learn from made-up ones."""

    @register("careless", label="Careless")
    class Careless(TD3BC):
        labels: ClassVar[tuple[str, ...]] = ("actions",)

    try:
        bare = clean_dataset().replace({"rewards": None})
        (run,) = train([Job(Careless(), bare)], steps=4, evaluation=None, runs=tmp_path, progress=None)
        assert run.status == "diverged"
    finally:
        Careless.registry.remove("careless")


def test_returns_that_do_not_tell_what_the_data_earned_give_no_score_of_the_data():
    clean = pendulum_like()
    earned = float(clean.returns.mean())
    wrong = RandomCorruption("actions", rate=0.3, seed=0)(clean)
    zero = ConstantRewards(value=0.0)(clean)
    cut, more = OracleFilter()(wrong), GaussianNoise(scale=1e-3)(clean)
    known = [Job(BC(), made).known_behaviour_return for made in (clean, wrong, clean.select(range(10)))]
    assert known == [pytest.approx(earned)] * 3
    assert [Job(BC(), made).known_behaviour_return for made in (zero, cut, more)] == [None] * 3
    assert Job(BC(), zero, behaviour_return=1.0).known_behaviour_return == 1.0
