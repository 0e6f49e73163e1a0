"""Draw what each corruption does to a trajectory: docs/images/corruption-*.png.

Usage: python docs/make_corruption_drawings.py

The transforms themselves are applied to a small made-up dataset, so the drawings show what they do. Backgrounds are
transparent and colors of middling lightness, to be read on light and on dark pages.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from assay.corruption import (
    ClippedSensors,
    DelayedSensors,
    DownsampleEpisodes,
    DropEpisodes,
    DuplicateEpisodes,
    FlipTerminations,
    FrozenSensors,
    MergeEpisodes,
    MissingValues,
    OracleFilter,
    QuantizedSensors,
    RandomCorruption,
    ReorderEpisodes,
    SegmentEpisodes,
    SwappedDimensions,
    TruncateEpisodes,
)
from assay.datasets import Dataset, Transform

INK, CLEAN, TOUCHED, SECOND = "#7d8590", "#4493d0", "#d9643a", "#3f9d6b"
EPISODES = ("#4493d0", "#3f9d6b", "#b98a2e", "#a371c9", "#c95f8a", "#6f8f9f")
IMAGES = Path(__file__).parent / "images"


def trajectory(steps: int = 40) -> Dataset:
    """One smooth episode with two-dimensional observations."""
    time = np.arange(steps + 1) / 5.0
    states = np.stack([np.sin(time) + 0.15 * time, np.cos(0.8 * time)], axis=1)
    ends = np.arange(steps) == steps - 1
    return Dataset(
        {
            "observations": states,
            "actions": np.tanh(np.sin(2 * time[:-1]))[:, None],
            "rewards": np.cos(time[:-1]) * 2 + 6.0,
            "terminations": np.zeros(steps, bool),
            "truncations": ends,
            "infos/fault": (np.arange(steps) >= 12) & (np.arange(steps) < 24),
        },
        [steps],
    )


def episodes(lengths: tuple[int, ...] = (6, 4, 7, 5, 3, 6)) -> Dataset:
    """Some short episodes; each observation holds the number of its episode and its time."""
    steps, last = sum(lengths), np.zeros(sum(lengths), bool)
    last[np.cumsum(lengths) - 1] = True
    of = np.repeat(np.arange(len(lengths)), lengths)
    numbers = np.concatenate([np.stack([np.full(n + 1, e), np.arange(n + 1)], 1) for e, n in enumerate(lengths)])
    return Dataset(
        {
            "observations": numbers.astype(float),
            "actions": np.zeros((steps, 1)),
            "rewards": np.ones(steps),
            "terminations": last & (of % 2 == 0),
            "truncations": last & (of % 2 == 1),
        },
        lengths,
    )


def bare(axes: Axes) -> None:
    """Take frame and ticks away."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def save(figure: Figure, name: str) -> None:
    """Write one figure."""
    figure.savefig(IMAGES / f"corruption-{name}.png", dpi=150, transparent=True, bbox_inches="tight")
    plt.close(figure)


def curve(axes: Axes, title: str, clean: np.ndarray, changed: np.ndarray, touched: np.ndarray) -> None:
    """Draw a clean column as a line, and what became of touched entries as points."""
    time = np.arange(len(clean))
    axes.plot(time, clean, color=CLEAN, lw=1.4)
    axes.vlines(time[touched], clean[touched], changed[touched], color=TOUCHED, lw=0.8, alpha=0.7)
    axes.plot(time[touched], changed[touched], "o", color=TOUCHED, ms=3.6)
    axes.set_title(title, fontsize=9, color=INK)
    bare(axes)


# -------------------------------------------------------------------- one figure per family


