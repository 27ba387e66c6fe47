"""Reads a llama-architecture GGUF file: its shape, its tokeniser, and its matrices as f32.

What the forward pass does not model (another architecture, rope scaling, biases, another pre-tokeniser) is refused with
the key that says so: a wrong reference would brand honest nodes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

from abci_app.verifier.reference.layout import FORMAT, ReferenceInfo, Shape

_CONTROL, _USER_DEFINED = 3, 4
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class UnsupportedModel(ValueError):
    """The GGUF file describes a model that this reference does not compute."""


class GgufSource:
    """One GGUF file, opened for building a reference."""

    def __init__(self, path: Path, model_hash: str) -> None:
        self._reader = GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.shape = self._shape()
        self.info = ReferenceInfo(
            FORMAT, model_hash, self.shape, str(self._field("tokenizer.chat_template", "")), self._eos(), self._tokenizer()
        )

    def matrices(self) -> Iterator[NDArray[np.float32]]:
        """The matrices in the order of `layout.tensors`."""
        shape = self.shape
        for layer in range(shape.layers):
            block = f"blk.{layer}."
            queries = _split_halves(self._matrix(block + "attn_q.weight"), shape.heads)
            keys = _split_halves(self._matrix(block + "attn_k.weight"), shape.kv_heads)
            yield self._matrix(block + "attn_norm.weight")
            yield np.concatenate([queries, keys, self._matrix(block + "attn_v.weight")])
            yield self._matrix(block + "attn_output.weight")
            yield self._matrix(block + "ffn_norm.weight")
            yield np.concatenate([self._matrix(block + "ffn_gate.weight"), self._matrix(block + "ffn_up.weight")])
            yield self._matrix(block + "ffn_down.weight")
        yield self._matrix("output_norm.weight")
        yield self._matrix("token_embd.weight")
        if not shape.tied:
            yield self._matrix("output.weight")

    def _matrix(self, name: str) -> NDArray[np.float32]:
        tensor = self._tensors[name]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def _field(self, key: str, default: Any = None) -> Any:
        field = self._reader.get_field(key)
        if field is not None:
            return field.contents()
        if default is None:
            raise UnsupportedModel(f"the file has no {key}")
        return default

    def _shape(self) -> Shape:
        if (architecture := self._field("general.architecture")) != "llama":
            raise UnsupportedModel(f"general.architecture is {architecture}; the reference computes llama only")
        if (scaling := self._field("llama.rope.scaling.type", "none")) != "none" or "rope_freqs.weight" in self._tensors:
            raise UnsupportedModel(f"llama.rope.scaling.type is {scaling}; the reference computes unscaled rope only")
        biases = sorted(name for name in self._tensors if name.endswith(".bias"))
        if biases:
            raise UnsupportedModel(f"the file has biases, {biases[0]} for one; the reference computes none")
        width, heads = int(self._field("llama.embedding_length")), int(self._field("llama.attention.head_count"))
        head_width = int(self._field("llama.attention.key_length", width // heads))
        if int(self._field("llama.rope.dimension_count", head_width)) != head_width:
            raise UnsupportedModel("llama.rope.dimension_count is not the width of a head")
        return Shape(
            layers=int(self._field("llama.block_count")),
            width=width,
            heads=heads,
            kv_heads=int(self._field("llama.attention.head_count_kv", heads)),
            head_width=head_width,
            hidden=int(self._field("llama.feed_forward_length")),
            vocabulary=len(self._reader.fields["tokenizer.ggml.tokens"].data),
            context=int(self._field("llama.context_length")),
            rope_base=float(self._field("llama.rope.freq_base", 10000.0)),
            epsilon=float(self._field("llama.attention.layer_norm_rms_epsilon")),
            tied="output.weight" not in self._tensors,
        )

    def _eos(self) -> tuple[int, ...]:
        """Tokens that end an answer: the declared ones, and chat end marks by the names the engine knows too."""
        names = self._field("tokenizer.ggml.tokens")
        ends = [int(self._field("tokenizer.ggml.eos_token_id"))]
        ends += [names.index(name) for name in ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>") if name in names]
        return tuple(sorted(dict.fromkeys(ends)))

    def _tokenizer(self) -> str:
        """The byte-level BPE tokeniser as the `tokenizers` package writes it."""
        if (kind := self._field("tokenizer.ggml.model")) != "gpt2":
            raise UnsupportedModel(f"tokenizer.ggml.model is {kind}; the reference knows gpt2 (byte-level BPE) only")
        names, kinds = self._field("tokenizer.ggml.tokens"), self._field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ")) for merge in self._field("tokenizer.ggml.merges")]
        vocabulary = {name: index for index, name in enumerate(names)}
        tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = _pre_tokenizer(str(self._field("tokenizer.ggml.pre")))
        tokenizer.decoder = ByteLevelDecoder()
        special = [name for name, kind in zip(names, kinds, strict=True) if kind in (_CONTROL, _USER_DEFINED)]
        tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
        text: str = tokenizer.to_str()
        return text


def _pre_tokenizer(name: str) -> PreTokenizer:
    """The splitting rules that the engine applies under this name."""
    if name == "smollm":
        return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])
    if name in ("gpt-2", "default"):
        return ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "llama-bpe":
        split = Split(Regex(_LLAMA3_SPLIT), behavior="isolated")
        return Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    raise UnsupportedModel(f"tokenizer.ggml.pre is {name}; the reference knows smollm, gpt-2 and llama-bpe")


def _split_halves(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head from interleaved rotary pairs to two halves; the dot products stay the same."""
    grouped = matrix.reshape(heads, -1, 2, matrix.shape[1])
    return grouped.swapaxes(1, 2).reshape(matrix.shape)
