r"""Progress that a judge sees: a score in [0, 1] for what every k-th step looks like, and lines in between.

::

    step                0    1    2    3    4    5    6        every=3
    asked               x              x              x        the first and the last step of an episode always
    answered           0.0            0.6            none      none: refused, unreadable, or no answer
    infos/progress     0.0  0.2  0.4  0.6  nan  nan  nan       nothing is guessed beyond the answers

A dense reward from an image-text encoder is this with `every=1` (Rocamonde et al. 2024, arXiv 2310.12921), one from a vision-language
model's probability of "True" too (TOPReward). `relabeling.progress` makes rewards, advantages or weights of the column.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pydantic
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer
from assay.datasets.transform import Transform, register
from assay.relabeling.frames.shown import ShownFrames
from assay.relabeling.frames.source import frames_of
from assay.relabeling.judges import Segments, judge_from_plain, judge_to_plain

__all__ = ["PROGRESS", "REPORT", "JudgedProgress", "check_scores"]

PROGRESS = "infos/progress"
REPORT = "judged_progress"  # in `info.extra`


@register("relabeling.judged_progress")
class JudgedProgress(Transform):
    """Add the column `infos/progress`, (N,) float32 in [0, 1], as a judge sees it.

    Parameters
    ----------
    judge : judge with a `score`, or a mapping of its name to its parameters
        An encoder, a progress server, a vision-language model, an endpoint.
    goal : str
        What the judge is told.
    every : int
        It is asked about every so many steps, and about the first and the last of each episode.
    clip_length : int
        Frames that it is shown: the asked step and those before it. At the start of an episode, the first frame again.
    frame_column, frame_height
        As of `PreferenceRewardLabels`.

    Raises
    ------
    ConfigError
        If the judge gives no scores, or there are no frames.
    DatasetError
        If it answers nothing at all.

    Notes
    -----
    Steps between two answers lie on the line between them; steps beyond the answers are NaN. `dataset.info.extra["judged_progress"]`
    says how many steps were asked about, and how many answered.

    Examples
    --------
    >>> from assay.relabeling.judges import EncoderJudge
    >>> JudgedProgress(judge=EncoderJudge(model="models/clip"), goal="a pendulum that stands upright", every=5).every
    5
    """

    judge: Annotated[Any, pydantic.BeforeValidator(judge_from_plain)]
    goal: str
    every: Integer = Field(default=1, gt=0)
    clip_length: Integer = Field(default=1, gt=0)
    frame_column: str | None = None
    frame_height: Integer = Field(default=64, ge=8)

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().parameters(), "judge": judge_to_plain(self.judge)}

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        check_scores(self.judge)
        frames = frames_of(dataset, column=self.frame_column, height=self.frame_height, progress=progress)
        asked = asked_steps(dataset, self.every)
        first = dataset.episode_starts[dataset.episode_of_step[asked]]
        steps = np.maximum(asked[:, None] - np.arange(self.clip_length)[::-1], first[:, None])
        shown = Segments(steps, None, ShownFrames(frames, dataset.observation_rows[steps]))
        scores = np.asarray(self.judge.score(shown, self.goal), np.float64)
        if np.isnan(scores).all():
            raise DatasetError(f"the judge {self.judge.name} answered none of {len(asked):,} questions")
        values = between(dataset, asked, scores).astype(np.float32)
        report = {"asked": len(asked), "answered": int((~np.isnan(scores)).sum())}
        return dataset.replace(
            {PROGRESS: values}, info=replace(dataset.info, extra={**dataset.info.extra, REPORT: report})
        )


def check_scores(judge: Any) -> None:
    """Raise ConfigError where a judge only compares."""
    if not callable(getattr(judge, "score", None)):
        raise ConfigError(
            f"the judge {judge.name} compares pairs and gives no scores; relabeling.preferences learns from pairs"
        )


def asked_steps(dataset: Dataset, every: int) -> np.ndarray:
    """Return every so many steps of each episode, and its last one."""
    place = np.arange(dataset.total_steps) - dataset.episode_starts[dataset.episode_of_step]
    last = dataset.episode_lengths[dataset.episode_of_step] - 1
    return np.flatnonzero((place % every == 0) | (place == last))


def between(dataset: Dataset, asked: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (N,) the scores, lines between them inside an episode, and NaN before its first and after its last."""
    result = np.full(dataset.total_steps, np.nan)
    answered = ~np.isnan(scores)
    rows, values = asked[answered], scores[answered]
    episodes = dataset.episode_of_step[rows]
    for episode in np.unique(episodes):
        own = slice(*np.searchsorted(episodes, [episode, episode + 1]))
        span = np.arange(rows[own][0], rows[own][-1] + 1)
        result[span] = np.interp(span, rows[own], values[own])
    return result
