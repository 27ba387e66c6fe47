"""What a user's settings choose: the suite, the key, the sizes."""

from network.chain_records import DirectoryEntry
from network.geometry import CELL_BUCKETS, Seal
from network.sealing import PADDINGS, SEALS, Sealing

PLAIN = DirectoryEntry(onion_key=b"o" * 32)
HYBRID = DirectoryEntry(onion_key=b"o" * 32, hybrid_key=b"h" * 1216)


def test_auto_takes_the_hybrid_key_where_there_is_one() -> None:
    chosen = {seal: (Sealing(seal).choose(PLAIN), Sealing(seal).choose(HYBRID)) for seal in SEALS}
    x25519, hybrid = (Seal.X25519, PLAIN.onion_key), (Seal.HYBRID, HYBRID.hybrid_key)
    assert chosen == {"auto": (x25519, hybrid), "x25519": (x25519, x25519), "hybrid": (None, hybrid)}


def test_plain_is_no_setting() -> None:
    assert Sealing("plain").choose(HYBRID) == (Seal.PLAIN, b"") and "plain" not in SEALS


def test_sizes() -> None:
    sizes = {padding: Sealing(padding=padding).sizes for padding in PADDINGS}
    assert sizes["pow2"] == CELL_BUCKETS
    assert len(sizes["padme"]) == 44 and sizes["padme"][-1] == CELL_BUCKETS[-1]
    assert set(CELL_BUCKETS) <= set(sizes["padme"])
