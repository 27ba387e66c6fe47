"""F1: kill -9 of the application before, during and after each ABCI call that it really gets."""

import contextlib
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from typing import Any

import pytest

from abci_app.abci.framing import frame
from abci_app.abci.pb import abci_pb2 as abci

# What CometBFT calls by itself on a chain of one validator, and what a user's call or a state sync makes it call.
OF_EVERY_BLOCK = ("flush", "prepare_proposal", "process_proposal", "finalize_block", "commit")
ON_DEMAND = ("echo", "info", "query", "check_tx", "list_snapshots", "load_snapshot_chunk")
PHASES = ("before", "during", "after")
SEEDS = int(os.environ.get("PLANETSERVE_FAULT_SEEDS", "3"))


def ask_socket(validator: Any, request: Any) -> None:
    """A call that no RPC leads to, on a connection of our own: the application takes it as CometBFT's."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(validator.home / "app.sock"))
        link.sendall(frame(request.SerializeToString()))
        link.recv(1)


def provoke(validator: Any, method: str, raw: bytes) -> None:
    """Make CometBFT, or a peer of it, call this method."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        if method == "check_tx":
            validator.send(raw)
        elif method == "query":
            validator.query(b"\x03params")
        elif method == "info":
            validator.call("abci_info")
        elif method == "echo":
            ask_socket(validator, abci.Request(echo=abci.RequestEcho(message="are you there")))
        elif method == "list_snapshots":
            ask_socket(validator, abci.Request(list_snapshots=abci.RequestListSnapshots()))
        elif method == "load_snapshot_chunk":
            ask_socket(validator, abci.Request(load_snapshot_chunk=abci.RequestLoadSnapshotChunk(height=1, format=1)))


def sweep(tools: dict[str, Any], methods: tuple[str, ...], phases: tuple[str, ...], seeds: int) -> list[float]:
    """Crash a chain of one in each of these, send a transaction through each crash, and check all of it afterwards."""
    chain = tools["make_chain"](1, params=tools["fast"])
    validator, rng = chain.validators[0], random.Random(1)
    fault = tools["faults"](validator)
    validator.start()
    validator.wait_height(2)
    sent: list[bytes] = []
    recoveries: list[float] = []
    height = 0
    for seed in range(seeds):
        for method in methods:
            for phase in phases:
                if len(recoveries) % 2 == 0 and recoveries:  # else the supervisor would wait longer after each death
                    assert validator.stop() == 0
                    validator.start()
                    tools["until"](lambda h=height: validator.height() > h + 2, validator.log)
                height = validator.height()
                fault.crash(method, phase, calls=int(2 ** rng.uniform(0, 7)))
                sent.append(tools["registration"](len(sent)))
                provoke(validator, "check_tx", sent[-1])
                provoke(validator, method, sent[-1])
                tools["until"](fault.crashed, lambda m=method, p=phase: f"no {m} to die {p} of\n{validator.log()}")
                recoveries.append(tools["until"](lambda h=height: validator.height() >= h + 2, validator.log))
                where = fault.crashed()["where"]
                tools["measured"](
                    "F1", method=method, phase=phase, seed=seed, where=where, recovered_s=round(recoveries[-1], 2)
                )
    for raw in sent:
        assert tools["committed"](validator, raw).get("code", 0) == 0, "a registration that counted twice, or never"
    heights = tools["same_as_undisturbed"](validator)
    for raw in sent:
        assert tools["in_a_block"](validator, raw).get("code", 0) == 0
    tools["measured"]("F1", crashes=len(recoveries), heights=heights, slowest_recovery_s=round(max(recoveries), 2))
    return recoveries


@pytest.fixture
def tools(
    make_chain: Any,
    fast: Any,
    faults: Any,
    registration: Any,
    until: Any,
    committed: Any,
    in_a_block: Any,
    same_as_undisturbed: Any,
    measured: Any,
) -> dict[str, Any]:
    return dict(locals())


