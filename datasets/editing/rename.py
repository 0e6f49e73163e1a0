"""Columns, dimensions and datasets under other names."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.spaces import Dict, Space
from assay.datasets.transform import Transform, register

__all__ = ["Rename"]


@register("datasets.rename")
class Rename(Transform):
    """Rename columns, and name the dimensions of columns and their units. The numbers stay as they are.

    Parameters
    ----------
    columns : mapping of str to str
        Old name to new name.
    names, units : mapping of str to tuple of str
        Column (by its new name) to a text for each number of a row.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros((3, 2)), actions=np.zeros(2), rewards=np.zeros(2), columns={"infos/f": np.zeros(2)},
    ...     terminations=[False, True], truncations=[False, False])
    >>> renamed = Rename(columns={"infos/f": "infos/force"}, names={"observations": ("hip", "knee")})(dataset)
    >>> "infos/force" in renamed.columns, renamed.info.names["observations"]
    (True, ('hip', 'knee'))
    """

    columns: dict[str, str] = Field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    units: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the same numbers under other names."""
        for old in self.columns:
            if old not in dataset.columns:
                raise UnknownNameError("column", old, dataset.columns)
        now = [self.columns.get(name, name) for name in dataset.columns]
        if twice := sorted({name for name in now if now.count(name) > 1}):
            raise ConfigError(f"two columns would be called {twice[0]}")
        for mapping in (self.names, self.units):
            for column in mapping:
                if column not in now:
                    raise UnknownNameError("column", column, now)
        arrays = dict.fromkeys(self.columns) | {new: dataset.column(old) for old, new in self.columns.items()}
        info = replace(
            dataset.info,
            names=self._moved(dataset.info.names) | self.names,
            units=self._moved(dataset.info.units) | self.units,
            observation_space=self._space(dataset.info.observation_space, "observations"),
            action_space=self._space(dataset.info.action_space, "actions"),
        )
        return dataset.replace(arrays, info=info)

    def _moved(self, texts: object) -> dict[str, tuple[str, ...]]:
        return {self.columns.get(column, column): names for column, names in dict(texts).items()}  # type: ignore[call-overload]

    def _space(self, space: Space | None, prefix: str) -> Space | None:
        """Return a space whose parts follow their columns; None where one leaves it."""
        if not any(f"{old}/".startswith(f"{prefix}/") for old in self.columns):
            return space
        if not isinstance(space, Dict):
            return None
        parts = {
            self.columns.get(f"{prefix}/{key}", f"{prefix}/{key}"): child for key, child in space.subspaces.items()
        }
        if not all(name.startswith(f"{prefix}/") and name.count("/") == 1 for name in parts):
            return None
        return replace(space, subspaces={name.partition("/")[2]: child for name, child in parts.items()})
