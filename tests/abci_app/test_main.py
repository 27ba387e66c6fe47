"""One and four real validators: registration, equal app hashes, proofs, kill -9 of either half, bad transactions."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from abci_app.state import errors
from network.chain_records import DIRECTORY_KEY, PARAMS_KEY, Account, DirectoryRecord, NodeRecord, Params, account_key, node_key
from network.chain_tx import RegisterNode, SignedTx, TxKind, UpdateNode, build_tx, decode_tx
from network.codec import decode, encode
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role, node_id

CHAIN_ID = "ledger-test"
FAST: dict[str, object] = {
    "epoch_blocks": 20,
    "vrf_end": 2,
    "commit_end": 4,
    "send_end": 10,
    "publish_end": 13,
    "score_end": 16,
    "reveal_end": 19,
}


def key(number: int) -> SigningKey:
    return SigningKey(sha256(b"main test", number.to_bytes(4, "big")))


def relay(number: int) -> RegisterNode:
    onion = exchange_public(sha256(b"onion", number.to_bytes(4, "big")))
    return RegisterNode(Role.RELAY, f"relay-{number}", onion, f"127.0.0.1:{8800 + number}", f"family-{number}")


def registration(number: int, nonce: int = 1) -> bytes:
    return build_tx(TxKind.REGISTER_NODE, relay(number), key=key(number), chain_id=CHAIN_ID, nonce=nonce)


def value_of(answer: Any) -> bytes | None:
    return base64.b64decode(answer["value"]) if answer.get("value") else None


def equal_app_hashes(chain: Any, height: int) -> None:
    for at in range(1, height + 1):
        assert len({validator.app_hash(at) for validator in chain.validators}) == 1, f"app hashes differ at height {at}"


def test_one_validator_serves_registrations_and_survives_kill_9(make_chain: Callable[..., Any]) -> None:
    chain = make_chain(1, params=FAST)
    chain.start()
    validator = chain.validators[0]
    validator.wait_height(2)
    raw = registration(1)
    assert validator.send(raw)["code"] == 0
    assert validator.result(raw).get("code", 0) == 0
    height = validator.height()
    validator.wait_height(height + 5)
    record = decode(NodeRecord, value_of(validator.query(node_key(node_id(key(1).public)))) or b"")
    assert (record.name, record.reputation, record.trusted) == ("relay-1", 500_000_000, True)
    directory = decode(DirectoryRecord, value_of(validator.query(DIRECTORY_KEY)) or b"")
    assert [entry.name for entry in directory.entries] == ["relay-1"]
    assert validator.query(b"\x02nobody")["code"] == 1
    before = {at: validator.app_hash(at) for at in range(1, height + 1)}
    for victim in ("app", "comet", "app"):
        pids = validator.children()
        reached = validator.height()
        os.kill(pids[victim], signal.SIGKILL)
        validator.wait_height(reached + 5)
        assert validator.children()["app"] != pids["app"], "both halves start again"
        assert validator.children()["comet"] != pids["comet"]
    assert before == {at: validator.app_hash(at) for at in range(1, height + 1)}
    assert value_of(validator.query(node_key(node_id(key(1).public)))) is not None
    status = validator.status()
    assert status["ready"] and status["role"] == "validator", (status, validator.log())
    pids = validator.children()
    assert validator.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values()), "nothing stays after SIGTERM"


def test_bad_transactions_get_a_code_and_change_nothing(make_chain: Callable[..., Any]) -> None:
    chain = make_chain(1, params={**FAST, "directory_blocks": 2})
    chain.start()
    validator = chain.validators[0]
    validator.wait_height(2)
    good = registration(2, nonce=5)
    assert validator.send(good)["code"] == 0
    assert validator.result(good).get("code", 0) == 0
    tx = decode_tx(registration(3))
    forged = encode(SignedTx(tx.kind, tx.nonce, tx.signer, tx.body, bytes(64)))
    other_chain = build_tx(TxKind.REGISTER_NODE, relay(3), key=key(3), chain_id="another", nonce=1)
    stale = build_tx(TxKind.UPDATE_NODE, UpdateNode(), key=key(2), chain_id=CHAIN_ID, nonce=5)
    unknown = encode(SignedTx(99, 1, tx.signer, tx.body, tx.signature))
    for raw, code in (
        (b"garbage", errors.MALFORMED),
        (registration(3) + b"\x00", errors.MALFORMED),
        (forged, errors.BAD_SIGNATURE),
        (other_chain, errors.BAD_SIGNATURE),
        (stale, errors.STALE_NONCE),
        (unknown, errors.UNKNOWN_KIND),
    ):
        answer = validator.send(raw)
        assert (answer["code"], answer["codespace"]) == (code, "planetserve"), answer
    with pytest.raises(RuntimeError, match="Tx too large"):
        validator.send(bytes(70_000))
    with pytest.raises(RuntimeError, match="tx already exists in cache"):
        validator.send(good)
    again = registration(2, nonce=6)
    assert validator.send(again)["code"] == 0
    failed = validator.result(again)
    assert failed["code"] == errors.ALREADY_REGISTERED
    validator.wait_height(validator.height() + 3)
    assert validator.query(account_key(key(3).public))["code"] == 1, "refused transactions leave no account behind"
    account = decode(Account, value_of(validator.query(account_key(key(2).public))))
    assert account.nonce == 6, "a failed one keeps its nonce"


def test_four_validators_agree_and_a_light_proxy_verifies(make_chain: Callable[..., Any], comet_binary: Path) -> None:
    chain = make_chain(4, params=FAST, interval_ms=200)
    chain.start()
    chain.wait_height(2)
    sent = [registration(number) for number in range(10, 18)]
    for number, raw in enumerate(sent):
        assert chain.validators[number % 4].send(raw)["code"] == 0
    for raw in sent:
        assert chain.validators[0].result(raw).get("code", 0) == 0
    height = chain.validators[0].height()
    chain.wait_height(height + 6)
    equal_app_hashes(chain, height + 5)
    with light_proxy(chain, comet_binary, chain.validators[0].rpc) as ask:
        for at in (PARAMS_KEY, DIRECTORY_KEY, node_key(node_id(key(10).public))):
            answer = ask(at)
            direct = chain.validators[1].query(at, height=int(answer["height"]))
            assert value_of(answer) is not None and answer["value"] == direct["value"]
        assert decode(Params, value_of(ask(PARAMS_KEY)) or b"").epoch_blocks == FAST["epoch_blocks"]
    refusal = pytest.raises(RuntimeError, match="verify")
    with tampering(chain.validators[0].rpc_port) as url, light_proxy(chain, comet_binary, url) as ask, refusal:
        ask(PARAMS_KEY)


@pytest.mark.slow
def test_four_validators_recover_from_kills_under_load(make_chain: Callable[..., Any]) -> None:
    chain = make_chain(4, params=FAST, interval_ms=200)
    chain.start()
    chain.wait_height(2)
    number = 100
    for victim_at, victim in ((0, "app"), (1, "comet"), (2, "app"), (3, "comet"), (0, "comet"), (1, "app")):
        target = chain.validators[victim_at]
        for _ in range(5):
            number += 1
            assert chain.validators[(victim_at + 1) % 4].send(registration(number))["code"] == 0
        os.kill(target.children()[victim], signal.SIGKILL)
        target.wait_height(chain.validators[(victim_at + 1) % 4].height() + 3)
    last = registration(number + 1)
    assert chain.validators[0].send(last)["code"] == 0
    chain.validators[0].result(last)
    height = chain.validators[0].height()
    chain.wait_height(height + 2)
    equal_app_hashes(chain, height)
    for at in range(101, number + 1):
        assert value_of(chain.validators[at % 4].query(node_key(node_id(key(at).public)))) is not None


@pytest.mark.slow
def test_every_crash_point_of_cometbft_is_survived(make_chain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """CometBFT ends itself at the n-th of its ten crash points; the supervisor inherits the wish, so it is lifted after."""
    for point in range(11):
        chain = make_chain(1, params=FAST)
        validator = chain.validators[0]
        monkeypatch.setenv("FAIL_TEST_INDEX", str(point))
        validator.start()
        time.sleep(4)
        validator.stop(signal.SIGKILL)
        monkeypatch.delenv("FAIL_TEST_INDEX")
        time.sleep(0.5)
        validator.start()
        validator.wait_height(5)
        assert validator.stop() == 0


def test_what_keeps_a_validator_from_starting_is_said_and_nothing_stays(make_chain: Callable[..., Any]) -> None:
    chain = make_chain(1)
    validator = chain.validators[0]
    config = validator.home / "config.toml"
    sound = config.read_text()

    def refused(reason: str) -> None:
        (validator.home / "log").unlink(missing_ok=True)
        validator.start()
        assert validator.process is not None
        assert validator.process.wait() == 3
        validator.process = None
        assert reason in validator.log(), validator.log()
        found = subprocess.run(["pgrep", "-f", str(validator.home)], capture_output=True, text=True, check=False)
        assert not found.stdout, "a refused start leaves no process"

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", validator.rpc_port))
        taken.listen()
        refused("is in use")
    config.write_text(sound.replace("/cometbft", "/no-such-cometbft"))
    refused("does not exist")
    config.write_text(sound.replace(f'chain_id = "{CHAIN_ID}"', 'chain_id = "elsewhere"'))
    refused("is of the chain 'ledger-test'")
    config.write_text(sound)
    (validator.home / "app.db").mkdir()
    (validator.home / "app.db" / "notes.txt").write_text("mine")
    refused("not a LevelDB database")
    shutil.rmtree(validator.home / "app.db")
    validator.start()
    validator.wait_height(3)
    validator.stop()
    document = json.loads(chain.genesis.read_text())
    document["app_state"]["params"]["epoch_blocks"] = 61
    for path in (chain.genesis, validator.home / "comet" / "config" / "genesis.json"):
        path.write_text(json.dumps(document))
    refused("begun from another genesis")
    shutil.rmtree(validator.home / "app.db")
    refused("CometBFT's data is of another chain")


def test_an_application_ahead_of_cometbft_is_refused_with_advice(make_chain: Callable[..., Any]) -> None:
    chain = make_chain(1)
    validator = chain.validators[0]
    validator.start()
    validator.wait_height(3)
    validator.stop()
    shutil.copytree(validator.home / "comet" / "data", validator.home / "older")
    validator.start()
    validator.wait_height(10)
    validator.stop()
    state = (validator.home / "comet" / "data" / "priv_validator_state.json").read_bytes()
    shutil.rmtree(validator.home / "comet" / "data")
    (validator.home / "older").rename(validator.home / "comet" / "data")
    validator.start()
    assert validator.process is not None
    assert validator.process.wait() == 3
    validator.process = None
    assert "an older copy was put in its place" in validator.log(), "signing state is never restored from a backup"
    (validator.home / "comet" / "data" / "priv_validator_state.json").write_bytes(state)
    validator.start()
    assert validator.process is not None
    assert validator.process.wait() == 3
    validator.process = None
    assert "ahead of CometBFT's" in validator.log()


@contextlib.contextmanager
def light_proxy(chain: Any, binary: Path, primary: str) -> Iterator[Callable[[bytes], Any]]:
    """The stock light client, trusting block 1, with two witnesses; asks it for keys."""
    witnesses = ",".join(validator.rpc for validator in chain.validators[1:3])
    trusted = chain.validators[1].call("commit", height="1")["signed_header"]["commit"]["block_id"]["hash"]
    home = chain.genesis.parent / f"light-{time.monotonic_ns()}"
    port = next(p for p in range(20900, 20999) if _free(p))
    command = [str(binary), "light", CHAIN_ID, "-p", primary, "-w", witnesses, "--height", "1", "--hash", trusted]
    command += ["--laddr", f"tcp://127.0.0.1:{port}", "--home-dir", str(home)]
    log = (chain.genesis.parent / "light.log").open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(at: bytes) -> Any:
        params = {"path": "/store/main/key", "data": at.hex(), "height": "0", "prove": True}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "abci_query", "params": params}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}", body, {"Content-Type": "application/json"})
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    answer = json.load(response)
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.2)
        if "error" in answer:
            raise RuntimeError(str(answer["error"]))
        return answer["result"]["response"]

    try:
        yield ask
    finally:
        process.kill()
        process.wait()
        log.close()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def tampering(target: int) -> Iterator[str]:
    """A TCP forwarder to an RPC port that changes the first digit of every queried value on its way back."""
    value = re.compile(rb'("response"[^}]*?"value"\s*:\s*")(.)')

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", target)) as upstream, contextlib.suppress(OSError):
                threading.Thread(target=self.forward, args=(self.request, upstream), daemon=True).start()
                while data := upstream.recv(65536):
                    self.request.sendall(value.sub(lambda m: m[1] + (b"A" if m[2] != b"A" else b"B"), data))

        @staticmethod
        def forward(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", next(p for p in range(20800, 20899) if _free(p))), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
