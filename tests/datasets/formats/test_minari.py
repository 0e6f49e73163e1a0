"""Minari: what it writes we read, what we write it reads, and damaged files are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.errors import AssayError, AssayWarning, DatasetError, FormatError
from assay.datasets.formats import minari as minari_format
from assay.datasets.formats import sniff
from assay.datasets.formats.containers import hdf5_chunks
from assay.datasets.formats.minari import hdf5_reader
from assay.datasets.info import DatasetInfo, Record, ReferenceScores
from assay.datasets.spaces import Box, Discrete, Text, space_from_gymnasium, space_to_json
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset, datasets, fill

FORMATS = ("hdf5", "arrow", "parquet")
PICTURE = Box((32, 32, 3), "uint8", np.zeros((32, 32, 3), int).tolist(), np.full((32, 32, 3), 255).tolist())
read, write = minari_format.read, minari_format.write
SHARED = Path(__file__).parents[3] / "../shared/data/minari"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
SHARED_IDS = ("hopper/random-v0", "hopper/sac-v0", "hopper/tqc-v0", "halfcheetah/random-v0", "halfcheetah/sac-v0")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    return tmp_path / "root"


def edit_metadata(folder: Path, **changes: Any) -> None:
    file = folder / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in (metadata | changes).items() if value is not None}))


@pytest.fixture
def written(root: Path) -> Path:
    """A small dataset on disk, to be spoiled."""
    write(clean_dataset(steps=18, length=6, episode_columns={"seed": np.arange(3)}), root / "mine/small-v0")
    return root / "mine/small-v0"


@pytest.fixture
def spoil(written: Path) -> Callable[[Callable[[h5py.File], Any]], Path]:
    def apply(change: Callable[[h5py.File], Any]) -> Path:
        with h5py.File(written / "data/main_data.hdf5", "a") as file:
            change(file)
        return written

    return apply


def replace_member(name: str, value: Any, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return change


# -------------------------------------------------------------------- agreement with Minari


def compare_with_minari(dataset: Dataset, minari_dataset: Any) -> None:
    start = 0
    assert minari_dataset.total_episodes == dataset.total_episodes
    for number, episode in enumerate(minari_dataset.iterate_episodes()):
        end = start + len(episode)
        nested = {"observations": episode.observations, "actions": episode.actions, "infos": episode.infos or {}}
        flat = {"rewards": episode.rewards, "terminations": episode.terminations, "truncations": episode.truncations}

        def flatten(prefix: str, value: Any, flat: dict[str, Any] = flat) -> None:
            if isinstance(value, dict):
                for key, child in value.items():
                    flatten(f"{prefix}/{key}", child)
            elif isinstance(value, tuple):
                for index, child in enumerate(value):
                    flatten(f"{prefix}/_index_{index}", child)
            else:
                flat[prefix] = value

        for prefix, value in nested.items():
            flatten(prefix, value)
        assert sorted(flat) == list(dataset.columns)
        for name, expected in flat.items():
            if dataset.column(name).dtype.kind == "U":
                values = [value.decode() if isinstance(value, bytes) else str(value) for value in expected]
                expected = np.array(values, dataset.column(name).dtype)
            array = dataset.column(name)
            extra = int(len(array) != dataset.total_steps)
            ours = array[start + extra * number : end + extra * (number + 1)]
            assert ours.dtype == expected.dtype, name
            assert ours.tobytes() == expected.tobytes(), name
        start = end
    seeds = dataset.episode_columns.get("seed")
    for number, metadata in enumerate(minari_dataset.storage.get_episode_metadata(range(dataset.total_episodes))):
        known = seeds is not None and str(seeds[number]) not in ("-1", "")
        assert metadata.get("seed") == (int(seeds[number]) if known and seeds is not None else None)
        assert metadata["total_steps"] == dataset.episode_lengths[number]
        assert metadata["id"] == number


@needs_shared
@pytest.mark.parametrize("identifier", SHARED_IDS)
def test_we_read_what_minari_wrote_as_minari_does(identifier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(SHARED))
    dataset = read(SHARED / identifier)
    compare_with_minari(dataset, minari.load_dataset(identifier))
    assert dataset.info.id == identifier
    assert dataset.info.environment_id in ("Hopper-v5", "HalfCheetah-v5")
    assert dataset.info.action_space is not None


@needs_shared
def test_a_dataset_written_again_is_the_same_to_minari_and_to_us(root: Path) -> None:
    minari = pytest.importorskip("minari")
    original = read(SHARED / "halfcheetah/random-v0")
    write(original, root / "halfcheetah/again-v0")
    again = read(root / "halfcheetah/again-v0")
    assert again == original
    compare_with_minari(original, minari.load_dataset("halfcheetah/again-v0"))


@st.composite
def datasets_with_text(draw: st.DrawFn, **sizes: int) -> Dataset:
    """Any dataset; some with text as observations, actions and infos, of another width than the longest."""
    dataset = draw(datasets(**sizes))
    episodes, steps = dataset.total_episodes, dataset.total_steps
    texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
    words = np.array(draw(st.lists(texts, min_size=1, max_size=4)), "<U12")
    chosen = np.resize(words, steps + episodes)
    if draw(st.booleans()):
        dataset = dataset.replace({"infos/note": chosen[:steps], "infos/all": chosen})
    if draw(st.booleans()) and "actions" in dataset.columns:
        dataset = dataset.replace({"actions": chosen[:steps]})
    if draw(st.booleans()) and "observations" in dataset.columns:
        dataset = dataset.replace(
            {"observations": None, "observations/text": chosen, "observations/n": np.ones(len(chosen))}
        )
    return dataset


@pytest.mark.parametrize("data_format", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets_with_text(max_length=12, max_episodes=3))
def test_minari_opens_any_structure_that_we_write(dataset: Dataset, root: Path, data_format: str) -> None:
    minari = pytest.importorskip("minari")
    if data_format != "hdf5":  # Minari cannot read nested infos there, nor infos of T rows
        dataset = dataset.replace({name: None for name in ("infos/deep/flag", "infos/note") if name in dataset.columns})
    write(dataset, root / "any/structure-v0", overwrite=True, data_format=data_format)
    compare_with_minari(dataset, minari.load_dataset("any/structure-v0"))


@pytest.mark.parametrize("data_format", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets_with_text())
def test_reading_what_was_written_gives_the_same_columns_episodes_and_fingerprint(
    dataset: Dataset, tmp_path: Path, data_format: str
) -> None:
    write(dataset, tmp_path / "again-v1", overwrite=True, data_format=data_format)
    again = read(tmp_path / "again-v1")
    assert_same_columns(dataset, again)
    assert {key: value.tolist() for key, value in again.episode_columns.items()} == {
        key: value.tolist() for key, value in dataset.episode_columns.items()
    }
    assert again == dataset


def minari_made(root: Path, lengths: tuple[int, ...] = (3, 1, 4), text: Any = "left") -> tuple[Any, list[Any]]:
    minari = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    structure = {"children": {"pose": ("float32", (3,)), "pair": {"children": (("float64", ()), ("uint8", (2, 2)))}}}
    buffers = [
        EpisodeBuffer(
            id=None,
            seed=2**63 + number,
            options={"start": {"x": 1.5, "name": text}, "list": [1, 2]} if number else None,
            observations=fill(structure, generator, length + 1),
            actions=generator.integers(0, 3, length),
            rewards=generator.normal(size=length).tolist(),
            terminations=[False] * (length - 1) + [True],
            truncations=[False] * length,
            infos={"x": generator.normal(size=length + 1), "deep": {"y": np.arange(length + 1)}},
        )
        for number, length in enumerate(lengths)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = minari.create_dataset_from_buffers(
            "made/by-minari-v3",
            buffers,
            observation_space=spaces.Dict(
                pose=spaces.Box(-1, 1, (3,), np.float32),
                pair=spaces.Tuple([spaces.Box(-9, 9, (), np.float64), spaces.Box(0, 255, (2, 2), np.uint8)]),
            ),
            action_space=spaces.Discrete(3),
            author="somebody",
            author_email="somebody@example.org",
            code_permalink="https://example.org",
            algorithm_name="none",
            description="for tests",
            requirements=["numpy"],
        )
    made.storage.update_metadata({"ref_min_score": 1.0, "ref_max_score": 3.0, "something_new": {"a": [1]}})
    return made, buffers


def test_dict_and_tuple_spaces_infos_options_and_large_seeds_are_read_as_minari_has_them(root: Path) -> None:
    made, _ = minari_made(root)
    dataset = read(root / "made/by-minari-v3")
    compare_with_minari(dataset, made)
    assert dataset.info.observation_space == space_from_gymnasium(made.observation_space)
    assert dataset.info.action_space == Discrete(3)
    assert dataset.episode_columns["seed"].tolist() == [2**63, 2**63 + 1, 2**63 + 2]
    assert json.loads(dataset.episode_columns["options"][1]) == {
        "start": {"x": 1.5, "name": "left"},
        "list": [1, 2],
    }
    assert dataset.episode_columns["options"][0] == ""
    metadata = list(made.storage.get_episode_metadata(range(3)))
    write(dataset, root / "made/again-v3")
    minari = pytest.importorskip("minari")
    again = list(minari.load_dataset("made/again-v3").storage.get_episode_metadata(range(3)))
    for one, other in zip(metadata, again, strict=True):
        assert str(one) == str(other)


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_joined_selections_hold_what_was_selected_with_its_seeds_and_options(root: Path, data_format: str) -> None:
    """Minari's combine_datasets copies every episode of a filtered view, without seeds and options (Minari #350)."""
    minari = pytest.importorskip("minari")
    whole = clean_dataset(steps=40, length=8).replace(
        episode_columns={"seed": np.arange(5) + 70, "options": np.array([f'{{"level": {e}}}' for e in range(5)])}
    )
    write(whole, root / "mine/whole-v0", data_format=data_format)
    loaded = read(root / "mine/whole-v0")
    good = loaded.select(loaded.returns >= np.sort(loaded.returns)[3])
    kept = [*np.flatnonzero(np.isin(whole.returns, good.returns)), 0]
    assert len(kept) == 3
    write(concatenate([good, loaded.select([0])]), root / "mine/good-v0", data_format=data_format)
    theirs = minari.load_dataset("mine/good-v0")
    assert theirs.total_episodes == 3
    ours = read(root / "mine/good-v0")
    for number, (episode, attributes) in enumerate(zip(theirs, theirs.storage.get_episode_metadata(range(3)))):
        expected = whole.select([kept[number]])
        assert np.array_equal(episode.observations, expected.observations)
        assert int(attributes["seed"]) == ours.episode_columns["seed"][number] == 70 + kept[number]
        assert json.loads(ours.episode_columns["options"][number]) == {"level": kept[number]}


