"""What is compiled agrees with the plain functions: same bytes, same values, same errors, for every message there is."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network import chain_records, chain_tx, inference, proof
from network.codec import Message, Wire, decode, decode_plainly, encode, encode_plainly
from network.errors import DecodeError
from network.hrtree import delta

KINDS = sorted(
    {
        kind
        for module in (chain_records, chain_tx, delta, inference, proof)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
    },
    key=lambda kind: kind.__qualname__,
)
NUMBERS = {"uint": 0, "flag": 0, "sint": -1}


def values(wire: Wire) -> st.SearchStrategy[Any]:
    """Values of a field, most of them within their bounds."""
    if wire.kind == "flag":
        return st.booleans()
    if wire.kind in NUMBERS:
        low = NUMBERS[wire.kind] * wire.limit
        return st.integers(low, wire.limit) | st.integers(low, wire.limit + 1) | st.integers(low, min(200, wire.limit))
    if wire.kind == "uints":
        return st.lists(st.integers(0, min(wire.limit + 1, 70_000)), max_size=min((wire.size or 5) + 1, 70)).map(tuple)
    if wire.kind == "text":
        return st.text(max_size=5) | st.just("x" * (wire.limit + 1))
    if wire.kind == "message":
        assert wire.message is not None
        return messages(wire.message)
    size = wire.size
    return st.binary(max_size=5) if size is None else st.binary(min_size=size, max_size=size) | st.binary(max_size=3)


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for entry in fields(kind):  # type: ignore[arg-type]
        wire: Wire = entry.metadata["wire"]
        item = values(wire)
        most = min(entry.metadata.get("count", 1) + 1, 3)
        parts[entry.name] = st.lists(item, max_size=most).map(tuple) if wire.repeated else st.just(entry.default) | item
    return st.builds(kind, **parts)


def outcome(run: Any, *arguments: Any) -> Any:
    """A result, or the error's type and words."""
    try:
        return run(*arguments)
    except (ValueError, DecodeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_compiled_and_plain_agree(kind: type[Message]) -> None:
    @settings(max_examples=25, deadline=None)
    @given(messages(kind), st.data())
    def check(message: Message, data: st.DataObject) -> None:
        encoded = outcome(encode_plainly, message)
        assert outcome(encode, message) == encoded
        if not isinstance(encoded, bytes):
            return
        assert decode(kind, encoded) == message == decode_plainly(kind, encoded)
        bent = bytearray(encoded)
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(bent)))
            bent[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        raw = bytes(bent[: data.draw(st.integers(0, len(bent)))]) if data.draw(st.booleans()) else bytes(bent)
        assert outcome(decode, kind, raw) == outcome(decode_plainly, kind, raw)

    check()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=60))
def test_they_agree_on_garbage(kind: type[Message], raw: bytes) -> None:
    assert outcome(decode, kind, raw) == outcome(decode_plainly, kind, raw)


def test_other_buffers_than_bytes_are_taken_as_before() -> None:
    account = chain_records.Account(7)
    assert decode(chain_records.Account, bytearray(encode(account))) == account  # type: ignore[arg-type]
    group = chain_records.ModelGroup("m", bytearray(32), "s")  # type: ignore[arg-type]
    assert encode(group) == encode_plainly(group)
