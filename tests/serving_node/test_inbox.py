"""The inbox: any k cloves make a request; bad, stale, replayed and conflicting ones are refused by themselves."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.clove import Clove, seal_clove, seal_cloves
from network.commands import CancelReply, SendHandover, StartReply
from network.crypto import exchange_public
from network.errors import LocalProtocolError
from network.events import HandoverArrived, LinkLost, PathLost
from network.freshness import REMEMBER_SECONDS, minute_of
from network.geometry import COMMITMENT, GEOMETRY, TAG, Seal
from network.handover import Handover, decode_handover, encode_handover
from network.hpke import OnionPrivate, seal_to
from network.inference import FrameKind, ReplyFrame
from network.message import pack_message
from network.sida import Slice, split
from serving_node.inbox import Inbox
from serving_node.limits import DEFAULT, Limits

NOW = 1_800_000_000.0
PRIVATE = bytes(range(1, 33))
PUBLIC = exchange_public(PRIVATE)
SECRET = b"r" * 32


def cloves(request: bytes = b"a prompt", message_id: bytes = b"m" * 16, seed: int = 1, now: float = NOW) -> list[Clove]:
    """The four cloves of one request; number i comes over link i with token i."""
    message, _ = pack_message(SECRET, request)
    slices = split(message, GEOMETRY.n, GEOMETRY.k, random.Random(seed).randbytes)
    total = len(message) + COMMITMENT + TAG
    return [Clove(4, 3, minute_of(now), message_id, bytes([i]) * 16, total, s) for i, s in enumerate(slices)]


def arrival(clove: Clove, link: int | None = None, sealed: bytes | None = None) -> HandoverArrived:
    body = sealed if sealed is not None else seal_clove(clove, PUBLIC)
    return HandoverArrived(clove.slice.index if link is None else link, encode_handover(Handover.CLOVE, clove.token, body))


def refused(clove: Clove) -> SendHandover:
    return SendHandover(clove.slice.index, encode_handover(Handover.REFUSED, clove.token))


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(PRIVATE)


def is_piece(command: Any) -> bool:
    return isinstance(command, SendHandover) and decode_handover(command.raw)[0] is Handover.REPLY


def give(inbox: Inbox, which: Any, now: float = NOW) -> list[Any]:
    """What comes of these cloves, but for the reply's own pieces."""
    commands = [command for clove in which for command in inbox.on_event(arrival(clove), now)]
    return [command for command in commands if not is_piece(command)]


@pytest.mark.parametrize("chosen", list(combinations(range(4), 3)))
def test_any_three_cloves_make_the_request(inbox: Inbox, chosen: tuple[int, ...]) -> None:
    four = cloves()
    assert give(inbox, [four[i] for i in chosen]) == [StartReply(1, b"a prompt")]
    missing = next(i for i in range(4) if i not in chosen)
    assert give(inbox, [four[missing]]) == []
    due = inbox.next_deadline()
    assert due is not None
    sent = [command for command in inbox.expire(due) if is_piece(command)]
    assert sorted(command.link for command in sent) == [0, 1, 2, 3], "the late clove's path carries replies too"


def test_yesterdays_key_opens_until_it_is_turned_away(inbox: Inbox) -> None:
    today, yesterday = OnionPrivate(bytes(range(2, 34))), OnionPrivate(PRIVATE)
    inbox.opener.turn(today, yesterday)
    assert give(inbox, cloves()[:3]) == [StartReply(1, b"a prompt")]
    inbox.opener.turn(today)
    late = cloves(message_id=b"n" * 16)[3]
    assert give(inbox, [late]) == [refused(late)] and inbox.counts["dropped_bad_clove"] == 1


def test_two_cloves_make_nothing_and_are_forgotten(inbox: Inbox) -> None:
    two = cloves()[:2]
    assert give(inbox, two) == []
    assert inbox.next_deadline() == NOW + DEFAULT.gathering_seconds
    assert inbox.expire(NOW + DEFAULT.gathering_seconds - 1) == []
    assert inbox.expire(NOW + DEFAULT.gathering_seconds) == [refused(two[0]), refused(two[1])]
    assert inbox.next_deadline() is None and inbox.counts["dropped_incomplete"] == 1


def test_a_bad_clove_is_refused_by_itself_and_named(inbox: Inbox) -> None:
    four = cloves()
    sealed = bytearray(seal_clove(four[1], PUBLIC))
    sealed[100] ^= 1
    assert inbox.on_event(arrival(four[1], sealed=bytes(sealed)), NOW) == [refused(four[1])]
    assert give(inbox, [four[0], four[2], four[3]]) == [StartReply(1, b"a prompt")]
    assert inbox.counts["dropped_bad_clove"] == 1


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=80, deadline=None)
def test_garbage_is_dropped_and_counted(raw: bytes, sealed: bool) -> None:
    inbox = Inbox(PRIVATE)
    body = seal_to(Seal.X25519, PUBLIC, raw, b"planetserve/clove/1") if sealed else raw
    full = encode_handover(Handover.CLOVE, b"t" * 16, body) if body else b""
    for message in (raw, full):
        before = sum(inbox.counts.values())
        commands = inbox.on_event(HandoverArrived(1, message), NOW)
        assert all(isinstance(command, SendHandover) for command in commands)
        harmless = raw[:1] == b"\x02" and len(raw) == 17
        assert harmless or sum(inbox.counts.values()) > before


