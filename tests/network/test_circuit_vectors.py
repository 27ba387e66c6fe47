"""Golden vectors of cells, set-ups and layers, byte for byte: what another implementation must make of the same input.

A change that is meant to move bytes writes them anew: PYTHONPATH=. python tests/network/test_circuit_vectors.py --write
"""

import json
import sys
from collections.abc import Callable
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

import pytest

from network.cell import CellKind, DestroyReason, credit_cell, destroy_cell, encode_cell, hand_over_cells
from network.crypto import exchange_public
from network.geometry import GEOMETRY
from network.handshake import HopIdentity, OnionKey, RelayHandshake, UserHandshake
from network.onion import HopKeys, RelayLayer, UserLayers
from network.puzzle import solve
from network.terms import Terms

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
NOW = 1_800_000_000.0
DIRECTORY = bytes(range(16))
PRIVATES = [bytes([number]) * 32 for number in (1, 2, 3)]
HOPS = [
    HopIdentity(bytes([number]) * 20, exchange_public(private)) for number, private in zip((7, 8, 9), PRIVATES, strict=True)
]
LINK_ID = bytes(range(8))
TERMS = Terms(rekey_every=2)
CELLS = 5


def drawn(label: str) -> Callable[[int], bytes]:
    """An rng whose answers are the stream SHAKE-256(label), in order."""
    position = 0

    def rng(size: int) -> bytes:
        nonlocal position
        position += size
        return shake_256(label.encode()).digest(position)[position - size :]

    return rng


def make_cells() -> list[dict[str, Any]]:
    """One cell of every kind; a hand-over's data."""
    body = drawn("body")(GEOMETRY.cell_body)
    rows = [
        {"what": kind.name, "cell": encode_cell(LINK_ID, kind, body).hex()} for kind in CellKind if kind <= CellKind.BACKWARD
    ]
    rows += [
        {"what": f"DESTROY {reason.name}", "cell": destroy_cell(LINK_ID, reason, 12 * (reason is DestroyReason.BUSY)).hex()}
        for reason in DestroyReason
    ]
    rows.append({"what": "CREDIT 32", "cell": credit_cell(LINK_ID, 32).hex()})
    rows.append({"what": "PAD", "cell": encode_cell(bytes(8), CellKind.PAD, body).hex()})
    data = hand_over_cells(b"m" * 20, b"t" * 16, b"clove" * 300)
    return rows + [{"what": f"data {number} of a hand-over", "cell": each.hex()} for number, each in enumerate(data)]


def make_create() -> dict[str, Any]:
    """One set-up of three hops with solved puzzles; every rng is SHAKE-256 of its label."""
    user = UserHandshake(HOPS, DIRECTORY, drawn("user keys"))
    solutions = [solve(question, 8, 0, 10_000) or b"" for question in user.puzzles]
    body = user.create(NOW, drawn("user region"), solutions)
    creates, relays = [], []
    for number, (hop, private) in enumerate(zip(HOPS, PRIVATES, strict=True)):
        creates.append(body.hex())
        relays.append(
            RelayHandshake(body, hop.node_id, OnionKey(private, hop.onion_key), [DIRECTORY], NOW, drawn(f"relay {number}"))
        )
        body = relays[-1].rest
    answer, createds = drawn("last hop")(GEOMETRY.cell_body), []
    for relay in reversed(relays):
        answer = relay.created(answer)
        createds.append(answer.hex())
    assert list(user.finish(answer)) == [relay.keys for relay in relays]
    return {
        "now": int(NOW),
        "directory": DIRECTORY.hex(),
        "hops": [
            {"node_id": hop.node_id.hex(), "onion_private": private.hex(), "onion_key": hop.onion_key.hex()}
            for hop, private in zip(HOPS, PRIVATES, strict=True)
        ],
        "puzzles": [question.hex() for question in user.puzzles],
        "solutions_of_8_bits": [solution.hex() for solution in solutions],
        "create_as_each_hop_gets_it": creates,
        "created_as_each_hop_sends_it": createds[::-1],
        "keys": [
            {name: getattr(relay.keys, name).hex() for name in ("forward", "backward", "filler", "end_to_end")}
            for relay in relays
        ],
    }


def make_layers() -> dict[str, Any]:
    """Five cells each way over a circuit that rekeys after two; the first in full, then the SHA-256 of every body."""
    keys = [HopKeys(*(bytes([16 * hop + part]) * 32 for part in range(4))) for hop in (1, 2, 3)]
    user, relays = UserLayers(keys, TERMS), [RelayLayer(each, TERMS) for each in keys]
    forward, backward = [], []
    for number in range(CELLS):
        bodies = [user.wrap(bytes([number]) * GEOMETRY.forward_body)]
        for relay in relays:
            bodies.append(relay.peel(bodies[-1]))
        forward.append([body.hex() if number == 0 else sha256(body).hexdigest() for body in bodies])
        bodies = [relays[-1].originate(bytes([number]) * GEOMETRY.backward_body)]
        for relay in reversed(relays[:-1]):
            bodies.append(relay.wrap(bodies[-1]))
        assert user.unwrap(bodies[-1]) == bytes([number]) * GEOMETRY.backward_body
        backward.append([body.hex() if number == 0 else sha256(body).hexdigest() for body in bodies])
    return {
        "rekey_every": TERMS.rekey_every,
        "keys": "byte 16 * hop + part, repeated",
        "forward": forward,
        "backward": backward,
    }


FILES: dict[str, Callable[[], Any]] = {
    "overlay_cells.json": make_cells,
    "overlay_create.json": make_create,
    "overlay_layers.json": make_layers,
}


@pytest.mark.parametrize("name", FILES)
def test_the_bytes_are_as_they_were(name: str) -> None:
    assert FILES[name]() == json.loads((FOLDER / name).read_text())


if __name__ == "__main__" and "--write" in sys.argv:
    for file, make in FILES.items():
        (FOLDER / file).write_text(json.dumps(make(), indent=1) + "\n")
