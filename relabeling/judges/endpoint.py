"""A judge behind any OpenAI-compatible chat endpoint that takes images, vLLM's server included.

The address comes from `base_url` or the environment variable OPENAI_BASE_URL, the key from the environment variable that
`key_variable` names. The key is never part of the configuration, and it is cut out of whatever a server sends back before that is
kept. `assay[judges]` installs the client.
"""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, model_validator

from assay.datasets.errors import ConfigError
from assay.datasets.registry import Integer, Registry, register
from assay.relabeling.judges import prompts
from assay.relabeling.judges.asking import JudgeError, answers_to, check_goal
from assay.relabeling.judges.judge import JUDGES, Judge, Pairs, Segments
from assay.relabeling.judges.store import Answer, AnswerStore, Question, digest, the_store

if TYPE_CHECKING:
    import openai

__all__ = ["EndpointJudge"]

# What one request may cost at most is set aside before it is sent; an image counts as this many tokens, which is above what
# endpoints charge for one of 1,024 x 1,024 pixels, and text as one token per two characters.
_TOKENS_PER_IMAGE, _CHARACTERS_PER_TOKEN = 2_000, 2


@register("endpoint")
class EndpointJudge:
    """Asks a vision-language model over HTTP.

    Parameters
    ----------
    model : str
        As the endpoint calls it.
    base_url : str, optional
        Such as `http://localhost:8000/v1`; default the environment variable OPENAI_BASE_URL.
    key_variable : str
        Environment variable that holds the key. A server of one's own may need none.
    stages : 2 or 1
        Describe first and then decide, as published, or decide at once.
    frames_per_clip : int
        Frames of a longer segment that are sent, evenly spaced, the last among them.
    both_orders : bool
        Ask about each pair in both orders, and count what disagrees as undecided.
    max_tokens : int
        Of a reply.
    temperature : float
        0 as published.
    concurrency : int
        Requests under way at once.
    requests_per_minute : float, optional
        Never more than this.
    timeout : float
        Seconds for one request.
    retries : int
        For a request that failed: the connection, the server (5xx), too many requests (429, waiting as long as the server says).
    input_price, output_price : float
        Of a million tokens.
    cost_cap : float, optional
        What all answers of this model in the store may have cost together, those of earlier calls included; a request that might
        go beyond it is not sent.
    store : str, optional
        File of the answers; default `judgements.sqlite` in the folder ASSAY_HOME.

    Raises
    ------
    ConfigError
        If a parameter is out of its range, or the address holds a password.
    JudgeError
        When asked: if the endpoint does not answer, refuses the key, or the cost cap is reached. What was answered is kept.

    Examples
    --------
    >>> EndpointJudge(model="qwen2.5-vl", base_url="http://localhost:8000/v1", stages=1).model
    'qwen2.5-vl'
    """

    registry: ClassVar[Registry[type[Judge]]] = JUDGES
    name: ClassVar[str]

    model: str = Field(min_length=1)
    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    stages: prompts.Stages = 2
    frames_per_clip: Integer = Field(default=4, gt=0)
    both_orders: bool = False
    max_tokens: Integer = Field(default=1000, gt=0)
    temperature: float = Field(default=0.0, ge=0, le=2)
    concurrency: Integer = Field(default=8, gt=0)
    requests_per_minute: float | None = Field(default=None, gt=0)
    timeout: float = Field(default=60.0, gt=0)
    retries: Integer = Field(default=5, ge=0)
    input_price: float = Field(default=0.0, ge=0)
    output_price: float = Field(default=0.0, ge=0)
    cost_cap: float | None = Field(default=None, gt=0)
    store: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> EndpointJudge:
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("base_url must be an address such as http://localhost:8000/v1")
            if parts.username or parts.password or parts.query:
                raise ValueError(
                    "base_url holds a name, a password or a query, which would be written into histories; put the key "
                    "into the environment variable that key_variable names"
                )
        if self.cost_cap is not None and self.input_price == self.output_price == 0:
            raise ValueError("a cost_cap needs input_price and output_price, per million tokens")
        return self

    def judge(self, pairs: Pairs, goal: str, repeat: int = 0) -> np.ndarray:
        """Return which of two segments the model finds nearer to the goal, (n,) int8: 0, 1 or -1.

        Parameters
        ----------
        repeat : int
            Another number asks again what was answered before.
        """
        goal = check_goal(goal)
        question = Question(f"endpoint:{self.model}", f"{prompts.VERSION}.{self.stages}", goal)
        values = self._values(question, (pairs.first, pairs.second), repeat)
        if self.both_orders:
            turned = self._values(question, (pairs.second, pairs.first), repeat)
            values[(values < 0) | (values != 1 - turned)] = -1
        return values.astype(np.int8)

    def score(self, segments: Segments, goal: str, repeat: int = 0) -> np.ndarray:
        """Return how far the goal is achieved at the end of each segment, (n,) float64 in [0, 1]; NaN where not answered."""
        question = Question(f"endpoint:{self.model}", prompts.VERSION, check_goal(goal), "score")
        values = self._values(question, (segments,), repeat)
        values[values < 0] = np.nan
        return values

    def _values(self, question: Question, segments: tuple[Segments, ...], repeat: int) -> np.ndarray:
        with AnswerStore(the_store(self.store)) as store:
            asker = _Asker(self, question, store, repeat)
            try:
                answers = answers_to(
                    question,
                    segments,
                    asker.score if question.mode == "score" else asker.choose,
                    store,
                    concurrency=self.concurrency,
                    patience=2 * self.timeout * (self.retries + 1) * self.stages,
                    repeat=repeat,
                )
            finally:
                asker.close()
        return np.array([answer.value for answer in answers], np.float64)


