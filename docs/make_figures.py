"""Make the figures of the README and the docs from a finished quickstart run.

Usage: python docs/make_figures.py [RUNS]     (default runs/quickstart-small, which `make demo` leaves)
"""

from __future__ import annotations

import sys
from pathlib import Path

from assay.analysis import load_quality, load_runs, plot_quality, plot_scores

IMAGES = Path(__file__).parent / "images"


def main(runs: str = "runs/quickstart-small") -> None:
    IMAGES.mkdir(exist_ok=True)
    for name, figure in (
        ("quickstart-scores", plot_scores(load_runs(runs))),
        ("quickstart-quality", plot_quality(load_quality(runs))),
    ):
        figure.savefig(IMAGES / f"{name}.png", dpi=144, facecolor="white")


if __name__ == "__main__":
    main(*sys.argv[1:])
