"""A dataset of the rows of a table, in one pass and one copy.

::

    file      episode  x   y   u      T rows of an episode: T observations and T actions
              a        s0      a0
              a        s1      a1
              b        s0      a0
              b        s1      -      the last row has no action: it is the final observation
    dataset   observations  a: s0 s1 s1   b: s0 s1        a's final observation is unknown: its last row is repeated,
              actions       a: a0 a1      b: a0           and the episode column `final_observation` says so

First the columns that tell episodes apart are read. Then every other column goes, block by block, to its place in arrays that
have their final size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.column_checks import LABELS
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import DatasetError
from assay.datasets.formats.containers.arrow_numbers import numbers_of, validity_of
from assay.datasets.formats.mapping import (
    absent_labels,
    check_complete,
    check_kind,
    choose,
    described,
    names_in,
    warn_of,
)
from assay.datasets.formats.rows import flags
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty
from assay.datasets.tables.arrow_values import is_text, numpy_dtype, row_shape, values_of
from assay.datasets.tables.categories import Encoder, spread
from assay.datasets.tables.clock import seconds_of
from assay.datasets.tables.column_mapping import WHOLE, ColumnMapping, Source
from assay.datasets.tables.endings import end_episodes
from assay.datasets.tables.episode_borders import lengths_by_borders, starts_by_id, starts_by_time
from assay.datasets.tables.table import FILE, JoinedTable, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["dataset_from_table"]

_LONG = 64  # rows; shorter pieces of episodes are placed by index, longer ones as slices
_FLAGS = ("terminations", "truncations")


def dataset_from_table(
    table: Table, mapping: ColumnMapping, *, where: object, info: DatasetInfo | None = None
) -> Dataset:
    """Make a dataset of the rows of a table, as a mapping says.

    Parameters
    ----------
    table : Table
    mapping : ColumnMapping
        A folder of tables without `episode`, flags or anything else that tells episodes apart: every file is one.
    where : object
        The source, for messages.
    info : DatasetInfo, optional

    Returns
    -------
    Dataset
        Missing numbers of observations are NaN. The id of each episode is the episode column `id`.

    Warns
    -----
    AssayWarning
        About columns that are not taken, and about flags that are nowhere.

    Raises
    ------
    ConfigError, FormatError
        If the mapping names what is not there, or does not say enough.
    DatasetError
        If the rows do not fit together; with the column and the row.
    """
    from pyarrow import ArrowException  # not with the module: importing assay stays light

    if not table.rows:
        raise DatasetError(f"{where} has no rows; a dataset needs at least one step")
    chosen = choose(table.types, mapping, where)
    if isinstance(table, JoinedTable) and not mapping.tells_episodes and not any(name in chosen for name in _FLAGS):
        mapping = mapping.merged(where, episode=(FILE,))
    by_file = FILE in mapping.episode or WHOLE in mapping.structures.values()
    if isinstance(table, JoinedTable) and by_file and 0 in table.lengths:
        lacking = table.names[table.lengths.index(0)]
        raise DatasetError(f"{where}: {lacking} has no rows, so it is no episode; take it out of the folder")
    check_complete(chosen, mapping, table.types, where)
    try:
        return _Assembly(table, mapping, chosen, where).dataset(info or DatasetInfo())
    except ArrowException as error:
        raise DatasetError(f"{where} cannot be read: {' '.join(str(error).split())}") from error


@dataclass
class _Part:
    """One column of the table, as it goes into a column of the dataset."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    width: int
    codes: dict[str, int] | None = None  # text -> number


@dataclass
class _Ids:
    """Ids of the rows; numbers of texts have the texts as labels."""

    values: np.ndarray
    labels: list[str] | None = None

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        chosen = self.values[rows]
        if self.labels is None:
            return np.asarray(chosen.astype(np.int64) if chosen.dtype.kind in "mM" else chosen)
        return np.array([self.labels[number] for number in chosen.tolist()], str)


@dataclass
class _Target:
    """One column of the dataset: its parts, side by side, and the array that they fill."""

    name: str
    parts: list[_Part]
    dtype: np.dtype
    observed: bool  # has a row more for each episode
    array: np.ndarray = field(default_factory=lambda: np.zeros(0))
    block: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # where parts are put side by side
    missing: np.ndarray | None = None  # (N,) labels that are not there


