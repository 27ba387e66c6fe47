"""Faults with real processes: orders to an application, what must hold afterwards, and a note of what was measured.

Everything here starts a chain and is marked `e2e`; what takes minutes is marked `slow`. With PLANETSERVE_FAULT_REPORT
naming a file, each measured figure is appended to it as a line of JSON: the figures of `docs/faults.md` come from there.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from network.chain_tx import Propose, RegisterNode, TxKind, Vote, build_tx
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role

HERE = Path(__file__).parent
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


class Faults:
    """Orders to one validator's application, obeyed by `inject/sitecustomize.py` inside it."""

    def __init__(self, validator: Any) -> None:
        self.validator = validator
        self.folder: Path = validator.home / "faults"
        self.folder.mkdir(exist_ok=True)
        validator.env |= {"PYTHONPATH": str(HERE / "inject"), "PLANETSERVE_FAULTS": str(self.folder)}

    def order(self, name: str, **words: Any) -> None:
        """Give an order. The file appears whole or not at all."""
        draft = self.folder / f"{name}.draft"
        draft.write_text(json.dumps(words))
        draft.rename(self.folder / f"{name}.json")

    def revoke(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def crash(self, method: str, phase: str, calls: int = 1) -> None:
        """The application kills itself at the next call of this method."""
        (self.folder / "crashed.json").unlink(missing_ok=True)
        self.order("crash", method=method, phase=phase, calls=calls)

    def crashed(self) -> Any:
        """What the application says of its death; None while the order waits."""
        path = self.folder / "crashed.json"
        return json.loads(path.read_text()) if path.exists() and path.read_text() else None


@pytest.fixture
def faults() -> type[Faults]:
    """Prepares a validator, before its start, to take orders."""
    return Faults


class CrashPoints:
    """Lets a validator's CometBFT end itself at the n-th pass of its own crash points, once per order."""

    def __init__(self, validator: Any) -> None:
        self.validator = validator
        config: Path = validator.home / "config.toml"
        (binary,) = re.findall(r'^binary = "(.*)"$', config.read_text(), re.MULTILINE)
        self.order: Path = validator.home / "fail-index"
        script: Path = validator.home / "cometbft"
        script.write_text(
            f'#!/bin/sh\nif [ "$1" = start ] && [ -s {self.order} ]; then\n'
            f"  FAIL_TEST_INDEX=$(cat {self.order}) && export FAIL_TEST_INDEX && rm {self.order}\nfi\n"
            f'exec {binary} "$@"\n'
        )
        script.chmod(0o755)
        config.write_text(config.read_text().replace(f'"{binary}"', f'"{script}"'))

    def arm(self, index: int) -> None:
        """The next CometBFT to start ends itself at this pass."""
        draft = self.order.with_suffix(".draft")
        draft.write_text(str(index))
        draft.rename(self.order)

    def obeyed(self) -> int:
        """How often CometBFT has ended itself so far."""
        return int(self.validator.log().count("*** fail-test "))


@pytest.fixture
def crash_points() -> type[CrashPoints]:
    """Prepares a validator, before its start, to crash inside CometBFT."""
    return CrashPoints


@pytest.fixture
def fast() -> dict[str, object]:
    """Parameters of short epochs."""
    return dict(FAST)


@pytest.fixture
def registration() -> Callable[..., bytes]:
    """A relay's registration by its number, signed for the test chain."""
    return _registration


def _key(number: int) -> SigningKey:
    return SigningKey(sha256(b"fault test", number.to_bytes(4, "big")))


def _registration(number: int, nonce: int = 1) -> bytes:
    onion = exchange_public(sha256(b"onion", number.to_bytes(4, "big")))
    body = RegisterNode(Role.RELAY, f"relay-{number}", onion, f"127.0.0.1:{8000 + number % 50000}", f"family-{number}")
    return build_tx(TxKind.REGISTER_NODE, body, key=_key(number), chain_id=CHAIN_ID, nonce=nonce)


@pytest.fixture
def until() -> Callable[..., float]:
    """Polls until something true comes back; answers the seconds it took. The limit only ends a test that would hang."""
    return _until


def _until(holds: Callable[[], Any], explain: Callable[[], str], limit: float = 180.0) -> float:
    began = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - began
        except (OSError, RuntimeError, ValueError):
            pass
        assert time.monotonic() - began < limit, explain()[-6000:]
        time.sleep(0.05)


_decided: dict[tuple[Path, int], list[str]] = {}  # the transactions of blocks that were read: those never change


def in_block(validator: Any, raw: bytes) -> Any:
    """The tx_result of a transaction, from the first block that has it, or None.

    Blocks are asked, not the index: CometBFT fires its events last, and a crash before that leaves a block unindexed."""
    wanted = base64.b64encode(raw).decode()
    for height in range(1, validator.height() + 1):
        place = (validator.home, height)
        if place not in _decided:
            _decided[place] = validator.call("block", height=str(height))["block"]["data"]["txs"]
        if wanted in _decided[place]:
            results = validator.call("block_results", height=str(height))["txs_results"]
            return results[_decided[place].index(wanted)]
    return None


@pytest.fixture
def in_a_block() -> Callable[[Any, bytes], Any]:
    """The tx_result of a transaction, from the first block that has it; None when none has."""
    return in_block


@pytest.fixture
def committed() -> Callable[[Any, bytes], Any]:
    """Sends a transaction, again whenever a fault has eaten it, until a block has it; answers its tx_result."""

    def send(validator: Any, raw: bytes) -> Any:
        found: list[Any] = []

        def decided() -> bool:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # in the pool already, or nobody listens just now
                validator.send(raw)
            found.append(in_block(validator, raw))
            return found[-1] is not None

        _until(decided, validator.log)
        return found[-1]

    return send


def headers(validator: Any, low: int, high: int) -> dict[int, tuple[str, str]]:
    """(app hash, results hash) by height, as the block after it carries them."""
    found: dict[int, tuple[str, str]] = {}
    for start in range(low, high + 1, 20):
        answer = validator.call("blockchain", minHeight=str(start), maxHeight=str(min(high, start + 19)))
        for meta in answer["block_metas"]:
            assert meta["header"]["evidence_hash"] == sha256(b"").hex().upper(), "somebody signed twice"
            found[int(meta["header"]["height"])] = (meta["header"]["app_hash"], meta["header"]["last_results_hash"])
    return found


@pytest.fixture
def same_everywhere(until: Callable[..., float]) -> Callable[..., int]:
    """Waits until every validator has two blocks more, then compares app hash and results hash of every height."""

    def compare(chain: Any, validators: list[Any] | None = None) -> int:
        present = validators if validators is not None else chain.validators
        goal = max(validator.height() for validator in present) + 2
        for validator in present:
            until(lambda v=validator: v.height() >= goal, validator.log)
        said = [headers(validator, 1, goal) for validator in present]
        assert all(len(heights) == goal for heights in said)
        for other in said[1:]:
            assert other == said[0], "two validators disagree about a height"
        return goal

    return compare


@pytest.fixture
def same_as_undisturbed(until: Callable[..., float]) -> Callable[[Any], int]:
    """Ends a validator, takes its application's data away and lets CometBFT replay the chain into a new one.

    That is the undisturbed run of the same blocks: CometBFT compares its app hash at every height. Then what the validator
    says of every height must be what it said before."""

    def replay(validator: Any) -> int:
        height: int = validator.height()
        before = headers(validator, 1, height)
        assert validator.stop() == 0, validator.log()[-3000:]
        shutil.rmtree(validator.home / "app.db")
        validator.start()
        until(lambda: validator.height() >= height + 2, validator.log)
        assert headers(validator, 1, height) == before
        return height

    return replay


@pytest.fixture
def decide(committed: Callable[[Any, bytes], Any]) -> Callable[..., int]:
    """Has the first of these validators propose a change, and the others approve until it is decided; answers the code of
    the proposal. Their verifiers' keys sign, and nonces are the nanosecond, so that they only grow."""

    def run(voters: list[Any], change: Propose, *, refused: bool = False) -> int:
        def sign(validator: Any, kind: TxKind, body: Any) -> bytes:
            return build_tx(kind, body, key=validator.verifier_key, chain_id=CHAIN_ID, nonce=time.time_ns())

        result = committed(voters[0], sign(voters[0], TxKind.PROPOSE, change))
        code = int(result.get("code", 0))
        assert bool(code) == refused, result
        if refused:
            return code
        number = next(
            int(attribute["value"])
            for event in result["events"]
            for attribute in event["attributes"]
            if (event["type"], attribute["key"]) == ("proposal_submitted", "proposal")
        )
        for voter in voters[1:]:
            if any(event["type"] == "proposal_passed" for event in result["events"]):
                break
            result = committed(voter, sign(voter, TxKind.VOTE, Vote(number, True)))
            assert not result.get("code"), result
        return 0

    return run


@pytest.fixture
def configure() -> Callable[[Any, str], None]:
    """More lines for the last table of a validator's config.toml, [app], or tables after it."""
    return _configure


def _configure(validator: Any, lines: str) -> None:
    with (validator.home / "config.toml").open("a") as file:
        file.write(lines)


@pytest.fixture
def joiner() -> Callable[[Any, list[str]], Any]:
    """One more node of a running chain, not started yet, which will join by state sync with the help of these RPCs."""

    def join(chain: Any, rpcs: list[str]) -> Any:
        fresh = chain.join("fresh")
        trusted = chain.validators[0].call("commit", height="2")["signed_header"]["commit"]["block_id"]["hash"]
        servers = ", ".join(f'"{rpc}"' for rpc in rpcs)
        sync = f'\n[comet.statesync]\nrpc_servers = [{servers}]\ntrust_height = 2\ntrust_hash = "{trusted}"\n'
        _configure(fresh, sync)
        comet = fresh.home / "comet" / "config" / "config.toml"
        comet.write_text(comet.read_text().replace("[statesync]\n", '[statesync]\ndiscovery_time = "5s"\n', 1))
        return fresh

    return join


@pytest.fixture
def stamp() -> Callable[[Any, int], float]:
    """The time that a block carries, in seconds."""

    def of(validator: Any, height: int) -> float:
        text = validator.call("header", height=str(height))["header"]["time"]
        whole, _, fraction = text.rstrip("Z").partition(".")
        return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")

    return of


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Notes a figure for the report."""

    def note(fault: str, **figures: Any) -> None:
        line = {"fault": fault, "test": request.node.name, **figures}
        print(json.dumps(line), file=sys.stderr)
        if path := os.environ.get("PLANETSERVE_FAULT_REPORT"):
            with Path(path).open("a") as report:
                report.write(json.dumps(line) + "\n")

    return note


@pytest.fixture
def kill_nine() -> Callable[[Any, str], int]:
    """SIGKILL to one of a validator's processes; its pid."""

    def kill(validator: Any, which: str) -> int:
        pid: int = validator.children()[which]
        os.kill(pid, signal.SIGKILL)
        return pid

    return kill
