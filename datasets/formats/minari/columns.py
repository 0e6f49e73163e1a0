"""Which columns of a dataset Minari can hold, and the spaces it needs for them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, DatasetError
from assay.datasets.formats.losses import names_and_units, report_losses
from assay.datasets.formats.minari.values import shape_of
from assay.datasets.spaces import Dict, Space, Text, Tuple, infer_space, leaves

__all__ = ["check_final_observations", "space_for", "writable_columns"]

_STANDARD = ("observations", "actions", "rewards", "terminations", "truncations", "infos")
_KINDS = {"hdf5": "biufcSU", "arrow": "biufU", "parquet": "biufU"}  # of the dtypes that a format can hold


def check_final_observations(dataset: Dataset) -> None:
    """Refuse a dataset with an unknown final observation: Minari stores T+1 observations of every episode."""
    known = dataset.episode_columns.get("final_observation")
    if known is not None and not known.all():
        episode = int(np.flatnonzero(~known.astype(bool))[0])
        raise DatasetError(
            f"the final observation of episode {episode} is unknown, and Minari needs it; write the others with "
            "dataset.select(dataset.episode_columns['final_observation'])"
        )


def space_for(dataset: Dataset, prefix: str, given: Space | None, data_format: str) -> Space:
    """Return the given space after checking that it has the same leaves as the columns, or one made from them.

    Raises
    ------
    DatasetError
        If they disagree, or a column has a dtype that the format cannot hold.
    """
    names = [name for name in dataset.columns if is_under(name, prefix)]
    for name in names:
        if not _fits(dataset.column(name), data_format) or dataset.column(name).dtype.kind == "S":
            raise DatasetError(
                f"column {name} holds {dataset.column(name).dtype}, which Minari's {data_format} cannot hold"
            )
    if given is None:
        return _infer(dataset.nested(prefix))
    expected = leaves(given, prefix)
    if different := sorted(set(names) ^ expected.keys()):
        raise DatasetError(
            f"the {prefix[:-1]}_space in info and the columns disagree about {different[0]}; "
            "correct info, or set the space to None to have it inferred"
        )
    for name in names:
        is_text = dataset.column(name).dtype.kind == "U"
        if is_text != isinstance(expected[name], Text):
            raise DatasetError(
                f"column {name} holds {dataset.column(name).dtype}, and its space in info is {type(expected[name]).__name__}; "
                "correct info, or set the space to None to have it inferred"
            )
    if data_format != "hdf5":  # whose readers take the shape from the space
        for name in names:
            shape, said = dataset.column(name).shape[1:], shape_of(expected[name])
            if shape != said:
                raise DatasetError(
                    f"column {name} has rows of shape {shape}, and the {prefix[:-1]}_space in info says {said}; "
                    "correct info, or set the space to None to have it inferred"
                )
    return given


def _fits(array: np.ndarray, data_format: str) -> bool:
    dtype = array.dtype
    if dtype.kind == "U":
        return array.ndim == 1
    wide = dtype.kind == "f" and dtype.itemsize > 8 and data_format != "hdf5"
    return dtype.kind in _KINDS[data_format] and not wide


def _infer(value: Any) -> Space:
    if not isinstance(value, dict):
        return infer_space(value)
    entries = [f"_index_{i}" for i in range(len(value))]
    if set(value) == set(entries):
        return Tuple(tuple(_infer(value[entry]) for entry in entries))
    return Dict({key: _infer(child) for key, child in value.items()})


def writable_columns(dataset: Dataset, data_format: str) -> list[str]:
    """List the columns that have a place, in Minari's order, and report the others."""
    stored: list[str] = []
    left_out: list[str] = []
    for name in dataset.columns:
        top, _, rest = name.partition("/")
        in_place = top in _STANDARD and (top != "infos" or rest)
        fits = in_place and _fits(dataset.column(name), data_format)
        (stored if fits else left_out).append(name)
    report_losses(dataset, "Minari", left_out, names_and_units(dataset))
    swapped = [name for name in stored if not dataset.column(name).dtype.isnative]
    if swapped and data_format != "hdf5":
        warnings.warn(
            f"Minari's {data_format} has one byte order, to which these columns are converted: {', '.join(swapped)}",
            AssayWarning,
            stacklevel=4,
        )
    return sorted(stored, key=lambda name: _STANDARD.index(name.split("/")[0]))
