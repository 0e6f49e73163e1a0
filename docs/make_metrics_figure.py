"""Make the figure of docs/metrics.md: trajectory quality against coverage, for datasets of the catalog.

Usage: python docs/make_metrics_figure.py     (collects what is not in the cache: 12 datasets of 20,000 steps)

It is the figure of Schweighofer et al. 2022 (arXiv 2111.04714): random data covers much and earns nothing, expert data
earns most and covers least, replay data covers most for what it earns. SACo is counted on five edges a column, as in the
paper's D4RL experiment, relative to the medium-replay dataset of the body. Prints the table that stands in the page.
"""

from __future__ import annotations

from pathlib import Path

import assay
from assay.analysis.figures import FONT_POINTS, GRID, INK, MARKERS, MUTED, SERIES, axes_at, canvas, write_text
from assay.metrics import Grid, saco, saturation, tq

BODIES = ("cartpole", "pendulum", "hopper")
LEVELS = ("random", "medium-replay", "medium", "expert")
STEPS = 20_000
DEFINITION = "d4rl notebook"
WIDTH, HEIGHT = 680, 430


def main() -> None:
    """Measure, print the table and write the PNG file."""
    figure = canvas(WIDTH, HEIGHT)
    title = "What the catalog's datasets are like: quality against coverage"
    write_text(figure, title, 12, 10, fontsize=FONT_POINTS + 1.5, fontweight="bold")
    key = f"{STEPS:,} steps each; SACo on 5 edges a column, relative to the body's medium-replay data."
    write_text(figure, key, 12, 33, color=MUTED)
    axes = axes_at(figure, 68, 92, WIDTH - 84, HEIGHT - 150)
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    axes.set_xlabel("Trajectory quality TQ (0 random, 1 expert)", color=INK, fontsize=FONT_POINTS)
    axes.set_ylabel("State-action coverage SACo", color=INK, fontsize=FONT_POINTS)
    print("| dataset | TQ | SACo | saturation |\n|---|---:|---:|---:|")
    for body, marker in zip(BODIES, MARKERS):
        datasets = {level: assay.load(f"{body}/{level}", steps=STEPS) for level in LEVELS}
        reference = datasets["medium-replay"]
        grid = Grid.from_dataset(reference, 5)
        for (level, dataset), color in zip(datasets.items(), SERIES):
            quality, coverage = tq(dataset), saco(dataset, reference, definition=DEFINITION)
            axes.plot(quality, coverage, marker, color=color, markersize=8, alpha=0.9)
            print(f"| {body}/{level} | {quality:.3f} | {coverage:.3f} | {saturation(dataset, grid):.3f} |")
    left = 14.0
    for level, color in zip(LEVELS, SERIES):
        write_text(figure, f"● {level}", left, 60, color=color, fontweight="bold")
        left += 7.5 * len(level) + 34
    for body, marker in zip(BODIES, ("●", "■", "▲")):
        write_text(figure, f"{marker} {body}", left + 6, 60, color=MUTED)
        left += 7.0 * len(body) + 32
    axes.set_ylim(bottom=0)
    images = Path(__file__).parent / "images"
    images.mkdir(exist_ok=True)
    figure.savefig(images / "metrics-quality.png", dpi=144, facecolor="white")


if __name__ == "__main__":
    main()
