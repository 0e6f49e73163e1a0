"""A mixture of weights: a share of the draws by one rule, the rest by others."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pydantic

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.recording import unrecorded
from assay.datasets.transform import make_transform, register
from assay.reweighting.weighting import Weighting, normalized

__all__ = ["MixtureWeighting"]


def _parts(plain: Any) -> tuple[Weighting | None, ...]:
    if not isinstance(plain, list | tuple) or not plain:
        raise ConfigError(
            'expected a list of weightings, such as [{"reweighting.trajectory": {"score": "return"}}, "uniform"]'
        )
    made = [_part(item) for item in plain]
    return tuple(made)


def _part(item: Any) -> Weighting | None:
    if item is None or item == "uniform":
        return None
    if isinstance(item, str):
        item = {item: {}}
    if isinstance(item, dict) and len(item) == 1:
        ((name, parameters),) = item.items()
        item = make_transform(name, parameters or {})
    if not isinstance(item, Weighting):
        raise ConfigError(f"{item!r} is no weighting")
    return item


@register("reweighting.mixture")
class MixtureWeighting(Weighting):
    """Draw by several rules, each in its share of the draws.

    Parameters
    ----------
    of : list of weightings, of `{name: parameters}`, or "uniform"
    shares : tuple of float, optional
        One each, adding up to 1; default equal ones.
    combine
        As of `Weighting`.

    Raises
    ------
    ConfigError
        If a part is no weighting, or the shares are others.

    Examples
    --------
    >>> from assay.reweighting import TrajectoryWeighting
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(4), rewards=[0.0, 0.0, 0.0, 1.0], episode_lengths=[3, 1])
    >>> half = MixtureWeighting(of=[TrajectoryWeighting(score="top", fraction=0.5), "uniform"])
    >>> half(dataset).weights.tolist()  # the best episode alone has weights 0, 0, 0, 4
    [0.5, 0.5, 0.5, 2.5]
    """

    of: Annotated[Any, pydantic.BeforeValidator(_parts)]
    shares: tuple[float, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> MixtureWeighting:
        shares = self._shares()
        if len(shares) != len(self.of) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"shares: {len(self.of)} numbers that add up to 1 are needed, not {list(shares)}")
        return self

    @property
    def costly(self) -> bool:  # noqa: D102
        return any(part is not None and part.costly for part in self.of)

    def _shares(self) -> tuple[float, ...]:
        return self.shares or tuple(1 / len(self.of) for _ in self.of)

    def parameters(self) -> dict[str, Any]:  # noqa: D102
        plain = ["uniform" if part is None else {part.name: part.parameters()} for part in self.of]
        return {**super().parameters(), "of": plain}

    def weigh(self, dataset: Dataset) -> np.ndarray:  # noqa: D102
        total = np.zeros(dataset.total_steps)
        for part, share in zip(self.of, self._shares(), strict=True):
            with unrecorded():
                weights = np.ones(dataset.total_steps) if part is None else part.weigh(dataset)
            total += share * normalized(np.asarray(weights, np.float64), self.name)
        return total
