"""Draw what each weighting does to the episodes of a dataset: docs/images/reweighting-episodes.png.

Usage: python docs/make_reweighting_drawings.py

A small dataset of a pendulum, of which a tenth of the episodes are an expert's. A bar is an episode, ordered by its return; its height is the
share of all draws that fall on it. Below, the steps of every episode are a line of points, the darker the higher their weight.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import assay
from assay.reweighting import CoverageWeighting, DensityRatioWeighting, TrajectoryWeighting, effective_sample_size

IMAGES = Path(__file__).parent / "images"
SHADES = {
    "uniform": None,
    "top 10%": TrajectoryWeighting(score="top", fraction=0.1),
    "return": TrajectoryWeighting(score="return"),
    "advantage": TrajectoryWeighting(score="advantage"),
    "density ratio": DensityRatioWeighting(updates=2_000, hidden=(64, 64), learning_rate=1e-3),
    "coverage": CoverageWeighting(power=0.5),
}


def main() -> None:
    """Draw the figure."""
    dataset = assay.load("pendulum/random-expert-10", steps=8_000)
    order = np.argsort(dataset.returns)
    figure, (bars, lines) = plt.subplots(2, len(SHADES), figsize=(14, 5.2), layout="constrained", sharey="row")
    for top, bottom, (name, transform) in zip(bars, lines, SHADES.items(), strict=True):
        weighted = dataset if transform is None else transform(dataset)
        weights = np.ones(dataset.total_steps) if weighted.weights is None else weighted.weights
        shares = np.bincount(dataset.episode_of_step, weights) / weights.sum()
        colours = np.where(dataset.returns[order] > -500, "#2c8c4a", "#1f4e79")
        top.bar(np.arange(len(order)), shares[order], color=colours, width=1.0)
        top.set(
            title=name,
            xlabel=f"effective steps {effective_sample_size(weighted):,.0f} of {dataset.total_steps:,}",
            xticks=[],
        )
        steps = np.arange(dataset.total_steps) - dataset.episode_starts[dataset.episode_of_step]
        place = np.argsort(order)[dataset.episode_of_step]
        bottom.scatter(steps, place, c=np.minimum(weights, 3.0), cmap="Greys", s=1.5, vmin=0.0, vmax=3.0, marker="s")
        bottom.set(xlabel="step of the episode")
    bars[0].set_ylabel("share of the draws")
    lines[0].set_ylabel("episodes, by return")
    for axes in (*bars, *lines):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "reweighting-episodes.png", dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