def test_all_of_the_metadata_survives_a_round_trip(root: Path) -> None:
    minari_made(root)
    info = read(root / "made/by-minari-v3").info
    assert (info.authors, info.author_emails, info.requirements) == (
        ("somebody",),
        ("somebody@example.org",),
        ("numpy",),
    )
    assert info.references == ReferenceScores(1.0, 3.0, "Minari metadata")
    assert info.extra["something_new"] == {"a": [1]}
    write(read(root / "made/by-minari-v3"), root / "made/copy-v3")
    before = json.loads((root / "made/by-minari-v3/data/metadata.json").read_text())
    after = json.loads((root / "made/copy-v3/data/metadata.json").read_text())
    assert {key: after[key] for key in before if key not in ("dataset_id", "dataset_size")} == {
        key: before[key] for key in before if key not in ("dataset_id", "dataset_size")
    }
    assert after["dataset_size"] == pytest.approx(before["dataset_size"], abs=0.11)


def test_the_keys_of_the_metadata_stand_in_minaris_order(root: Path) -> None:
    minari_made(root)
    write(read(root / "made/by-minari-v3"), root / "made/copy-v3")
    before = [*json.loads((root / "made/by-minari-v3/data/metadata.json").read_text())]
    after = [*json.loads((root / "made/copy-v3/data/metadata.json").read_text())]
    head = before[: before.index("minari_version") + 1]
    assert after[: len(head)] == head


