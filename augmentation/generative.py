r"""Generative augmentation: transitions and segments drawn from a diffusion model of the dataset, at will towards a policy.

With `length=1` this is SynthER (Lu et al. 2023, arXiv 2303.06614): an EDM (`assay.baselines.diffusion.edm`) of x = (s, a, r, d, s'). With
longer segments it is policy-guided diffusion (Jackson et al. 2024, arXiv 2404.06356): of x = (s, a, r, d) x L and the final state, where
before each step i of T of the sampler the actions move towards what a policy would do,

.. math::
    a \leftarrow a + \lambda_i \frac{g}{\lVert g \rVert}, \quad g = \nabla_a \log \pi(a | s), \quad
    \lambda_i = \lambda \left( 1 - \frac{i}{T} + 0.3 \sin \frac{\pi (i + 1)}{T} \right)

and not before the last. The score of the data is not replaced: guidance adds to it. A deterministic policy counts as a Gaussian
around its action, of half the actions' range.

Deviations from the published codes:

- The denoiser of segments is a residual perceptron over the whole segment, not a 1-D U-Net; of transitions it is one as in SynthER.
- All numbers are standardized, actions as they are (policy-guided diffusion keeps arctanh a), and actions are clipped to their space.
- The gradient is divided by its norm over the segment (there a flag; its ``grad / norm + 1e-8`` adds to the gradient).
- The sampler is EDM's; theirs starts the first-order step from the vector before the churn, which Heun's line repairs but for the last.
- d is rounded at 0.5 and ends a segment there; a segment that has not terminated is truncated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from assay.augmentation.extension import Extension, original_steps
from assay.augmentation.segments import SegmentReader, Segments
from assay.augmentation.vectors import ActionVectors, ObservationVectors
from assay.datasets.collection.policies_by_path import policy_for
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Seed
from assay.datasets.transform import Transform, register

if TYPE_CHECKING:
    import torch

    from assay.baselines.engine.scale import Scale

__all__ = ["GenerativeAugmentation"]

_AT_ONCE = 4096
_FEWEST = 10
_GUIDANCE_BEND = 0.3


@register("augmentation.generative")
class GenerativeAugmentation(Transform):
    """Add steps that are drawn from a diffusion model of the dataset.

    Parameters
    ----------
    ratio : float > 0
        New steps for each original one; fewer where segments terminate early.
    length : int >= 1
        Steps in a segment: 1 for transitions (SynthER); 32 is published for segments.
    guidance : float >= 0
        lambda; 0 draws from the data alone.
    policy : str
        Towards which guidance goes: ``"clone"``, a Gaussian policy cloned from the data, a policy file, or the folder of a run.
    updates : int
        Of the diffusion model, and of a cloned policy.
    width, blocks : int
        Of its network.
    learning_rate, batch_size
        Of its training.
    sampling_steps : int
        Noise levels of the sampler; published: 128 for transitions, 256 for segments.
    churn : float >= 0
        Noise that the sampler adds.
    seed : int
    device : str

    Returns
    -------
    Dataset
        The original steps, and behind them the generated ones; the column `augmented` tells them apart.

    Raises
    ------
    MissingLabelsError, DatasetError, ConfigError
        When applied: if actions or rewards are missing, observations are images, there are too few segments, or training diverges.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("pendulum/medium-replay", steps=400)
    >>> more = GenerativeAugmentation(ratio=0.5, updates=20, width=16, blocks=1, sampling_steps=4)(dataset)
    >>> more.total_steps, int(more.column("augmented").sum())
    (600, 200)
    """

    ratio: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    length: Integer = Field(default=1, ge=1)
    guidance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    policy: str = "clone"
    updates: Integer = Field(default=20_000, ge=1)
    width: Integer = Field(default=256, ge=1)
    blocks: Integer = Field(default=4, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    batch_size: Integer = Field(default=256, ge=1)
    sampling_steps: Integer = Field(default=64, ge=2)
    churn: float = Field(default=80.0, ge=0, allow_inf_nan=False)
    seed: Seed = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.policy != "clone" and not Path(self.policy).exists():
            raise ConfigError(f'policy={self.policy!r} is neither "clone" nor a file or folder of a run that exists')

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        from assay.baselines.diffusion.edm import Diffusion, sample, train_denoiser
        from assay.baselines.engine.scale import Scale

        original = len(original_steps(dataset))
        count = round(self.ratio * original / self.length)
        if not count:
            raise DatasetError(
                f"{self.name}: ratio {self.ratio:g} of {original} steps is less than one segment of {self.length}"
            )
        layout = _Layout(dataset, self.length)
        vectors = layout.together(self._segments(dataset))
        if not np.isfinite(vectors).all():
            wrong = int((~np.isfinite(vectors).all(1)).sum())
            raise DatasetError(
                f"{self.name}: {wrong} of {len(vectors)} segments hold NaN or infinite numbers; corruption.repair.fill fills or drops them"
            )
        scale = Scale.of(vectors)
        guide = self._guide(dataset, layout, scale, vectors) if self.guidance else None
        model = Diffusion(
            learning_rate=self.learning_rate, batch_size=self.batch_size, width=self.width, blocks=self.blocks
        )
        denoiser = train_denoiser(
            scale.down(vectors),
            model=model,
            updates=self.updates,
            seed=self.seed,
            device=self.device,
            progress=None if progress is None else (lambda done: progress(done, 2 * self.updates)),
        )
        parts = []
        for block, start in enumerate(range(0, count, _AT_ONCE)):
            generator = block_generator(self.seed, self.name, "samples", block)
            drawn = sample(
                denoiser,
                min(_AT_ONCE, count - start),
                vectors.shape[1],
                generator,
                steps=self.sampling_steps,
                churn=self.churn,
                guide=guide,
                device=self.device,
            )
            parts.append(layout.apart(scale.up(drawn.cpu().numpy())))
            if progress is not None:
                progress(self.updates + (start + len(drawn)) * self.updates // count, 2 * self.updates)
        return self._extended(dataset, layout, parts)

    def _segments(self, dataset: Dataset) -> Segments:
        reader = SegmentReader(dataset, self.length)
        chosen = reader.starts[:: max(1, self.length // 4)]  # overlapping ones say the same again
        if len(chosen) < _FEWEST:
            raise DatasetError(
                f"{self.name}: {len(chosen)} segments of {self.length} steps are too few to learn what they are like; "
                "give more data, or shorter segments"
            )
        return reader.read(chosen)

    def _guide(
        self, dataset: Dataset, layout: _Layout, scale: Scale, vectors: np.ndarray
    ) -> Callable[[torch.Tensor, int], torch.Tensor]:
        """Return what moves the actions of standardized vectors towards the policy."""
        import torch

        if layout.actions.count is not None:
            raise ConfigError(f"{self.name}: the actions are categories, along which no gradient leads; guidance=0")
        policy = self._policy(dataset, layout, vectors)
        mean, deviation = (
            torch.as_tensor(item, dtype=torch.float32, device=self.device) for item in (scale.mean, scale.deviation)
        )
        of_actions = torch.as_tensor(layout.action_columns, device=self.device)  # (L, action)

        def guide(standardized: torch.Tensor, number: int) -> torch.Tensor:
            units = standardized * deviation + mean
            states = layout.states_of(units)  # [B, L, observation]
            centre, spread = policy(states.flatten(0, 1))
            actions = units[:, of_actions]
            gradient = (centre.view_as(actions) - actions) / spread.view_as(actions).square()
            gradient = gradient * deviation[of_actions]  # in standardized units
            gradient = gradient / (torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True) + 1e-8)
            place = number / self.sampling_steps
            bend = _GUIDANCE_BEND * math.sin(math.pi * (number + 1) / self.sampling_steps)
            moved = standardized.clone()
            moved[:, of_actions] += self.guidance * (1.0 - place + bend) * gradient
            return moved

        return guide

    def _policy(
        self, dataset: Dataset, layout: _Layout, vectors: np.ndarray
    ) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Return mean and deviation of the policy's actions in states [n, observation]."""
        import torch

        from assay.baselines.dynamics.ensemble import clone_policy

        if self.policy == "clone":
            states = vectors[:, layout.state_columns[0]]
            actions = vectors[:, layout.action_columns[0]]
            return clone_policy(states, actions, updates=self.updates, seed=self.seed, device=self.device)
        policy = policy_for(self.policy, dataset)
        half = np.subtract(*layout.actions.bounds[::-1]) / 2.0

        def act(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            answers = np.asarray(policy(layout.observations.apart(states.cpu().numpy())), np.float64)
            mean = torch.as_tensor(answers.reshape(len(states), -1), dtype=states.dtype, device=states.device)
            return mean, torch.as_tensor(half, dtype=states.dtype, device=states.device).expand_as(mean)

        return act

    def _extended(self, dataset: Dataset, layout: _Layout, parts: list[_Drawn]) -> Dataset:
        extension = Extension(dataset, np.concatenate([part.lengths for part in parts]), of_steps=False)
        episode = 0
        for part in parts:
            kept = np.arange(self.length) < part.lengths[:, None]
            with_final = np.arange(self.length + 1) <= part.lengths[:, None]
            extension.write(
                episode,
                observations=layout.observations.apart(part.states[with_final]),
                actions=layout.actions.stored(part.actions[kept]),
                rewards=part.rewards[kept],
                terminations=part.terminations[kept],
            )
            episode += len(part.lengths)
        steps = sum(int(part.lengths.sum()) for part in parts)
        return extension.finish({"transform": self.name, "steps": steps, "segments": episode})


class _Drawn:
    """Generated segments: states [n, L + 1, observation], and how many of the L steps of each count."""

    def __init__(self, states: np.ndarray, actions: np.ndarray, rewards: np.ndarray, ended: np.ndarray) -> None:
        self.states, self.actions, self.rewards = states, actions, rewards
        first = np.where(ended.any(1), ended.argmax(1), ended.shape[1] - 1)
        self.lengths = first + 1
        self.terminations = ended


class _Layout:
    """Where what stands in a vector: (s, a, r, d) for each of L steps, and the final state; d where the data has terminations."""

    def __init__(self, dataset: Dataset, length: int) -> None:
        self.observations, self.actions = ObservationVectors(dataset), ActionVectors(dataset)
        self.length, self.terminates = length, bool(np.asarray(dataset.terminations).any())
        first = self.observations.vectors(dataset.observations, slice(0, 1)).shape[1]
        acted = self.actions.seen(np.asarray(dataset.actions)[:1]).shape[1]
        step = first + acted + 1 + self.terminates
        starts = np.arange(length)[:, None] * step
        self.state_columns = np.concatenate([starts, [[length * step]]]) + np.arange(first)  # (L + 1, observation)
        self.action_columns = starts + first + np.arange(acted)  # (L, action)
        self.reward_columns = starts[:, 0] + first + acted
        self.end_columns = self.reward_columns + 1

    def together(self, segments: Segments) -> np.ndarray:
        """Return segments as vectors (M, D)."""
        count = len(segments)
        vectors = np.zeros((count, int(self.state_columns[-1, -1]) + 1))
        for place in range(self.length + 1):
            vectors[:, self.state_columns[place]] = self.observations.vectors(segments.observations, np.s_[:, place])
        acted = np.asarray(segments.actions).reshape(count * self.length, *self.actions.shape)
        vectors[:, self.action_columns] = self.actions.seen(acted).reshape(count, self.length, -1)
        vectors[:, self.reward_columns] = segments.rewards
        if self.terminates:
            vectors[:, self.end_columns] = segments.terminations
        return vectors

    def apart(self, vectors: np.ndarray) -> _Drawn:
        """Return vectors as segments."""
        actions = vectors[:, self.action_columns]
        if self.actions.count is None:
            actions = np.clip(actions, *self.actions.bounds)
        ended = vectors[:, self.end_columns] > 0.5 if self.terminates else np.zeros((len(vectors), self.length), bool)
        return _Drawn(vectors[:, self.state_columns], actions, vectors[:, self.reward_columns], ended)

    def states_of(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the states [B, L, observation] in which the actions are taken."""
        import torch

        return vectors[:, torch.as_tensor(self.state_columns[:-1], device=vectors.device)]
