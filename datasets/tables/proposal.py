"""A mapping proposed by looking at a source: names, constant columns, time, borders of episodes; as YAML to be edited.

Nothing is loaded by a proposal unless a person has seen it: what was decided by what stands beside each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.tables.arrow_values import is_text, row_shape, values_of
from assay.datasets.tables.clock import seconds_of
from assay.datasets.tables.episode_borders import starts_by_id
from assay.datasets.tables.table import FILE, JoinedTable, Table

__all__ = ["Field", "propose", "propose_for_table"]

SAMPLE_ROWS = 1 << 17
_MOST_CATEGORIES = 100  # different texts that are taken for categories
_GAP = 10.0  # median steps of time, from which on a pause is taken for the end of an episode
_LINE = 100
_ROLES = {  # role -> words that a name consists of, or ends with
    "next_observations": "next_observation next_observations next_obs next_state next_states",
    "observations": "observation observations obs state states question prompt context",
    "actions": "action actions act acts command commands cmd control controls ctrl u solution answer response arm item_id",
    "rewards": "reward rewards rew r click clicked is_correct score",
    "terminations": "termination terminations terminated terminal terminals done dones",
    "truncations": "truncation truncations truncated timeout timeouts",
    "costs": "cost costs",
    "episode": "episode episodes episode_id episode_index episode_number ep run run_id traj trajectory trajectory_id trial demo session rollout",
    "time": "time timestamp stamp t seconds secs",
    "index": "index seq row frame_index step step_id frame",
    "success": "success is_success succeeded solved",
    "propensity": "propensity propensity_score pscore",
}
_WORDS = {word: role for role, words in _ROLES.items() for word in words.split()}
_SINGLE = ("rewards", "terminations", "truncations", "costs", "time", "episode", "success", "propensity")


@dataclass(frozen=True)
class Field:
    """One name of a source, and its first rows.

    Parameters
    ----------
    name : str
    values : (n, ...) array
        Numbers, dates or texts; missing numbers are NaN.
    missing : float
        Share of the rows without a value.
    """

    name: str
    values: np.ndarray
    missing: float = 0.0

    @property
    def constant(self) -> bool:
        """Whether all rows are the same."""
        values = self.values
        if values.dtype.kind == "f" and np.isnan(values).all():
            return True
        return len(values) > 1 and bool((values == values[:1]).all())

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers or truth values."""
        return self.values.dtype.kind in "biuf"

    @property
    def role(self) -> str | None:
        """What the name says that it is, or None."""
        for part in reversed(self.name.split("/")):
            if "*" not in part and (role := _role_of(part)) is not None:
                return role
        return None


def _role_of(name: str) -> str | None:
    words = [word for word in re.split(r"[^a-z0-9]+", _spaced(name)) if word]
    for length in range(min(3, len(words)), 0, -1):
        if (role := _WORDS.get("_".join(words[-length:]))) is not None:
            return role
    while words and words[-1].isdigit():
        words.pop()
    return next((role for word in words if (role := _WORDS.get(word)) in ("actions", "next_observations")), None)


def _spaced(name: str) -> str:
    """Return a name in small letters, `jointPos3` as `joint_pos_3`."""
    return re.sub(r"(?<=[a-zA-Z])(?=\d)|(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass
class _Draft:
    columns: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)  # key -> why
    left: list[str] = field(default_factory=list)  # what is left out, and why


def propose(
    fields: Iterable[Field],
    *,
    where: object,
    rows: int,
    borders: str = "",
    known: Mapping[str, str] | None = None,
    reading: str = "",
) -> str:
    """Return a mapping as YAML, with the reasons as comments.

    Parameters
    ----------
    fields : iterable of Field
    where : object
        The source.
    rows : int
        How many it has.
    borders : str
        Why episodes are known already (a file, or a group, is one); empty where the columns must tell.
    known : mapping of str to str, optional
        Keys that the source itself decides.
    reading : str
        How the source is read, where that had to be found out.

    Raises
    ------
    FormatError
        If there are no rows.

    Examples
    --------
    >>> fields = [Field("t", np.arange(4.0)), Field("pos", np.arange(4)), Field("cmd", np.arange(4)), Field("kp", np.ones(4))]
    >>> print(propose(fields, where="run.csv", rows=4))
    # A mapping for run.csv (4 rows, 4 columns). Check it, save it as columns.yaml, and then:
    #     assay.load("run.csv", columns="columns.yaml")
    observations: [pos]  # the other numbers
    actions: cmd  # by its name
    # rewards: ...  # no column is called so; without them, metrics and methods that need rewards are left out
    time: t  # increases in every row, by 1 s in the median
    episode_lengths: all  # nothing tells episodes apart, so the file is taken for one
    # ends: truncated  # what the end of an episode means: truncated, terminated, or a column that says so
    # left out: kp (always 1)
    """
    fields = list(fields)
    if not rows and not any(len(item.values) for item in fields):
        raise FormatError(f"{where} holds no rows, so there is nothing to learn from")
    draft = _Draft()
    roles = _by_role(fields, draft)
    _time(roles, draft, whole=not borders)
    _label(roles, draft)
    _observe(fields, roles, draft)
    _borders(roles, draft, borders)
    if known:
        draft.columns |= dict(known)
    return _text(draft, where, rows, len(fields), reading)


