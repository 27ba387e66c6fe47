"""Puzzles: what is found solves, for that question only, and a vector."""

from hypothesis import given, settings
from hypothesis import strategies as st

from network.puzzle import is_solved, puzzle, solve

QUESTION = puzzle(b"d" * 16, b"o" * 32, b"e" * 32)


def test_vector() -> None:
    assert QUESTION == b"planetserve/puzzle/1" + b"d" * 16 + b"o" * 32 + b"e" * 32
    solution = solve(QUESTION, 12, 0, 100_000)
    assert solution is not None and solution.hex() == "0000000000000405"


@given(st.integers(0, 8), st.binary(min_size=32, max_size=32))
@settings(max_examples=30, deadline=None)
def test_what_is_found_solves(bits: int, ephemeral: bytes) -> None:
    question = puzzle(b"d" * 16, b"o" * 32, ephemeral)
    solution = solve(question, bits, 2**64 - 5, 100_000)
    assert solution is not None and all(is_solved(question, solution, fewer) for fewer in range(bits + 1))


def test_a_solution_belongs_to_one_question() -> None:
    solution = solve(QUESTION, 16, 0, 10_000_000)
    assert solution is not None
    others = [puzzle(bytes([number]) * 16, b"o" * 32, b"e" * 32) for number in range(20)]
    assert not any(is_solved(other, solution, 16) for other in others)


def test_nothing_asked_is_solved_by_anything_and_too_few_tries_find_nothing() -> None:
    assert is_solved(QUESTION, bytes(8), 0)
    assert solve(QUESTION, 60, 0, 10) is None
