"""The dataset card: one page that fetches nothing, escapes everything and shows what is in the data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.analysis import write_card
from assay.analysis.figures import DatasetView, Plane, plot_projection, plot_trajectories
from assay.datasets import Dataset, DatasetInfo, ReferenceScores
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.info import Record
from assay.datasets.missing import without_labels
from assay.datasets.spaces import Box, Discrete

from .test_report import Page


def make(observations: np.ndarray, lengths: list[int], info: DatasetInfo | None = None, seed: int = 0) -> Dataset:
    steps = sum(lengths)
    generator = np.random.default_rng(seed)
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    return Dataset.from_arrays(
        observations=observations,
        actions=generator.integers(0, 3, steps),
        rewards=generator.standard_normal(steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
        info=info,
    )


def plain(seed: int = 0) -> Dataset:
    lengths = [20, 30, 10]
    info = DatasetInfo(
        id="made/up<b>",
        observation_space=Box((4,), "float64", [-9.0] * 4, [9.0] * 4),
        action_space=Discrete(3),
        reference_scores=ReferenceScores(0.0, 9.0, "two <i>policies</i>"),
        description="An <script>alert(1)</script> example.",
        licence="CC-BY-4.0",
    )
    made = make(np.random.default_rng(seed).standard_normal((63, 4)), lengths, info)
    return made.replace(record=Record("source", {"name": "a & b"}))


METRICS = pl.DataFrame(
    {
        "metric": ["tq", "return_mean"],
        "value": [0.25, 1234.5],
        "interval": [{"low": 0.125, "high": 0.5}, None],
        "unit": ["0 random, 1 best", "reward"],
        "source": ["<em>x</em>", "undiscounted"],
    },
    schema_overrides={"interval": pl.Struct({"low": pl.Float64, "high": pl.Float64})},
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("card") / "card.html"
    return write_card(plain(), output, metrics=METRICS, random=plain(1)).read_text(encoding="utf-8")


def test_the_card_is_one_file_that_fetches_nothing_and_escapes_every_text(text: str) -> None:
    assert not re.search(r"https?:|//[a-z][a-z.]+/|@import|\bsrc=|url\((?!#)", re.sub(r"base64,[^\"]*", "", text))
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "base", "form", "em", "i", "b"}
    assert len(page.ids) == len(set(page.ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(page.ids)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert "made/up&lt;b&gt;" in text


def test_figures_are_drawn_for_a_desk_and_for_a_phone_in_the_page_s_colours(text: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 3 * 5  # episodes, projection, trajectories, observations, actions
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r"base64,[^\"]*", "", drawing))) <= {"#000000", "#ffffff"}


def test_facts_metrics_and_findings_are_there(text: str) -> None:
    page = Page(text)
    shown = page.text
    dataset = plain()
    for fact in (
        "60 steps",
        "3 episodes",
        "CC-BY-4.0",
        dataset.fingerprint,
        "4 float64, from -9 to 9",
        "one of 3 values",
    ):
        assert fact in shown, fact
    cells = [cell for table in page.tables for row in table for cell in row]
    assert "0.25 [0.125, 0.5]" in cells
    assert "1,234" in cells
    assert 'name="a & b"' in cells
    assert "checks found nothing" in shown


def test_what_validation_finds_is_said_at_the_top_and_listed(tmp_path: Path) -> None:
    broken = plain()
    rewards, states = np.array(broken.rewards), np.array(broken.observations)
    rewards[25], states[3, 1] = np.nan, np.inf
    broken = broken.replace({"rewards": rewards, "observations": states})
    page = Page(write_card(broken, tmp_path / "card.html").read_text())
    assert "Validation found" in page.text
    assert "column rewards, episode 1, row 5" in page.text
    assert "not finite, which are left out" in page.text


@pytest.mark.parametrize(
    "dataset",
    [
        make(np.zeros((2, 1)), [1]),  # one step, one constant column
        make(np.arange(12.0), [5, 5]),
        make(np.full((12, 3), np.nan), [5, 5]),
        make(np.random.default_rng(0).integers(0, 255, (12, 9, 8, 3)).astype(np.uint8), [5, 5]),
        make(np.full(12, "go left"), [5, 5]),
        make(np.random.default_rng(0).standard_normal((12, 40)), [5, 5]),
    ],
    ids=["one step", "one dimension", "all NaN", "images", "text", "many dimensions"],
)
def test_strange_datasets_have_a_card_too(dataset: Dataset, tmp_path: Path) -> None:
    assert "</html>" in write_card(dataset, tmp_path / "card.html", random=dataset).read_text()


def test_the_plane_is_that_of_the_covariance() -> None:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((1000, 5)) @ generator.standard_normal((5, 5))
    values[:, 2] = 7.0
    plane = Plane.of(values)
    assert plane is not None
    varying = np.delete(values, 2, axis=1)
    variances = np.linalg.eigvalsh(np.corrcoef(varying.T))[::-1]
    assert plane.shares == pytest.approx(variances[:2] / variances.sum())
    assert plane.project(values).var(0) == pytest.approx(variances[:2])
    assert Plane.of(np.ones((5, 3))) is None
    one = DatasetView(make(np.arange(12.0), [5, 5]))
    assert plot_projection(one) is None
    assert plot_trajectories(one) is not None


def test_an_output_that_must_not_be_written_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "card.html"
    write_card(plain(), target)
    with pytest.raises(ConfigError, match="exists already"):
        write_card(plain(), target, overwrite=False)
    with pytest.raises(ConfigError, match="is a folder"):
        write_card(plain(), tmp_path)
    with pytest.raises(DatasetError, match="no card"):
        write_card(plain().select([]), target)


class Scores(pl.DataFrame):
    """What `assess(dataset, per="episode")` returns, as far as the card looks at it."""

    def wide(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "episode": [0, 1, 2],
                "defects": [0, 1, 0],
                "risks": [1, 0, 0],
                "jumps <b>": [0.0, 2.0, None],
                "same": [1.0] * 3,
            }
        )

    @property
    def correlations(self) -> pl.DataFrame:
        return pl.DataFrame({"metric": ["jumps <b>"], "column": [None], "spearman": [-0.82]})


def test_episodes_are_rows_that_the_style_sheet_sorts_by_their_ranks(tmp_path: Path) -> None:
    found = {
        "episode": [0, 1],
        "metric": ["idle_tail", "jumps <b>"],
        "kind": ["risk", "defect"],
        "flagged": [True, True],
    }
    images = np.random.default_rng(0).integers(0, 255, (63, 9, 8, 3)).astype(np.uint8)
    dataset = plain()
    dataset = dataset.replace({"observations": None, "observations/x": dataset.observations, "observations/y": images})
    text = write_card(dataset, tmp_path / "card.html", episodes=Scores(found)).read_text(encoding="utf-8")
    page = Page(text)
    assert not page.tags & {"script", "img", "b"}
    assert len(page.ids) == len(set(page.ids))
    table = next(table for table in page.tables if table[0][0].startswith("episode"))
    assert [row[0] for row in table[1:]] == ["0", "1", "2"]
    assert "r -0.82" in table[0][-1]
    assert [row[3] for row in table[1:]] == ["idle tail", "jumps <b>", "–"]
    assert "same" not in table[0]
    rows = re.findall(r'<tr style="([^"]*)">', text)
    ranks = [dict(part.split(":") for part in row.split(";")) for row in rows]
    assert [(rank["--u0"], rank["--d0"]) for rank in ranks] == [("0", "2"), ("1", "1"), ("2", "0")]
    last = max(int(key[3:]) for key in ranks[0])
    assert [(rank[f"--u{last}"], rank[f"--d{last}"]) for rank in ranks] == [("0", "1"), ("1", "0"), ("2", "2")]
    for way in ("up", "down"):
        assert f"#order-{last}-{way}:checked" in text
        assert f"order-{last}-{way}" in page.ids
    assert text.count("data:image/png") >= 9
    assert text.count("<polyline") == 3


def test_the_card_says_what_is_missing_and_draws_the_rest(tmp_path: Path) -> None:
    columns = {name: plain().column(name) for name in plain().columns if name != "actions"}
    dataset = Dataset(without_labels(columns, {"rewards": np.arange(60) < 15}), [20, 30, 10])
    text = write_card(dataset, tmp_path / "card.html").read_text()
    for said in ("no actions", "15 of 60 rewards missing", "of the 2 episodes whose rewards are all there"):
        assert said in text
    for found in ("actions are missing: no step has one", "rewards are missing: 15 of 60 steps have none"):
        assert found in text
    assert 'class="warning"' not in text  # facts, not faults
    assert "Where the states lie" in text
    assert "Actions, one by one" not in text