def test_the_layout_of_the_file_is_minaris(root: Path) -> None:
    minari_made(root)
    write(read(root / "made/by-minari-v3"), root / "made/copy-v3")

    def layout(path: Path) -> list[Any]:
        entries: list[Any] = []

        def visit(name: str, item: Any) -> None:
            attributes = {key: (str(value), getattr(value, "dtype", None)) for key, value in item.attrs.items()}
            shape = (item.dtype, item.shape, item.chunks, item.maxshape) if isinstance(item, h5py.Dataset) else None
            entries.append((name, shape, attributes))

        with h5py.File(path / "data/main_data.hdf5") as file:
            file.visititems(visit)
        return sorted(entries, key=lambda entry: entry[0])

    assert layout(root / "made/copy-v3") == layout(root / "made/by-minari-v3")


def test_minari_lists_what_we_write_below_its_folder(root: Path) -> None:
    minari = pytest.importorskip("minari")
    from minari import namespace

    write(clean_dataset(), root / "outer/inner/mine-v2")
    assert list(minari.list_local_datasets()) == ["outer/inner/mine-v2"]
    assert namespace.list_local_namespaces() == ["outer", "outer/inner"]


# -------------------------------------------------------------------- reading


@pytest.mark.parametrize("part", ["", "data", "data/main_data.hdf5"])
def test_the_folder_its_data_folder_and_the_file_are_recognized_and_read(written: Path, part: str) -> None:
    assert sniff(written / part) == "minari"
    assert read(written / part).total_steps == 18


