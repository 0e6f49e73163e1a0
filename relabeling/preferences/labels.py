"""Rewards learned from preferences: pairs of segments, a judge, a reward model, and every step labelled (RL-VLM-F, section 4).

::

    pairs of segments -> judge(pairs, goal) -> 0, 1 or -1 -> Bradley-Terry ensemble -> r(s') of every step
                              ^ frames, or rewards for a scripted teacher                 |
                                                                rewards               mean of the members
                                                                uncertainty/rewards   their standard deviation
                                                                truth/rewards         what stood there before

The label of step t is the mean of the members at the observation after it, s_(t+1), as in Offline RL-VLM-F (Venkataraman et al.
2024, arXiv 2411.05273, `relabel.py:153-181`).

Deviations: the published labels are the raw means, whose scale differs between members (a Bradley-Terry reward is known up to a
constant, and up to a factor where the output is bounded); here `scale="range"` first maps each member to [0, 1] over the dataset.
`scale="raw"` is as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic import Field, model_validator

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.progress import Progress
from assay.datasets.registry import Filters, Integer, Seed, Widths
from assay.datasets.transform import Transform, register
from assay.relabeling.frames.seen import Inputs, views_of
from assay.relabeling.frames.shown import ShownFrames
from assay.relabeling.frames.views import Views
from assay.relabeling.judges import Pairs, Segments, judge_from_plain, judge_to_plain
from assay.relabeling.preferences.pairs import PairDrawer, PairMethod, StepPairs
from assay.relabeling.shared.learned_rewards import Scale, learned_rewards

if TYPE_CHECKING:
    from assay.relabeling.frames import FrameSource
    from assay.relabeling.preferences.reward_model import RewardModel, Training

__all__ = ["PreferenceRewardLabels"]

REPORT = "reward_model"  # in `info.extra`


@register("relabeling.preferences")
class PreferenceRewardLabels(Transform):
    """Rewards of a model that is learned from the answers of a judge.

    Parameters
    ----------
    judge : Judge, or a mapping of its name to its parameters
        Such as `ScriptedTeacher(mistake=0.1)`, or `{"scripted": {"mistake": 0.1}}` in a recipe.
    pairs : int
        That the judge is asked about.
    goal : str
        What the judge is told.
    seed : int
        Of the pairs, of what is held out, and of the model.
    inputs : "states" or "frames"
        What the model sees. A judge that looks at pictures is always given frames.
    sampling : str
        How pairs are chosen; see `assay.relabeling.preferences.pairs`.
    rounds : int
        Of `sampling="disagreement"`.
    segment_length : int
        Steps of a segment.
    judged_by : str
        Column that a scripted teacher judges by.
    frame_column : str, optional
    frame_height : int
        As of `frames_of`.
    ensemble, passes, stop, hidden, filters, learning_rate, batch_size, held_out
        Of the model and its training; see `assay.relabeling.preferences.reward_model`.
    scale : "range", "standardize" or "raw"
        Each member's rewards mapped to [0, 1] over the dataset, or to mean 0 and deviation 1, or left in [-1, 1]. Where episodes
        terminate, the sign of the rewards decides whether living on is good: keep `"range"`.
    device : str

    Raises
    ------
    ConfigError
        If a parameter is out of its range, or there are no frames where they are needed.
    DatasetError
        When applied: if there are too few different segments, or answers.

    Notes
    -----
    `dataset.info.extra["reward_model"]` holds the accuracy on held-out pairs with its interval, the log loss, the calibration
    error, and how many pairs were decided.

    Examples
    --------
    >>> import assay
    >>> from assay.relabeling.judges import ScriptedTeacher
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> labels = PreferenceRewardLabels(judge=ScriptedTeacher(), pairs=200, hidden=(64,), learning_rate=3e-3, passes=20)
    >>> rated = labels(dataset)
    >>> rated.info.extra["reward_model"]["held_out"]["accuracy"] > 0.7
    True
    >>> [name for name in rated.columns if name.endswith("/rewards")]
    ['truth/rewards', 'uncertainty/rewards']
    """

    judge: Annotated[Any, pydantic.BeforeValidator(judge_from_plain)]
    pairs: Integer = Field(default=2_000, gt=0)
    goal: str = ""
    seed: Seed = 0
    inputs: Inputs = "states"
    sampling: PairMethod = "uniform"
    rounds: Integer = Field(default=4, gt=0)
    segment_length: Integer = Field(default=1, gt=0)
    judged_by: str = "rewards"
    frame_column: str | None = None
    frame_height: Integer = Field(default=64, ge=8)
    ensemble: Integer = Field(default=3, gt=0)
    passes: Integer = Field(default=50, gt=0)
    stop: Literal["training_accuracy", "validation"] = "training_accuracy"
    hidden: Widths = (256, 256, 256)
    filters: Filters = ((16, 5, 3), (32, 3, 2), (64, 3, 2), (128, 3, 2))
    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: Integer = Field(default=64, gt=0)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    scale: Scale = "range"
    device: str = "cpu"

    @model_validator(mode="after")
    def _consistent(self) -> PreferenceRewardLabels:
        if self.sampling == "disagreement" and self.pairs < self.rounds * 10:
            raise ValueError(f"{self.pairs} pairs in {self.rounds} rounds are fewer than ten in each")
        return self

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().parameters(), "judge": judge_to_plain(self.judge)}

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        known = _judged_rewards(dataset, self.judged_by, needed=self.judge.name == "scripted")
        views, frames = views_of(
            dataset, self.inputs, self.frame_column, self.frame_height, with_frames=known is None, progress=progress
        )
        model, decided = self._fit(dataset, views, known, frames, progress)
        report = {**model.report(), "pairs": self.pairs, "decided": decided}
        members = model.rewards(np.arange(dataset.total_steps), progress)
        return learned_rewards(dataset, members, self.scale, {REPORT: report})

    def _fit(
        self,
        dataset: Dataset,
        views: Views,
        known: np.ndarray | None,
        frames: FrameSource | None,
        progress: Progress | None,
    ) -> tuple[RewardModel, int]:
        """Ask the judge and train the model, in as many rounds as the sampling takes."""
        from assay.relabeling.preferences.reward_model import check_fits, fit_reward_model

        training = self._training()
        check_fits(training.algorithm, views)
        drawer = PairDrawer(dataset, views, self.segment_length, self.seed)
        rounds = self.rounds if self.sampling == "disagreement" else 1
        asked = StepPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), self.segment_length)
        answers, model = np.zeros(0, np.int8), None
        for number in range(rounds):
            count = self.pairs * (number + 1) // rounds - self.pairs * number // rounds
            fresh = drawer.draw(count, self.sampling, None if model is None else model.disagreement)
            shown = _shown(fresh, known, frames, dataset.observation_rows)
            answers = np.concatenate([answers, self.judge.judge(shown, self.goal)])
            asked = asked.joined(fresh)
            model = fit_reward_model(views, asked, answers, training, progress)
        assert model is not None
        return model, int((answers >= 0).sum())

    def _training(self) -> Training:
        from assay.relabeling.preferences.reward_model import BradleyTerry, Training

        algorithm = BradleyTerry(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            hidden=self.hidden,
            filters=self.filters,
            length=self.segment_length,
        )
        return Training(
            algorithm,
            self.ensemble,
            self.passes,
            self.stop,
            held_out=self.held_out,
            seed=self.seed,
            device=self.device,
        )


def _judged_rewards(dataset: Dataset, column: str, needed: bool) -> np.ndarray | None:
    """Return what a scripted teacher judges by; None for a judge that looks."""
    if not needed:
        return None
    if column not in dataset.columns:
        raise UnknownNameError("column", column, dataset.columns, "(judged_by: what a scripted teacher compares)")
    values = dataset.column(column)
    if values.ndim != 1 or values.dtype.kind not in "biuf" or len(values) != dataset.total_steps:
        raise ConfigError(
            f"judged_by={column}: a scripted teacher compares one number per step; it is {values.dtype}{list(values.shape)}"
        )
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ConfigError(
            f"judged_by={column}: step {wrong[0]} holds NaN or infinity ({len(wrong):,} steps in all); a teacher cannot judge it"
        )
    return values


def _shown(pairs: StepPairs, known: np.ndarray | None, frames: FrameSource | None, rows: np.ndarray) -> Pairs:
    def segments(steps: np.ndarray) -> Segments:
        seen = None if frames is None else ShownFrames(frames, rows[steps] + 1)
        return Segments(steps, None if known is None else known[steps], seen)

    return Pairs(segments(pairs.steps("first")), segments(pairs.steps("second")))
