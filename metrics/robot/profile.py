"""All checks of a recording, as a table per episode and as findings.

A defect beyond its limit is an error, a risk beyond its limit is a "risk": it never fails a dataset unless one asks for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.validation import Finding, Severity, ValidationReport, validate
from assay.metrics.robot.checks import Recording, RobotChecks, Score, episode_checks
from assay.metrics.robot.episode_table import EpisodeTable

__all__ = ["ROBOT", "as_settings", "episode_scores", "failed_episodes", "robot_table", "validate_robot"]

ROBOT = "robot"
"""Name of the profile: all checks."""
_REPLACED = ("frozen", "timestamps", "near-duplicate episodes")  # plain checks that the profile has in more detail
_WORST = 3  # dimensions that a finding names


def as_settings(settings: RobotChecks | Mapping[str, Any] | None) -> RobotChecks:
    """Return settings of checks, from a mapping of its fields where they are one.

    Raises
    ------
    ConfigError
        If a field is unknown or impossible.
    """
    if isinstance(settings, RobotChecks):
        return settings
    if not isinstance(settings, Mapping | None):
        raise ConfigError(f"checks must be RobotChecks or a mapping of its fields, not {type(settings).__name__}")
    known = [field.name for field in dataclasses.fields(RobotChecks)]
    for name in settings or {}:
        if name not in known:
            raise UnknownNameError("setting of checks", str(name), known)
    return RobotChecks(**(settings or {}))


def episode_scores(
    dataset: Dataset, settings: RobotChecks, select: Iterable[str] | None = None
) -> tuple[list[Score], dict[str, str]]:
    """Return the scores of the selected checks, and why others could not be computed."""
    recording = Recording(dataset, settings.state, settings.dimensions, settings.rate, settings=settings)
    if settings.state is not None or settings.dimensions is not None:
        _ = recording.chosen  # a wrong name is an error, not a check that is left out
    scores: list[Score] = []
    skipped: dict[str, str] = {}
    for name, check in episode_checks().items():
        if select is not None and name not in select:
            continue
        try:
            scores += check(recording)
        except DatasetError as error:
            skipped[name] = str(error)
    known = {score.metric for score in scores}
    for metric in settings.limits:
        if select is None and metric not in known and metric not in _all_metrics(known):
            raise UnknownNameError("metric with a limit", metric, known)
    limits = settings.limits
    return [
        dataclasses.replace(score, limit=limits[score.metric], kind=score.kind or "risk")
        if score.metric in limits
        else score
        for score in scores
    ], skipped


def _all_metrics(known: set[str]) -> set[str]:
    """Return the metrics that only some datasets have, so that one file of limits serves several datasets."""
    return known | {
        *("duration", "return", "steps_back", "repeated_stamps", "gaps", "jitter", "rate_error", "frozen", "held"),
        *("saturation", "chatter", "gripper_chatter", "action_lag", "skew", "drift", "success_at_end", "unchanging"),
        *("action_is_absolute", "action_is_relative", "action_is_velocity"),
    }


def robot_table(
    dataset: Dataset, select: Sequence[str] | None = None, settings: RobotChecks | Mapping[str, Any] | None = None
) -> EpisodeTable:
    """Return the table of the robot checks: all of them, or those of some names of checks or metrics."""
    chosen = as_settings(settings)
    checks = episode_checks()
    if select is None:
        scores, skipped = episode_scores(dataset, chosen)
        return EpisodeTable(scores, dataset.episode_lengths, skipped)
    whole = [name for name in select if name in checks]
    single = [name for name in select if name not in checks]
    scores, skipped = episode_scores(dataset, chosen, None if single else whole)
    owners = {score.metric for score in scores}
    for name in single:
        if name not in owners:
            raise UnknownNameError("metric of episodes", name, {*owners, *checks})
    if single:
        inside = {item.metric for item in episode_scores(dataset, chosen, whole)[0]} if whole else set()
        scores = [score for score in scores if score.metric in {*single, *inside}]
    return EpisodeTable(scores, dataset.episode_lengths, skipped)


def failed_episodes(
    dataset: Dataset, metrics: Sequence[str], settings: RobotChecks | Mapping[str, Any] | None = None
) -> list[int]:
    """Return the numbers of the episodes that any of some metrics flags, in order.

    Raises
    ------
    UnknownNameError
        If the dataset has no such metric.
    """
    table = robot_table(dataset, list(metrics), settings)
    return sorted(set(table.filter("flagged")["episode"].to_list()))


def validate_robot(
    dataset: Dataset, settings: RobotChecks | Mapping[str, Any] | None = None, table: EpisodeTable | None = None
) -> ValidationReport:
    """Check a dataset as `validate` does, and as a recording of a robot.

    Parameters
    ----------
    dataset : Dataset
    settings : RobotChecks or mapping of its fields, optional
    table : EpisodeTable, optional
        The result of `assess(dataset, per="episode", select="robot")`, where it is there already.

    Returns
    -------
    ValidationReport
        Defects are errors, risks have the severity "risk". Demonstrations often have no end flags: that is a warning here. Formats of
        robots record as many observations as actions: final observations that are not there are a note.

    Examples
    --------
    >>> time = np.array([0.0, 0.1, 0.05, 0.2])
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 2.0, 3.0, 4.0]), actions=np.zeros(4), rewards=np.ones(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool), columns={"time": time})
    >>> [finding.check for finding in validate_robot(dataset).findings if finding.severity == "error"]
    ['steps_back']
    """
    plain = validate(dataset)
    table = robot_table(dataset, settings=settings) if table is None else table
    findings = [_softened(finding) for finding in plain.findings if finding.check not in _REPLACED]
    findings += [finding for score in table.scores if (finding := _finding(score)) is not None]
    order = ("error", "warning", "risk", "note")
    findings.sort(key=lambda finding: order.index(finding.severity))
    ran = [name for name in plain.checks if name not in _REPLACED]
    ran += dict.fromkeys(score.metric for score in table.scores if score.kind is not None)
    return ValidationReport(tuple(findings), tuple(ran))


_SOFTENED: Mapping[str, Severity] = {"episode end": "warning", "final observation": "note"}


def _softened(finding: Finding) -> Finding:
    return dataclasses.replace(finding, severity=_SOFTENED.get(finding.check, finding.severity))


def _finding(score: Score) -> Finding | None:
    flagged = score.flagged()
    if not flagged.any():
        return None
    by_episode = np.asarray(flagged.reshape(len(flagged), -1).any(axis=1))
    signed = np.where(flagged, score.values if score.worse == "higher" else -score.values, -np.inf)
    worst = np.unravel_index(int(signed.argmax()), signed.shape)
    episode, value = int(worst[0]), float(score.values[worst])
    side = "above" if score.worse == "higher" else "below"
    message = f"{by_episode.sum():,} of {len(by_episode):,} episodes are {side} {score.limit:.4g} {score.unit}"
    if flagged.ndim == 2:
        counts = flagged.sum(axis=0)
        listed = [score.dimensions[index] for index in np.argsort(-counts, kind="stable")[:_WORST] if counts[index]]
        message += f" in {', '.join(listed)}" + (", ..." if (counts > 0).sum() > _WORST else "")
    message += f"; the worst is {value:.4g}" + (f" ({score.definition})" if score.definition else "")
    row = None if score.rows is None or score.rows[worst] < 0 else int(score.rows[worst])
    severity = "error" if score.kind == "defect" else "risk"
    return Finding(score.metric, severity, message, score.column, episode, row, int(by_episode.sum()))  # type: ignore[arg-type]
