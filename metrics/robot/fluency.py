"""Smoothness of movement: log dimensionless jerk, and spectral arc length, of the speed profile v of an episode.

    LDLJ  = -ln( D^3 / max(v)^2 x integral (d^2 v / dt^2)^2 dt ),  D the duration of the profile
    SPARC = - sum over frequencies up to the cut-off of sqrt( (dw / w_c)^2 + (dV)^2 ),
            V the magnitude of the spectrum divided by that at 0, w_c the last frequency up to 10 Hz with V >= 0.05

Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet: On the analysis of movement smoothness (J NeuroEng Rehabil 12:112,
2015), and Balasubramanian, Melendez-Calderon, Burdet: A robust and sensitive metric for quantifying movement smoothness (IEEE
TBME 59:8, 2012). Frequencies above half the sampling rate, which their published code goes into where 10 Hz lie beyond it, are
not looked at. The spectrum is padded with zeros to 2^(4 + ceil(log2 n)) samples, as in their published code. Higher is
smoother; both stay the same when the state or the time is scaled (SPARC as long as 10 Hz is not what cuts off).

A minimum-jerk reach of one movement has LDLJ = -ln(204.8) = -5.32. Both fall with the number of movements in an episode, so
they fall with its length: compare them among episodes of one task, and look at the correlation beside them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.metrics.robot.checks import Recording, Score, episode_check, lowest_ordinary

__all__ = ["fluency", "log_dimensionless_jerk", "spectral_arc_length"]

_PADDING = 4
_HIGHEST_HERTZ, _LEAST_MAGNITUDE = 10.0, 0.05
_BLOCK_VALUES = 1 << 22  # of padded profiles that are transformed at a time


def log_dimensionless_jerk(speed: np.ndarray, seconds: float) -> float:
    """Return the log dimensionless jerk of one speed profile; higher is smoother.

    Parameters
    ----------
    speed : (n,) floats
        At least three samples.
    seconds : float
        Between two samples; does not change the value.

    Returns
    -------
    float
        NaN where nothing moves or the speed is constant.

    Examples
    --------
    >>> t = np.linspace(0, 1, 1001)
    >>> round(log_dimensionless_jerk(30 * t**2 * (1 - t) ** 2, 0.001), 2)
    -5.32
    """
    profile = np.append(np.asarray(speed, np.float64), np.nan)
    return float(_jerks(profile, np.array([0]), np.array([len(profile)]), np.array([float(seconds)]))[0])


def spectral_arc_length(speed: np.ndarray, seconds: float) -> float:
    """Return the spectral arc length of one speed profile; higher (nearer to 0) is smoother.

    Parameters
    ----------
    speed : (n,) floats
    seconds : float
        Between two samples.

    Examples
    --------
    >>> t = np.linspace(0, 1, 101)
    >>> round(spectral_arc_length(t**2 * (1 - t) ** 2, 0.01), 2)
    -1.41
    """
    profile = np.asarray(speed, np.float64)
    return float(_arcs(profile, np.array([0]), np.array([len(profile)]), np.array([float(seconds)]))[0])


@episode_check("fluency", order=50)
def fluency(recording: Recording) -> Iterator[Score]:
    """Log dimensionless jerk and spectral arc length of the state's speed."""
    starts, lengths = recording.dataset.episode_starts, recording.lengths
    seconds = recording.step_seconds
    cut = seconds if recording.timed else np.full(len(seconds), 1 / (2 * _HIGHEST_HERTZ))  # no hertz: all frequencies
    jerks = _jerks(recording.speed, starts, lengths, seconds)
    arcs = _arcs(recording.speed, starts, lengths - 1, cut)
    for name, values, text in (
        ("log_dimensionless_jerk", jerks, "Balasubramanian et al. 2015, of the speed; higher is smoother"),
        ("spectral_arc_length", arcs, "Balasubramanian et al. 2012, of the speed; higher is smoother"),
    ):
        limit = lowest_ordinary(values)
        yield Score(name, values, "no unit", "risk", limit, "lower", text, recording.state_column)


def _jerks(speed: np.ndarray, starts: np.ndarray, lengths: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the LDLJ of each episode; its last speed is NaN."""
    bends = np.zeros(len(speed))
    if len(speed) > 2:
        bends[:-2] = speed[2:] - 2 * speed[1:-1] + speed[:-2]
    lasts = starts + lengths - 1
    for back in range(3):  # bends that would reach over the last speed of an episode
        places = lasts - back
        bends[places[places >= starts]] = 0.0
    total = np.add.reduceat(np.square(bends), starts) / seconds**3
    speeds = speed.copy()
    speeds[lasts] = 0.0
    peak = np.maximum.reduceat(speeds, starts)
    duration = (lengths - 1) * seconds
    with np.errstate(divide="ignore", invalid="ignore"):
        values = -np.log(duration**3 / np.square(peak) * total)
    return np.where(np.isfinite(values) & (lengths > 3), values, np.nan)


def _arcs(speed: np.ndarray, starts: np.ndarray, lengths: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the SPARC of each run of speeds; runs of equal padded length are transformed together."""
    result = np.full(len(starts), np.nan)
    usable = np.flatnonzero(lengths >= 2)
    sizes = 1 << (np.ceil(np.log2(np.maximum(lengths, 1))).astype(int) + _PADDING)
    for size in np.unique(sizes[usable]):
        members = usable[sizes[usable] == size]
        per_block = max(1, _BLOCK_VALUES // int(size))
        for begin in range(0, len(members), per_block):
            some = members[begin : begin + per_block]
            longest = int(lengths[some].max())
            places = np.arange(longest)
            inside = places < lengths[some][:, None]
            profiles = np.where(inside, speed[np.minimum(starts[some][:, None] + places, len(speed) - 1)], 0.0)
            result[some] = _arcs_of(profiles, int(size), seconds[some])
    return result


def _arcs_of(profiles: np.ndarray, size: int, seconds: np.ndarray) -> np.ndarray:
    """Return the SPARC of profiles, [episode, sample], whose spectrum has `size` frequencies."""
    highest = np.floor(_HIGHEST_HERTZ * size * seconds * (1 + 1e-12)).astype(np.int64)
    kept = int(min(size // 2, highest.max())) + 1
    magnitude = np.abs(np.fft.rfft(profiles, size, axis=1)[:, :kept])
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude /= magnitude[:, :1]
    frequencies = np.arange(kept)
    loud = (magnitude >= _LEAST_MAGNITUDE) & (frequencies <= highest[:, None])
    last = kept - 1 - loud[:, ::-1].argmax(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        lengths = np.sqrt(np.square(1.0 / last)[:, None] + np.square(np.diff(magnitude, axis=1)))
    arcs = -np.where(frequencies[:-1] < last[:, None], lengths, 0.0).sum(axis=1)
    return np.where(np.isfinite(arcs) & loud.any(axis=1) & (last > 0), arcs, np.nan)
