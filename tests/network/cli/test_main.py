"""The `planetserve` command as a shell sees it: help, exit codes, words that help, and a document that lists it all."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from network.chain_params import Params
from network.chain_tx import GroupChange, TxKind, UpgradePlan, ValidatorChange, Vote
from network.cli import chat, home, keys, output, proposals, query, requests, tx
from network.cli.main import HELP, MODULES, ROLES
from network.config import TrustRoot
from network.gateway.api_keys import parse_keys
from network.request_times import Marks, times_of

ROOT = Path(__file__).parent.parent.parent.parent
DOCUMENT = ROOT / "docs" / "cli.md"


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "network.cli.main", *words]
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--help",), 0, "localnet"),
        ((), 2, "usage"),
        (("--version",), 0, "planetserve "),
        (("quer",), 2, "did you mean `planetserve query`?"),
        (("relay",), 2, "usage: planetserve relay start"),
        (("relay", "stat"), 2, "did you mean `planetserve relay start`?"),
        (("relay", "start"), 2, "name a node"),
        (("relay", "start", "--help"), 0, "HOME/NAME/config.toml"),
        (("relay", "start", "a", "b"), 2, "name a node"),
        (("gateway", "start", "--config", "none.toml"), 3, "there is no none.toml"),
        (("node", "start", "model-0", "--home", "nowhere"), 3, "nowhere/model-0/config.toml"),
        (("query", "--help"), 0, "committee"),
        (("query", "weather"), 2, "invalid choice: 'weather'"),
        (("query", "node"), 2, "the following arguments are required: id"),
        (("query", "nodes", "--home", "nowhere"), 3, "--genesis"),
        (("chat", "hi", "--base-url", "http://127.0.0.1:9/v1"), 4, "planetserve localnet up"),
        (("keys", "show", "none.json"), 5, "cannot be read"),
        (("tx", "retire", "--keys", "none.json"), 5, "cannot be read"),
        (("doctor", "relay-0", "--config", "none.toml"), 2, "not both"),
        (("doctor", "relay-0", "--home", "nowhere"), 3, "nowhere has no node relay-0; it has: none"),
    ],
)
def test_exit_codes_and_words(words: tuple[str, ...], code: int, says: str, tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code, done
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_api_key_is_printed_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    made = [json.loads(run("keys", "api", "api.txt", name, "--output", "json", cwd=tmp_path).stdout) for name in ("a", "b")]
    kept = (tmp_path / "api.txt").read_text()
    held = parse_keys(kept, "api.txt")
    for one in made:
        assert held.admits(f"Bearer {one['key']}") and one["key"][3:] not in kept
    twice = run("keys", "api", "api.txt", "a", cwd=tmp_path)
    assert twice.returncode == 3 and "line 3: the name a" in twice.stderr
    assert (tmp_path / "api.txt").read_text() == kept and (tmp_path / "api.txt").stat().st_mode & 0o077 == 0


def test_the_doctor_says_what_is_wrong_with_a_node_that_does_not_run(tmp_path: Path) -> None:
    key = {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(bytes(32)).decode()}
    genesis = {
        "genesis_time": "2026-11-21T00:00:00Z",
        "chain_id": "test",
        "initial_height": "1",
        "validators": [{"pub_key": key, "power": "1"}],
    }
    (tmp_path / "genesis.json").write_text(json.dumps(genesis))
    (tmp_path / "config.toml").write_text(
        '[node]\nname = "r"\nchain_id = "test"\nlisten = "127.0.0.1:9"\nmetrics = "127.0.0.1:9"\nfamily = "f"\n'
        'rpc = ["http://127.0.0.1:9"]\ngenesis = "genesis.json"\nkeys = "keys.json"\n'
    )
    done = run("doctor", "--config", "config.toml", "--output", "json", cwd=tmp_path)
    assert done.returncode == 4 and not done.stderr, done
    document = json.loads(done.stdout)
    verdicts = {finding["check"]: finding["verdict"] for finding in document["findings"]}
    assert not document["well"] and [check for check, verdict in verdicts.items() if verdict == "bad"] == [
        "chain",
        "process",
        "port",
    ]
    assert verdicts["keys"] == "warning" and verdicts["reachable"] == "ok"
    (tmp_path / "config.toml").write_text('[node]\nname = "v"\n[comet]\n')
    told = run("doctor", "--config", "config.toml", cwd=tmp_path)
    assert told.returncode == 2 and "planetserve validator doctor" in told.stderr


def test_keys_are_made_and_shown(tmp_path: Path) -> None:
    made = run("keys", "new", "k.json", "--output", "json", cwd=tmp_path)
    shown = run("keys", "show", "k.json", "--output", "json", cwd=tmp_path)
    assert made.returncode == shown.returncode == 0 and made.stdout == shown.stdout
    secret = json.loads((tmp_path / "k.json").read_text())["signing_seed"]
    assert secret not in shown.stdout and len(json.loads(shown.stdout)["id"]) == 40
    assert run("keys", "new", "k.json", cwd=tmp_path).returncode == 5


def test_every_command_is_documented() -> None:
    text = DOCUMENT.read_text()
    for command in ("localnet", *ROLES, *MODULES):
        assert f"`planetserve {command}" in text and f"  {command} " in HELP
    for module in (query, chat, keys, tx):
        parser = module.parser()
        flags = re.findall(r"(--[a-z-]+)", "".join(each.format_help() for each in (parser, *_below(parser))))
        assert not [flag for flag in flags if flag not in text], module.__name__
        for below in _below(parser):
            assert f"`{below.prog.removeprefix('planetserve ')}" in text or f"`{below.prog}" in text, below.prog


def _below(parser: Any) -> list[Any]:
    found: list[Any] = []
    for action in parser._actions:
        if isinstance(action.choices, dict):
            found += action.choices.values()
    return found


def test_exit_codes_are_documented() -> None:
    text = DOCUMENT.read_text()
    for code in (0, output.FAILED, output.USAGE, output.PREFLIGHT, output.UNREACHABLE, output.KEYS):
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE)


def test_the_home_names_the_network(tmp_path: Path) -> None:
    def place(*words: str) -> home.Place:
        return home.place(query.parser().parse_args(["nodes", "--home", str(tmp_path), *words]))

    assert place() == home.Place(
        tmp_path, home.DEFAULT_RPC, tmp_path / "genesis.json", home.DEFAULT_GATEWAY, home.DEFAULT_METRICS
    )
    for name, port, extra in (("gateway", 8001, "[gateway]\n"), ("relay-00", 8002, "")):
        (tmp_path / name).mkdir()
        config = f'[node]\nlisten = "127.0.0.1:{port}"\nrpc = ["http://127.0.0.1:{port + 1}"]\n'
        config += f'metrics = "127.0.0.1:{port + 2}"\n{extra}'
        (tmp_path / name / "config.toml").write_text(config)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text("[")
    found = place()
    assert found.rpc == ("http://127.0.0.1:8002",) and found.gateway == "http://127.0.0.1:8001/v1"
    assert found.metrics == "http://127.0.0.1:8003"
    assert place("--rpc", "http://a", "--rpc", "http://b").rpc == ("http://a", "http://b")
    assert place("--genesis", "g.json").genesis == Path("g.json")


def test_the_home_names_what_is_trusted(tmp_path: Path) -> None:
    def place(*words: str) -> home.Place:
        return home.place(query.parser().parse_args(["nodes", "--home", str(tmp_path), *words]))

    assert (place().root, place().trusting_period) == (None, 7 * 24 * 3600)
    (tmp_path / "relay-00").mkdir()
    config = f'[node]\ntrust_height = 7\ntrust_hash = "{"ab" * 32}"\ntrusting_period_s = 900\n'
    (tmp_path / "relay-00" / "config.toml").write_text(config)
    assert (place().root, place().trusting_period) == (TrustRoot(7, b"\xab" * 32), 900)
    assert place("--trust", "9:" + "CD" * 32).root == TrustRoot(9, b"\xcd" * 32)
    for wrong in ("9", "9:ab", "x:" + "cd" * 32):
        with pytest.raises(SystemExit):
            place("--trust", wrong)


def test_tables_align_and_say_when_they_are_empty(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table([{"a": "long value", "b": True}, {"a": "", "b": None}], ("a", "b"))
    output.show_table([], ("a",))
    assert capsys.readouterr().out.splitlines() == ["A           B", "long value  yes", "-           -", "A", "(none)"]


EVENTS = [
    {"choices": [{"delta": {"content": "Hel"}}]},
    {"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}},
]


async def asked(script: Any, *words: str) -> int:
    """The exit code of `chat` against a gateway that answers by script."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", script)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return await chat.chat(chat.parser().parse_args([*words, "--base-url", url]))
    finally:
        await runner.cleanup()