def _by_role(fields: list[Field], draft: _Draft) -> dict[str, list[Field]]:
    roles: dict[str, list[Field]] = {}
    for item in fields:
        role = item.role
        if role in _SINGLE and item.values.ndim > 1 and item.values[0].size > 1:
            role = None
        counts = item.name in ("", "Unnamed: 0") or role == "index"
        if counts and item.numeric and item.values.ndim == 1 and _counts_rows(item.values):
            draft.left.append(f"{item.name or 'the column without a name'} (counts rows)")
        elif item.constant and role not in (
            "actions",
            "rewards",
            "episode",
            "propensity",
            "terminations",
            "truncations",
        ):
            draft.left.append(
                f"{item.name} (always {_shown(item.values[0])})" if item.values.size else f"{item.name} (empty)"
            )
        else:
            roles.setdefault(role or "", []).append(item)
    return roles


def _counts_rows(values: np.ndarray) -> bool:
    steps = np.diff(values)
    return bool(len(steps)) and bool(((steps == 1) | (values[1:] <= 1)).all())


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, np.floating) and not isinstance(value, np.ndarray) else str(value)
    return text if 0 < len(text) <= 24 else (f"{text[:21]}..." if text else "empty")


def _time(roles: dict[str, list[Field]], draft: _Draft, *, whole: bool) -> None:
    for item in roles.pop("time", []):
        if "time" in draft.columns:
            draft.left.append(f"{item.name} (another time)")
            continue
        try:
            unit = _unit(item.values)
            seconds, _ = seconds_of(item.values, unit, item.name)
        except DatasetError as error:
            draft.left.append(f"{item.name} ({error})")
            continue
        passed = np.diff(seconds)
        if len(passed) and (passed < 0).mean() > 0.5:
            draft.left.append(f"{item.name} (goes back more often than forth)")
            continue
        draft.columns["time"] = item.name
        if unit is not None:
            draft.columns["time_unit"] = unit
        median = float(np.median(passed)) if len(passed) else 0.0
        how = "increases in every row" if (passed > 0).all() else f"goes back {int((passed < 0).sum()):,} times"
        if not (passed < 0).any() and not (passed > 0).all():
            how = f"stands still in {int((passed == 0).sum()):,} rows"
        how = how if whole else "a stamp in every row, which grows"
        draft.notes["time"] = f"{how}, by {median:.3g} s in the median"
        draft.columns["_seconds"] = seconds


def _unit(stamps: np.ndarray) -> str | None:
    if stamps.dtype.kind not in "iuf" or not len(stamps):
        return None
    largest = float(np.nanmax(np.abs(stamps.astype(np.float64))))
    return next((unit for least, unit in ((1e17, "ns"), (1e14, "us"), (1e11, "ms")) if largest > least), None)


def _label(roles: dict[str, list[Field]], draft: _Draft) -> None:
    """Actions, rewards, flags and costs, by their names."""
    actions = roles.pop("actions", [])
    numbers = [item for item in actions if item.numeric]
    if actions:
        chosen = numbers or actions[:1]
        real = len(chosen) == 1 and chosen[0].values.ndim == 1 and chosen[0].values.dtype.kind == "f"
        draft.columns["actions"] = [chosen[0].name] if real else _names(chosen)
        draft.notes["actions"] = "by its name" if len(chosen) == 1 else "by their names"
        roles.setdefault("", []).extend(item for item in actions if item not in chosen)
    for role in ("rewards", "terminations", "truncations", "costs"):
        found = [item for item in roles.pop(role, []) if item.numeric]
        if found:
            draft.columns[role] = found[0].name
            draft.notes[role] = "by its name" + (
                f"; so are {', '.join(item.name for item in found[1:6])}" if len(found) > 1 else ""
            )
            draft.left += [f"{item.name} (another of {role})" for item in found[1:]]
    following = roles.pop("next_observations", [])
    if following:
        draft.columns["next_observations"] = _names(following)


