"""Random numbers by block: rows that are asked for are those that NumPy draws."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.generators import block_generator, random_rows


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=6),
    st.integers(0, 2**63),
    st.sampled_from([np.float32, np.float64]),
)
def test_rows_are_those_of_numpy_and_leave_its_generator_where_numpy_does(shapes, seed, dtype):
    own, numpy = (block_generator(seed, "test", "rows", 3) for _ in range(2))
    for shape in shapes:  # odd sizes leave half a word to the next draw
        rows = np.flatnonzero(np.arange(shape[0]) % 3)
        found = random_rows(own, shape, rows, dtype)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, numpy.random(shape, dtype=dtype)[rows])
    assert own.random() == numpy.random()
