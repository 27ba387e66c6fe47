"""Nodes die, stop and come back while the network answers."""

import re
import time
from typing import Any

import openai
import pytest

MODEL = "smollm2-135m-instruct"
STORY: Any = [{"role": "user", "content": "Tell me a long story about a lighthouse."}]


def cells(localnet: Any, fetch: Any) -> dict[str, float]:
    """How many bytes or cells each relay has carried, by its own counters."""
    carried = {}
    for row in localnet.status()["nodes"]:
        if row["role"] == "relay" and row["state"] == "running":
            text = fetch(f"http://127.0.0.1:{int(row['address'].rpartition(':')[2]) + 1000}/metrics")
            rows = re.findall(r"^planetserve_relay_cells\S*(?:\{[^}]*\})? ([0-9.e+]+)$", text, re.MULTILINE)
            carried[row["name"]] = sum(float(value) for value in rows)
    return carried


def test_a_relay_that_dies_in_mid_answer_does_not_break_it(localnet: Any, fetch: Any) -> None:
    client = openai.OpenAI(base_url=localnet.base_url, api_key="any", max_retries=0)
    before = cells(localnet, fetch)
    stream = client.chat.completions.create(model=MODEL, messages=STORY, max_tokens=200, stream=True, temperature=1.0)
    pieces, killed, finish = 0, "", None
    for chunk in stream:
        pieces += bool(chunk.choices and chunk.choices[0].delta.content)
        finish = chunk.choices[0].finish_reason or finish if chunk.choices else finish
        if pieces == 5 and not killed:
            after = cells(localnet, fetch)
            killed = max(after, key=lambda name: after[name] - before.get(name, 0.0))
            localnet.localnet("kill", killed)
    assert killed and finish in ("stop", "length") and pieces > 20
    assert localnet.node(killed)["state"] == "stopped"
    assert client.chat.completions.create(model=MODEL, messages=STORY, max_tokens=8).choices[0].message.content
    localnet.localnet("start", killed)
    localnet.until(lambda: localnet.node(killed)["state"] == "running", f"{killed} is back")


def test_pause_and_resume(localnet: Any) -> None:
    assert "paused" in localnet.localnet("pause", "relay-15")
    assert localnet.node("relay-15")["state"] == "paused"
    assert "resumed" in localnet.localnet("resume", "relay-15")
    localnet.until(lambda: localnet.node("relay-15")["state"] == "running", "relay-15 goes on")


@pytest.mark.parametrize("victim", ["cometbft", "abci_app.app"])
def test_a_validator_recovers_from_kill_nine(localnet: Any, family_of: Any, kill_nine: Any, fetch: Any, victim: str) -> None:
    validator = localnet.node("validator-1")
    pids = [pid for pid, line in family_of(validator["pid"]).items() if victim in line and "verifier" not in line]
    assert pids, family_of(validator["pid"])
    before = localnet.status()["height"]
    kill_nine(pids[0])

    def height() -> int:
        try:
            return int(re.search(r'"latest_block_height":\s*"(\d+)"', fetch(f"http://{validator['address']}/status")).group(1))  # type: ignore[union-attr]
        except OSError:
            return 0

    localnet.until(lambda: height() > before + 3, "validator-1 follows the chain again")
    assert localnet.node("validator-1")["pid"] == validator["pid"]


def test_a_killed_validator_does_not_stop_the_chain_and_returns(localnet: Any) -> None:
    before = localnet.status()["height"]
    localnet.localnet("kill", "validator-3")
    assert localnet.node("validator-3") == {**localnet.node("validator-3"), "state": "stopped", "pid": None}
    localnet.until(lambda: localnet.status()["height"] > before + 3, "three validators go on")
    localnet.localnet("start", "validator-3")
    localnet.until(lambda: localnet.node("validator-3")["state"] == "running", "validator-3 is back")


def test_a_killed_model_node_is_left_aside(localnet: Any) -> None:
    client = openai.OpenAI(base_url=localnet.base_url, api_key="any")
    localnet.localnet("kill", "model-2")
    for _ in range(4):
        assert client.chat.completions.create(model=MODEL, messages=STORY, max_tokens=4).choices[0].message.content
        time.sleep(0.2)
    localnet.localnet("start", "model-2")
    localnet.until(lambda: localnet.node("model-2")["state"] == "running", "model-2 is back")


def test_up_starts_what_is_missing(localnet: Any) -> None:
    localnet.localnet("kill", "relay-07")
    assert "first token" in localnet.localnet("up")
    assert localnet.node("relay-07")["state"] == "running"
