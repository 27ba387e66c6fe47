"""Golden vectors of S-IDA, cloves and seals, byte for byte: what another implementation must make of the same input.

A change that is meant to move bytes writes them anew: PYTHONPATH=. python tests/network/test_clove_vectors.py --write
(the seals' ephemeral keys are the library's to draw, so a sealed clove is checked by opening it).
"""

import json
import sys
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

import pytest

from network.clove import Clove, open_clove, seal_cloves
from network.crypto import exchange_public
from network.geometry import GEOMETRY, Seal
from network.hpke import OnionPrivate, Opener, hybrid_public
from network.message import pack_message, unpack_message
from network.modes import Mode
from network.sida import Slice, combine, split

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
KEYS = OnionPrivate(bytes(range(1, 33)), bytes(range(96)))
PUBLIC = {Seal.PLAIN: b"", Seal.X25519: exchange_public(KEYS.x25519), Seal.HYBRID: hybrid_public(KEYS.hybrid)}
CODES = [(4, 3, 0), (4, 3, 5), (4, 3, 100), (6, 4, 33), (5, 2, 64), (3, 3, 20)]


def drawn(label: str) -> Any:
    """An rng whose answers are the stream SHAKE-256(label), in order."""
    position = 0

    def rng(size: int) -> bytes:
        nonlocal position
        position += size
        return shake_256(label.encode()).digest(position)[position - size :]

    return rng


def make_sida() -> list[dict[str, Any]]:
    """Slices whose randomness is SHAKE-256 of the label."""
    rows = []
    for n, k, size in CODES:
        label, message = f"{n} {k} {size}", bytes(range(size))
        slices = split(message, n, k, drawn(label))
        parts = [{"share": each.share.hex(), "fragment": bytes(each.fragment).hex()} for each in slices]
        rows.append({"n": n, "k": k, "randomness": label, "message": message.hex(), "total": size + 32, "slices": parts})
    return rows


def make_message_cloves() -> list[Clove]:
    """Four cloves of one small message; token i is sixteen times i."""
    message, _ = pack_message(b"s" * 32, b"a prompt", Mode.SPEEDY)
    slices = split(message, GEOMETRY.n, GEOMETRY.k, drawn("cloves"))
    return [Clove(4, 3, 29_000_000, b"m" * 16, bytes([i]) * 16, len(message) + 32, each) for i, each in enumerate(slices)]


def make_cloves() -> list[dict[str, Any]]:
    """Plain cloves: the clove's own bytes follow one byte and four hashes."""
    raw = seal_cloves(make_message_cloves(), b"", Seal.PLAIN)
    return [{"index": index, "plain": each.hex()} for index, each in enumerate(raw)]


def make_seals() -> list[dict[str, Any]]:
    """The first of these cloves cut short, sealed with each suite to keys that are told."""
    clove = Clove(4, 3, 1, b"m" * 16, b"t" * 16, 5, Slice(2, b"s" * 32, b"ab"))
    private = {Seal.X25519: KEYS.x25519, Seal.HYBRID: KEYS.hybrid}
    plain = seal_cloves([clove], b"", Seal.PLAIN)[0][1 + 16 :]
    return [
        {
            "suite": int(seal),
            "info": b"planetserve/clove/1".hex(),
            "private": private[seal].hex(),
            "public": PUBLIC[seal].hex(),
            "clove": plain.hex(),
            "sealed": seal_cloves([clove], PUBLIC[seal], seal)[0].hex(),
        }
        for seal in (Seal.X25519, Seal.HYBRID)
    ]


FILES = {"overlay_sida.json": make_sida, "overlay_cloves.json": make_cloves, "overlay_seals.json": make_seals}


def held(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@pytest.mark.parametrize("name", ["overlay_sida.json", "overlay_cloves.json"])
def test_the_bytes_are_as_they_were(name: str) -> None:
    assert FILES[name]() == held(name)


def test_slices_of_the_vectors_combine() -> None:
    for row in held("overlay_sida.json"):
        slices = {
            index: Slice(index, bytes.fromhex(each["share"]), bytes.fromhex(each["fragment"]))
            for index, each in enumerate(row["slices"])
        }
        last = dict(sorted(slices.items())[-row["k"] :])
        assert combine(last, row["n"], row["k"], row["total"]).hex() == row["message"]


def test_plain_cloves_of_the_vectors_open() -> None:
    opened = [open_clove(bytes.fromhex(row["plain"]), Opener(KEYS), accept_plain=True) for row in held("overlay_cloves.json")]
    message = combine({each.slice.index: each.slice for each in opened[1:]}, 4, 3, opened[0].total)
    assert unpack_message(message) == (b"s" * 32, Mode.SPEEDY, b"a prompt")
    raw = [bytes.fromhex(row["plain"])[65:] for row in held("overlay_cloves.json")]
    assert opened[0].hashes == b"".join(sha256(each).digest()[:16] for each in raw)


def test_seals_of_the_vectors_open() -> None:
    for row, fresh in zip(held("overlay_seals.json"), make_seals(), strict=True):
        for sealed in (row["sealed"], fresh["sealed"]):
            clove = open_clove(bytes.fromhex(sealed), Opener(KEYS))
            assert clove == Clove(4, 3, 1, b"m" * 16, b"t" * 16, 5, Slice(2, b"s" * 32, b"ab"))
        assert {**row, "sealed": ""} == {**fresh, "sealed": ""} and len(row["sealed"]) == len(fresh["sealed"])


def test_every_seal_has_a_vector() -> None:
    assert {row["suite"] for row in held("overlay_seals.json")} == set(Seal) - {Seal.PLAIN}


if __name__ == "__main__" and "--write" in sys.argv:
    for file, make in FILES.items():
        (FOLDER / file).write_text(json.dumps(make(), indent=1) + "\n")
