"""The chain client against a served chain: what it proves, what it refuses, and how it behaves when the chain is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from network.aio import chain_client, chain_submit
from network.aio.chain_client import ChainClient, ChainUnavailable, ProofRejected
from network.aio.chain_rpc import pause
from network.chain_records import DIRECTORY_KEY, DirectoryEntry, DirectoryRecord
from network.chain_tx import RetireNode, SignedTx, TxKind, UpdateNode
from network.codec import encode
from network.crypto import SigningKey

KEY, VALUE = b"\x03params", b"some record"
SIGNER = SigningKey(b"\x21" * 32)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off takes no time here."""

    async def at_once(attempt: int, **_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(chain_client, "pause", at_once)
    monkeypatch.setattr(chain_submit, "INCLUSION_S", 1.0)
    monkeypatch.setattr(chain_submit, "REBROADCAST_S", 0.5)


@pytest.fixture
async def client(chain: Any) -> AsyncIterator[ChainClient]:
    held = ChainClient([chain.url], chain.trust, clock=chain.clock)
    await held.start()
    yield held
    await held.close()


async def test_a_value_is_read_and_proven(chain: Any, client: ChainClient) -> None:
    chain.put(KEY, VALUE)
    proven = await client.read(KEY)
    assert (proven.value, proven.verified, proven.height) == (VALUE, True, chain.height - 1)
    assert await client.height() == chain.height


async def test_absence_is_proven(chain: Any, client: ChainClient) -> None:
    chain.put(KEY, VALUE)
    proven = await client.read(b"\x02nobody")
    assert (proven.value, proven.verified) == (None, True)


async def test_absence_without_a_proof_is_not_called_verified(chain: Any, client: ChainClient) -> None:
    chain.tamper = lambda method, result: drop_ops(result) if method == "abci_query" else result
    proven = await client.read(b"\x02nobody")
    assert (proven.value, proven.verified) == (None, False)


def drop_ops(result: Any) -> Any:
    result["response"].pop("proofOps", None)
    return result


def other_key(chain: Any) -> Callable[[str, Any], Any]:
    def tamper(method: str, result: Any) -> Any:
        if method != "abci_query":
            return result
        answer = chain.do_abci_query("", b"\x04epoch".hex(), "0", True)
        return answer

    return tamper


def value(method: str, result: Any) -> Any:
    if method == "abci_query":
        result["response"]["value"] = "Zm9yZ2Vk"
    return result


def says_absent(method: str, result: Any) -> Any:
    if method == "abci_query":
        result["response"].update(code=1, value=None)
    return result


def higher(method: str, result: Any) -> Any:
    if method == "abci_query":
        result["response"]["height"] = str(int(result["response"]["height"]) - 1)
    return result


def signature(method: str, result: Any) -> Any:
    if method == "commit":
        for place in result["signed_header"]["commit"]["signatures"]:
            place["signature"] = "A" * 86 + "=="
    return result


def header(method: str, result: Any) -> Any:
    if method == "commit":
        result["signed_header"]["header"]["app_hash"] = "00" * 32
    return result


def no_ops(method: str, result: Any) -> Any:
    return drop_ops(result) if method == "abci_query" else result


@pytest.mark.parametrize("tamper", [value, says_absent, higher, signature, header, no_ops, lambda m, r: {}, lambda m, r: None])
async def test_a_liar_is_refused(chain: Any, client: ChainClient, tamper: Callable[[str, Any], Any]) -> None:
    chain.put(b"\x04epoch", b"epoch")
    chain.put(KEY, VALUE)
    chain.tamper = tamper
    with pytest.raises(ProofRejected):
        await client.read(KEY)


async def test_an_honest_proof_of_another_key_is_refused(chain: Any, client: ChainClient) -> None:
    chain.put(b"\x04epoch", b"epoch")
    chain.put(KEY, VALUE)
    chain.tamper = other_key(chain)
    with pytest.raises(ProofRejected, match="another key"):
        await client.read(KEY)


async def test_an_answer_older_than_what_was_proven_is_refused(chain: Any, client: ChainClient) -> None:
    chain.put(KEY, b"old")
    old = chain.height - 1
    chain.put(KEY, b"new")
    assert (await client.read(KEY)).value == b"new"
    chain.tamper = lambda method, result: (
        chain.do_abci_query("", KEY.hex(), str(old), True) if method == "abci_query" else result
    )
    with pytest.raises(ProofRejected, match="was proven before"):
        await client.read(KEY)


async def test_a_chain_that_stands_still_is_stale(chain: Any, client: ChainClient) -> None:
    chain.put(KEY, VALUE)
    chain.time += 301
    with pytest.raises(ProofRejected, match="301 s old"):
        await client.read(KEY)


async def test_a_lying_server_is_left_for_an_honest_one(chain: Any) -> None:
    chain.put(KEY, VALUE)
    client = ChainClient(["http://127.0.0.1:9", chain.url], chain.trust, clock=chain.clock)
    await client.start()
    lies = iter([True])
    chain.tamper = lambda method, result: value(method, result) if method == "abci_query" and next(lies, False) else result
    assert (await client.read(KEY)).value == VALUE
    await client.close()


async def test_nobody_answers(chain: Any, client: ChainClient) -> None:
    chain.down = True
    with pytest.raises(ChainUnavailable, match="planetserve localnet status"):
        await client.read(KEY)
    with pytest.raises(ChainUnavailable):
        await client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER)


async def test_before_the_second_block_nothing_can_be_proven(chain: Any, client: ChainClient) -> None:
    chain.states = chain.states[:2]
    with pytest.raises(ChainUnavailable, match="wait for the next block"):
        await client.read(KEY)


