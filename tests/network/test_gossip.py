"""Gossip among cores on a virtual clock: everybody hears of everybody, the dead fall silent, liars get nowhere."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode, encode
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import RemoteProtocolError
from network.gossip import NEWCOMERS, PUSHED, REQUEST_LIMIT, Gossip, GossipMessage
from network.heartbeat import make_heartbeat
from network.ids import Role, node_id
from network.liveness import Liveness

NOW = 1_800_000_000.0
CHAIN = "test"


def entry_of(key: SigningKey, number: int, role: Role = Role.RELAY) -> DirectoryEntry:
    return DirectoryEntry(
        node_id(key.public), key.public, bytes(32), role, f"node-{number}", f"10.0.0.{number}:1", f"f-{number}"
    )


def directory_of_keys(keys: list[SigningKey], height: int = 5) -> Directory:
    entries = sorted((entry_of(key, number) for number, key in enumerate(keys)), key=lambda each: each.node_id)
    return Directory(DirectoryRecord(CHAIN, 1, height, b"", tuple(entries)), height)


class Town:
    """Nodes that gossip in rounds; `alive` are those that take part."""

    def __init__(self, count: int) -> None:
        self.draw = random.Random(3)
        self.keys = [SigningKey(self.draw.randbytes(32)) for _ in range(count)]
        self.listed = directory_of_keys(self.keys)
        self.now = NOW
        self.nodes: dict[bytes, Gossip] = {}
        self.liveness: dict[bytes, Liveness] = {}
        for number, key in enumerate(self.keys):
            self.add(key, f"10.0.0.{number}:1")
        self.alive = set(self.nodes)

    def add(self, key: SigningKey, address: str) -> bytes:
        liveness = Liveness(lambda: self.listed)
        name = node_id(key.public)
        self.liveness[name] = liveness
        self.nodes[name] = Gossip(CHAIN, lambda: self.listed, liveness, self.draw.randbytes, key=key, address=address)
        return name

    def round(self, reachable: Callable[[bytes, bytes], bool] = lambda a, b: True) -> None:
        """Everybody alive asks its peers once; a question to somebody who does not answer is a failure seen."""
        self.now += 2.0
        for name in sorted(self.alive):
            node = self.nodes[name]
            for peer in node.peers(self.now):
                if peer.node_id in self.alive and reachable(name, peer.node_id):
                    answer = self.nodes[peer.node_id].on_question(node.question(self.now), self.now)
                    list(node.on_answer(answer, self.now))
                else:
                    self.liveness[name].failed(peer.node_id, self.now)

    def out(self, name: bytes) -> set[bytes]:
        """Whom this node would not use."""
        return {each.node_id for each in self.listed.relays() if not self.liveness[name].usable(each, self.now)} - {name}


def user_of(town: Town) -> tuple[Gossip, Liveness]:
    liveness = Liveness(lambda: town.listed)
    return Gossip(CHAIN, lambda: town.listed, liveness, town.draw.randbytes), liveness


@pytest.fixture
def town() -> Town:
    return Town(16)


def test_everybody_hears_of_everybody_and_nobody_is_out(town: Town) -> None:
    for _ in range(20):
        town.round()
    assert all(town.out(name) == set() for name in town.alive)
    assert {node.height(town.now) for node in town.nodes.values()} == {5}
    status = town.nodes[sorted(town.nodes)[0]].status(town.now)
    assert (status["heard"], status["silent_relays"], status["doubted"], status["newcomers"]) == (15, 0, False, 0)
    assert -10.0 < float(status["clock_offset_s"] or 0) <= 0.0


def test_who_dies_is_out_everywhere_within_seconds_and_back_when_it_returns(town: Town) -> None:
    for _ in range(6):
        town.round()
    dead = sorted(town.alive)[:4]
    town.alive -= set(dead)
    died = town.now
    while any(town.out(name) != set(dead) for name in town.alive):
        town.round()
        assert town.now - died < 30.0, "the dead are still taken for alive"
    town.alive |= set(dead)
    for _ in range(18):
        town.round()
    assert all(town.out(name) == set() for name in town.alive)


def test_a_user_pulls_and_says_nothing(town: Town) -> None:
    for _ in range(6):
        town.round()
    user, liveness = user_of(town)
    for name in sorted(town.alive)[:2]:
        list(user.on_answer(town.nodes[name].everything(town.now), town.now))
    assert user.counts["heartbeats"] >= len(town.nodes)
    assert not liveness.silent_relays(town.now + 9.0) and liveness.is_doubted(town.now + 11.0)


def test_a_split_is_doubted_and_heals(town: Town) -> None:
    half = set(sorted(town.alive)[:8])
    for _ in range(6):
        town.round()
    for _ in range(12):
        town.round(lambda a, b: (a in half) == (b in half))
    assert all(liveness.is_doubted(town.now) for liveness in town.liveness.values())
    for _ in range(20):
        town.round()
    assert all(town.out(name) == set() for name in town.alive)


def test_a_newcomer_is_known_and_never_used_before_it_is_listed(town: Town) -> None:
    key = SigningKey(town.draw.randbytes(32))
    name = town.add(key, "10.0.0.16:1")
    town.alive.add(name)
    for _ in range(6):
        town.round()
    others = [node for each, node in town.nodes.items() if each != name]
    assert all(node.newcomers(town.now) == 1 for node in others)
    assert all(peer.node_id != name for node in others for _ in range(50) for peer in node.peers(town.now))
    town.listed = directory_of_keys([*town.keys, key])
    for _ in range(8):
        town.round()
    assert all(node.newcomers(town.now) == 0 for node in others)
    assert all(town.out(each) == set() for each in town.alive)


def message(*beats: Any) -> bytes:
    return encode(GossipMessage((), beats))


def test_forged_foreign_and_stale_heartbeats_are_not_believed(town: Town) -> None:
    node, key = town.nodes[sorted(town.nodes)[0]], town.keys[5]
    beat = make_heartbeat(key, CHAIN, NOW, "10.0.0.5:1", 5)
    for wrong in (replace(beat, height=6), make_heartbeat(key, "other", NOW, "10.0.0.5:1", 5)):
        with pytest.raises(RemoteProtocolError):
            node.on_question(message(wrong), NOW)
    node.on_question(message(make_heartbeat(key, CHAIN, NOW - 301, "10.0.0.5:1", 5)), NOW)
    assert node.counts == {"bad_signature": 2}
    with pytest.raises(RemoteProtocolError):
        node.on_question(message(*[beat] * (PUSHED + 1)), NOW)


def test_a_heartbeat_counts_once_and_a_bad_signature_ends_the_message(town: Town) -> None:
    name = sorted(town.nodes)[0]
    node, key = town.nodes[name], town.keys[5]
    beat = make_heartbeat(key, CHAIN, NOW, "10.0.0.5:1", 5)
    for _ in range(3):
        node.on_question(message(beat), NOW)
    assert node.counts == {"heartbeats": 1}
    forged = replace(make_heartbeat(town.keys[6], CHAIN, NOW, "", 5), signature=bytes(64))
    with pytest.raises(RemoteProtocolError):
        node.on_question(message(*[forged] * PUSHED), NOW)
    assert node.counts["bad_signature"] == 1


def test_who_says_to_be_elsewhere_is_not_alive_where_the_directory_says(town: Town) -> None:
    name = sorted(town.nodes)[0]
    for number, key in enumerate(town.keys):
        address = "elsewhere:1" if number == 5 else f"10.0.0.{number}:1"
        beat = make_heartbeat(key, CHAIN, NOW, address, 5)
        town.nodes[name].on_question(message(beat), NOW)
    moved = node_id(town.keys[5].public)
    assert not town.liveness[name].is_silent(moved, NOW + 10.0)
    for number, key in enumerate(town.keys):
        address = "elsewhere:1" if number == 5 else f"10.0.0.{number}:1"
        town.nodes[name].on_question(message(make_heartbeat(key, CHAIN, NOW + 11, address, 5)), NOW + 11)
    assert town.liveness[name].is_silent(moved, NOW + 11)


def test_strangers_fill_a_small_table_and_work_is_rationed(town: Town) -> None:
    node = town.nodes[sorted(town.nodes)[0]]
    keys = [SigningKey(town.draw.randbytes(32)) for _ in range(NEWCOMERS * 2)]
    for key in keys:
        node.on_question(message(make_heartbeat(key, CHAIN, NOW, "x:1", 1)), NOW)
    assert node.newcomers(NOW) == NEWCOMERS
    one = SigningKey(town.draw.randbytes(32))
    for number in range(4096):
        beat = make_heartbeat(one, CHAIN, NOW + number * 0.5 - 250, "x:1", 1)
        if not node.counts["over_allowance"]:
            node.on_question(message(beat), NOW + number * 0.01)
    assert node.counts["heartbeats"] < 4096


def test_made_up_nodes_use_up_nobodys_due(town: Town) -> None:
    made_up = [make_heartbeat(SigningKey(town.draw.randbytes(32)), CHAIN, NOW, "x:1", 1) for _ in range(NEWCOMERS + 9)]
    listed = [make_heartbeat(key, CHAIN, NOW, f"10.0.0.{number}:1", 5) for number, key in enumerate(town.keys)]
    node, (user, _) = town.nodes[node_id(town.keys[0].public)], user_of(town)
    for core, strangers in ((node, NEWCOMERS), (user, 0)):
        list(core.on_answer(message(*made_up, *listed), NOW))
        assert core.newcomers(NOW) == strangers
        assert core.counts["heartbeats"] == strangers + len(town.keys) - (core is node)


def test_what_is_no_news_is_not_passed_on_and_is_forgotten(town: Town) -> None:
    node = town.nodes[sorted(town.nodes)[0]]
    for number, key in enumerate(town.keys):
        node.on_question(message(make_heartbeat(key, CHAIN, NOW, f"10.0.0.{number}:1", 5)), NOW)
    assert len(decode(GossipMessage, node.everything(NOW + 10)).beats) == len(town.keys)
    assert len(decode(GossipMessage, node.everything(NOW + 11)).beats) == 1
    assert len(decode(GossipMessage, node.question(NOW + 10)).digest) == len(town.keys) - 1
    node.question(NOW + 301)
    assert node.status(NOW + 1)["heard"] == 0, "what is too old to be taken again is forgotten"


def test_a_question_about_everybody_fits_its_limit() -> None:
    rows = tuple(bytes(16) for _ in range(4096 + NEWCOMERS))
    beat = make_heartbeat(SigningKey(bytes(32)), "c" * 64, NOW, "a" * 128, 2**63 - 1)
    assert len(encode(GossipMessage(rows, (beat,) * PUSHED))) <= REQUEST_LIMIT
