"""The map of a maze: which places are free, how far they are from a goal, and where the shortest way begins.

Cells and their centres are those of Gymnasium-Robotics: rows from the top, the middle of the map at the origin. The way from a place
leads straight to the centre of the next cell of a shortest path, from centre to centre, and from the last centre before the goal's
cell straight to the goal; in the goal's own cell or beside it, straight to the goal::

    distance(p, g) = |p - c1| + |c1 - c2| + ... + |ck - g|

No piece leaves two neighbouring free cells, so the way meets no wall, and along it the distance falls without a jump upwards when
a border is crossed: |p - c2| <= |p - c1| + |c1 - c2|. The paper's hand-written tables, cell -> directions, are these first steps.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.datasets.environments.planners import MAZES, next_cells
from assay.datasets.errors import ConfigError

__all__ = ["MAPS", "MazeMap", "maze_map", "read_map"]

WALL = "#"
MAPS = {**MAZES, "open": ("#######", "#.....#", "#.....#", "#.....#", "#######")}
"""Maps by name, as in `gymnasium_robotics.envs.maze.maps`: `#` where there is a wall."""


def read_map(given: Any) -> Any:
    """Return a map as rows of characters: a known name stays, Gymnasium-Robotics' rows of 1, 0, "r", "g" and "c" are read.

    Raises
    ------
    ConfigError
        If it is no map.

    Examples
    --------
    >>> read_map([[1, 1, 1], [1, "g", 1], [1, 1, 1]])
    ('###', '#g#', '###')
    """
    if isinstance(given, str):
        if given not in MAPS:
            raise ConfigError(f"map={given!r}: known are {', '.join(MAPS)}; or give the rows of a map of your own")
        return given
    if not isinstance(given, Sequence) or not given:
        raise ConfigError(f"map={given!r}: expected a name or rows")
    signs = {1: WALL, 0: "."}
    rows = tuple("".join(str(signs.get(cell, cell)) for cell in row) for row in given)
    if len({len(row) for row in rows}) != 1 or set("".join(rows)) - set("#.rgc"):
        raise ConfigError(
            f"map: rows of equal length are needed, of walls (1 or #) and free cells (0, ., r, g or c), not {rows}"
        )
    edge = rows[0] + rows[-1] + "".join(row[0] + row[-1] for row in rows)
    if set(edge) != {WALL}:
        raise ConfigError("map: the outermost cells must be walls, or one could leave the maze")
    return rows


class MazeMap:
    """Tables of one map; places are (M, 2) arrays of x and y.

    Parameters
    ----------
    rows : tuple of str
        Goals are drawn in the cells `g` and `c`, where there are any, else in all free ones.
    scale : float
        Width of a cell.
    """

    def __init__(self, rows: tuple[str, ...], scale: float) -> None:
        self.rows, self.scale = rows, scale
        free = np.array([[cell != WALL for cell in row] for row in rows])
        self.free = free
        cells = np.argwhere(free)
        self.centres = np.stack(
            [(cells[:, 1] + 0.5 - free.shape[1] / 2) * scale, (free.shape[0] / 2 - cells[:, 0] - 0.5) * scale], 1
        )
        chosen = np.array([rows[row][column] in "gc" for row, column in cells])
        self.goals = self.centres[chosen] if chosen.any() else self.centres
        self._number = np.full(np.array(free.shape) + 2, -1)  # padded, so that places outside are no cells
        self._number[1:-1, 1:-1][free] = np.arange(len(cells))
        self._walls = np.ones(
            np.array(free.shape) + 4, bool
        )  # padded, so that every neighbour of a place can be looked up
        self._walls[2:-2, 2:-2] = ~free
        self._tables(cells)

    def _tables(self, cells: np.ndarray) -> None:
        """Tabulate for each goal's cell and each cell: steps on a shortest path, the next cell and the last before the goal."""
        count = len(cells)
        hops = np.full((count, count), np.inf)
        following = np.tile(np.arange(count), (count, 1))
        last = following.copy()
        number = {(int(row), int(column)): index for index, (row, column) in enumerate(cells)}
        for goal, goal_cell in enumerate(number):
            hops[goal, goal] = 0
            for cell, after in next_cells(self.rows, goal_cell).items():  # nearest first
                if cell == goal_cell:
                    continue
                here, there = number[cell], number[after]
                following[goal, here] = there
                hops[goal, here] = hops[goal, there] + 1
                last[goal, here] = here if there == goal else last[goal, there]
        self._next, self._last = self.centres[following.ravel()], self.centres[last.ravel()]
        self._rest = np.where(hops >= 2, self.scale * (hops - 2), np.nan).ravel()  # NaN: straight to the goal

    def cell(self, places: np.ndarray) -> np.ndarray:
        """Return the number of each place's free cell, (M,) int64; -1 in a wall or outside."""
        row, column, _, _ = self._located(places)
        cells: np.ndarray = self._number[row + 1, column + 1]
        return cells

    def _located(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return row and column of each place's cell, clipped to one beyond the map, and x and y in it, from its centre."""
        height, width = self.free.shape
        x = places[..., 0] * (1 / self.scale) + width / 2
        y = height / 2 - places[..., 1] * (1 / self.scale)
        column, row = np.floor(x), np.floor(y)
        np.clip(column, -1, width, out=column)
        np.clip(row, -1, height, out=row)
        return row.astype(np.int64), column.astype(np.int64), x - column - 0.5, y - row - 0.5

    def clear(self, places: np.ndarray, radius: float) -> np.ndarray:
        """Return whether a disc around each place touches no wall, bool of the shape without the last axis."""
        row, column, x, y = self._located(places)
        width = self._walls.shape[1]
        here = (row + 2) * width + column + 2
        beside, above = np.where(x > 0, 1, -1), np.where(y > 0, width, -width)
        reach = 0.5 - radius / self.scale
        x, y = np.abs(x), np.abs(y)
        close_beside, close_above = x >= reach, y >= reach
        walls = self._walls.ravel()
        touches = walls[here]
        for close, step in ((close_beside, beside), (close_above, above)):
            rows = np.flatnonzero(close)  # few places are near a border
            touches.flat[rows] |= walls[here.flat[rows] + step.flat[rows]]
        rows = np.flatnonzero(close_beside & close_above)
        corner = np.hypot(0.5 - x.flat[rows], 0.5 - y.flat[rows]) <= 0.5 - reach
        touches.flat[rows] |= corner & walls[here.flat[rows] + beside.flat[rows] + above.flat[rows]]
        clear: np.ndarray = ~touches
        return clear

    def draw(self, count: int, generator: np.random.Generator, margin: float) -> np.ndarray:
        """Draw places uniformly: a free cell, then a place in it that is `margin` away from the walls beside it, (count, 2)."""
        low, high = self._boxes(margin)
        cells = generator.integers(0, len(low), count)
        places: np.ndarray = low[cells] + generator.random((count, 2)) * (high - low)[cells]
        return places

    def _boxes(self, margin: float) -> tuple[np.ndarray, np.ndarray]:
        row, column = np.argwhere(self.free).T
        wall = np.pad(~self.free, 1, constant_values=True)
        half = self.scale / 2
        row, column = row + 1, column + 1
        right, left = wall[row, column + 1], wall[row, column - 1]
        down, up = wall[row + 1, column], wall[row - 1, column]
        low = self.centres - half + margin * np.stack([left, down], 1)
        high = self.centres + half - margin * np.stack([right, up], 1)
        return low, high

    def distance(self, places: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Return the length of the way from each place to its goal, (M,) float64; infinite from a wall, or where there is none."""
        return self.way(places, goals)[0]

    def heading(self, places: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Return the vector from each place to where its way leads first, (M, 2)."""
        return self.way(places, goals)[1]

    def way(self, places: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `distance` and `heading` together."""
        here, there = self.cell(places), self.cell(goals)
        pair = there * len(self.centres) + here
        pair[(here < 0) | (there < 0)] = 0
        rest = np.take(self._rest, pair)  # of the way between the next cell and the last before the goal
        near = np.isnan(rest)
        heading = np.take(self._next, pair, axis=0) - places
        length = _length(heading) + rest + _length(goals - np.take(self._last, pair, axis=0))
        rows = np.flatnonzero(near)
        heading[rows] = goals[rows] - places[rows]
        length[rows] = _length(heading[rows])
        length[(here < 0) | (there < 0)] = np.inf
        return length, heading


def _length(vectors: np.ndarray) -> np.ndarray:
    length: np.ndarray = np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2)
    return length


@functools.cache
def maze_map(given: str | tuple[str, ...], scale: float) -> MazeMap:
    """Return the tables of a map, made once."""
    return MazeMap(MAPS[given] if isinstance(given, str) else given, scale)
