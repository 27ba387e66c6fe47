"""Targets of what CometBFT's socket carries: framing, requests, and the answers of a living application to them."""

import random
from functools import cache

from abci_app.abci import dispatch
from abci_app.abci.framing import Unframer, frame
from abci_app.abci.pb import abci_pb2 as abci
from evals.fuzz.engine import Target
from evals.ledger.simulator.build import LocalProcess, build
from evals.ledger.simulator.town import Town
from evals.ledger.simulator.world import MAX_BLOCK_BYTES, Genesis
from network.chain_records import STORE_NAME
from network.errors import RemoteProtocolError

# Methods that anybody's bytes can reach, directly or inside a block; the others take what CometBFT itself made.
REACHED = ("check_tx", "query", "process_proposal", "prepare_proposal", "verify_vote_extension", "echo", "info")


_POLITICS = ("params", "group", "upgrade", "power", "cancel")


def grown_town(heights: int) -> Town:
    """A chain whose people have lived for so many heights: nodes registered, challenges opened, transcripts published."""
    draw = random.Random("fuzz town")
    genesis = Genesis((10, 10, 10, 10))
    town = Town(genesis, build(genesis, [None] * 4), draw)
    for height in range(heights):
        if height % 4 == 1:
            town.propose(_POLITICS[height // 4 % len(_POLITICS)])
        town.live(4)
    return town


@cache
def living_town() -> Town:
    """A chain in the middle of its third epoch. Nobody may change it."""
    return grown_town(32)


def application(town: Town) -> LocalProcess:
    """The process of one of the town's replicas."""
    process = town.sim.replicas[0].process
    assert isinstance(process, LocalProcess)
    return process


def targets() -> list[Target]:
    """Framing, requests, and a request answered."""
    return [_framing(), _request(), _answer()]


def _framing() -> Target:
    def run(raw: bytes) -> str:
        whole, parts = Unframer(1 << 16), Unframer(1 << 16)
        try:
            messages = whole.feed(raw)
        except RemoteProtocolError as error:
            return str(error)
        cut = sum(raw[:8]) % (len(raw) + 1)
        assert parts.feed(raw[:cut]) + parts.feed(raw[cut:]) == messages, "another cut gives other messages"
        assert sum(1 + len(message) for message in messages) <= len(raw), "more came out than went in"
        return "taken" if messages else "incomplete"

    seeds = [frame(b""), frame(b"x" * 127) + frame(b"y" * 128), frame(bytes(1000)) * 3, frame(bytes(20_000))]
    return Target("abci/framing", "whole messages, whatever the cuts, or a refusal", seeds, run)


def _request() -> Target:
    def run(raw: bytes) -> str:
        try:
            method, _ = dispatch.decode_request(raw)
        except RemoteProtocolError as error:
            return str(error)
        return f"taken as {method}"

    return Target("abci/request", "a request, or a refusal", _requests(), run)


def _answer() -> Target:
    process = application(living_town())
    before = process.app.info()

    def run(raw: bytes) -> str:
        try:
            method, request = dispatch.decode_request(raw)
        except RemoteProtocolError as error:
            return str(error)
        if method not in REACHED:
            return f"not asked: {method}"
        response = abci.Response.FromString(dispatch.answer(process.app, method, request))
        assert response.WhichOneof("value") == method and process.app.info() == before
        code = getattr(getattr(response, method), "code", 0)
        if method == "prepare_proposal":
            proposed = list(response.prepare_proposal.txs)
            assert process.app.process_proposal(proposed), "our own proposal is refused [APP-PROP-1]"
        return f"{method} {'code ' + chr(64 + min(code, 60)) if code else 'taken'}"

    return Target("abci/answer", "every request that strangers reach is answered without a change of state", _requests(), run)


def _requests() -> list[bytes]:
    """One of every method, with real transactions and keys inside."""
    town = living_town()
    txs = [raw for block in town.sim.chain for raw in block.request.txs][-30:]
    store = application(town).store
    keys = [key for key, _ in store.version(store.height).scan(b"")][::7]
    path = f"/store/{STORE_NAME}/key"
    paths = (
        "/nodes?limit=3",
        "/params",
        "/committee",
        "/epochs",
        "/epochs/1",
        "/directory",
        f"/node/{'0' * 40}",
        "/p2p/filter/id/x",
    )
    found: list[abci.Request] = [
        abci.Request(echo=abci.RequestEcho(message="x")),
        abci.Request(info=abci.RequestInfo(version="0.38")),
        abci.Request(prepare_proposal=abci.RequestPrepareProposal(max_tx_bytes=MAX_BLOCK_BYTES, txs=txs, height=33)),
        abci.Request(process_proposal=abci.RequestProcessProposal(txs=txs[:5], height=33)),
        abci.Request(verify_vote_extension=abci.RequestVerifyVoteExtension(height=33, vote_extension=b"x")),
        abci.Request(finalize_block=town.sim.chain[-1].request),
        abci.Request(init_chain=town.genesis.init_chain()),
        *(abci.Request(check_tx=abci.RequestCheckTx(tx=raw, type=at % 2)) for at, raw in enumerate(txs)),
        *(abci.Request(query=abci.RequestQuery(path=path, data=key, prove=bool(at % 2))) for at, key in enumerate(keys)),
        *(abci.Request(query=abci.RequestQuery(path=name, height=at % 3)) for at, name in enumerate(paths)),
    ]
    return [request.SerializeToString() for request in found]