class _Asker:
    """Sends requests within the limits of a judge."""

    def __init__(self, judge: EndpointJudge, question: Question, store: AnswerStore, repeat: int) -> None:
        try:
            import openai
        except ImportError:
            raise ConfigError("the endpoint judge needs the package openai: pip install 'assay[judges]'") from None
        self._openai, self._judge, self._question, self._store, self._repeat = openai, judge, question, store, repeat
        self._key = os.environ.get(judge.key_variable, "")
        address = judge.base_url or os.environ.get("OPENAI_BASE_URL")
        if not self._key and address is None:
            raise ConfigError(
                f"the environment variable {judge.key_variable} is not set; it holds the key of the endpoint. A server of "
                "your own that needs none is named by base_url"
            )
        self._client: openai.OpenAI = openai.OpenAI(
            api_key=self._key or "none", base_url=address, timeout=judge.timeout, max_retries=judge.retries
        )
        self._lock, self._next = threading.Lock(), 0.0
        self._spent, self._reserved = store.cost(question.judge), 0.0

    def close(self) -> None:
        self._client.close()

    def choose(self, images: list[np.ndarray]) -> Answer:
        """Ask which of two segments is better."""
        judge, goal, mark = self._judge, self._question.goal, prompts.marker()
        clips = [_spaced(clip, judge.frames_per_clip) for clip in images]
        count, sent = len(clips[0]), [frame for clip in clips for frame in clip]
        if judge.stages == 1:
            return _read(self._send(prompts.choice_prompt(goal, mark, count, None), sent), prompts.read_choice)
        described = self._described(images, prompts.describe_prompt(goal, mark, count), sent)
        if described.kind != "answer" or mark in described.reply:
            return Answer(-1, "unreadable" if described.kind == "answer" else described.kind)
        return _read(self._send(prompts.choice_prompt(goal, mark, count, described.reply), []), prompts.read_choice)

    def _described(self, images: list[np.ndarray], prompt: str, sent: list[np.ndarray]) -> Answer:
        """Return the first of two stages, which is kept on its own: where the second fails, it is not paid for again."""
        question = replace(self._question, mode="describe")
        place = (question, digest(images[0]), digest(images[1]))
        known = self._store.find(*place, self._repeat)
        if known is None:
            known = self._send(prompt, sent)
            self._store.add(*place, known, self._repeat)
        return known

    def score(self, images: list[np.ndarray]) -> Answer:
        """Ask how far the last frame of a segment achieves the goal."""
        prompt = prompts.score_prompt(self._question.goal, prompts.marker())
        return _read(self._send(prompt, [images[0][-1]]), prompts.read_score)

    def _send(self, prompt: str, images: list[np.ndarray]) -> Answer:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(image)}"}} for image in images
        ]
        content.append({"type": "text", "text": prompt})
        judge = self._judge
        most = self._price(len(prompt) // _CHARACTERS_PER_TOKEN + _TOKENS_PER_IMAGE * len(images), judge.max_tokens)
        self._reserve(most)
        cost = most  # of a request whose reply never says what it cost
        try:
            self._pace()
            messages: Any = [{"role": "user", "content": content}]
            reply = self._client.chat.completions.create(
                model=judge.model, messages=messages, max_tokens=judge.max_tokens, temperature=judge.temperature
            )
            usage = getattr(reply, "usage", None)
            if usage is not None and isinstance(getattr(usage, "prompt_tokens", None), int):
                cost = self._price(usage.prompt_tokens, int(usage.completion_tokens or 0))
            return self._understood(reply, cost)
        except self._openai.APIResponseValidationError as error:
            return Answer(-1, "unreadable", self._clean(str(error)), cost)
        except self._openai.APIStatusError as error:
            raise JudgeError(
                f"{self._where()} answers {error.status_code}: {self._clean(error.message)[:200]}"
            ) from None
        except self._openai.APIConnectionError as error:
            cause = self._clean(str(error.__cause__ or error))
            raise JudgeError(
                f"{self._where()} does not answer after {judge.retries + 1} tries ({cause}); what was answered is kept, and "
                "asking again goes on from there"
            ) from None
        except (ValueError, TypeError, AttributeError) as error:  # a body that is no JSON, or JSON of another kind
            return Answer(-1, "unreadable", self._clean(f"{type(error).__name__}: {error}"), cost)
        finally:
            with self._lock:
                self._reserved -= most
                self._spent += cost

    def _understood(self, reply: Any, cost: float) -> Answer:
        choice = reply.choices[0]
        text = choice.message.content
        if getattr(choice.message, "refusal", None) or choice.finish_reason == "content_filter":
            return Answer(-1, "refused", self._clean(str(choice.message.refusal or text or "")), cost)
        if not isinstance(text, str):
            return Answer(-1, "unreadable", self._clean(repr(text)), cost)
        kind = "unfinished" if choice.finish_reason == "length" else "answer"
        return Answer(-1, kind, self._clean(text), cost)

    def _clean(self, text: str) -> str:
        """Return a text without the key, which a server may send back."""
        return text.replace(self._key, "[key]") if self._key else text

    def _where(self) -> str:
        return f"the endpoint {self._client.base_url.host} ({self._judge.model})"

    def _price(self, inputs: int, outputs: int) -> float:
        return (inputs * self._judge.input_price + outputs * self._judge.output_price) / 1e6

    def _reserve(self, most: float) -> None:
        cap = self._judge.cost_cap
        with self._lock:
            if cap is not None and self._spent + self._reserved + most > cap:
                raise JudgeError(
                    f"the cost cap is reached: {self._spent:.4g} of {cap:g} are spent, and the next request may cost "
                    f"{most:.2g}; what was answered is kept. Raise cost_cap to go on"
                )
            self._reserved += most

    def _pace(self) -> None:
        """Wait until the next request may start."""
        if self._judge.requests_per_minute is None:
            return
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + 60 / self._judge.requests_per_minute
        time.sleep(max(0.0, start - time.monotonic()))


def _read(answer: Answer, read: Any) -> Answer:
    """Turn a reply into its number; what has none stays -1 and says why."""
    if answer.kind != "answer":
        return answer
    value = read(answer.reply)
    if value is None:
        return Answer(-1, "unreadable", answer.reply, answer.cost)
    return Answer(float(value), "undecided" if value < 0 else "answer", answer.reply, answer.cost)


def _spaced(clip: np.ndarray, count: int) -> np.ndarray:
    """Return so many frames of a clip, evenly spaced, with the last."""
    if len(clip) <= count:
        return clip
    chosen: np.ndarray = clip[np.rint(np.linspace(len(clip) - 1, 0, count)).astype(int)[::-1]]
    return chosen


def _png(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
