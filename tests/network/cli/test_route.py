"""`planetserve route explain`: which ports it asks, what it prints, and what it says when there is nothing to ask."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from network.cli import output, route
from serving_node.decisions import DecisionLog, Outcome
from serving_node.routing import Candidate, Decision

HERE, THERE = b"\x01" * 20, b"\x02" * 20
ROWS = (
    Candidate(HERE, True, 10**9, 0, 0, 0.0, 0.0, 1.5, 0.0, 0.0065, 1.0, 1.0, 4.1),
    Candidate(THERE, False, 5 * 10**8, 400, 380, 12.0, 0.0, 0.0, 0.002, 0.0065, 1.0, 1.0, 0.25, 0.95, 0.01),
)


def document() -> dict[str, Any]:
    log = DecisionLog()
    decision = Decision(THERE, "ttft", 380, "soonest first token", ROWS, 0.25, 7, 10.0, 400)
    log.decided(decision)
    log.ended(decision, Outcome(THERE, 0, 0.2, "broken"))
    log.ended(decision, Outcome(HERE, 16, 4.25))
    names = {HERE.hex(): "model-1", THERE.hex(): "model-2"}
    return {"node_id": HERE.hex(), "policy": "ttft", "names": names, "decisions": log.explain(12.0)}


@pytest.fixture
async def ops() -> AsyncIterator[tuple[str, list[Any], list[str]]]:
    """A metrics port that answers what a test puts into the list, and the queries it got."""
    answers: list[Any] = []
    asked: list[str] = []

    async def script(request: web.Request) -> web.Response:
        asked.append(request.query_string)
        return web.json_response(answers.pop(0))

    app = web.Application()
    app.router.add_get("/decisions", script)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", answers, asked
    await runner.cleanup()


async def ask(*words: str) -> int:
    return await route.route(route.parser().parse_args(["explain", *words]))


async def test_a_decision_is_a_line_and_with_its_id_a_table(ops: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port, answers, asked = ops
    answers += [document(), document(), document()]
    assert await ask("--ops", f"http://{port}", "--last", "3") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].split()[:3] == ["ID", "AGO_S", "CHOSEN"]
    assert said[2].split() == [
        "7", "2.0", "model-2", "soonest", "first", "token", "400", "380", "16", "0.25", "4.25",
        "model-2:", "broken,", "model-1:", "answered",
    ]  # fmt: skip
    assert await ask("--ops", f"http://{port}", "--id", "7") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[4].split()[:5] == ["NODE", "CHOSEN", "HELD", "AGE_S", "SURVIVAL"]
    assert said[5].split()[:3] == ["model-1", "(here)", "no"] and said[6].split()[:3] == ["model-2", "yes", "400"]
    assert await ask("--ops", f"http://{port}/", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)[f"http://{port}/"]["decisions"][0]["id"] == 7
    assert asked == ["last=3", "id=7", "last=20"]


async def test_the_home_names_the_ports(ops: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port, answers, _ = ops
    for name, more in (("model-1", '[engine]\ngroup = "m"\n'), ("relay-1", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text(f'[node]\nmetrics = "{port}"\n{more}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text("no toml")
    answers += [document(), document()]
    assert await ask("--home", str(tmp_path)) == 0
    assert capsys.readouterr().out.startswith("model-1: policy ttft\n")
    assert await ask("--home", str(tmp_path), "--node", "model-1", "--output", "json") == 0
    assert list(json.loads(capsys.readouterr().out)) == ["model-1"]


async def test_what_cannot_be_asked_is_said(ops: Any, tmp_path: Path) -> None:
    port, answers, _ = ops
    answers += [["something else"], {**document(), "decisions": []}]
    with pytest.raises(output.CommandFailed, match="not a model node's metrics port"):
        await ask("--ops", f"http://{port}")
    with pytest.raises(output.CommandFailed, match="does not keep decision 9"):
        await ask("--ops", f"http://{port}", "--id", "9")
    with pytest.raises(output.CommandFailed, match="--node"):
        await ask("--home", str(tmp_path))
    with pytest.raises(output.CommandFailed, match="'gone'"):
        await ask("--home", str(tmp_path), "--node", "gone")
    with pytest.raises(output.CommandFailed, match="is it running"):
        await ask("--ops", "http://127.0.0.1:1")
