"""D4RL's table of datasets: the public address and the two reference returns of each id (shipped, never fetched)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["D4RLEntry", "d4rl_table"]


@dataclass(frozen=True)
class D4RLEntry:
    """One dataset of D4RL; the returns are None where D4RL gives none."""

    id: str
    url: str
    random: float | None
    expert: float | None


@cache
def d4rl_table() -> dict[str, D4RLEntry]:
    """Return the entries by id, such as `"hopper-medium-v2"` (reference/d4rl.json, made from D4RL's d4rl/infos.py).

    Examples
    --------
    >>> d4rl_table()["hopper-medium-v2"].expert
    3234.3
    """
    plain = json.loads(Path(__file__).with_name("reference").joinpath("d4rl.json").read_text())
    return {name: D4RLEntry(name, **entry) for name, entry in plain["datasets"].items()}