def test_f01_killed_in_finalize_block_and_commit(tools: dict[str, Any]) -> None:
    sweep(tools, ("finalize_block", "commit"), PHASES, 1)


@pytest.mark.slow
def test_f01_killed_in_every_call_of_a_block(tools: dict[str, Any]) -> None:
    sweep(tools, OF_EVERY_BLOCK, PHASES, SEEDS)


@pytest.mark.slow
def test_f01_killed_in_every_call_on_demand(tools: dict[str, Any]) -> None:
    sweep(tools, ON_DEMAND, PHASES, 1)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("method", ["info", "init_chain", "finalize_block", "commit"])
def test_f01_killed_at_the_first_block(
    make_chain: Any, fast: Any, faults: Any, until: Any, same_as_undisturbed: Any, measured: Any, method: str, phase: str
) -> None:
    validator = make_chain(1, params=fast).validators[0]
    fault = faults(validator)
    fault.crash(method, phase, calls=30)
    validator.start()
    until(fault.crashed, validator.log)
    seconds = until(lambda: validator.height() >= 3, validator.log)
    measured("F1", method=method, phase=phase, block=1, recovered_s=round(seconds, 2))
    same_as_undisturbed(validator)


@pytest.mark.slow
def test_f01_killed_in_the_calls_of_vote_extensions(
    make_chain: Any, fast: Any, faults: Any, until: Any, same_everywhere: Callable[..., int], measured: Any
) -> None:
    """Our chains have no vote extensions; where a genesis asks for them, every block has an empty one of each validator."""
    chain = make_chain(2, params=fast)
    for path in (chain.genesis, *(v.home / "comet" / "config" / "genesis.json" for v in chain.validators)):
        document = json.loads(chain.genesis.read_text())
        document["consensus_params"]["abci"]["vote_extensions_enable_height"] = "1"
        path.write_text(json.dumps(document))
    first = chain.validators[0]
    fault = faults(first)
    chain.start()
    chain.wait_height(2)
    for method in ("extend_vote", "verify_vote_extension"):
        for phase in PHASES:
            assert first.stop() == 0  # else the supervisor would wait longer after each death
            first.start()
            until(lambda: first.height() > 0, first.log)
            height = first.height()
            fault.crash(method, phase, calls=3)
            until(fault.crashed, first.log)
            seconds = until(lambda h=height: first.height() >= h + 2, first.log)
            measured("F1", method=method, phase=phase, recovered_s=round(seconds, 2))
    same_everywhere(chain)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["offer_snapshot", "apply_snapshot_chunk"])
def test_f01_killed_while_it_joins_by_a_snapshot(
    make_chain: Any, fast: Any, faults: Any, until: Any, configure: Any, joiner: Any, measured: Any, method: str
) -> None:
    """A start in the middle of a state sync begins it again, with nothing left of the first try."""
    chain = make_chain(1, params=fast, interval_ms=200)
    first = chain.validators[0]
    configure(first, "snapshot_interval = 5\nsnapshot_keep = 10\n")
    first.start()
    until(lambda: first.height() >= 12, first.log)
    fresh = joiner(chain, [first.rpc, first.rpc])
    fault = faults(fresh)
    for phase in PHASES:
        fault.crash(method, phase, calls=40)
        fresh.start()
        until(fault.crashed, fresh.log)
        goal = first.height()
        seconds = until(lambda h=goal: fresh.height() >= h, fresh.log)
        base = int(fresh.call("status")["sync_info"]["earliest_block_height"])
        assert base > 1, f"it replayed the chain instead\n{fresh.log()[-3000:]}"
        measured("F1", method=method, phase=phase, where=fault.crashed()["where"], joined_s=round(seconds, 2), base=base)
        for height in range(base, goal + 1):
            assert fresh.app_hash(height) == first.app_hash(height)
        assert fresh.stop() == 0
        shutil.rmtree(fresh.home / "app.db")
        for path in (fresh.home / "comet" / "data").iterdir():
            if path.name != "priv_validator_state.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
