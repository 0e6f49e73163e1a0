"""Hypothesis strategies for datasets of many structures, and small datasets made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset
from assay.datasets.info import DatasetInfo

DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool", "float16")
SHAPES = ((), (1,), (3,), (2, 2))


def random_array(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bool":
        return generator.random(shape) < 0.5
    if dtype.startswith("float"):
        return generator.normal(size=shape).astype(dtype)
    return generator.integers(0 if dtype.startswith("u") else -5, 100, shape, dtype=dtype)


@st.composite
def structures(draw: st.DrawFn, depth: int = 2) -> Any:
    """A (dtype, shape) leaf, or a dict or tuple of structures."""
    leaf = st.tuples(st.sampled_from(DTYPES), st.sampled_from(SHAPES))
    if depth and draw(st.integers(0, 3)) == 0:
        children = draw(st.lists(structures(depth - 1), min_size=1, max_size=2))
        if draw(st.booleans()):
            return {"children": tuple(children)}
        return {"children": dict(zip(("goal", "state.x"), children, strict=False))}
    return draw(leaf)


def fill(structure: Any, generator: np.random.Generator, rows: int) -> Any:
    if isinstance(structure, Mapping):
        children = structure["children"]
        if isinstance(children, tuple):
            return tuple(fill(child, generator, rows) for child in children)
        return {key: fill(child, generator, rows) for key, child in children.items()}
    dtype, shape = structure
    return random_array(generator, dtype, (rows, *shape))


@st.composite
def datasets(draw: st.DrawFn, max_length: int = 50, max_episodes: int = 5, extras: bool = True) -> Dataset:
    """A dataset of any structure: nested spaces, dtypes, flags anywhere, infos of either length, seeds."""
    lengths = draw(st.lists(st.integers(1, max_length), min_size=1, max_size=max_episodes))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps, episodes = sum(lengths), len(lengths)
    columns: dict[str, np.ndarray] = {}
    episode_columns: dict[str, np.ndarray] = {}
    if extras and draw(st.booleans()):
        columns["infos/position"] = random_array(generator, draw(st.sampled_from(DTYPES)), (steps + episodes, 2))
        columns["infos/deep/flag"] = random_array(generator, "bool", (steps,))
    if extras and draw(st.booleans()):
        episode_columns["seed"] = draw(
            st.sampled_from(
                [
                    np.arange(episodes),
                    np.where(np.arange(episodes) == 1, -1, 7),
                    np.full(episodes, 2**64 - 3, np.uint64),
                ]
            )
        )
    return Dataset.from_arrays(
        observations=fill(draw(structures()), generator, steps + episodes),
        actions=fill(draw(structures()), generator, steps),
        rewards=random_array(generator, draw(st.sampled_from(("float32", "float64", "int64"))), (steps,)),
        terminations=generator.random(steps) < draw(st.sampled_from((0.0, 0.1))),
        truncations=generator.random(steps) < 0.1,
        episode_lengths=lengths,
        columns=columns,
        episode_columns=episode_columns,
    )


def clean_dataset(steps: int = 60, length: int = 6, seed: int = 0, **changes: Any) -> Dataset:
    """Episodes of equal length without any fault; `changes` replaces whole columns or the info."""
    generator = np.random.default_rng(seed)
    episodes = steps // length
    truncations = np.zeros(steps, bool)
    truncations[length - 1 :: length] = True
    columns: dict[str, Any] = {
        "observations": generator.normal(size=(steps + episodes, 3)),
        "actions": generator.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rewards": generator.normal(size=steps),
        "terminations": np.zeros(steps, bool),
        "truncations": truncations,
    }
    episode_columns = changes.pop("episode_columns", {})
    info = changes.pop("info", DatasetInfo())
    columns |= changes
    return Dataset(columns, [length] * episodes, info=info, episode_columns=episode_columns)


def assert_same_columns(first: Dataset, second: Dataset) -> None:
    """Names, dtypes, shapes and bytes of all columns agree, and the episodes."""
    assert first.columns == second.columns
    for name in first.columns:
        one, other = first.column(name), second.column(name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.tobytes() == other.tobytes(), name
    assert first.episode_lengths.tolist() == second.episode_lengths.tolist()
