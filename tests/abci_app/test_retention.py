"""Which blocks may go: every limit holds, whatever the others say."""

from hypothesis import given
from hypothesis import strategies as st

from abci_app.retention import KEEP_ALL, Retention

heights = st.integers(1, 1_000_000)


@given(height=heights, blocks=heights, evidence=heights, version=heights, snapshot=st.none() | heights, offers=st.booleans())
def test_no_limit_is_passed(height: int, blocks: int, evidence: int, version: int, snapshot: int | None, offers: bool) -> None:
    found = Retention(blocks, evidence, offers).retain_height(height, oldest_version=version, oldest_snapshot=snapshot)
    assert found >= 0
    if found:
        assert height - found + 1 >= blocks and height - found >= evidence
        assert found <= version, "rolling back to a kept version needs the block above it"
        assert snapshot is None or found <= snapshot, "a peer that restores it goes on from there"
        assert snapshot is not None or not offers, "a replica that offers snapshots waits for its first"


def test_examples() -> None:
    assert KEEP_ALL.retain_height(10**9, oldest_version=10**9 - 100, oldest_snapshot=None) == 0
    pruned = Retention(1_000, 500, True)
    assert pruned.retain_height(10_000, oldest_version=9_900, oldest_snapshot=9_500) == 9_001
    assert pruned.retain_height(10_000, oldest_version=9_900, oldest_snapshot=8_000) == 8_000
    assert pruned.retain_height(10_000, oldest_version=9_900, oldest_snapshot=None) == 0
    assert Retention(10, 500, False).retain_height(10_000, oldest_version=9_900, oldest_snapshot=None) == 9_500
    assert Retention(10, 5, False).retain_height(10_000, oldest_version=9_900, oldest_snapshot=None) == 9_900
    assert Retention(1_000, 500, False).retain_height(400, oldest_version=300, oldest_snapshot=None) == 0
