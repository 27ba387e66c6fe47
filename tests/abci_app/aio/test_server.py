"""The server over a real unix socket: order, batches, Flush, bad bytes; and what ends the process."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from abci_app.abci import dispatch
from abci_app.abci.framing import Unframer, frame
from abci_app.abci.order import CallOrder
from abci_app.abci.pb import abci_pb2 as abci
from abci_app.abci.pb import types_pb2 as types
from abci_app.aio import server as server_module
from abci_app.aio import turns
from abci_app.aio.server import CONFIG_EXIT, FAULT_EXIT, AbciServer
from abci_app.aio.storage import LevelStore
from abci_app.application import Application
from network.crypto import sha256

CHAIN = "server-test"
VALIDATOR = sha256(b"consensus")
STATE = (
    f'{{"verifiers": [{{"consensus_key": "{VALIDATOR.hex()}", "verifier_key": "{VALIDATOR.hex()}", "name": "v"}}]}}'
).encode()


class Peer:
    """CometBFT's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._unframer = Unframer()
        self._waiting: list[bytes] = []

    async def send(self, *requests: abci.Request) -> None:
        self._writer.write(b"".join(frame(request.SerializeToString()) for request in requests))
        await self._writer.drain()

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def take(self, count: int = 1) -> list[abci.Response]:
        while len(self._waiting) < count:
            data = await self._reader.read(65536)
            assert data, "the server closed the connection"
            self._waiting += self._unframer.feed(data)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return [abci.Response.FromString(raw) for raw in taken]

    async def ask(self, request: abci.Request) -> abci.Response:
        await self.send(request)
        return (await self.take())[0]

    async def ended(self) -> bool:
        return await self._reader.read(65536) == b""

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    store = LevelStore(tmp_path / "db", chain_id=CHAIN, genesis_hash=bytes(32))
    app = Application(store, CHAIN, STATE)
    server = AbciServer(app, tmp_path / "s", lambda method, seconds, failed: None, CallOrder(0))
    await server.start()
    yield tmp_path / "s"
    await server.close()
    store.close()
    assert not (tmp_path / "s").exists()


async def connect(path: Path) -> Peer:
    return Peer(*await asyncio.open_unix_connection(str(path)))


def init_chain() -> abci.Request:
    update = types.ValidatorUpdate(pub_key=types.PublicKey(ed25519=VALIDATOR), power=10)
    init = abci.RequestInitChain(chain_id=CHAIN, validators=[update], app_state_bytes=STATE, initial_height=1)
    return abci.Request(init_chain=init)


def finalize(height: int, *txs: bytes) -> abci.Request:
    vote = types.VoteInfo(validator=types.Validator(address=VALIDATOR[:20], power=10), block_id_flag=2)
    commit = types.CommitInfo(round=0, votes=[vote])
    request = abci.RequestFinalizeBlock(txs=txs, decided_last_commit=commit, hash=sha256(bytes([height])), height=height)
    return abci.Request(finalize_block=request)


FLUSH = abci.Request(flush=abci.RequestFlush())


