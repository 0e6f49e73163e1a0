"""An environment that raises once for each file in the folder named after its seed; importing this module registers it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np


class Fragile(gymnasium.Env[np.ndarray, np.ndarray]):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.folder, self.time = Path(os.environ["FRAGILE"]) / str(seed), 0
        return self.np_random.standard_normal(2), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        if self.time == 4:
            for file in sorted(self.folder.glob("*")):
                with suppress(FileNotFoundError):  # another process was faster
                    file.unlink()
                    raise RuntimeError("the joint broke")
        observation = self.np_random.standard_normal(2)
        return observation, float(action[0] + observation[0]), self.time == 6, False, {}


gymnasium.register("Fragile-v0", entry_point="fragile:Fragile")
