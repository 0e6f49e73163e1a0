"""A CLIP-style model with random weights, of a few kilobytes."""

from __future__ import annotations

from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")
WORDS = [
    "[UNK]",
    "<pad>",
    "<image>",
    "a",
    "bright",
    "room",
    "dark",
    "True",
    "False",
    "user",
    "0",
    "1",
    "-1",
    "<|endoftext|>",
]


def tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="<pad>", eos_token="<|endoftext|>", **special
    )


def image_processor():
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, do_convert_rgb=True
    )


VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": len(WORDS),
}


def save_clip(folder: Path) -> str:
    """Make a model and its processor, and return the folder."""
    import torch

    torch.manual_seed(0)
    text = {**TEXT, "max_position_embeddings": 16, "eos_token_id": len(WORDS) - 1, "bos_token_id": 0, "pad_token_id": 1}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPProcessor(image_processor(), tokenizer()).save_pretrained(folder)
    return str(folder)
