"""Whether a declared symmetry holds: by the simulator's own step, or by the data alone; and which dimension is wrong if not.

A wrong sign in one dimension makes others wrong as well, because the simulator starts from a state that never was. So the error does not
name the largest difference: it tries the declaration with each single sign turned round, and each pair of dimensions exchanged, and names
the one with which the symmetry holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.augmentation.segments import Segments
from assay.augmentation.simulator import Simulator, deviations
from assay.datasets.errors import DatasetError

__all__ = ["Declaration", "check_by_data", "check_by_simulator"]

_TRIALS = 12  # transitions that each changed declaration is tried on
_MOST_EXCHANGED = 30  # dimensions; among more, pairs are not tried
_NEIGHBOURS_QUANTILE = 0.9
_FEWEST_NEAR = 20
_LARGEST_RATIO = 4.0  # of the errors of the fit, mirrored to recorded
_SLACK = 0.01  # standard deviations of a change that are no error
_QUERIES = 1000
_RIDGE = 1e-6


@dataclass(frozen=True)
class Declaration:
    """Signs and permutations of all dimensions; `action_signs` is None where actions are discrete."""

    observation_signs: np.ndarray
    observation_permutation: np.ndarray
    action_signs: np.ndarray | None
    action_permutation: np.ndarray

    def mirrored(self, segments: Segments) -> Segments:
        """Return mirrored segments."""
        observations = segments.observations[..., self.observation_permutation] * self.observation_signs
        if self.action_signs is None:
            actions = self.action_permutation[segments.actions]
        else:
            actions = segments.actions[..., self.action_permutation] * self.action_signs
        return segments.with_changes(
            observations=observations.astype(segments.observations.dtype),
            actions=actions.astype(segments.actions.dtype),
        )

    def neighbours(self) -> Iterator[tuple[str, Declaration]]:
        """Yield declarations that differ in one sign or one exchange, with the words for it."""
        for element in ("observation", "action"):
            signs: np.ndarray | None = getattr(self, f"{element}_signs")
            order: np.ndarray = getattr(self, f"{element}_permutation")
            if signs is None:
                continue
            for index in range(len(signs)):
                turned = signs.copy()
                turned[index] *= -1
                yield f"the sign of {element} dimension {index}", replace(self, **{f"{element}_signs": turned})
            for one, other in itertools.combinations(range(len(order)), 2) if len(order) <= _MOST_EXCHANGED else ():
                exchanged = order.copy()
                exchanged[[one, other]] = order[[other, one]]
                what = f"where {element} dimensions {one} and {other} come from"
                yield what, replace(self, **{f"{element}_permutation": exchanged})


def check_by_simulator(
    declaration: Declaration, sample: Segments, simulator: Simulator, tolerance: float, names: Sequence[str] = ()
) -> None:
    """Raise DatasetError where mirrored transitions are not what the simulator does.

    Parameters
    ----------
    declaration : Declaration
    sample : Segments
        Recorded transitions; those that the simulator itself does not give are left out.
    simulator : Simulator
    tolerance : float
    names : sequence of str
        Of the dimensions of observations.
    """
    own = deviations(sample, simulator)
    known = own.largest <= tolerance
    if known.mean() < 0.5:
        raise DatasetError(
            f"augmentation.symmetry: {int((~known).sum())} of {len(known)} recorded transitions are themselves not what the simulator "
            f'does ({own.worst()}), so a symmetry cannot be checked with it; use proof="data"'
        )
    sample = sample.take(known)
    found = deviations(declaration.mirrored(sample), simulator)
    if (found.largest <= tolerance).all():
        return

    def misfit(other: Declaration) -> float:
        return float(deviations(other.mirrored(few), simulator).largest.max() / tolerance)

    few = sample.take(np.flatnonzero(found.largest > tolerance)[:_TRIALS])
    raise DatasetError(
        f"augmentation.symmetry: {int((found.largest > tolerance).sum())} of {len(sample)} mirrored transitions are not what the "
        f"simulator does (tolerance {tolerance:g}): {_named(found.worst(), names)}. {_culprit(declaration, misfit)}"
    )


def _culprit(declaration: Declaration, misfit: Callable[[Declaration], float]) -> str:
    """Name the one change with which the symmetry holds; where several do, the one with which it holds best."""
    found = {what: misfit(other) for what, other in declaration.neighbours()}
    best = min(found, key=lambda what: found[what])
    if found[best] <= 1:
        return f"Wrong is {best}: with that changed, the symmetry holds"
    return "More than one sign or place is wrong, or the system has no such symmetry"


def _named(worst: str, names: Sequence[str]) -> str:
    for index, name in enumerate(names):
        worst = worst.replace(f"observations[{index}]", f"observations[{index}] ({name})")
    return worst


def check_by_data(declaration: Declaration, sample: Segments, names: Sequence[str] = ()) -> None:
    """Raise DatasetError where mirrored transitions contradict recorded ones that begin and act nearly alike.

    A mirrored transition is near recorded ones where its nearest neighbour, in standardized states and actions, is not further than
    nine in ten recorded transitions are from theirs. There a linear fit of its neighbours says how the state should change, and what the
    reward should be. How far such a fit is from recorded transitions (each left out of its own fit) is what is allowed for, dimension
    by dimension.
    """
    misfit = _misfit(declaration, sample)
    if misfit is None:
        raise DatasetError(
            "augmentation.symmetry: the data cannot tell whether the symmetry holds: almost no mirrored transition comes near a recorded "
            'one. Check it with the simulator (proof="simulator"), or, if you know that it holds, use proof="none"'
        )
    if misfit.max() <= 1:
        return
    index = int(misfit.argmax())
    place = f"observations[{index}]" if index < len(declaration.observation_signs) else "rewards"

    def largest(other: Declaration) -> float:
        found = _misfit(other, sample)
        return np.inf if found is None else float(found.max())

    raise DatasetError(
        f"augmentation.symmetry: mirrored transitions contradict recorded ones: the change of {_named(place, names)} differs from that "
        f"of the nearest ones {misfit[index]:.3g} times as much as is allowed. {_culprit(declaration, largest)}"
    )


def _misfit(declaration: Declaration, sample: Segments) -> np.ndarray | None:
    """Return how far mirrored transitions are from what their neighbours say, per dimension and last for the reward; above 1 is too far.

    None where too few come near recorded ones.
    """
    from scipy.spatial import cKDTree

    mirrored = declaration.mirrored(sample)
    spread = _places(sample).std(axis=0) + 1e-12
    places, changes = _places(sample) / spread, _changes(sample)
    queries = slice(0, None, max(1, len(sample) // _QUERIES))
    tree, count = cKDTree(places), 2 * (places.shape[1] + 1)
    own_distance, own = tree.query(places[queries], k=count + 1)
    mirrored_places = _places(mirrored)[queries] / spread
    distance, nearest = tree.query(mirrored_places, k=count)
    near = distance[:, 0] <= np.quantile(own_distance[:, 1], _NEIGHBOURS_QUANTILE)
    if near.sum() < _FEWEST_NEAR:
        return None
    usual = np.abs(changes[queries] - _fitted(places, changes, own[:, 1:], places[queries]))
    found = np.abs(_changes(mirrored)[queries] - _fitted(places, changes, nearest, mirrored_places))[near]
    allowed = _LARGEST_RATIO * usual.mean(axis=0) + _SLACK * changes.std(axis=0) + 1e-12
    misfit: np.ndarray = found.mean(axis=0) / allowed
    return misfit


def _fitted(places: np.ndarray, changes: np.ndarray, neighbours: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return what a linear fit of each row of neighbours says at a place, (M, sizes)."""
    inputs = places[neighbours] - at[:, None]
    inputs = np.concatenate([np.ones((*inputs.shape[:2], 1)), inputs], axis=2)
    gram = inputs.transpose(0, 2, 1) @ inputs + _RIDGE * np.eye(inputs.shape[2])
    weights = np.linalg.solve(gram, inputs.transpose(0, 2, 1) @ changes[neighbours])
    fitted: np.ndarray = weights[:, 0]
    return fitted


def _places(segments: Segments) -> np.ndarray:
    """Return states and actions side by side, (M, sizes)."""
    count = len(segments)
    return np.concatenate([segments.first.reshape(count, -1), segments.actions.reshape(count, -1)], axis=1).astype(
        np.float64
    )


def _changes(segments: Segments) -> np.ndarray:
    """Return the changes of the state and the rewards side by side, (M, size + 1)."""
    change = segments.last.astype(np.float64) - segments.first
    return np.concatenate([change, segments.rewards[:, :1]], axis=1)
