"""Time stamps as seconds: float64, from numbers of a unit, dates or durations.

Whole numbers and dates are counted from the first stamp, so that nanoseconds since 1970 lose nothing: their origin goes into
`info.extra["time_origin"]`. Numbers with a fraction stay as they are, in seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.datasets.errors import DatasetError

__all__ = ["SCALES", "seconds_of"]

SCALES = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LARGEST_SECONDS = 1e11  # the year 5138: a larger number is of a smaller unit
_EXACT = 2**52  # whole numbers up to here keep half a unit in float64


def seconds_of(stamps: np.ndarray, unit: str | None, where: object) -> tuple[np.ndarray, dict[str, Any]]:
    """Return time stamps in seconds, and what to remember of them.

    Parameters
    ----------
    stamps : (N,) array
        Numbers, `datetime64` or `timedelta64`.
    unit : "s", "ms", "us", "ns" or None
        Of numbers; None is seconds.
    where : object
        The source and its name, for messages.

    Returns
    -------
    seconds : (N,) float64
    remembered : dict
        `time_origin`, where the first stamp was subtracted; as text.

    Raises
    ------
    DatasetError
        If a stamp is missing or no time, or numbers cannot be seconds and no unit is given.

    Examples
    --------
    >>> seconds_of(np.array([1486559106139796569, 1486559106140796569]), "ns", "example")
    (array([0.   , 0.001]), {'time_origin': '1486559106139796569 ns'})
    """
    if stamps.ndim != 1:
        raise DatasetError(f"{where} has shape {list(stamps.shape)}; one time stamp per row belongs there")
    if stamps.dtype.kind in "mM":
        return _of_dates(stamps, where)
    if stamps.dtype.kind not in "iuf":
        raise DatasetError(f"{where} is {stamps.dtype}; time stamps are numbers or dates")
    if stamps.dtype.kind == "f" and len(missing := np.flatnonzero(~np.isfinite(stamps))):
        raise DatasetError(f"{where}, row {missing[0]}: {stamps[missing[0]]} is no time; fill it, or leave the row out")
    if unit is None and len(stamps) and max(abs(float(stamps.min())), abs(float(stamps.max()))) > _LARGEST_SECONDS:
        raise DatasetError(
            f"{where} begins with {stamps[0]}, which cannot be seconds; say what they are: time_unit: ms, us or ns"
        )
    scale = SCALES[unit or "s"]
    if stamps.dtype.kind == "f":
        return stamps.astype(np.float64) / scale, {}
    if not len(stamps) or max(abs(int(stamps.min())), abs(int(stamps.max()))) < _EXACT:
        return stamps.astype(np.float64) / scale, {}
    origin = stamps[0]
    since: np.ndarray = (stamps - origin).astype(np.int64)  # unsigned numbers wrap, and wrap back
    return since / scale, {"time_origin": f"{origin} {unit or 's'}"}


def _of_dates(stamps: np.ndarray, where: object) -> tuple[np.ndarray, dict[str, Any]]:
    if len(missing := np.flatnonzero(np.isnat(stamps))):
        raise DatasetError(f"{where}, row {missing[0]} is no time; fill it, or leave the row out")
    durations = stamps.dtype.kind == "m"
    exact = stamps.astype("m8[ns]" if durations else "M8[ns]").astype(np.int64)
    if durations or not len(exact):
        return exact / SCALES["ns"], {}
    return (exact - exact[0]) / SCALES["ns"], {"time_origin": f"{np.datetime_as_string(stamps[0])}Z"}