def streaming(events: list[Any], *, done: bool = True) -> Any:
    async def script(request: web.Request) -> web.StreamResponse:
        assert (await request.json())["messages"][-1] == {"role": "user", "content": "say hello"}
        response = web.StreamResponse(headers={"x-planetserve-node": "ab12"})
        await response.prepare(request)
        await response.write(b": keep-alive\n\n")
        for each in events:
            await response.write(f"data: {json.dumps(each)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n" if done else b"")
        return response

    return script


async def test_chat_streams_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert await asked(streaming(EVENTS), "say", "hello", "--system", "be brief") == 0
    shown = capsys.readouterr()
    assert shown.out == "Hello\n" and "2 tokens from node ab12" in shown.err and "1 of 4 prompt tokens cached" in shown.err
    assert await asked(streaming(EVENTS), "say hello", "--output", "json", "--seed", "3") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["text"], document["node"], document["finish_reason"]) == ("Hello", "ab12", "stop")


async def test_chat_asks_for_a_mode_in_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str | None] = []
    answer = streaming(EVENTS)

    async def script(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("x-planetserve-mode"))
        response: web.StreamResponse = await answer(request)
        return response

    assert await asked(script, "say hello") == 0 and await asked(script, "say hello", "--mode", "strict") == 0
    assert seen == [None, "strict"]