async def test_all_sixteen_methods_on_four_connections(path: Path) -> None:
    query, snapshot, mempool, consensus = [await connect(path) for _ in range(4)]
    assert os.stat(path).st_mode & 0o077 == 0, "nobody else may speak ABCI to us"
    echo = await query.ask(abci.Request(echo=abci.RequestEcho(message="héllo")))
    assert echo.echo.message == "héllo"
    info = (await query.ask(abci.Request(info=abci.RequestInfo(abci_version="2.0.0")))).info
    assert (info.data, info.app_version, info.last_block_height) == ("planetserve", 1, 0)
    listed = await snapshot.ask(abci.Request(list_snapshots=abci.RequestListSnapshots()))
    assert listed.WhichOneof("value") == "list_snapshots" and not listed.list_snapshots.snapshots
    offer = abci.RequestOfferSnapshot(snapshot=types.Snapshot(height=5, format=1, chunks=1), app_hash=b"h")
    assert (await snapshot.ask(abci.Request(offer_snapshot=offer))).offer_snapshot.result == 3
    chunk = await snapshot.ask(abci.Request(load_snapshot_chunk=abci.RequestLoadSnapshotChunk(height=5)))
    assert chunk.load_snapshot_chunk.chunk == b""
    assert len((await consensus.ask(init_chain())).init_chain.app_hash) == 32
    bad = await mempool.ask(abci.Request(check_tx=abci.RequestCheckTx(tx=b"junk")))
    assert (bad.check_tx.code, bad.check_tx.codespace) == (2, "planetserve")
    prepared = await consensus.ask(
        abci.Request(prepare_proposal=abci.RequestPrepareProposal(max_tx_bytes=1000, txs=[b"junk"], height=1))
    )
    assert list(prepared.prepare_proposal.txs) == []
    for txs, status in (([], 1), ([b"junk"], 2)):
        processed = await consensus.ask(abci.Request(process_proposal=abci.RequestProcessProposal(txs=txs, height=1)))
        assert processed.process_proposal.status == status
    extended = await consensus.ask(abci.Request(extend_vote=abci.RequestExtendVote(height=1)))
    assert extended.WhichOneof("value") == "extend_vote" and extended.extend_vote.vote_extension == b""
    for extension, status in ((b"", 1), (b"x", 2)):
        verify = abci.RequestVerifyVoteExtension(height=1, vote_extension=extension)
        verified = await consensus.ask(abci.Request(verify_vote_extension=verify))
        assert verified.verify_vote_extension.status == status
    for height in (1, 2):
        done = (await consensus.ask(finalize(height, b"junk"))).finalize_block
        assert [result.code for result in done.tx_results] == [2] and len(done.app_hash) == 32
        committed = await consensus.ask(abci.Request(commit=abci.RequestCommit()))
        assert committed.WhichOneof("value") == "commit" and committed.commit.retain_height == 0
    asked = abci.RequestQuery(path="/store/main/key", data=b"\x03params", prove=True)
    found = (await query.ask(abci.Request(query=asked))).query
    assert found.value and found.height == 1 and [op.type for op in found.proof_ops.ops] == ["simple:v", "simple:v"]
    inner = types.ValueOp.FromString(found.proof_ops.ops[0].data)
    assert (inner.key, inner.proof.total, len(inner.proof.aunts)) == (b"\x03params", 1 << 62, 62)
    absent = abci.RequestQuery(path="/store/main/key", data=b"\x03nothing", prove=True)
    missing = (await query.ask(abci.Request(query=absent))).query
    assert (missing.code, missing.height) == (1, 1)
    assert [op.type for op in missing.proof_ops.ops] == ["planetserve:absent", "simple:v"]
    for peer in (query, snapshot, mempool, consensus):
        peer.close()


async def test_a_batch_is_answered_in_order_whatever_the_cut(path: Path) -> None:
    peer = await connect(path)
    requests = [abci.Request(echo=abci.RequestEcho(message=str(n))) for n in range(300)]
    stream = b"".join(frame(r.SerializeToString()) for r in requests) + frame(FLUSH.SerializeToString())
    for at in range(0, len(stream), 97):
        await peer.raw(stream[at : at + 97])
    answers = await peer.take(301)
    assert [answer.echo.message for answer in answers[:-1]] == [str(n) for n in range(300)]
    assert answers[-1].WhichOneof("value") == "flush"
    peer.close()


async def test_a_peer_that_does_not_read_does_not_fill_our_memory(path: Path) -> None:
    peer = await connect(path)
    message = frame(abci.Request(echo=abci.RequestEcho(message="x" * 60_000)).SerializeToString())

    async def push() -> None:
        for _ in range(1000):
            await peer.raw(message)

    pushing = asyncio.create_task(push())
    done, _ = await asyncio.wait([pushing], timeout=1.0)
    assert not done, "the server stopped reading"
    other = await connect(path)
    assert (await other.ask(FLUSH)).WhichOneof("value") == "flush", "and still serves the others"
    assert len(await peer.take(1000)) == 1000, "nothing is lost once it reads again"
    await pushing
    other.close()
    peer.close()


@pytest.mark.parametrize("garbage", [frame(b"\xff\xff\xff"), b"\xff" * 10, frame(b"\x0a\xff"), b"GET / HTTP/1.1\r\n\r\n" * 9])
async def test_bytes_that_are_not_abci_close_the_connection_only(path: Path, garbage: bytes) -> None:
    peer = await connect(path)
    await peer.raw(frame(FLUSH.SerializeToString()) + garbage)
    assert (await peer.take())[0].WhichOneof("value") in ("flush", "exception")
    while not await peer.ended():
        pass
    other = await connect(path)
    assert (await other.ask(FLUSH)).WhichOneof("value") == "flush"
    other.close()


