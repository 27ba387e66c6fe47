"""Targets of what comes home to a user, and of what neighbours tell each other: reply pieces, resume notes, gossip.

Pieces are bent before they are sealed: they are a model node's that keeps to the sealing and to nothing else.
"""

import random

from evals.fuzz.cloves import NOW, PRIVATE, PlainOpener, parts_of, script
from evals.fuzz.engine import Target
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import encode
from network.crypto import NONCE_LENGTH, SigningKey, exchange_public, open_sealed, seal
from network.directory import Directory
from network.errors import CryptoError, DecodeError, RemoteProtocolError
from network.events import HandoverArrived, PathData
from network.freshness import minute_of
from network.geometry import GEOMETRY, KEY, MESSAGE_ID, TOKEN
from network.gossip import Gossip
from network.handover import Handover, encode_handover
from network.heartbeat import make_heartbeat
from network.ids import Role, node_id
from network.inference import FrameKind, ReplyFrame
from network.liveness import Liveness
from network.reply import ReplyReader, ReplyWriter, stream_of, way_key
from network.resume import ResumeNote, open_note, proof_of
from network.session import Session
from serving_node.inbox import Inbox

_FRAMES = [ReplyFrame(0, FrameKind.ACCEPTED), ReplyFrame(1, FrameKind.DELTA, b"text" * 200), ReplyFrame(2, FrameKind.FINAL)]
_SECRET, _NAME = b"s" * KEY, b"m" * MESSAGE_ID
_TOKENS = [bytes([index]) * TOKEN for index in range(GEOMETRY.n)]


def targets() -> list[Target]:
    """One target per thing that arrives."""
    return [_reply(), _session(), _resume(), _gossip()]


def _reply() -> Target:
    keys = [way_key(_SECRET, _NAME, index, token) for index, token in enumerate(_TOKENS)]

    def run(raw: bytes) -> str:
        reader, counters = ReplyReader(_SECRET, _NAME), [0] * GEOMETRY.n
        for index, token in enumerate(_TOKENS):
            reader.attach(index, token)
        frames = 0
        for to, plain in parts_of(raw):
            index = to % GEOMETRY.n
            sealed = seal(keys[index], counters[index].to_bytes(NONCE_LENGTH, "big"), plain)
            counters[index] += 1
            try:
                frames += len(reader.add(index, sealed))
            except (CryptoError, DecodeError, RemoteProtocolError) as error:
                return str(error)
        return f"taken, {min(frames, 4)} frames{', ended' if reader.ended else ''}"

    seeds = []
    for end in (False, True):
        writer = ReplyWriter(_SECRET, _NAME)
        for index, token in enumerate(_TOKENS):
            writer.attach(index, token)
        parts, stream = [], stream_of(_FRAMES)
        for sequence, part in enumerate((stream[:100], stream[100:], b"")):
            nonce = sequence.to_bytes(NONCE_LENGTH, "big")
            cloves = writer.write(sequence, part, end=end and not part, arrived=15, indices=range(GEOMETRY.n))
            parts += [(index, open_sealed(keys[index], nonce, clove)) for index, clove in cloves]
        seeds += [script(parts), script([part for part in parts if part[0] != 2]), script(parts[::-1])]
    return Target("overlay/reply", "reply pieces at the user", seeds, run)


def _session() -> Target:
    """Data of the four paths at the user's session, straight from hostile proxies: no frame of theirs is ever delivered."""
    key = SigningKey(bytes(range(32)))
    entry = DirectoryEntry(node_id(key.public), key.public, exchange_public(PRIVATE), Role.MODEL, "m", "m", "f", "g", bytes(32))

    def run(raw: bytes) -> str:
        session = Session(b"hello", entry, NOW, random.Random("session").randbytes)
        session.start(NOW + 10)
        seen = set()
        for to, data in parts_of(raw):
            padded = data[: GEOMETRY.backward_body].ljust(GEOMETRY.backward_body, b"\0")
            for command in session.on_event(PathData(to % GEOMETRY.n, padded), NOW):
                seen.add(type(command).__name__)
        assert "DeliverFrame" not in seen
        return f"taken, {' '.join(sorted(seen))}"

    rng = random.Random("sessions").randbytes
    closed = [bytes((4, 0, 0, 1, reason)) for reason in (1, 2, 3)]
    reply = bytes((3, 0)) + GEOMETRY.reply_clove.to_bytes(2, "big") + rng(GEOMETRY.reply_clove)
    seeds = [script([(path, data) for path in range(GEOMETRY.n)]) for data in (*closed, reply)]
    return Target("overlay/session", "data of hostile proxies at the user", seeds, run)


def _resume() -> Target:
    """Resume notes, unsealed, alone and at an inbox that waits for none."""
    opener = PlainOpener()

    def run(raw: bytes) -> str:
        inbox = Inbox(PRIVATE)
        inbox.opener = opener
        inbox.on_event(HandoverArrived(1, encode_handover(Handover.RESUME, bytes(TOKEN), raw or b"-")), NOW)
        assert len(inbox) == 0 and inbox.next_deadline() is None
        try:
            note, proof = open_note(raw, opener)
        except (CryptoError, DecodeError) as error:
            return str(error)
        assert raw.startswith(note.head() + proof)
        return "taken"

    notes = [ResumeNote(index, minute_of(NOW), _NAME, _TOKENS[index], 7) for index in range(GEOMETRY.n)]
    seeds = [(note.head() + proof_of(note, _SECRET)).ljust(600, b"\0") for note in notes]
    return Target("overlay/resume", "notes that move a way home", seeds, run)


def _gossip() -> Target:
    """Questions and answers of a hostile neighbour: refused in words, or taken; the table stays within its bounds."""
    keys = [SigningKey(bytes([number]) * 32) for number in range(1, 6)]
    entries = tuple(
        DirectoryEntry(node_id(key.public), key.public, bytes(32), Role.RELAY, f"r{at}", f"127.0.0.1:{at + 1}", f"f{at}")
        for at, key in enumerate(keys)
    )
    listed = Directory(DirectoryRecord("fuzz", 1, 1, b"", tuple(sorted(entries, key=lambda entry: entry.node_id))), 1)

    def fresh(key: SigningKey) -> Gossip:
        liveness = Liveness(lambda: listed)
        return Gossip("fuzz", lambda: listed, liveness, random.Random(1).randbytes, key=key, address="127.0.0.1:1")

    def run(raw: bytes) -> str:
        gossip = fresh(keys[0])
        try:
            gossip.on_question(raw, NOW)
            for _ in gossip.on_answer(raw, NOW):
                pass
        except RemoteProtocolError as error:
            return str(error)
        return f"taken, {gossip.status(NOW)['heard']} heard"

    other = fresh(keys[1])
    seeds = [other.question(NOW), other.on_question(fresh(keys[2]).question(NOW), NOW)]
    seeds += [encode(make_heartbeat(key, "fuzz", NOW, "127.0.0.1:1", 1)) for key in keys]
    return Target("overlay/gossip", "what a hostile neighbour gossips", seeds, run)