def test_other_folders_and_files_are_not_taken_for_minari(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("hello")
    assert not minari_format.sniff(tmp_path)
    assert not minari_format.sniff(tmp_path / "notes.txt")
    assert not minari_format.sniff(tmp_path / "absent")


def test_neither_minari_nor_gymnasium_is_imported(written: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from assay.datasets.formats import minari as f;"
        "d = f.read(Path(sys.argv[1])); f.write(d, Path(sys.argv[1]).with_name('other-v0'));"
        "sys.exit(bool({'minari', 'gymnasium', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(written)], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 0


def test_episodes_come_in_the_order_of_their_numbers(root: Path) -> None:
    dataset = clean_dataset(steps=36, length=3, rewards=np.arange(36.0))  # 12 episodes: episode_10 sorts before _2
    write(dataset, root / "mine/order-v0")
    assert read(root / "mine/order-v0").rewards.tolist() == list(range(36))


def test_t_observations_are_an_error_that_says_what_to_do_and_can_be_repeated_on_request(written: Path) -> None:
    with h5py.File(written / "data/main_data.hdf5", "a") as file:
        file["episode_1/observations"].resize(6, axis=0)
    with pytest.raises(DatasetError, match=r"main_data.hdf5: episode 1: column observations has 6 rows.*7 belong"):
        read(written)
    dataset = read(written, repeat_missing_final=True)
    assert dataset.episode_columns["final_observation"].tolist() == [True, False, True]
    assert (dataset.observations[13] == dataset.observations[12]).all()
    assert len(dataset.transitions()) == 17


def test_infos_of_t_rows_stay_t_rows_and_a_mixture_is_refused(
    spoil: Callable[[Callable[[h5py.File], Any]], Path],
) -> None:
    for number in range(3):
        path = spoil(replace_member(f"episode_{number}/infos/late", np.arange(6.0)))
    assert read(path).column("infos/late").shape == (18,)
    spoil(replace_member("episode_2/infos/late", np.arange(7.0)))
    with pytest.raises(DatasetError, match="episode 2: column infos/late has 7 rows for 6 steps; expected 6"):
        read(path)
    assert "infos/late" not in read(path, infos=False).columns


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([None, None, None], None),
        ([1, None, 3], [1, -1, 3]),
        ([2**64 - 1, 0, 5], [2**64 - 1, 0, 5]),
        ([2**64 - 1, None, 5], [str(2**64 - 1), "", "5"]),
    ],
)
def test_seeds_of_any_size_are_kept_and_missing_ones_stay_missing(
    root: Path, spoil: Callable[[Callable[[h5py.File], Any]], Path], seeds: list[int | None], expected: Any
) -> None:
    def change(file: h5py.File) -> None:
        for number, seed in enumerate(seeds):
            del file[f"episode_{number}"].attrs["seed"]
            if seed is not None:
                file[f"episode_{number}"].attrs["seed"] = seed

    dataset = read(spoil(change))
    column = dataset.episode_columns.get("seed")
    assert (None if column is None else column.tolist()) == expected
    write(dataset, root / "mine/again-v0")
    assert read(root / "mine/again-v0") == dataset


