"""The store of answers: append-only, written when an answer arrives, so that nothing is paid for twice.

::

    questions   number, judge, version, goal, mode          what is asked, once for all images
    answers     question, first, second, repeat             the images, by the hash of their content
                value, kind, reply, cost, made, digest      the newest row of a question about two images counts
    claims      question, first, second, repeat, until      who is asking right now, so that nobody else does

SQLite with a write-ahead log, one transaction per answer: a killed process loses at most the answers that were under way.
Rows of `answers` cannot be changed or deleted; a person who takes an answer back adds a row that says so.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.errors import StorageError

__all__ = ["Answer", "AnswerStore", "Question", "digest", "the_store"]

WITHDRAWN = "withdrawn"
PATIENCE = 60.0  # seconds to wait for others who write
_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    number INTEGER PRIMARY KEY, judge TEXT NOT NULL, version TEXT NOT NULL, goal TEXT NOT NULL, mode TEXT NOT NULL,
    UNIQUE (judge, version, goal, mode));
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, question INTEGER NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL, repeat INTEGER NOT NULL,
    value REAL NOT NULL, kind TEXT NOT NULL, reply TEXT NOT NULL, cost REAL NOT NULL, made REAL NOT NULL,
    digest INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS asked ON answers (question, first, second, repeat);
CREATE TABLE IF NOT EXISTS claims (
    question INTEGER NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL, repeat INTEGER NOT NULL, owner TEXT NOT NULL,
    until REAL NOT NULL, PRIMARY KEY (question, first, second, repeat)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS no_change BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
CREATE TRIGGER IF NOT EXISTS no_loss BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers are never deleted'); END;
"""


@dataclass(frozen=True)
class Question:
    """What is asked about images.

    Parameters
    ----------
    judge : str
        Who is asked, such as `"endpoint:gpt-4o"`.
    version : str
        Of the prompt; another prompt is another question.
    goal : str
    mode : "pair", "score", or "describe", the first of two stages of an endpoint
    """

    judge: str
    version: str
    goal: str
    mode: str = "pair"


@dataclass(frozen=True)
class Answer:
    """One answer as it is kept.

    Parameters
    ----------
    value : float
        0, 1 or -1 of a pair; a progress in [0, 1] of a score, or -1 where there is none.
    kind : str
        "answer", or why there is none: "undecided", "unreadable", "unfinished", "refused", "equal", "skipped".
    reply : str
        What the judge sent, for audit.
    cost : float
        In the currency of the prices that the judge was given.
    """

    value: float
    kind: str = "answer"
    reply: str = ""
    cost: float = 0.0


def digest(frames: np.ndarray) -> bytes:
    """Return a hash of the content of images, 16 bytes; of their shape and dtype too.

    Examples
    --------
    >>> digest(np.zeros((1, 2, 2, 3), np.uint8)) == digest(np.zeros((1, 2, 2, 3), np.uint8))
    True
    """
    import xxhash

    state = xxhash.xxh3_128(f"{frames.dtype.str}{frames.shape}".encode())
    state.update(np.ascontiguousarray(frames).data.cast("B"))
    return state.digest()


def _row_digest(place: tuple[object, ...], answer: Answer, made: float) -> int:
    """Return a hash of a row, as an integer that SQLite holds."""
    import xxhash

    content = (*place, float(answer.value), answer.kind, answer.reply, float(answer.cost), made)
    return xxhash.xxh3_64_intdigest(repr(content).encode()) - (1 << 63)


def the_store(path: str | None = None) -> Path:
    """Return where answers are kept: `path`, or `judgements.sqlite` in the folder ASSAY_HOME."""
    if path is not None:
        return Path(path)
    return Path(os.environ.get("ASSAY_HOME") or Path.home() / ".assay") / "judgements.sqlite"


