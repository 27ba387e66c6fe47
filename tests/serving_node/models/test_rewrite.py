"""Rewriting GGUF files, on a small one made here: shapes, types, names, and bytes that repeat."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from serving_node.models import rewrite
from serving_node.models.rewrite import spread, to_f16, to_q4_0, without_layers

LAYERS, WIDTH = 6, 32


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    rng = np.random.RandomState(1)
    writer.add_tensor("token_embd.weight", rng.randn(2, WIDTH).astype(np.float32))
    for layer in range(LAYERS):
        values = rng.randn(WIDTH, WIDTH).astype(np.float32)
        raw = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", raw, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.full(WIDTH, layer, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def values(tensor: Any) -> Any:
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def quiet(_done: int, _total: int) -> None:
    """No progress in tests."""


def test_f16_holds_the_dequantised_values(source: Path, tmp_path: Path) -> None:
    to_f16(source, tmp_path / "f16.gguf", quiet)
    before, after = tensors(source), tensors(tmp_path / "f16.gguf")
    assert list(before) == list(after)
    for name, tensor in after.items():
        norm = name.endswith("norm.weight")
        assert tensor.tensor_type == (gguf.GGMLQuantizationType.F32 if norm else gguf.GGMLQuantizationType.F16)
        expected = values(before[name]).astype(np.float16).astype(np.float32)
        assert np.array_equal(values(tensor).astype(np.float32).ravel(), expected.ravel())
    fields = gguf.GGUFReader(tmp_path / "f16.gguf").fields
    assert fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_F16
    assert fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]


def test_the_same_input_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        to_f16(source, tmp_path / name, quiet)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_q4_0_is_four_bits(source: Path, tmp_path: Path) -> None:
    to_q4_0(source, tmp_path / "q4.gguf", quiet)
    tensor = tensors(tmp_path / "q4.gguf")["blk.0.ffn_up.weight"]
    assert tensor.tensor_type == gguf.GGMLQuantizationType.Q4_0 and tensor.n_bytes == WIDTH * WIDTH // 32 * 18
    assert 0 < np.abs(values(tensor) - values(tensors(source)["blk.0.ffn_up.weight"])).max() < 1


def test_dropped_layers_leave_no_hole(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    without_layers(source, tmp_path / "drop.gguf", 2, lambda done, total: seen.append((done, total)))
    after = tensors(tmp_path / "drop.gguf")
    assert gguf.GGUFReader(tmp_path / "drop.gguf").fields["llama.block_count"].contents() == LAYERS - 2
    kept = [layer for layer in range(LAYERS) if layer not in spread(LAYERS, 2)]
    assert [int(values(after[f"blk.{number}.attn_norm.weight"])[0]) for number in range(LAYERS - 2)] == kept
    assert seen[-1][0] == seen[-1][1] == len(after)


@pytest.mark.parametrize("count", [0, LAYERS - 1])
def test_the_first_and_last_layer_stay(source: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 4"):
        without_layers(source, tmp_path / "drop.gguf", count, quiet)


def test_layers_are_spread_over_the_middle() -> None:
    for total in range(3, 40):
        for count in range(1, total - 1):
            chosen = rewrite.spread(total, count)
            assert len(chosen) == count and min(chosen) >= 1 and max(chosen) <= total - 2
