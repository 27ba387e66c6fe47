"""The reference file: what is in it and where.

`NAME.npy` is one flat little-endian f32 array with every matrix in the order below; `NAME.npy.json` beside it holds the
shape, the hash of the GGUF file it came from, the chat template and the tokeniser. All processes of a machine map the same
array. Query and key rows are reordered so that rotary pairs are (i, i + half) instead of (2i, 2i + 1).
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """Hyperparameters of a llama-architecture model."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    vocabulary: int
    context: int
    rope_base: float
    epsilon: float
    tied: bool


@dataclass(frozen=True, slots=True)
class ReferenceInfo:
    """Everything about a reference but its weights."""

    format: int
    model_hash: str
    shape: Shape
    chat_template: str
    eos_tokens: tuple[int, ...]
    tokenizer: str

    def to_json(self) -> str:
        """The text of the `.json` file."""
        return json.dumps(asdict(self))


def info_from_json(raw: str) -> ReferenceInfo:
    """The inverse of `to_json`. Raises ValueError for another format."""
    fields = json.loads(raw)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError(f"not a reference description of format {FORMAT}: build it again")
    fields["shape"] = Shape(**fields["shape"])
    fields["eos_tokens"] = tuple(fields["eos_tokens"])
    return ReferenceInfo(**fields)


def info_path(weights: Path) -> Path:
    """Where the description of a weight file lies."""
    return weights.with_name(weights.name + ".json")


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and dimensions of the matrices, in file order; a layer's that are multiplied together are stacked."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    for layer in range(shape.layers):
        yield f"{layer}.attention_norm", (shape.width,)
        yield f"{layer}.qkv", (queries + 2 * keys, shape.width)
        yield f"{layer}.attention_out", (shape.width, queries)
        yield f"{layer}.ffn_norm", (shape.width,)
        yield f"{layer}.gate_up", (2 * shape.hidden, shape.width)
        yield f"{layer}.down", (shape.width, shape.hidden)
    yield "output_norm", (shape.width,)
    yield "embedding", (shape.vocabulary, shape.width)
    if not shape.tied:
        yield "output", (shape.vocabulary, shape.width)


def count(shape: Shape) -> int:
    """How many numbers the weight file holds."""
    total = 0
    for _, dimensions in tensors(shape):
        size = 1
        for dimension in dimensions:
            size *= dimension
        total += size
    return total