class _Assembly:
    def __init__(self, table: Table, mapping: ColumnMapping, chosen: Mapping[str, Source], where: object) -> None:
        self.table, self.mapping, self.chosen, self.where = table, mapping, dict(chosen), where
        self.encoder = Encoder(mapping.categories)
        self.remembered: dict[str, Any] = {}

    # ------------------------------------------------ where episodes are

    def dataset(self, info: DatasetInfo) -> Dataset:
        seconds = self._seconds()
        flagged = {name: self._flags(name) for name in _FLAGS if name in self.chosen}
        ids: list[_Ids] = []
        lengths = self._lengths(seconds, flagged, ids)
        lasts = np.cumsum(lengths) - 1
        known = self._rows_without_action()[lasts]
        if len(empty_ones := np.flatnonzero(lengths - known < 1)):
            raise DatasetError(
                f"{self.where}: episode {empty_ones[0]} (row {lasts[empty_ones[0]]}) is one row without an action, so it has "
                "no step; leave it out"
            )
        steps = np.ones(self.table.rows, bool)
        steps[lasts[known]] = False
        everywhere = bool(steps.all())
        arrays = self._fill(lengths, lasts, known, None if everywhere else steps)

        def of_steps(array: np.ndarray) -> np.ndarray:
            return array if everywhere else array[steps]

        total = int(steps.sum())
        kept = lengths - known
        if seconds is not None:
            arrays["time"] = of_steps(seconds)
        terminated, truncated = (
            of_steps(flagged[name]) if name in flagged else np.zeros(total, bool) for name in _FLAGS
        )
        for name, array in flagged.items():  # a flag on the final observation belongs to the step before it
            target = terminated if name == "terminations" else truncated
            target[(np.cumsum(kept) - 1)[known]] |= array[lasts[known]]
        arrays["terminations"], arrays["truncations"] = self._ended(terminated, truncated, kept, of_steps, lasts, known)
        missing = absent_labels(self.chosen)
        missing += [name for name in _FLAGS if name not in flagged and self.mapping.ends is None]
        taken = {*names_in(self.chosen), *self.mapping.names, FILE}
        warn_of(self.where, missing, sorted(self.table.types.keys() - taken))
        episode_columns = {} if known.all() else {"final_observation": known}
        for name, of in zip(self.mapping.episode, ids, strict=True):
            key = "id" if len(ids) == 1 else f"id/{name}"
            episode_columns[key] = of.of_rows(lasts)
        if self.encoder.found:
            self.remembered["categories"] = dict(self.encoder.found)
        try:
            made = described(info, self.chosen, arrays, self.mapping, self.encoder, self.remembered)
            return Dataset(arrays, kept, info=made, episode_columns=episode_columns)
        except DatasetError as error:
            raise DatasetError(f"{self.where}: {error}") from error

    def _seconds(self) -> np.ndarray | None:
        if self.mapping.time is None:
            return None
        place = f"{self.where}: column {self.mapping.time}"
        seconds, self.remembered = seconds_of(self._whole(self.mapping.time, dates=True), self.mapping.time_unit, place)
        return seconds

    def _flags(self, name: str) -> np.ndarray:
        source = self.chosen[name]
        if not isinstance(source, str):
            raise DatasetError(f"{self.where}: {name} is one flag per row; {len(source)} columns are named for it")
        return flags(self._whole(source), f"{self.where}: column {source}").copy()

    def _whole(self, name: str, *, dates: bool = False) -> np.ndarray:
        """Return a whole column of single values; texts as numbers in the order in which they come."""

        place = f"{self.where}: column {name}"
        column = self.table.column(name)
        if is_text(column.type) and dates:
            column = _as_dates(column, place)
        if is_text(column.type):
            raise DatasetError(f"{place} holds texts; numbers, flags or dates are needed here")
        if shape := row_shape(column.chunk(0) if column.num_chunks else column, place):
            raise DatasetError(f"{place} holds lists of {shape[0]}; one value per row belongs there")
        parts = [values_of(chunk, (), 0, place) for chunk in column.chunks]
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def _ids(self, name: str) -> _Ids:
        """Return a column that tells episodes apart; texts as numbers."""
        import pyarrow as pa

        column = self.table.column(name)
        if not (is_text(column.type) or pa.types.is_dictionary(column.type)):
            return _Ids(self._whole(name, dates=True))
        if column.null_count:
            there = np.concatenate([validity_of(chunk) for chunk in column.chunks])
            row = int(np.flatnonzero(~there)[0])
            raise DatasetError(f"{self.where}: row {row} has no episode ({name} is missing)")
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        joined = column.unify_dictionaries().combine_chunks()
        joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
        return _Ids(numbers_of(joined.indices), [str(text) for text in joined.dictionary.to_pylist()])

    def _lengths(self, seconds: np.ndarray | None, flagged: Mapping[str, np.ndarray], ids: list[_Ids]) -> np.ndarray:
        mapping, rows = self.mapping, self.table.rows
        starts = np.zeros(rows, bool)
        starts[0] = True
        if mapping.episode:
            ids += [self._ids(name) for name in mapping.episode]
            starts |= starts_by_id([of.values for of in ids], mapping.episode, self.where, [of.labels for of in ids])
        if seconds is not None and (mapping.gap is not None or mapping.resets):
            starts |= starts_by_time(seconds, gap=mapping.gap, resets=mapping.resets)
        if mapping.structures:
            option, source = next(iter(mapping.structures.items()))
            if source == WHOLE and WHOLE not in self.table.types:
                if isinstance(self.table, JoinedTable):
                    starts[np.cumsum([0, *self.table.lengths[:-1]])] = True
            elif isinstance(source, int):
                if rows % source:
                    raise DatasetError(f"{self.where}: {rows} rows are no whole number of episodes of {source} steps")
                starts[::source] = True
            elif option == "episode_starts":
                starts |= flags(self._whole(str(source)), f"{self.where}: column {source}")
            else:
                raise DatasetError(
                    f"{self.where}: {option} of a table must be a number or {WHOLE}, for its columns have one value per row; "
                    "name the column of the episode's id: episode: ..."
                )
        elif flagged and not mapping.tells_episodes:
            ended = np.zeros(rows, bool)
            for array in flagged.values():
                ended |= array
            starts[1:] |= ended[:-1]
        return lengths_by_borders(starts)

    def _ended(
        self,
        terminated: np.ndarray,
        truncated: np.ndarray,
        lengths: np.ndarray,
        of_steps: Any,
        lasts: np.ndarray,
        known: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        ends: Any = self.mapping.ends
        if ends not in (None, "truncated", "terminated"):
            said = flags(self._whole(ends), f"{self.where}: column {ends}")
            ends = of_steps(said).copy()
            ends[np.cumsum(lengths) - 1] |= said[lasts]
        return end_episodes(terminated, truncated, lengths, ends)

    def _rows_without_action(self) -> np.ndarray:
        """Return which rows have no number at all for the action, (rows,) bool."""
        names = [name for source in self._sources("actions") for name in source]
        result = np.zeros(self.table.rows, bool)
        if not names or not all(self.table.gaps(name) for name in names):
            return result
        row = 0
        for batch in self.table.batches(names):
            there = [validity_of(batch[name]) for name in names]
            result[row : row + len(there[0])] = ~np.logical_or.reduce(there)
            row += len(there[0])
        return result

    def _sources(self, column: str) -> Iterator[tuple[str, ...]]:
        for name, source in self.chosen.items():
            if is_under(name, column):
                yield (source,) if isinstance(source, str) else source

    # ------------------------------------------------ values to their places

    def _fill(
        self, lengths: np.ndarray, lasts: np.ndarray, known: np.ndarray, steps: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        targets = [self._target(name, source) for name, source in self.chosen.items() if name not in _FLAGS]
        rows, episodes = self.table.rows, len(lengths)
        finals = int(known.sum())
        for target in targets:
            shape = (
                target.parts[0].shape
                if isinstance(self.chosen[target.name], str)
                else (sum(p.width for p in target.parts),)
            )
            length = rows + episodes - finals if target.observed else rows - finals
            target.array = empty((length, *shape), target.dtype)
            if _label_of(target.name) and any(self.table.gaps(part.name) for part in target.parts):
                target.missing = np.zeros(length, bool)
        # Row r of episode e goes to row r + (unknown final observations before e) of the observations, and to row
        # r - (known ones before e) of everything else.
        unknown_before, known_before = np.cumsum(~known) - ~known, np.cumsum(known) - known
        short = rows < _LONG * episodes
        episode_of_row = np.repeat(np.arange(episodes, dtype=np.int64), lengths) if short else None
        first = 0
        names = list(dict.fromkeys(part.name for target in targets for part in target.parts))
        for batch in self.table.batches(names):
            count = len(next(iter(batch.values())))
            last = first + count
            if episode_of_row is not None:
                of = episode_of_row[first:last]
                here = np.arange(first, last)
                places: Any = [(slice(None), here + unknown_before[of], here - known_before[of])]
            else:
                begin, end = np.searchsorted(lasts, (first, last - 1))
                places = []
                for episode in range(begin, end + 1):
                    low, high = max(first, lasts[episode] + 1 - lengths[episode]), min(last, lasts[episode] + 1)
                    up, down = unknown_before[episode], known_before[episode]
                    places.append(
                        (slice(low - first, high - first), slice(low + up, high + up), slice(low - down, high - down))
                    )
            keep = None if steps is None else steps[first:last]
            for target in targets:
                self._place(target, batch, first, count, places, keep)
            first = last
        if first != rows:
            raise DatasetError(f"{self.where} says it has {rows} rows, but holds {first}; it changed while it was read")
        self._blank_labels(targets)
        unknown = np.flatnonzero(~known)
        at = lasts[unknown] + unknown_before[unknown] + 1
        result = {}
        for target in targets:
            if target.observed:
                target.array[at] = target.array[at - 1]
            result[target.name] = target.array
            if target.missing is not None:
                result[f"missing/{_label_of(target.name)}"] = target.missing
        return result

    def _blank_labels(self, targets: Sequence[_Target]) -> None:
        """Say of each label by one mask where it is not there, and blank it there."""
        for element in LABELS:
            masks = [t.missing for t in targets if is_under(t.name, element) and t.missing is not None]
            mask: np.ndarray = np.logical_or.reduce(masks) if masks else np.zeros(0, bool)
            for target in targets:
                if is_under(target.name, element):
                    target.missing = mask if mask.any() else None
                    if mask.any():
                        target.array[mask] = np.nan if target.dtype.kind in "fc" else np.zeros((), target.dtype)

    def _target(self, name: str, source: Source) -> _Target:
        names = (source,) if isinstance(source, str) else source
        parts = [self._part(part, len(names) > 1 or not isinstance(source, str), name) for part in names]
        for part in parts:
            self.encoder.widths[part.name] = part.width
        dtype = parts[0].dtype if len(parts) == 1 else np.result_type(*[part.dtype for part in parts])
        return _Target(name, parts, dtype, is_under(name, "observations"))

    def _first_text(self, name: str) -> str:
        """Say which of the texts of a column is the first that is no number."""
        rows = (text for batch in self.table.batches([name]) for text in _decoded(batch[name]).to_pylist())
        found = next(((row, text) for row, text in enumerate(rows) if text is not None and not _is_number(text)), None)
        return "" if found is None else f" ({found[1]!r:.40} in row {found[0]})"

    def _gaps(self, name: str, column: str) -> bool:
        """Whether the numbers of a column have gaps that NaN is to stand for; gaps of labels are said by a mask."""
        return not _label_of(column) and bool(self.table.gaps(name))

    def _part(self, name: str, beside: bool, column: str) -> _Part:
        import pyarrow as pa

        place = f"{self.where}: column {name}"
        kind = self.table.types[name]
        if name in self.encoder.encodings:
            return self._encoded(name, place)
        if is_text(kind):
            if beside:
                check_kind(name, np.dtype("U1"), self.where, self._first_text(name))
            return _Part(name, (), self._text_dtype(name, place), 1)
        nested = pa.types.is_nested(kind)  # else there is no need to look at a row
        shape = row_shape(self.table.head(name), place) if nested else ()
        dtype = numpy_dtype(kind, not shape and self._gaps(name, column), place)
        if dtype.kind in "mM":
            raise DatasetError(f"{place} holds times; name it as time, and not for {column}")
        return _Part(name, shape, dtype, int(np.prod(shape, dtype=np.int64)))

    def _text_dtype(self, name: str, place: str) -> np.dtype:
        import pyarrow.compute as pc

        longest = max(
            (pc.max(pc.utf8_length(_decoded(b[name]))).as_py() or 0 for b in self.table.batches([name])), default=0
        )
        return np.dtype(f"U{max(1, longest)}")

    def _encoded(self, name: str, place: str) -> _Part:
        import pyarrow.compute as pc

        found = {text for batch in self.table.batches([name]) for text in pc.unique(_decoded(batch[name])).to_pylist()}
        if None in found:
            raise DatasetError(f"{place} has rows without a value; fill them before it becomes numbers")
        ordered = sorted(found)
        how = self.encoder.encodings[name]
        self.encoder.found[name] = [str(value) for value in ordered]
        row, _ = spread(np.zeros(1, np.int64), self.encoder.found[name], how, place)
        codes = {value: number for number, value in enumerate(ordered)}
        return _Part(name, row.shape[1:], row.dtype, int(np.prod(row.shape[1:])), codes)

    def _values(self, part: _Part, column: pa.Array, first: int, *, label: bool) -> np.ndarray:
        place = f"{self.where}: column {part.name}"
        if part.codes is None:
            if label and column.null_count and part.dtype.kind in "iub":
                column = column.fill_null(False if part.dtype.kind == "b" else 0)
            if column.null_count and part.dtype.kind in "iub":
                raise DatasetError(
                    f"{place} has gaps, though the file's statistics say that it has none; it is damaged"
                )
            return values_of(column, part.shape, first, place)
        codes = np.array([part.codes[value] for value in _decoded(column).to_pylist()], np.int64)
        return spread(codes, self.encoder.found[part.name], self.encoder.encodings[part.name], place)[0]

    def _place(
        self,
        target: _Target,
        batch: Mapping[str, pa.Array],
        first: int,
        count: int,
        places: Sequence[tuple[Any, Any, Any]],
        keep: np.ndarray | None,
    ) -> None:
        label = bool(_label_of(target.name))
        values = [self._values(part, batch[part.name], first, label=label) for part in target.parts]
        gone = None
        if target.missing is not None:
            there = [validity_of(batch[part.name]) for part in target.parts]
            gone = ~np.logical_and.reduce(there)
        single = isinstance(self.chosen[target.name], str)
        block = values[0]
        if not single:
            if len(target.block) < count:
                target.block = np.empty((count, target.array.shape[1]), target.dtype)
            block = target.block[:count]
            column = 0
            for part, array in zip(target.parts, values, strict=True):
                block[:, column : column + part.width] = array if array.ndim == 2 else array[:, None]
                column += part.width
        for inside, observed, plain in places:
            if target.observed:
                target.array[observed] = block[inside]
            elif keep is None:
                target.array[plain] = block[inside]
                if gone is not None and target.missing is not None:
                    target.missing[plain] = gone[inside]
            else:
                stays = keep[inside]
                rows = (
                    plain[stays]
                    if isinstance(plain, np.ndarray)
                    else slice(plain.start, plain.start + int(stays.sum()))
                )
                target.array[rows] = block[inside][stays]
                if gone is not None and target.missing is not None:
                    target.missing[rows] = gone[inside][stays]


def _label_of(column: str) -> str:
    """Return "actions" or "rewards" for a column of labels, else nothing."""
    return next((element for element in LABELS if is_under(column, element)), "")


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def _decoded(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _as_dates(column: pa.ChunkedArray, place: str) -> pa.ChunkedArray:
    """Read texts as dates and times of ISO 8601."""
    import pyarrow as pa

    for zone in (None, "UTC"):
        try:
            return column.cast(pa.string()).cast(pa.timestamp("ns", tz=zone))
        except pa.ArrowInvalid as error:
            text = str(error)
    raise DatasetError(f"{place} holds texts that are no times ({text}); times are numbers, or dates of ISO 8601")
