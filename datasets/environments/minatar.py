"""MinAtar games (Young & Tian 2019, arXiv 1903.03176) as the Dataset Perspective paper observes them.

The state is a grid of 10 x 10 cells with several boolean channels. Each cell becomes one number, (the highest of its
active channels, counted from 1, or 0 where it is empty) / channels - 0.5, and the grid is flattened to 100 of them
(Schweighofer et al. 2022, arXiv 2111.04714). All six actions of MinAtar, its sticky actions (a chance of 0.1 that the
action before is repeated) and its growing difficulty are kept.

Three things differ from MinAtar's own Gymnasium environments. The action that may be repeated is forgotten at a reset, so
that an episode depends on its seed alone. The end of Freeway, which is a time limit and nothing else, is a truncation and
not a termination. And an episode of any game is truncated after 5,000 steps: the others have no limit in MinAtar, and some
policies never lose.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from assay.datasets.environments.families.minatar_games import GAMES
from assay.datasets.errors import ConfigError

__all__ = ["GAMES", "MinAtarGrid"]

TIMED = ("freeway",)
"""Games that nothing but a timer ends."""
CELLS = 100
ACTIONS = 6


class MinAtarGrid(gymnasium.Env[Any, Any]):
    """One game, with float32 observations ``[100]`` and six actions.

    Parameters
    ----------
    game
        MinAtar's name of it, such as ``"breakout"``.

    Raises
    ------
    ConfigError
        If MinAtar is not installed.
    """

    observation_space = gymnasium.spaces.Box(-0.5, 0.5, (CELLS,), np.float32)
    action_space = gymnasium.spaces.Discrete(ACTIONS)

    def __init__(self, game: str) -> None:
        try:
            from minatar import Environment
        except ModuleNotFoundError as error:
            raise ConfigError("MinAtar is not installed: pip install 'assay[minatar]'") from error
        self.game, self.timed = Environment(game), game in TIMED

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        self.game.seed(seed)
        self.game.last_action = 0
        self.game.reset()
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        """Play one frame."""
        reward, over = self.game.act(int(action))
        return self.observe(), float(reward), bool(over) and not self.timed, bool(over) and self.timed, {}

    def observe(self) -> NDArray[np.float32]:
        """Return the grid, flattened."""
        state = self.game.state()
        channels = state.shape[-1]
        highest = (state * np.arange(1, channels + 1)).max(axis=-1)
        observation: NDArray[np.float32] = (highest.ravel() / channels - 0.5).astype(np.float32)
        return observation