def test_what_a_metadata_callback_added_becomes_an_episode_column_but_stale_reward_statistics_do_not(
    spoil: Callable[[Callable[[h5py.File], Any]], Path],
) -> None:
    def change(file: h5py.File) -> None:
        for number in range(3):
            file[f"episode_{number}"].attrs.update({"level": number, "map": f"m{number}", "rewards_sum": 1.0})
        file["episode_0"].attrs["only_here"] = 1

    with pytest.warns(AssayWarning, match="only_here"):
        columns = read(spoil(change)).episode_columns
    assert sorted(columns) == ["level", "map", "seed"]
    assert columns["map"].tolist() == ["m0", "m1", "m2"]


# -------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_format": "zarr"}, "'zarr'; known: hdf5, arrow, parquet"),
        ({"data_format": "arrow"}, "holds 0 episodes"),
        ({"total_steps": 19}, "18 steps, but metadata.json says 19"),
        ({"total_steps": 17}, "more steps than the 17"),
        ({"total_episodes": 4}, r"3 episodes, but metadata.json says 4 \(episode_3 is missing\)"),
        ({"total_steps": 2**40}, "truncated or damaged"),
        ({"total_steps": "many"}, "a positive integer belongs there"),
        ({"total_episodes": None}, "a positive integer belongs there"),
        ({"observation_space": "{}"}, "observation_space is not a space"),
        ({"observation_space": '{"type": "Discrete", "n": Infinity}'}, "observation_space is not a space"),
        ({"observation_space": 5}, "observation_space is not a space"),
        ({"description": 5}, "text belongs there"),
    ],
)
def test_metadata_that_does_not_fit_the_file_is_refused(written: Path, changes: dict[str, Any], message: str) -> None:
    edit_metadata(written, **changes)
    with pytest.raises(DatasetError, match=message):
        read(written)


def test_an_unknown_minari_version_and_missing_spaces_are_accepted_and_the_version_is_noted(written: Path) -> None:
    edit_metadata(written, minari_version="9.9.9", observation_space=None, action_space=None)
    info = read(written).info
    assert "9.9.9" in info.source
    assert info.observation_space is None


def test_a_missing_file_is_named(written: Path) -> None:
    (written / "data/main_data.hdf5").rename(written / "elsewhere")
    with pytest.raises(FormatError, match=r"main_data.hdf5 is missing"):
        read(written)
    (written / "data/metadata.json").unlink()
    with pytest.raises(FormatError, match="holds no Minari dataset"):
        read(written)
    (written / "elsewhere").rename(written / "data/main_data.hdf5")
    with pytest.raises(FormatError, match=r"metadata.json cannot be read"):
        read(written)


