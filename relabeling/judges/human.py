"""A person as a judge: a page on this machine shows two frames or clips and takes the answers by click or key.

The page is served on the loopback address under a path that holds a random token, so that other users of the machine cannot
answer. It loads nothing from anywhere else. Which segment stands on the left is decided by the content of the images, so that a
person's habit of choosing one side does not turn into a preference. Every answer is kept when it is given: the page may be
reloaded, and the labelling stopped and taken up again at any time.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import webbrowser
from importlib import resources
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from assay.datasets.loopback import LoopbackHandler, served
from assay.datasets.registry import Integer, Registry, register
from assay.relabeling.judges.asking import JudgeError, check_goal, frames_of
from assay.relabeling.judges.judge import JUDGES, Judge, Pairs
from assay.relabeling.judges.store import Answer, AnswerStore, Question, digest, the_store

__all__ = ["HumanJudge"]

VERSION = "1"
_CHOICES = ("left", "right", "equal", "skip")
_MOST_BYTES = 4096  # of a request's body


@register("human")
class HumanJudge:
    """Asks the person in front of the screen.

    Parameters
    ----------
    person : str
        Whose answers they are; each person has answers of their own in the store.
    port : int
        Of the page; 0 takes a free one.
    open_browser : bool
        Open the page in the browser of this machine. Its address is written to the standard error stream in any case.
    store : str, optional
        File of the answers; default `judgements.sqlite` in the folder ASSAY_HOME.

    Raises
    ------
    ConfigError
        If a parameter is out of its range, or the port is taken.
    JudgeError
        When asked: if the person stops before the end. What was answered is kept, and asking again goes on from there.

    Notes
    -----
    "Equal" and "skip" are -1, kept as different kinds.

    Examples
    --------
    >>> HumanJudge(person="ada", open_browser=False).person
    'ada'
    """

    registry: ClassVar[Registry[type[Judge]]] = JUDGES
    name: ClassVar[str]

    person: str = Field(default="me", min_length=1, max_length=80)
    port: Integer = Field(default=0, ge=0, le=65535)
    open_browser: bool = True
    store: str | None = None

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        """Return which of two segments the person finds nearer to the goal, (n,) int8: 0, 1 or -1."""
        question = Question(f"human:{self.person}", VERSION, check_goal(goal))
        with AnswerStore(the_store(self.store)) as store:
            labelling = Labelling(pairs, question, store)
            if not labelling.complete:
                with served(_handler(labelling), self.port) as address:
                    sys.stderr.write(f"{len(labelling.open)} of {len(pairs)} pairs to judge: {address}\n")
                    if self.open_browser:
                        webbrowser.open(address)
                    labelling.ended.wait()
            if not labelling.complete:
                raise JudgeError(
                    f"stopped with {len(labelling.open)} of {len(pairs)} pairs unanswered; the answers are kept, and judging "
                    "again goes on from there"
                )
            return labelling.values()


class Labelling:
    """The pairs that a person is asked about, in their order, and the answers so far; what the page talks to.

    Parameters
    ----------
    pairs : Pairs
    question : Question
    store : AnswerStore
    """

    def __init__(self, pairs: Pairs, question: Question, store: AnswerStore) -> None:
        self.pairs, self.question, self.store = pairs, question, store
        self.ended = threading.Event()
        self._lock = threading.RLock()
        self._keys = [
            (
                digest(frames_of(pairs.first, place, question.judge)),
                digest(frames_of(pairs.second, place, question.judge)),
            )
            for place in range(len(pairs))
        ]
        self._answers = [store.find(question, *key) for key in self._keys]
        self._given: list[int] = []  # in the order of this session, to take back

    @property
    def open(self) -> list[int]:
        """Places that are not answered yet."""
        return [place for place, answer in enumerate(self._answers) if answer is None]

    @property
    def complete(self) -> bool:
        """Whether every pair is answered."""
        return not self.open

    def values(self) -> np.ndarray:
        """Return (n,) int8."""
        return np.array([-1 if answer is None else answer.value for answer in self._answers], np.int8)

    def turned(self, place: int) -> bool:
        """Whether the second segment stands on the left."""
        first, second = self._keys[place]
        return bool((first[0] ^ second[0]) & 1)

    def state(self) -> dict[str, Any]:
        """Return what the page shows."""
        with self._lock:
            left = self.open
            shown: dict[str, Any] = {
                "goal": self.question.goal,
                "total": len(self.pairs),
                "answered": len(self.pairs) - len(left),
                "undo": bool(self._given),
                "pair": left[0] if left else None,
            }
            if left:
                shown["frames"] = len(frames_of(self.pairs.first, left[0], self.question.judge))
            return shown

    def image(self, place: int, side: str, number: int) -> bytes:
        """Return one frame as PNG."""
        from PIL import Image

        first = (side == "left") != self.turned(place)
        clip = frames_of(self.pairs.first if first else self.pairs.second, place, self.question.judge)
        frame = clip[number]
        buffer = io.BytesIO()
        Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame).save(buffer, "PNG")
        return buffer.getvalue()

    def answer(self, place: int, choice: str) -> None:
        """Keep an answer; that of a pair which has one already (a key pressed twice) changes nothing."""
        with self._lock:
            if self._answers[place] is not None:
                return
            if choice in ("left", "right"):
                answer = Answer(float((choice == "right") != self.turned(place)), "answer", choice)
            else:
                answer = Answer(-1, "equal" if choice == "equal" else "skipped", choice)
            self.store.add(self.question, *self._keys[place], answer)
            for other, key in enumerate(self._keys):  # the same images again
                if key == self._keys[place]:
                    self._answers[other] = answer
            self._given.append(place)

    def undo(self) -> None:
        """Take back the last answer of this session."""
        with self._lock:
            if self._given:
                place = self._given.pop()
                self.store.withdraw(self.question, *self._keys[place])
                for other, key in enumerate(self._keys):
                    if key == self._keys[place]:
                        self._answers[other] = None


def _handler(labelling: Labelling) -> type[LoopbackHandler]:
    page = resources.files("assay.relabeling.judges").joinpath("page.html").read_bytes()

    class Handler(LoopbackHandler):
        policy = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"

        def do_GET(self) -> None:
            parts = self.parts()
            if parts == [""]:
                self.send(200, "text/html; charset=utf-8", page)
            elif parts == ["state"]:
                self._json(labelling.state())
            elif parts is not None and len(parts) == 4 and parts[0] == "frame" and parts[2] in ("left", "right"):
                try:
                    self.send(200, "image/png", labelling.image(int(parts[1]), parts[2], int(parts[3])))
                except (ValueError, IndexError):
                    self.send(404, "text/plain", b"no such frame")
            else:
                self.send(404, "text/plain", b"not found")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            parts = self.parts()
            if parts is None or not length.isdigit() or int(length) > _MOST_BYTES:
                self.close_connection = True
                return self.send(404 if parts is None else 400, "text/plain", b"not found")
            body = self.rfile.read(int(length))
            try:
                given = json.loads(body or b"{}")
                if parts == ["answer"]:
                    place, choice = int(given["pair"]), given["choice"]
                    if choice not in _CHOICES or not 0 <= place < len(labelling.pairs):
                        raise ValueError
                    labelling.answer(place, choice)
                elif parts == ["undo"]:
                    labelling.undo()
                elif parts not in (["stop"], ["finish"]):
                    return self.send(404, "text/plain", b"not found")
            except (ValueError, TypeError, KeyError, RecursionError):
                return self.send(400, "text/plain", b"this is no answer")
            self._json(labelling.state())
            if parts == ["stop"] or (parts == ["finish"] and labelling.complete):
                labelling.ended.set()
            return None

        def _json(self, value: dict[str, Any]) -> None:
            self.send(200, "application/json", json.dumps(value).encode())

    return Handler
