r"""A scripted teacher that judges by known rewards, with the errors of people (B-Pref, Lee et al. 2021, arXiv 2111.03026).

With R = sum_t gamma^(L - t) r_t over a segment (gamma < 1 is myopia: late steps count more), the teacher prefers the second with
probability

.. math:: P(2 \succ 1) = \sigma(\beta (R_2 - R_1))

where beta (rationality) is infinite by default, so that the larger sum wins. It skips pairs of which neither sum reaches `skip`, calls
pairs equal whose sums differ by less than `equal`, and last turns an answer round with probability `mistake`. Skipped and equal pairs
are -1: they are not learned from. Pairs of equal sums are equal without beta.

Deviations: B-Pref gives equal pairs the label 0.5 and scales its thresholds with the current policy's average return; here they are
in the unit of the sums, and equal pairs are left out, as RL-VLM-F leaves out what its judge does not decide.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from assay.datasets.errors import ConfigError
from assay.datasets.registry import Registry, Seed, register
from assay.relabeling.judges.judge import JUDGES, Judge, Pairs, Segments

__all__ = ["ScriptedTeacher"]


@register("scripted")
class ScriptedTeacher:
    """Judges by rewards.

    Parameters
    ----------
    mistake : float in [0, 1]
        Probability that an answer is turned round.
    skip : float or None
        Pairs whose larger sum is below it are not judged.
    equal : float
        Sums that differ by less are equal.
    myopia : float in (0, 1]
        gamma.
    rationality : float or None
        beta; None is infinite.
    seed : int
        Equal seeds answer a pair equally, in whatever company it is asked about.

    Examples
    --------
    >>> pairs = Pairs(Segments(np.array([[0], [1]]), np.array([[1.0], [2.0]])), Segments(np.array([[2], [3]]), np.array([[3.0], [2.0]])))
    >>> ScriptedTeacher().judge(pairs, "").tolist()
    [1, -1]
    """

    registry: ClassVar[Registry[type[Judge]]] = JUDGES
    name: ClassVar[str]

    mistake: float = Field(default=0.0, ge=0, le=1)
    skip: float | None = None
    equal: float = Field(default=0.0, ge=0)
    myopia: float = Field(default=1.0, gt=0, le=1)
    rationality: float | None = Field(default=None, gt=0)
    seed: Seed = 0

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        """Answer; the goal is that of the rewards.

        Raises
        ------
        ConfigError
            If the segments come without rewards.
        """
        first, second = self._sum(pairs.first), self._sum(pairs.second)
        if self.rationality is None:
            answers = (second > first).astype(np.int8)
            answers[first == second] = -1
        else:
            probability = 1.0 / (1.0 + np.exp(self.rationality * (first - second)))
            answers = (self._numbers(pairs, 1) < probability).astype(np.int8)
        answers[np.abs(second - first) < self.equal] = -1
        if self.skip is not None:
            answers[np.maximum(first, second) < self.skip] = -1
        turned = (answers >= 0) & (self._numbers(pairs, 2) < self.mistake)
        answers[turned] = 1 - answers[turned]
        return answers

    def _sum(self, segments: Segments) -> np.ndarray:
        if segments.rewards is None:
            raise ConfigError("a scripted teacher judges by rewards, and the segments come without any")
        length = segments.rewards.shape[1]
        weights = self.myopia ** np.arange(length - 1, -1, -1)
        total: np.ndarray = (segments.rewards.astype(np.float64) * weights).sum(1)
        return total

    def _numbers(self, pairs: Pairs, purpose: int) -> np.ndarray:
        """Return (n,) numbers in [0, 1) that depend on the seed, the purpose and the first steps of each pair."""
        bits = np.full(len(pairs), (self.seed * 2 + purpose) % (1 << 64), np.uint64)
        for part in (pairs.first.steps[:, 0], pairs.second.steps[:, 0]):
            bits = _mixed(bits + part.astype(np.uint64))
        return (bits >> np.uint64(11)) * 2.0**-53


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Mix the bits of unsigned 64-bit integers (SplitMix64; Steele, Lea & Flood 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = bits ^ (bits >> np.uint64(31))
    return mixed
