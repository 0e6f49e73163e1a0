"""What is known about a dataset besides its arrays: where it comes from, its spaces, its scale of scores, its history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from assay.datasets.d4rl_table import d4rl_table
from assay.datasets.environments.record import families
from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.spaces import Space, space_from_json, space_to_json

SOURCE, CONCATENATE = "source", "datasets.concatenate"  # records that a history may begin with
SELECT, INFO, BY_HAND = "datasets.select", "datasets.info", "datasets.replace"

__all__ = ["DatasetInfo", "Record", "ReferenceScores", "reference_scores"]


@dataclass(frozen=True)
class ReferenceScores:
    """The two returns that map to the scores 0 and 100, and whose they are.

    Parameters
    ----------
    random, expert : float
        Undiscounted returns of a random and of an expert policy.
    source : str
        Where the two numbers come from, in words; shown wherever a score is shown.

    Examples
    --------
    >>> ReferenceScores(random=-20.0, expert=3180.0, source="example").normalize(1580.0)
    50.0
    """

    random: float
    expert: float
    source: str

    def normalize(self, returns: Any) -> Any:
        """Map returns to D4RL scores, 100 (R - random) / (expert - random) (Fu et al. 2020, arXiv 2004.07219)."""
        return 100.0 * (returns - self.random) / (self.expert - self.random)


_D4RL = "D4RL {body} references (random {random:g}, expert {expert:g}; d4rl/infos.py), used on {id}"
_D4RL_ID = "D4RL {id} references (random {random:g}, expert {expert:g}; d4rl/infos.py)"


def reference_scores(environment_id: str) -> ReferenceScores | None:
    """Return D4RL's references for one of its ids or for a MuJoCo body, or None; the source says which.

    Examples
    --------
    >>> reference_scores("antmaze-umaze-v2").source
    'D4RL antmaze-umaze-v2 references (random 0, expert 1; d4rl/infos.py)'
    >>> reference_scores("Hopper-v5").expert
    3234.3
    >>> reference_scores("MountainCar-v0") is None
    True
    """
    entry = d4rl_table().get(environment_id)
    if entry is not None:
        if entry.random is None or entry.expert is None:
            return None
        source = _D4RL_ID.format(id=environment_id, random=entry.random, expert=entry.expert)
        return ReferenceScores(entry.random, entry.expert, source)
    body, _, version = environment_id.rpartition("-v")
    known = {  # one pair per body, whatever the version of the environment
        record.environment_id.rpartition("-v")[0]: record.reference_returns
        for family in families()
        for record in family.environments
        if record.reference_returns is not None
    }
    if body not in known or not version.isdigit():
        return None
    random, expert = known[body]
    library = f"Gymnasium {environment_id}" if int(version) >= 4 else f"Gym {environment_id}"
    return ReferenceScores(random, expert, _D4RL.format(body=body.lower(), random=random, expert=expert, id=library))


@dataclass(frozen=True)
class Record:
    """One step of a dataset's history: a source, or a transform that was applied.

    Parameters
    ----------
    transform : str
        `"source"` for the first record, otherwise the registered name, such as `"corruption.random"`.
    parameters : mapping
        The fields of the transform, as JSON values; enough to apply it again.
    seed : int or None
        The seed among them, if it has one.
    parent : str or None
        Fingerprint of the dataset that it was applied to; None for a source.
    version : str
        Version of Assay that applied it.
    fingerprint : str or None
        Fingerprint of the dataset that came of it; None where it was not computed, as for a selection.
    """

    transform: str
    parameters: Mapping[str, Any]
    seed: int | None = None
    parent: str | None = None
    version: str = ""
    fingerprint: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Record:
        """Build a record from what `to_plain` returned."""
        try:
            record = cls(**plain)
        except TypeError as error:
            raise FormatError(f"not a history record: {error}") from error
        if not isinstance(record.transform, str) or not isinstance(record.parameters, Mapping):
            raise FormatError("not a history record: it needs the name of a transform and a mapping of its parameters")
        return record

    @classmethod
    def history_from_plain(cls, plain: Any) -> tuple[Record, ...]:
        """Build a history from the list of what `to_plain` returned."""
        if not isinstance(plain, list):
            raise FormatError(f"a history is a list of records, not {type(plain).__name__}")
        return tuple(cls.from_plain(record) for record in plain)


@dataclass(frozen=True)
class DatasetInfo:
    """Where a dataset comes from and how its numbers are to be read. Every field may be unknown (None or empty)."""

    id: str = ""
    observation_space: Space | None = None
    action_space: Space | None = None
    env_spec: str | None = None  # gymnasium EnvSpec as JSON
    reference_scores: ReferenceScores | None = None
    description: str = ""
    algorithm: str = ""
    authors: tuple[str, ...] = ()
    author_emails: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    code: str = ""
    requirements: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)  # what a format holds beyond these, as JSON values
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # column -> a name for each number of a row
    units: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # column -> a unit for each, "" where unknown

    def __post_init__(self) -> None:
        for key in ("names", "units"):
            object.__setattr__(self, key, _texts_by_column(getattr(self, key), key))

    @property
    def environment_id(self) -> str | None:
        """Id of the environment, such as `"Hopper-v5"`, or None."""
        if self.env_spec is None:
            return None
        try:
            return str(json.loads(self.env_spec)["id"])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def references(self) -> ReferenceScores | None:
        """The reference scores that came with the data, else D4RL's for the environment's body, else None."""
        if self.reference_scores is not None or self.environment_id is None:
            return self.reference_scores
        return reference_scores(self.environment_id)

    def to_plain(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        for key in ("observation_space", "action_space"):
            plain[key] = None if plain[key] is None else space_to_json(plain[key])
        if self.reference_scores is not None:
            plain["reference_scores"] = asdict(self.reference_scores)
        for key in ("names", "units"):
            plain[key] = {column: list(texts) for column, texts in plain[key].items()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> DatasetInfo:
        """Build the info from what `to_plain` returned."""
        values = dict(plain)
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise FormatError(f"unknown fields in the dataset info: {', '.join(sorted(unknown))}")
        for key in ("observation_space", "action_space"):
            if values.get(key) is not None:
                values[key] = space_from_json(values[key])
        for key in ("authors", "author_emails", "requirements"):
            values[key] = tuple(values.get(key, ()))
        if values.get("reference_scores") is not None:
            values["reference_scores"] = ReferenceScores(**values["reference_scores"])
        try:
            return cls(**values)
        except DatasetError as error:
            raise FormatError(str(error)) from error


def _texts_by_column(given: Any, key: str) -> dict[str, tuple[str, ...]]:
    wanted = f"info.{key} must be a mapping of columns to lists of texts, one text for each number of a row"
    if not isinstance(given, Mapping):
        raise DatasetError(f"{wanted}, not {type(given).__name__}")
    for column, texts in given.items():
        if (
            isinstance(texts, str)
            or not isinstance(texts, list | tuple)
            or not all(isinstance(text, str) for text in texts)
        ):
            raise DatasetError(f"{wanted}; that of {column} is {texts!r}")
    return {str(column): tuple(texts) for column, texts in given.items()}


def assay_version() -> str:
    """Return the version that writes records; looked up when needed, because `assay` is still being imported before."""
    from assay import __version__

    return __version__


def json_value(value: Any) -> Any:
    """Turn NumPy scalars, arrays and tuples into the JSON values that stand for them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value
