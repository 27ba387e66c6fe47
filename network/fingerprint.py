"""From a prompt to its path in the HR-Tree: one 8-bit fingerprint per chunk, chained and keyed.

Fingerprint i is the first byte of a keyed BLAKE2b over *everything up to the end of chunk i*, so a symbol depends on its
whole prefix and an unlike prompt leaves the tree within a chunk or two. The key belongs to a `Space`: chain, model group,
generation, unit and chunk plan. Two nodes that agree on those five agree on every symbol; `Space.id` lets them check.
The whole prompt is indexed: a depth cap costs a quarter to a half of the reuse. See `docs/forwarding.md` section 2.
"""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate

TOKEN_BYTES = 4
SPACE_ID_LENGTH = 8
GENERATION_EPOCHS = 60

# Fine where prompts part (system prompts, templates), coarser where they only grow: 152 symbols for 32,768 tokens.
FIRST_LENGTHS = (64,) * 16 + (128,) * 24
FIXED_LENGTH = 256


class Unit(IntEnum):
    """What a prompt is made of: token ids of 4 bytes each, or UTF-8 text, where 4 bytes stand for a token."""

    TOKENS = 1
    TEXT = 2


@dataclass(frozen=True)
class ChunkPlan:
    """Where chunks end: the lengths in `lengths` first (the Sentry's array L), then `fixed` for ever. In tokens."""

    lengths: tuple[int, ...] = FIRST_LENGTHS
    fixed: int = FIXED_LENGTH

    def __post_init__(self) -> None:
        if self.fixed < 1 or any(length < 1 for length in self.lengths):
            raise ValueError("every chunk has at least one token")

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(self.lengths))

    def tokens(self, depth: int) -> int:
        """How many tokens the first `depth` chunks cover."""
        if depth <= len(self.lengths):
            return self._ends[depth - 1] if depth else 0
        return self._head + (depth - len(self.lengths)) * self.fixed

    def depth(self, tokens: int) -> int:
        """How many whole chunks fit into `tokens` tokens."""
        if tokens < self._head:
            return bisect_right(self._ends, tokens)
        return len(self.lengths) + (tokens - self._head) // self.fixed

    def ends(self, tokens: int) -> Iterable[int]:
        """The end of every whole chunk of a prompt of `tokens` tokens, in tokens."""
        yield from self._ends[: self.depth(min(tokens, self._head))]
        yield from range(self._head + self.fixed, tokens + 1, self.fixed)

    @property
    def _head(self) -> int:
        return self._ends[-1] if self.lengths else 0


def generation(epoch: int) -> int:
    """The generation of fingerprint keys that an epoch belongs to. Keys change every `GENERATION_EPOCHS` epochs."""
    return epoch // GENERATION_EPOCHS


@dataclass(frozen=True)
class Space:
    """One set of comparable fingerprints. Equal fields, equal key; another chain, group, generation or plan, another key."""

    chain_id: str
    group: str
    generation: int
    unit: Unit = Unit.TOKENS
    plan: ChunkPlan = ChunkPlan()

    @cached_property
    def key(self) -> bytes:
        """The 32-byte fingerprint key: a public function of the fields (who may know it: `docs/forwarding.md` section 7)."""
        names = [self.chain_id.encode(), self.group.encode()]
        numbers = [self.generation, int(self.unit), self.plan.fixed, *self.plan.lengths]
        parts = names + [number.to_bytes(8, "big") for number in numbers]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return blake2b(joined, digest_size=32, person=b"ps-fingerprint").digest()

    @cached_property
    def id(self) -> bytes:
        """8 bytes that name this space on the wire, so that two plans are never compared symbol by symbol."""
        return blake2b(self.key, digest_size=SPACE_ID_LENGTH, person=b"ps-space").digest()

    def path(self, data: bytes) -> bytes:
        """The path of a packed prompt: one byte per whole chunk. A tail shorter than its chunk has no symbol."""
        running = blake2b(digest_size=SPACE_ID_LENGTH, key=self.key)
        view = memoryview(data)
        symbols = bytearray()
        start = 0
        for end in self.plan.ends(len(data) // TOKEN_BYTES):
            running.update(view[start * TOKEN_BYTES : end * TOKEN_BYTES])
            symbols.append(running.copy().digest()[0])
            start = end
        return bytes(symbols)


def pack_tokens(tokens: Sequence[int]) -> bytes:
    """Token ids as 4 bytes little-endian each, the packing that `Space.path` cuts. ValueError for ids that do not fit."""
    try:
        packed = array("I", tokens)
    except (OverflowError, TypeError) as error:
        raise ValueError("a token id is not an integer of 32 bits without sign") from error
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
