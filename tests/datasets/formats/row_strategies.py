"""Hypothesis strategies for datasets whose flags say where episodes are, as formats of one row per step hold them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset
from tests.datasets.dataset_strategies import DTYPES, SHAPES, fill, random_array, structures


@st.composite
def row_datasets(
    draw: st.DrawFn,
    *,
    nested: bool = False,
    costs: bool = False,
    unended: bool = True,
    max_length: int = 12,
    unknown_finals: bool = True,
) -> Dataset:
    """A dataset of any dtypes, each episode ended by either flag or both; the last one maybe by none.

    Final observations are known, all or none; next observations are sometimes stored because they differ.
    """
    lengths = draw(st.lists(st.integers(1, max_length), min_size=1, max_size=5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps, episodes = sum(lengths), len(lengths)
    lasts = np.cumsum(lengths) - 1
    endings = draw(st.lists(st.integers(1, 3), min_size=episodes, max_size=episodes))
    if unended and draw(st.booleans()):
        endings[-1] = 0
    flags = {name: np.zeros(steps, bool) for name in ("terminations", "truncations")}
    for bit, name in enumerate(flags):
        flags[name][lasts] = [bool(ending >> bit & 1) for ending in endings]
    leaf = st.tuples(st.sampled_from(DTYPES), st.sampled_from(SHAPES))
    shape = draw(leaf)
    observations = fill(draw(structures()) if nested else draw(leaf), generator, steps + episodes)
    dataset = Dataset.from_arrays(
        observations=observations,
        actions=fill(shape, generator, steps),
        rewards=random_array(generator, draw(st.sampled_from(("float32", "float64", "int64"))), (steps,)),
        **flags,
        episode_lengths=lengths,
    )
    columns: dict[str, np.ndarray] = {}
    episode_columns: dict[str, np.ndarray] = {}
    observed = [name for name in dataset.columns if name.split("/")[0] == "observations"]
    kind = draw(st.sampled_from(("view", "stored", "unknown") if unknown_finals else ("view", "stored")))
    if kind == "stored":
        for name in observed:
            columns[f"next_{name}"] = dataset.column(name)[dataset.observation_rows + 1]
        array = columns[f"next_{observed[0]}"]
        columns[f"next_{observed[0]}"] = np.roll(array, 1, axis=0)
    if kind == "unknown":
        finals = lasts + np.arange(episodes) + 1
        for name in observed:
            array = dataset.column(name).copy()
            array[finals] = array[finals - 1]
            columns[name] = array
        episode_columns["final_observation"] = np.zeros(episodes, bool)
    if draw(st.booleans()):
        columns["infos/position"] = random_array(generator, draw(st.sampled_from(DTYPES)), (steps, 2))
        columns["infos/deep/flag"] = random_array(generator, "bool", (steps,))
    if costs:
        columns["costs"] = random_array(generator, draw(st.sampled_from(("float32", "int64"))), (steps,))
    result = dataset.replace(columns)
    result = Dataset({name: result.column(name) for name in result.columns}, lengths, episode_columns=episode_columns)
    if kind == "stored" and _is_view(result, observed):
        return result.replace({f"next_{name}": None for name in observed})
    if kind == "stored":
        return _with_stored_finals(result, observed)
    return result


def _is_view(dataset: Dataset, observed: list[str]) -> bool:
    rows = dataset.observation_rows + 1
    return all(dataset.column(f"next_{name}").tobytes() == dataset.column(name)[rows].tobytes() for name in observed)


def _with_stored_finals(dataset: Dataset, observed: list[str]) -> Dataset:
    """Let each final observation be the next observation of the last step: rows hold no other."""
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    changed = {}
    for name in observed:
        array = dataset.column(name).copy()
        array[lasts + np.arange(len(lasts)) + 1] = dataset.column(f"next_{name}")[lasts]
        changed[name] = array
    result = dataset.replace(changed)
    if _is_view(result, observed):
        return result.replace({f"next_{name}": None for name in observed})
    return result
