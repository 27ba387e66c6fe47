"""From a GGUF file to a reference: what is read, what is refused, and that building is idempotent."""

from pathlib import Path
from typing import Any

import pytest

from abci_app.verifier.reference.__main__ import main
from abci_app.verifier.reference.gguf_source import GgufSource, UnsupportedModel
from abci_app.verifier.reference.layout import count, info_path


def test_shape_tokeniser_and_weights(tiny: Any) -> None:
    shape = tiny.info.shape
    assert (shape.layers, shape.heads, shape.kv_heads, shape.head_width, shape.vocabulary) == (2, 4, 2, 8, 260)
    assert shape.tied and tiny.info.eos_tokens == (0, 2)
    assert tiny.weights.stat().st_size == 4 * count(shape) + 128  # the .npy header
    text = "héllo 12\n"
    assert tiny.reader.tokens(b'{"prompt": "<|im_start|>a"}')[0] == 1
    assert len(tiny.reader.tokens(('{"prompt": "' + text.replace("\n", "\\n") + '"}').encode())) == len(text.encode())


def test_building_again_changes_nothing(tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = tiny.weights.stat().st_mtime_ns
    assert main(["build", "--model", str(tiny.source), "--out", str(tiny.weights)]) == 0
    assert tiny.weights.stat().st_mtime_ns == before and "already there" in capsys.readouterr().err


def test_a_broken_description_is_built_again(tiny: Any, tmp_path: Path) -> None:
    target = tmp_path / "again.npy"
    target.write_bytes(b"half")
    info_path(target).write_text("{")
    assert main(["build", str(tiny.source), str(target)]) == 0
    assert target.read_bytes() == tiny.weights.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.npy", "again.npy.json"]


def test_what_the_reference_does_not_compute_is_refused(make_gguf: Any, tmp_path: Path) -> None:
    for changes, word in (({"architecture": "qwen2"}, "architecture"), ({"pre": "deepseek"}, "pre"), ({"bias": True}, "bias")):
        with pytest.raises(UnsupportedModel, match=word):
            GgufSource(make_gguf(tmp_path / "odd.gguf", **changes), "00")
    assert main(["build", str(tmp_path / "odd.gguf"), str(tmp_path / "odd.npy")]) == 1
    assert main(["build", str(tmp_path / "absent.gguf"), str(tmp_path / "odd.npy")]) == 3