def test_a_duplicate_with_other_content_is_refused(inbox: Inbox) -> None:
    four = cloves()
    give(inbox, four[:2])
    other = replace(four[1], token=b"x" * 16, slice=Slice(1, four[1].slice.share, bytes(len(four[1].slice.fragment))))
    assert inbox.on_event(arrival(other, link=9), NOW) == [SendHandover(9, encode_handover(Handover.REFUSED, b"x" * 16))]
    assert inbox.counts["dropped_conflicting_clove"] == 1
    same = replace(four[1], token=b"y" * 16)
    inbox.on_event(arrival(same, link=9), NOW)
    assert inbox.counts["dropped_duplicate_clove"] == 1
    assert give(inbox, [four[3]]) == [StartReply(1, b"a prompt")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda clove: replace(clove, minute=clove.minute - 60), "stale_clove"),
        (lambda clove: replace(clove, n=5), "foreign_clove"),
        (lambda clove: replace(clove, token=b"z" * 16), "foreign_clove"),
    ],
)
def test_cloves_that_may_not_stay(inbox: Inbox, change: Callable[[Clove], Clove], why: str) -> None:
    clove = cloves()[0]
    event = arrival(clove, sealed=seal_clove(change(clove), PUBLIC))
    assert inbox.on_event(event, NOW) == [refused(clove)]
    assert inbox.counts == {"dropped_" + why: 1}


def test_a_whole_request_replayed_is_refused(inbox: Inbox) -> None:
    four = cloves()
    give(inbox, four)
    inbox.reply(1, [ReplyFrame(0, FrameKind.FINAL)], end=True)
    while (due := inbox.next_deadline()) is not None:
        inbox.expire(due)
    assert len(inbox) == 0
    assert give(inbox, four) == [refused(clove) for clove in four]
    assert inbox.counts["dropped_replayed_message"] == 4
    later = NOW + REMEMBER_SECONDS
    assert all(isinstance(command, SendHandover) for command in give(inbox, four, later))
    assert inbox.counts["dropped_stale_clove"] == 4 and inbox.counts["requests"] == 1


def test_cloves_that_do_not_fit_together_start_nothing(inbox: Inbox) -> None:
    mixed = cloves(seed=1)[:2] + cloves(seed=2)[2:]
    assert give(inbox, mixed[:3]) == [], "a fourth clove may fit two of them"
    commands = give(inbox, mixed[3:])
    assert commands == [refused(clove) for clove in mixed] and inbox.counts["dropped_bad_message"] == 1


@pytest.mark.parametrize("bad", range(4))
def test_one_clove_that_does_not_fit_the_others_is_worked_around(inbox: Inbox, bad: int) -> None:
    """Only a sender can make such a clove, unless cloves are plain."""
    four, other = cloves(seed=1), cloves(seed=2)
    mixed = [other[index] if index == bad else four[index] for index in range(4)]
    assert give(inbox, mixed)[-1] == StartReply(1, b"a prompt")


def plain_arrivals(four: list[Clove]) -> list[HandoverArrived]:
    return [arrival(clove, sealed=raw) for clove, raw in zip(four, seal_cloves(four, b"", Seal.PLAIN), strict=True)]


@pytest.mark.parametrize("bad", range(4))
def test_an_altered_plain_clove_is_refused_and_changes_nothing(bad: int) -> None:
    inbox = Inbox(PRIVATE, accept_plain=True)
    four = cloves()
    events = plain_arrivals(four)
    raw = bytearray(events[bad].raw)
    raw[-1] ^= 1
    events[bad] = HandoverArrived(events[bad].link, bytes(raw))
    answers = [command for event in events for command in inbox.on_event(event, NOW)]
    assert refused(four[bad]) in answers and StartReply(1, b"a prompt") in answers


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 0, 2, 3], [1, 2, 3, 0]])
def test_a_proxy_that_rewrites_the_hashes_of_a_plain_clove_gathers_alone(order: list[int]) -> None:
    inbox = Inbox(PRIVATE, accept_plain=True)
    four = cloves()
    forged = replace(four[0], slice=Slice(0, b"f" * 32, bytes(len(four[0].slice.fragment))), total=four[0].total)
    events = plain_arrivals(four)
    events[0] = plain_arrivals([forged, *four[1:]])[0]
    answers = [command for index in order for command in inbox.on_event(events[index], NOW)]
    assert answers.count(StartReply(1, b"a prompt")) == 1
    late = inbox.expire(NOW + DEFAULT.gathering_seconds)
    assert refused(four[0]) in answers + late, "its path is told"


