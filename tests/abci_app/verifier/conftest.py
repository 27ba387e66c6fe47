"""A tiny llama-architecture model as a GGUF file and as a reference, made once per run."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from abci_app.verifier.reference.__main__ import main
from abci_app.verifier.reference.layout import ReferenceInfo, info_from_json, info_path
from abci_app.verifier.reference.model import ReferenceModel
from abci_app.verifier.reference.prompt import PromptReader

TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
WIDTH, HEADS, HIDDEN, LAYERS = 32, 4, 48, 2


def write_gguf(path: Path, *, architecture: str = "llama", pre: str = "smollm", bias: bool = False) -> Path:
    """A random model over single-byte tokens, one merged one and three control tokens."""
    random = np.random.default_rng(3)
    # The 256 characters that byte-level BPE writes bytes as.
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    names += [chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256)]
    names.append("hi")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(names)
    writer.add_token_types([3, 3, 3, *[1] * 257])
    writer.add_token_merges(["h i"])
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)

    def add(name: str, *dimensions: int) -> None:
        writer.add_tensor(name, (random.standard_normal(dimensions) * 0.3).astype(np.float16))

    add("token_embd.weight", len(names), WIDTH)
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(WIDTH, dtype=np.float32))
        add(f"blk.{layer}.attn_q.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.attn_k.weight", WIDTH // 2, WIDTH)
        add(f"blk.{layer}.attn_v.weight", WIDTH // 2, WIDTH)
        add(f"blk.{layer}.attn_output.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", HIDDEN, WIDTH)
        add(f"blk.{layer}.ffn_up.weight", HIDDEN, WIDTH)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, HIDDEN)
    if bias:
        add("blk.0.attn_q.bias", WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class TinyReference:
    """The files and everything made from them."""

    def __init__(self, folder: Path) -> None:
        self.source = write_gguf(folder / "tiny.gguf")
        self.weights = folder / "tiny.npy"
        assert main(["build", str(self.source), str(self.weights)]) == 0
        self.info: ReferenceInfo = info_from_json(info_path(self.weights).read_text())
        self.reader = PromptReader(self.info)
        self.model = ReferenceModel(self.info.shape, np.load(self.weights, mmap_mode="r"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyReference:
    return TinyReference(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def make_gguf() -> object:
    """The builder, for files that must be refused."""
    return write_gguf
