"""Asking a judge only what its store does not know yet: in parallel, with every answer kept the moment it arrives."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.relabeling.judges.judge import Segments
from assay.relabeling.judges.store import Answer, AnswerStore, Question, digest

__all__ = ["Ask", "JudgeError", "answers_to", "by_scores", "check_goal", "frames_of", "scores_of"]

Ask = Callable[[list[np.ndarray]], Answer]
_SECONDS_BETWEEN_LOOKS = 0.2


class JudgeError(AssayError, RuntimeError):
    """A judge cannot go on: it does not answer, costs too much, or was stopped. What it answered is kept."""


def check_goal(goal: str) -> str:
    """Return a goal that a judge can be asked about: one line of text.

    Raises
    ------
    ConfigError
        If it is empty or holds control characters, with which a text could leave its place in a prompt.
    """
    if not isinstance(goal, str) or not goal.strip():
        raise ConfigError("a judge needs a goal: a sentence such as 'balance the pole upright'")
    if any(ord(character) < 32 for character in goal):
        raise ConfigError("the goal must be one line of text, without control characters")
    return goal.strip()


def frames_of(segments: Segments, segment: int, judge: str) -> np.ndarray:
    """Return the frames of one segment, (L, height, width, channels) uint8.

    Raises
    ------
    ConfigError
        If the segments come without frames.
    """
    if segments.frames is None:
        raise ConfigError(
            f"the judge {judge} looks at images, and these segments have none; give a column of images, or states that can "
            "be rendered"
        )
    frames = np.asarray(segments.frames[segment])
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (1, 3):
        raise ConfigError(
            f"frames of a segment must be (length, height, width, 1 or 3) uint8, not {frames.dtype}{list(frames.shape)}"
        )
    return frames


@dataclass
class _Asked:
    """One thing to ask: its place among the results, and the images."""

    place: int
    segments: tuple[Segments, ...]
    first: bytes = b""
    second: bytes = b""

    def images(self, judge: str) -> list[np.ndarray]:
        return [frames_of(segments, self.place, judge) for segments in self.segments]


def answers_to(
    question: Question,
    segments: tuple[Segments, ...],
    ask: Ask,
    store: AnswerStore,
    *,
    concurrency: int = 1,
    patience: float = 600.0,
    repeat: int = 0,
    progress: Progress | Auto | None = "auto",
) -> list[Answer]:
    """Return the answers to a question about each pair, or each single segment, in their order.

    What the store knows is not asked. Two equal pairs are asked once. What another process is asking right now is waited for.

    Parameters
    ----------
    segments : (first, second) or (only,)
    ask : callable
        Sends the images of one pair (or segment) and returns the answer; called from several threads.
    concurrency : int
        Questions under way at once.
    patience : float
        Seconds after which a claim of another process counts as abandoned.
    repeat : int
        Number of the repetition, which is a question of its own.

    Raises
    ------
    JudgeError
        If `ask` raised it: what was answered until then is kept, and asking again goes on from there.
    """
    total = len(segments[0].steps)
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
    results: list[Answer | None] = [None] * total
    done = 0
    with reporting(progress, f"asking {question.judge}", counted(f"asking {question.judge}")) as report:

        def finish(place: int, answer: Answer) -> None:
            nonlocal done
            results[place], done = answer, done + 1
            if report is not None:
                report(done, total)

        same: dict[tuple[bytes, bytes], list[int]] = {}
        waiting: dict[int, _Asked] = {}

        def one(asked: _Asked, images: list[np.ndarray]) -> Answer:
            answer = ask(images)
            store.add(question, asked.first, asked.second, answer, repeat)
            return answer

        def settle(futures: Iterable[Future[Answer]], running: dict[Future[Answer], _Asked]) -> None:
            for future in futures:
                asked = running.pop(future)
                answer = future.result()
                for place in same[asked.first, asked.second]:
                    finish(place, answer)

        running: dict[Future[Answer], _Asked] = {}
        with ThreadPoolExecutor(max_workers=concurrency) as pool:
            try:
                for place in range(total):
                    asked = _Asked(place, segments)
                    images = asked.images(question.judge)
                    asked.first = digest(images[0])
                    asked.second = digest(images[1]) if len(images) == 2 else b""
                    key = (asked.first, asked.second)
                    known = store.find(question, *key, repeat)
                    if known is not None:
                        finish(place, known)
                        continue
                    if key in same:
                        same[key].append(place)
                        continue
                    same[key] = [place]
                    if not store.claim(question, *key, owner, patience, repeat):
                        waiting[place] = asked
                        continue
                    running[pool.submit(one, asked, images)] = asked
                    if len(running) >= 2 * concurrency:
                        settle(wait(running, return_when=FIRST_COMPLETED).done, running)
                while running:
                    settle(wait(running, return_when=FIRST_COMPLETED).done, running)
                while waiting:
                    for place, asked in list(waiting.items()):
                        key = (asked.first, asked.second)
                        answer = store.find(question, *key, repeat)
                        if answer is None and store.claim(question, *key, owner, patience, repeat):
                            answer = one(asked, asked.images(question.judge))
                        if answer is not None:
                            del waiting[place]
                            for other in same[key]:
                                finish(other, answer)
                    if waiting:
                        time.sleep(_SECONDS_BETWEEN_LOOKS)
            except BaseException:
                for future in running:
                    future.cancel()
                raise
            finally:
                wait(running)
                store.release(owner)
    return [answer for answer in results if answer is not None]


def scores_of(
    question: Question,
    segments: Segments,
    score: Callable[[list[np.ndarray]], list[Answer]],
    store: AnswerStore,
    *,
    batch: int,
    progress: Progress | Auto | None = "auto",
) -> np.ndarray:
    """Return the score of each segment, (n,) float64 and NaN where there is none; in batches, for models on this machine.

    What the store knows is not computed. Equal segments are scored once.

    Parameters
    ----------
    score : callable
        Takes the frames of up to `batch` segments and returns an answer for each.
    """
    count = len(segments.steps)
    values = np.full(count, np.nan)
    with reporting(progress, f"asking {question.judge}", counted(f"asking {question.judge}")) as report:
        waiting: dict[bytes, list[int]] = {}
        held: list[np.ndarray] = []

        def settle() -> None:
            for (key, places), answer in zip(waiting.items(), score(held), strict=True):
                store.add(question, key, b"", answer)
                values[places] = answer.value if answer.value >= 0 else np.nan
            waiting.clear()
            held.clear()

        for place in range(count):
            frames = frames_of(segments, place, question.judge)
            key = digest(frames)
            known = store.find(question, key)
            if known is not None:
                values[place] = known.value if known.value >= 0 else np.nan
            elif key in waiting:
                waiting[key].append(place)
            else:
                waiting[key] = [place]
                held.append(frames)
            if len(held) == batch:
                settle()
            if report is not None:
                report(place + 1, count)
        if held:
            settle()
    return values


def by_scores(first: np.ndarray, second: np.ndarray, margin: float) -> np.ndarray:
    """Return (n,) int8: which of two scores is larger; -1 where they differ by no more than the margin, or one is NaN.

    Examples
    --------
    >>> by_scores(np.array([0.1, 0.5, np.nan]), np.array([0.4, 0.5, 1.0]), 0.0).tolist()
    [1, -1, -1]
    """
    difference = second - first
    found: np.ndarray = np.where(np.abs(difference) > margin, difference > 0, -1).astype(np.int8)
    found[~np.isfinite(difference)] = -1
    return found
