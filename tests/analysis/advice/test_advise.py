"""`assay.advise` measures a dataset and asks the evidence; the command prints it and ends with 0 or 3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import assay
from assay.cli import main
from assay.datasets.info import ReferenceScores
from assay.metrics import saco, tq
from tests.analysis.advice.test_comparison import evidence

STEPS = 1_000


@pytest.fixture(scope="module")
def mixed():
    return assay.load("cartpole/mixed", steps=STEPS)


@pytest.fixture(scope="module")
def replay():
    return assay.load("cartpole/medium-replay", steps=STEPS)


@pytest.fixture
def near(mixed, replay, tmp_path):
    """A file of evidence whose datasets lie around the mixed data."""
    at = tq(mixed), saco(mixed, replay)
    shifts = ((0.0, 0.05), (0.05, -0.05), (-0.05, -0.05))
    table = evidence(*[(at[0] + tq, at[1] + saco, {"BC": [0.2], "BCQ": [0.9]}) for tq, saco in shifts])
    table.write_parquet(tmp_path / "near.parquet")
    return tmp_path / "near.parquet"


def test_the_place_is_that_of_the_metrics(mixed, replay, near):
    advice = assay.advise(mixed, replay, evidence=pl.read_parquet(near), progress=None)
    assert (advice.place.tq, advice.place.saco) == (tq(mixed), saco(mixed, replay))
    low, high = advice.place.tq_interval
    assert low < advice.place.tq < high
    assert advice.advised == "BCQ"
    assert len(advice.evidence) == 6


def test_the_reference_is_by_default_the_catalogs_replay_of_as_many_steps(mixed, replay, near):
    advice = assay.advise(mixed, evidence=pl.read_parquet(near), progress=None)
    assert advice.place.saco == saco(mixed, replay)
    assert any("cartpole/medium-replay, 1,000 steps" in note for note in advice.place.notes)


def test_returns_that_are_given_are_used_and_else_those_of_the_environment(mixed, replay, near):
    without = mixed.replace(info=replace(mixed.info, reference_scores=None))
    known = pl.read_parquet(near)
    given = assay.advise(without, replay, random_return=0.0, best_return=1_000.0, evidence=known, progress=None)
    assert given.place.tq == pytest.approx(tq(mixed, random_return=0.0, best_return=1_000.0))
    assert assay.advise(without, replay, evidence=known, progress=None).place.tq == pytest.approx(
        tq(without, references="catalog")
    )


def test_without_a_scale_or_a_reference_there_is_no_advice_but_findings(near):
    rng = np.random.default_rng(0)
    unknown = assay.Dataset.from_arrays(
        observations=rng.random((33, 2)),
        actions=rng.integers(0, 2, 30),
        rewards=np.ones(30),
        terminations=np.arange(30) % 10 == 9,
        truncations=np.zeros(30, bool),
    )
    advice = assay.advise(unknown, evidence=pl.read_parquet(near), progress=None)
    assert advice.advised is None
    for what in ("random_return and best_return", "reference"):
        assert what in advice.refusal
    assert {"too few episodes", "constant rewards", "returns all equal"} <= {item.name for item in advice.findings}


def test_scores_of_the_dataset_itself_come_before_the_catalogs(mixed, replay, near):
    own = mixed.replace(info=replace(mixed.info, reference_scores=ReferenceScores(0.0, 400.0, "mine")))
    advice = assay.advise(own, replay, evidence=pl.read_parquet(near), progress=None)
    assert advice.place.tq == pytest.approx(tq(mixed, random_return=0.0, best_return=400.0))
    assert "mine" in advice.place.notes[0]


def test_the_command_prints_the_advice_and_writes_a_page(mixed, near, tmp_path, capsys):
    assay.save(mixed, tmp_path / "data")
    words = ["advise", str(tmp_path / "data"), "--evidence", str(near), "-o", str(tmp_path / "advice.html")]
    main(words)
    said = capsys.readouterr().out
    assert "Train BCQ" in said
    assert "Train BCQ" in (tmp_path / "advice.html").read_text()
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_command_ends_with_3_where_nothing_is_near(mixed, near, tmp_path, capsys):
    assay.save(mixed, tmp_path / "data")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "advise",
                str(tmp_path / "data"),
                "--evidence",
                str(near),
                "--best-return",
                "23",
                "-o",
                str(tmp_path / "no.html"),
            ]
        )
    assert end.value.code == 3
    assert "nothing measured is near" in capsys.readouterr().out
    assert "nothing measured is near" in (tmp_path / "no.html").read_text()