async def test_a_transaction_is_signed_sent_and_found(chain: Any, client: ChainClient) -> None:
    first = await client.submit(TxKind.UPDATE_NODE, UpdateNode(address="a:1"), SIGNER)
    second = await client.submit(TxKind.UPDATE_NODE, UpdateNode(address="a:1"), SIGNER)
    assert first.code == second.code == 0 and second.height == first.height + 1
    assert first.hash != second.hash  # nonces rise, although the clock stands still
    found = await client.transaction(first.hash)
    assert found is not None and found.height == first.height
    assert await client.transaction(b"\0" * 32) is None


async def test_a_refused_transaction_has_its_code(chain: Any, client: ChainClient) -> None:
    chain.check_tx = lambda tx: 4
    result = await client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER)
    assert (result.code, result.height, result.codespace) == (4, 0, "planetserve")


async def test_an_overtaken_nonce_is_signed_again_and_not_for_ever(chain: Any, client: ChainClient) -> None:
    nonces: list[int] = []

    def stale(times: int) -> Callable[[SignedTx], int]:
        def check(tx: SignedTx) -> int:
            nonces.append(tx.nonce)
            return 5 if len(nonces) <= times else 0

        return check

    chain.check_tx = stale(1)
    assert (await client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER)).code == 0
    assert len(nonces) == 2 and nonces[0] < nonces[1]
    nonces.clear()
    chain.check_tx = stale(100)
    assert (await client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER)).code == 5
    assert len(nonces) == chain_submit.NONCE_ATTEMPTS


async def test_one_keys_transactions_reach_the_mempool_in_the_order_of_their_nonces(chain: Any, client: ChainClient) -> None:
    arrived: list[int] = []

    def check(tx: SignedTx) -> int:
        arrived.append(tx.nonce)
        return 0

    chain.check_tx = check
    await asyncio.gather(*(client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER) for _ in range(8)))
    assert arrived == sorted(arrived) and len(arrived) == 8


async def test_a_transaction_in_no_block_is_unavailability(chain: Any, client: ChainClient) -> None:
    chain.deliver = False
    with pytest.raises(ChainUnavailable, match="in no block"):
        await client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER)


async def test_a_transaction_of_another_block_is_refused(chain: Any, client: ChainClient) -> None:
    result = await client.submit(TxKind.RETIRE_NODE, RetireNode(), SIGNER)

    def moved(method: str, answer: Any) -> Any:
        return {**answer, "height": "1"} if method == "tx" else answer

    chain.tamper = moved
    with pytest.raises(ProofRejected, match="not in the block"):
        await client.transaction(result.hash)


def directory(chain: Any, *names: str, height: int = 1, chain_id: str = "test-chain") -> bytes:
    entries = tuple(DirectoryEntry(node_id=bytes([at + 1]) * 20, role=2, name=name) for at, name in enumerate(names))
    return encode(DirectoryRecord(chain_id=chain_id, epoch=1, height=height, entries=entries))


async def test_the_directory_is_read_and_kept(chain: Any, client: ChainClient) -> None:
    assert (await client.directory()).record.entries == ()
    chain.put(DIRECTORY_KEY, directory(chain, "relay-00"))
    assert [entry.name for entry in (await client.directory()).record.entries] == ["relay-00"]
    assert client.directory_now.height == chain.height - 1


async def test_an_older_or_foreign_directory_does_not_replace_the_newest(chain: Any, client: ChainClient) -> None:
    chain.put(DIRECTORY_KEY, directory(chain, "new", height=9))
    newest = await client.directory()
    chain.put(DIRECTORY_KEY, directory(chain, "old", height=8))
    assert await client.directory() is newest
    chain.put(DIRECTORY_KEY, directory(chain, "foreign", height=10, chain_id="other"))
    with pytest.raises(ProofRejected, match="'other'"):
        await client.directory()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def following(client: ChainClient, interval: float = 0.02) -> AsyncIterator[None]:
    task = asyncio.create_task(client.follow(interval))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_following_sees_changes_and_proves_only_then(chain: Any, client: ChainClient) -> None:
    chain.put(DIRECTORY_KEY, directory(chain, "a"))
    async with following(client):
        await until(lambda: len(client.directory_now.record.entries) == 1)
        chain.calls.clear()
        await until(lambda: len(chain.calls) > 5)
        assert {method for method, _ in chain.calls} == {"abci_query"}
        assert not any(params["prove"] for _, params in chain.calls)
        chain.put(DIRECTORY_KEY, directory(chain, "a", "b", height=5))
        await until(lambda: len(client.directory_now.record.entries) == 2)
        assert any(params.get("prove") for _, params in chain.calls)


async def test_following_survives_the_chain_and_says_so_once(
    chain: Any, client: ChainClient, caplog: pytest.LogCaptureFixture
) -> None:
    chain.put(DIRECTORY_KEY, directory(chain, "a"))
    with caplog.at_level("INFO"):
        async with following(client):
            await until(lambda: len(client.directory_now.record.entries) == 1)
            chain.down = True
            await until(lambda: "cannot be followed" in caplog.text)
            await asyncio.sleep(0.2)
            assert len(client.directory_now.record.entries) == 1
            chain.down = False
            await until(lambda: "answers again" in caplog.text)
    assert caplog.text.count("cannot be followed") == 1


async def test_pauses_double_and_end() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for attempt in range(4):
        await pause(attempt, first=0.001, most=0.004)
    assert loop.time() - began >= 0.011
