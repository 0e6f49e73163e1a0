"""Transforms by name, recipes as YAML, and rebuilding a dataset from its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

import assay
from assay.corruption import RandomCorruption
from assay.datasets import Dataset, Recipe, Record, Transform, concatenate, make_transform, register, replay, save
from assay.datasets.errors import AssayError, ConfigError, DatasetIntegrityError, UnknownNameError
from assay.datasets.transform import registered


@pytest.fixture
def shift() -> Iterator[type[Transform]]:
    """A transform of a test's own, registered while the test runs."""

    @register("corruption.shift")
    class Shift(Transform):
        by: float = Field(1.0, ge=0)
        names: tuple[str, ...] = ("rewards",)

        def apply(self, dataset: Dataset) -> Dataset:
            return dataset.replace({name: dataset.column(name) + self.by for name in self.names})

    yield Shift
    Transform.registry.remove("corruption.shift")


def make(seed: int = 0, episodes: int = 6) -> Dataset:
    generator = np.random.default_rng(seed)
    ends = np.arange(episodes * 5) % 5 == 4
    return Dataset.from_arrays(
        observations=generator.standard_normal((episodes * 6, 3), dtype=np.float32),
        actions=generator.standard_normal((episodes * 5, 2), dtype=np.float32),
        rewards=generator.standard_normal(episodes * 5, dtype=np.float32),
        terminations=ends,
        truncations=np.zeros(episodes * 5, bool),
    )


@pytest.fixture
def stored(tmp_path: Path) -> Dataset:
    """A dataset loaded from disk: its history names its source."""
    save(make(), tmp_path / "source")
    return assay.load(tmp_path / "source")


# ---------------------------------------------------------------- transforms


def test_a_registered_class_is_a_frozen_validated_dataclass(shift: Any) -> None:
    assert shift(by=2).by == 2.0
    assert shift(by=2) == shift(by=2.0)
    with pytest.raises(FrozenInstanceError):
        shift().by = 3.0


def test_applying_appends_name_parameters_seed_and_parent_to_the_history(shift: Any) -> None:
    dataset = make()
    variant = RandomCorruption("actions", seed=5)(shift(by=0.5)(dataset))
    first, second = variant.history
    assert (first.transform, first.parameters, first.seed) == (
        "corruption.shift",
        {"by": 0.5, "names": ["rewards"]},
        None,
    )
    assert first.parent == dataset.fingerprint
    assert first.version == assay.__version__
    assert (second.seed, second.parent) == (5, shift(by=0.5)(dataset).fingerprint)
    assert dataset.history == ()


def test_the_recorded_parameters_are_json_and_make_an_equal_transform(shift: Any) -> None:
    for transform in (shift(by=np.float32(0.5), names=["rewards"]), RandomCorruption("dynamics", rate=0.1, seed=2)):
        assert make_transform(transform.name, transform.parameters()) == transform


def test_a_transform_is_found_under_its_name(shift: Any) -> None:
    assert registered()["corruption.shift"] is shift
    assert registered()["corruption.random"] is RandomCorruption
    assert make_transform("corruption.random", {"element": "rewards", "rate": 0.1}) == RandomCorruption("rewards", 0.1)


