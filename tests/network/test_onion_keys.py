"""A day's keys: announced before they count, overlapping, forgotten; with a clock of our own."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.chain_records import DirectoryEntry
from network.crypto import exchange_public
from network.geometry import Seal
from network.hpke import OnionPrivate, Opener, hybrid_public, seal_to
from network.onion_keys import LIFETIME_SECONDS, OVERLAP_SECONDS, KeyRing, completed, fresh, turned

NOW = 1_800_000_000.0
HOUR = 3600.0


def entry_of(ring: KeyRing) -> DirectoryEntry:
    """What the directory says once it has heard of the current keys."""
    hybrid = hybrid_public(ring.current.hybrid) if ring.current.hybrid else b""
    return DirectoryEntry(onion_key=exchange_public(ring.current.x25519), hybrid_key=hybrid)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(3)


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_life_of_three_days(rng: random.Random, hybrid: bool) -> None:
    ring = first = KeyRing(fresh(rng.randbytes, hybrid=hybrid), since=NOW)
    told = entry_of(first)
    assert turned(ring, None, NOW + 1, rng.randbytes) is ring, "not in the directory yet"
    ring = turned(ring, told, NOW + 10, rng.randbytes)
    assert ring == replace(first, announced=NOW + 10)
    assert turned(ring, told, NOW + 23 * HOUR, rng.randbytes) is ring
    ring = second = turned(ring, told, NOW + 24 * HOUR, rng.randbytes)
    assert ring.generations == (ring.current, first.current) and ring.current != first.current
    assert bool(ring.current.hybrid) is hybrid and ring.announced == 0
    assert turned(ring, told, NOW + 24 * HOUR + 5, rng.randbytes) is ring, "the directory still names the old key"
    ring = turned(ring, entry_of(ring), NOW + 24 * HOUR + 20, rng.randbytes)
    assert turned(ring, entry_of(ring), NOW + 48 * HOUR, rng.randbytes) is ring, "a day after it was announced, not made"
    ring = turned(ring, entry_of(ring), NOW + 48 * HOUR + 20, rng.randbytes)
    assert ring.generations == (ring.current, second.current), "the first key is forgotten, a third one made"


def test_a_ledger_that_stands_still_takes_no_key_away(rng: random.Random) -> None:
    ring = turned(KeyRing(fresh(rng.randbytes, hybrid=False), NOW, NOW), None, NOW + 24 * HOUR, rng.randbytes)
    assert turned(ring, None, NOW + 1000 * HOUR, rng.randbytes) is ring and len(ring.generations) == 2


def test_a_file_from_elsewhere_is_completed(rng: random.Random) -> None:
    bare = KeyRing(OnionPrivate(b"x" * 32))
    dated = completed(bare, NOW, rng.randbytes, hybrid=False)
    assert dated == KeyRing(OnionPrivate(b"x" * 32), since=NOW)
    assert completed(dated, NOW + 9, rng.randbytes, hybrid=False) is dated
    model = completed(replace(dated, announced=NOW + 1), NOW + 9, rng.randbytes, hybrid=True)
    assert (model.current.x25519, len(model.current.hybrid), model.since, model.announced) == (b"x" * 32, 96, NOW, 0.0)


@given(steps=st.lists(st.tuples(st.floats(0, 40 * HOUR), st.booleans()), max_size=60), hybrid=st.booleans())
@settings(max_examples=50, deadline=None)
def test_what_the_directory_names_always_opens(steps: list[tuple[float, bool]], hybrid: bool) -> None:
    """However late the ledger hears of a key, and however late a sender's directory is within the overlap."""
    draw, now = random.Random(1).randbytes, NOW
    ring = completed(KeyRing(fresh(draw, hybrid=False)), now, draw, hybrid=hybrid)
    listed = entry_of(ring)
    for wait, ledger_hears in steps:
        now += wait
        before = listed
        ring = turned(ring, listed, now, draw)
        if ledger_hears:
            listed = entry_of(ring)
        assert len(ring.generations) <= 2
        opener = Opener(*ring.generations)
        for entry in (listed, before):
            assert opener.open(seal_to(Seal.X25519, entry.onion_key, b"clove", b""), b"") == b"clove"
            if hybrid:
                assert opener.open(seal_to(Seal.HYBRID, entry.hybrid_key, b"clove", b""), b"") == b"clove"


def test_a_day() -> None:
    assert (LIFETIME_SECONDS, OVERLAP_SECONDS) == (24 * HOUR, 24 * HOUR)