class AnswerStore:
    """Answers of judges on disk; safe for several threads and processes at once.

    Parameters
    ----------
    path : path
        Of the SQLite file, made where there is none.

    Raises
    ------
    StorageError
        If the file cannot be opened, is no store, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, AnswerStore(Path(folder) / "answers.sqlite") as store:
    ...     question = Question("human", "1", "push the ball")
    ...     store.add(question, b"first", b"second", Answer(1))
    ...     store.find(question, b"first", b"second").value, store.find(question, b"second", b"first")
    (1.0, None)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._numbers: dict[Question, int] = {}
        self._lock = threading.RLock()
        with self._clear_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            self._use_a_log()
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was added is there already."""
        with self._lock:
            self._connection.close()

    def find(self, question: Question, first: bytes, second: bytes = b"", repeat: int = 0) -> Answer | None:
        """Return the newest answer about these images, or None where there is none or it was taken back."""
        place = (self._number(question), first, second, repeat)
        row = self._row(
            "SELECT value, kind, reply, cost, made, digest FROM answers WHERE question = ? AND first = ? AND second = ? "
            "AND repeat = ? ORDER BY number DESC LIMIT 1",
            place,
        )
        if row is None:
            return None
        *content, made, known = row
        if known != _row_digest(place, Answer(*content), made):
            raise StorageError(
                f"{self.path}: an answer has changed since it was kept: the file is damaged; copy it again"
            )
        return None if content[1] == WITHDRAWN else Answer(*content)

    def add(self, question: Question, first: bytes, second: bytes, answer: Answer, repeat: int = 0) -> None:
        """Keep an answer, and release the claim to it."""
        place, made = (self._number(question), first, second, repeat), time.time()
        content = (answer.value, answer.kind, answer.reply, answer.cost, made, _row_digest(place, answer, made))
        with self._lock, self._clear_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.execute(
                    "INSERT INTO answers (question, first, second, repeat, value, kind, reply, cost, made, digest) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*place, *content),
                )
                self._connection.execute(
                    "DELETE FROM claims WHERE question = ? AND first = ? AND second = ? AND repeat = ?", place
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def withdraw(self, question: Question, first: bytes, second: bytes = b"", repeat: int = 0) -> None:
        """Take the answer back, by a row that says so."""
        self.add(question, first, second, Answer(-1, WITHDRAWN), repeat)

    def claim(
        self, question: Question, first: bytes, second: bytes, owner: str, seconds: float, repeat: int = 0
    ) -> bool:
        """Say that `owner` asks this now, for so many seconds at most; False where somebody else does or it is answered."""
        place, now = (self._number(question), first, second, repeat), time.time()
        with self._lock, self._clear_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                taken = self._connection.execute(
                    "SELECT 1 FROM claims WHERE question = ? AND first = ? AND second = ? AND repeat = ? "
                    "AND until > ? AND owner != ?",
                    (*place, now, owner),
                ).fetchone()
                free = taken is None and self.find(question, first, second, repeat) is None
                if free:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)", (*place, owner, now + seconds)
                    )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        return free

    def release(self, owner: str) -> None:
        """Give up all claims of an owner."""
        with self._lock, self._clear_errors():
            self._connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))

    def cost(self, judge: str) -> float:
        """Return what all answers of a judge have cost together."""
        row = self._row(
            "SELECT TOTAL(cost) FROM answers WHERE question IN (SELECT number FROM questions WHERE judge = ?)", (judge,)
        )
        return 0.0 if row is None else float(row[0])

    def counts(self, question: Question) -> dict[str, int]:
        """Return how many answers of each kind there are to a question, taken-back ones left out."""
        with self._lock, self._clear_errors():
            rows = self._connection.execute(
                "SELECT kind, COUNT(*) FROM answers WHERE number IN (SELECT MAX(number) FROM answers WHERE question = ? "
                "GROUP BY first, second, repeat) AND kind != ? GROUP BY kind ORDER BY kind",
                (self._number(question), WITHDRAWN),
            ).fetchall()
        return dict(rows)

    def __len__(self) -> int:
        row = self._row("SELECT COUNT(*) FROM answers", ())
        return 0 if row is None else int(row[0])

    def _use_a_log(self) -> None:
        """Write ahead; SQLite waits for no lock here, so whoever opens a new store at the same moment tries again."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _row(self, statement: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with self._lock, self._clear_errors():
            found: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return found

    def _number(self, question: Question) -> int:
        with self._lock, self._clear_errors():
            if question not in self._numbers:
                values = (question.judge, question.version, question.goal, question.mode)
                self._connection.execute(
                    "INSERT OR IGNORE INTO questions (judge, version, goal, mode) VALUES (?, ?, ?, ?)", values
                )
                found = self._connection.execute(
                    "SELECT number FROM questions WHERE judge = ? AND version = ? AND goal = ? AND mode = ?", values
                ).fetchone()
                self._numbers[question] = int(found[0])
            return self._numbers[question]

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last, where a damaged file names itself
            raise StorageError(f"{self.path}: the store of answers cannot be used: {error}") from error
