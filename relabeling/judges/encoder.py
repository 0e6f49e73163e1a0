r"""An image-text encoder (CLIP-style) as a judge: how near an image is to the goal's text.

With the unit vectors g of the goal, b of a baseline text ("a pendulum" for "a pendulum that stands upright") and x of an image, the
score is that of Rocamonde et al. 2024 (arXiv 2310.12921, section 3), mapped to [0, 1]:

.. math:: R = 1 - \tfrac{1}{2} \| \alpha \, \mathrm{proj}_L x + (1 - \alpha) x - g \|^2

where L is the line through b and g; alpha = 0, or no baseline, leaves the cosine between x and g. Deviation: the score is
(1 + R) / 2, clipped to [0, 1], so that it is a progress.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from assay.datasets.registry import Integer, Registry, register
from assay.relabeling.judges.asking import by_scores, check_goal, scores_of
from assay.relabeling.judges.judge import JUDGES, Judge, Pairs, Segments
from assay.relabeling.judges.local_model import load, pictures, weights_digest
from assay.relabeling.judges.store import Answer, AnswerStore, Question, the_store

__all__ = ["EncoderJudge"]


@register("encoder")
class EncoderJudge:
    """Scores the last frame of a segment by an encoder of images and texts.

    Parameters
    ----------
    model : str
        Path of a CLIP-style model (`get_text_features`, `get_image_features`) with its processor.
    baseline : str, optional
        What the image shows whether the goal is reached or not.
    strength : float in [0, 1]
        alpha, how much of what does not lie between baseline and goal is taken away.
    margin : float
        Scores that differ by no more are undecided.
    batch : int
        Images at once.
    device : str
    store : str, optional
        File of the answers; default `judgements.sqlite` in the folder ASSAY_HOME.

    Raises
    ------
    ConfigError
        If a parameter is out of its range; when asked: if transformers or the model is missing.

    Examples
    --------
    >>> EncoderJudge(model="models/clip", baseline="a pendulum").strength
    0.5
    """

    registry: ClassVar[Registry[type[Judge]]] = JUDGES
    name: ClassVar[str]

    model: str = Field(min_length=1)
    baseline: str | None = None
    strength: float = Field(default=0.5, ge=0, le=1)
    margin: float = Field(default=0.0, ge=0)
    batch: Integer = Field(default=32, gt=0)
    device: str = "cpu"
    store: str | None = None

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        """Return which of two segments ends nearer to the goal, (n,) int8: 0, 1 or -1."""
        return by_scores(self.score(pairs.first, goal), self.score(pairs.second, goal), self.margin)

    def score(self, segments: Segments, goal: str) -> np.ndarray:
        """Return the progress at the end of each segment, (n,) float64 in [0, 1]."""
        import torch

        goal = check_goal(goal)
        model, processor = load(self.model, "AutoModel", self.device)
        version = f"{weights_digest(self.model)}|{self.baseline}|{self.strength if self.baseline else 0}"

        def unit(features: torch.Tensor) -> np.ndarray:
            found = getattr(features, "pooler_output", features).double().cpu().numpy()
            return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True))

        with torch.inference_mode():
            texts = [goal] if self.baseline is None else [goal, self.baseline]
            words = processor(text=texts, return_tensors="pt", padding=True, truncation=True).to(self.device)
            lines = unit(model.get_text_features(**words))

            def score(clips: list[np.ndarray]) -> list[Answer]:
                inputs = processor(images=pictures([clip[-1] for clip in clips]), return_tensors="pt").to(self.device)
                return [
                    Answer(value) for value in _nearness(unit(model.get_image_features(**inputs)), lines, self.strength)
                ]

            with AnswerStore(the_store(self.store)) as store:
                question = Question("encoder", version, goal, "score")
                return scores_of(question, segments, score, store, batch=self.batch)


def _nearness(images: np.ndarray, texts: np.ndarray, strength: float) -> list[float]:
    """Return the score of each image, (n, d) unit vectors, for texts (goal) or (goal, baseline)."""
    goal = texts[0]
    seen = images
    if len(texts) == 2:
        direction = goal - texts[1]
        along = (images - texts[1]) @ direction / max(float(direction @ direction), 1e-12)
        seen = strength * (texts[1] + along[:, None] * direction) + (1 - strength) * images
    reward = 1 - 0.5 * np.square(seen - goal).sum(1)
    return [float(value) for value in np.clip((1 + reward) / 2, 0, 1)]