def test_an_unknown_transform_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown transform 'corruption\.randm'.*'corruption\.random'"):
        make_transform("corruption.randm", {})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"element": "rewards", "rat": 0.1}, "rat is not a parameter of it"),
        ({"element": "rewards", "rate": "a lot"}, "rate='a lot': input should be a valid number"),
        ({"element": "rewards", "rate": 2}, "rate=2: input should be less than or equal to 1"),
        ({"element": "rewards", "seed": 1.5}, "seed=1.5: input should be a valid integer"),
        ({"element": ["rewards"]}, "element=['rewards']: input should be 'observations'"),
        ({"rate": 0.1}, "element is missing"),
        ({1: 2}, "1 is not a parameter of it"),
    ],
)
def test_wrong_parameters_are_named_in_one_line(parameters: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_transform("corruption.random", parameters)
    assert str(error.value).startswith("corruption.random: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_parameter_given_by_position_is_named_too() -> None:
    with pytest.raises(ConfigError, match=r"corruption\.random: rate=7: "):
        RandomCorruption("rewards", 7)


# ---------------------------------------------------------------- recipes


def test_a_recipe_reads_as_yaml_and_builds_what_its_transforms_do(tmp_path: Path) -> None:
    save(make(), tmp_path / "source")
    (tmp_path / "recipe.yaml").write_text(
        f"source: {tmp_path / 'source'}\n"
        "options: {verify: false}\n"
        "transforms:\n"
        "  - corruption.random: {element: rewards, rate: 0.3, scale: 1.0, seed: 0}\n"
        "  - corruption.random: {element: actions}\n"
    )
    recipe = Recipe.from_yaml(tmp_path / "recipe.yaml")
    assert recipe.transforms == (RandomCorruption("rewards", 0.3, 1.0, 0), RandomCorruption("actions"))
    variant = recipe.build()
    assert variant == RandomCorruption("actions")(RandomCorruption("rewards")(make()))
    assert [record.transform for record in variant.history] == ["source", "corruption.random", "corruption.random"]


def test_a_recipe_survives_the_way_to_plain_values_and_back() -> None:
    recipe = Recipe("hopper/medium", (RandomCorruption("rewards", 0.5), RandomCorruption("dynamics")), {"steps": 1000})
    assert Recipe.from_plain(recipe.to_plain()) == recipe
    assert Recipe.from_plain(Recipe("hopper/medium").to_plain()) == Recipe("hopper/medium")


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (None, "expected a mapping with the key source"),
        ({"transforms": []}, "expected a mapping with the key source"),
        ({"source": None}, "source must be a name or a path, not None"),
        ({"source": ["a"]}, "source must be a name or a path"),
        ({"source": "a", "transform": []}, "unknown key 'transform'; known: options, source, transforms"),
        ({"source": "a", "options": 3}, "options must be a mapping"),
        ({"source": "a", "transforms": {"corruption.random": {}}}, "transforms must be a list"),
        ({"source": "a", "transforms": [{"a": {}, "b": {}}]}, "transform 0 must be one `name: {parameters}` entry"),
        ({"source": "a", "transforms": [3]}, "transform 0 must be one"),
        ({"source": "a", "transforms": [{"corruption.random": 3}]}, "must be a mapping, not 3"),
        ({"source": "a", "transforms": ["corruption.random"]}, "transform 0: corruption.random: element is missing"),
        (
            {"source": "a", "transforms": [{"corruption.random": {"element": "actions", "rates": 1}}]},
            "transform 0: corruption.random: rates is not a parameter",
        ),
        ({"source": "a", "transforms": [{"corruption.randm": {}}]}, "did you mean 'corruption.random'"),
    ],
)
def test_a_wrong_recipe_says_where_and_what(plain: Any, message: str) -> None:
    with pytest.raises(AssayError) as error:
        Recipe.from_plain(plain, "mine")
    assert message in str(error.value)
    assert "mine" in str(error.value)


@pytest.mark.parametrize("content", [b"source: [a", b"\xff\xfe\x00", b"a: b: c"])
def test_what_is_not_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"recipe\.yaml is not a YAML file"):
        Recipe.from_yaml(tmp_path / "recipe.yaml")


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml does not exist"):
        Recipe.from_yaml(tmp_path / "absent.yaml")


# ---------------------------------------------------------------- replaying a history


def test_replaying_a_history_rebuilds_the_fingerprint(stored: Dataset) -> None:
    variant = stored
    for transform in (RandomCorruption("observations"), RandomCorruption("rewards", seed=4)):
        variant = transform(variant)
    rebuilt = replay(variant.history)
    assert rebuilt.fingerprint == variant.fingerprint
    assert rebuilt.history == variant.history


def test_selections_are_replayed_in_their_place(stored: Dataset) -> None:
    before = RandomCorruption("actions")(stored.select([4, 0, 2]))
    after = RandomCorruption("actions")(stored).select(np.array([True, False] * 3))
    assert replay(before.history) == before
    assert replay(after.history) == after
    assert before != after
    for part in stored.split([0.5, 0.5], seed=1):
        assert replay(part.history) == part


