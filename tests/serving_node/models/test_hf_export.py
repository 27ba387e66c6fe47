"""The exported folder's documents; that vLLM reads it as the embedded engine reads the original is a slow test's."""

import json
from typing import Any

import pytest
from tokenizers import Tokenizer

from serving_node.models.hf_export import model_config, tokenizer, tokenizer_config

FIELDS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 16,
    "llama.block_count": 2,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.context_length": 64,
    "llama.attention.layer_norm_rms_epsilon": 9.999999747378752e-06,
    "llama.rope.freq_base": 100000.0,
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "1", "2", "ab", "Ġ", "Ġab"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b", "Ġ ab"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 0,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.chat_template": "{{ messages }}",
}


def test_the_config_has_the_files_dimensions() -> None:
    config = model_config(FIELDS, tied=True)
    assert (config["num_hidden_layers"], config["num_key_value_heads"], config["head_dim"], config["vocab_size"]) == (
        2,
        1,
        4,
        8,
    )
    assert config["rms_norm_eps"] == pytest.approx(1e-5) and config["rope_theta"] == 100000.0 and config["tie_word_embeddings"]


def test_the_tokenizer_merges_splits_digits_and_knows_special_tokens() -> None:
    encode = Tokenizer.from_str(json.dumps(tokenizer(FIELDS))).encode
    assert encode("ab ab").ids == [5, 7]
    assert encode("1212").ids == [3, 4, 3, 4]
    assert encode("ab<|end|>").ids == [5, 0]
    assert tokenizer_config(FIELDS)["eos_token"] == "<|end|>"
