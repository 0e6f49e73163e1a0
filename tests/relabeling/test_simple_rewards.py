"""Rewards of a constant, of a threshold and of a column: each is what its own line says, and the old rewards are kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.datasets.errors import ConfigError, UnknownNameError
from assay.relabeling import ColumnRewards, ConstantRewards, SparseRewards
from tests.datasets.dataset_strategies import clean_dataset


@given(seed=st.integers(0, 1000), share=st.floats(0.01, 0.99), value=st.floats(-5, 5))
def test_each_reward_is_what_its_line_says(seed, share, value):
    dataset = clean_dataset(steps=60, length=12, seed=seed)
    known = np.random.default_rng(seed).normal(size=60)
    dataset = dataset.replace({"infos/known": known})
    for made in (
        constant := ConstantRewards(value=value)(dataset),
        best := SparseRewards(share=share, of="infos/known")(dataset),
    ):
        assert made.column("truth/rewards").tolist() == dataset.rewards.tolist()
    assert set(constant.rewards) == {np.float32(value)}
    rewarded = best.rewards == 1
    assert rewarded.any()
    assert known[rewarded].min() > known[~rewarded].max(initial=-np.inf)
    assert abs(rewarded.mean() - share) <= 1 / 60 + 1e-9
    np.testing.assert_array_equal(ColumnRewards(of="infos/known")(dataset).rewards, known.astype(np.float32))


def test_what_is_no_number_per_step_is_refused():
    dataset = clean_dataset(steps=12, length=6, seed=0)
    wide = dataset.replace({"infos/wide": np.zeros((12, 2)), "infos/gap": np.where(np.arange(12) == 3, np.nan, 1.0)})
    wide = wide.replace({"infos/far": np.where(np.arange(12) == 5, np.inf, 1.0)})
    with pytest.raises(UnknownNameError, match="infos/wid"):
        ColumnRewards(of="infos/wid")(wide)
    with pytest.raises(ConfigError, match=r"infos/wide is float64\[12, 2\]"):
        ColumnRewards(of="infos/wide")(wide)
    with pytest.raises(ConfigError, match="infinite at step 5"):
        ColumnRewards(of="infos/far")(wide)
    with pytest.raises(ConfigError, match="NaN at step 3"):
        SparseRewards(of="infos/gap")(wide)
    assert ColumnRewards(of="infos/gap")(wide).missing["rewards"].tolist() == (np.arange(12) == 3).tolist()
