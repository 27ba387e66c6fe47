"""Reading a post of deltas before any of it counts: sequence, chain, references, signature, bounds; then applying it at once.

`stage` changes nothing and raises `Refused` for what cannot be; `commit` cannot fail.
"""

from dataclasses import dataclass, field

from network.codec import encode
from network.hrtree.delta import (
    MAX_POST_SYMBOLS,
    ChangeKind,
    Delta,
    Head,
    LoadReport,
    Post,
    Refused,
    Seal,
    Section,
    Signed,
    SignedKind,
    decode_delta,
    first_link,
    group_tag,
    next_link,
)
from network.hrtree.index import HRIndex
from network.hrtree.journal import digest, leaves
from network.hrtree.load import load_of
from network.hrtree.recent import Change, Recent, read_section
from network.hrtree.replica import Replica, read_head

MAX_UNSEALED = 128
MAX_HELD_NODES = 32_768


@dataclass(slots=True)
class Staged:
    """A replica as it will be once the whole post has proved good, and what happened on the way."""

    sequence: int
    chain: bytes
    sealed: int
    recent: Recent
    last_space: tuple[int, bytes]
    changes: list[Change] = field(default_factory=list)
    symbols: int = 0
    foreign: set[int] = field(default_factory=set)
    load: LoadReport | None = None
    head: Head | None = None
    signed: Signed | None = None
    seals: tuple[Seal, ...] | None = None
    applied: int = 0
    stale: int = 0
    gap: bool = False


def comparable(index: HRIndex, generation: int, space: bytes) -> bool:
    """Whether our own paths of a generation are made the same way."""
    return index.accepts(generation) and index.space(generation).id == space


def stage(index: HRIndex, origin: bytes, public: bytes, replica: Replica, post: Post) -> Staged:
    """What a post would change. Raises Refused. *Changes neither the index nor the replica.*"""
    fresh = post.hello is not None and post.hello.incarnation > replica.incarnation
    incarnation = post.hello.incarnation if fresh else replica.incarnation
    if fresh:
        staged = Staged(0, first_link(index.group, origin, incarnation), 0, Recent(), (0, b""))
    else:
        recent = replica.recent.copy() if post.deltas else replica.recent
        staged = Staged(replica.sequence, replica.chain, replica.sealed, recent, replica.last_space)
    if len(post.deltas) > post.sequence:
        raise Refused("garbage", "a post of more deltas than its sequence number allows")
    for number, body in enumerate(post.deltas, post.sequence - len(post.deltas) + 1):
        if number <= staged.sequence:
            staged.stale += 1
            continue
        if number != staged.sequence + 1:
            staged.gap = True
            break
        delta = decode_delta(body)
        _follow(index, staged, delta)
        staged.sequence, staged.chain = number, next_link(staged.chain, body)
        staged.applied += 1
        if delta.sealed:
            staged.head = Head(group_tag(index.group), origin, incarnation, number, staged.chain)
            staged.sealed = number
    staged.gap = staged.gap or (not post.deltas and post.sequence > staged.sequence)
    if staged.head is not None:
        staged.signed = Signed(int(SignedKind.HEAD), encode(staged.head), post.signature)
        read_head(staged.signed, public, index.chain_id, index.group)
    if staged.sequence - staged.sealed > MAX_UNSEALED:
        raise Refused("unsealed", "deltas that their origin has not signed for")
    return staged


def commit(index: HRIndex, origin: bytes, replica: Replica, staged: Staged, now: float) -> int:
    """*Changes both*: all that was staged; returns how many paths were left out because the peer holds too much."""
    left_out = 0
    for generation, kind, path in staged.changes:
        tree = index.tree(generation)
        if kind is ChangeKind.DROP:
            tree.remove_path(path, origin)
        elif index.held(origin) + len(path) <= MAX_HELD_NODES:
            tree.insert(path, origin, now)
        else:
            left_out += 1
    replica.sequence, replica.chain, replica.sealed = staged.sequence, staged.chain, staged.sealed
    replica.recent, replica.last_space = staged.recent, staged.last_space
    if staged.load is not None:
        replica.load, replica.load_at = staged.load, now
    replica.skipped |= {generation for generation in staged.foreign if index.accepts(generation)}
    return left_out


def differs(index: HRIndex, origin: bytes, seals: tuple[Seal, ...]) -> bool:
    """Whether what we hold of a peer is not what it says it holds, as far as we can compare."""
    return any(
        digest(leaves(index, seal.generation, origin)) != seal.digest
        for seal in seals
        if comparable(index, seal.generation, seal.space)
    )


def _follow(index: HRIndex, staged: Staged, delta: Delta) -> None:
    for section in delta.sections:
        if not section.space:
            generation, space = staged.last_space
            section = Section(generation, space, section.codes, section.symbols)
        if not section.space:
            raise Refused("garbage", "a section of no space, and none before it")
        staged.last_space = (section.generation, section.space)
        changes = read_section(staged.recent, section, MAX_POST_SYMBOLS - staged.symbols)
        staged.symbols += sum(len(path) for _, _, path in changes)
        if comparable(index, section.generation, section.space):
            staged.changes += changes
        elif section.codes:
            staged.foreign.add(section.generation)
    if delta.load:
        staged.load = load_of(delta.load)
    staged.seals = delta.seals if delta.sealed else None
