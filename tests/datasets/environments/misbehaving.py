"""Environments that print, raise, or hang, registered when a worker imports this module by ``module:id``."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np


class Misbehaving(gymnasium.Env[np.ndarray, np.ndarray]):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, fault: str = "none", space: str = "box") -> None:
        self.fault = fault
        self.time = 0
        if space == "text":
            parts = {"position": self.observation_space, "mission": gymnasium.spaces.Text(5)}
            self.observation_space = gymnasium.spaces.Dict(parts)  # type: ignore[assignment]
        if fault == "make":
            raise RuntimeError("no display")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.time = 0
        if self.fault == "print":
            print("hello from reset " * 1000)
            os.write(1, b"raw bytes to descriptor 1\n" * 100)
        return self.np_random.standard_normal(2), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        if self.fault == "print":
            print("hello from step")
        if self.fault == "raise" and self.time == 3:
            raise ValueError("the simulation exploded")
        if self.fault == "exit":
            os._exit(7)
        if self.fault == "hang":
            time.sleep(3600)
        return self.np_random.standard_normal(2) + action[0], float(action[0]), self.time == 5, False, {}


gymnasium.register("Misbehaving-v0", entry_point="misbehaving:Misbehaving")
