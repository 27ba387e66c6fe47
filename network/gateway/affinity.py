"""Session affinity: a conversation that goes on enters the group at the node that answered it before.

The table maps chained hashes of a conversation's leading pieces to node ids. It lives in memory only, holds no text, and
forgets the oldest entry when full.
"""

from collections import OrderedDict
from collections.abc import Sequence

from network.crypto import sha256

MAX_ENTRIES = 8192
MAX_PIECES = 64


class Affinity:
    """Which node answered a prompt that begins like this one."""

    __slots__ = ("_limit", "_nodes")

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._limit = limit
        self._nodes: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, model: str, pieces: Sequence[bytes]) -> bytes | None:
        """The node id for the longest remembered beginning of these pieces."""
        for key in reversed(prefix_hashes(model, pieces)):
            node = self._nodes.get(key)
            if node is not None:
                self._nodes.move_to_end(key)
                return node
        return None

    def remember(self, model: str, pieces: Sequence[bytes], node: bytes) -> None:
        """These pieces, as a whole, were answered by `node`."""
        hashes = prefix_hashes(model, pieces)
        if not hashes:
            return
        self._nodes[hashes[-1]] = node
        self._nodes.move_to_end(hashes[-1])
        while len(self._nodes) > self._limit:
            self._nodes.popitem(last=False)


def prefix_hashes(model: str, pieces: Sequence[bytes]) -> list[bytes]:
    """One chained hash per beginning of `pieces`, shortest first; pieces beyond MAX_PIECES do not count."""
    state = sha256(b"planetserve/affinity/1", model.encode())
    hashes = []
    for piece in pieces[:MAX_PIECES]:
        state = sha256(state, sha256(piece))
        hashes.append(state)
    return hashes
