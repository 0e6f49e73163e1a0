"""Draw how the engine trains a population: docs/images/engine.png.

Usage: python docs/make_engine_drawing.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

INK, MUTED, DATA, MEMBERS, NETWORKS, STATE = "#1b1f24", "#6b7280", "#cfe3f7", "#e4dcf4", "#d8efdc", "#fbe6c8"


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str, size: float = 8.5) -> None:
    """Draw a rounded box with text in its middle."""
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", fc=color, ec=INK, lw=0.8)
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size, color=INK)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", bend: float = 0.0) -> None:
    """Draw an arrow, with a word beside its middle."""
    style = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=10, color=INK, lw=1.0, connectionstyle=f"arc3,rad={bend}"
    )
    axes.add_patch(style)
    if text:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.14)
        axes.text(*middle, text, ha="center", fontsize=7.5, color=MUTED)


def buffer(axes: Axes, x: float, y: float, rows: int, label: str) -> None:
    """Draw a flat buffer: one row per member and copy, split into layers."""
    widths, names = (0.9, 0.16, 1.5, 0.16, 0.35, 0.1), ("W1", "b", "W2", "b", "W3", "b")
    for row in range(rows):
        left = x
        for width, name in zip(widths, names):
            axes.add_patch(Rectangle((left, y + 0.24 * row), width, 0.2, fc=NETWORKS, ec=INK, lw=0.5))
            if row == rows - 1 and len(name) == 2:
                axes.text(left + width / 2, y + 0.24 * row + 0.1, name, ha="center", va="center", fontsize=6.5)
            left += width
    axes.text(x, y + 0.24 * rows + 0.05, label, fontsize=7.5, color=MUTED)


def main() -> None:
    """Write the drawing."""
    figure, axes = plt.subplots(figsize=(10, 5.4), dpi=160)
    axes.set_xlim(0, 13)
    axes.set_ylim(0, 7)
    axes.axis("off")

    axes.text(0.2, 6.65, "on the device, once per dataset variant", fontsize=8, color=MUTED)
    for number, (name, width) in enumerate([("clean", 2.2), ("noisy rewards", 2.2)]):
        box(axes, 0.2 + 2.3 * number, 6.0, width, 0.5, f"{name}\ns | a | r | s' | bootstrap", DATA, 7)
    axes.text(0.2, 4.45, "members: what differs between them is data", fontsize=8, color=MUTED)
    members = [("seed 0", 0), ("seed 1", 0), ("seed 0", 1), ("alpha 5", 1)]
    for number, (name, variant) in enumerate(members):
        box(axes, 0.2 + 1.15 * number, 4.75, 1.05, 0.7, f"{name}\noffset, length", MEMBERS, 6.5)
        arrow(axes, (0.72 + 1.15 * number, 5.47), (1.0 + 2.3 * variant + 0.25 * (number % 2), 5.98))

    box(axes, 5.6, 4.75, 1.75, 0.7, "draws [P, B]\nhash(seed, purpose,\nupdate, position)", MEMBERS, 6.5)
    box(axes, 7.75, 4.75, 1.35, 0.7, "one gather\n[P, B, row]", DATA, 7.5)
    box(axes, 9.5, 4.75, 1.5, 0.7, "losses [P]\none file per\nalgorithm", STATE, 7.5)
    box(axes, 11.4, 4.75, 1.4, 0.7, "gradient\n[P x K, n]", NETWORKS, 7.5)
    arrow(axes, (4.72, 5.1), (5.58, 5.1))
    arrow(axes, (7.37, 5.1), (7.73, 5.1))
    arrow(axes, (9.12, 5.1), (9.48, 5.1))
    arrow(axes, (11.02, 5.1), (11.38, 5.1))

    buffer(axes, 8.0, 2.75, 5, "weights: a flat buffer [P x K, n]")
    arrow(axes, (9.6, 4.12), (10.1, 4.73), bend=-0.1)
    axes.text(9.15, 4.4, "one batched product\nper layer", fontsize=7, color=MUTED, ha="right", va="center")
    box(axes, 11.4, 2.95, 1.4, 0.8, "Adam, once\nfor all rows;\nrate per row", STATE, 7.5)
    arrow(axes, (12.1, 4.73), (12.1, 3.78))
    arrow(axes, (11.38, 3.35), (11.2, 3.35))
    buffer(axes, 8.0, 1.0, 3, "targets: one lerp")
    arrow(axes, (9.5, 2.7), (9.5, 2.05))

    axes.add_patch(
        FancyBboxPatch((5.4, 0.65), 7.5, 5.05, boxstyle="round,pad=0,rounding_size=0.12", fc="none", ec=MUTED, ls="--")
    )
    axes.text(5.55, 0.78, "up to 16 updates in one CUDA graph; the same functions run eagerly on a CPU", fontsize=7.5)
    box(axes, 0.2, 2.6, 2.3, 0.9, "curves, checkpoints\nread at log points only", STATE, 7.5)
    box(axes, 2.75, 2.6, 2.3, 0.9, "frozen snapshots act\nfor simulators on worker\nprocesses, meanwhile", STATE, 7.5)
    arrow(axes, (5.38, 3.0), (5.08, 3.0))
    axes.text(0.2, 2.2, "the host is asked for nothing between log points", fontsize=7.5, color=MUTED)
    figure.savefig(Path(__file__).parent / "images" / "engine.png", bbox_inches="tight")


if __name__ == "__main__":
    main()