async def test_a_bug_in_a_query_or_check_is_a_code(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Application, "query", broken)
    monkeypatch.setattr(Application, "check_tx", broken)
    query, mempool = await connect(path), await connect(path)
    asked = await query.ask(abci.Request(query=abci.RequestQuery(path="/store/main/key", data=b"k")))
    assert asked.query.code == 255
    checked = await mempool.ask(abci.Request(check_tx=abci.RequestCheckTx(tx=b"k")))
    assert checked.check_tx.code == 22
    for peer in (query, mempool):
        assert (await peer.ask(FLUSH)).WhichOneof("value") == "flush"
        peer.close()


@pytest.mark.parametrize("kind", ["query", "check_tx"])
async def test_a_flood_does_not_delay_consensus(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """What is counted is how many of the flood's calls come between a consensus call's sending and its answer."""
    spent = [0.0]
    busy = turns.SLICE_SECONDS / 4
    original = {"query": Application.query, "check_tx": Application.check_tx}[kind]

    def slow(*arguments: object) -> object:
        spent[0] += busy
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Application, kind, slow)
    monkeypatch.setattr(turns, "perf_counter", lambda: spent[0])
    monkeypatch.setattr(server_module, "perf_counter", lambda: spent[0])
    request = {"query": abci.Request(query=abci.RequestQuery(path="/store/main/key", data=b"k"))}
    request["check_tx"] = abci.Request(check_tx=abci.RequestCheckTx(tx=b"k"))
    flood, consensus = await connect(path), await connect(path)
    assert (await consensus.ask(init_chain())).WhichOneof("value") == "init_chain"
    await flood.send(*[request[kind]] * 2000)
    waited: list[float] = []
    for height in range(1, 11):
        for call in (finalize(height), abci.Request(commit=abci.RequestCommit())):
            before = spent[0]
            await consensus.ask(call)
            waited.append(spent[0] - before)
    assert max(waited) <= 3 * (turns.SLICE_SECONDS + busy), "a slice or two and the message under way"
    assert spent[0] < 2000 * busy, "the flood was still going on"
    assert len(await flood.take(2000)) == 2000
    flood.close()
    consensus.close()


async def test_a_second_node_is_refused_and_the_first_goes_on(path: Path) -> None:
    first, second = await connect(path), await connect(path)
    assert (await first.ask(init_chain())).WhichOneof("value") == "init_chain"
    assert "second consensus connection" in (await second.ask(finalize(1))).exception.error
    assert await second.ended()
    assert (await first.ask(finalize(1))).WhichOneof("value") == "finalize_block"
    first.close()


SCRIPT = """
import asyncio, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
import test_server as t

async def main():
    store = t.LevelStore(Path(sys.argv[3]) / "db", chain_id=t.CHAIN, genesis_hash=bytes(32))
    app, path, order = t.Application(store, t.CHAIN, t.STATE), Path(sys.argv[3]) / "s", sys.argv[5] == "ordered"
    server = t.AbciServer(app, path, lambda method, seconds, failed: None, t.CallOrder(0) if order else None)
    await server.start()
    peer = await t.connect(Path(sys.argv[3]) / "s")
    await getattr(t, sys.argv[4])(peer)
    await asyncio.sleep(10)

asyncio.run(main())
"""


async def finalize_early(peer: Peer) -> None:
    await peer.send(finalize(1))


async def commit_nothing(peer: Peer) -> None:
    await peer.send(init_chain(), abci.Request(commit=abci.RequestCommit()))


async def foreign_chain(peer: Peer) -> None:
    init = init_chain()
    init.init_chain.chain_id = "elsewhere"
    await peer.send(init)


async def skipped_height(peer: Peer) -> None:
    await peer.send(init_chain(), finalize(2))


async def unknown_method(peer: Peer) -> None:
    await peer.raw(frame(b"\xaa\x01\x00"))  # tag 21, InsertTx of a later line


@pytest.mark.parametrize(
    ("act", "code", "checked"),
    [
        ("finalize_early", FAULT_EXIT, ""),
        ("commit_nothing", FAULT_EXIT, ""),
        ("commit_nothing", FAULT_EXIT, "ordered"),
        ("skipped_height", FAULT_EXIT, "ordered"),
        ("foreign_chain", CONFIG_EXIT, ""),
        ("unknown_method", FAULT_EXIT, ""),
    ],
)
def test_a_fault_in_consensus_ends_the_process_at_once(tmp_path: Path, act: str, code: int, checked: str) -> None:
    here = Path(__file__).resolve()
    command = [sys.executable, "-c", SCRIPT, str(here.parents[3]), str(here.parent), str(tmp_path), act, checked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "the process ends" in done.stderr


def test_every_method_that_can_stop_consensus_is_listed() -> None:
    assert {field.name for field in abci.Request.DESCRIPTOR.fields} > dispatch.CONSENSUS_METHODS
