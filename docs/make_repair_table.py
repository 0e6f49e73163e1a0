"""Print how well the filters find random corruption of Hopper's medium-replay data, as the table of docs/corruption.md.

Usage: python docs/make_repair_table.py [STEPS]     (default 100000, collected on first use)
"""

from __future__ import annotations

import sys

import assay
from assay.corruption import DynamicsFilter, OutlierFilter, RandomCorruption, RewardFilter, detection
from assay.corruption.repair.filters import Filter

RATE = 0.3


def main(steps: str = "100000") -> None:
    """Print the table in Markdown."""
    dataset = assay.load("hopper/medium-replay", steps=int(steps))
    print("| corrupted | filter | precision | recall | average precision |")
    print("|---|---|---|---|---|")
    for element in ("observations", "states", "dynamics", "actions", "rewards"):
        noisy = RandomCorruption(element, rate=RATE)(dataset)
        model: Filter = RewardFilter(action="flag")
        if element != "rewards":
            model = DynamicsFilter(element, action="flag")
        for filtered in (OutlierFilter(element, action="flag"), model):  # type: ignore[arg-type]
            found = detection(filtered(noisy), element)
            name = filtered.name.removeprefix("corruption.")
            numbers = " | ".join(f"{value:.2f}" for value in (found.precision, found.recall, found.average_precision))
            print(f"| {element} | {name} | {numbers} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
