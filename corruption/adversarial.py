r"""Adversarial corruption of one element of the transitions: towards the lowest value of a victim.

Source: Yang et al., "Towards Robust Offline Reinforcement Learning under Diverse Data Corruption" (RIQL), ICLR 2024,
arXiv 2310.12955, appendix on corruption; published code `attack.py`. With the critics Q_1 ... Q_K and the policy pi of
a victim that was trained on the clean data, rate c and scale eps, a touched step (u < c, as in `corruption.random`)
gets

    observations   s   <-  argmin  mean_k Q_k(x, a)          over |x - s|  <= eps std(s)
    actions        a   <-  argmin  mean_k Q_k(s, x)          over |x - a|  <= eps std(a)
    dynamics       s'  <-  argmin  mean_k Q_k(x, pi(x))      over |x - s'| <= eps std(s')
    rewards        r   <-  -eps r                            no gradient, no victim
    states         as observations, and the s' of the step before goes with it (ours, as in `corruption.random`)

by T = `steps` steps of projected sign-gradient descent with step eta = `step_size` times eps, from a random start:

    z_0      =  eps (2 u - 1),  u ~ U[0, 1)^dim
    z_(t+1)  =  clip(z_t - eta sign(d/dz mean_k Q_k(x + z_t std)), -eps, eps)         x <- x + z_T std

std is the population standard deviation of each dimension before this transform. The published victim is EDAC with 10
critics of three layers of 256 after 3 million updates; RDT attacks IQL's two. With the published T eta = eps a
dimension travels half the width of its box at most: a start in the wrong half does not reach the right corner. That is
part of the definition. The mode `fast_adversarial` of `corruption.presets` is stronger and faster: fewer steps, and
twice the distance.

Decisions where the published code is at odds with the paper or with itself:

- Start (A1). The code multiplies the start by std once too often: z_0 = 2 eps std (u - 1/2), later multiplied by std
  again, so that where std > 1 a share 1 - 1/std of the starts lies outside the box and is clipped to a corner that half
  a box of travel cannot leave for the other one, and where std < 1 starts crowd in the middle. The paper says [-eps,
  eps]: initialization="uniform", the default. initialization="published" reproduces the code, whose first gradient is
  taken outside the box.
- Step (A2). The code makes Adam anew for each step, which is a sign step while gradients are much larger than 1e-8; it
  divides them by the rows of a chunk times K, so that the attack weakens as the dataset grows. Ours is the exact sign,
  of each row's own gradient (0 stays where it is). aggregate="min" attacks the smallest critic in place of the mean.
- Policy (A3). The code samples pi(s'), and crashes before it does. Ours acts as in evaluation: for EDAC by tanh(mu),
  with the gradient through it.
- Seed (A4). The code caches one corrupted dataset for all seeds. Here `seed` is its own, and nothing is shared.
- Other fields (A5). Gradients see the data as it is when the transform is applied: after another corruption, the
  corrupted values, as in RIQL's code (RDT's see clean ones). std and the box are always those of the element itself.
- The mask is Bernoulli, exact with count="exact", and united over repeated corruption, as in `corruption.random`.
  Actions are not clipped to their space unless clip=True, when the descent is projected onto the intersection of both
  boxes.

The result of a step depends on the seed, its position, its own values and the std of the column, and never on how the
data was chunked. The touched steps of every absolute block of 65,536 are attacked in parts of a fixed number of rows;
the last part is filled up to a power of two, so that matrix products have the same shapes everywhere. Equal input gives
equal bytes on one machine with one version of torch, for any number of threads. At another rate, for a longer dataset
or on another machine, a matrix product may round differently. The sign of a gradient that is zero but for rounding may
then differ: a dimension at its minimum oscillates by one step around it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from assay.corruption.attacks.victim import Victim, describe_victim, digest_of, folder_of, open_victim
from assay.corruption.shared import elements
from assay.corruption.shared.elements import (
    action_bounds,
    follow_states,
    open_element,
    require_finite,
    standard_deviation,
    writable,
)
from assay.corruption.shared.steps import StepCorruption, with_mask
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.generators import block_generator, blocks, random_rows
from assay.datasets.memory import copy
from assay.datasets.streaming import StepReader
from assay.datasets.transform import Progress, register

__all__ = ["AdversarialCorruption"]

ROWS = {"cpu": 256, "cuda": 8192}  # rows attacked together: as many as fit the cache of a core, or keep a GPU busy


@register("corruption.adversarial")
class AdversarialCorruption(StepCorruption):
    """Move one element of randomly chosen steps to where a victim's value is lowest (RIQL; the module has the equations).

    Parameters
    ----------
    element : "observations", "actions", "rewards", "dynamics" or "states"
        Element to touch, as in `RandomCorruption`; its column has to be flat.
    victim : path, Run or Victim
        Folder of a finished run with a critic, or an object as in `assay.corruption.attacks.victim`. A corruption whose
        victim is an object cannot be replayed from its record. Rewards need no victim.
    rate : float in [0, 1]
        Probability that a step is touched.
    scale : float >= 0
        Half the width of the box, in standard deviations of each dimension; for rewards the factor.
    steps : int >= 1
        Number of steps of the descent.
    step_size : float > 0
        Length of a step of the descent, in units of `scale`; published 0.01.
    seed : int >= 0
        Seed of the choice of steps and of the starts.
    aggregate : "mean" or "min"
        Whether the mean of the critics or the smallest one is minimized.
    initialization : "uniform" or "published"
        How the start is drawn; the module's text has both (A1).
    clip : bool
        Keep touched actions inside the action space.
    device : str
        Device that computes the gradients, such as "cpu" or "cuda".
    victim_digest : str, optional
        Hash of the victim's networks. It is part of the record, and replay refuses other networks.
    granularity, window, count, tag, mask, shared
        Which steps; see `StepCorruption`.

    Raises
    ------
    ConfigError
        If a parameter is out of its range; when applied, if the device cannot be used, or if the victim is no finished
        run, lacks what is needed or gives values of another shape or without gradients.
    DatasetError
        When applied: if the columns are not flat and real-valued, or hold NaN or infinity.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0)[:, None], actions=np.array([[0.0], [1], [0], [1], [0]]), rewards=np.ones(5),
    ...     terminations=np.arange(5) == 4, truncations=np.zeros(5, bool))
    >>> def value(observations, actions):
    ...     return actions.sum(-1)
    >>> attack = AdversarialCorruption(element="actions", victim=value, rate=1.0, scale=1.0, steps=200)
    >>> (dataset.actions - attack(dataset).actions).round(2).ravel().tolist()  # down by one standard deviation
    [0.49, 0.49, 0.49, 0.49, 0.49]
    """

    element: Literal["observations", "actions", "rewards", "dynamics", "states"]
    victim: Any = None
    rate: float = Field(default=0.3, ge=0, le=1)
    scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    steps: int = Field(default=100, ge=1)
    step_size: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    aggregate: Literal["mean", "min"] = "mean"
    initialization: Literal["uniform", "published"] = "uniform"
    clip: bool = False
    device: str = "cpu"
    victim_digest: str | None = None

    @field_validator("victim")
    @classmethod
    def _a_victim(cls, value: Any) -> Any:
        if value is None or folder_of(value) is not None or isinstance(value, Victim) or callable(value):
            return value
        raise ValueError("a victim is a run folder, or has the methods q_values and act")

    @model_validator(mode="after")
    def _consistent(self) -> AdversarialCorruption:
        if self.clip and self.element != "actions":
            raise ValueError(f"only actions are clipped to the action space, not {self.element}")
        return self

    def parameters(self) -> dict[str, Any]:
        """Return the fields as JSON values, with a hash of the victim's networks where it is a run."""
        described = describe_victim(self.victim)
        folder = folder_of(self.victim)
        digest = self.victim_digest or (None if folder is None else digest_of(folder))
        return super().parameters() | {"victim": described, "victim_digest": digest}

    @property
    def costly(self) -> bool:
        """Whether applying takes long: there is a descent, against networks in a folder."""
        return self.element != "rewards" and folder_of(self.victim) is not None

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the corrupted dataset; columns that do not change are shared."""
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:
        """Do as `apply`, and call `progress` with the number of steps attacked so far and in all."""
        mask = self.touched_steps(dataset, self.element, self.rate, self.seed)
        if self.element == "rewards":
            changed = {"rewards": self._reverse(StepReader(dataset), mask)}
            return dataset.replace(changed | with_mask(dataset, self.element, mask))
        victim = open_victim(self.victim, self.victim_digest, self.device)
        reader, name, changed = open_element(dataset, self.element)
        for needed in {name, "observations", "actions"}:
            _require_flat(reader, needed)
        column = writable(reader, name, changed)
        changed[name] = self._attack(victim, reader, name, mask, column, progress)
        if self.element == "states" and dataset.has_next_observations:
            changed[f"next_{name}"] = follow_states(reader, name, mask, column)
        return dataset.replace(changed | with_mask(dataset, self.element, mask))

    def _reverse(self, reader: StepReader, mask: np.ndarray) -> np.ndarray:
        if not np.issubdtype(reader.dataset.rewards.dtype, np.floating):
            raise DatasetError(f"adversarial rewards are -scale r; column rewards is {reader.dataset.rewards.dtype}")
        require_finite(reader, "rewards")
        rewards = copy(reader.dataset.rewards)
        for _, rows in blocks(len(mask)):
            rewards[rows][mask[rows]] *= -self.scale
        return rewards

    def _attack(
        self,
        victim: Victim,
        reader: StepReader,
        name: str,
        mask: np.ndarray,
        column: np.ndarray,
        progress: Progress | None,
    ) -> np.ndarray:
        """Change the touched rows of a column in place."""
        from assay.corruption.attacks.descent import Descent

        std = standard_deviation(reader, name)
        bounds = action_bounds(reader.dataset, name) if self.clip else None
        together = ROWS["cpu" if self.device.startswith("cpu") else "cuda"]
        descent = Descent(victim, self, std, bounds, together)
        done, total = 0, int(mask.sum())
        for block, rows in blocks(len(mask)):
            touched = np.flatnonzero(mask[rows]) + rows.start
            starts = self._starts(reader, name, block, rows, mask)
            for first in range(0, len(touched), together):
                steps = touched[first : first + together]
                states = steps + reader.episodes_of(steps)  # rows of the observations
                places = states if name == "observations" else steps
                others = self._others(reader, steps, states)
                values = descent.lowest(column[places], others, starts[first : first + together])
                fine = np.isfinite(values).all(axis=1)
                if others is not None:
                    fine &= np.isfinite(others).all(axis=1)
                if not fine.all():
                    raise DatasetError(
                        f"the victim cannot value {reader.place(int(steps[np.argmin(fine)]))}: observations, actions and "
                        "the victim's gradients must be finite"
                    )
                column[places] = values
                done += len(steps)
                if progress is not None:
                    progress(done, total)
        return column

    def _others(self, reader: StepReader, steps: np.ndarray, states: np.ndarray) -> np.ndarray | None:
        """Return the fixed part of the pairs (observations or actions); None where the policy acts."""
        if self.element == "dynamics":
            return None
        name, rows = ("observations", states) if self.element == "actions" else ("actions", steps)
        found: np.ndarray = reader.dataset.column(name)[rows]
        return found

    def _starts(self, reader: StepReader, name: str, block: int, rows: slice, mask: np.ndarray) -> np.ndarray:
        """Return the draws in [0, 1) of the touched steps of a block; all steps draw, so that none depends on the mask."""
        generator = block_generator(self.seed, self.name, f"{self.element}:{name}", block)
        width = reader.dataset.column(name).shape[1]
        draws = [np.zeros((0, width), np.float32)]
        for steps in reader.chunks(name, elements.CHUNK_BYTES, rows):
            draws.append(random_rows(generator, (steps.stop - steps.start, width), np.flatnonzero(mask[steps])))
        return np.concatenate(draws)


def _require_flat(reader: StepReader, name: str) -> None:
    if name not in reader.dataset.columns:
        raise DatasetError(f"a victim takes flat {name}, and those of this dataset are structured")
    column = reader.dataset.column(name)
    if column.ndim != 2 or not np.issubdtype(column.dtype, np.floating):
        raise DatasetError(
            f"a victim takes rows of real numbers, and column {name} is {column.dtype}{list(column.shape)}; convert it "
            "first, or choose another element"
        )