async def test_chat_sends_the_key_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    answer = streaming(EVENTS)

    async def script(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        response: web.StreamResponse = await answer(request)
        return response

    monkeypatch.delenv("PLANETSERVE_API_KEY", raising=False)
    assert await asked(script, "say hello") == 0
    monkeypatch.setenv("PLANETSERVE_API_KEY", "ps-key")
    assert await asked(script, "say hello") == 0
    assert seen == [None, "Bearer ps-key"]


async def test_requests_shows_where_the_time_went(capsys: pytest.CaptureFixture[str]) -> None:
    row = times_of(3, "default", "ok", 1, 0.0, 0.0012, Marks(10.0, 10.02, 10.1, 10.25, 11.0, 9, 1)).row()
    answers: list[Any] = [{"requests": [row]}, {"requests": [row]}, ["something else"]]

    async def script(_request: web.Request) -> web.Response:
        return web.json_response(answers.pop(0))

    app = web.Application()
    app.router.add_get("/requests", script)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    words = ["--metrics-url", f"http://127.0.0.1:{runner.addresses[0][1]}"]
    assert await requests.requests(requests.parser().parse_args(words)) == 0
    head, shown = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["NUMBER", "MODE", "OUTCOME"]
    assert shown.split() == ["3", "default", "ok", "1", "0.0", "1.2", "20.0", "80.0", "150.0", "750.0", "9", "1"]
    assert await requests.requests(requests.parser().parse_args([*words, "--output", "json"])) == 0
    assert json.loads(capsys.readouterr().out) == {"requests": [row]}
    with pytest.raises(output.CommandFailed, match="not a gateway's metrics port"):
        await requests.requests(requests.parser().parse_args(words))
    await runner.cleanup()
    with pytest.raises(output.CommandFailed, match="--metrics-url"):
        await requests.requests(requests.parser().parse_args(words))


async def test_chat_says_what_went_wrong() -> None:
    error = {"error": {"message": "no circuits", "code": "no_circuits", "hint": "Wait."}}

    async def refusing(_request: web.Request) -> web.Response:
        return web.json_response(error, status=503)

    with pytest.raises(output.CommandFailed, match=r"no circuits \(no_circuits\)\. Wait\."):
        await asked(refusing, "say hello")
    with pytest.raises(output.CommandFailed, match="no_circuits"):
        await asked(streaming([EVENTS[0], error]), "say hello")
    with pytest.raises(output.CommandFailed, match="broke off"):
        await asked(streaming(EVENTS, done=False), "say hello")


def test_transactions_are_what_the_flags_say(tmp_path: Path) -> None:
    held = keys.create(tmp_path / "k.json")

    def built(*words: str) -> Any:
        return tx.transaction(tx.parser().parse_args([*words, "--keys", "k.json"]), held)

    kind, body = built(
        "register", "--role", "model", "--name", "n", "--model", "m", "--model-hash", "ab" * 32, "--address", "a:1"
    )
    assert (kind.name, body.role, body.group, body.onion_key) == ("REGISTER_NODE", 3, "m", held.onion_public)
    assert built("update", "--address", "a:2")[1].address == "a:2" and built("retire")[0].name == "RETIRE_NODE"
    for wrong in (("--model-hash", "zz"), ("--model-hash", "ab"), ()):
        with pytest.raises(output.CommandFailed):
            built("register", "--role", "model", "--name", "n", "--model", "m", *wrong)


KEY = "ab" * 32


def voted(*words: str, held: Params | None = None) -> Any:
    return proposals.transaction(tx.parser().parse_args([*words, "--keys", "k.json"]), held)


def test_proposals_are_what_the_flags_say() -> None:
    kind, body = voted("propose", "validator", "--consensus-key", KEY, "--verifier-key", KEY, "--name", "new")
    raw = bytes.fromhex(KEY)
    assert (kind.name, body.title) == ("PROPOSE", "validator new: power 10")
    assert body.validator == ValidatorChange(raw, raw, 10, "new")
    assert voted("propose", "validator", "--consensus-key", KEY, "--remove")[1].validator == ValidatorChange(raw)
    group = voted("propose", "group", "g", "--model-hash", KEY, "--scheme", "s", "--title", "More")[1]
    assert (group.title, group.group) == ("More", GroupChange("g", raw, "s"))
    assert voted("propose", "group", "g", "--remove")[1].group == GroupChange("g")
    plan = voted("propose", "upgrade", "next", "--height", "90", "--app-version", "2")[1]
    assert plan.upgrade == UpgradePlan("next", 90, 2) and voted("propose", "cancel", "next")[1].cancel == "next"
    assert voted("vote", "7", "--approve") == (TxKind.VOTE, Vote(7, True))
    assert voted("vote", "7", "--reject") == (TxKind.VOTE, Vote(7, False))


def test_parameters_are_read_as_the_ledger_keeps_them() -> None:
    held = Params(epoch_blocks=60, tau=400_000_000, profile="seeded")
    body = voted("propose", "params", "tau=0.35", "epoch_blocks=90", "profile=paper", held=held)[1]
    assert body.params == Params(epoch_blocks=90, tau=350_000_000, profile="paper")
    assert body.title == "tau=0.35 epoch_blocks=90 profile=paper"
    assert proposals.changed(held, ["tau=1.0", "alpha=5"]) == Params(epoch_blocks=60, tau=10**9, alpha=5, profile="seeded")


@pytest.mark.parametrize(
    "words",
    [
        ("params", "tau"),
        ("params", "taus=1"),
        ("params", "tau=-1"),
        ("params", "tau=0.1234567891"),
        ("params", "window=0.5"),
        ("params", "window=five"),
        ("validator", "--consensus-key", "ab"),
        ("validator", "--consensus-key", KEY, "--power", "0"),
        ("group", "g"),
        ("group", "g", "--model-hash", "zz", "--scheme", "s"),
        ("group", "g", "--model-hash", KEY, "--remove"),
    ],
)
def test_a_proposal_that_cannot_be_meant_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(output.CommandFailed) as caught:
        voted("propose", *words, held=Params())
    assert caught.value.code == output.USAGE
