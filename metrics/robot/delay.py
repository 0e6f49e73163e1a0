"""Delays: from an action to the state, and between two sensors; by the lag at which two signals agree best.

    c(k) = Pearson's correlation of a_t and u_(t+k) over the steps that both have, within an episode
    lag  = the k of the largest c, refined by the parabola through it and its neighbours, x dt

**Actions.** u is the state itself (then actions are absolute targets), its change x_(t+1) - x_t (relative ones), or its velocity
(velocities); c is the mean over the dimensions that action and state share, by name where names agree, else by place. The largest
of the three says which kind the actions are. Where no velocity is recorded, it is proportional to the change, and the two are told
apart by the gain: the change per action is near 1 for relative actions and near dt for velocities.

**Skew and drift.** u and a are the speeds of two columns. Drift is the slope of their lag over `drift_windows` windows of an
episode: a clock that runs 1 % fast drifts by 0.01 s/s. A lag counts where c >= 0.5.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.datasets.signals import dimension_names, vector_columns
from assay.metrics.robot.checks import Recording, Score, episode_check

__all__ = ["action_lag", "lag_of", "skew"]

_AGREE = 0.5  # least correlation at which a lag is one
_RELATIVE = 1e-9  # least variance of an overlap, relative to that of the segment
_FEWEST = 8  # steps that two signals must overlap
_WINDOW_STEPS = 32  # least of a window for drift
_STEPS_WITHOUT_CLOCK = 20
_KINDS = ("absolute", "relative", "velocity")
_VELOCITY_WORDS = ("velocity", "velocities", "qvel", "vel")


def lag_of(first: np.ndarray, second: np.ndarray, seconds: float, longest: float) -> tuple[float, float]:
    """Return by how much the second of two signals comes later, and their correlation there.

    Parameters
    ----------
    first, second : (n,) floats
    seconds : float
        Between two samples.
    longest : float
        Largest lag in seconds that is looked for, on both sides.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = np.convolve(rng.standard_normal(500), np.ones(9) / 9, "same")
    >>> lag, correlation = lag_of(x[5:], x[:-5], 0.1, 1.0)  # the second is five samples behind
    >>> round(lag, 3), round(correlation, 3)
    (0.5, 1.0)
    """
    lags = _lags(longest, seconds, len(first))
    curve = _correlations(first, second, np.array([0]), np.array([len(first)]), lags)
    lag, correlation = _peaks(curve, lags)
    return float(lag[0] * seconds), float(correlation[0])


@episode_check("lag", order=70)
def action_lag(recording: Recording) -> Iterator[Score]:
    """Lag from actions to states, and how well each kind of action explains them."""
    pairs = _paired(recording)
    dataset = recording.dataset
    if not pairs:
        return
    seconds = float(np.median(recording.step_seconds))
    longest = recording.settings.lag_seconds if recording.timed else float(_STEPS_WITHOUT_CLOCK)
    starts, lengths = dataset.episode_starts, recording.lengths - 1  # the last step has no change
    lags = _lags(longest, seconds, int(lengths.max(initial=0)))
    velocity = _velocity_column(recording)
    curves = {kind: _Mean() for kind in _KINDS if kind != "velocity" or velocity}
    gains = []
    layout = _Layout(starts, lengths, int(np.abs(lags).max()))
    for action_column, action, state in pairs:
        commands = _Side(recording.values(action_column, action), layout)
        change = recording.change(recording.state_column, state)
        responses = {"absolute": recording.values(recording.state_column, state), "relative": change}
        if velocity:
            responses["velocity"] = recording.values(velocity, state)
        for kind, response in responses.items():
            curves[kind].add(commands.against(_Side(response, layout), lags))
        gains.append(_gain(recording.values(action_column, action), change, recording.followed))
    peaks = {kind: _peaks(curve.value(), lags) for kind, curve in curves.items()}
    heights = {kind: _median(height) for kind, (_, height) in peaks.items()}
    best = max(heights, key=lambda kind: heights[kind])
    shown = best
    if best == "relative" and not velocity and _is_velocity(gains, seconds):
        shown = "velocity"
    measured, height = peaks[best]
    lag = np.where(height >= _AGREE, measured * recording.step_seconds, np.nan)
    text = f"of the largest correlation with the state; the actions look {shown}"
    column = pairs[0][0]
    yield Score("action_lag", np.abs(lag), recording.unit, "risk", _LONGEST_LAG, "higher", text, column)
    for kind, (_, values) in peaks.items():
        text = f"largest correlation of actions with {_RESPONSES[kind]}, over lags up to {longest:g} {recording.unit}"
        yield Score(f"action_is_{kind}", values, "correlation", definition=text, column=column)


_LONGEST_LAG = 0.5
_RESPONSES = {
    "absolute": "the state (absolute targets)",
    "relative": "the change of the state (relative targets, or velocities at a fixed rate)",
    "velocity": "the recorded velocity",
}


@episode_check("skew", order=75)
def skew(recording: Recording) -> Iterator[Score]:
    """Lag of every other vector of the observations behind the state, and its slope over an episode."""
    others = [name for name in vector_columns(recording.dataset, "observations") if name != recording.state_column]
    if not others or not recording.timed:
        return
    starts, lengths = recording.dataset.episode_starts, recording.lengths - 1
    seconds = float(np.median(recording.step_seconds))
    lags = _lags(recording.settings.lag_seconds, seconds, int(lengths.max(initial=0)))
    layout = _Layout(starts, lengths, int(np.abs(lags).max()))
    late, drift = (np.full((recording.episodes, len(others)), np.nan) for _ in range(2))
    first = np.nan_to_num(recording.speed)
    state = _Side(first, layout)
    for index, name in enumerate(others):
        second = np.nan_to_num(recording.speed_of(name))
        curve = state.against(_Side(second, layout), lags)
        lag, height = _peaks(curve, lags)
        late[:, index] = np.where(height >= _AGREE, lag * recording.step_seconds, np.nan)
        drift[:, index] = _drift(first, second, starts, lengths, lags, recording.settings.drift_windows)
    names = tuple(name.partition("/")[2] for name in others)
    text = f"lag of the speed behind that of {recording.state_column}"
    column = recording.state_column
    yield Score("skew", np.abs(late), "s", "risk", 0.1, "higher", text, column, names)
    text = f"slope of that lag over {recording.settings.drift_windows} windows"
    yield Score("drift", np.abs(drift), "s/s", "risk", 0.005, "higher", text, column, names)


# -------------------------------------------------------------------- correlation at many lags


class _Layout:
    """Segments in a row with zeros between them, so that no product reaches from one into the next."""

    def __init__(self, starts: np.ndarray, lengths: np.ndarray, gap: int) -> None:
        self.gap, self.lengths = gap, lengths
        self.starts = np.cumsum(lengths + gap) - lengths  # the first segment stands behind a gap too
        self.total = int((lengths + gap).sum()) + gap + 1
        self.of = np.repeat(np.arange(len(lengths)), lengths)
        inside = np.arange(len(self.of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self.places, self.taken = self.starts[self.of] + inside, starts[self.of] + inside


class _Side:
    """One signal of many segments: centred in each, laid out in a row, with running sums."""

    def __init__(self, values: np.ndarray, layout: _Layout) -> None:
        self.layout, self.lengths, self.starts = layout, layout.lengths, layout.starts
        picked = values[layout.taken]
        finite = np.isfinite(picked)
        broken = np.bincount(layout.of, weights=~finite, minlength=len(self.lengths))
        self.known = broken == 0
        picked = np.where(finite, picked, 0.0)
        sums = np.bincount(layout.of, weights=picked, minlength=len(self.lengths))
        picked -= (sums / np.maximum(self.lengths, 1))[layout.of]
        self.row = np.zeros(layout.total)
        self.row[layout.places] = picked
        self.sums = np.concatenate([[0.0], np.cumsum(self.row)])
        self.squares = np.concatenate([[0.0], np.cumsum(np.square(self.row))])
        energy = self.squares[self.starts + self.lengths] - self.squares[self.starts]
        self.energy = np.where(energy > 0, energy, np.inf)[:, None]  # what does not vary agrees with nothing

    def moments(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sum and sum of squares from `begin` to `end` of each segment, counted from its start; [segment, lag] each."""
        top = len(self.row)
        first, last = (np.minimum(self.starts[:, None] + place, top) for place in (begin, end))
        return self.sums[last] - self.sums[first], self.squares[last] - self.squares[first]

    def against(self, other: _Side, lags: np.ndarray) -> np.ndarray:
        """Return the correlation with another signal that comes later by each lag, [segment, lag]."""
        lengths = self.lengths[:, None]
        size = np.maximum(lengths - np.abs(lags), 0)
        behind, ahead = np.maximum(0, -lags), np.maximum(0, lags)
        sum_a, square_a = self.moments(behind, behind + size)
        sum_b, square_b = other.moments(ahead, ahead + size)
        both = np.empty(size.shape)
        for column, lag in enumerate(lags.tolist()):
            both[:, column] = self._products(other, lag)
        n = np.maximum(size, 1)
        variance_a, variance_b = square_a - sum_a**2 / n, square_b - sum_b**2 / n
        with np.errstate(invalid="ignore", divide="ignore"):
            result = (both - sum_a * sum_b / n) / np.sqrt(variance_a * variance_b)
        varies = (variance_a > _RELATIVE * self.energy) & (variance_b > _RELATIVE * other.energy)
        enough = size >= np.maximum(_FEWEST, lengths // 2)
        return np.where(varies & enough & (self.known & other.known)[:, None], result, np.nan)

    def _products(self, other: _Side, lag: int) -> np.ndarray:
        """Return the sum over each segment of this signal times the other one later by a lag; zeros lie between segments."""
        if lag >= 0:
            products, begins = self.row[: len(self.row) - lag] * other.row[lag:], self.starts
        else:
            products, begins = self.row[-lag:] * other.row[:lag], self.starts + lag
        result: np.ndarray = np.add.reduceat(products, begins)
        return result


def _correlations(
    first: np.ndarray, second: np.ndarray, starts: np.ndarray, lengths: np.ndarray, lags: np.ndarray
) -> np.ndarray:
    """Return Pearson's correlation of two signals of many segments at each lag, [segment, lag]."""
    layout = _Layout(starts, lengths, int(np.abs(lags).max()))
    return _Side(first, layout).against(_Side(second, layout), lags)


def _lags(longest: float, seconds: float, steps: int) -> np.ndarray:
    most = int(min(max(1, round(longest / seconds)), max(1, steps // 2)))
    return np.arange(-most, most + 1)


def _peaks(curve: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the refined lag of the largest correlation of each segment, and that correlation; NaN where there is none."""
    filled = np.where(np.isnan(curve), -np.inf, curve)
    best = filled.argmax(axis=1)
    rows = np.arange(len(curve))
    height = filled[rows, best]
    before, after = filled[rows, np.maximum(best - 1, 0)], filled[rows, np.minimum(best + 1, len(lags) - 1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = 0.5 * (before - after) / (before - 2 * height + after)
    inner = (best > 0) & (best < len(lags) - 1) & np.isfinite(offset)
    found = np.isfinite(height) & ((len(lags) < 3) | inner)  # at the border it may go on rising
    lag = np.where(found, lags[best] + np.where(inner, np.clip(offset, -0.5, 0.5), 0.0), np.nan)
    return lag, np.where(found, height, np.nan)


def _drift(
    first: np.ndarray, second: np.ndarray, starts: np.ndarray, lengths: np.ndarray, lags: np.ndarray, windows: int
) -> np.ndarray:
    """Return the slope of the lag over the windows of each episode, in seconds per second; (E,)."""
    size = lengths // windows
    usable = np.flatnonzero(size >= _WINDOW_STEPS)
    result = np.full(len(starts), np.nan)
    if not len(usable):
        return result
    offsets = np.arange(windows) * size[usable][:, None]
    begins = (starts[usable][:, None] + offsets).ravel()
    sizes = np.repeat(size[usable], windows)
    most = min(int(lags.max()), int(size[usable].min()) // 2)
    curve = _correlations(first, second, begins, sizes, np.arange(-most, most + 1))
    lag, height = _peaks(curve, np.arange(-most, most + 1))
    lag = np.where(height >= _AGREE, lag, np.nan).reshape(len(usable), windows)
    known = np.isfinite(lag)
    count = known.sum(axis=1)
    places = np.where(known, offsets, 0.0)
    lag = np.where(known, lag, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.where(known, places - (places.sum(1) / count)[:, None], 0.0)
        slope = (centred * lag).sum(1) / np.square(centred).sum(1)
    result[usable] = np.where(count >= 3, slope, np.nan)
    return result


class _Mean:
    """Mean of curves, each entry over those that have it."""

    def __init__(self) -> None:
        self.total: np.ndarray | None = None
        self.count: np.ndarray | None = None

    def add(self, curve: np.ndarray) -> None:
        known = np.isfinite(curve)
        if self.total is None or self.count is None:
            self.total, self.count = np.where(known, curve, 0.0), known.astype(np.int64)
        else:
            self.total += np.where(known, curve, 0.0)
            self.count += known

    def value(self) -> np.ndarray:
        assert self.total is not None
        assert self.count is not None
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: np.ndarray = self.total / self.count
        return mean


def _paired(recording: Recording) -> list[tuple[str, int, int]]:
    """Return (column of the action, its dimension, the state's dimension) of what an action and the state share."""
    states = dimension_names(recording.dataset, recording.state_column)
    chosen = set(recording.chosen)
    pairs = []
    for column in vector_columns(recording.dataset, "actions"):
        names = dimension_names(recording.dataset, column)
        by_name = [(i, states.index(name)) for i, name in enumerate(names) if name in states and name[:1] != "["]
        by_place = [(i, i) for i in range(min(len(names), len(states)))]
        pairs += [(column, i, j) for i, j in (by_name or by_place) if j in chosen]
    return pairs


def _velocity_column(recording: Recording) -> str | None:
    width = len(dimension_names(recording.dataset, recording.state_column))
    for name in vector_columns(recording.dataset, "observations"):
        words = name.partition("/")[2].lower().replace(".", "_").split("_")
        says_so = name != recording.state_column and any(word in _VELOCITY_WORDS for word in words)
        if says_so and len(dimension_names(recording.dataset, name)) == width:
            return name
    return None


def _gain(action: np.ndarray, change: np.ndarray, followed: np.ndarray) -> float:
    """Return the ratio of the standard deviations of a change and of an action."""
    some, moved = action[followed], change[followed]
    spread = float(np.nanstd(some)) if len(some) else 0.0
    return float(np.nanstd(moved)) / spread if spread > 0 else np.nan


def _is_velocity(gains: list[float], seconds: float) -> bool:
    gain = _median(np.array(gains))
    if not gain > 0 or seconds == 1:
        return False
    return bool(abs(np.log(gain / seconds)) < abs(np.log(gain)))


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else -np.inf
