"""Figures of one dataset, for its card: episodes, marginals, a projection of the states, a few trajectories.

They show what is there: values that are not finite are left out and counted, and large datasets are drawn from a sample
of their steps, by a fixed seed. Layout and colours are those of `assay.analysis.figures`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.analysis.figures import (
    FONT_POINTS,
    GRID,
    INK,
    LINE_HEIGHT,
    LITERAL,
    MUTED,
    NARROW_BELOW,
    SERIES,
    axes_at,
    canvas,
    line_count,
    number_text,
    thousands,
    wrapped,
    write_text,
)
from assay.datasets.dataset import Dataset
from assay.datasets.streaming import StepReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Sample", "plot_episodes", "plot_frames", "plot_marginals", "plot_projection", "plot_trajectories"]

SAMPLE = 5_000
_SEED = 0
_MOST_PANELS = 24
_RETURN_COLORS = ("#4a7fd0", "#9f62b8", "#d4577b", "#e07f2f")  # readable on white and on black, low to high


@dataclass(frozen=True)
class Sample:
    """What is drawn of a dataset: some of its steps, as numbers.

    Parameters
    ----------
    dataset : Dataset
    """

    dataset: Dataset

    @cached_property
    def steps(self) -> np.ndarray:
        """(n,) int64 steps, all of them where there are few."""
        total = self.dataset.total_steps
        if total <= SAMPLE:
            return np.arange(total)
        return np.sort(np.random.Generator(np.random.PCG64(_SEED)).choice(total, SAMPLE, replace=False))

    @cached_property
    def states(self) -> tuple[list[str], np.ndarray]:
        """Names and (n, D) float64 values of the observations that are numbers and no images."""
        return self.numbers("observations", self.steps)

    @cached_property
    def actions(self) -> tuple[list[str], np.ndarray]:
        """Names and (n, D) float64 values of the actions."""
        return self.numbers("actions", self.steps)

    def numbers(self, prefix: str, steps: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return names and (n, D) float64 values below a column, for some steps."""
        reader = StepReader(self.dataset)
        names: list[str] = []
        parts = [np.zeros((len(steps), 0))]
        for name in reader.leaves(prefix):
            array = self.dataset.column(name)
            if array.dtype.kind not in "fiub" or is_image(array):
                continue
            rows = steps if len(array) == self.dataset.total_steps else steps + reader.episodes_of(steps)
            parts.append(np.asarray(array[rows], np.float64).reshape(len(steps), -1))
            names += [f"{name}{list(index)}".replace("[]", "") for index in np.ndindex(*array.shape[1:])]
        return names, np.concatenate(parts, axis=1)

    @cached_property
    def plane(self) -> Plane | None:
        """The plane of the two first principal components of the states; None below two dimensions that vary."""
        _, values = self.states
        values = values[np.isfinite(values).all(axis=1)]
        return Plane.of(values) if len(values) > 2 else None

    @cached_property
    def images(self) -> list[str]:
        """Names of the observation columns that are images."""
        reader = StepReader(self.dataset)
        return [name for name in reader.leaves("observations") if is_image(self.dataset.column(name))]


@dataclass(frozen=True)
class Plane:
    """Principal components of standardized numbers: center, scale (D,), axes (D, 2), share of the variance (2,)."""

    center: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    shares: tuple[float, float]

    @classmethod
    def of(cls, values: np.ndarray) -> Plane | None:
        """Fit to the (n, D) rows; None where fewer than two dimensions vary."""
        center, deviation = values.mean(0), values.std(0)
        varies = deviation > 1e-12 * (1 + np.abs(center))
        if np.count_nonzero(varies) < 2:
            return None
        scale = np.where(varies, deviation, np.inf)
        _, lengths, axes = np.linalg.svd(((values - center) / scale)[:2000], full_matrices=False)
        shares = lengths**2 / (lengths**2).sum()
        axes = axes[:2] * np.sign(axes[:2].sum(axis=1, keepdims=True) + 1e-12)  # a sign for once and for all
        return cls(center, scale, axes.T, (float(shares[0]), float(shares[1])))

    def project(self, values: np.ndarray) -> np.ndarray:
        """Return the (n, 2) coordinates of (n, D) rows."""
        result: np.ndarray = ((values - self.center) / self.scale) @ self.axes
        return result


def is_image(array: np.ndarray) -> bool:
    """Whether a column holds images: uint8, two axes or more a row."""
    return array.dtype == np.uint8 and array.ndim >= 3


# -------------------------------------------------------------------- parts of figures


