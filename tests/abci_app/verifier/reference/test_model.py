"""The batched forward pass against its simple twin: one sequence, one token, one head at a time."""

from collections.abc import Sequence

import numpy as np
import pytest

from abci_app.verifier.reference.layout import FORMAT, ReferenceInfo, Shape, count, info_from_json, tensors
from abci_app.verifier.reference.model import ReferenceModel, Scored

SHAPE = Shape(2, 16, 4, 2, 4, 24, 50, 64, 10_000.0, 1e-5, True)


def weights(shape: Shape) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(count(shape)) * 0.3).astype(np.float32)


def twin(shape: Shape, flat: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """Logits of every position, in f64 and with loops."""
    part, at = {}, 0
    for name, dimensions in tensors(shape):
        size = int(np.prod(dimensions))
        part[name] = flat[at : at + size].reshape(dimensions).astype(np.float64)
        at += size

    def norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean() + shape.epsilon) * gain

    def rotate(x: np.ndarray, position: int) -> np.ndarray:
        half = shape.head_width // 2
        out = x.copy()
        for i in range(half):
            angle = position * shape.rope_base ** (-2 * i / shape.head_width)
            out[i] = x[i] * np.cos(angle) - x[i + half] * np.sin(angle)
            out[i + half] = x[i + half] * np.cos(angle) + x[i] * np.sin(angle)
        return out

    hidden = [part["embedding"][token] for token in tokens]
    width, group = shape.head_width, shape.heads // shape.kv_heads
    for layer in range(shape.layers):
        keys: list[list[np.ndarray]] = []
        values: list[list[np.ndarray]] = []
        for position, x in enumerate(hidden):
            qkv = part[f"{layer}.qkv"] @ norm(x, part[f"{layer}.attention_norm"])
            q = qkv[: shape.heads * width].reshape(-1, width)
            k = qkv[shape.heads * width : (shape.heads + shape.kv_heads) * width].reshape(-1, width)
            keys.append([rotate(head, position) for head in k])
            values.append(list(qkv[(shape.heads + shape.kv_heads) * width :].reshape(-1, width)))
            mixed = []
            for head in range(shape.heads):
                scores = np.array([rotate(q[head], position) @ past[head // group] for past in keys]) / np.sqrt(width)
                share = np.exp(scores - scores.max())
                share /= share.sum()
                mixed.append(sum(s * past[head // group] for s, past in zip(share, values, strict=True)))
            hidden[position] = x + part[f"{layer}.attention_out"] @ np.concatenate(mixed)
        for position, x in enumerate(hidden):
            wide = part[f"{layer}.gate_up"] @ norm(x, part[f"{layer}.ffn_norm"])
            gate, up = wide[: shape.hidden], wide[shape.hidden :]
            hidden[position] = x + part[f"{layer}.down"] @ (gate / (1 + np.exp(-gate)) * up)
    output = part["embedding" if shape.tied else "output"]
    return np.array([output @ norm(x, part["output_norm"]) for x in hidden])


@pytest.mark.parametrize("tied", [True, False])
def test_a_batch_agrees_with_the_twin(tied: bool) -> None:
    shape = Shape(**{**{name: getattr(SHAPE, name) for name in SHAPE.__slots__}, "tied": tied})
    flat = weights(shape)
    batch = [
        Scored((1, 2, 3, 4, 5, 6), 3),
        Scored((1, 2, 3, 9, 9, 9, 9, 7), 3),  # shares a prefix
        Scored((8, 2, 3), 1),
        Scored(tuple(range(40)), 2),  # more answer rows than one piece of logits
        Scored((1, 2, 3, 4, 5, 6), 3),  # the same again
    ]
    found: dict[int, list[np.ndarray]] = {}
    for index, start, rows in ReferenceModel(shape, flat).logits(batch):
        assert start == sum(len(piece) for piece in found.get(index, []))
        found.setdefault(index, []).append(rows)
    for index, sequence in enumerate(batch):
        wanted = twin(shape, flat, sequence.tokens)[sequence.answer_at - 1 : -1]
        assert np.concatenate(found[index]) == pytest.approx(wanted, abs=2e-4)


def test_a_sequence_scores_the_same_alone_and_in_a_batch() -> None:
    model = ReferenceModel(SHAPE, weights(SHAPE))
    sequence = Scored((1, 2, 3, 4, 5, 6), 2)
    alone = np.concatenate([rows for _, _, rows in model.logits([sequence])])
    crowd = [Scored((4, 3, 2, 1), 1), sequence, Scored(tuple(range(30)), 9)]
    together = np.concatenate([rows for index, _, rows in model.logits(crowd) if index == 1])
    assert together == pytest.approx(alone, abs=1e-4)


def test_the_description_survives_its_text_and_refuses_another_format() -> None:
    info = ReferenceInfo(FORMAT, "ab" * 32, SHAPE, "{{ messages }}", (2, 5), "{}")
    assert info_from_json(info.to_json()) == info
    with pytest.raises(ValueError, match="build it again"):
        info_from_json(info.to_json().replace('"format": 1', '"format": 0'))
