"""Exports a GGUF model as a Hugging Face folder: config.json, model.safetensors, tokenizer files. vLLM loads it.

Only the llama architecture with a byte-level BPE vocabulary is covered, which is what the localnet's model is. GGUF
stores the query and key rows in the order its rotary embedding wants; they are put back here. The safetensors format is
written directly: a length, a JSON header and raw bytes need no library.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType, TokenType
from gguf.quants import dequantize

Progress = Callable[[int, int], None]

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
# The splitting rule of the pre-tokeniser that GGUF calls by name.
_PRE_TOKENIZERS = {"smollm": [{"type": "Digits", "individual_digits": True}]}


@dataclass(frozen=True, slots=True)
class _Shape:
    heads: int
    kv_heads: int


def export_folder(source: Path, folder: Path, progress: Progress) -> None:
    """Write the model in `source` (GGUF) to `folder`, which must exist. The same input gives the same bytes."""
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields["general.architecture"] != "llama" or fields["tokenizer.ggml.pre"] not in _PRE_TOKENIZERS:
        raise ValueError(f"only llama models with a pre-tokeniser among {sorted(_PRE_TOKENIZERS)} can be exported")
    _write_json(folder / "config.json", model_config(fields, tied=not any(t.name == "output.weight" for t in reader.tensors)))
    _write_json(folder / "tokenizer.json", tokenizer(fields))
    _write_json(folder / "tokenizer_config.json", tokenizer_config(fields))
    _write_json(
        folder / "generation_config.json", {"bos_token_id": _special(fields, "bos"), "eos_token_id": _special(fields, "eos")}
    )
    _write_weights(folder / "model.safetensors", reader.tensors, _Shape(*_heads(fields)), progress)


def model_config(fields: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    """The config.json of a LlamaForCausalLM with the GGUF file's dimensions."""
    heads, kv_heads = _heads(fields)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": fields["llama.embedding_length"] // heads,
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": round(float(fields["llama.attention.layer_norm_rms_epsilon"]), 9),
        "rope_theta": float(fields.get("llama.rope.freq_base", 10000.0)),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": _special(fields, "bos"),
        "eos_token_id": _special(fields, "eos"),
        "pad_token_id": _special(fields, "padding"),
        "torch_dtype": "float16",
    }


def tokenizer(fields: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer.json of a byte-level BPE vocabulary."""
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    special = [index for index, kind in enumerate(kinds) if kind in (TokenType.CONTROL, TokenType.UNKNOWN)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(index, tokens[index]) for index in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*_PRE_TOKENIZERS[fields["tokenizer.ggml.pre"]], byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }


def tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer_config.json: special tokens and the chat template."""
    tokens = fields["tokenizer.ggml.tokens"]
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    special = {f"{name}_token": tokens[_special(fields, key)] for name, key in names.items()}
    shape = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": fields["llama.context_length"]}
    return {**shape, **special, "clean_up_tokenization_spaces": False, "chat_template": fields["tokenizer.chat_template"]}


def _special(fields: dict[str, Any], name: str) -> int:
    return int(fields[f"tokenizer.ggml.{name}_token_id"])


def _heads(fields: dict[str, Any]) -> tuple[int, int]:
    return int(fields["llama.attention.head_count"]), int(fields["llama.attention.head_count_kv"])


def _added_token(index: int, content: str) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, **plain, "special": True}


def _hf_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.{parts[3]}"
    return f"{_TOP_NAMES[parts[0]]}.{parts[1]}"


def _values(tensor: Any, shape: _Shape) -> Any:
    size = tuple(int(length) for length in reversed(tensor.shape))
    values = dequantize(tensor.data, GGMLQuantizationType(tensor.tensor_type)).reshape(size)
    for part, heads in (("attn_q.", shape.heads), ("attn_k.", shape.kv_heads)):
        if part in tensor.name:
            values = values.reshape(heads, size[0] // heads // 2, 2, size[1]).swapaxes(1, 2).reshape(size)
    return np.ascontiguousarray(values, dtype="<f2")


def _layout(tensors: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    at = 0
    for tensor in tensors:
        size = [int(length) for length in reversed(tensor.shape)]
        end = at + 2 * int(np.prod(size))
        yield _hf_name(tensor.name), {"dtype": "F16", "shape": size, "data_offsets": [at, end]}
        at = end


def _write_weights(path: Path, tensors: Any, shape: _Shape, progress: Progress) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, **dict(_layout(tensors))}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as sink:
        sink.write(len(header).to_bytes(8, "little") + header)
        for done, tensor in enumerate(tensors, start=1):
            sink.write(_values(tensor, shape).tobytes())
            progress(done, len(tensors))


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