CHANGES: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "a missing group": (lambda file: file.move("episode_1", "episode_7"), "episode_1 is missing"),
    "a missing column": (lambda file: file.pop("episode_1/actions"), "episode 1: column actions is missing"),
    "rewards missing everywhere": (lambda file: file.pop("episode_0/rewards"), "episode 0: rewards are missing"),
    "an extra column": (replace_member("episode_1/infos/x", np.zeros(7)), "episode 1: column infos/x is not in"),
    "another dtype": (replace_member("episode_2/actions", np.zeros((6, 2))), "float64.*here, but float32"),
    "another shape": (replace_member("episode_2/actions", np.zeros((6, 3), "f4")), r"\[3\] here, but float32\[2\]"),
    "actions of another length": (replace_member("episode_2/actions", np.zeros((5, 2), "f4")), "5 rows for 6 steps"),
    "total_steps that disagree": (lambda file: file["episode_1"].attrs.modify("total_steps", 5), "says 5, but"),
    "a seed in words": (lambda file: file["episode_1"].attrs.__setitem__("seed", "x"), "the seed is 'x'"),
    "a single value": (replace_member("episode_0/infos/x", 1.0), "column infos/x is a single value"),
    "text in infos of one episode": (replace_member("episode_0/infos/x", ["a"] * 7), "infos/x is missing here"),
    "a table in infos": (
        replace_member("episode_0/infos/x", np.zeros(7, [("a", "f8")])),
        "infos/x holds values of type .*infos=False",
    ),
    "flags that are no booleans": (
        lambda file: [replace_member(f"episode_{i}/truncations", np.zeros(6, "u1"))(file) for i in range(3)],
        "truncations must be flat booleans",
    ),
    "a soft link": (
        lambda file: (file.pop("episode_1/rewards"), file.__setitem__("episode_1/rewards", h5py.SoftLink("/x"))),
        "is a link to somewhere else",
    ),
    "a link into another file": (
        lambda file: (file.pop("episode_1"), file.__setitem__("episode_1", h5py.ExternalLink("other", "/"))),
        "is a link to somewhere else",
    ),
    "rows that were never written": (
        lambda file: (
            file.pop("episode_1/rewards"),
            file.create_dataset("episode_1/rewards", (6,), "f8", chunks=True, maxshape=(None,)),
        ),
        "column rewards was not written completely",
    ),
    "rows that are declared in the billions": (
        lambda file: file["episode_0/rewards"].resize(2**40, axis=0),
        "episode 0: column rewards: more steps than the 18",
    ),
    "one giant row": (
        lambda file: (
            file.pop("episode_0/observations"),
            file.create_dataset("episode_0/observations", (7, 2**40), "f8", chunks=(1, 1024)),
        ),
        "truncated or damaged",
    ),
    "data kept in another file": (
        lambda file: (
            file.pop("episode_1/rewards"),
            file.create_dataset("episode_1/rewards", (6,), "f8", external=[("/dev/zero", 0, 48)]),
        ),
        "is stored in another file",
    ),
    "groups without end": (
        lambda file: file["episode_0/infos"].create_group("/".join("abcdefghijklmnopqrstuvwxyz")),
        "nested more than 16 deep",
    ),
    "a group that contains itself": (
        lambda file: file.__setitem__("episode_0/infos/self", file["episode_0/infos"]),
        "infos/self: the group has two names",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_impossible_file_is_refused_with_the_place(
    name: str, spoil: Callable[[Callable[[h5py.File], Any]], Path]
) -> None:
    change, message = CHANGES[name]
    path = spoil(change)
    with pytest.raises(DatasetError, match=message) as caught:
        read(path)
    assert "main_data.hdf5" in str(caught.value)


def test_numbers_where_the_space_says_text_or_jpeg_images_are_refused_and_raw_images_are_read(
    root: Path, written: Path
) -> None:
    edit_metadata(written, observation_space=space_to_json(Text(5, 1, "ab")))
    with pytest.raises(FormatError, match="column observations holds values of type float64"):
        read(written)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    images = clean_dataset(steps=10, length=5, observations=pixels, info=DatasetInfo(observation_space=PICTURE))
    for data_format in FORMATS:
        write(images, root / "mine/images-v0", data_format=data_format, overwrite=True)
        assert (read(root / "mine/images-v0").observations == pixels).all()
        edit_metadata(root / "mine/images-v0", jpeg_encoding=True)
        with pytest.raises(FormatError, match=r"JPEG images belong there|is not read as images"):
            read(root / "mine/images-v0")


def test_a_space_with_other_parts_than_the_file_is_refused(written: Path) -> None:
    edit_metadata(written, observation_space='{"type": "Dict", "subspaces": {}}')
    with pytest.raises(FormatError, match="column observations is not in the observation_space"):
        read(written)


def test_a_boolean_byte_other_than_0_and_1_is_damage(written: Path) -> None:
    file = written / "data/main_data.hdf5"
    content = file.read_bytes()
    with h5py.File(file) as handle:
        place = handle["episode_1/truncations"].id.get_chunk_info(0).byte_offset
    file.write_bytes(content[:place] + b"\x41" + content[place + 1 :])
    with pytest.raises(FormatError, match="column truncations is damaged"):
        read(written)


def test_a_heap_that_loops_is_refused_in_no_time(written: Path) -> None:
    with h5py.File(written / "data/main_data.hdf5", "a") as handle:
        handle["episode_0"].attrs["options/name"] = "text"
    content = bytearray((written / "data/main_data.hdf5").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 24 : heap + 32] = bytes(8)  # the first object's size
    content[heap + 16 : heap + 18] = bytes(2)  # which is then free space of no size
    (written / "data/main_data.hdf5").write_bytes(content)
    with pytest.raises(FormatError, match=r"the heap at byte \d+ is damaged"):
        read(written)


# -------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("root/hopper/medium-v0", None, "hopper/medium-v0"),
        ("root/a1/b2/c-v10", None, "a1/b2/c-v10"),
        ("root/flat-v0", None, "flat-v0"),
        ("other/deep/space/thing-v1", None, "space/thing-v1"),
        ("other/sp.ace/thing-v1", None, "thing-v1"),
        ("other/whatever", "my/own-v4", "my/own-v4"),
    ],
)
def test_the_id_comes_from_the_path(root: Path, tmp_path: Path, path: str, given: str | None, expected: str) -> None:
    write(clean_dataset(), tmp_path / path, dataset_id=given)
    assert read(tmp_path / path).info.id == expected


