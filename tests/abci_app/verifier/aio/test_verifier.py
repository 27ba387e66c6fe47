"""Whose verifier a key is: asked of the chain at every epoch, since members come and go."""

from pathlib import Path
from typing import Any

import pytest

from abci_app.state.params import DEFAULT
from abci_app.verifier.aio.verifier import Verifier
from abci_app.verifier.commands import ReadEpoch
from abci_app.verifier.core import VerifierCore
from abci_app.verifier.events import EpochRead, Event
from network.chain_records import DirectoryRecord, EpochRecord, Params, ValidatorRecord, validator_key
from network.codec import Message
from network.crypto import SigningKey, sha256
from network.directory import Directory
from network.ids import node_id
from network.light import Validator

KEY = SigningKey(sha256(b"verifier"))
CONSENSUS = [sha256(b"consensus", bytes([number])) for number in range(3)]


class Chain:
    """An epoch, its parameters, and a committee of three."""

    def __init__(self, verifier_keys: list[bytes]) -> None:
        self.records: dict[bytes, Message] = {
            validator_key(node_id(key)): ValidatorRecord(key, verifier, 10)
            for key, verifier in zip(CONSENSUS, verifier_keys, strict=True)
        }

    async def load(self, kind: Any, key: bytes) -> tuple[Any, int]:
        return {EpochRecord: EpochRecord(4, 61, bytes(32)), Params: DEFAULT}.get(kind, self.records.get(key)), 1

    async def directory(self) -> Directory:
        return Directory(DirectoryRecord(), 1)

    async def committee(self) -> tuple[Validator, ...]:
        return tuple(Validator(key, 10) for key in CONSENSUS)


class Core(VerifierCore):
    """Notes what it is told."""

    def on_event(self, event: Event, epoch: int | None = None) -> list[Any]:
        self.told = event
        return []


@pytest.mark.parametrize("place", [None, 0, 2])
async def test_the_id_is_that_of_the_member_whose_record_names_the_key(place: int | None, tmp_path: Path) -> None:
    keys = [bytes([number]) * 32 for number in range(3)]
    if place is not None:
        keys[place] = KEY.public
    core = Core(KEY, "g", lambda count: bytes(count))
    parts: tuple[Any, ...] = (core, Chain(keys), None, None)
    verifier = Verifier(*parts, key=KEY, group="g", memory_file=tmp_path / "memory")
    await verifier._read_epoch(ReadEpoch())
    assert isinstance(core.told, EpochRead)
    assert core.told.validator == (node_id(CONSENSUS[place]) if place is not None else b"")
    assert verifier._committee == tuple(node_id(key) for key in CONSENSUS)
