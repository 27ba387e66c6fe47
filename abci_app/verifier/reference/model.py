"""One teacher-forced forward pass over many sequences: a llama-architecture transformer in NumPy, in f32.

Sequences that begin alike (a chat template) share their rows: the batch is a trie of tokens, so that a common prefix is
multiplied once. Only the rows that predict answer tokens are turned into logits. Section 6 of `docs/verification.md`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abci_app.verifier.reference.layout import Shape, tensors

Matrix = NDArray[np.float32]
LOGIT_ROWS = 32  # rows of logits held at once: 32 x 49152 x 4 bytes = 6 MB
FFN_ROWS = 128  # rows in the wide middle of a layer at once


@dataclass(frozen=True, slots=True)
class Scored:
    """A sequence to score: logits are wanted for every token from `answer_at` on."""

    tokens: tuple[int, ...]
    answer_at: int


class ReferenceModel:
    """The weights of one model, laid over a mapped array; holds nothing else."""

    def __init__(self, shape: Shape, weights: Matrix) -> None:
        self.shape = shape
        self._parts: dict[str, Matrix] = {}
        at = 0
        for name, dimensions in tensors(shape):
            size = int(np.prod(dimensions))
            self._parts[name] = weights[at : at + size].reshape(dimensions)
            at += size

    def logits(self, batch: Sequence[Scored]) -> Iterator[tuple[int, int, Matrix]]:
        """For each sequence, in order: (its index, first answer position of the rows, rows of logits)."""
        paths, tokens = _trie(batch)
        rows = self._hidden(paths, tokens)
        output = self._parts["embedding" if self.shape.tied else "output"]
        for index, (path, sequence) in enumerate(zip(paths, batch, strict=True)):
            wanted = path[sequence.answer_at - 1 : len(sequence.tokens) - 1]
            for start in range(0, len(wanted), LOGIT_ROWS):
                yield index, start, rows[wanted[start : start + LOGIT_ROWS]] @ output.T

    def _hidden(self, paths: list[NDArray[np.intp]], tokens: NDArray[np.intp]) -> Matrix:
        """The normalised last hidden state of every row of the trie."""
        shape, part = self.shape, self._parts
        attention = _Attention(shape, paths)
        rows = part["embedding"][tokens]
        for layer in range(shape.layers):
            normal = _normalised(rows, part[f"{layer}.attention_norm"], shape.epsilon)
            mixed = attention.apply(normal @ part[f"{layer}.qkv"].T)
            rows += mixed @ part[f"{layer}.attention_out"].T
            normal = _normalised(rows, part[f"{layer}.ffn_norm"], shape.epsilon)
            for start in range(0, len(rows), FFN_ROWS):
                wide = normal[start : start + FFN_ROWS] @ part[f"{layer}.gate_up"].T
                gate, up = wide[:, : shape.hidden], wide[:, shape.hidden :]
                rows[start : start + FFN_ROWS] += (_silu(gate) * up) @ part[f"{layer}.down"].T
        return _normalised(rows, part["output_norm"], shape.epsilon)


class _Attention:
    """Grouped-query causal attention of padded sequences over the shared rows."""

    def __init__(self, shape: Shape, paths: list[NDArray[np.intp]]) -> None:
        self._shape = shape
        longest = max(len(path) for path in paths)
        self._rows = np.zeros((len(paths), longest), dtype=np.intp)
        self._real = np.zeros((len(paths), longest), dtype=bool)
        for index, path in enumerate(paths):
            self._rows[index, : len(path)] = path
            self._real[index, : len(path)] = True
        frequency = shape.rope_base ** (-np.arange(0, shape.head_width, 2) / shape.head_width)
        angle = np.arange(longest)[:, None] * frequency[None, :]
        # Rows of the trie have one position each: their depth.
        depth = np.zeros(1 + max(int(path.max()) for path in paths), dtype=np.intp)
        for path in paths:
            depth[path] = np.arange(len(path))
        self._cos = np.cos(angle).astype(np.float32)[depth][:, None, :]
        self._sin = np.sin(angle).astype(np.float32)[depth][:, None, :]
        self._mask = np.triu(np.full((longest, longest), -np.inf, dtype=np.float32), 1)

    def apply(self, qkv: Matrix) -> Matrix:
        """The heads' outputs for every row, given its stacked queries, keys and values."""
        shape = self._shape
        width, kv_heads = shape.head_width, shape.kv_heads
        group = shape.heads // kv_heads
        edge = shape.heads * width
        queries = self._rotated(qkv[:, :edge].reshape(-1, shape.heads, width)) * np.float32(width**-0.5)
        keys = self._rotated(qkv[:, edge : edge + kv_heads * width].reshape(-1, kv_heads, width))
        values = qkv[:, edge + kv_heads * width :].reshape(-1, kv_heads, width)
        count, longest = self._rows.shape
        asked = queries[self._rows].reshape(count, longest, kv_heads, group, width).transpose(0, 2, 3, 1, 4)
        held = keys[self._rows].transpose(0, 2, 3, 1)[:, :, None]
        weights = np.matmul(asked, held)
        weights += self._mask
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = np.matmul(weights, values[self._rows].transpose(0, 2, 1, 3)[:, :, None])
        flat = mixed.transpose(0, 3, 1, 2, 4).reshape(count, longest, edge)
        result = np.empty((len(qkv), edge), dtype=np.float32)
        result[self._rows[self._real]] = flat[self._real]
        return result

    def _rotated(self, heads: Matrix) -> Matrix:
        half = heads.shape[-1] // 2
        first, second = heads[..., :half], heads[..., half:]
        return np.concatenate(
            [first * self._cos - second * self._sin, second * self._cos + first * self._sin],
            axis=-1,
        )


def _trie(batch: Sequence[Scored]) -> tuple[list[NDArray[np.intp]], NDArray[np.intp]]:
    """Each sequence as a path of rows, sequences with a common prefix sharing its rows; and the token of every row."""
    children: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    paths: list[NDArray[np.intp]] = []
    for sequence in batch:
        row, path = -1, []
        for token in sequence.tokens:
            step = (row, token)
            if step not in children:
                children[step] = len(tokens)
                tokens.append(token)
            row = children[step]
            path.append(row)
        paths.append(np.array(path, dtype=np.intp))
    return paths, np.array(tokens, dtype=np.intp)


def _normalised(rows: Matrix, gain: Matrix, epsilon: float) -> Matrix:
    scale = np.sqrt(np.einsum("ij,ij->i", rows, rows) / np.float32(rows.shape[1]) + np.float32(epsilon))
    result: Matrix = rows / scale[:, None] * gain
    return result


def _silu(values: Matrix) -> Matrix:
    result: Matrix = values / (1 + np.exp(-values))
    return result
