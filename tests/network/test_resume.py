"""Resume notes: as long as a clove that fills whole cells, proven by the reply secret, refused when bent."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.crypto import exchange_public
from network.errors import CryptoError, DecodeError
from network.geometry import GEOMETRY, Seal
from network.hpke import OnionPrivate, Opener, hybrid_public, seal_to
from network.resume import ResumeNote, is_proven, open_note, proof_of, seal_note

PRIVATE, HYBRID = bytes(range(1, 33)), bytes(range(96))
OPENER = Opener(OnionPrivate(PRIVATE, HYBRID))
PUBLIC = {Seal.X25519: exchange_public(PRIVATE), Seal.HYBRID: hybrid_public(HYBRID)}
NOTE = ResumeNote(3, 30_000_000, b"m" * 16, b"t" * 16, 77)
SECRET = b"s" * 32


@pytest.mark.parametrize("seal", list(PUBLIC))
@given(st.integers(0, 3), st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_note_round_trips_and_fills_its_cells(seal: Seal, index: int, minute: int, token: bytes, released: int) -> None:
    note = ResumeNote(index, minute, b"m" * 16, token, released)
    sealed = seal_note(note, SECRET, PUBLIC[seal], seal)
    assert len(sealed) in {GEOMETRY.sealed_clove(cells) for cells in (1, 2)}
    opened, proof = open_note(sealed, OPENER)
    assert opened == note and is_proven(note, proof, SECRET) and not is_proven(note, proof, b"z" * 32)


def test_a_proof_covers_every_field() -> None:
    proofs = {
        proof_of(note, SECRET)
        for note in (
            NOTE,
            ResumeNote(2, NOTE.minute, NOTE.message_id, NOTE.token, NOTE.released),
            ResumeNote(3, NOTE.minute + 1, NOTE.message_id, NOTE.token, NOTE.released),
            ResumeNote(3, NOTE.minute, b"n" * 16, NOTE.token, NOTE.released),
            ResumeNote(3, NOTE.minute, NOTE.message_id, b"u" * 16, NOTE.released),
            ResumeNote(3, NOTE.minute, NOTE.message_id, NOTE.token, 78),
        )
    }
    assert len(proofs) == 6


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        NOTE.head(),
        NOTE.head() + bytes(16) + b"\x01",
        b"\x02" + NOTE.head()[1:] + bytes(16),
        NOTE.head()[:1] + b"\x04" + NOTE.head()[2:] + bytes(16),
    ],
)
def test_notes_that_are_not_as_specified(plain: bytes) -> None:
    with pytest.raises(DecodeError):
        open_note(seal_to(Seal.X25519, PUBLIC[Seal.X25519], plain, b"planetserve/resume/1"), OPENER)


def test_a_clove_is_no_note_and_a_bent_note_does_not_open() -> None:
    plain = NOTE.head() + proof_of(NOTE, SECRET)
    with pytest.raises(CryptoError):
        open_note(seal_to(Seal.X25519, PUBLIC[Seal.X25519], plain, b"planetserve/clove/1"), OPENER)
    bent = bytearray(seal_note(NOTE, SECRET, PUBLIC[Seal.X25519]))
    bent[200] ^= 1
    with pytest.raises(CryptoError):
        open_note(bytes(bent), OPENER)
