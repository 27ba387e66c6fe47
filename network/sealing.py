"""How a user's cloves are sealed and padded: settings of one user's end that no other end needs to know.

Implements `docs/overlay.md` section 5. Anything but the defaults sets a user apart from those who keep them, by the
lengths that relays see; the verifier's challenges always use the defaults.
"""

from dataclasses import dataclass

from network.chain_records import DirectoryEntry
from network.geometry import CELL_BUCKETS, Seal, padme

SEALS = ("auto", "x25519", "hybrid")
PADDINGS = ("pow2", "padme")
_PADME_SIZES = tuple(sorted({padme(cells) for cells in range(1, CELL_BUCKETS[-1] + 1)}))


@dataclass(frozen=True, slots=True)
class Sealing:
    """`auto` seals hybrid to every model node that names a hybrid key; `padme` wastes less and tells more than `pow2`.

    `plain` does not seal: it is for comparisons and no setting of any role.
    """

    seal: str = "auto"
    padding: str = "pow2"

    def choose(self, entry: DirectoryEntry) -> tuple[Seal, bytes] | None:
        """The suite for this model node and the key to seal to; None when the settings ask for a key that it does not name."""
        if self.seal == "plain":
            return Seal.PLAIN, b""
        if self.seal != "x25519" and entry.hybrid_key:
            return Seal.HYBRID, entry.hybrid_key
        return None if self.seal == "hybrid" else (Seal.X25519, entry.onion_key)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many cells a clove may fill."""
        return _PADME_SIZES if self.padding == "padme" else CELL_BUCKETS


DEFAULT_SEALING = Sealing()
