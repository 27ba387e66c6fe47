"""Every wire length of the overlay, derived from hops, n, k and the cell size; no other file adds header sizes.

Implements `docs/overlay.md` sections 2 to 7. One geometry (`GEOMETRY`) is the network's; tests make others.
"""

from dataclasses import dataclass
from enum import IntEnum

LINK_ID = 8
KIND = 1
TAG = 16
KEY = 32
NODE_ID = 20
TOKEN = 16
MESSAGE_ID = 16
DIRECTORY_NAME = 16  # the first bytes of a directory's hash
SOLUTION = 8  # of the puzzle that a busy relay asks for
COMMITMENT = 16
PLAIN_HASH = 16
PLAIN_HASHES = 4 * PLAIN_HASH  # one for each clove of the network's geometry
HYBRID_PRIVATE = 64 + KEY  # ML-KEM-768 seed, X25519 private key
HYBRID_ENCAPSULATED = 1088 + KEY  # ML-KEM-768 ciphertext, X25519 ephemeral key
DATA_HEADER = 4  # command 1, reserved 1, length 2
HAND_OVER_HEADER = NODE_ID + TOKEN + 4  # model node, return token, clove length
CLOVE_HEADER = 4 + 4 + MESSAGE_ID + TOKEN + 4 + KEY  # version n k index, minute, message id, token, total, key share
PIECE_HEADER = 4 + 1 + 1 + 2  # sequence, flags, arrived, used bytes
MESSAGE_HEADER = KEY + 1 + 4  # reply secret, mode, request length
SLOT_PAYLOAD = 64  # what one hop reads in a CREATE cell: flags 1, minute 4, next hop 20, directory 16, reserved
CELL_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CELLS_PER_FRAME = 16
CELLS_PER_ENCRYPTED_FRAME = 15  # with its header, one TLS record holds it whole
CREDIT_COUNT = 2


class Seal(IntEnum):
    """How a clove is sealed to the model node: the first byte of a sealed clove."""

    PLAIN = 0  # not at all: for comparisons, refused by every model node that was not told otherwise
    X25519 = 1
    HYBRID = 2  # ML-KEM-768 and X25519

    @property
    def overhead(self) -> int:
        """What the seal adds to a clove: its own number, the encapsulated key and the tag, or the hashes of all cloves."""
        if self is Seal.PLAIN:
            return 1 + PLAIN_HASHES
        return 1 + (HYBRID_ENCAPSULATED if self is Seal.HYBRID else KEY) + TAG


@dataclass(frozen=True, slots=True)
class Geometry:
    """The lengths of one network. `cell` is what a link carries; the rest follows."""

    cell: int = 1024
    hops: int = 3
    n: int = 4
    k: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n <= 16 or not 1 <= self.hops <= self.max_hops:
            raise ValueError(f"no such geometry: n={self.n}, k={self.k}, hops={self.hops}, cell={self.cell}")

    @property
    def cell_body(self) -> int:
        """What follows link id and kind in every cell."""
        return self.cell - LINK_ID - KIND

    @property
    def create_slot(self) -> int:
        """One hop's share of a CREATE cell: ephemeral key, puzzle solution, sealed payload."""
        return KEY + SOLUTION + SLOT_PAYLOAD + TAG

    @property
    def created_slot(self) -> int:
        """One hop's share of a CREATED cell: ephemeral key, confirmation."""
        return KEY + TAG

    @property
    def max_hops(self) -> int:
        """How many hops a CREATE cell has room for; nobody but the user knows how many it uses."""
        return self.cell_body // self.create_slot

    @property
    def tags(self) -> int:
        """The tag slots at the head of a forward cell's body, one per hop."""
        return self.hops * TAG

    @property
    def forward_body(self) -> int:
        """What the last hop reads in a forward cell: header and payload."""
        return self.cell_body - self.tags

    @property
    def forward_payload(self) -> int:
        """Bytes of a clove that one forward cell carries."""
        return self.forward_body - DATA_HEADER

    @property
    def backward_body(self) -> int:
        """What the user reads in a backward cell: header and payload, under one end-to-end tag."""
        return self.cell_body - TAG

    @property
    def reply_clove(self) -> int:
        """The one length of a reply clove: it fills a backward cell."""
        return self.backward_body - DATA_HEADER

    @property
    def piece_fragment(self) -> int:
        """Bytes of one fragment of a piece of a reply."""
        return self.reply_clove - TAG - PIECE_HEADER

    @property
    def piece(self) -> int:
        """Bytes of the reply that one piece (n cloves) carries."""
        return self.k * self.piece_fragment

    @property
    def max_clove(self) -> int:
        """The longest sealed clove."""
        return self.sealed_clove(CELL_BUCKETS[-1])

    def sealed_clove(self, cells: int) -> int:
        """The length of a sealed clove that fills `cells` cells."""
        return cells * self.forward_payload - HAND_OVER_HEADER

    def fragment(self, cells: int, overhead: int) -> int:
        """The length of a clove's fragment when its form sealed with `overhead` bytes fills `cells` cells."""
        return self.sealed_clove(cells) - overhead - CLOVE_HEADER

    def padded_message(self, cells: int, overhead: int) -> int:
        """The length of the padded message whose cloves, sealed with `overhead` bytes, fill `cells` cells each."""
        return self.k * self.fragment(cells, overhead) - COMMITMENT - TAG

    def bucket(self, request: int, overhead: int, sizes: tuple[int, ...] = CELL_BUCKETS) -> int | None:
        """The fewest cells per clove, out of `sizes`, that carry a request of this many bytes; None if too long."""
        for cells in sizes:
            if MESSAGE_HEADER + request <= self.padded_message(cells, overhead):
                return cells
        return None


def padme(cells: int) -> int:
    """The least number of cells from `cells` on that Padmé allows: at most 12 % more, and few sizes in all."""
    exponent = cells.bit_length() - 1
    unused = (1 << max(0, exponent - exponent.bit_length())) - 1
    return (cells + unused) & ~unused


GEOMETRY = Geometry()
