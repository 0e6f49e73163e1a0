"""MinAtar's games as the Dataset Perspective paper observes them; the simulator is `minatar.MinAtarGrid`."""

from __future__ import annotations

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Registration

__all__ = ["FAMILY", "GAMES", "MOST_STEPS"]

GAMES = {
    "Asterix": "asterix",
    "Breakout": "breakout",
    "Freeway": "freeway",
    "Seaquest": "seaquest",
    "SpaceInvaders": "space_invaders",
}
"""Assay's name of each game -> MinAtar's."""
MOST_STEPS = 5_000

FAMILY = EnvironmentFamily(
    environments=tuple(
        EnvironmentRecord(
            game.replace("_", "-"),
            f"assay/MinAtar-{name}-v0",
            registration=Registration("assay.datasets.environments.minatar:MinAtarGrid", {"game": game}, MOST_STEPS),
            packages=("minatar", "numpy"),
        )
        for name, game in GAMES.items()
    ),
    prefixes=("assay/MinAtar-",),
    module="minatar",
    extra="minatar",
)
