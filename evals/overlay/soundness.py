"""What no clock decides: a request whose cloves are dropped or altered, and whether what travels looks random."""

import random
from collections.abc import Callable, Iterable
from math import log2

import numpy as np

from evals.overlay.messages import NOW
from evals.report import Row, row
from network.clove import Clove, seal_cloves
from network.commands import SendHandover, StartReply
from network.crypto import exchange_public
from network.events import HandoverArrived
from network.freshness import minute_of
from network.geometry import COMMITMENT, GEOMETRY, MESSAGE_ID, TAG, TOKEN, Seal
from network.handover import Handover, decode_handover, encode_handover
from network.onion import HopKeys, RelayLayer, UserLayers
from network.session import pack_message
from network.sida import split
from serving_node.inbox import Inbox

REQUESTS = 100
MEGABYTE = 1 << 20
LEAST_BITS = 7.999
Damage = Callable[[list[HandoverArrived], int], None]
PUBLISHED = ("the published C++ code, its least random fragment", 4.87)


def soundness(draw: random.Random) -> list[Row]:
    """Delivery with one bad clove of four, and the entropy of bytes that relays and proxies see."""
    dropped, altered = (_delivered(draw, damage) for damage in (_drop, _alter))
    rows = [
        row("delivered.one_dropped", dropped, "%", at_least=100.0),
        row("delivered.one_altered_named", altered, "%", at_least=100.0),
    ]
    for name, pieces in (("forward", _forward(draw)), ("backward", _backward(draw)), ("clove", _cloves(draw))):
        bits = _entropy(b"".join(pieces)[:MEGABYTE])
        rows.append(row(f"entropy.{name}", bits, "bit/B", at_least=LEAST_BITS, published=PUBLISHED))
    return rows


def _drop(events: list[HandoverArrived], bad: int) -> None:
    del events[bad]


def _alter(events: list[HandoverArrived], bad: int) -> None:
    raw = bytearray(events[bad].raw)
    raw[-1 - bad] ^= 1 << bad
    events[bad] = HandoverArrived(events[bad].link, bytes(raw))


def _delivered(draw: random.Random, damage: Damage) -> float:
    """Percent of requests that are opened, and whose altered clove is refused to its own proxy and to no other."""
    good = 0
    private = draw.randbytes(32)
    inbox, public = Inbox(private), exchange_public(private)
    for number in range(REQUESTS):
        bad = number % GEOMETRY.n
        events = _arrivals(draw, public)
        damage(events, bad)
        answers = [command for event in events for command in inbox.on_event(event, NOW)]
        started = sum(isinstance(each, StartReply) for each in answers)
        refused = [each.link for each in answers if _is_refusal(each)]
        good += started == 1 and refused == ([bad] if damage is _alter else [])
    return 100.0 * good / REQUESTS


def _is_refusal(command: object) -> bool:
    return isinstance(command, SendHandover) and decode_handover(command.raw)[0] is Handover.REFUSED


def _arrivals(draw: random.Random, public: bytes) -> list[HandoverArrived]:
    """Clove i arrives over link i, all of one request."""
    message, _ = pack_message(draw.randbytes(32), draw.randbytes(100))
    cloves = _split(draw, message)
    sealed = seal_cloves(cloves, public)
    return [
        HandoverArrived(number, encode_handover(Handover.CLOVE, clove.token, raw))
        for number, (clove, raw) in enumerate(zip(cloves, sealed, strict=True))
    ]


def _split(draw: random.Random, message: bytes) -> list[Clove]:
    name, total = draw.randbytes(MESSAGE_ID), len(message) + COMMITMENT + TAG
    slices = split(message, GEOMETRY.n, GEOMETRY.k, draw.randbytes)
    return [Clove(GEOMETRY.n, GEOMETRY.k, minute_of(NOW), name, draw.randbytes(TOKEN), total, each) for each in slices]


def _forward(draw: random.Random) -> Iterable[bytes]:
    """Bodies as the second relay gets them, of cells that all say nothing."""
    user, first, _ = _circuit(draw)
    return (first.peel(user.wrap(bytes(GEOMETRY.forward_body))) for _ in range(_count(GEOMETRY.cell_body)))


def _backward(draw: random.Random) -> Iterable[bytes]:
    """Bodies as they leave the last relay, of cells that all say nothing."""
    _, _, last = _circuit(draw)
    return (last.originate(bytes(GEOMETRY.backward_body)) for _ in range(_count(GEOMETRY.cell_body)))


def _cloves(draw: random.Random) -> Iterable[bytes]:
    """Sealed cloves of one prompt said again and again, without the byte that names the suite."""
    public = exchange_public(draw.randbytes(32))
    message, _ = pack_message(bytes(32), b"the same prompt")
    size = GEOMETRY.sealed_clove(1) - 1
    for _ in range(_count(size * GEOMETRY.n)):
        yield from (raw[1:] for raw in seal_cloves(_split(draw, message), public, Seal.X25519))


def _circuit(draw: random.Random) -> tuple[UserLayers, RelayLayer, RelayLayer]:
    keys = [HopKeys(*(draw.randbytes(32) for _ in range(4))) for _ in range(GEOMETRY.hops)]
    return UserLayers(keys), RelayLayer(keys[0]), RelayLayer(keys[-1])


def _count(size: int) -> int:
    return -(-MEGABYTE // size)


def _entropy(data: bytes) -> float:
    shares = np.bincount(np.frombuffer(data, np.uint8), minlength=256) / len(data)
    return -sum(share * log2(share) for share in shares.tolist() if share)
