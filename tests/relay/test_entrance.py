"""Which set-ups are opened: effort follows load, links have a free allowance, replays and strangers are refused."""

import random
from typing import Any

import pytest

from network.cell import DestroyReason
from network.chain_records import DirectoryRecord
from network.crypto import exchange_public
from network.directory import Directory
from network.geometry import KEY, SOLUTION
from network.handshake import HopIdentity, OnionKey, RelayHandshake, UserHandshake
from network.puzzle import solve
from relay.entrance import Entrance, Refusal
from relay.limits import Limits

NOW = 1_800_000_000.0
NODE = b"n" * 20
DIRECTORY = Directory(DirectoryRecord("test", 1, 1), 1)
PRIVATE = bytes(range(KEY))
KEYS = OnionKey(PRIVATE, exchange_public(PRIVATE))
draw = random.Random(3).randbytes


def _entrance(**limits: Any) -> Entrance:
    return Entrance(NODE, [KEYS], lambda: DIRECTORY, draw, Limits(**limits))


def _set_up(bits: int = 0, now: float = NOW) -> bytes:
    user = UserHandshake([HopIdentity(NODE, KEYS.public)], DIRECTORY.name, draw)
    solutions = [solve(question, bits, 0, 10**6) or b"" for question in user.puzzles] if bits else ()
    return user.create(now, draw, solutions)


def _effort(entrance: Entrance, link: int, now: float) -> int:
    """What an unsolved set-up is told; 0 when it is opened."""
    found = entrance.open(link, _set_up(0, now), now)
    return found.effort if isinstance(found, Refusal) else 0


def test_a_link_has_a_free_allowance_that_refills() -> None:
    entrance = _entrance(creates_burst_per_link=3, creates_per_second_per_link=2, puzzle_bits=9)
    assert [_effort(entrance, 1, NOW) for _ in range(4)] == [0, 0, 0, 9]
    assert _effort(entrance, 2, NOW) == 0, "another link has its own"
    assert [_effort(entrance, 1, NOW + 1.0) for _ in range(3)] == [0, 0, 9]
    entrance.link_lost(1)
    assert _effort(entrance, 1, NOW + 1.0) == 0


def test_effort_follows_the_work_of_the_last_second() -> None:
    entrance = _entrance(creates_per_second=20, puzzle_bits=9, puzzle_most_bits=12)
    efforts = []
    for _ in range(40):
        found = entrance.open(1, _set_up(max(efforts, default=0)), NOW)
        efforts.append(found.effort if isinstance(found, Refusal) else 0)
    asked = [effort for effort in efforts if effort]
    assert efforts[:10] == [0] * 10 and sorted(set(asked)) == asked and (asked[0], asked[-1]) == (9, 12)
    assert _effort(entrance, 1, NOW + 1.1) == 0, "a second later all is forgotten"


def test_what_arrives_decides_whether_there_is_a_price_and_what_is_opened_how_high_it_is() -> None:
    entrance = _entrance(creates_per_second=100, creates_burst_per_link=1000, puzzle_bits=30, puzzle_most_bits=30)
    for _ in range(50):
        assert entrance.open(1, draw(1015), NOW) == Refusal("bad_create")
    for _ in range(500):
        assert entrance.open(1, draw(1015), NOW) == Refusal("unsolved_puzzle", DestroyReason.BUSY, 30)
    assert entrance.load(NOW) == 50
    assert entrance.open(1, draw(1015), NOW + 2) == Refusal("bad_create")


def test_unsolved_set_ups_do_not_count_as_work() -> None:
    entrance = _entrance(creates_per_second=10, puzzle_bits=16, creates_burst_per_link=1000)
    for _ in range(200):
        _effort(entrance, 1, NOW)
    assert isinstance(entrance.open(1, _set_up(17), NOW), RelayHandshake)


def test_with_ten_times_the_capacity_in_unsolved_set_ups_honest_ones_get_through() -> None:
    """Ten seconds at a capacity of 40 a second: 400 a second of garbage on links of their own, 5 honest ones."""
    entrance = _entrance(creates_per_second=40, puzzle_bits=8, puzzle_most_bits=12, creates_burst_per_link=10)
    honest = opened = 0
    for step in range(4_000):
        now = NOW + step / 400
        entrance.open(step % 200, draw(1015), now)
        if step % 80 == 0:
            honest, bits = honest + 1, 0
            for _ in range(4):
                found = entrance.open(1_000, _set_up(bits, now), now)
                if isinstance(found, RelayHandshake):
                    opened += 1
                    break
                assert found.reason is DestroyReason.BUSY
                bits = found.effort
    assert opened >= 0.95 * honest == 0.95 * 50
    assert entrance.load(now) <= 50


def test_a_wrong_solution_is_none() -> None:
    entrance = _entrance(creates_burst_per_link=1, creates_per_second_per_link=1, puzzle_bits=12)
    assert _effort(entrance, 1, NOW) == 0
    body = bytearray(_set_up(12))
    body[KEY : KEY + SOLUTION] = bytes(SOLUTION)
    assert entrance.open(1, bytes(body), NOW) == Refusal("unsolved_puzzle", DestroyReason.BUSY, 12)


def test_a_replay_costs_nothing_and_a_full_set_asks_for_work_before_it_refuses() -> None:
    entrance = _entrance(replay_keys=10, puzzle_bits=9, puzzle_most_bits=12, creates_burst_per_link=1000)
    body = _set_up()
    assert isinstance(entrance.open(1, body, NOW), RelayHandshake)
    assert entrance.open(1, body, NOW) == Refusal("replayed_create")
    for _ in range(9):
        assert isinstance(entrance.open(1, _set_up(13), NOW), RelayHandshake)
    assert _effort(entrance, 1, NOW) == 12
    assert entrance.open(1, _set_up(13), NOW) == Refusal("replay_set_full", DestroyReason.BUSY)


@pytest.mark.parametrize("body", [bytes(1015), b"\x05" * 1015])
def test_garbage_is_refused_and_never_remembered(body: bytes) -> None:
    entrance = _entrance()
    assert entrance.open(1, body, NOW) == entrance.open(1, body, NOW) == Refusal("bad_create")
