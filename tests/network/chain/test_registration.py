"""Staying registered: a new key, a changed address, a renewal, and the refusals that end it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from network.aio import registration
from network.aio.chain_client import ChainUnavailable, TxResult
from network.aio.keys import NodeKeys
from network.aio.registration import RegistrationRefused, announce, keep_registered
from network.chain_records import DirectoryEntry, DirectoryRecord, EpochRecord, NodeRecord, Params
from network.chain_tx import RegisterNode, TxKind, UpdateNode
from network.crypto import SigningKey
from network.directory import Directory
from network.hpke import OnionPrivate
from network.ids import Role
from network.onion_keys import KeyRing
from network.registration_work import is_solved

KEYS = NodeKeys(SigningKey(b"\x01" * 32), KeyRing(OnionPrivate(b"\x02" * 32)))
BODY = RegisterNode(role=Role.RELAY, name="r", onion_key=KEYS.onion_public, address="127.0.0.1:1", family="f")
RECORD = NodeRecord(
    signing_key=KEYS.signing.public, role=Role.RELAY, name="r", onion_key=KEYS.onion_public, address="127.0.0.1:1", family="f"
)


class FakeClient:
    """A ledger of one record."""

    def __init__(self, record: NodeRecord | None, epoch: int = 0) -> None:
        self.record = record
        self.epoch = epoch
        self.sent: list[tuple[TxKind, Any]] = []
        self.code = 0
        self.chain_id = "c"
        self.params = Params(lifetime_epochs=10)

    @property
    def directory_now(self) -> Directory:
        entries = ()
        if self.record is not None:
            reached = {name: getattr(self.record, name) for name in ("onion_key", "address", "hybrid_key")}
            entries = (DirectoryEntry(node_id=KEYS.node_id, **reached),)
        return Directory(DirectoryRecord(chain_id="c", epoch=self.epoch, entries=entries), 1)

    async def load(self, kind: Any, key: bytes) -> tuple[Any, int]:
        held = {Params: self.params, EpochRecord: EpochRecord(self.epoch), NodeRecord: self.record}
        return held[kind], 1

    async def submit(self, kind: TxKind, body: Any, key: SigningKey) -> TxResult:
        self.sent.append((kind, body))
        if self.code == 0 and kind == TxKind.REGISTER_NODE:
            self.record = replace(RECORD, renewed_epoch=self.epoch)
        elif self.code == 0 and self.record is not None:
            given = {name: getattr(body, name) for name in ("onion_key", "address", "hybrid_key") if getattr(body, name)}
            self.record = replace(self.record, renewed_epoch=self.epoch, **given)
        return TxResult(b"", 1, self.code, "because", "planetserve")


async def once(client: FakeClient, body: RegisterNode = BODY, renew_after: int = 3) -> int:
    return await announce(client, KEYS, body, client.epoch, renew_after)  # type: ignore[arg-type]


async def test_a_new_key_is_registered() -> None:
    client = FakeClient(None, epoch=4)
    assert await once(client) == 4
    assert client.sent == [(TxKind.REGISTER_NODE, BODY)]


async def test_the_puzzle_is_solved_for_the_running_epoch() -> None:
    client = FakeClient(None, epoch=4)
    client.params = Params(lifetime_epochs=10, registration_work=6)
    await once(client)
    [(_, sent)] = client.sent
    assert sent.work_epoch == 4 and is_solved("c", 4, KEYS.signing.public, sent.work_counter, 6)


@pytest.mark.parametrize("code", registration.TRY_LATER)
async def test_what_passes_is_tried_again(code: int) -> None:
    client = FakeClient(None)
    client.code = code
    with pytest.raises(ChainUnavailable, match=f"code {code}"):
        await once(client)


async def test_a_registered_key_sends_nothing() -> None:
    client = FakeClient(replace(RECORD, renewed_epoch=3), epoch=5)
    assert await once(client) == 3 and client.sent == []


async def test_a_new_address_is_announced() -> None:
    client = FakeClient(RECORD)
    await once(client, replace(BODY, address="127.0.0.1:2"))
    assert client.sent == [(TxKind.UPDATE_NODE, UpdateNode(onion_key=KEYS.onion_public, address="127.0.0.1:2"))]


async def test_new_keys_are_announced() -> None:
    client = FakeClient(RECORD)
    changed = replace(BODY, onion_key=b"\x07" * 32, hybrid_key=bytes(1216))
    await once(client, changed)
    assert client.sent == [(TxKind.UPDATE_NODE, UpdateNode(b"\x07" * 32, BODY.address, bytes(1216)))]
    await once(client, changed)
    assert len(client.sent) == 1


async def test_a_record_is_renewed_before_it_lapses() -> None:
    client = FakeClient(replace(RECORD, renewed_epoch=2), epoch=5)
    assert await once(client) == 5
    assert client.sent == [(TxKind.UPDATE_NODE, UpdateNode())]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (replace(RECORD, retired=True), "has retired"),
        (replace(RECORD, role=Role.MODEL), "another role"),
        (replace(RECORD, group="g"), "another role or model"),
    ],
)
async def test_a_key_that_means_something_else_stops_the_node(record: NodeRecord, words: str) -> None:
    with pytest.raises(RegistrationRefused, match=words):
        await once(FakeClient(record))


async def test_a_refusal_by_the_ledger_stops_the_node() -> None:
    client = FakeClient(None)
    client.code = 10
    with pytest.raises(RegistrationRefused, match=r"because \(code 10\)"):
        await once(client)


async def test_somebody_was_faster_with_the_same_key() -> None:
    client = FakeClient(None)
    client.code = registration.ALREADY_REGISTERED
    assert await once(client) == -1


async def test_keeping_on_renews_every_few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    client, body = FakeClient(None), BODY
    monkeypatch.setattr(registration, "CHECK_S", 0.001)
    task = asyncio.create_task(keep_registered(client, KEYS, lambda: body))  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        for epoch in (0, 1, 2, 3, 4, 5, 6):
            client.epoch = epoch
            await asyncio.sleep(0.05)
        assert [kind for kind, _ in client.sent] == [TxKind.REGISTER_NODE, TxKind.UPDATE_NODE, TxKind.UPDATE_NODE]
        body = replace(BODY, onion_key=b"\x07" * 32)
        while len(client.sent) < 4:
            await asyncio.sleep(0.01)
    task.cancel()
    assert client.sent[-1] == (TxKind.UPDATE_NODE, UpdateNode(b"\x07" * 32, BODY.address)), "a changed key is told at once"
