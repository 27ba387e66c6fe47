"""The dictionary attack: a member confirms unsalted prompts, nobody else does better than a guess."""

from random import Random

from evals.forwarding.dictionary import candidates, chance_agreement, depth, main, named, success


def test_only_a_member_that_knows_the_salt_confirms() -> None:
    shares = success(Random(1), 40, 20)
    assert shares.pop("member") == 1.0
    assert len(shares) == 5
    assert max(shares.values()) < 0.25


def test_a_symbol_agrees_by_chance_once_in_256() -> None:
    one, two = chance_agreement(Random(2), 4000)
    assert 1 / 512 < one < 1 / 128
    assert two < 1 / 1000


def test_the_deepest_match_is_named_and_equals_at_random() -> None:
    rng = Random(3)
    assert depth(b"abcd", b"abxd") == 2
    assert named(rng, b"abc", [b"abx", b"abc", b"xbc"]) == 1
    assert {named(rng, b"abc", [b"xyz", b"uvw"]) for _ in range(50)} == {0, 1}
    assert len({len(packed) for packed in candidates(rng, 5)}) == 1


def test_it_says_what_is_wrong_with_a_trace() -> None:
    assert main(["--trials", "1", "--size", "2", "--candidates", "5", "--trace", "/nowhere"]) == 2
