"""Replies: any k of n release every piece in order, a bad clove names its path, an end is an end."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import CryptoError, DecodeError
from network.geometry import GEOMETRY
from network.inference import FrameKind, ReplyFrame
from network.reply import MAX_AHEAD, ReplyReader, ReplyWriter, stream_of, way_key

SECRET, MESSAGE = b"s" * 32, b"m" * 16
ALL = range(GEOMETRY.n)


def _frames(*payloads: bytes) -> list[ReplyFrame]:
    return [ReplyFrame(number, FrameKind.DELTA, payload) for number, payload in enumerate(payloads)]


class Writer:
    """A reply writer whose pieces are filled from frames, four ways attached."""

    def __init__(self, secret: bytes = SECRET) -> None:
        self.core = ReplyWriter(secret, MESSAGE)
        self.sequence = 0
        for path in ALL:
            self.core.attach(path, bytes([path]) * 16)

    def write(self, frames: list[ReplyFrame], *, end: bool, paths: Iterable[int] = ALL) -> list[tuple[int, bytes]]:
        stream, out = stream_of(frames), []
        for at in range(0, max(1, len(stream)), GEOMETRY.piece):
            part = stream[at : at + GEOMETRY.piece]
            last = end and at + GEOMETRY.piece >= len(stream)
            out += self.core.write(self.sequence, part, end=last, arrived=15, indices=paths)
            self.sequence += 1
        return out


def _pair() -> tuple[Writer, ReplyReader]:
    reader = ReplyReader(SECRET, MESSAGE)
    for path in ALL:
        reader.attach(path, bytes([path]) * 16)
    return Writer(), reader


@given(st.lists(st.binary(max_size=9000), max_size=6), st.permutations(range(4)), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_frames_arrive_in_order_whatever_path_is_missing_or_late(payloads: list[bytes], order: list[int], seed: int) -> None:
    writer, reader = _pair()
    frames = _frames(*payloads)
    lanes: dict[int, list[bytes]] = {path: [] for path in ALL}
    for index, frame in enumerate(frames):
        for path, clove in writer.write([frame], end=index == len(frames) - 1, paths=ALL):
            assert len(clove) == GEOMETRY.reply_clove
            lanes[path].append(clove)
    missing = order[0]
    got: list[ReplyFrame] = []
    choose = random.Random(seed)
    alive = [path for path in ALL if path != missing]
    while any(lanes[path] for path in alive):
        path = choose.choice([p for p in alive if lanes[p]])
        got += reader.add(path, lanes[path].pop(0))
    assert got == frames
    assert reader.ended == bool(frames)


def test_two_paths_release_nothing() -> None:
    writer, reader = _pair()
    cloves = dict(writer.write(_frames(b"hi"), end=False, paths=ALL))
    assert reader.add(0, cloves[0]) == [] and reader.add(2, cloves[2]) == []
    assert reader.add(3, cloves[3]) == _frames(b"hi")
    assert reader.add(1, cloves[1]) == []


def test_a_path_that_dies_in_mid_answer_costs_nothing() -> None:
    writer, reader = _pair()
    got: list[ReplyFrame] = []
    for number in range(20):
        paths = ALL if number < 7 else (0, 1, 3)
        for path, clove in writer.write([ReplyFrame(number, FrameKind.DELTA, b"x")], end=number == 19, paths=paths):
            got += reader.add(path, clove)
    assert [frame.sequence for frame in got] == list(range(20))
    assert reader.ended and reader.received == [20, 20, 7, 20]


@given(st.integers(0, GEOMETRY.reply_clove * 8 - 1), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_altered_clove_is_refused_and_the_others_suffice(bit: int, path: int) -> None:
    writer, reader = _pair()
    cloves = dict(writer.write(_frames(b"hello"), end=True, paths=ALL))
    changed = bytearray(cloves.pop(path))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CryptoError):
        reader.add(path, bytes(changed))
    assert [frame for other, clove in cloves.items() for frame in reader.add(other, clove)] == _frames(b"hello")


def test_replayed_swapped_and_foreign_cloves_are_refused() -> None:
    writer, reader = _pair()
    first = dict(writer.write(_frames(b"a"), end=False, paths=ALL))
    reader.add(0, first[0])
    for path, clove in ((0, first[0]), (1, first[2]), (1, b""), (1, bytes(GEOMETRY.reply_clove))):
        with pytest.raises(CryptoError):
            reader.add(path, clove)
    foreign = dict(Writer(b"z" * 32).write(_frames(b"a"), end=False, paths=ALL))
    with pytest.raises(CryptoError):
        reader.add(1, foreign[1])


def test_a_path_cannot_run_ahead_without_bound() -> None:
    writer, reader = _pair()
    with pytest.raises(DecodeError):
        for number in range(MAX_AHEAD + 2):
            for path, clove in writer.write([ReplyFrame(number, FrameKind.DELTA, b"x")], end=False, paths=(0,)):
                reader.add(path, clove)


def test_every_way_has_a_key_of_its_own_and_starts_afresh() -> None:
    keys = {way_key(SECRET, MESSAGE, index, token * 16) for index in ALL for token in (b"a", b"b")}
    assert len(keys) == 8
    writer, reader = _pair()
    for path, clove in writer.write(_frames(b"a"), end=False, paths=(0, 1)):
        assert reader.add(path, clove) == []
    writer.core.attach(3, b"fresh" + bytes(11))
    (old,) = writer.core.write(0, stream_of(_frames(b"a")), end=False, arrived=15, indices=(3,))
    with pytest.raises(CryptoError):
        reader.add(3, old[1])
    reader.attach(3, b"fresh" + bytes(11))
    assert reader.received[3] == 0
    assert reader.add(3, old[1]) == _frames(b"a"), "a piece that was kept is worth as much as a new one"
    with pytest.raises(CryptoError):
        ReplyReader(SECRET, MESSAGE).add(0, old[1])


def test_cloves_that_arrive_later_are_seen_as_arrived() -> None:
    writer, reader = _pair()
    for path, clove in writer.core.write(0, b"", end=False, arrived=0b0111, indices=(0, 1, 2)):
        reader.add(path, clove)
    assert reader.arrived == 0b0111 and reader.released == 1
    for path, clove in writer.core.write(1, b"", end=False, arrived=0b1111, indices=(0,)):
        reader.add(path, clove)
    assert reader.arrived == 0b1111 and reader.released == 1
