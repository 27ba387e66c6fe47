"""Targets of the group exchange: all that arrives from a member that keeps to its key and to nothing else.

What is bent is bent before the MAC and the signature are made, so that refusal must come from the rules behind them.
"""

from dataclasses import replace

from evals.fuzz.engine import Target
from network.codec import decode, encode
from network.crypto import SigningKey
from network.errors import DecodeError
from network.hrtree.delta import (
    Ack,
    ChangeKind,
    Head,
    Hello,
    LoadReport,
    Post,
    Proof,
    Refused,
    Signed,
    SignedKind,
    first_link,
    group_tag,
    next_link,
    sign,
)
from network.hrtree.fingerprint import ChunkPlan
from network.hrtree.index import HRIndex
from network.hrtree.pair import Pair
from network.hrtree.sync import Sync
from network.ids import node_id

_KEYS = [SigningKey(bytes([number + 1] * 32)) for number in range(3)]
_IDS = [node_id(key.public) for key in _KEYS]
_WALL = 1_700_000_000_000


def targets() -> list[Target]:
    """One target per thing that arrives."""
    return [_wire(), _post(), _chained(), _snapshot(), _ask(), _ack(), _proof()]


def _member(number: int) -> Sync:
    sync = Sync(_IDS[number], _KEYS[number], HRIndex("fuzz", "m", ChunkPlan((), 4)), 1)
    sync.set_members({_IDS[other]: _KEYS[other].public for other in range(3) if other != number})
    return sync


def _speaker() -> Sync:
    """A member with a few deltas to tell, the last one sealed."""
    sync = _member(0)
    for number in range(8):
        path = bytes([number % 3]) * 3 + bytes([number])
        sync.index.tree(0).insert(path, sync.own, 1.0)
        sync.journal.record(0, ChangeKind.HOLD, path)
        if number % 4 == 3:
            sync.index.tree(0).remove_path(path, sync.own)
            sync.journal.record(0, ChangeKind.DROP, path)
        sync.journal.report(LoadReport(running=number, latency_us=number * 999_999))
        sync.journal.flush()
    sync.journal.seal()
    sync.journal.flush()
    return sync


def _state(sync: Sync) -> tuple[object, ...]:
    """What a refused message must leave as it was."""
    rows = []
    for node, replica in sorted(sync.replicas.items()):
        held = tuple(sorted(path for _, path in sync.index.tree(0).paths(node)))
        rows.append((replica.incarnation, replica.sequence, replica.chain, len(replica.recent), replica.proof, held))
    return (*rows, sum(sync.counts.values()))


def _tried(sync: Sync, take: object) -> str:
    before = _state(sync)
    try:
        take()  # type: ignore[operator]
    except Refused as refused:
        assert _state(sync) == before, "a refused message changed something"
        return str(refused)
    sync.index.check_integrity()
    return "taken"


def _wire() -> Target:
    """Whole posts as they come off the wire, MAC and all."""

    def run(raw: bytes) -> str:
        sync = _member(1)
        return _tried(sync, lambda: sync.on_post(raw, 1.0, _WALL))

    return Target("group/wire", "a post that its sender made, or a refusal", [_speaker().post_for(_IDS[1], _WALL)], run)


def _post() -> Target:
    """An input is a post without its MAC, which is made anew."""
    speaker = _speaker()
    post = decode(Post, speaker.post_for(_IDS[1], _WALL))
    pair = Pair(_IDS[0], _IDS[1], _KEYS[0], _KEYS[1].public, "fuzz", "m")

    def run(raw: bytes) -> str:
        try:
            bent = replace(decode(Post, raw), mac=b"")
        except DecodeError as error:
            return str(error)
        sync = _member(1)
        return _tried(sync, lambda: sync.on_post(pair.seal_post(bent), 1.0, _WALL))

    seeds = [encode(replace(post, mac=b"", deltas=post.deltas[:count], sequence=count, signature=b"")) for count in (0, 1, 5)]
    return Target("group/post", "a post that keeps to the rules, or a refusal", [encode(replace(post, mac=b"")), *seeds], run)