@pytest.mark.parametrize("name", ["root/hopper/medium", "root/a/b-v0", "other/name", "root/sp ace/x-v0"])
def test_an_id_that_minari_would_refuse_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DatasetError, match="is not a Minari id"):
        write(clean_dataset(), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_dataset_that_fits_is_written_without_a_warning(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(clean_dataset(), root / "mine/plain-v0")
    assert read(root / "mine/plain-v0").total_steps == 60


def test_an_unknown_final_observation_cannot_be_written(root: Path) -> None:
    known = np.arange(10) != 4
    with pytest.raises(DatasetError, match="final observation of episode 4 is unknown"):
        write(clean_dataset(episode_columns={"final_observation": known}), root / "mine/unknown-v0")
    assert not (root / "mine").exists()


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_space_that_does_not_fit_cannot_be_written(root: Path, data_format: str) -> None:
    def refused(dataset: Dataset, message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            write(dataset, root / "mine/space-v0", data_format=data_format)
        assert not (root / "mine/space-v0").exists()

    info = DatasetInfo(observation_space=Discrete(3))
    nested = {"observations/a": np.zeros(70), "observations": None}
    refused(clean_dataset(info=info).replace(nested), "observation_space in info and the columns disagree")
    refused(clean_dataset(actions=np.full(60, "a"), info=DatasetInfo(action_space=Discrete(3))), "holds <U1, and its")
    refused(clean_dataset(actions=np.full((60, 2), "a")), "column actions holds <U1, which Minari's")
    refused(clean_dataset(actions=np.full(60, b"a")), r"column actions holds \|S1, which Minari's")
    refused(clean_dataset(observations=np.full(70, "a\ud800")), "cannot hold it")


def test_history_licence_and_the_source_of_the_references_survive_while_the_data_does(root: Path) -> None:
    info = DatasetInfo(licence="MIT", source="somewhere", reference_scores=ReferenceScores(0.0, 1.0, "a paper"))
    record = Record("source", {"name": "x"}, version="0")
    write(clean_dataset(info=info).replace(record=record), root / "mine/kept-v0")
    kept = read(root / "mine/kept-v0")
    assert kept.history == (record,)
    assert (kept.info.licence, kept.info.source) == ("MIT", "somewhere")
    assert kept.info.reference_scores == info.reference_scores
    with h5py.File(root / "mine/kept-v0/data/main_data.hdf5", "a") as file:
        file["episode_0/rewards"][0] = 5.0
    assert read(root / "mine/kept-v0").history == ()


@pytest.mark.parametrize("history", [5, {"kind": "source"}, [5], [{"unknown": 1}]], ids=str)
def test_a_history_that_is_none_is_refused(written: Path, history: Any) -> None:
    block = json.loads((written / "data/metadata.json").read_text())["assay"]
    edit_metadata(written, assay=block | {"history": history})
    with pytest.raises(FormatError, match="the history that Assay wrote is damaged"):
        read(written)


def test_an_existing_dataset_is_replaced_only_on_request(written: Path) -> None:
    with pytest.raises(DatasetError, match="exists already"):
        write(clean_dataset(), written)
    assert read(written).total_steps == 18
    write(clean_dataset(), written, overwrite=True)
    assert read(written).total_steps == 60


# -------------------------------------------------------------------- fuzzing


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file written by Minari; without text, for whose damaged lengths HDF5 may ask for gigabytes."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("sample")
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        minari_made(root, text=1)
    return root / "made/by-minari-v3"


def read_or_refuse(path: Path) -> Dataset | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        try:
            return read(path)
        except AssayError:
            return None


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.just(1.0), st.just(1.0), st.floats(0, 1)),
    only_structure=st.booleans(),
)
def test_a_damaged_file_is_refused_or_has_the_declared_shapes(
    sample: Path, tmp_path: Path, edits: list[tuple[float, int]], keep: float, only_structure: bool
) -> None:
    content = bytearray((sample / "data/main_data.hdf5").read_bytes())
    places = np.flatnonzero(np.frombuffer(content, np.uint8)) if only_structure else np.arange(len(content))
    for place, value in edits:
        content[places[int(place * len(places))]] = value
    (tmp_path / "data").mkdir(exist_ok=True)
    shutil.copy(sample / "data/metadata.json", tmp_path / "data")
    (tmp_path / "data/main_data.hdf5").write_bytes(content[: round(keep * len(content))])
    dataset = read_or_refuse(tmp_path)
    assert dataset is None or (dataset.total_steps, dataset.total_episodes) == (8, 3)
    assert dataset is None or dataset.observations["pose"].shape == (11, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5_reader, "find_chunks", lambda *_: None)
        assert read_or_refuse(tmp_path) == dataset


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_metadata_is_refused_or_read(sample: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray((sample / "data/metadata.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "data").mkdir(exist_ok=True)
    shutil.copy(sample / "data/main_data.hdf5", tmp_path / "data")
    (tmp_path / "data/metadata.json").write_bytes(content[: data.draw(st.integers(len(content) - 50, len(content)))])
    dataset = read_or_refuse(tmp_path)
    assert dataset is None or dataset.total_steps == 8


@pytest.mark.parametrize("by", ["Minari", "Assay"])
def test_all_numbers_but_the_first_episodes_are_found_without_hdf5_and_are_what_hdf5_reads(
    root: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari_made(root, (3, 1, 4, 2000))
    folder = root / "made/by-minari-v3"
    if by == "Assay":
        write(read(folder), root / "mine/again-v3")
        folder = root / "mine/again-v3"
    found = []

    def find_chunks(*arguments: Any) -> Any:
        found.append(hdf5_chunks.find_chunks(*arguments))
        return found[-1]

    monkeypatch.setattr(hdf5_reader, "find_chunks", find_chunks)
    dataset = read(folder)
    assert [(chunks.rows >= 0).tolist() for chunks in found] == [[False, True, True, True]] * 9
    monkeypatch.setattr(hdf5_reader, "find_chunks", lambda *_: None)
    assert read(folder) == dataset


def test_a_dataset_written_twice_gives_the_same_bytes(root: Path) -> None:
    dataset = clean_dataset()
    for name in ("one", "other"):
        write(dataset, root / name, dataset_id="same/name-v0")
    one, other = ((root / name / "data/main_data.hdf5").read_bytes() for name in ("one", "other"))
    assert one == other


def test_a_file_that_was_compressed_afterwards_reads_the_same(root: Path, written: Path) -> None:
    dataset = clean_dataset(steps=6000, length=600, rewards=np.zeros(6000), actions=np.ones((6000, 2), np.float32))
    write(dataset, root / "mine/large-v0")
    with h5py.File(root / "mine/large-v0/data/main_data.hdf5", "a") as file:
        for episode in file.values():
            for name in ("observations", "actions", "rewards", "terminations", "truncations"):
                values = episode[name][()]
                del episode[name]
                episode.create_dataset(name, data=values, chunks=True, compression="gzip", compression_opts=9)
    assert read(root / "mine/large-v0") == dataset
