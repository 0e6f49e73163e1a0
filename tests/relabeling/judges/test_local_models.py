"""Models by path: tiny ones with random weights are made here, saved, loaded back and asked; nothing is downloaded."""

import os

import numpy as np
import pytest

from assay.datasets.errors import ConfigError
from assay.relabeling.judges import EncoderJudge, VisionLanguageJudge, judge_from_plain, judge_to_plain
from assay.relabeling.judges.encoder import _nearness

from .grey import grey_pairs, random_pairs
from .tiny_models import TEXT, VISION, WORDS, image_processor, save_clip, tokenizer

transformers = pytest.importorskip("transformers")
GOAL = "a bright room"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    import torch

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("llava")
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION),
        text_config=transformers.LlamaConfig(**TEXT, num_key_value_heads=2, max_position_embeddings=256),
        image_token_index=WORDS.index("<image>"),
        image_token_id=WORDS.index("<image>"),
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{% for message in messages %}user {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    )
    processor = transformers.LlavaProcessor(
        image_processor(),
        tokenizer(extra_special_tokens={"image_token": "<image>"}),
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.slow
def test_an_encoder_scores_by_the_cosine_that_the_model_itself_gives(clip):
    import torch
    from PIL import Image

    pairs, _ = random_pairs(6)
    judge = EncoderJudge(model=clip, batch=4)
    scores = judge.score(pairs.first, GOAL)
    model, processor = (
        transformers.CLIPModel.from_pretrained(clip).eval(),
        transformers.AutoProcessor.from_pretrained(clip),
    )
    images = [Image.fromarray(pairs.first.frames[place][-1]) for place in range(6)]
    with torch.inference_mode():
        whole = model(**processor(text=[GOAL], images=images, return_tensors="pt", padding=True))
    cosine = (whole.image_embeds @ whole.text_embeds.T)[:, 0].double().numpy()
    np.testing.assert_allclose(scores, (1 + cosine) / 2, atol=1e-6)
    other = judge.score(pairs.second, GOAL)
    expected = np.where(other == scores, -1, other > scores)
    assert judge.judge(pairs, GOAL).tolist() == expected.tolist()
    assert (EncoderJudge(model=clip, margin=2.0).judge(pairs, GOAL) == -1).all()


def test_the_projection_on_the_line_of_two_texts():
    goal, baseline = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    texts = np.stack([goal, baseline])
    images = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    # projected: (1, 0), (0, 1) and onto x + y = 1: (-1, 0) -> (0, 1)
    np.testing.assert_allclose(_nearness(images, texts, 1.0), [1.0, 0.5, 0.5])
    np.testing.assert_allclose(_nearness(images, texts, 0.0), [1.0, 0.5, 0.0])
    np.testing.assert_allclose(_nearness(images, texts[:1], 0.7), [1.0, 0.5, 0.0])


@pytest.mark.slow
def test_a_vision_language_model_scores_by_the_probability_of_true(llava, monkeypatch):
    pairs, _ = random_pairs(3)
    judge = VisionLanguageJudge(model=llava)
    scores = judge.score(pairs.first, GOAL)
    assert ((scores > 0) & (scores < 1)).all()
    second = judge.score(pairs.second, GOAL)
    assert judge.judge(pairs, GOAL).tolist() == np.where(second == scores, -1, second > scores).tolist()
    monkeypatch.setattr(transformers.LlavaForConditionalGeneration, "forward", None)  # all is in the store
    assert judge.score(pairs.first, GOAL).tolist() == scores.tolist()


@pytest.mark.slow
def test_a_reply_of_random_weights_is_read_or_counted_as_unreadable(llava):
    pairs = grey_pairs([10, 10], [200, 200])
    answers = VisionLanguageJudge(model=llava, form="choice", max_tokens=3).judge(pairs, GOAL)
    assert answers[0] == answers[1]
    assert answers[0] in (-1, 0, 1)


def test_a_model_that_is_not_there_is_named(tmp_path):
    pairs, _ = random_pairs(1)
    for judge in (EncoderJudge(model=str(tmp_path / "no")), VisionLanguageJudge(model=str(tmp_path / "no"))):
        with pytest.raises(ConfigError, match="is no folder"):
            judge.judge(pairs, GOAL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        EncoderJudge(model=str(tmp_path / "empty")).judge(pairs, GOAL)
    assert not os.environ.get("HF_TOKEN")


def test_recipes_name_them():
    for judge in (EncoderJudge(model="m", baseline="a room"), VisionLanguageJudge(model="m", form="choice")):
        assert judge_from_plain(judge_to_plain(judge)) == judge