def test_concatenations_are_replayed_from_all_their_sources(tmp_path: Path, stored: Dataset) -> None:
    save(make(seed=1), tmp_path / "other")
    other = RandomCorruption("rewards")(assay.load(tmp_path / "other"))
    joined = concatenate([stored.select([1, 2]), other])
    variant = RandomCorruption("dynamics")(concatenate([joined, stored]))
    assert replay(joined.history) == joined
    assert replay(variant.history) == variant


def test_a_saved_variant_can_be_replayed_after_loading(tmp_path: Path, stored: Dataset) -> None:
    variant = RandomCorruption("observations", rate=0.7)(stored)
    save(variant, tmp_path / "variant")
    loaded = assay.load(tmp_path / "variant")
    assert loaded == variant
    assert replay(loaded.history) == variant


def test_a_source_that_has_changed_is_noticed(tmp_path: Path, stored: Dataset) -> None:
    variant = RandomCorruption("actions")(stored)
    save(make(seed=1), tmp_path / "source", overwrite=True)
    with pytest.raises(DatasetIntegrityError, match=f"the history was made from {stored.fingerprint}"):
        replay(variant.history)


def test_a_record_that_does_not_follow_from_the_one_before_is_noticed(stored: Dataset) -> None:
    source, step = RandomCorruption("actions")(stored).history
    with pytest.raises(DatasetIntegrityError, match=r"before corruption\.random the rebuilt data has fingerprint"):
        replay([source, replace(step, parent="0" * 32)])


def test_a_history_without_a_source_cannot_be_replayed() -> None:
    with pytest.raises(ConfigError, match="the history is empty"):
        replay(make().history)
    with pytest.raises(ConfigError, match=r"begins with corruption\.random, not with a source"):
        replay(RandomCorruption("actions")(make()).history)


def test_a_history_with_an_unknown_transform_names_it(stored: Dataset) -> None:
    record = Record("corruption.gone", {}, parent=stored.fingerprint)
    with pytest.raises(UnknownNameError, match=r"corruption\.gone"):
        replay([*stored.history, record])


# ---------------------------------------------------------------- true provenance


def test_a_change_by_hand_is_recorded_with_its_columns_and_fingerprints_and_is_not_replayed(stored: Dataset) -> None:
    changed = stored.replace({"rewards": stored.rewards * 2, "infos/note": np.arange(30)})
    assert changed.history[:-1] == stored.history
    record = changed.history[-1]
    assert (record.transform, record.parent, record.fingerprint) == (
        "datasets.replace",
        stored.fingerprint,
        changed.fingerprint,
    )
    assert record.parameters["columns"] == ["infos/note", "rewards"]
    variant = RandomCorruption("actions")(changed)
    with pytest.raises(ConfigError, match=r"record 1 of the history \(datasets\.replace\).*infos/note, rewards"):
        replay(variant.history)


def test_what_changes_nothing_is_not_recorded(stored: Dataset) -> None:
    assert stored.replace({"rewards": stored.rewards.copy()}).history == stored.history
    assert stored.replace().history == stored.history


def test_another_info_is_recorded_with_its_values_and_replayed(stored: Dataset) -> None:
    named = RandomCorruption("actions")(stored.replace(info=replace(stored.info, id="mine", authors=("A", "B"))))
    assert named.history[1].parameters == {"id": "mine", "authors": ["A", "B"]}
    rebuilt = replay(named.history)
    assert (rebuilt, rebuilt.info, rebuilt.history) == (named, named.info, named.history)


def test_inside_a_transform_only_the_transform_is_recorded(stored: Dataset) -> None:
    @register("corruption.composed")
    class Composed(Transform):
        def apply(self, dataset: Dataset) -> Dataset:
            dataset = RandomCorruption("rewards")(dataset.select([0, 1, 2]))
            return dataset.replace({"infos/note": np.arange(15)}, info=replace(dataset.info, id="composed"))

    try:
        variant = Composed()(stored)
        assert [record.transform for record in variant.history] == ["source", "corruption.composed"]
        assert replay(variant.history) == variant
    finally:
        Transform.registry.remove("corruption.composed")


def test_a_transform_that_fails_does_not_stop_recording(stored: Dataset) -> None:
    with pytest.raises(AssayError):
        RandomCorruption("observations")(stored.replace({"observations": np.zeros(36, np.int64)}))
    assert stored.replace({"rewards": stored.rewards * 2}).history[-1].transform == "datasets.replace"


