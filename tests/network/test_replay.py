"""The replay set: exact within its window, bounded, and never forgetful before its time."""

from network.freshness import REMEMBER_SECONDS
from network.replay import ReplaySet


def test_a_key_is_admitted_once_for_at_least_the_window() -> None:
    seen = ReplaySet()
    assert seen.admit(b"a", 1000.0)
    for later in (0.0, 1.0, REMEMBER_SECONDS - 1, REMEMBER_SECONDS):
        assert not seen.admit(b"a", 1000.0 + later)


def test_keys_are_forgotten_in_the_end() -> None:
    seen = ReplaySet()
    assert seen.admit(b"a", 1000.0)
    assert seen.admit(b"b", 1000.0 + REMEMBER_SECONDS)
    assert len(seen) == 2
    assert seen.admit(b"c", 1000.0 + 2 * REMEMBER_SECONDS)
    assert b"a" not in seen and b"b" in seen
    assert seen.admit(b"d", 1000.0 + 9 * REMEMBER_SECONDS)
    assert len(seen) == 1


def test_a_full_set_refuses_instead_of_forgetting() -> None:
    seen = ReplaySet(limit=2)
    assert seen.admit(b"a", 1000.0) and seen.admit(b"b", 1000.0)
    assert not seen.admit(b"c", 1000.0)
    assert not seen.admit(b"a", 1000.0)
    assert seen.admit(b"c", 1000.0 + REMEMBER_SECONDS)
