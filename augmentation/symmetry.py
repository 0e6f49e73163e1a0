"""Symmetries that the user declares: each dimension becomes one of the dimensions, with a sign.

::

    s~[i] = observation_signs[i] * s[observation_permutation[i]]        the same for s'
    a~[i] = action_signs[i] * a[action_permutation[i]]                  of discrete actions: a~ = action_permutation[a]
    r~    = r,  terminations as they are

So left and right of a body change places, or a pendulum swings the other way round. A declaration that is wrong in one dimension spoils
every transition that it makes, and nothing else would notice. So it is checked before it is used, by `assay.augmentation.symmetry_check`:

- `proof="simulator"`: mirrored transitions are compared with the simulator's own step, within `tolerance`. The environment is that of the
  dataset; see `assay.augmentation.simulators` for which states can be read off their observations.
- `proof="data"`: where a mirrored transition comes near recorded ones, it must do what they do. In data of one side alone nothing comes
  near, which is an error too.
- `proof="none"`: for declarations that were checked elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from assay.augmentation.proposals import SegmentAugmentation
from assay.augmentation.segments import SegmentReader, Segments
from assay.augmentation.simulator import Simulator
from assay.augmentation.simulators import simulator_of
from assay.augmentation.symmetry_check import Declaration, check_by_data, check_by_simulator
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.transform import register

__all__ = ["Symmetry"]

_SAMPLE = {"simulator": 64, "data": 20_000}  # transitions that a declaration is checked on


@register("augmentation.symmetry")
class Symmetry(SegmentAugmentation):
    """Add mirrored transitions.

    Parameters
    ----------
    observation_signs : sequence of 1 and -1, optional
        One for each dimension of the observations; default all 1.
    observation_permutation : sequence of int, optional
        From which dimension each comes; default from itself.
    action_signs, action_permutation : optional
        The same of the actions. Discrete actions have a permutation alone: what each becomes.
    proof : "simulator", "data" or "none"
        How the declaration is checked before it is used.
    ratio, length, seed, tolerance
        See `SegmentAugmentation`. With a ratio of 1 every transition is mirrored once.

    Raises
    ------
    ConfigError
        If signs are not 1 or -1, or a permutation is none.
    DatasetError
        When applied: if lengths do not fit the dataset, or the check fails; with the dimension.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("pendulum/medium", steps=200)  # cosine, sine, speed; torque
    >>> mirrored = Symmetry(observation_signs=(1, -1, -1), action_signs=(-1,))(dataset)
    >>> mirrored.total_steps, bool((mirrored.actions[200:] == -dataset.actions).all())
    (400, True)
    """

    observation_signs: tuple[int, ...] | None = None
    observation_permutation: tuple[int, ...] | None = None
    action_signs: tuple[int, ...] | None = None
    action_permutation: tuple[int, ...] | None = None
    proof: Literal["simulator", "data", "none"] = "simulator"
    ratio: float = Field(default=1.0, gt=0, le=1)

    def __post_init__(self) -> None:
        for element in ("observation", "action"):
            signs, order = getattr(self, f"{element}_signs"), getattr(self, f"{element}_permutation")
            if signs is not None and set(signs) - {1, -1}:
                raise ConfigError(f"{self.name}: {element}_signs must be 1 or -1 each, not {list(signs)}")
            if order is not None and sorted(order) != list(range(len(order))):
                raise ConfigError(
                    f"{self.name}: {element}_permutation={list(order)} must name every dimension from 0 to {len(order) - 1} once"
                )

    def simulator(self, dataset: Dataset) -> Simulator:  # noqa: D102
        return simulator_of(dataset)

    def prepare(self, dataset: Dataset) -> None:  # noqa: D102
        declaration = self.declaration(dataset)
        if self.proof == "none":
            return
        reader = SegmentReader(dataset)
        generator = block_generator(self.seed, self.name, "proof", 0)
        count = min(len(reader.starts), _SAMPLE[self.proof])
        sample = reader.read(reader.starts[np.sort(generator.choice(len(reader.starts), count, replace=False))])
        names = dataset.info.names.get("observations", ())
        if self.proof == "simulator":
            check_by_simulator(declaration, sample, self.simulator(dataset), self.tolerance, names)
        else:
            check_by_data(declaration, sample, names)

    def propose(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        size = segments.observations.shape[-1]
        actions = segments.actions
        declaration = self._declared(size, actions.shape[-1] if actions.ndim > 2 else None)
        return declaration.mirrored(segments), np.ones(len(segments), bool)

    def declaration(self, dataset: Dataset) -> Declaration:
        """Return signs and permutations of every dimension.

        Raises
        ------
        DatasetError
            If they do not fit the dataset.
        """
        observations, actions = dataset.observations, dataset.actions
        if isinstance(observations, dict) or isinstance(actions, dict) or observations.ndim != 2 or actions.ndim > 2:
            raise DatasetError(
                f"{self.name}: observations and actions must be flat vectors; these are structured or images"
            )
        discrete = actions.ndim == 1
        if discrete and (self.action_permutation is None or actions.dtype.kind not in "iu"):
            raise DatasetError(f"{self.name}: discrete actions need an action_permutation: what each of them becomes")
        if discrete and int(actions.max(initial=0)) >= len(self.action_permutation or ()):
            raise DatasetError(
                f"{self.name}: action_permutation has {len(self.action_permutation or ())} entries, and there is an action "
                f"{int(actions.max())}"
            )
        for element, size in (
            ("observation", observations.shape[1]),
            ("action", None if discrete else actions.shape[1]),
        ):
            for kind in ("signs", "permutation"):
                given: Sequence[int] | None = getattr(self, f"{element}_{kind}")
                if given is not None and size is not None and len(given) != size:
                    raise DatasetError(
                        f"{self.name}: {element}_{kind} has {len(given)} entries; {element}s have {size} numbers"
                    )
        return self._declared(observations.shape[1], None if discrete else actions.shape[1])

    def _declared(self, observation_size: int, action_size: int | None) -> Declaration:
        return Declaration(
            _filled(self.observation_signs, np.ones(observation_size)),
            _filled(self.observation_permutation, np.arange(observation_size)),
            None if action_size is None else _filled(self.action_signs, np.ones(action_size)),
            _filled(self.action_permutation, np.arange(action_size or 0)),
        )


def _filled(given: Sequence[int] | None, default: np.ndarray) -> np.ndarray:
    return default if given is None else np.array(given, default.dtype)