def draw_random() -> None:
    """Elements of random corruption, then its distributions."""
    dataset = trajectory()
    figure, grid = plt.subplots(2, 5, figsize=(12, 3.6))
    rows, titles = dataset.observation_rows, ("observations", "states", "dynamics", "actions", "rewards")
    for axes, element in zip(grid[0], titles):
        variant = RandomCorruption(element, rate=0.25, scale=1.0 if element != "rewards" else 0.3, seed=2)(dataset)
        mask = variant.masks[element]
        if element in ("observations", "states"):
            clean, changed = dataset.observations[rows, 0], variant.observations[rows, 0]
        elif element == "dynamics":
            clean, changed = dataset.next_observations[:, 0], variant.next_observations[:, 0]
        else:
            clean, changed = dataset.column(element).ravel(), variant.column(element).ravel()
        note = {
            "observations": "s changes; the s' before stays",
            "states": "s and the s' before change together",
            "dynamics": "s' changes; the s after stays",
            "actions": "a changes",
            "rewards": "r is replaced",
        }[element]
        curve(axes, f"{element}\n{note}", clean, changed, mask)
        if element in ("observations", "states"):
            following = np.flatnonzero(mask)
            following = following[following > 0]
            axes.plot(following, variant.next_observations[following - 1, 0], "x", color=SECOND, ms=4)
    kinds = ("uniform", "gaussian", "student_t", "salt_and_pepper", "replacement")
    for axes, distribution in zip(grid[1], kinds):
        variant = RandomCorruption("states", rate=0.4, scale=0.6, distribution=distribution, seed=5)(dataset)
        curve(axes, distribution, dataset.observations[rows, 0], variant.observations[rows, 0], variant.masks["states"])
    figure.tight_layout()
    save(figure, "random")


def draw_granularity() -> None:
    """Which steps are touched."""
    dataset = episodes((9, 6, 11, 8, 6))
    choices: list[tuple[str, dict[str, object]]] = [
        ('granularity="transition"', {}),
        ('granularity="window", window=3', {"granularity": "window", "window": 3}),
        ('granularity="trajectory"', {"granularity": "trajectory", "seed": 3}),
        ("rewards and actions: masks of their own", {}),
        ('the same, shared="mixed"', {"shared": "mixed"}),
    ]
    figure, axes = plt.subplots(figsize=(10, 2.9))
    row = 0.0
    for title, parameters in choices:
        pairs = ("rewards", "actions") if "masks" in title or "shared" in title else ("rewards",)
        axes.text(-1.2, row - 0.5 * len(pairs) * 0.8 + 0.1, title, ha="right", va="center", fontsize=9, color=INK)
        for element in pairs:
            variant = RandomCorruption(element, rate=0.35, **parameters)(dataset)  # type: ignore[arg-type]
            place = 0.0
            for start, length in zip(dataset.episode_starts, dataset.episode_lengths):
                for step in range(start, start + length):
                    color = TOUCHED if variant.masks[element][step] else CLEAN
                    axes.add_patch(Rectangle((place, row - 0.7), 0.85, 0.62, color=color, lw=0))
                    place += 1
                place += 0.9
            row -= 0.8
        row -= 0.45
    axes.set_xlim(-17, place)
    axes.set_ylim(row, 0.2)
    bare(axes)
    save(figure, "granularity")


def draw_episodes(name: str, choices: list[tuple[str, Transform | None]]) -> None:
    """Episodes as rows of boxes: colored by where they come from, with the flags at their ends."""
    dataset = episodes()
    figure, axes = plt.subplots(figsize=(10, 0.62 * len(choices) + 0.2))
    widest = 0.0
    for row, (title, transform) in enumerate(choices):
        variant = dataset if transform is None else transform(dataset)
        axes.text(-0.6, -row, title, ha="right", va="center", fontsize=9, color=INK)
        place, lasts = 0.0, np.cumsum(variant.episode_lengths) - 1
        wrong = np.zeros(variant.total_steps, bool)
        for element in ("duplicates", "truncations", "borders", "terminations", "rewards"):
            wrong |= variant.masks.get(element, np.zeros(variant.total_steps, bool))
        for step, source in enumerate(variant.observations[variant.observation_rows, 0].astype(int)):
            axes.add_patch(Rectangle((place, -row - 0.24), 0.9, 0.48, color=EPISODES[source], lw=0))
            if wrong[step]:
                axes.add_patch(Rectangle((place, -row - 0.34), 0.9, 0.06, color=TOUCHED, lw=0))
            place += 1
            if step in lasts:
                axes.plot([place - 0.1] * 2, [-row - 0.24, -row + 0.24], color=INK, lw=1)
                symbol = "T" if variant.terminations[step] else "t" if variant.truncations[step] else ""
                axes.text(place + 0.18, -row, symbol, fontsize=8, color=INK, va="center", ha="center")
                place += 0.55
        widest = max(widest, place)
    axes.set_xlim(-13, widest)
    axes.set_ylim(-len(choices) + 0.5, 0.5)
    bare(axes)
    save(figure, name)


