"""Running replies, at both ends of the real codec: one piece a tick, a hidden end, lost ways, fresh ones, and bounds."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.commands import CancelReply, SendHandover
from network.freshness import minute_of
from network.geometry import GEOMETRY
from network.handover import Handover, decode_handover
from network.inference import FrameKind, ReplyFrame
from network.modes import PACES, Mode
from network.reply import ReplyReader
from network.resume import ResumeNote, proof_of
from serving_node.limits import DEFAULT, Limits
from serving_node.replies import Replies
from serving_node.replying import OPENING_SHARE, Reply

NOW = 1_800_000_000.0
SECRET, MESSAGE = b"r" * 32, b"m" * 16
ACCEPTED = ReplyFrame(0, FrameKind.ACCEPTED)
FINAL = ReplyFrame(1, FrameKind.FINAL, b"end")
RESUME_SECONDS, MAX_ATTACHED = DEFAULT.resume_seconds, DEFAULT.ways_per_reply
TICK = PACES[Mode.DEFAULT].tick_s


def token_of(link: int) -> bytes:
    return bytes([link]) * 16


class Ends:
    """One reply at the model node, and the user who reads it. Clove i goes home over link i at first."""

    def __init__(self, mode: Mode = Mode.DEFAULT, links: Any = range(4), limits: Limits = DEFAULT) -> None:
        self.counts: Counter[str] = Counter()
        self.replies = Replies(self.counts, limits)
        self.reader = ReplyReader(SECRET, MESSAGE)
        self.index_of = {link: link for link in range(4)}
        self.frames: list[ReplyFrame] = []
        self.pieces: list[tuple[int, ...]] = []  # the links of every tick
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.deaf: set[int] = set()
        self.now = NOW
        for link in range(4):
            self.reader.attach(link, token_of(link))
        self.session, commands = self.replies.open(MESSAGE, MESSAGE, SECRET, mode, {i: (i, token_of(i)) for i in links}, NOW)
        assert commands == [], "the first piece waits for a fifth of a tick"
        self.run(OPENING_SHARE * PACES[mode].tick_s)

    def do(self, commands: list[Any]) -> None:
        links = []
        for command in commands:
            if isinstance(command, CancelReply):
                self.cancelled.append(command.session)
                continue
            assert isinstance(command, SendHandover)
            kind, token, body = decode_handover(command.raw)
            assert token == token_of(command.link)
            if kind is Handover.END:
                self.ended.append(command.link)
                continue
            assert kind is Handover.REPLY and len(body) == GEOMETRY.reply_clove
            links.append(command.link)
            if command.link not in self.deaf:
                self.frames += self.reader.add(self.index_of[command.link], body)
        if links:
            self.pieces.append(tuple(sorted(links)))

    def say(self, *frames: ReplyFrame, end: bool = False) -> None:
        self.do(self.replies.say(self.session, frames, end=end))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.replies.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.replies.expire(self.now))
        self.now = until

    def lose(self, *links: int) -> None:
        for link in links:
            self.do(self.replies.lose((link, token_of(link)), self.now))

    def resume(self, index: int, link: int, *, released: int | None = None, proof: bytes | None = None) -> bool:
        at = self.reader.released if released is None else released
        note = ResumeNote(index, minute_of(self.now), MESSAGE, token_of(link), at)
        commands = self.replies.resume(note, proof or proof_of(note, SECRET), (link, token_of(link)), self.now)
        if commands is None:
            return False
        self.reader.attach(index, token_of(link))
        self.index_of[link] = index
        self.do(commands)
        return True


def test_a_piece_leaves_with_every_tick_from_the_opening_on_text_or_not() -> None:
    ends = Ends()
    assert ends.pieces == [(0, 1, 2, 3)]
    ends.run(10 * TICK + TICK / 2)
    assert ends.pieces == [(0, 1, 2, 3)] * 11 and ends.frames == []
    ends.say(ACCEPTED)
    assert ends.frames == [], "nothing leaves between ticks"
    ends.run(TICK)
    assert ends.frames == [ACCEPTED] and ends.reader.released == 12


@pytest.mark.parametrize(("said_after", "bucket"), [(0, 8), (8.5, 16), (20, 32), (33, 64)])
def test_the_end_is_hidden_in_a_bucket(said_after: float, bucket: int) -> None:
    ends = Ends()
    ends.run(said_after * TICK)
    ends.say(ACCEPTED, FINAL, end=True)
    ends.run(1.5 * TICK)
    assert ends.frames == [ACCEPTED, FINAL], "the text does not wait for the bucket"
    ends.run(100 * TICK)
    assert len(ends.pieces) == bucket and ends.reader.ended and sorted(ends.ended) == [0, 1, 2, 3]
    ends.run(RESUME_SECONDS)
    assert len(ends.replies) == 0 and ends.replies.next_deadline() is None and ends.cancelled == []


def test_speedy_stops_at_its_end_and_sends_what_waits() -> None:
    ends = Ends(Mode.SPEEDY)
    ends.say(ACCEPTED, ReplyFrame(1, FrameKind.DELTA, bytes(10 * GEOMETRY.piece)), ReplyFrame(2, FrameKind.FINAL), end=True)
    ends.run(PACES[Mode.SPEEDY].tick_s)
    assert ends.reader.ended and ends.reader.released == 12 and len(ends.frames) == 3 and len(ends.ended) == 4


def test_the_other_modes_send_one_piece_a_tick_however_much_waits() -> None:
    ends = Ends(Mode.STRICT)
    ends.say(ReplyFrame(0, FrameKind.DELTA, bytes(10 * GEOMETRY.piece)))
    ends.run(5 * PACES[Mode.STRICT].tick_s + 0.01)
    assert ends.pieces == [(0, 1, 2, 3)] * 6


def test_a_late_tick_is_not_made_up_for() -> None:
    ends = Ends()
    ends.now = NOW + 5.03
    ends.do(ends.replies.expire(ends.now))
    assert ends.pieces == [(0, 1, 2, 3)] * 2
    assert ends.replies.next_deadline() == pytest.approx(NOW + 5.12)


def test_a_lost_way_costs_nothing_and_all_lost_cancel_at_once() -> None:
    ends = Ends()
    ends.lose(2)
    ends.say(ACCEPTED)
    ends.run(TICK)
    assert ends.frames == [ACCEPTED] and ends.pieces[-1] == (0, 1, 3)
    ends.lose(0, 1)
    assert ends.cancelled == []
    ends.lose(3)
    assert ends.cancelled == [ends.session] and len(ends.replies) == 0 and ends.counts["cancelled"] == 1


def test_with_fewer_than_k_ways_left_it_waits_for_fresh_ones_and_no_longer() -> None:
    ends = Ends()
    ends.lose(0, 1)
    ends.run(RESUME_SECONDS - 1)
    assert ends.cancelled == []
    ends.run(1)
    assert ends.cancelled == [ends.session] and sorted(ends.ended) == [2, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=6), st.sampled_from(Mode))
@settings(max_examples=60, deadline=None)
def test_a_reply_survives_any_losses_that_are_made_good_in_time(losses: list[tuple[int, int]], mode: Mode) -> None:
    ends = Ends(mode)
    ways = {index: index for index in range(4)}
    said = 0
    for number, (index, ticks) in enumerate(losses):
        other = (index + 1) % 4
        for gone in {index, other}:
            ends.lose(ways[gone])
        for _ in range(ticks):
            ends.say(ReplyFrame(said, FrameKind.DELTA, b"text %d" % said))
            said += 1
            ends.run(PACES[mode].tick_s)
        for offset, fresh in enumerate(sorted({index, other})):
            ways[fresh] = 10 + 2 * number + offset
            assert ends.resume(fresh, ways[fresh])
    ends.say(ReplyFrame(said, FrameKind.FINAL), end=True)
    ends.run(300.0)
    assert [frame.sequence for frame in ends.frames] == list(range(said + 1)) and ends.reader.ended
    assert ends.counts["cancelled"] == 0 and len(ends.replies) == 0


def test_a_fresh_way_brings_what_is_missing_even_after_the_end() -> None:
    ends = Ends()
    ends.deaf = {0, 1}
    ends.say(ACCEPTED, FINAL, end=True)
    ends.run(8 * TICK)
    assert ends.frames == [] and sorted(ends.ended) == [0, 1, 2, 3]
    assert ends.resume(1, 9)
    ends.run(3 * TICK)
    assert ends.frames == [ACCEPTED, FINAL] and ends.reader.ended and ends.ended[-1] == 9
    ends.run(RESUME_SECONDS)
    assert len(ends.replies) == 0


def test_a_way_that_still_stands_gives_way_to_the_fresh_one() -> None:
    ends = Ends()
    assert ends.resume(2, 7) and ends.ended == [2] and ends.counts["resumed"] == 1
    ends.run(TICK)
    assert ends.pieces[-1] == (0, 1, 3, 7)


def test_who_may_not_resume() -> None:
    ends = Ends()
    ends.run(3 * TICK)
    assert not ends.resume(2, 7, proof=b"x" * 16), "only who has the reply secret moves its ways"
    assert not ends.resume(2, 7, released=99), "nobody can have released more than was sent"
    assert ends.resume(2, 7)
    assert not ends.resume(2, 7), "a token is used once"
    note = ResumeNote(2, minute_of(NOW) - 60, MESSAGE, token_of(8), 0)
    assert ends.replies.resume(note, proof_of(note, SECRET), (8, token_of(8)), NOW) is None
    note = ResumeNote(2, minute_of(NOW), MESSAGE, token_of(8), 0)
    assert ends.replies.resume(note, proof_of(note, SECRET), (8, token_of(9)), NOW) is None
    unknown = ResumeNote(2, minute_of(NOW), b"u" * 16, token_of(8), 0)
    assert ends.replies.resume(unknown, proof_of(unknown, SECRET), (8, token_of(8)), NOW) is None
    for link in range(10, 10 + MAX_ATTACHED):
        ends.resume(2, link)
    assert ends.counts["resumed"] == MAX_ATTACHED - 4


def test_what_waits_and_what_is_kept_is_bounded() -> None:
    ends = Ends(limits=Limits(kept_bytes=5 * GEOMETRY.piece, waiting_bytes=30 * GEOMETRY.piece))
    ends.deaf = {2}
    ends.say(ReplyFrame(0, FrameKind.DELTA, bytes(20 * GEOMETRY.piece)))
    ends.run(12 * TICK)
    assert not ends.resume(2, 7, released=3), "those pieces are gone"
    ends.say(ReplyFrame(1, FrameKind.DELTA, bytes(25 * GEOMETRY.piece)))
    assert ends.cancelled == [ends.session] and ends.counts["dropped_reply_too_fast"] == 1


def test_the_nodes_own_end_of_a_cancelled_reply_is_nobodys() -> None:
    ends = Ends()
    ends.lose(0, 1, 2, 3)
    ends.say(FINAL, end=True)
    assert ends.pieces == [(0, 1, 2, 3)] and ends.replies.next_deadline() is None


def test_a_tick_that_is_not_due_sends_nothing() -> None:
    reply = Reply(SECRET, MESSAGE, Mode.DEFAULT, NOW)
    reply.attach(0, (0, token_of(0)))
    assert reply.tick(NOW) == [] and len(reply.tick(NOW + TICK / 4)) == 1 and reply.tick(NOW + TICK / 2) == []