def _head(width: float, title: str, key: str) -> tuple[str, str, float]:
    """Return title and key, wrapped, and where what they head begins."""
    title, key = wrapped(title, width / 1.42), wrapped(key, width - 16)
    return title, key, 10 + line_count(title) * 19 + 4 + line_count(key) * LINE_HEIGHT + 10


def _start(width: float, height: float, title: str, key: str) -> Figure:
    figure = canvas(width, height)
    write_text(figure, title, 12, 10, fontsize=FONT_POINTS + 1.5, fontweight="bold")
    write_text(figure, key, 12, 10 + line_count(title) * 19 + 4, color=MUTED)
    return figure


def _histogram(axes: Axes, values: np.ndarray, other: np.ndarray | None = None, bins: int = 30) -> None:
    """Fill a histogram of shares; `other` is drawn over it as a line, on the same bins."""
    values = values[np.isfinite(values)]
    other = None if other is None else other[np.isfinite(other)]
    both = values if other is None else np.concatenate([values, other])
    if not len(values):
        axes.text(0.5, 0.5, "no finite value", ha="center", color=MUTED, fontsize=8, transform=axes.transAxes)
        return
    low, high = float(both.min()), float(both.max())
    distinct = np.unique(values)
    if len(distinct) <= 12 and (distinct == np.round(distinct)).all() and high - low <= 30:
        edges = np.arange(low, high + 2) - 0.5
    else:
        margin = 0.5 * max(1e-9, abs(low) * 1e-6) if low == high else 0.0
        edges = np.linspace(low - margin, high + margin, bins + 1)
    axes.stairs(np.histogram(values, edges)[0] / len(values), edges, fill=True, color=SERIES[0], alpha=0.75)
    if other is not None and len(other):
        axes.stairs(np.histogram(other, edges)[0] / len(other), edges, color=INK, linewidth=1.1)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)


def _plain(axes: Axes) -> None:
    axes.set_yticks([])
    axes.locator_params(nbins=3, axis="x")
    axes.xaxis.set_major_formatter(thousands)


# -------------------------------------------------------------------- figures