def draw_sensors() -> None:
    """Faults of sensors, while infos/fault is True."""
    dataset = trajectory()
    rows, fault = dataset.observation_rows, {"mask": "infos/fault"}
    choices: list[tuple[str, Transform]] = [
        ('missing, fill="nan"', MissingValues(**fault, dimensions=(0,))),  # type: ignore[arg-type]
        ('missing, fill="last"', MissingValues(rate=0.4, fill="last", dimensions=(0,))),
        ("freeze", FrozenSensors(**fault)),  # type: ignore[arg-type]
        ("delay, steps=4", DelayedSensors(**fault, steps=4)),  # type: ignore[arg-type]
        ("quantize, levels=5", QuantizedSensors(levels=5)),
        ("clip, scale=0.7", ClippedSensors(scale=0.7)),
        ("swap_dimensions", SwappedDimensions(**fault, dimensions=(0, 1))),  # type: ignore[arg-type]
    ]
    figure, grid = plt.subplots(2, 4, figsize=(12, 3.6))
    time = np.arange(dataset.total_steps)
    for axes, (title, transform) in zip(grid.ravel(), choices):
        variant = transform(dataset)
        changed = variant.observations[rows, 0]
        mask = variant.masks["states"]
        axes.plot(time, dataset.observations[rows, 0], color=CLEAN, lw=1.2)
        if "swap" in title:
            axes.plot(time, dataset.observations[rows, 1], color=SECOND, lw=1.2)
            axes.plot(time[mask], variant.observations[rows, 1][mask], "o", color=SECOND, ms=3)
        if np.isnan(changed).any():
            axes.plot(time[mask], np.full(mask.sum(), -1.3), "x", color=TOUCHED, ms=4)
        axes.plot(time[mask], changed[mask], "o", color=TOUCHED, ms=3)
        axes.set_title(title, fontsize=9, color=INK)
        bare(axes)
    legend = grid.ravel()[-1]
    bare(legend)
    for height, (color, style, text) in enumerate(
        [
            (TOUCHED, "o", "what a touched step reads"),
            (CLEAN, "-", "what it would have read"),
            (TOUCHED, "x", "nothing: NaN"),
        ]
    ):
        ends = [0.05, 0.15] if style == "-" else [0.1]
        legend.plot(ends, [0.8 - 0.25 * height] * len(ends), style, color=color, ms=4)
        legend.text(0.22, 0.8 - 0.25 * height, text, fontsize=9, color=INK, va="center")
    legend.set_xlim(0, 1)
    legend.set_ylim(0, 1)
    figure.tight_layout()
    save(figure, "sensors")


class _Both(Transform):
    """Noise, then a filter; only for the drawing."""

    name = "drawing"

    def __init__(self, *steps: Transform) -> None:
        self.steps = steps

    def parameters(self) -> dict[str, object]:
        return {}

    def apply(self, dataset: Dataset) -> Dataset:
        for step in self.steps:
            dataset = step(dataset)
        return dataset


def main() -> None:
    """Write the drawings."""
    IMAGES.mkdir(exist_ok=True)
    draw_random()
    draw_granularity()
    draw_episodes(
        "episodes",
        [
            ("the dataset", None),
            ("drop_episodes", DropEpisodes(rate=0.34, count="exact", seed=1)),
            ("duplicate_episodes", DuplicateEpisodes(rate=0.34, count="exact", place="beside", seed=2)),
            ("reorder_episodes", ReorderEpisodes(rate=1.0, seed=0)),
            ("downsample, fraction=0.3", DownsampleEpisodes(0.3)),
        ],
    )
    draw_episodes(
        "segments",
        [
            ("the dataset", None),
            ("truncate_episodes", TruncateEpisodes(rate=0.6, seed=1)),
            ("segment, length=3", SegmentEpisodes(length=3)),
            ("segment, length=3, keep=0.4", SegmentEpisodes(length=3, keep=0.4, seed=1)),
            ("merge_episodes", MergeEpisodes(rate=0.5, seed=3)),
            ('terminations, mode="exchanged"', FlipTerminations(rate=0.6, seed=1)),
            ('terminations, mode="inside"', FlipTerminations(mode="inside", rate=0.15, seed=1)),
        ],
    )
    draw_sensors()
    noise = RandomCorruption("rewards", rate=0.2, seed=3)
    draw_episodes(
        "repair",
        [("rewards corrupted", noise), ("repair.oracle drops these steps", _Both(noise, OracleFilter()))],
    )


if __name__ == "__main__":
    main()
