"""`assay apply`: any transform by name, with parameters as they stand in recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

import assay
from assay.cli import main
from tests.datasets.dataset_strategies import clean_dataset


def test_transforms_follow_one_another_and_detection_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assay.save(clean_dataset(600, 6), tmp_path / "clean")
    steps = [
        ("clean", "frozen", ["corruption.freeze", "rate=0.1", "window=2", "dimensions=[0]"]),
        ("frozen", "short", ["corruption.truncate_episodes", "rate=0.5"]),
        ("short", "flagged", ["corruption.repair.dynamics", "element=states", "action=flag"]),
    ]
    for source, target, words in steps:
        main(["apply", str(tmp_path / source), *words, "-o", str(tmp_path / target)])
    printed = capsys.readouterr().out
    assert "600 steps in 100 episodes became" in printed
    assert "precision" in printed
    flagged = assay.load(tmp_path / "flagged")
    assert [record.transform for record in flagged.history[1:]] == [words[0] for _, _, words in steps]
    assert flagged.history[1].parameters["dimensions"] == [0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["corruption.frieze"], "did you mean 'corruption.freeze'"),
        (["corruption.freeze", "rate"], "rate: expected FIELD=VALUE"),
        (["corruption.freeze", "rate=2"], "rate=2"),
    ],
)
def test_what_is_misspelt_is_one_line(words, message, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assay.save(clean_dataset(60, 6), tmp_path / "clean")
    with pytest.raises(SystemExit) as exit_:
        main(["apply", str(tmp_path / "clean"), *words, "-o", str(tmp_path / "new")])
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
