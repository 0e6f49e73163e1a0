r"""A success classifier: sparse rewards from what the ends of successful episodes look like (RoboFuME, Yang et al. 2023, arXiv 2310.15145).

The last steps of successful episodes are positive; all earlier ones, and those of every other episode, are negative. With f the
network of `assay.relabeling.preferences.reward_model`, whose output is linear here,

.. math:: P(\text{success} | s') = \sigma(f(s')), \quad L(f) = -E \, [y \log P + (1 - y) \log (1 - P)]

over batches of as many positive steps as negative ones. The reward is 1 where the members' mean P is above the threshold, else 0.
Which episodes succeed is known by a tag, by their return, or from a judge that is shown how each of them ends.

Deviations: RoboFuME fine-tunes a vision-language model to answer yes or no; here a small network is trained from the beginning. The
published code was not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pydantic
from pydantic import Field, model_validator

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.progress import Progress
from assay.datasets.registry import Filters, Integer, Seed, Widths
from assay.datasets.transform import Transform, register
from assay.relabeling.frames.seen import Inputs, views_of
from assay.relabeling.frames.shown import ShownFrames
from assay.relabeling.judged_progress import check_scores
from assay.relabeling.judges import Segments, judge_from_plain, judge_to_plain
from assay.relabeling.shared.learned_rewards import replaced_rewards

if TYPE_CHECKING:
    from assay.relabeling.frames import FrameSource
    from assay.relabeling.preferences.agreement import Agreement

__all__ = ["SuccessLabels"]

REPORT = "success_classifier"  # in `info.extra`


def _judge_or_none(plain: Any) -> Any:
    return None if plain is None else judge_from_plain(plain)


@register("relabeling.success")
class SuccessLabels(Transform):
    """Rewards of 1 where a classifier sees success, and of 0 elsewhere.

    Parameters
    ----------
    tag : str, optional
        Episodes with this tag are the successful ones.
    least_return : float, optional
        Or those whose return is at least this.
    judge : judge with a `score`, or a mapping of its name to its parameters, optional
        Or those whose last frame it gives at least `least_score`. An episode that it gives no answer about is left out of
        the training.
    goal : str
        What the judge is told.
    least_score : float in [0, 1]
    last_steps : int
        Of each successful episode, that are positive.
    threshold : float
        P above which a step is a success.
    inputs, frame_column, frame_height, ensemble, updates, hidden, filters, learning_rate, batch_size, held_out, seed, device
        As of `PreferenceRewardLabels`; whole episodes are held out.

    Raises
    ------
    ConfigError, DatasetError
        If it is not said which episodes succeed, or all or none of them do.

    Notes
    -----
    `dataset.info.extra["success_classifier"]` holds the balanced accuracy on held-out episodes. `uncertainty/rewards` is the members'
    standard deviation of P.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("cartpole/medium-replay", steps=2_000)
    >>> least = float(np.median(dataset.returns))
    >>> labelled = SuccessLabels(least_return=least, last_steps=10, updates=50, hidden=(16,))(dataset)
    >>> sorted({float(reward) for reward in labelled.rewards})
    [0.0, 1.0]
    """

    tag: str | None = None
    least_return: float | None = None
    judge: Annotated[Any, pydantic.BeforeValidator(_judge_or_none)] = None
    goal: str = ""
    least_score: float = Field(default=0.5, ge=0, le=1)
    last_steps: Integer = Field(default=10, gt=0)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    inputs: Inputs = "states"
    frame_column: str | None = None
    frame_height: Integer = Field(default=64, ge=8)
    ensemble: Integer = Field(default=3, gt=0)
    updates: Integer = Field(default=1_000, gt=0)
    hidden: Widths = (256, 256, 256)
    filters: Filters = ((16, 5, 3), (32, 3, 2), (64, 3, 2), (128, 3, 2))
    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: Integer = Field(default=64, gt=0)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    seed: Seed = 0
    device: str = "cpu"

    @model_validator(mode="after")
    def _consistent(self) -> SuccessLabels:
        if sum(given is not None for given in (self.tag, self.least_return, self.judge)) != 1:
            raise ValueError("say which episodes succeed: by tag, by least_return, or by a judge")
        return self

    def parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().parameters(), "judge": None if self.judge is None else judge_to_plain(self.judge)}

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        from assay.relabeling.preferences.classifier import fit_classifier
        from assay.relabeling.preferences.reward_model import BradleyTerry

        looks = self.judge is not None
        views, frames = views_of(
            dataset, self.inputs, self.frame_column, self.frame_height, with_frames=looks, progress=progress
        )
        successes = self._successes(dataset, frames)
        positive = _last_steps(dataset, successes == 1, self.last_steps)
        algorithm = BradleyTerry(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            hidden=self.hidden,
            filters=self.filters,
        )
        probabilities, quality = fit_classifier(
            views,
            positive,
            dataset.episode_of_step,
            algorithm,
            ensemble=self.ensemble,
            updates=self.updates,
            held_out=self.held_out,
            seed=self.seed,
            device=self.device,
            progress=progress,
            known=(successes >= 0)[dataset.episode_of_step],
        )
        rewards = (probabilities.mean(0) > self.threshold).astype(np.float32)
        spread = probabilities.std(0).astype(np.float32)
        return replaced_rewards(dataset, rewards, {"uncertainty/rewards": spread}, {REPORT: _plain(quality, positive)})

    def _successes(self, dataset: Dataset, frames: FrameSource | None) -> np.ndarray:
        """Return (E,) int8: 1 where an episode succeeds, 0 where not, -1 where the judge gives no answer."""
        if self.tag is not None:
            chosen = dataset.tagged(self.tag).astype(np.int8)
        elif self.least_return is not None:
            if dataset.missing["rewards"].any():
                raise ConfigError("least_return needs the rewards of every step; name the successful episodes by a tag")
            chosen = (dataset.returns >= self.least_return).astype(np.int8)
        else:
            assert frames is not None
            check_scores(self.judge)
            ends = (dataset.episode_starts + dataset.episode_lengths - 1)[:, None]
            shown = Segments(ends, None, ShownFrames(frames, dataset.observation_rows[ends] + 1))
            scores = np.asarray(self.judge.score(shown, self.goal), np.float64)
            chosen = np.where(np.isnan(scores), -1, scores >= self.least_score).astype(np.int8)
        counts = [int((chosen == kind).sum()) for kind in (0, 1)]
        if not all(counts):
            unanswered = len(chosen) - sum(counts)
            raise DatasetError(
                f"{counts[1]} of the {len(chosen)} episodes succeed and {counts[0]} fail"
                f"{f' ({unanswered} are not answered)' if unanswered else ''}: a classifier needs both kinds"
            )
        return chosen


def _last_steps(dataset: Dataset, successes: np.ndarray, count: int) -> np.ndarray:
    """Return (N,) bool: the last steps of the successful episodes."""
    left = np.repeat(dataset.episode_starts + dataset.episode_lengths, dataset.episode_lengths) - np.arange(
        dataset.total_steps
    )
    last: np.ndarray = (left <= count) & successes[dataset.episode_of_step]
    return last


def _plain(quality: Mapping[str, Agreement], positive: np.ndarray) -> dict[str, Any]:
    return {"positive_steps": int(positive.sum()), **{name: found.to_plain() for name, found in quality.items()}}