def test_plain_cloves_are_refused_unless_told_otherwise(inbox: Inbox) -> None:
    events = plain_arrivals(cloves())
    assert [command for event in events for command in inbox.on_event(event, NOW)] == [refused(c) for c in cloves()]
    assert inbox.counts["dropped_bad_clove"] == 4


def test_the_user_going_cancels_at_once(inbox: Inbox) -> None:
    four = cloves()
    give(inbox, four)
    cancel = [HandoverArrived(c.slice.index, encode_handover(Handover.CANCEL, c.token)) for c in four]
    assert inbox.on_event(cancel[0], NOW) == inbox.on_event(LinkLost(1), NOW) == inbox.on_event(cancel[2], NOW) == []
    assert inbox.on_event(cancel[3], NOW) == [CancelReply(1)] and inbox.counts["cancelled"] == 1
    assert inbox.on_event(cancel[2], NOW) == [] and inbox.reply(1, [], end=True) == [] and len(inbox) == 0


def test_one_proxy_cannot_fill_the_table() -> None:
    inbox = Inbox(PRIVATE, limits=Limits(cloves_per_link=3))
    lone = [replace(cloves(message_id=bytes([n]) * 16)[0], token=bytes([n]) * 16) for n in range(5)]
    for clove in lone:
        inbox.on_event(arrival(clove, link=7), NOW)
    assert inbox.counts["dropped_link_full"] == 2 and len(inbox) == 3
    assert inbox.on_event(HandoverArrived(7, encode_handover(Handover.CANCEL, lone[0].token)), NOW) == [] and len(inbox) == 2
    inbox.on_event(arrival(lone[4], link=7), NOW)
    inbox.expire(NOW + DEFAULT.gathering_seconds)
    assert len(inbox) == 0 and inbox.counts["dropped_link_full"] == 2
    for clove in cloves(message_id=b"w" * 16):
        inbox.on_event(arrival(clove, link=7), NOW)
    assert inbox.counts["requests"] == 1, "what was opened does not count any more"


def test_a_late_clove_is_a_duplicate_when_its_way_is_there_already(inbox: Inbox) -> None:
    four = cloves()
    give(inbox, four)
    again = replace(four[2], token=b"z" * 16)
    assert inbox.on_event(arrival(again, link=8), NOW) == [SendHandover(8, encode_handover(Handover.REFUSED, b"z" * 16))]
    assert inbox.counts["dropped_duplicate_clove"] == 1


def test_a_request_needs_as_many_ways_back_as_cloves(inbox: Inbox) -> None:
    four = cloves()
    give(inbox, four[:2])
    inbox.on_event(LinkLost(0), NOW)
    assert give(inbox, [four[2]]) == [], "nobody could read the answer"
    assert give(inbox, [four[3]]) == [StartReply(1, b"a prompt")]


def test_the_table_is_bounded() -> None:
    inbox = Inbox(PRIVATE, limits=Limits(messages=2))
    for number in range(3):
        give(inbox, cloves(message_id=bytes([number]) * 16)[:1] if number == 0 else [])
        inbox.on_event(
            arrival(replace(cloves(message_id=bytes([number]) * 16)[0], token=bytes([99, number]) * 8), link=50), NOW
        )
    assert inbox.counts["dropped_inbox_full"] == 1


def test_who_fills_the_table_makes_room_for_others() -> None:
    inbox = Inbox(PRIVATE, limits=Limits(messages=6))
    lone = [replace(cloves(message_id=bytes([n]) * 16)[0], token=bytes([99, n]) * 8) for n in range(6)]
    for number, clove in enumerate(lone):
        inbox.on_event(arrival(clove, link=50 + number % 2), NOW)
    four = cloves()
    assert inbox.on_event(arrival(four[0]), NOW) == [SendHandover(50, encode_handover(Handover.REFUSED, lone[0].token))]
    assert give(inbox, four[1:3]) == [StartReply(1, b"a prompt")]
    assert inbox.counts["dropped_crowded_out"] == 1 and inbox.counts["dropped_inbox_full"] == 0


def test_messages_of_the_wrong_direction_are_dropped(inbox: Inbox) -> None:
    for kind in (Handover.REPLY, Handover.END, Handover.REFUSED):
        body = b"x" if kind is Handover.REPLY else b""
        assert inbox.on_event(HandoverArrived(1, encode_handover(kind, b"t" * 16, body)), NOW) == []
    assert inbox.counts == {"dropped_out_of_place": 3}
    with pytest.raises(LocalProtocolError):
        inbox.on_event(PathLost(1), NOW)
