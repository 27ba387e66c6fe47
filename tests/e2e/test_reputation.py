"""Epochs run by themselves: the dishonest node loses its standing and its traffic, and every claim has a proof."""

import time
from decimal import Decimal
from typing import Any

import openai
import pytest

MODEL = "smollm2-135m-instruct"
FIVE_MINUTES = 300.0


def models(localnet: Any) -> dict[str, Any]:
    """The ledger's rows of the model nodes, by name."""
    return {row["name"]: row for row in localnet.query("nodes")["nodes"] if row["role"] == "model"}


def test_query_nodes_is_the_document_that_scripts_rely_on(localnet: Any) -> None:
    document = localnet.query("nodes")
    assert {"height", "epoch", "nodes"} <= set(document)
    for row in document["nodes"]:
        assert {"id", "name", "role", "model", "reputation", "trusted", "address", "operator"} <= set(row)
        assert isinstance(row["reputation"], str) and 0 <= Decimal(row["reputation"]) <= 1
    assert {row["role"] for row in document["nodes"]} <= {"validator", "relay", "model", "gateway"}


@pytest.mark.parametrize("what", ["nodes", "params", "epoch", "directory", "committee"])
def test_a_query_comes_with_its_proof(localnet: Any, what: str) -> None:
    proof = localnet.query(what, "--prove")["proof"]
    assert set(proof) == {"path", "key_hex", "value_hex", "height", "verified"}
    assert proof["verified"] is True and proof["height"] > 0
    assert bytes.fromhex(proof["key_hex"]) and proof["path"].startswith("/store/main/key")


def test_the_dishonest_node_falls_below_the_threshold(localnet: Any) -> None:
    left = FIVE_MINUTES - (time.monotonic() - localnet.started)
    localnet.until(lambda: not models(localnet)["model-3"]["trusted"], "model-3 is untrusted", max(left, 1.0))
    now = models(localnet)
    assert Decimal(now["model-3"]["reputation"]) < Decimal("0.4")
    assert all(now[name]["trusted"] for name in ("model-0", "model-1"))


def test_an_untrusted_node_gets_no_more_traffic(localnet: Any) -> None:
    liar = models(localnet)["model-3"]
    assert not liar["trusted"]
    seen = localnet.status()["height"]
    localnet.until(
        lambda: localnet.status()["height"] > seen + 25, "everybody has read the new directory, as each does every 10 s"
    )
    client = openai.OpenAI(base_url=localnet.base_url, api_key="any")
    answered = set()
    for number in range(12):
        messages: Any = [{"role": "user", "content": f"Say the number {number}."}]
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=messages, max_tokens=4)
        answered |= {raw.headers["x-planetserve-node"], *raw.headers["x-planetserve-route"].replace(" ", "").split(",")}
    assert not answered & {liar["id"], liar["name"]}