def plot_episodes(sample: Sample, *, width_pixels: int = 720) -> Figure:
    """Draw how many episodes have which return, and which length."""
    dataset = sample.dataset
    narrow = width_pixels < NARROW_BELOW
    panels = [("Return of an episode", dataset.returns), ("Length of an episode, steps", dataset.episode_lengths)]
    wrong = int(np.count_nonzero(~np.isfinite(dataset.returns)))
    key = "Share of the episodes. Dashed: the mean."
    key += f" {wrong:,} returns are not finite and left out." if wrong else ""
    title, key, head = _head(width_pixels, "Episodes", key)
    columns = 1 if narrow else 2
    tall, left = 196, 46
    cell = (width_pixels - 16) / columns
    figure = _start(width_pixels, head + tall * (len(panels) // columns), title, key)
    for index, (name, values) in enumerate(panels):
        line, column = divmod(index, columns)
        top = head + line * tall
        write_text(figure, name, column * cell + left, top, fontweight="bold")
        axes = axes_at(figure, column * cell + left, top + 22, cell - left - 12, 136)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        _histogram(axes, values.astype(np.float64))
        finite = values[np.isfinite(values)]
        if len(finite):
            axes.axvline(float(finite.mean()), color=INK, linewidth=1.3, linestyle=(0, (3, 2)))
        axes.xaxis.set_major_formatter(thousands)
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:.0%}")
        axes.locator_params(nbins=4 if narrow else 5)
    return figure


def plot_marginals(
    sample: Sample, prefix: str, random: Sample | None = None, *, width_pixels: int = 720
) -> Figure | None:
    """Draw the distribution of every number of the observations or actions, beside that of random data.

    Returns None where there is no number to draw.
    """
    names, values = sample.states if prefix == "observations" else sample.actions
    if not names:
        return None
    others = None
    if random is not None:
        other_names, other_values = random.states if prefix == "observations" else random.actions
        others = other_values if other_names == names else None
    shown = min(len(names), _MOST_PANELS)
    columns = min(shown, 3 if width_pixels < NARROW_BELOW else 6)
    key = "Filled: the dataset." + ("" if others is None else " Line: data of random actions.")
    if len(names) > shown:
        key += f" The first {shown} of {len(names)} numbers."
    wrong = int(np.count_nonzero(~np.isfinite(values).all(axis=1)))
    if wrong:
        key += f" {wrong:,} of {len(values):,} drawn steps hold values that are not finite, which are left out."
    title, key, head = _head(width_pixels, prefix.capitalize() + ", one by one", key)
    cell, tall = (width_pixels - 16) / max(columns, 3), 104
    figure = _start(width_pixels, head + tall * math.ceil(shown / columns), title, key)
    for index in range(shown):
        line, column = divmod(index, columns)
        left, top = 8 + column * cell, head + line * tall
        name = names[index].removeprefix(prefix).removeprefix("/") or prefix
        longest = max(6, int((cell - 10) / 6.6))
        name = name if len(name) <= longest else "…" + name[-longest + 1 :]
        write_text(figure, name, left + 5, top, fontsize=FONT_POINTS - 0.5)
        axes = axes_at(figure, left + 5, top + 18, cell - 16, 56)
        _histogram(axes, values[:, index], None if others is None else others[:, index])
        _plain(axes)
    return figure


def plot_projection(sample: Sample, random: Sample | None = None, *, width_pixels: int = 720) -> Figure | None:
    """Draw the states on their first two principal components, coloured by return, and against random data.

    Returns None where fewer than two numbers vary.
    """
    plane = sample.plane
    if plane is None:
        return None
    names, values = sample.states
    dataset = sample.dataset
    returns = dataset.returns[StepReader(dataset).episodes_of(sample.steps)]
    keep = np.isfinite(values).all(axis=1) & np.isfinite(returns)
    points, returns = plane.project(values[keep]), returns[keep]
    if not len(points):
        return None
    others = None
    if random is not None and random.states[0] == names:
        finite = random.states[1][np.isfinite(random.states[1]).all(axis=1)]
        others = plane.project(finite)
    narrow = width_pixels < NARROW_BELOW
    drawn = f"{len(points):,} of {dataset.total_steps:,} steps" if len(points) < dataset.total_steps else "All steps"
    key = f"{drawn} on the first two principal components of the standardized observations, "
    key += f"which hold {sum(plane.shares):.0%} of their variance."
    title, key, head = _head(width_pixels, "Where the states lie", key)
    panels = 1 if others is None else 2
    columns = 1 if narrow or panels == 1 else 2
    cell = (width_pixels - 16) / (1 if narrow else 2)
    tall = 320
    figure = _start(width_pixels, head + tall * (panels // columns), title, key)
    limits = _limits(points if others is None else np.concatenate([points, others]))
    for index in range(panels):
        line, column = divmod(index, columns)
        left, top = 8 + column * cell, head + line * tall
        axes = axes_at(figure, left + 34, top + 40, cell - 52, 230)
        axes.grid(axis="both", color=GRID, linewidth=0.8)
        axes.set(xlim=limits[0], ylim=limits[1])
        axes.locator_params(nbins=5)
        axes.set_xlabel("component 1; vertical: component 2", color=MUTED, fontsize=FONT_POINTS - 0.5)
        if index == 0:
            write_text(figure, "By return of the episode", left + 34, top, fontweight="bold")
            _by_return(figure, axes, points, returns, (left + 34, top + 19, cell - 52))
        else:
            assert others is not None
            write_text(figure, "Against data of random actions", left + 34, top, fontweight="bold")
            for at, (name, color) in enumerate((("random", SERIES[6]), ("this dataset", SERIES[0]))):
                write_text(figure, f"● {name}", left + 34 + 84 * at, top + 18, color=color)
            axes.scatter(others[:, 0], others[:, 1], s=5, color="#8a949e", linewidths=0, alpha=0.6, rasterized=True)
            axes.scatter(points[:, 0], points[:, 1], s=5, color="#3d8fd1", linewidths=0, alpha=0.6, rasterized=True)
    return figure


def _limits(points: np.ndarray) -> list[tuple[float, float]]:
    """Return the ranges that hold all but the outermost half per mille on each side."""
    result = []
    for values in points.T:
        low, high = (float(value) for value in np.quantile(values, (0.0005, 0.9995)))
        margin = 0.05 * (high - low) or 1.0
        result.append((low - margin, high + margin))
    return result


def _by_return(
    figure: Figure, axes: Axes, points: np.ndarray, returns: np.ndarray, bar: tuple[float, float, float]
) -> None:
    """Draw points in the colour of their return, with a bar of the colours at (left, top, width)."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("returns", _RETURN_COLORS)
    low, high = float(returns.min()), float(returns.max())
    order = np.argsort(returns, kind="stable")
    axes.scatter(
        points[order, 0],
        points[order, 1],
        s=5,
        c=returns[order],
        cmap=colors,
        linewidths=0,
        alpha=0.75,
        rasterized=True,
    )
    left, top, width = bar
    labels = [thousands(round(value, 1 if abs(value) < 100 else 0)) for value in (low, high)]
    write_text(figure, labels[0], left, top, color=MUTED, fontsize=FONT_POINTS - 0.5)
    write_text(figure, labels[1], left + width, top, color=MUTED, fontsize=FONT_POINTS - 0.5, ha="right")
    beside = 7.0 * max(map(len, labels)) + 6
    strip = axes_at(figure, left + beside, top + 4, width - 2 * beside, 8)
    strip.imshow(np.linspace(0, 1, 64)[None], aspect="auto", cmap=colors)
    strip.axis("off")


def plot_trajectories(sample: Sample, *, width_pixels: int = 720) -> Figure | None:
    """Draw the worst, the median and the best episode: rewards summed up over time, and the way through the plane."""
    dataset = sample.dataset
    known = np.flatnonzero(np.isfinite(dataset.returns))
    if not len(known):
        return None
    ranked = known[np.argsort(dataset.returns[known], kind="stable")]
    which = {"worst": ranked[0], "median": ranked[len(ranked) // 2], "best": ranked[-1]}
    chosen: dict[int, str] = {}
    for name, episode in which.items():
        chosen[int(episode)] = name if int(episode) not in chosen else f"{chosen[int(episode)]} and {name}"
    narrow = width_pixels < NARROW_BELOW
    title, key, head = _head(
        width_pixels, "A few trajectories", "The episodes of the lowest, the median and the highest return."
    )
    panels = 1 if sample.plane is None else 2
    columns = 1 if narrow or panels == 1 else 2
    cell, tall = (width_pixels - 16) / (1 if narrow else 2), 262
    lines = [
        f"{name}: episode {episode:,}, return {number_text(float(dataset.returns[episode]))}"
        for episode, name in chosen.items()
    ]
    figure = _start(width_pixels, head + LINE_HEIGHT * len(lines) + 10 + tall * (panels // columns), title, key)
    for index, line in enumerate(lines):
        write_text(figure, f"━ {line}", 12, head + LINE_HEIGHT * index, color=SERIES[index])
    head += LINE_HEIGHT * len(lines) + 10
    names = ("Reward so far, over steps", "Path on the two components; ● start")
    for index in range(panels):
        row, column = divmod(index, columns)
        left, top = 8 + column * cell, head + row * tall
        write_text(figure, names[index], left + 42, top, fontweight="bold")
        axes = axes_at(figure, left + 42, top + 22, cell - 58, 196)
        axes.grid(axis="both", color=GRID, linewidth=0.8)
        axes.locator_params(nbins=5)
        for color, episode in zip(SERIES, chosen):
            first, length = int(dataset.episode_starts[episode]), int(dataset.episode_lengths[episode])
            steps = np.arange(first, first + length)
            if index == 0:
                axes.plot(np.arange(1, length + 1), np.cumsum(dataset.rewards[steps]), color=color, linewidth=1.7)
                axes.xaxis.set_major_formatter(thousands)
                axes.yaxis.set_major_formatter(thousands)
                continue
            assert sample.plane is not None
            path = sample.plane.project(sample.numbers("observations", steps[:: max(1, length // 1000)])[1])
            path = path[np.isfinite(path).all(axis=1)]
            axes.plot(*path.T, color=color, linewidth=1.0, alpha=0.85)
            axes.plot(*path[:1].T, "o", color=color, markersize=5)
    return figure


def plot_frames(sample: Sample, *, width_pixels: int = 720) -> Figure | None:
    """Draw a few frames of each column of images, evenly spaced over the dataset; None where there is none."""
    if not sample.images:
        return None
    count = 4 if width_pixels < NARROW_BELOW else 8
    steps = np.linspace(0, sample.dataset.total_steps - 1, count).astype(np.int64)
    title, key, head = _head(width_pixels, "Frames", "Evenly spaced over the steps, from the first to the last.")
    cell = (width_pixels - 16) / count
    tall = cell + 26
    figure = _start(width_pixels, head + tall * len(sample.images), title, key)
    reader = StepReader(sample.dataset)
    for row, name in enumerate(sample.images):
        write_text(figure, name, 12, head + row * tall, fontsize=FONT_POINTS - 0.5, **LITERAL)
        for column, step in enumerate(steps):
            frame: Any = reader.read(name, slice(int(step), int(step) + 1))[0]
            axes = axes_at(figure, 8 + column * cell + 3, head + row * tall + 20, cell - 6, cell - 6)
            axes.axis("off")
            axes.imshow(_drawable(frame), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return figure


def _drawable(frame: np.ndarray) -> np.ndarray:
    """Return (height, width) grey or (height, width, 3) colour of a frame."""
    if frame.ndim == 2:
        return frame
    if frame.ndim > 3:
        return _drawable(frame[0])
    if frame.shape[-1] > 4 and frame.shape[0] <= 4:
        frame = np.moveaxis(frame, 0, -1)
    return frame[..., :3] if frame.shape[-1] in (3, 4) else frame[..., 0]