def _chained() -> Target:
    """An input is one delta, which its origin chains and signs as if it were honest."""
    pair = Pair(_IDS[0], _IDS[1], _KEYS[0], _KEYS[1].public, "fuzz", "m")
    hello = Hello("m", _IDS[0], _IDS[1], _WALL, 1)
    link = first_link("m", _IDS[0], 1)
    first = _speaker().journal.since(0)[0].body

    def run(raw: bytes) -> str:
        sync = _member(1)
        head = Head(group_tag("m"), _IDS[0], 1, 2, next_link(next_link(link, first), raw))
        signature = sign(SignedKind.HEAD, head, _KEYS[0], "fuzz").signature
        post = Post(pair.session(hello), 1, 2, (first, raw), signature, hello=hello)
        return _tried(sync, lambda: sync.on_post(pair.seal_post(post), 1.0, _WALL))

    seeds = [entry.body for entry in _speaker().journal.since(0)]
    return Target("group/delta", "changes that can be, or a refusal", seeds, run)


def _snapshot() -> Target:
    """An input is the body of a snapshot, which its origin signs."""

    def run(raw: bytes) -> str:
        sync = _member(1)
        signed = Signed(int(SignedKind.SNAPSHOT), raw, b"")
        domain = b"planetserve/group/2" + bytes([signed.kind, 4]) + b"fuzz"
        body = encode(replace(signed, signature=_KEYS[0].sign(domain + raw)))
        return _tried(sync, lambda: sync.on_snapshot(_IDS[0], body, 1.0))

    seeds = [_speaker().journal.snapshot().body, _speaker().journal.snapshot((bytes(8),) * 16).body]
    return Target("group/snapshot", "what can be held, or a refusal", seeds, run)


def _ask() -> Target:
    """An input is a request for a snapshot without its MAC, which is made anew."""
    pair = Pair(_IDS[0], _IDS[1], _KEYS[0], _KEYS[1].public, "fuzz", "m")

    def run(raw: bytes) -> str:
        try:
            bent = replace(decode(Hello, raw), mac=b"")
        except DecodeError as error:
            return str(error)
        sync = _member(1)
        return _tried(sync, lambda: sync.on_snapshot_request(pair.seal_hello(bent), _WALL))

    hello = Hello("m", _IDS[0], _IDS[1], _WALL, 1)
    seeds = [encode(hello), encode(replace(hello, pages=(bytes(8),) * 16, terms=b"terms-01"))]
    return Target("group/ask", "a snapshot for a member, or a refusal", seeds, run)


def _ack() -> Target:
    """An input is an answer; one alone is right."""
    one, two = _speaker(), _member(1)
    right = encode(two.on_post(one.post_for(two.own, _WALL), 1.0, _WALL).ack)

    def run(raw: bytes) -> str:
        try:
            ack = decode(Ack, raw)
            one.on_ack(two.own, ack, 1.0)
        except (DecodeError, Refused) as error:
            return str(error)
        assert raw == right, "an answer that its sender did not make"
        return "taken"

    seeds = [right, encode(Ack(3, b"terms-01", bytes(8)))]
    return Target("group/ack", "the peer's own answer to this post, or a refusal", seeds, run)


def _proof() -> Target:
    """An input is a proof; nobody is ejected whose key did not sign two unlike heads."""
    heads = [Head(group_tag("m"), _IDS[0], 1, 1, bytes([number]) * 16) for number in range(3)]
    signed = [sign(SignedKind.HEAD, head, _KEYS[0], "fuzz") for head in heads]
    made = {encode(each) for each in signed}

    def run(raw: bytes) -> str:
        try:
            proof = decode(Proof, raw)
        except DecodeError as error:
            return str(error)
        sync = _member(1)
        said = _tried(sync, lambda: sync.on_proof(proof))
        if said == "taken":
            assert proof.one != proof.other and {encode(proof.one), encode(proof.other)} <= made, "an innocent was ejected"
        return said

    seeds = [encode(Proof(signed[0], signed[1])), encode(Proof(signed[2], signed[0])), encode(Proof(signed[0], signed[0]))]
    return Target("group/proof", "a conviction by the convict's own signatures, or a refusal", seeds, run)