def _names(items: list[Field]) -> Any:
    return items[0].name if len(items) == 1 else [item.name for item in items]


def _observe(fields: list[Field], roles: dict[str, list[Field]], draft: _Draft) -> None:
    named = [item for item in roles.pop("observations", []) if item.numeric]
    asked = [item for item in fields if item.role == "observations" and not item.numeric]
    others = [item for item in roles.pop("", []) + roles.pop("index", []) if item.numeric and item.values.ndim <= 2]
    texts = [item for item in fields if item.values.dtype.kind in "US" and not item.constant and item.role is None]
    categories = [item for item in texts if len(np.unique(item.values)) <= _MOST_CATEGORIES]
    chosen = named or others
    if not named and categories and chosen:
        draft.columns["categories"] = {item.name: "one-hot" for item in categories}
        draft.notes["categories"] = "texts with few different values, as one number for each"
    taken = {item.name for item in chosen} | {item.name for item in categories if not named and chosen}
    ordered = [item for item in fields if item.name in taken]
    several = [item for item in ordered if item.values.ndim == 2 and item.values.shape[1] > 1]
    if len(ordered) > 1 and several and len(several) == len(ordered):
        draft.columns["observations"] = {
            re.sub(r"[^A-Za-z0-9_.\-]+", "_", item.name).strip("_"): item.name for item in ordered
        }
    elif ordered:
        single = len(ordered) == 1 and ordered[0].values.ndim == 1 and ordered[0].numeric
        draft.columns["observations"] = [ordered[0].name] if single else _names(ordered)
    elif asked:
        draft.columns["observations"] = asked[0].name
    draft.notes["observations"] = "by the name" if named or (asked and not ordered) else "the other numbers"
    used = taken | {item.name for item in asked[:1] if not ordered}
    actions = draft.columns.get("actions")
    used |= {actions} if isinstance(actions, str) else set(actions or ())
    draft.left += [f"{item.name} (other numbers)" for item in others if item.name not in used]
    draft.left += [
        f"{item.name} (text)"
        for item in fields
        if item.values.dtype.kind in "US" and not item.constant and item.name not in used
    ]


def _borders(roles: dict[str, list[Field]], draft: _Draft, borders: str) -> None:
    seconds = draft.columns.pop("_seconds", None)
    success = [item for item in roles.pop("success", []) if item.numeric]
    flagged = "terminations" in draft.columns or "truncations" in draft.columns
    ids = roles.pop("episode", [])
    propensity = roles.pop("propensity", [])
    found = next((item for item in ids if _tells_episodes(item)), None)
    if propensity:
        draft.columns["extra"] = [item.name for item in propensity]
        draft.notes["extra"] = "the probability with which the action was chosen"
    if borders:
        draft.notes["_borders"] = borders
    elif found is not None:
        draft.columns["episode"] = found.name
        draft.notes["episode"] = (
            f"{len(np.unique(found.values)):,} different values, each in rows that follow each other"
        )
    elif seconds is not None and (np.diff(seconds) < 0).any():
        draft.columns["resets"] = True
        draft.notes["resets"] = f"time goes back {int((np.diff(seconds) < 0).sum()):,} times"
    elif propensity:
        draft.columns["episode_lengths"] = 1
        draft.notes["episode_lengths"] = "a log of single decisions: every row is an episode"
    elif flagged:
        draft.notes["_borders"] = "an episode ends where a flag is set"
    elif seconds is not None and (gap := _gap(seconds)) is not None:
        draft.columns["gap"] = gap
        draft.notes["gap"] = f"seconds; {int((np.diff(seconds) > gap).sum()):,} pauses are longer"
    elif roles.get("") is None and all(item.values.dtype.kind in "US" for item in ids):
        draft.columns["episode_lengths"] = _single_or_all(draft)
    else:
        draft.columns["episode_lengths"] = "all"
        draft.notes["episode_lengths"] = "nothing tells episodes apart, so the file is taken for one"
    if success and not flagged:
        draft.columns["ends"] = success[0].name
        draft.notes["ends"] = "where it is true in the last row, the episode terminated; else it was truncated"
    elif not flagged:
        draft.notes["_ends"] = "what the end of an episode means: truncated, terminated, or a column that says so"


