"""Envelopes between model nodes: what opens, and every way in which one must not; the records that come back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode, encode
from network.crypto import SigningKey, sha256
from network.directory import Directory
from network.errors import DecodeError
from network.ids import Role, node_id
from network.inference import FrameKind, InferenceRequest, ReplyFrame, Sampling
from serving_node.forwarding import (
    FRESH_MS,
    MAX_RECORD,
    STILL_HERE,
    Envelope,
    Forward,
    ForwardGate,
    ForwardRefused,
    RecordReader,
    record,
    seal,
)

SENDER, OWN, RELAY, STRANGER = (SigningKey(sha256(name)) for name in (b"sender", b"own", b"relay", b"stranger"))
NOW = 1_000_000
REQUEST = InferenceRequest("tiny", 1, bytes(32), Sampling(600, 0, 0, 8), b"{}", 1000)


def entry(key: SigningKey, role: Role = Role.MODEL, group: str = "tiny") -> DirectoryEntry:
    return DirectoryEntry(node_id=node_id(key.public), signing_key=key.public, role=role, group=group, address="x")


DIRECTORY = Directory(DirectoryRecord("chain", 1, 1, b"", (entry(SENDER), entry(OWN), entry(RELAY, Role.RELAY, ""))), 1)
FORWARD = Forward("chain", node_id(OWN.public), NOW, bytes(range(16)), (node_id(SENDER.public),), encode(REQUEST))


def gate() -> ForwardGate:
    return ForwardGate(node_id(OWN.public), "tiny", lambda: DIRECTORY)


def refused(raw: bytes, at: ForwardGate | None = None, now: int = NOW) -> str:
    with pytest.raises(ForwardRefused) as error:
        (at or gate()).open(raw, now)
    return error.value.reason


def test_a_good_envelope_opens() -> None:
    forward, request = gate().open(seal(SENDER, FORWARD), NOW + 10)
    assert forward == FORWARD and request == REQUEST


def test_it_opens_once() -> None:
    once = gate()
    once.open(seal(SENDER, FORWARD), NOW)
    assert refused(seal(SENDER, FORWARD), once) == "replay"
    assert refused(seal(SENDER, FORWARD), once, NOW + FRESH_MS) == "replay"
    assert refused(seal(SENDER, FORWARD), once, NOW + FRESH_MS + 1) == "clock"
    once.open(seal(SENDER, replace(FORWARD, id=bytes(16))), NOW)


def test_what_must_not_open() -> None:
    assert refused(b"\xff") == "garbage"
    assert refused(seal(SENDER, replace(FORWARD, request=b"\xff"))) == "garbage"
    assert refused(seal(STRANGER, FORWARD)) == "stranger"
    assert refused(seal(RELAY, FORWARD)) == "stranger"
    assert refused(seal(OWN, FORWARD)) == "stranger"
    assert refused(seal(SENDER, replace(FORWARD, chain_id="other"))) == "misdirected"
    assert refused(seal(SENDER, replace(FORWARD, receiver=node_id(STRANGER.public)))) == "misdirected"
    assert refused(seal(SENDER, replace(FORWARD, visited=()))) == "route"
    assert refused(seal(SENDER, replace(FORWARD, visited=(node_id(OWN.public), node_id(SENDER.public))))) == "route"
    assert refused(seal(SENDER, replace(FORWARD, visited=(node_id(STRANGER.public),)))) == "route"
    assert refused(seal(SENDER, replace(FORWARD, id=b""))) == "replay"
    assert refused(seal(SENDER, FORWARD), now=NOW + FRESH_MS + 1) == "clock"
    envelope = decode(Envelope, seal(SENDER, FORWARD))
    assert refused(encode(replace(envelope, signature=bytes(63) + b"\1"))) == "signature"
    assert refused(encode(replace(envelope, forward=encode(replace(FORWARD, sent_ms=NOW + 1))))) == "signature"


def test_a_group_hears_only_its_own() -> None:
    assert isinstance(gate(), ForwardGate)
    with pytest.raises(ForwardRefused):
        ForwardGate(node_id(OWN.public), "other", lambda: DIRECTORY).open(seal(SENDER, FORWARD), NOW)


@given(st.binary(max_size=200))
def test_garbage_is_refused_never_a_crash(raw: bytes) -> None:
    assert refused(raw)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 17))
def test_records_come_back_however_they_are_cut(payloads: list[bytes], step: int) -> None:
    frames = [ReplyFrame(0, FrameKind.DELTA, payload) for payload in payloads]
    stream = STILL_HERE.join(record(frame) for frame in frames) + STILL_HERE
    reader, seen = RecordReader(), []
    for at in range(0, len(stream), step):
        seen += reader.feed(stream[at : at + step])
    assert seen == frames


def test_an_endless_record_is_refused() -> None:
    with pytest.raises(DecodeError):
        RecordReader().feed((MAX_RECORD + 1).to_bytes(4, "big"))
