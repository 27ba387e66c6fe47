"""Replies: any k of n release every piece in order, a bad clove names its path, an end is an end."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.errors import CryptoError, DecodeError
from network.geometry import GEOMETRY
from network.inference import FrameKind, ReplyFrame
from network.reply import MAX_AHEAD, ReplyReader, ReplyWriter

SECRET, MESSAGE = b"s" * 32, b"m" * 16
ALL = range(GEOMETRY.n)


def _frames(*payloads: bytes) -> list[ReplyFrame]:
    return [ReplyFrame(number, FrameKind.DELTA, payload) for number, payload in enumerate(payloads)]


def _pair() -> tuple[ReplyWriter, ReplyReader]:
    return ReplyWriter(SECRET, MESSAGE), ReplyReader(SECRET, MESSAGE)


@given(st.lists(st.binary(max_size=9000), max_size=6), st.permutations(range(4)), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_frames_arrive_in_order_whatever_path_is_missing_or_late(payloads: list[bytes], order: list[int], seed: int) -> None:
    writer, reader = _pair()
    frames = _frames(*payloads)
    lanes: dict[int, list[bytes]] = {path: [] for path in ALL}
    for index, frame in enumerate(frames):
        for path, clove in writer.write([frame], end=index == len(frames) - 1, paths=ALL, arrived=15):
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
    cloves = dict(writer.write(_frames(b"hi"), end=False, paths=ALL, arrived=15))
    assert reader.add(0, cloves[0]) == [] and reader.add(2, cloves[2]) == []
    assert reader.add(3, cloves[3]) == _frames(b"hi")
    assert reader.add(1, cloves[1]) == []


def test_a_path_that_dies_in_mid_answer_costs_nothing() -> None:
    writer, reader = _pair()
    got: list[ReplyFrame] = []
    for number in range(20):
        paths = ALL if number < 7 else (0, 1, 3)
        for path, clove in writer.write([ReplyFrame(number, FrameKind.DELTA, b"x")], end=number == 19, paths=paths, arrived=15):
            got += reader.add(path, clove)
    assert [frame.sequence for frame in got] == list(range(20))
    assert reader.ended and reader.received == [20, 20, 7, 20]


@given(st.integers(0, GEOMETRY.reply_clove * 8 - 1), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_altered_clove_is_refused_and_the_others_suffice(bit: int, path: int) -> None:
    writer, reader = _pair()
    cloves = dict(writer.write(_frames(b"hello"), end=True, paths=ALL, arrived=15))
    changed = bytearray(cloves.pop(path))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CryptoError):
        reader.add(path, bytes(changed))
    assert [frame for other, clove in cloves.items() for frame in reader.add(other, clove)] == _frames(b"hello")


def test_replayed_swapped_and_foreign_cloves_are_refused() -> None:
    writer, reader = _pair()
    first = dict(writer.write(_frames(b"a"), end=False, paths=ALL, arrived=15))
    reader.add(0, first[0])
    for path, clove in ((0, first[0]), (1, first[2]), (1, b""), (1, bytes(GEOMETRY.reply_clove))):
        with pytest.raises(CryptoError):
            reader.add(path, clove)
    foreign = dict(ReplyWriter(b"z" * 32, MESSAGE).write(_frames(b"a"), end=False, paths=ALL, arrived=15))
    with pytest.raises(CryptoError):
        reader.add(1, foreign[1])


def test_a_path_cannot_run_ahead_without_bound() -> None:
    writer, reader = _pair()
    with pytest.raises(DecodeError):
        for number in range(MAX_AHEAD + 2):
            for path, clove in writer.write([ReplyFrame(number, FrameKind.DELTA, b"x")], end=False, paths=(0,), arrived=15):
                reader.add(path, clove)
