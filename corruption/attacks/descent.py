"""Projected sign-gradient descent of a victim's value, for a fixed number of rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from assay.corruption.attacks.input_gradients import Target, input_gradient
from assay.corruption.attacks.victim import Victim

if TYPE_CHECKING:
    from assay.corruption.adversarial import AdversarialCorruption

__all__ = ["Descent", "start_positions"]

_FEWEST = 32  # rows; smaller products are summed in other orders


class Descent:
    """Moves rows to where the victim values them least.

    Parameters
    ----------
    victim : Victim
    attack : AdversarialCorruption
        Its settings.
    std : (dim,) float64 array
        Of the column.
    bounds : pair of (dim,) arrays, optional
        To stay in.
    together : int
        Most rows at a time. Fewer are filled up to the next power of two, so that products have few shapes.
    """

    def __init__(
        self,
        victim: Victim,
        attack: AdversarialCorruption,
        std: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray] | None,
        together: int,
    ) -> None:
        self.victim, self.attack, self.std, self.bounds, self.together = victim, attack, std, bounds, together
        self.kind: Any = {"actions": "actions", "dynamics": "policy"}.get(attack.element, "observations")
        self.dtype: torch.dtype = getattr(victim, "dtype", torch.float32)

    def lowest(self, base: np.ndarray, other: np.ndarray | None, draws: np.ndarray) -> np.ndarray:
        """Return where the descent ends.

        Parameters
        ----------
        base : (n, dim) array
            n at most `together`.
        other : (n, ...) array or None
            The actions or observations that belong to them; None where the policy acts.
        draws : (n, dim) float32 array in [0, 1)

        Returns
        -------
        (n, dim) array of the dtype of `base`
            NaN where the victim's gradient is not finite.
        """
        attack, count = self.attack, len(base)
        exact = base.astype(np.float64)
        spread = self._tensor(self.std)
        target = Target(self.kind, self._filled(exact), spread, None if other is None else self._filled(other))
        gradient = input_gradient(self.victim, target, attack.aggregate, self.dtype)
        z = start_positions(self._filled(draws), attack.scale, spread, attack.initialization).to(self.dtype)
        low, high = self._box(target.base, spread)
        rate = attack.step_size * attack.scale
        for step in range(attack.steps):
            slope = gradient(z)
            if not step:
                finite = slope.isfinite().all(dim=1, keepdim=True)  # the sign of NaN is 0
            z.sub_(slope.sign_(), alpha=rate).clamp_(low, high)
        z = torch.where(finite, z, torch.nan)
        noise = z[:count].double().cpu().numpy() * self.std
        with np.errstate(over="ignore"):
            moved: np.ndarray = (exact + noise).astype(base.dtype)
        return moved

    def _box(self, base: torch.Tensor, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the least and largest z: those of the box, or for actions that stay in their space of both."""
        reach = torch.full_like(base, self.attack.scale)
        if self.bounds is None:
            return -reach[:1].to(self.dtype), reach[:1].to(self.dtype)
        least, largest = (torch.where(spread > 0, (self._tensor(bound) - base) / spread, 0.0) for bound in self.bounds)
        low = torch.maximum(least, -reach).minimum(reach)
        return low.to(self.dtype), torch.minimum(largest, reach).maximum(low).to(self.dtype)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float64)).to(self.attack.device)

    def _filled(self, rows: np.ndarray) -> torch.Tensor:
        size = max(_FEWEST, 1 << (len(rows) - 1).bit_length())
        missing = min(size, self.together) - len(rows)
        return self._tensor(np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows)


def start_positions(draws: torch.Tensor, scale: float, std: torch.Tensor, initialization: str) -> torch.Tensor:
    """Return z_0 [n, dim] for draws in [0, 1); "published" has std twice, once here and once where z is used.

    Examples
    --------
    >>> draws, std = torch.tensor([[0.0, 0.75]]), torch.tensor([4.0, 4.0])
    >>> start_positions(draws, 1.0, std, "uniform").tolist(), start_positions(draws, 1.0, std, "published").tolist()
    ([[-1.0, 0.5]], [[-4.0, 2.0]])
    """
    unit = 2.0 * draws - 1.0
    return scale * unit * std if initialization == "published" else scale * unit
