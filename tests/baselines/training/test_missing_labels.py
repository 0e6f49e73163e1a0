"""Training refuses data that lack labels before anything is written, and says what helps."""

from pathlib import Path

import numpy as np
import pytest

from assay.baselines import Job, train
from assay.baselines.algorithms.imitation.bc import BC
from assay.datasets import Dataset
from assay.datasets.errors import MissingLabelsError
from assay.datasets.missing import without_labels
from tests.datasets.dataset_strategies import clean_dataset

HELP = {"actions": "relabeling.inverse_dynamics", "rewards": "relabeling.preferences"}


@pytest.mark.parametrize("element", HELP)
def test_missing_labels_are_refused_with_the_transform_that_fills_them_in(element: str, tmp_path: Path) -> None:
    whole = clean_dataset()
    columns = {name: whole.column(name) for name in whole.columns}
    partly = Dataset(without_labels(columns, {element: np.arange(60) < 7}), whole.episode_lengths)
    for dataset, count in ((whole.replace({element: None}), "has none"), (partly, "7 of 60 steps have none")):
        with pytest.raises(MissingLabelsError, match=f"BC needs {element}.*{count}.*{HELP[element]}"):
            train([Job(BC(), dataset)], steps=4, evaluation=None, runs=tmp_path / "runs", progress=None)
        assert not list(tmp_path.rglob("run.json"))
