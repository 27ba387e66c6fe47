"""Relays come and go: the gateway hears of it within seconds, answers go on, and the doctor says what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import openai

MODEL = "smollm2-135m-instruct"
DEAD = ("relay-03", "relay-11")


def gossip(localnet: Any, fetch: Callable[[str], str]) -> dict[str, Any]:
    """What the gateway has heard."""
    document: dict[str, Any] = json.loads(fetch(f"http://127.0.0.1:{localnet.port_base + 1000}/status"))["gossip"]
    return document


def test_dead_relays_are_noticed_answers_go_on_and_they_return(localnet: Any, fetch: Any) -> None:
    everybody = sum(row["role"] in ("relay", "model") for row in localnet.query("nodes")["nodes"])
    localnet.until(lambda: gossip(localnet, fetch)["heard"] == everybody, "the gateway has heard of everybody")
    localnet.until(lambda: gossip(localnet, fetch)["silent_relays"] == 0, "no relay is silent")
    for name in DEAD:
        localnet.localnet("kill", name)
    client = openai.OpenAI(base_url=localnet.base_url, api_key="any", max_retries=0)
    said = [
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": f"Say {number}."}], max_tokens=4)
        for number in range(4)
    ]
    assert all(each.choices[0].message.content for each in said)
    localnet.until(lambda: gossip(localnet, fetch)["silent_relays"] == len(DEAD), "the dead are out of new paths", 60.0)
    assert not gossip(localnet, fetch)["doubted"]
    for name in DEAD:
        localnet.localnet("start", name)
    localnet.until(lambda: gossip(localnet, fetch)["silent_relays"] == 0, "they are back in new paths", 60.0)


def test_the_doctor_finds_what_is_well_and_what_is_not(localnet: Any) -> None:
    for name in ("relay-00", "model-0", "gateway"):
        done = localnet.run("doctor", name, "--home", str(localnet.home), "--output", "json", check=False)
        document = json.loads(done.stdout)
        assert done.returncode == 0 and document["well"], document
    localnet.localnet("kill", "relay-05")
    done = localnet.run("doctor", "relay-05", "--home", str(localnet.home), "--output", "json", check=False)
    bad = [finding["check"] for finding in json.loads(done.stdout)["findings"] if finding["verdict"] == "bad"]
    assert done.returncode == 1 and bad == ["process", "port"]
    localnet.localnet("start", "relay-05")
    localnet.until(lambda: localnet.node("relay-05")["state"] == "running", "relay-05 is back")
