"""Targets of what travels to a model node: cloves, hand-over messages, and the message that cloves are cut from.

Behind an AEAD a bent input would only ever be refused by its tag, so most targets bend what is sealed and seal it then,
or let the inbox open plainly: they are what a sender may do who keeps to the protocol's cryptography.
"""

import random
import struct
from collections.abc import Iterator

from evals.fuzz.engine import Target
from network.clove import Clove, open_clove
from network.commands import CancelReply, SendHandover, StartReply
from network.crypto import exchange_public
from network.errors import CryptoError, DecodeError
from network.events import HandoverArrived
from network.freshness import Rng, minute_of
from network.geometry import COMMITMENT, GEOMETRY, KEY, MESSAGE_ID, TAG, TOKEN, Seal
from network.handover import Handover, decode_handover, encode_handover
from network.hpke import OnionPrivate, Opener
from network.inference import FrameKind, ReplyFrame
from network.message import pack_message, seal_message, unpack_message
from network.sida import split
from serving_node.inbox import Inbox

NOW = 1_800_000_000.0
PRIVATE = bytes(range(1, 33))
_PART = struct.Struct(">BH")  # of a script: where to, length
_FRAMES = [ReplyFrame(0, FrameKind.ACCEPTED), ReplyFrame(1, FrameKind.DELTA, b"text" * 200), ReplyFrame(2, FrameKind.FINAL)]


def targets() -> list[Target]:
    """One target per thing that arrives."""
    return [_sealed(), _clove(), _inbox(), _message(), _handover()]


class PlainOpener(Opener):
    """Opens what was never sealed, so that bends reach what is inside."""

    def __init__(self) -> None:
        super().__init__(OnionPrivate(PRIVATE))

    def open(self, sealed: bytes, info: bytes) -> bytes:
        return sealed


def script(parts: list[tuple[int, bytes]]) -> bytes:
    """Several messages in one input."""
    return b"".join(_PART.pack(to, len(raw)) + raw for to, raw in parts)


def parts_of(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of a script; what is cut off is given as it is."""
    while len(raw) >= _PART.size:
        to, length = _PART.unpack_from(raw)
        yield to, raw[_PART.size : _PART.size + length]
        raw = raw[_PART.size + length :]


def plain_cloves(request: bytes, rng: Rng) -> list[tuple[bytes, bytes]]:
    """(return token, clove that is not sealed) of one request."""
    message, _ = pack_message(rng(KEY), request)
    name, found = rng(MESSAGE_ID), []
    total = len(message) + COMMITMENT + TAG
    for piece in split(message, GEOMETRY.n, GEOMETRY.k, rng):
        clove = Clove(GEOMETRY.n, GEOMETRY.k, minute_of(NOW), name, rng(TOKEN), total, piece)
        found.append((clove.token, packed(clove)))
    return found


def packed(clove: Clove) -> bytes:
    """A clove's bytes before sealing, as docs/overlay.md section 5 lays them out."""
    head = bytes((1, clove.n, clove.k, clove.slice.index)) + clove.minute.to_bytes(4, "big") + clove.message_id + clove.token
    return head + clove.total.to_bytes(4, "big") + clove.slice.share + bytes(clove.slice.fragment)


def _clove_words(raw: bytes, opener: Opener) -> str:
    try:
        clove = open_clove(raw, opener)
    except (CryptoError, DecodeError) as error:
        return str(error)
    assert 1 <= clove.k <= clove.n <= 16 and 0 <= clove.slice.index < clove.n
    assert len(clove.slice.fragment) * clove.k >= clove.total
    return "taken"


def _sealed() -> Target:
    rng, opener = random.Random("sealed").randbytes, Opener(OnionPrivate(PRIVATE))
    public = exchange_public(PRIVATE)
    message, _ = pack_message(rng(KEY), b"hello")
    cloves = seal_message(message, rng(MESSAGE_ID), Seal.X25519, public, range(GEOMETRY.n), NOW, rng)
    seeds = [clove for _, clove in cloves]
    return Target("overlay/sealed", "a sealed clove opens, or is refused", seeds, lambda raw: _clove_words(raw, opener))


def _clove() -> Target:
    opener = PlainOpener()
    seeds = [clove for _, clove in plain_cloves(b"hello", random.Random("cloves").randbytes)]
    return Target("overlay/clove", "what is inside a seal", seeds, lambda raw: _clove_words(raw, opener))


def _inbox() -> Target:
    """Hand-over messages of several links at an inbox: it asks for nothing strange, and forgets everything in the end."""
    rng = random.Random("inbox").randbytes

    def run(raw: bytes) -> str:
        inbox = Inbox(PRIVATE)
        inbox.opener = PlainOpener()
        started = 0
        for link, message in parts_of(raw):
            for command in inbox.on_event(HandoverArrived(link, message), NOW):
                assert isinstance(command, SendHandover | StartReply | CancelReply)
                if isinstance(command, StartReply):
                    started += 1
                    inbox.reply(command.session, _FRAMES, end=True)
        for _ in range(200):
            if (deadline := inbox.next_deadline()) is None:
                break
            inbox.expire(max(NOW, deadline))
        assert len(inbox) == 0 and inbox.next_deadline() is None, "an inbox remembers what is over"
        return ("taken " if started else "") + " ".join(sorted(inbox.counts))

    seeds = []
    for request in (b"", b"hello", bytes(5_000)):
        plain = plain_cloves(request, rng)
        cloves = [(at, encode_handover(Handover.CLOVE, token, clove)) for at, (token, clove) in enumerate(plain)]
        cancel = encode_handover(Handover.CANCEL, plain[0][0])
        seeds += [script(cloves), script(cloves[1:]), script([*cloves[:2], (0, cancel), *cloves[2:]])]
    return Target("overlay/inbox", "a model node's inbox under hostile proxies", seeds, run)


def _message() -> Target:
    def run(raw: bytes) -> str:
        try:
            secret, mode, request = unpack_message(raw)
        except DecodeError as error:
            return str(error)
        assert len(secret) == KEY and request in raw
        return f"taken, {mode.name}"

    rng = random.Random("messages").randbytes
    return Target("overlay/message", "what cloves are cut from", [pack_message(rng(KEY), rng(40))[0] for _ in range(3)], run)


def _handover() -> Target:
    def run(raw: bytes) -> str:
        try:
            kind, token, body = decode_handover(raw)
        except DecodeError as error:
            return str(error)
        assert encode_handover(kind, token, body) == raw
        return f"taken as {kind.name}"

    rng = random.Random("hand-overs").randbytes
    bodies = {Handover.CLOVE: rng(900), Handover.REPLY: rng(GEOMETRY.reply_clove)}
    seeds = [encode_handover(kind, rng(TOKEN), bodies.get(kind, b"")) for kind in Handover]
    return Target("overlay/handover", "what passes between proxy and model node", seeds, run)
