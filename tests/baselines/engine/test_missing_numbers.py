"""A number that is missing is named as its owner calls it, before anything is trained on it."""

from __future__ import annotations

import numpy as np

from assay.baselines import BC, Job, train
from assay.datasets import Dataset, DatasetInfo


def test_the_message_names_the_sensor_the_step_and_what_helps(tmp_path):
    observations = np.zeros((22, 3))
    observations[14, [0, 2]] = np.nan  # step 13: the second episode begins at row 11
    dataset = Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((20, 1)),
        episode_lengths=[10, 10],
        info=DatasetInfo(names={"observations": ["hip", "knee", "ankle"]}),
    )
    (run,) = train([Job(BC(hidden=(4,)), dataset, 0)], steps=2, runs=tmp_path, evaluation=None)
    assert run.status == "failed"
    assert "column observations[hip, ankle]" in run.error
    assert "step 13 of episode 1" in run.error
    assert "corruption.repair.fill" in run.error
