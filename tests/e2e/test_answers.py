"""What `make localnet` promises: an answer, its story, and a status that scripts can read."""

import re
from typing import Any

ROLES = {"validator": 4, "relay": 16, "model": 4, "gateway": 1}


def test_up_streams_an_answer_and_tells_its_story(localnet: Any) -> None:
    said = localnet.output
    assert re.search(r"first token +\d+\.\d+ s; \d+ tokens in", said)
    assert re.search(r"answered by +model-\d \([0-9a-f]{12}\), reputation \d\.\d+", said)
    assert re.search(r"route +gateway -> four circuits of three relays -> model-\d", said)
    assert f"OPENAI_BASE_URL={localnet.base_url}" in said


def test_up_again_says_already_running(localnet: Any) -> None:
    before = {row["name"]: row["pid"] for row in localnet.status()["nodes"]}
    assert "already running" in localnet.localnet("up")
    assert {row["name"]: row["pid"] for row in localnet.status()["nodes"]} == before


def test_status_is_the_document_that_scripts_rely_on(localnet: Any) -> None:
    document = localnet.status()
    assert set(document) == {"chain_id", "height", "epoch", "ready", "openai_base_url", "nodes"}
    assert document["chain_id"] == "planetserve-localnet" and document["ready"] is True
    assert document["height"] > 0 and document["epoch"] >= 0
    assert document["openai_base_url"] == localnet.base_url
    counts: dict[str, int] = {}
    for row in document["nodes"]:
        assert set(row) == {"name", "role", "pid", "address", "state", "pss_bytes", "honest"}
        assert row["state"] == "running" and row["pid"] > 1 and row["pss_bytes"] > 1_000_000
        counts[row["role"]] = counts.get(row["role"], 0) + 1
    assert counts == ROLES
    assert [row["name"] for row in document["nodes"] if not row["honest"]] == ["model-3"]


def test_the_home_is_laid_out_as_documented(localnet: Any) -> None:
    assert (localnet.home / "manifest.toml").is_file()
    for row in localnet.status()["nodes"]:
        folder = localnet.home / row["name"]
        assert (folder / "config.toml").is_file() and (folder / "log").is_file()
        assert (folder / "pid").read_text().strip() == str(row["pid"])
        assert (folder / "keys.json").stat().st_mode & 0o077 == 0
    assert (localnet.home / "validator-0" / "comet" / "config" / "genesis.json").is_file()


def test_everybody_listens_on_loopback_only(localnet: Any, fetch: Any) -> None:
    for row in localnet.status()["nodes"]:
        assert row["address"].startswith("127.0.0.1:")
        port = int(row["address"].rpartition(":")[2])
        metrics = port + 3 if row["role"] == "validator" else port + 1000
        status = fetch(f"http://127.0.0.1:{metrics}/status")
        assert f'"{row["name"]}"' in status
        assert "# TYPE" in fetch(f"http://127.0.0.1:{metrics}/metrics")


def test_healthy_logs_have_no_error_and_no_prompt(localnet: Any) -> None:
    for log in localnet.home.glob("*/log"):
        text = log.read_text(errors="replace")
        assert "Traceback" not in text, f"{log.parent.name}: {text[:2000]}"
        assert "what is a network" not in text, log.parent.name


def test_logs_shows_what_a_node_wrote(localnet: Any) -> None:
    assert localnet.localnet("logs", "relay-00", "-n", "5")
    assert "no node is named" in localnet.run("localnet", "logs", "nobody", "--home", str(localnet.home), check=False).stderr
