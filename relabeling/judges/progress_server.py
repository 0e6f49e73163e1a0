"""A server of progress as Robometer's evaluation server offers it: frames and a task go out, progress per frame comes back.

::

    POST /evaluate_batch_npy     multipart: a file per clip, uint8 (T, height, width, 3) as .npy, and a field sample_<i> with JSON
                                 {"sample_type": "progress", "trajectory": {"frames": {"__numpy_file__": name}, "task": goal, ...}}
    200                          {"outputs_progress": {"progress_pred": [[0.1, 0.4, ...], ...]},
                                  "outputs_success": {"success_probs": [[0.0, 0.9, ...], ...]}}

No array with Python objects is sent or read. What a server returns must be numbers, one per frame, or nothing of it is used.
"""

from __future__ import annotations

import io
import json
import time
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, field_validator

from assay.datasets.errors import ConfigError
from assay.datasets.registry import Integer, Registry, register
from assay.relabeling.judges.asking import JudgeError, by_scores, check_goal, scores_of
from assay.relabeling.judges.judge import JUDGES, Judge, Pairs, Segments
from assay.relabeling.judges.store import Answer, AnswerStore, Question, the_store

__all__ = ["ProgressServerJudge"]


@register("progress_server")
class ProgressServerJudge:
    """Asks a server for the progress at the end of each segment.

    Parameters
    ----------
    base_url : str
        Such as `http://localhost:8001`.
    of : "progress" or "success"
        Which of the two numbers per frame is the score.
    model : str
        A name for the model that the server runs, which its answers are kept under.
    margin : float
        Scores that differ by no more are undecided.
    batch : int
        Clips in one request.
    timeout : float
        Seconds for one request.
    retries : int
        For a request that failed.
    store : str, optional
        File of the answers; default `judgements.sqlite` in the folder ASSAY_HOME.

    Raises
    ------
    ConfigError
        If a parameter is out of its range; when asked: if httpx is not installed.
    JudgeError
        When asked: if the server does not answer, or answers something else. What was answered is kept.

    Examples
    --------
    >>> ProgressServerJudge(base_url="http://localhost:8001").of
    'progress'
    """

    registry: ClassVar[Registry[type[Judge]]] = JUDGES
    name: ClassVar[str]

    base_url: str
    of: Literal["progress", "success"] = "progress"
    model: str = "robometer"
    margin: float = Field(default=0.0, ge=0)
    batch: Integer = Field(default=16, gt=0)
    timeout: float = Field(default=120.0, gt=0)
    retries: Integer = Field(default=3, ge=0)
    store: str | None = None

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username
            or parts.password
            or parts.query
        ):
            raise ValueError("expected an address such as http://localhost:8001, without a password or a query")
        return value.rstrip("/")

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        """Return which of two segments ends nearer to the goal, (n,) int8: 0, 1 or -1."""
        return by_scores(self.score(pairs.first, goal), self.score(pairs.second, goal), self.margin)

    def score(self, segments: Segments, goal: str) -> np.ndarray:
        """Return the score at the end of each segment, (n,) float64 in [0, 1]."""
        try:
            import httpx
        except ImportError:
            raise ConfigError(
                "the progress server judge needs the package httpx: pip install 'assay[judges]'"
            ) from None
        goal = check_goal(goal)
        question = Question(f"progress_server:{self.model}", f"1.{self.of}", goal, "score")
        with AnswerStore(the_store(self.store)) as store, httpx.Client(timeout=self.timeout) as client:

            def score(clips: list[np.ndarray]) -> list[Answer]:
                reply = self._asked(client, clips, goal)
                return [Answer(value, reply=text) for value, text in self._read(reply, [len(clip) for clip in clips])]

            return scores_of(question, segments, score, store, batch=self.batch)

    def _asked(self, client: Any, clips: list[np.ndarray], goal: str) -> Any:
        import httpx

        files, fields = {}, {}
        for number, clip in enumerate(clips):
            buffer = io.BytesIO()
            np.save(buffer, np.repeat(clip, 3, -1) if clip.shape[-1] == 1 else clip, allow_pickle=False)
            name = f"frames_{number}"
            files[name] = (f"{name}.npy", buffer.getvalue(), "application/octet-stream")
            trajectory = {
                "frames": {"__numpy_file__": name},
                "frames_shape": list(clip.shape),
                "task": goal,
                "id": str(number),
            }
            fields[f"sample_{number}"] = json.dumps({"sample_type": "progress", "trajectory": trajectory})
        trouble = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(8.0, 0.25 * 2**attempt))
            try:
                reply = client.post(f"{self.base_url}/evaluate_batch_npy", files=files, data=fields)
                if reply.status_code < 500 and reply.status_code != 429:
                    reply.raise_for_status()
                    return reply.json()
                trouble = f"it answers {reply.status_code}"
            except httpx.HTTPStatusError as error:
                raise JudgeError(
                    f"{self.base_url} answers {error.response.status_code}: {error.response.text[:200]}"
                ) from None
            except (httpx.TransportError, ValueError, RecursionError) as error:
                trouble = str(error) or type(error).__name__
        raise JudgeError(
            f"{self.base_url} does not answer after {self.retries + 1} tries ({trouble}); what was answered is kept, and asking "
            "again goes on from there"
        )

    def _read(self, reply: Any, lengths: list[int]) -> list[tuple[float, str]]:
        """Return the last number of each clip and all its numbers as text."""
        outer, inner = (
            ("outputs_progress", "progress_pred") if self.of == "progress" else ("outputs_success", "success_probs")
        )
        try:
            rows = reply[outer][inner]
            found = [np.array(row, np.float64) for row in rows]
        except (KeyError, TypeError, ValueError):
            raise JudgeError(f"{self.base_url} answers without numbers in {outer}.{inner}") from None
        for row, length in zip(found, lengths):
            if row.shape != (length,) or not ((row >= 0) & (row <= 1)).all():
                raise JudgeError(
                    f"{self.base_url}: {inner} holds {row.shape} numbers for {length} frames, or some outside [0, 1]"
                )
        if len(found) != len(lengths):
            raise JudgeError(f"{self.base_url}: {inner} has {len(found)} rows for {len(lengths)} clips")
        return [(float(row[-1]), json.dumps([round(float(value), 6) for value in row])) for row in found]
