"""The curation audit: what detectors find, and what acting on it brings back.

It uses `assay.corruption` and `assay.analysis` together, which do not know each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from assay.analysis.runs import read_folders
from assay.analysis.trials.curation import DETECTION, CurationResult, curation, curation_scores, side_of
from assay.analysis.trials.finished_runs import cells_of
from assay.baselines.runs.reader import StoredRun
from assay.corruption.repair.detection import detection
from assay.corruption.repair.filters import Filter
from assay.datasets.errors import ConfigError
from assay.datasets.history import replay
from assay.datasets.info import Record
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.datasets.transform import Transform, make_transform, registered

if TYPE_CHECKING:
    from assay.analysis.runs import Folders

__all__ = ["audit", "detections_of"]

_TITLE = "scoring detectors"


def audit(
    runs: Folders,
    *,
    clean: str = "clean",
    alpha: float = 0.05,
    power: float = 0.8,
    progress: Progress | Auto | None = "auto",
) -> CurationResult:
    """Audit curation: how well detectors find a known defect, and what acting on what they find brings back.

    Parameters
    ----------
    runs : path or sequence of paths
        Folders of runs of a suite whose variants are the sides of an audit, as `corruption.curation` makes them; such as those of
        `suites/curation.yaml`.
    clean : str
        What the clean variant is called.
    alpha, power : float
        See `assay.analysis.trials.curation.curation`.
    progress : callable, optional
        Called with (done, total) while the detectors are scored; see `assay.datasets.progress`.

    Returns
    -------
    CurationResult
        `.table` has a row per task, defect, detector and action, `.relation()` says whether detection goes with benefit, `.plot()`
        draws one against the other, and `print` shows it all.

    Raises
    ------
    ConfigError
        If a run did not end, a side is missing, or the data of a side cannot be made again from its history.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import Suite, run_suite
    >>> noise = [{"corruption.random": {"element": "actions", "granularity": "trajectory", "count": "exact"}}]
    >>> sides = {"defects": {"noise": noise}, "detectors": {"jumps": {"of": "return", "worse": "lower"}}, "draws": 1}
    >>> suite = Suite.from_plain({
    ...     "name": "example", "source": "pendulum/random", "seeds": [0, 1], "evaluation": {"episodes": 1},
    ...     "variants": {"clean": [], "audit": {"corruption.curation": sides}}, "algorithms": {"bc": {"hidden": [4]}},
    ...     "budgets": {"smoke": {"steps": 4, "dataset_steps": 1000}}})
    >>> folder = tempfile.mkdtemp()
    >>> _ = run_suite(suite, "smoke", runs=folder, workers=0)
    >>> assay.audit(folder).table.select("defect", "detector", "auroc").rows()[1]
    ('noise', 'oracle', 1.0)
    """
    stored = read_folders(runs)
    scores = curation_scores(runs, clean)
    return curation(scores, detections_of(stored, clean, progress), alpha=alpha, power=power)


def detections_of(
    runs: Sequence[StoredRun], clean: str = "clean", progress: Progress | Auto | None = None
) -> pl.DataFrame:
    """Score the detectors of the curated sides among some runs, each once.

    The data of a side is made again from its history up to the filter, which is then asked for its scores only.

    Returns
    -------
    polars.DataFrame
        task, defect, detector, per ("episode" or "step"), auroc, average_precision, auroc_of_equal_length, auroc_beyond_length,
        length_correlation.
    """
    sides = dict(_sides(runs, clean))
    rows = []
    with reporting(progress, _TITLE, counted(_TITLE)) as report:
        for done, (key, history) in enumerate(sides.items()):
            if report is not None:
                report(done, len(sides))
            rows.append({**dict(zip(("task", "defect", "detector"), key, strict=True)), **_detection(history, key)})
    schema = {**dict.fromkeys(("task", "defect", "detector", "per"), pl.String), **dict.fromkeys(DETECTION, pl.Float64)}
    return pl.DataFrame(rows, schema=schema)


def _sides(runs: Sequence[StoredRun], clean: str) -> Iterator[tuple[tuple[str, str, str], tuple[Record, ...]]]:
    """Yield task, defect and detector of every curated side, and the history of its data."""
    for cell, found in cells_of(runs, clean).items():
        if cell.variant != clean:
            defect, detector, _ = side_of(cell.variant)
            if detector:
                yield (cell.task, defect, detector), Record.history_from_plain(found[0].dataset.get("history"))


def _detection(history: Sequence[Record], side: tuple[str, str, str]) -> Mapping[str, Any]:
    """Return how well the last filter of a history finds what is marked as corrupted in the data before it."""
    filters = [number for number, record in enumerate(history) if _is_filter(record)]
    if not filters:
        raise ConfigError(f"{' / '.join(side)}: no filter acts on this data, so there is no detector to score")
    record = history[filters[-1]]
    detector: Any = make_transform(record.transform, record.parameters)
    before = replay(history[: filters[-1]])
    flagged = replace(detector, action="flag")(before)
    per: Literal["step", "episode"] = getattr(detector, "per", "step")
    found = detection(flagged, detector.label, truth="any", per=per)
    return {"per": per} | {name: getattr(found, name) for name in DETECTION}


def _is_filter(record: Record) -> bool:
    kind: type[Transform] | None = registered().get(record.transform)
    return kind is not None and issubclass(kind, Filter)