def _single_or_all(draft: _Draft) -> Any:
    """Rows that share no clock and no id are single decisions where the actions are texts; else one recording."""
    texts = isinstance(draft.columns.get("actions"), str) and "time" not in draft.columns and "rewards" in draft.columns
    draft.notes["episode_lengths"] = (
        "rows without a clock: every row is taken for an episode"
        if texts
        else "nothing tells episodes apart, so the file is taken for one"
    )
    return 1 if texts else "all"


def _tells_episodes(item: Field) -> bool:
    try:
        starts = starts_by_id([item.values], [item.name], "")
    except DatasetError:
        return False
    return int(starts.sum()) < len(starts) or len(starts) == 1


def _gap(seconds: np.ndarray) -> float | None:
    """Return a pause that ends an episode, of one digit, or None where time runs evenly."""
    passed = np.diff(seconds)
    median = float(np.median(passed)) if len(passed) else 0.0
    if median <= 0 or not (passed > 10 * _GAP * median).any() or (passed > _GAP * median).mean() > 0.1:
        return None
    return float(f"{_GAP * median:.0e}")


def _text(draft: _Draft, where: object, rows: int, columns: int, reading: str) -> str:
    source = f'"{where}"'
    lines = [
        f"# A mapping for {where} ({rows:,} rows, {columns:,} columns). Check it, save it as columns.yaml, and then:",
        f'#     assay.load({source}, columns="columns.yaml")',
        *([f"# Read with {reading}."] if reading else []),
    ]
    order = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations", "costs", "extra")
    keys = [*order, *(key for key in draft.columns if key not in order)]
    for key in keys:
        if key in draft.columns:
            lines += _line(key, draft.columns[key], draft.notes.get(key, ""))
        elif key in ("observations", "actions", "rewards"):
            effect = (
                f"without them, metrics and methods that need {key} are left out"
                if key != "observations"
                else "they are needed"
            )
            lines.append(f"# {key}: ...  # no column is called so; {effect}")
    if "_borders" in draft.notes:
        lines.append(f"# episodes: {draft.notes['_borders']}")
    if "_ends" in draft.notes:
        lines.append(f"# ends: truncated  # {draft.notes['_ends']}")
    if draft.left:
        lines += _wrapped("# left out: ", draft.left)
    return "\n".join(lines)


def _line(key: str, value: Any, note: str) -> list[str]:
    text = yaml.safe_dump(value, default_flow_style=True, width=_LINE, allow_unicode=True, sort_keys=False)
    text = f"{key}: {text.removesuffix('...' + chr(10)).rstrip()}"
    first, *rest = text.split("\n")
    if not note:
        return [first, *rest]
    return [f"{first}  # {note}"] if not rest else [f"# {key}: {note}", first, *rest]


def _wrapped(start: str, parts: list[str]) -> list[str]:
    lines, line = [], start
    for number, part in enumerate(parts):
        part = f"{part}," if number < len(parts) - 1 else part
        if len(line) + len(part) > _LINE and line.strip("# "):
            lines.append(line.rstrip())
            line = "#     "
        line += f"{part} "
    return [*lines, line.rstrip()]


# -------------------------------------------------------------------- tables


def propose_for_table(table: Table, where: object) -> str:
    """Return a mapping for a table, from its first rows."""
    fields = [_field(table, name) for name in table.types if name != FILE or not isinstance(table, JoinedTable)]
    borders = f"each of the {len(table.names):,} files is one" if isinstance(table, JoinedTable) else ""
    ids = any(item.role == "episode" and not item.constant and _tells_episodes(item) for item in fields)
    return propose(fields, where=where, rows=table.rows, borders="" if ids else borders, reading=table.reading)


def _field(table: Table, name: str) -> Field:
    parts: list[np.ndarray] = []
    shape: tuple[int, ...] = ()
    gaps = rows = first = 0
    for batch in table.batches([name]):
        column = batch[name]
        if not first and not is_text(column.type):
            try:
                shape = row_shape(column, name)
            except DatasetError:
                return Field(name, np.zeros(0))
        try:
            parts.append(values_of(column, shape, first, name))
        except DatasetError:
            return Field(name, np.zeros(0))
        gaps, rows = gaps + column.null_count, rows + len(column)
        first = rows
        if rows >= SAMPLE_ROWS:
            break
    values = np.concatenate(parts) if parts else np.zeros(0)
    return Field(name, values, gaps / max(1, rows))