def test_helpers_that_cut_episodes_are_changes_by_hand_outside_of_a_transform(stored: Dataset) -> None:
    from assay.corruption.repair.filters import drop_steps

    cut = drop_steps(stored, np.arange(30) % 7 == 3)
    with pytest.raises(ConfigError, match=r"record 1 of the history \(datasets\.replace\)"):
        replay(cut.history)


def test_a_change_by_hand_that_was_saved_is_rebuilt_from_its_file(tmp_path: Path, stored: Dataset) -> None:
    save(stored.replace({"rewards": stored.rewards * 2}), tmp_path / "changed")
    variant = RandomCorruption("actions")(assay.load(tmp_path / "changed"))
    assert [record.transform for record in variant.history] == [
        "source",
        "datasets.replace",
        "source",
        "corruption.random",
    ]
    rebuilt = replay(variant.history)
    assert (rebuilt, rebuilt.history) == (variant, variant.history)


def test_the_last_record_is_checked_too(stored: Dataset) -> None:
    variant = RandomCorruption("actions")(stored)
    with pytest.raises(DatasetIntegrityError, match=r"record 1 of the history.*after corruption\.random"):
        replay([*variant.history[:-1], replace(variant.history[-1], parameters={"element": "rewards"})])


def test_a_joined_dataset_names_the_part_and_the_record_that_stands_against_it(stored: Dataset) -> None:
    joined = concatenate([stored, stored.replace({"rewards": stored.rewards + 1})])
    with pytest.raises(ConfigError, match=r"record 0.*dataset 1: record 1 of the history \(datasets\.replace\)"):
        replay(joined.history)
    with pytest.raises(ConfigError, match=r"record 0.*dataset 0: the history is empty"):
        replay(concatenate([make(), stored]).history)
    renamed = concatenate([stored, stored], info=replace(stored.info, id="twice"))
    assert replay(renamed.history).info.id == "twice"


OPERATIONS: dict[str, Any] = {
    "rewards by hand": lambda dataset: dataset.replace({"rewards": dataset.rewards + 1}),
    "same rewards": lambda dataset: dataset.replace({"rewards": dataset.rewards}),
    "a column by hand": lambda dataset: dataset.replace({"infos/x": np.arange(len(dataset)) + len(dataset.history)}),
    "a seed by hand": lambda dataset: dataset.replace(
        episode_columns={"seed": np.arange(dataset.total_episodes) + len(dataset.history)}
    ),
    "info": lambda dataset: dataset.replace(info=replace(dataset.info, id=dataset.info.id + "x")),
    "select": lambda dataset: dataset.select(np.arange(dataset.total_episodes)[::-2]),
    "split": lambda dataset: dataset.split([0.4, 0.6], seed=3)[1],
    "twice": lambda dataset: concatenate([dataset, dataset]),
    "noise": RandomCorruption("observations", rate=0.5),
    "tag": make_transform("datasets.tag", {"tags": {"first": [0]}}),
    "merge": make_transform("corruption.merge_episodes", {"rate": 0.5}),
    "filter": make_transform("corruption.repair.outliers", {"element": "rewards", "share": 0.2}),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chain=st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=5), saved=st.integers(0, 5))
def test_any_chain_is_rebuilt_or_refused_by_the_name_of_a_record(
    tmp_path_factory: pytest.TempPathFactory, stored: Dataset, chain: list[str], saved: int
) -> None:
    dataset = stored
    for number, name in enumerate(chain):
        if number == saved:
            folder = tmp_path_factory.mktemp("saved") / "dataset"
            save(dataset, folder)
            dataset = assay.load(folder)
        dataset = OPERATIONS[name](dataset)
    unsaved = chain[saved:] if saved < len(chain) else chain
    if any("by hand" in name for name in unsaved):
        with pytest.raises(
            ConfigError, match=r"record \d+ of the history \(datasets\.(replace|concatenate)\).*by hand"
        ):
            replay(dataset.history)
    else:
        rebuilt = replay(dataset.history)
        assert rebuilt.fingerprint == dataset.fingerprint
        assert (rebuilt.info, rebuilt.history) == (dataset.info, dataset.history)
