"""Golden vectors of messages, reply pieces and resume notes, byte for byte.

A change that is meant to move bytes writes them anew: PYTHONPATH=. python tests/network/test_message_vectors.py --write
"""

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from network.codec import decode
from network.geometry import GEOMETRY, Seal
from network.inference import FrameKind, ReplyFrame
from network.message import pack_message, unpack_message
from network.modes import PACES, Mode, mode_of
from network.reply import ReplyReader, ReplyWriter, stream_of, way_key
from network.resume import ResumeNote, is_proven, proof_of

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
SECRET, MESSAGE = bytes(range(32)), b"m" * 16
TOKENS = [bytes([16 + index]) * 16 for index in range(GEOMETRY.n)]
FRAMES = [ReplyFrame(0, FrameKind.ACCEPTED), ReplyFrame(1, FrameKind.DELTA, b'{"delta":{"content":"hi"}}')]
PIECES: list[tuple[list[ReplyFrame], bool, int]] = [(FRAMES, False, 0b0111), ([], False, 0b1111), ([], True, 0b1111)]


def make_messages() -> list[dict[str, Any]]:
    """Padded messages; of the padding only its length and the whole's hash are kept."""
    rows = []
    for mode in Mode:
        for seal in (Seal.X25519, Seal.HYBRID):
            request = b"a prompt in %s" % mode.name.encode()
            message, cells = pack_message(SECRET, request, mode, seal)
            head = message[: 37 + len(request)].hex()
            rows.append(
                {
                    "mode": int(mode),
                    "suite": int(seal),
                    "request": request.hex(),
                    "head": head,
                    "length": len(message),
                    "cells": cells,
                    "sha256": sha256(message).hexdigest(),
                }
            )
    return rows


def make_pieces() -> list[dict[str, Any]]:
    """Three pieces over four ways: text, nothing, and the end."""
    writer = ReplyWriter(SECRET, MESSAGE)
    for index, token in enumerate(TOKENS):
        writer.attach(index, token)
    rows = []
    for number, (frames, end, arrived) in enumerate(PIECES):
        stream = stream_of(frames)
        cloves = writer.write(number, stream, end=end, arrived=arrived, indices=range(GEOMETRY.n))
        rows.append(
            {
                "sequence": number,
                "end": end,
                "arrived": arrived,
                "stream": stream.hex(),
                "cloves": [{"head": clove[:48].hex(), "sha256": sha256(clove).hexdigest()} for _, clove in cloves],
            }
        )
    return rows


def make_ways() -> list[dict[str, Any]]:
    """Keys of ways home, and the notes that attach them."""
    rows = []
    for index, token in enumerate(TOKENS):
        note = ResumeNote(index, 29_000_000, MESSAGE, token, 7 * index)
        rows.append(
            {
                "index": index,
                "token": token.hex(),
                "key": way_key(SECRET, MESSAGE, index, token).hex(),
                "note": note.head().hex(),
                "proof": proof_of(note, SECRET).hex(),
            }
        )
    return rows


def make_all() -> dict[str, Any]:
    """The file."""
    secrets = {"reply_secret": SECRET.hex(), "message_id": MESSAGE.hex()}
    modes = [{"mode": int(mode), "jitter_s": pace.jitter_s, "tick_s": pace.tick_s} for mode, pace in PACES.items()]
    return {**secrets, "modes": modes, "messages": make_messages(), "pieces": make_pieces(), "ways": make_ways()}


FILES = {"overlay_messages.json": make_all}


@pytest.fixture
def held() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "overlay_messages.json").read_text())
    return document


def test_the_bytes_are_as_they_were(held: dict[str, Any]) -> None:
    assert make_all() == held


def test_the_vectors_of_messages_are_read_by_hand(held: dict[str, Any]) -> None:
    """Without the packer: 32 bytes of secret, one of mode, four of length, the request, zeros."""
    for row in held["messages"]:
        head, request = bytes.fromhex(row["head"]), bytes.fromhex(row["request"])
        assert head == SECRET + bytes((row["mode"],)) + len(request).to_bytes(4, "big") + request
        message = head.ljust(row["length"], b"\0")
        assert sha256(message).hexdigest() == row["sha256"]
        assert unpack_message(message) == (SECRET, mode_of(row["mode"]), request)


def test_the_vectors_of_pieces_are_a_reply(held: dict[str, Any]) -> None:
    reader, writer = ReplyReader(SECRET, MESSAGE), ReplyWriter(SECRET, MESSAGE)
    for index, token in enumerate(TOKENS):
        reader.attach(index, token)
        writer.attach(index, token)
    frames: list[ReplyFrame] = []
    for row in held["pieces"]:
        stream = bytes.fromhex(row["stream"])
        for index, clove in writer.write(row["sequence"], stream, end=row["end"], arrived=row["arrived"], indices=range(4)):
            assert sha256(clove).hexdigest() == row["cloves"][index]["sha256"] and len(clove) == 995
            frames += reader.add(index, clove)
    assert frames == FRAMES and reader.ended and reader.released == 3 and reader.arrived == 0b1111
    stream = bytes.fromhex(held["pieces"][0]["stream"])
    assert decode(ReplyFrame, stream[4 : 4 + int.from_bytes(stream[:4], "big")]) == FRAMES[0]


def test_the_vectors_of_ways_are_proven(held: dict[str, Any]) -> None:
    for row in held["ways"]:
        head = bytes.fromhex(row["note"])
        note = ResumeNote(head[1], int.from_bytes(head[2:6], "big"), head[6:22], head[22:38], int.from_bytes(head[38:], "big"))
        assert note.head() == head and note.token.hex() == row["token"]
        assert is_proven(note, bytes.fromhex(row["proof"]), SECRET)


if __name__ == "__main__" and "--write" in sys.argv:
    for file, make in FILES.items():
        (FOLDER / file).write_text(json.dumps(make(), indent=1) + "\n")
