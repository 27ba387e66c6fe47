"""From a prompt to its path in the HR-Tree: one 8-bit fingerprint per chunk, chained and keyed.

Fingerprint i is the first byte of AES over a keyed sum of *everything up to the end of chunk i*, so a symbol depends on its
whole prefix and an unlike prompt leaves the tree within a chunk or two. The keys belong to a `Space`: chain, model group,
generation, unit, chunk plan and the group's secret. Who agrees on those agrees on every symbol; `Space.id` lets nodes check.
The whole prompt is indexed: a depth cap costs a quarter to a half of the reuse. See `docs/forwarding.md` section 2.
"""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from network.hrtree.multilinear import PrefixSums, Sums

TOKEN_BYTES = 4
SPACE_ID_LENGTH = 8
SECRET_LENGTH = 32
MAX_SALT = 32
BLOCK_BYTES = 16
# They bound what a prompt without end can cost: its path, and the key words drawn for it.
MAX_DEPTH = 4096
MAX_TOKENS = 2**20
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

    def ends(self, tokens: int) -> Sequence[int]:
        """The end of every whole chunk of a prompt of `tokens` tokens, in tokens; no more than a path may have symbols."""
        return self._all_ends[: self.depth(min(tokens, MAX_TOKENS))]

    @cached_property
    def _all_ends(self) -> Sequence[int]:
        return memoryview(array("q", map(self.tokens, range(1, MAX_DEPTH + 1))))

    @property
    def _head(self) -> int:
        return self._ends[-1] if self.lengths else 0


def generation(epoch: int) -> int:
    """The generation of fingerprint keys that an epoch belongs to. Keys change every `GENERATION_EPOCHS` epochs."""
    return epoch // GENERATION_EPOCHS


@dataclass(frozen=True)
class Space:
    """One set of comparable fingerprints. Equal fields, equal symbols; any other field, other symbols.

    `secret` is what the members of a group share and nobody else has: 32 bytes, or none where a group has not agreed on any.
    """

    chain_id: str
    group: str
    generation: int
    unit: Unit = Unit.TOKENS
    plan: ChunkPlan = ChunkPlan()
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) not in (0, SECRET_LENGTH):
            raise ValueError(f"a group's secret has {SECRET_LENGTH} bytes, or none")

    @cached_property
    def key(self) -> bytes:
        """The 32-byte key of everything below: public without a secret (who may know it: `docs/forwarding.md` section 7)."""
        names = [self.chain_id.encode(), self.group.encode()]
        numbers = [self.generation, int(self.unit), self.plan.fixed, *self.plan.lengths]
        parts = names + [number.to_bytes(8, "big") for number in numbers]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return blake2b(joined, digest_size=32, key=self.secret, person=b"ps-fingerprint/2").digest()

    @cached_property
    def id(self) -> bytes:
        """8 bytes that name this space on the wire, so that two plans are never compared symbol by symbol."""
        return blake2b(self.key, digest_size=SPACE_ID_LENGTH, person=b"ps-space").digest()

    def path(self, data: bytes, salt: bytes = b"") -> bytes:
        """The path of a packed prompt: one byte per whole chunk. A tail shorter than its chunk has no symbol.

        Only prompts with the same salt share symbols. ValueError for a salt of over 32 bytes.
        """
        blocks = self._sums.blocks(data, self.plan.ends(len(data) // TOKEN_BYTES))
        cipher = self._cipher(salt) if salt else self._unsalted
        return cipher.update(blocks)[::BLOCK_BYTES]

    @cached_property
    def _sums(self) -> PrefixSums:
        return Sums(self._derived(b"ps-key-words"))

    @cached_property
    def _unsalted(self) -> CipherContext:
        return self._cipher(b"")

    def _cipher(self, salt: bytes) -> CipherContext:
        """Every block stands for itself in this mode, so one context serves all prompts."""
        if len(salt) > MAX_SALT:
            raise ValueError(f"a salt of {len(salt)} bytes; at most {MAX_SALT}")
        return Cipher(algorithms.AES(self._derived(b"ps-symbols", salt)), modes.ECB()).encryptor()

    def _derived(self, person: bytes, salt: bytes = b"") -> bytes:
        return blake2b(salt, digest_size=32, key=self.key, person=person).digest()


def pack_tokens(tokens: Sequence[int]) -> bytes:
    """Token ids as 4 bytes little-endian each, the packing that `Space.path` cuts. ValueError for ids that do not fit."""
    try:
        packed = array("I", tokens)
    except (OverflowError, TypeError) as error:
        raise ValueError("a token id is not an integer of 32 bits without sign") from error
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
