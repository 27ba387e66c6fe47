"""The state overlay against its twin, a dictionary; forks are dropped or merged whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.state.state import MemoryReader, State
from network.chain_records import Account, ModelGroup

keys = st.binary(min_size=1, max_size=3)
values = st.binary(min_size=1, max_size=3)
writes = st.lists(st.tuples(keys, st.one_of(st.none(), values)), max_size=20)


def apply(state: State, twin: dict[bytes, bytes], rows: list[tuple[bytes, bytes | None]]) -> None:
    for key, value in rows:
        if value is None:
            state.delete(key)
            twin.pop(key, None)
        else:
            state.put(key, value)
            twin[key] = value


@given(st.dictionaries(keys, values, max_size=10), writes, writes, st.binary(max_size=2))
def test_state_agrees_with_a_dictionary(
    base: dict[bytes, bytes],
    first: list[tuple[bytes, bytes | None]],
    second: list[tuple[bytes, bytes | None]],
    prefix: bytes,
) -> None:
    before = dict(base)
    state, twin = State(MemoryReader(base)), dict(base)
    apply(state, twin, first)
    child = state.fork()
    apply(child, dict(twin), second)
    assert dict(state.scan(b"")) == twin, "a fork does not reach its parent"
    state.merge(child)
    apply(State(MemoryReader()), twin, second)
    assert list(state.scan(prefix)) == sorted((k, v) for k, v in twin.items() if k.startswith(prefix))
    assert all(state.get(key) == twin.get(key) for key in {*twin, *base})
    assert base == before, "the base is left as it was"


def test_changes_come_in_key_order_with_removals_as_none() -> None:
    state = State(MemoryReader({b"a": b"1"}))
    state.put(b"c", b"3")
    state.delete(b"a")
    state.put(b"b", b"2")
    assert state.changes() == [(b"a", None), (b"b", b"2"), (b"c", b"3")]


def test_an_empty_value_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        State(MemoryReader()).put(b"a", b"")


def test_what_was_decoded_is_shared_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks get the very record; what was saved is decoded like anybody's, so that its numbers are of the same types."""
    monkeypatch.setattr("abci_app.state.state.DECODED_RECORDS", 2)
    state = State(MemoryReader())
    state.save(b"f", ModelGroup("one", bytes(range(32)), "s"))
    state.save(b"n", Account(True))
    first = state.load(ModelGroup, b"f")
    assert first is not None and state.fork().load(ModelGroup, b"f") is first
    account = state.load(Account, b"n")
    assert account is not None and type(account.nonce) is int
    for number in range(5):
        state.save(b"n", Account(number + 2))
        assert state.load(Account, b"n") == Account(number + 2)
    assert len(state._decoded._records[Account]) <= 2
    state.save(b"l", ModelGroup("x" * 128, bytes(32), "s" * 32))
    assert State(state, state._decoded).load(ModelGroup, b"l") == state.load(ModelGroup, b"l")
