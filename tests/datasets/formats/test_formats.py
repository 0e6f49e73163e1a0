"""The registry of formats, formats of one's own, and the page that describes them."""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import assay
from assay.datasets import Dataset, formats
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError, UnknownNameError
from assay.datasets.formats import (
    FORMATS,
    format_named,
    known_formats,
    register_format,
    sniff,
    writable_formats,
    writer_named,
)
from tests.datasets.dataset_strategies import clean_dataset

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "formats.md"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    formats.known_formats()
    for table in ("_entries", "_origins"):
        monkeypatch.setattr(formats._REGISTRY, table, dict(getattr(formats._REGISTRY, table)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_offers_what_the_protocol_says(name: str) -> None:
    module: Any = format_named(name)
    assert module.TITLE
    assert module.LAYOUT.startswith(("folder", "file"))
    assert isinstance(module.CANNOT_HOLD, str)
    assert callable(module.sniff)
    assert callable(module.read)


@pytest.mark.parametrize("name", FORMATS)
def test_sniffing_never_raises_on_what_is_foreign(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text.hdf5").write_text("not what the name says")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "metadata.json").write_text("[" * 5000)
    (tmp_path / "archive.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    for path in (*tmp_path.iterdir(), tmp_path / "absent"):
        assert format_named(name).sniff(path) is False


@pytest.mark.parametrize("name", writable_formats())
def test_the_first_format_that_claims_a_file_is_the_one_that_wrote_it(name: str, tmp_path: Path) -> None:
    dataset = clean_dataset(rewards=np.zeros(60), **({"costs": np.zeros(60)} if name == "dsrl" else {}))
    target = tmp_path / "written-v0.anything"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)  # what a format has no place for
        writer_named(name).write(dataset, target, **({"dataset_id": "written-v0"} if name == "minari" else {}))
    assert sniff(target) == name


@pytest.mark.parametrize("name", writable_formats())
def test_a_foreign_byte_order_comes_back_or_is_warned_about(name: str, tmp_path: Path) -> None:
    dataset = clean_dataset(rewards=np.zeros(60), **({"costs": np.zeros(60)} if name == "dsrl" else {}))
    foreign = {"observations": ">f8", "actions": ">f4"}
    swapped = dataset.replace({key: dataset.column(key).astype(dtype) for key, dtype in foreign.items()})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assay.save(swapped, tmp_path / "written-v0", format=name)
        back = assay.load(tmp_path / "written-v0")
    messages = [str(item.message) for item in caught if "one byte order" in str(item.message)]
    rows = slice(0, dataset.episode_lengths[0])
    for key, dtype in foreign.items():
        assert np.array_equal(back.column(key)[rows], dataset.column(key)[rows])
        if back.column(key).dtype.str != dtype:
            (message,) = messages
            assert key in message


def test_a_loaded_dataset_says_what_it_was_read_as(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", state=np.zeros((4, 2)), a=np.zeros((4, 1)), r=np.ones(4), ends=np.array([2, 4]))
    options: dict[str, Any] = {
        "columns": {"observations": "state", "actions": "a", "rewards": "r"},
        "episode_ends": "ends",
    }
    with pytest.warns(UserWarning, match="terminations"):
        dataset = assay.load(tmp_path / "mine.npz", format="npz", **options)
    assert dataset.history[0].parameters["format"] == "npz"
    with pytest.warns(UserWarning, match="terminations"):
        assert assay.replay(dataset.history) == dataset


def test_what_nothing_recognizes_is_refused_with_the_formats_that_were_tried(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FormatError, match=r"in no known format \(assay, minari, .*npz, table\)"):
        sniff(tmp_path / "notes.txt")
    with pytest.raises(DatasetError, match="does not exist"):
        sniff(tmp_path / "absent")


def test_a_folder_of_tables_of_several_kinds_is_told_so_and_commands_quote_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "own data"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("x,u\n0,1\n")
    with pytest.raises(FormatError, match=rf"`assay datasets map '{folder}'` proposes one"):
        sniff(folder)
    with pytest.raises(FormatError, match=rf"`assay datasets map '{folder}/a\.csv'` proposes one"):
        sniff(folder / "a.csv")
    (folder / "c.jsonl").write_text('{"x": 0, "u": 1}\n')
    with pytest.raises(
        FormatError, match=r"tables of several kinds \(csv, jsonl\): put one kind into a folder of its own"
    ) as refused:
        assay.load(folder, columns={"observations": "x", "actions": "u"})
    assert "proposes" not in str(refused.value)


def test_reading_formats_cannot_be_written_and_misspelt_ones_are_corrected() -> None:
    with pytest.raises(ConfigError, match="read, but not written; written are assay, minari"):
        writer_named("neorl")
    with pytest.raises(UnknownNameError, match="did you mean 'robomimic'"):
        format_named("robomimik")


def test_a_format_of_ones_own_is_checked_before_it_is_known() -> None:
    with pytest.raises(ConfigError, match="built-in"):
        register_format("minari", format_named("d4rl"))
    with pytest.raises(ConfigError, match="has no sniff"):
        register_format("mine", SimpleNamespace(TITLE="", LAYOUT="file", CANNOT_HOLD=""))  # type: ignore[arg-type]
    assert "mine" not in known_formats()


# -------------------------------------------------------------------- the page


def run_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_the_page_is_what_the_modules_say() -> None:
    script = run_file(ROOT / "docs" / "make_format_table.py")
    assert script.table() in PAGE.read_text(), "run python docs/make_format_table.py"


def test_the_example_of_the_page_reads_and_writes(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "register_format(" in block]
    (tmp_path / "example.py").write_text(example)
    run_file(tmp_path / "example.py")
    dataset: Dataset = assay.load("pendulum/random", steps=400)
    assay.save(dataset, tmp_path / "episodes", format="csv_episodes")
    assert sniff(tmp_path / "episodes") == "csv_episodes"
    back = assay.load(tmp_path / "episodes")
    np.testing.assert_allclose(back.observations, dataset.observations, rtol=1e-6)
    assert back.episode_lengths.tolist() == dataset.episode_lengths.tolist()
    assert back.rewards.tolist() == dataset.rewards.tolist()
    (tmp_path / "episodes" / "episode_0.csv").write_text("s0\n1,2,3\n")
    with pytest.raises(FormatError, match=r"episode_0\.csv cannot be read"):
        assay.load(tmp_path / "episodes")
