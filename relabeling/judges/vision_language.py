"""A vision-language model on this machine as a judge: by what it writes, or by the probability that it finds a statement true.

`form="choice"` asks the one-stage question of `prompts` and reads the reply. `form="true"` never lets the model write: the score of
an image is the probability of the token "True" against "False" after a statement that the goal is achieved, as in TOPReward
(arXiv 2602.19313), and pairs are judged by the two scores. Deviation from TOPReward: the score is p(True) / (p(True) + p(False)) and
not log p(True), so that it lies in [0, 1] and does not depend on how much the model would rather say something else.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from assay.datasets.errors import ConfigError
from assay.datasets.registry import Integer, Registry, register
from assay.relabeling.judges import prompts
from assay.relabeling.judges.asking import answers_to, by_scores, check_goal, scores_of
from assay.relabeling.judges.judge import JUDGES, Judge, Pairs, Segments
from assay.relabeling.judges.local_model import load, pictures, weights_digest
from assay.relabeling.judges.store import Answer, AnswerStore, Question, the_store

__all__ = ["VisionLanguageJudge"]

_STATEMENT = "The goal is the text between the markers.\n<<<\n{goal}\n>>>\nThe image shows that the goal is achieved. True or False?"


@register("vision_language")
class VisionLanguageJudge:
    """Asks a vision-language model of Hugging Face's transformers, by path.

    Parameters
    ----------
    model : str
        Path of a model that `AutoModelForImageTextToText` opens, with its processor.
    form : "true" or "choice"
        By the probability of "True", or by what the model writes.
    max_tokens : int
        Of what it writes.
    margin : float
        Scores that differ by no more are undecided (`form="true"`).
    device : str
    store : str, optional
        File of the answers; default `judgements.sqlite` in the folder ASSAY_HOME.

    Raises
    ------
    ConfigError
        If a parameter is out of its range; when asked: if transformers or the model is missing, or it has no template for chats.

    Examples
    --------
    >>> VisionLanguageJudge(model="models/smolvlm").form
    'true'
    """

    registry: ClassVar[Registry[type[Judge]]] = JUDGES
    name: ClassVar[str]

    model: str = Field(min_length=1)
    form: Literal["true", "choice"] = "true"
    max_tokens: Integer = Field(default=200, gt=0)
    margin: float = Field(default=0.0, ge=0)
    device: str = "cpu"
    store: str | None = None

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        """Return which of two segments ends nearer to the goal, (n,) int8: 0, 1 or -1."""
        if self.form == "true":
            return by_scores(self.score(pairs.first, goal), self.score(pairs.second, goal), self.margin)
        goal = check_goal(goal)
        model, processor = self._load()

        def ask(images: list[np.ndarray]) -> Answer:
            import torch

            prompt = prompts.choice_prompt(goal, prompts.marker(), 1, None)
            inputs = self._inputs(processor, prompt, [clip[-1] for clip in images])
            with torch.inference_mode():
                written = model.generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False)
            reply = processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            value = prompts.read_choice(reply)
            if value is None:
                return Answer(-1, "unreadable", reply)
            return Answer(value, "undecided" if value < 0 else "answer", reply)

        with AnswerStore(the_store(self.store)) as store:
            question = Question("vision_language", f"{weights_digest(self.model)}|{prompts.VERSION}", goal)
            answers = answers_to(question, (pairs.first, pairs.second), ask, store)
        return np.array([answer.value for answer in answers], np.int8)

    def score(self, segments: Segments, goal: str) -> np.ndarray:
        """Return the probability that the goal is achieved at the end of each segment, (n,) float64 in [0, 1]."""
        goal = check_goal(goal)
        model, processor = self._load()
        yes, no = (_token(processor, word) for word in ("True", "False"))

        def score(clips: list[np.ndarray]) -> list[Answer]:
            import torch

            inputs = self._inputs(processor, _STATEMENT.format(goal=goal), [clips[0][-1]])
            with torch.inference_mode():
                last = model(**inputs).logits[0, -1, [yes, no]].double()
            return [Answer(float(last.softmax(0)[0]))]

        with AnswerStore(the_store(self.store)) as store:
            question = Question("vision_language", f"{weights_digest(self.model)}|true.1", goal, "score")
            return scores_of(question, segments, score, store, batch=1)

    def _load(self) -> tuple[Any, Any]:
        model, processor = load(self.model, "AutoModelForImageTextToText", self.device)
        if getattr(processor, "chat_template", None) is None:
            raise ConfigError(
                f"{self.model} has no template for chats; take the variant of the model that follows instructions"
            )
        return model, processor

    def _inputs(self, processor: Any, prompt: str, images: list[np.ndarray]) -> Any:
        content: list[dict[str, Any]] = [{"type": "image"} for _ in images]
        content.append({"type": "text", "text": prompt})
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return processor(text=text, images=pictures(images), return_tensors="pt").to(self.device)


def _token(processor: Any, word: str) -> int:
    """Return the first token of a word."""
    found = processor.tokenizer(word, add_special_tokens=False)["input_ids"]
    if not found or found[0] == processor.tokenizer.unk_token_id:
        raise ConfigError(f"the model has no token for {word!r}; use form='choice'")
    return int(found[0])
