"""What a member of a model group, or who listens to its members, tries with the messages of the exchange themselves."""

import random
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from evals.adversary.attack import Attack, Outcome, standing
from network.crypto import SigningKey
from network.hrtree.delta import ChangeKind, LoadReport, Refused
from network.hrtree.fingerprint import pack_tokens
from network.hrtree.index import HRIndex
from network.hrtree.replica import Replica
from network.hrtree.sync import Sync
from network.ids import node_id

WALL_MS = 1_800_000_000_000
PROMPT = pack_tokens(range(4096))
SMALL_TREE = 3 << 19
FLOOD = 200_000
NODES_OF_A_POST = 2000


class _Group:
    """A few exchanges of one group, each with its own copy of the tree."""

    def __init__(self, members: int, max_bytes: int) -> None:
        keys = [SigningKey(bytes((number + 1,)) * 32) for number in range(members)]
        self.syncs = [
            Sync(node_id(key.public), key, HRIndex("chain", "m", max_bytes=max_bytes), WALL_MS - 1000) for key in keys
        ]
        for sync in self.syncs:
            sync.set_members({node_id(key.public): key.public for key in keys if node_id(key.public) != sync.own})
            sync.index.advance(1)

    def post(self, sender: int, receiver: int, now: float) -> bytes:
        """One post, carried over; the bytes as somebody on the way would see them."""
        source, target = self.syncs[sender], self.syncs[receiver]
        source.journal.flush()
        raw = source.post_for(target.own, WALL_MS)
        source.on_ack(target.own, target.on_post(raw, now, WALL_MS).ack, now)
        return raw

    def hold(self, member: int, path: bytes, now: float) -> None:
        """The member claims a path."""
        sync = self.syncs[member]
        sync.index.tree(sync.index.generation).insert(path, sync.own, now)
        sync.journal.record(sync.index.generation, ChangeKind.HOLD, path)

    def drop(self, member: int, path: bytes) -> None:
        """The member takes a path back."""
        sync = self.syncs[member]
        sync.index.tree(sync.index.generation).remove_path(path, sync.own)
        sync.journal.record(sync.index.generation, ChangeKind.DROP, path)


def replayed_posts(defended: bool) -> Outcome:
    """Somebody who recorded a member's posts sends them again half a minute later, when what they say is no longer so."""
    heard = Sync.on_post

    def forgetful(sync: Sync, raw: bytes, now: float, wall_ms: int) -> Any:
        sync.replicas = {node: Replica() for node in sync.replicas}
        return heard(sync, raw, now, wall_ms)

    group = _Group(2, SMALL_TREE)
    speaker, listener = group.syncs
    path = speaker.index.path(PROMPT)
    group.hold(0, path, 0.0)
    speaker.journal.report(LoadReport(slots=2))
    recorded = [group.post(0, 1, 0.0)]
    group.drop(0, path[:1])
    speaker.journal.report(LoadReport(running=2, waiting=9, slots=2))
    group.post(0, 1, 1.0)
    with standing(defended, network__hrtree__sync__Sync__on_post=forgetful):
        for raw in recorded:
            with suppress(Refused):
                listener.on_post(raw, 30.0, WALL_MS + 30_000)
    held = listener.index.match(PROMPT).get(speaker.own)
    load = listener.replicas[speaker.own].load
    waiting = load.waiting if load else 0
    says = f"tokens it is believed to hold: {held.tokens if held else 0}; prompts it is believed to have waiting: {waiting}"
    return Outcome(held is not None or waiting == 0, says)


def flooded_tree(defended: bool) -> Outcome:
    """A member claims ten thousand prefixes that nobody ever asked for, so that there is no room for what others hold."""
    group = _Group(3, SMALL_TREE)
    honest, flooder, listener = group.syncs
    group.hold(0, honest.index.path(PROMPT), 0.0)
    group.post(0, 2, 0.0)
    draw = random.Random("flooded-tree")
    limit = patch("network.hrtree.stage.MAX_HELD_NODES", 10**9)
    if not defended:
        limit.start()
    try:
        for number in range(FLOOD // NODES_OF_A_POST):
            for _ in range(NODES_OF_A_POST // 20):
                flooder.journal.record(1, ChangeKind.HOLD, draw.randbytes(20))
            group.post(1, 2, 1.0 + number)
    finally:
        if not defended:
            limit.stop()
    held = listener.index.match(PROMPT).get(honest.own)
    says = f"tree nodes it fills: {listener.index.held(flooder.own)} of {FLOOD}; tokens the honest node is believed to hold: "
    return Outcome(held is None or held.tokens < 4096, says + str(held.tokens if held else 0))


GROUP_MESSAGES = (
    Attack(
        "replayed-posts",
        "Replay of a group's messages",
        "who recorded a member's posts, and sends them to a peer again",
        "posts of a session are counted, and sessions never go back in time (`network/hrtree/sync.py`)",
        "receivers forget what they have heard from whom",
        replayed_posts,
    ),
    Attack(
        "flooded-tree",
        "DoS: flooded tree",
        "a member that claims more than any engine can hold",
        "a quota of tree nodes for each origin (`network/hrtree/stage.py`)",
        "no quota",
        flooded_tree,
    ),
)
