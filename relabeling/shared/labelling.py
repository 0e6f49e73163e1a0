"""Filling in missing actions: what all methods share. A method only says how it is fitted.

::

    labelled steps      | fitted to ............................. | held out (whole episodes) |
                                    a model per split               its errors -> calibration
    steps without       | windows of states -> action, spread -> columns actions, uncertainty/actions |

Labels that are there are never touched.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.memory import copy, empty
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.datasets.registry import Integer, Seed
from assay.datasets.spaces import Box, Discrete, infer_space
from assay.datasets.transform import Transform
from assay.relabeling.shared.calibration import Calibration, coverage_table, reliability, soften, temperature_of
from assay.relabeling.shared.predictors import Mixture, Predictor
from assay.relabeling.shared.uncertainty import drop_uncertain, weight_by_spread

if TYPE_CHECKING:
    from assay.baselines.engine.data import ActionScale
    from assay.relabeling.shared.windows import StateScale, Windows

__all__ = ["REPORT", "ActionLabels", "FittedActions", "Labelled", "Split", "Uncertain"]

REPORT = "proxy_actions"
"""Key of `dataset.info.extra` under which a model's report is kept."""
ACTIONS, MISSING, UNCERTAINTY = "actions", "missing/actions", "uncertainty/actions"
_FEWEST_GROUPS = 4  # episodes; where fewer have labels, stretches of steps are held out
_LEAST_SPREAD = 1e-6  # of scaled actions; above 0, which is the spread of true labels

Uncertain = Literal["keep", "weight", "drop"]


@dataclass(frozen=True)
class Split:
    """Which of the labelled steps a model is fitted to, and which are held out from it: (n,) bool, disjoint."""

    fitted: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Labelled:
    """The labelled steps of a dataset, as a method is given them.

    Parameters
    ----------
    windows : Windows
    steps : (n,) int64
        That have a label and a window.
    targets : (n, action) float32
        Actions scaled to [-1, 1]; of discrete ones a 1 in the entry of the action and 0 in the others.
    discrete : bool
    groups : (n,) int64
        Episodes, or stretches of steps where few episodes have labels.
    splits : sequence of Split
    """

    windows: Windows
    steps: np.ndarray
    targets: np.ndarray
    discrete: bool
    groups: np.ndarray
    splits: Sequence[Split]

    def inputs(self, past: int, width: int | None = None) -> np.ndarray:
        """Return the windows of all of them; see `Windows.inputs`."""
        return self.windows.inputs(self.steps, past, width)

    @property
    def actions(self) -> np.ndarray:
        """(n,) int64 numbers of discrete actions."""
        found: np.ndarray = self.targets.argmax(1)
        return found


