"""Datasets of one robot, joined."""

from __future__ import annotations

from pydantic import Field

from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.errors import DatasetError
from assay.datasets.signals import declared_rate
from assay.datasets.transform import Transform, register

__all__ = ["MergeDatasets"]


@register("datasets.merge")
class MergeDatasets(Transform):
    """Append other datasets of the same columns, names, units, rate and spaces.

    Parameters
    ----------
    others : tuple of str
        Names or paths, as `assay.load` takes them. The history holds them, and the fingerprint of the result: a replay finds out
        where one has changed.

    Raises
    ------
    DatasetError
        If one differs in its columns, or in what its numbers mean; with the difference.
    """

    others: tuple[str, ...] = Field(min_length=1)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the joined dataset; its info is that of the first."""
        from assay.datasets.loading import load

        parts = [dataset]
        for name in self.others:
            other = load(name)
            _require_like(dataset, other, name)
            parts.append(other)
        return concatenate(parts).replace(info=dataset.info)


def _require_like(dataset: Dataset, other: Dataset, name: str) -> None:
    for what in ("names", "units"):
        one, two = getattr(dataset.info, what), getattr(other.info, what)
        for column in sorted(one.keys() | two.keys()):
            if one.get(column) != two.get(column):
                raise DatasetError(
                    f"{name}: the {what} of {column} are {_listed(two.get(column))}, but {_listed(one.get(column))} in the first "
                    "dataset; datasets.rename sets them"
                )
    if declared_rate(dataset) != declared_rate(other):
        raise DatasetError(
            f"{name} has {declared_rate(other)} steps per second, the first dataset {declared_rate(dataset)}; "
            "datasets.resample puts both on one clock"
        )
    for what in ("observation_space", "action_space"):
        if getattr(dataset.info, what) != getattr(other.info, what):
            raise DatasetError(f"{name} has another {what.replace('_', ' ')} than the first dataset")


def _listed(names: tuple[str, ...] | None) -> str:
    return "not given" if names is None else ", ".join(names)
