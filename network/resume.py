"""The resume note: a user attaches a fresh circuit, in place of a lost one, to a reply that is running.

    version 1 | clove index 1 | Unix minute 4 | message id 16 | return token 16 | pieces released 4 | proof 16 | zeros

It is sealed to the model node like a clove and as long as one that fills whole cells. The proof needs the reply secret, so
only who sent the prompt can move its way home. Implements `docs/overlay.md` section 7.
"""

import struct
from dataclasses import dataclass
from hmac import compare_digest

from network.crypto import derive
from network.errors import DecodeError
from network.geometry import CELL_BUCKETS, GEOMETRY, MESSAGE_ID, TOKEN, Seal
from network.hpke import Opener, seal_to

RESUME_VERSION = 1
PROOF = 16
_INFO = b"planetserve/resume/1"
_HEAD = struct.Struct(f">BBI{MESSAGE_ID}s{TOKEN}sI")


@dataclass(frozen=True, slots=True)
class ResumeNote:
    """What the model node needs to go on: which clove's way home, under which token, from which piece on."""

    index: int
    minute: int
    message_id: bytes
    token: bytes
    released: int

    def head(self) -> bytes:
        """The bytes that the proof covers."""
        return _HEAD.pack(RESUME_VERSION, self.index, self.minute, self.message_id, self.token, self.released)


def proof_of(note: ResumeNote, secret: bytes) -> bytes:
    """What only the holder of the reply secret can say about this note."""
    return derive(secret, salt=note.message_id, info=_INFO + note.head(), length=PROOF)


def is_proven(note: ResumeNote, proof: bytes, secret: bytes) -> bool:
    """Whether the note comes from the user whose reply this is."""
    return compare_digest(proof, proof_of(note, secret))


def seal_note(note: ResumeNote, secret: bytes, public: bytes, seal: Seal = Seal.X25519) -> bytes:
    """The note as it travels."""
    plain = (note.head() + proof_of(note, secret)).ljust(_padded(seal.overhead), b"\0")
    return seal_to(seal, public, plain, _INFO)


def open_note(sealed: bytes, opener: Opener) -> tuple[ResumeNote, bytes]:
    """(note, proof) inside `sealed`. Raises CryptoError or DecodeError; checks shape, not freshness nor the proof."""
    raw = opener.open(sealed, _INFO)
    end = _HEAD.size + PROOF
    if len(raw) < end or raw[end:].strip(b"\0"):
        raise DecodeError("a resume note of a wrong length, or with padding that is not zero")
    version, index, minute, message_id, token, released = _HEAD.unpack_from(raw)
    if version != RESUME_VERSION or index >= GEOMETRY.n:
        raise DecodeError(f"a resume note of version {version} for clove {index} cannot be")
    return ResumeNote(index, minute, message_id, token, released), raw[_HEAD.size : end]


def _padded(overhead: int) -> int:
    """The plain length of a note whose sealed form fills the fewest cells."""
    lengths = (GEOMETRY.sealed_clove(cells) - overhead for cells in CELL_BUCKETS)
    return next(length for length in lengths if length >= _HEAD.size + PROOF)
