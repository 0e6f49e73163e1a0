r"""The curation audit: does finding bad data help, and does what finds it best help most?

Clean data is spoiled, a detector scores its episodes or steps, the worst are left out, weighted down or repaired, and the same policy is
trained with the same seeds on every side. With Y the score of a seed::

    gap          Y(clean) - Y(contaminated)            what there is to win
    gain         Y(curated) - Y(contaminated)
    over random  Y(curated) - Y(random)                what counts: as much was acted on, but at random
    recovered    mean gain / mean gap                  1: as if nothing had been spoiled

Intervals are those of the sign-flip test over seeds, that of the recovered share by Fieller's construction; it is given only where the
interval of the gap lies above 0. Whether a detector is better than random is tested for all of them together (Holm). Published:
a detector of AUROC .804 gave 13.3 % success, one of .638 gave 90.0 % (arXiv 2606.10229, abstract), so that detection need not say much
about the benefit; `relation` measures how much it does here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.analysis.associations import spearman
from assay.analysis.runs import Folders, read_folders
from assay.analysis.trials.comparison import Rules, compare
from assay.analysis.trials.finished_runs import Scores, cells_of, references_by_task, scores_of, unit_of
from assay.analysis.trials.multiplicity import holm
from assay.analysis.trials.sign_flip import sign_flip_interval, sign_flip_ratio_interval
from assay.datasets.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurationResult", "curation", "curation_scores", "side_of"]

DETECTION = ("auroc", "average_precision", "auroc_of_equal_length", "auroc_beyond_length", "length_correlation")
"""Columns of detection, as `assay.corruption.detection` names them."""
_SEPARATOR = " / "
_RANDOM, _ORACLE = "random", "oracle"
_CELL = ("task", "algorithm", "defect")
_SCORES: dict[str, Any] = {
    **dict.fromkeys(("task", "algorithm", "defect", "detector", "action"), pl.String),
    "seed": pl.Int64,
    "score": pl.Float64,
    "unit": pl.String,
}
_TABLE: dict[str, Any] = {
    **dict.fromkeys(("task", "algorithm", "defect", "detector", "action"), pl.String),
    **dict.fromkeys(DETECTION, pl.Float64),
    "seeds": pl.Int64,
    **dict.fromkeys(("clean", "contaminated", "curated", "random", "oracle"), pl.Float64),
    **{
        f"{name}{end}": pl.Float64
        for name in ("gap", "gain", "over_random", "recovered")
        for end in ("", "_low", "_high")
    },
    "p_value": pl.Float64,
    "adjusted_p_value": pl.Float64,
    "comparisons": pl.Int64,
    "verdict": pl.String,
    "smallest_difference": pl.Float64,
    "unit": pl.String,
}
_RESAMPLES = 2_000
_FEWEST_CELLS, _FEWEST_POINTS = 5, 3


def side_of(variant: str) -> tuple[str, str, str]:
    """Return the defect, the detector and the action of a variant's name; the last two are empty for contaminated data.

    Examples
    --------
    >>> side_of("noisy actions / dynamics / drop"), side_of("noisy actions")
    (('noisy actions', 'dynamics', 'drop'), ('noisy actions', '', ''))
    """
    parts = variant.split(_SEPARATOR)
    if len(parts) not in (1, 3):
        raise ConfigError(f"variant {variant!r} is no side of a curation audit: DEFECT, or DEFECT / DETECTOR / ACTION")
    defect, detector, action = (*parts, "", "")[:3]
    return defect, detector, action


def curation_scores(runs: Folders, clean: str = "clean") -> pl.DataFrame:
    """Read the scores of the runs of an audit.

    Parameters
    ----------
    runs : path or sequence of paths
        Folders of runs, such as those of `suites/curation.yaml`.
    clean : str
        What the clean variant is called.

    Returns
    -------
    polars.DataFrame
        task, algorithm, defect (empty: clean), detector and action (empty: contaminated), seed, score (the mean over start
        states), unit.

    Raises
    ------
    ConfigError
        If a run did not end, a variant is no side of an audit, or no run is on clean data.
    """
    cells = cells_of(read_folders(runs), clean)
    references = references_by_task(cells)
    rows: list[tuple[Any, ...]] = []
    for cell, found in cells.items():
        side = ("", "", "") if cell.variant == clean else side_of(cell.variant)
        scores, unit = scores_of(found, references[cell.task]), unit_of(references[cell.task])
        rows += [(cell.task, cell.algorithm, *side, *pair, unit) for pair in _by_seed(scores)]
    return pl.DataFrame(rows, schema=_SCORES, orient="row")


def _by_seed(scores: Scores) -> Iterator[tuple[int, float]]:
    return zip(scores.seeds, scores.values.mean(1).tolist(), strict=True)


def curation(
    scores: pl.DataFrame, detections: pl.DataFrame | None = None, *, alpha: float = 0.05, power: float = 0.8
) -> CurationResult:
    """Compare every curated side with the contaminated, the clean and the random one.

    `assay.audit` calls it with the runs of a suite.

    Parameters
    ----------
    scores : polars.DataFrame
        As from `curation_scores`. Detectors called `oracle` act on the ground truth; those that begin with `random` are choices of the
        same size at random, and their mean is what the others are compared with.
    detections : polars.DataFrame, optional
        task, defect, detector and the columns of `DETECTION`: how well each detector finds the defect.
    alpha, power : float
        1 - alpha is the coverage of every interval, and the error rate of all verdicts together; `power` belongs to the smallest
        detectable difference.

    Returns
    -------
    CurationResult

    Raises
    ------
    ConfigError
        If a side lacks the clean, contaminated or random one, or has other seeds.

    Examples
    --------
    >>> sides = {("", "", ""): 90, ("noise", "", ""): 50, ("noise", "random 1", "drop"): 52, ("noise", "jerk", "drop"): 80}
    >>> rows = [("task", "bc", *side, seed, score + (seed * 7919 % 5), "score points")
    ...         for side, score in sides.items() for seed in range(8)]
    >>> names = ["task", "algorithm", "defect", "detector", "action", "seed", "score", "unit"]
    >>> row = curation(pl.DataFrame(rows, schema=names, orient="row")).table.row(0, named=True)
    >>> row["detector"], row["recovered"], row["over_random"], row["verdict"]
    ('jerk', 0.75, 28.0, 'better')
    """
    rules = Rules(alpha=alpha, power=power, multiplicity="none")
    rows = [row for sides in _Sides.all_of(scores) for row in sides.rows(rules)]
    tested = [row for row in rows if row["p_value"] is not None and row["detector"] not in (_RANDOM, _ORACLE)]
    for row, adjusted in zip(tested, holm([row["p_value"] for row in tested]).tolist(), strict=True):
        row["adjusted_p_value"], row["comparisons"] = min(1.0, adjusted), len(tested)
        row["verdict"] = "not shown" if adjusted > alpha else "better" if row["over_random"] > 0 else "worse"
    table = pl.DataFrame(rows, schema={name: kind for name, kind in _TABLE.items() if name not in DETECTION})
    keys = ["task", "defect", "detector"]
    if detections is None:
        table = table.with_columns(pl.lit(None, pl.Float64).alias(name) for name in DETECTION)
    else:
        known = detections.with_columns(_pooled_name(pl.col("detector")).alias("detector"))
        known = known.group_by(keys).agg(pl.col(name).fill_nan(None).mean() for name in DETECTION)
        table = table.join(known, on=keys, how="left", maintain_order="left")
    return CurationResult(table.select(*_TABLE), alpha, power)


def _pooled_name(detector: pl.Expr) -> pl.Expr:
    """Call every random choice by one name."""
    return pl.when(detector.str.starts_with(_RANDOM)).then(pl.lit(_RANDOM)).otherwise(detector)


@dataclass(frozen=True)
class _Sides:
    """The scores of one task, algorithm and defect: (seeds,) each, in the order of the seeds."""

    cell: tuple[str, str, str]
    unit: str
    clean: np.ndarray
    contaminated: np.ndarray
    curated: Mapping[tuple[str, str], np.ndarray]  # (detector, action) -> scores

    @classmethod
    def all_of(cls, scores: pl.DataFrame) -> list[_Sides]:
        """Return them of every cell, refusing sides that are missing or have other seeds."""
        if missing := [name for name in _SCORES if name not in scores.columns]:
            raise ConfigError(f"the scores of an audit need a column {missing[0]!r}; see curation_scores")
        found = []
        for (task, algorithm), group in scores.group_by("task", "algorithm", maintain_order=True):
            sides: dict[tuple[str, ...], pl.DataFrame] = {
                key: part.sort("seed")
                for key, part in group.group_by("defect", "detector", "action", maintain_order=True)
            }
            seeds = next(iter(sides.values()))["seed"].to_list()
            for key, part in sides.items():
                if part["seed"].to_list() != seeds:
                    raise ConfigError(
                        f"{algorithm} on {task}: {_SEPARATOR.join(filter(None, key)) or 'clean'} has runs with seeds "
                        f"{part['seed'].to_list()}, and others with {seeds}; finish the suite first"
                    )
            values = {key: part["score"].to_numpy() for key, part in sides.items()}
            if ("", "", "") not in values:
                raise ConfigError(f"{algorithm} on {task} has no run on clean data")
            for defect in dict.fromkeys(key[0] for key in values if key[0]):
                if (defect, "", "") not in values:
                    raise ConfigError(f"{algorithm} on {task} has no run on {defect!r} itself, the contaminated data")
                curated = {key[1:]: part for key, part in values.items() if key[0] == defect and key[1]}
                cell = str(task), str(algorithm), defect
                unit = str(group["unit"][0])
                found.append(cls(cell, unit, values["", "", ""], values[defect, "", ""], curated))  # type: ignore[arg-type]
        if not found:
            raise ConfigError("there is no contaminated data among the runs; an audit needs a defect")
        return found

    def rows(self, rules: Rules) -> Iterator[dict[str, Any]]:
        """Return the row of every detector and action, and at last those of the controls."""
        for action in dict.fromkeys(action for _, action in self.curated):
            sides = {detector: values for (detector, of), values in self.curated.items() if of == action}
            draws = [values for name, values in sides.items() if name.startswith(_RANDOM)]
            if not draws:
                raise ConfigError(f"{' / '.join(self.cell)}: {action} has no random choice to compare with")
            random, oracle = np.mean(draws, axis=0), sides.pop(_ORACLE, None)
            sides = {name: values for name, values in sides.items() if not name.startswith(_RANDOM)}
            controls = {_RANDOM: random} if oracle is None else {_ORACLE: oracle, _RANDOM: random}
            for name, values in {**sides, **controls}.items():
                yield self._row(name, action, values, random, oracle, rules)

    def _row(
        self,
        detector: str,
        action: str,
        values: np.ndarray,
        random: np.ndarray,
        oracle: np.ndarray | None,
        rules: Rules,
    ) -> dict[str, Any]:
        gap, gain = self.clean - self.contaminated, values - self.contaminated
        row: dict[str, Any] = dict(zip(_CELL, self.cell, strict=True)) | {"detector": detector, "action": action}
        row |= {"seeds": len(values), "unit": self.unit, "oracle": None if oracle is None else oracle.mean()}
        means = {"clean": self.clean, "contaminated": self.contaminated, "curated": values, "random": random}
        row |= {name: float(part.mean()) for name, part in means.items()}
        row |= _with_interval("gap", float(gap.mean()), sign_flip_interval(gap, rules.alpha))
        row |= _with_interval("gain", float(gain.mean()), sign_flip_interval(gain, rules.alpha))
        if row["gap_low"] is not None and row["gap_low"] > 0:
            ratio = float(gain.mean() / gap.mean())
            row |= _with_interval("recovered", ratio, sign_flip_ratio_interval(gain, gap, rules.alpha))
        if detector != _RANDOM:
            found = compare(random, values, rules)
            row |= _with_interval("over_random", found.difference, found.interval)
            row |= {"p_value": found.p_value, "smallest_difference": _finite(found.smallest_difference)}
        return {name: row.get(name) for name in _TABLE if name not in DETECTION}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _with_interval(name: str, value: float, interval: tuple[float, float]) -> dict[str, float | None]:
    return {name: value, f"{name}_low": _finite(interval[0]), f"{name}_high": _finite(interval[1])}


@dataclass(frozen=True)
class CurationResult:
    """What curation brought back, for every defect, detector and action.

    Parameters
    ----------
    table : polars.DataFrame
        One row per task, algorithm, defect, detector and action, the controls `oracle` and `random` after the others:

        - detection: `auroc`, `average_precision`, `auroc_of_equal_length`, `auroc_beyond_length`, `length_correlation`, as
          `assay.corruption.detection` has them;
        - mean scores: `clean`, `contaminated`, `curated`, `random`, `oracle`;
        - `gap`, `gain` and `over_random`, differences with the ends of their intervals (`_low`, `_high`), and `recovered`, the share
          of the gap, null where the gap is not shown to be above 0;
        - `p_value` and `adjusted_p_value` of `over_random`, the `verdict` (`"better"`, `"worse"` than random, or `"not shown"`) by the
          latter, the number of `comparisons` that it is for, and the `smallest_difference` from random that one comparison of so many
          seeds shows with probability `power`.
    alpha, power : float
    """

    table: pl.DataFrame
    alpha: float = 0.05
    power: float = 0.8

    @property
    def detectors(self) -> pl.DataFrame:
        """The table without the controls."""
        return self.table.filter(~pl.col("detector").is_in([_RANDOM, _ORACLE]))

    def relation(self, detection: str = "auroc_beyond_length", benefit: str = "recovered") -> pl.DataFrame:
        """Correlate detection and benefit by ranks (Spearman).

        Parameters
        ----------
        detection : str
            Column of the table.
        benefit : "recovered", "over_random" or "gain"

        Returns
        -------
        polars.DataFrame
            Two rows, of all `points` together (`"all"`) and of those of the same task, algorithm, defect and action (`"within"`, the
            mean over them): compared, correlation, low, high, points, cells. The 95 % interval is a bootstrap over cells, tasks with
            an algorithm and a defect, because what shares contaminated data is not independent. It is null with fewer than five.

        Raises
        ------
        UnknownNameError, ConfigError
            If there is no such column, or too few points have both.
        """
        for name in (detection, benefit):
            if name not in _TABLE:
                raise UnknownNameError("column", name, _TABLE)
        known = self.detectors.drop_nulls([detection, benefit])
        if known.height < _FEWEST_POINTS:
            raise ConfigError(
                f"{known.height} detectors have both {detection} and {benefit}; three are needed for a correlation"
            )
        groups = [part.select("action", detection, benefit) for part in known.partition_by(_CELL, maintain_order=True)]
        rng = np.random.default_rng(0)
        chosen = rng.integers(0, len(groups), (_RESAMPLES, len(groups)))
        rows = []
        for compared, (prepare, statistic) in _RELATIONS.items():
            parts = [prepare(group) for group in groups]
            low = high = None
            if len(groups) >= _FEWEST_CELLS:
                drawn = np.array([statistic([parts[cell] for cell in cells]) for cells in chosen])
                if np.isfinite(drawn).any():
                    low, high = (float(end) for end in np.nanquantile(drawn, (0.025, 0.975)))
            value = _finite(statistic(parts))
            rows.append((compared, value, low, high, known.height, len(groups)))
        schema = {"compared": pl.String, **dict.fromkeys(("correlation", "low", "high"), pl.Float64)}
        return pl.DataFrame(rows, schema={**schema, "points": pl.Int64, "cells": pl.Int64}, orient="row")

    def plot(self, *, width_pixels: int = 680) -> Figure:
        """Draw detection against benefit; see `assay.analysis.figures.detection_against_benefit`."""
        from assay.analysis.figures import detection_against_benefit

        return detection_against_benefit(self.table, width_pixels=width_pixels)

    @property
    def sentences(self) -> list[str]:
        """What was found, and over how many comparisons."""
        tested, cells = self.detectors, self.table.unique(["task", "algorithm", "defect"])
        counts = {name: tested.filter(pl.col("verdict") == name).height for name in ("better", "worse", "not shown")}
        opened = cells.filter(pl.col("gap_low") > 0).height
        lines = [
            f"{opened} of {cells.height} defects cost something that {int(self.table['seeds'].max())} seeds show."  # type: ignore[arg-type]
            " Only there is a share recovered.",
            f"Better than as much at random: {counts['better']} of {tested.height} detectors and actions, worse: {counts['worse']}, "
            f"not shown: {counts['not shown']} (all together wrong with probability {self.alpha:g} at most, Holm).",
        ]
        agreed, choices = self._best_of_detection_is_best()
        if choices:
            lines.append(f"The detector of the highest AUROC had the highest score in {agreed} of {choices} choices.")
        try:
            related = self.relation().row(0, named=True)
        except ConfigError:
            return lines
        between = "" if related["low"] is None else f" ({related['low']:+.2f} to {related['high']:+.2f})"
        return [
            *lines,
            f"Detection and recovered share are correlated by {_signed(related['correlation'])}{between}, {related['points']} points of "
            f"{related['cells']} cells.",
        ]

    def _best_of_detection_is_best(self) -> tuple[int, int]:
        """Return in how many choices the best detector gave the best score, and the number of choices with two or more."""
        agreed = choices = 0
        known = self.detectors.drop_nulls("auroc_beyond_length")
        for _, group in known.group_by(*_CELL, "action", maintain_order=True):
            if group.height > 1:
                choices += 1
                found = group.filter(pl.col("auroc_beyond_length") == pl.col("auroc_beyond_length").max())
                agreed += found["curated"].max() == group["curated"].max()
        return agreed, choices

    def __str__(self) -> str:
        shown = self.table.select(
            "task",
            "defect",
            "detector",
            "action",
            "auroc",
            "auroc_beyond_length",
            "recovered",
            "over_random",
            "verdict",
        )
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=140, float_precision=2, tbl_hide_dataframe_shape=True):
            return "\n".join([*self.sentences, str(shown)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        return "".join(f"<p>{escape(line)}</p>" for line in self.sentences) + self.table._repr_html_()


def _signed(value: float | None) -> str:
    return "nothing that is known" if value is None else f"{value:+.2f}"


def _points(group: pl.DataFrame) -> np.ndarray:
    """Return detection and benefit, (2, points)."""
    return group.drop("action").to_numpy().T


def _of_all(parts: Sequence[np.ndarray]) -> float:
    """Return the correlation of all points together."""
    x, y = np.concatenate(parts, axis=1)
    return float(spearman(x, y))


def _correlations(group: pl.DataFrame) -> np.ndarray:
    """Return correlation and weight, the points less one, of every action, (actions, 2); NaN for fewer than three points."""
    found = [part.drop("action").to_numpy().T for part in group.partition_by("action", maintain_order=True)]
    return np.array([(float(spearman(x, y)) if len(x) >= _FEWEST_POINTS else np.nan, len(x) - 1.0) for x, y in found])


def _mean_of_known(parts: Sequence[np.ndarray]) -> float:
    """Return the weighted mean of the correlations that are known."""
    values, weights = np.concatenate(parts).T
    known = np.isfinite(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else math.nan


_RELATIONS: Mapping[str, tuple[Callable[[pl.DataFrame], np.ndarray], Callable[[Sequence[np.ndarray]], float]]] = {
    "all": (_points, _of_all),
    "within": (_correlations, _mean_of_known),
}
"""What is prepared of each cell once, and the statistic of cells that are drawn."""