@dataclass(frozen=True)
class FittedActions:
    """A fitted and calibrated model of a dataset's actions.

    Parameters
    ----------
    predictor : Predictor
    scale : ActionScale
    state_scale : StateScale
    shape : tuple of int
        Of one action.
    dtype : numpy dtype
        Of the actions.
    calibration : Calibration or float
        Of the spreads; of discrete actions the temperature.
    report : dict
        JSON values: how many steps it was fitted to and measured on, `error` (mean absolute, per entry, in the units of the
        actions; of discrete ones the share that is wrong), `explained` (the share of the actions' variance that the
        predictions explain, per entry), `calibration` (see `coverage_table`), and what the method adds.
    """

    predictor: Predictor
    scale: ActionScale
    state_scale: StateScale
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    calibration: Calibration | float
    report: dict[str, Any]

    def predict(self, dataset: Dataset, steps: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Predict the actions of some steps, of this or of another dataset of the same states.

        Parameters
        ----------
        dataset : Dataset
        steps : (n,) int array, optional
            Default all; each needs a recorded next state.

        Returns
        -------
        actions : (n, ...) array
            As the dataset holds them, in its units.
        uncertainty : (n, action) float32, or (n,) for discrete actions
            As in the column `uncertainty/actions`.
        """
        from assay.relabeling.shared.windows import Windows

        windows = Windows(dataset, self.state_scale)
        return self.predict_windows(windows, np.arange(dataset.total_steps) if steps is None else np.asarray(steps))

    def predict_windows(
        self, windows: Windows, steps: np.ndarray, progress: Progress | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict as `predict` does, of the steps of a dataset whose windows are known."""
        if not windows.complete[steps].all():
            step = int(steps[~windows.complete[steps]][0])
            raise DatasetError(f"step {step} has no window: its next state was not recorded")
        discrete = self.scale.first is not None
        actions = empty((len(steps), *self.shape), self.dtype)
        spread = empty((len(steps),) if discrete else (len(steps), len(self.scale.center)), np.dtype(np.float32))
        for start, part in windows.chunks(steps):
            found = self.predictor(windows.inputs(part, self.predictor.past_states))
            rows = slice(start, start + len(part))
            if isinstance(self.calibration, Calibration):
                widths = self.calibration.widths(_above_zero(found.deviation))
                spread[rows] = np.maximum(widths, _LEAST_SPREAD) * self.scale.half_range
            else:
                right = soften(found.mean, self.calibration).max(1)
                spread[rows] = np.maximum(1.0 - right, _LEAST_SPREAD)
            actions[rows] = self.scale.decode(found.mean).reshape(-1, *self.shape)
            if progress is not None:
                progress(start + len(part), len(steps))
        return actions, spread


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class ActionLabels(Transform):
    """Base of the transforms that fill in missing actions; the fields that all of them have.

    Parameters
    ----------
    validation : float in (0, 0.5]
        Share of the labelled episodes that is held out from fitting: to choose the best weights, and to calibrate on.
    splits : int >= 1
        So many disjoint held-out shares, each with models of its own; every held-out step is predicted by models that have
        not seen it, and the calibration uses all of them.
    coverage : float in (0, 1)
        Of the intervals that `uncertainty/actions` stands for.
    uncertain : "keep", "weight" or "drop"
        What to do with uncertain labels; see `UncertainLabels`.
    share : float in (0, 1)
        Of the filled-in steps that `uncertain="drop"` leaves out, the most uncertain ones.
    seed : int >= 0
        Of the held-out episodes, and of the models.
    """

    validation: float = Field(default=0.1, gt=0, le=0.5)
    splits: Integer = Field(default=1, ge=1)
    coverage: float = Field(default=0.9, gt=0, lt=1)
    uncertain: Uncertain = "keep"
    share: float = Field(default=0.1, gt=0, lt=1)
    seed: Seed = 0

    @property
    def costly(self) -> bool:
        """Models are trained; suites keep what they give."""
        return True

    def draft(self) -> Transform:
        """Return the same with networks that are trained hardly at all."""
        small: dict[str, Any] = {"steps": 1, "hidden": (8,), "batch_size": 16, "ensemble": 1}
        changes = {item.name: small[item.name] for item in fields(self) if item.name in small}
        return replace(self, **changes)

    @abstractmethod
    def learn(
        self, labelled: Labelled, dataset: Dataset, progress: Progress | None
    ) -> tuple[list[Predictor], Predictor | None, dict[str, Any]]:
        """Fit the method.

        Returns
        -------
        one predictor per split; the one to fill in with, None for all of them joined; and what to add to the report
        """

    def fit(self, dataset: Dataset, *, progress: Progress | Auto | None = "auto") -> FittedActions:
        """Fit the model to the labelled steps and calibrate it, without filling anything in.

        Parameters
        ----------
        dataset : Dataset
            With labels for some steps at least.
        progress : callable, optional
            As in `Transform.__call__`.

        Raises
        ------
        DatasetError
            If there are too few labels, or a state is not finite.
        ConfigError
            If states are images, or actions are nested.
        """
        from assay.relabeling.shared.windows import Windows

        with reporting(progress, self.name, counted(self.name)) as report:
            return self._fit(dataset, Windows(dataset), report)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with its missing actions filled in."""
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        from assay.relabeling.shared.windows import Windows

        missing = dataset.missing[ACTIONS]
        if not missing.any():
            return dataset
        windows = Windows(dataset)
        fitted = self._fit(dataset, windows, progress)
        filled = missing & windows.complete
        steps = np.flatnonzero(filled)
        actions, spread = fitted.predict_windows(windows, steps)
        columns: dict[str, np.ndarray | None] = {ACTIONS: copy(dataset.actions)}
        columns[ACTIONS][steps] = actions  # type: ignore[index]
        columns[UNCERTAINTY] = self._uncertainty(dataset, missing, steps, spread)
        left = missing & ~filled
        columns[MISSING] = left if left.any() else None
        info = replace(dataset.info, extra={**dataset.info.extra, REPORT: {"method": self.name, **fitted.report}})
        result = dataset.replace(columns, info=info)
        match self.uncertain:
            case "weight":
                return weight_by_spread(result, ACTIONS)
            case "drop":
                return drop_uncertain(result, ACTIONS, self.share)
            case _:
                return result

    def _uncertainty(self, dataset: Dataset, missing: np.ndarray, steps: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return 0 where labels are true, NaN where they go on missing, and what was there for labels filled in before."""
        column = np.zeros((len(missing), *spread.shape[1:]), np.float32)
        if UNCERTAINTY in dataset.columns and dataset.column(UNCERTAINTY).shape == column.shape:
            column[:] = dataset.column(UNCERTAINTY)
        column[missing] = np.nan
        column[steps] = spread
        return column

    def _fit(self, dataset: Dataset, windows: Windows, progress: Progress | None) -> FittedActions:
        actions, scale = _actions_and_scale(dataset)
        steps = np.flatnonzero(_true_labels(dataset) & windows.complete)
        if len(steps) < 2:
            raise DatasetError(
                f"{self.name}: {len(steps)} of {dataset.total_steps:,} steps have both an action and a next state; a model "
                "of the actions is fitted to such steps"
            )
        encoded = scale.encode(actions[steps])
        discrete = scale.first is not None
        targets = ((encoded + 1.0) / 2.0 if discrete else encoded).astype(np.float32)
        groups = self._groups(dataset.episode_of_step[steps])
        labelled = Labelled(windows, steps, targets, discrete, groups, self._splits(groups))
        predictors, chosen, added = self.learn(labelled, dataset, progress)
        final: Predictor = Mixture(predictors) if chosen is None else chosen
        calibration, report = self._calibrate(labelled, predictors, scale)
        return FittedActions(
            final, scale, windows.scale, actions.shape[1:], actions.dtype, calibration, {**report, **added}
        )

    def _groups(self, episodes: np.ndarray) -> np.ndarray:
        """Number the episodes; where few have labels, cut the labelled steps into stretches instead."""
        groups = np.unique(episodes, return_inverse=True)[1]
        wanted = max(_FEWEST_GROUPS, round(self.splits / self.validation))
        if groups[-1] + 1 >= _FEWEST_GROUPS * self.splits:
            return groups
        return np.arange(len(episodes)) * min(wanted, len(episodes)) // len(episodes)

    def _splits(self, groups: np.ndarray) -> list[Split]:
        total = int(groups[-1]) + 1
        if self.splits * self.validation > 1.0:
            raise ConfigError(
                f"{self.splits} disjoint held-out shares of {self.validation:g} are more than there is; lower one of them"
            )
        count = max(1, round(self.validation * total))
        if count * self.splits > total or count >= total:
            raise DatasetError(f"{self.name}: {total} stretches of labelled steps are too few for {self.splits} splits")
        order = block_generator(self.seed, self.name, "validation", 0).permutation(total)
        parts = [order[number * count : (number + 1) * count] for number in range(self.splits)]
        return [Split(~np.isin(groups, part), np.isin(groups, part)) for part in parts]

    def _calibrate(
        self, labelled: Labelled, predictors: Sequence[Predictor], scale: ActionScale
    ) -> tuple[Calibration | float, dict[str, Any]]:
        """Measure the models on what was held out from them."""
        places = [np.flatnonzero(split.held_out) for split in labelled.splits]
        found = []
        for predictor, rows in zip(predictors, places):
            for _, part in labelled.windows.chunks(rows):
                found.append(predictor(labelled.windows.inputs(labelled.steps[part], predictor.past_states)))
        rows = np.concatenate(places)
        mean, targets = np.concatenate([item.mean for item in found]), labelled.targets[rows].astype(np.float64)
        report: dict[str, Any] = {"labelled_steps": len(labelled.steps), "held_out_steps": len(rows)}
        report["coverage"] = self.coverage
        if labelled.discrete:
            actions = labelled.actions[rows]
            temperature = temperature_of(mean, actions)
            report["error"] = [float((mean.argmax(1) != actions).mean())]
            report["calibration"] = reliability(soften(mean, temperature), actions)
            return temperature, report
        spreads = _above_zero(np.concatenate([item.deviation for item in found if item.deviation is not None]))
        errors = np.abs(mean - targets)
        variance = np.maximum(targets.var(0), np.finfo(np.float64).tiny)
        report["error"] = (errors.mean(0) * scale.half_range).tolist()
        report["explained"] = (1.0 - np.square(errors).mean(0) / variance).tolist()
        report["calibration"] = coverage_table(errors, spreads, labelled.groups[rows])
        return Calibration.of(errors, spreads, self.coverage), report


def _true_labels(dataset: Dataset) -> np.ndarray:
    """Return the steps whose action is neither missing nor filled in earlier, (N,) bool."""
    known: np.ndarray = ~dataset.missing[ACTIONS]
    if UNCERTAINTY in dataset.columns:
        known[(dataset.column(UNCERTAINTY).reshape(len(known), -1) > 0).any(1)] = False
    return known


def _above_zero(spreads: np.ndarray | None) -> np.ndarray:
    assert spreads is not None
    raised: np.ndarray = np.maximum(spreads, _LEAST_SPREAD)
    return raised


def _actions_and_scale(dataset: Dataset) -> tuple[np.ndarray, ActionScale]:
    """Return the column of actions, and how networks see them: the space's bounds, or the range of the labels."""
    from assay.baselines.engine.data import ActionScale

    if ACTIONS not in dataset.columns:
        nested = any(name.startswith(f"{ACTIONS}/") for name in dataset.columns)
        if nested:
            raise ConfigError("actions are nested; models of the actions learn flat vectors")
        raise DatasetError(
            "no step of the dataset has an action, so there is nothing to learn actions from; join it with a labelled "
            "dataset of the same states by assay.concatenate"
        )
    actions, space = dataset.column(ACTIONS), dataset.info.action_space
    labels = actions[~dataset.missing[ACTIONS]]
    if not len(labels):
        raise DatasetError("no step of the dataset has an action, so there is nothing to learn actions from")
    if actions.dtype.kind in "iu" and actions.size == len(actions):
        found = space if isinstance(space, Discrete) else infer_space(labels.reshape(-1))
        if not isinstance(found, Discrete):
            raise ConfigError(f"actions are {actions.dtype} that are no categories; models learn floats or categories")
        return actions, ActionScale.of_discrete(found.n, found.start)
    if actions.dtype.kind != "f" or actions.ndim != 2:
        raise ConfigError(
            f"models learn actions that are vectors of floats, not {actions.dtype}{list(actions.shape[1:])}"
        )
    if not np.isfinite(labels).all():
        raise DatasetError(
            "some labelled actions are NaN or infinite; repair them first (dataset.validate() lists them)"
        )
    if isinstance(space, Box):
        low, high = (np.asarray(bound, np.float64).ravel() for bound in space.bounds())
        if np.isfinite(low).all() and np.isfinite(high).all() and (high > low).all():
            return actions, ActionScale.of(low, high)
    low, high = labels.min(0).astype(np.float64), labels.max(0).astype(np.float64)
    margin = 0.05 * (high - low) + 1e-6  # so that the extremes are reached
    return actions, ActionScale.of(low - margin, high + margin)
