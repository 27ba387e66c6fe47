"""A model node's settings: what is read, and that a bad value stops the start with its name."""

from pathlib import Path
from typing import Any

import pytest

from network.errors import ConfigError
from serving_node.config import from_mapping

NODE = {
    "name": "model-0",
    "chain_id": "c",
    "listen": "127.0.0.1:8900",
    "metrics": "127.0.0.1:9900",
    "family": "f",
    "rpc": ["http://127.0.0.1:26657"],
    "genesis": "../genesis.json",
    "keys": "keys.json",
}
ENGINE = {
    "kind": "embedded",
    "group": "tiny",
    "model_path": "/m/model.gguf",
    "model_hash": "ab" * 32,
    "address": "127.0.0.1:8950",
    "threads": 1,
    "context": 4096,
    "slots": 2,
    "url": "",
}


def config(**engine: Any) -> Any:
    return from_mapping({"node": NODE, "engine": {**ENGINE, **engine}, "routing": {"policy": "ttft"}}, Path("/home"))


def test_settings_are_read() -> None:
    read = config()
    assert read.engine.model_hash == bytes.fromhex("ab" * 32) and read.engine.request_context == 2048
    assert read.policy == "ttft" and read.node.keys == Path("/home/keys.json")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "torch"}, "engine.kind"),
        ({"model_hash": "xy"}, "engine.model_hash"),
        ({"address": "0.0.0.0:8950"}, "engine.address"),
        ({"slots": 0}, "engine.slots"),
        ({"context": 256, "slots": 4}, "engine.context"),
        ({"url": "http://x"}, "engine.url"),
        ({"url": "ftp://x", "kind": "vllm"}, "engine.url"),
        ({"group": ""}, "engine.group"),
        ({"gpu": 1}, "engine.gpu"),
    ],
)
def test_a_bad_value_names_its_key(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        config(**change)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"routing\.policy"):
        from_mapping({"node": NODE, "engine": ENGINE, "routing": {"policy": "luck"}}, Path("/home"))
