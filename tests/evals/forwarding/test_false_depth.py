"""How often chance is taken for a cache: the same on every run, and the rule that runs is the least wrong."""

import random

from evals.forwarding.false_depth import WIDE, Exact, chunks, figures, fresh, hashes
from network.hrtree.fingerprint import pack_tokens


def test_the_truth_is_per_holder_and_per_chunk() -> None:
    exact, tokens = Exact(), list(range(700))
    exact.hold(hashes(pack_tokens(tokens[:200])), 1)
    exact.hold(hashes(pack_tokens(tokens)), 2)
    assert exact.depths(hashes(pack_tokens(tokens[:300] + [1] * 300))) == [0, 3, 4, 0, 0, 0, 0, 0]


def test_two_symbols_a_chunk_at_first() -> None:
    assert [chunks(symbols) for symbols in range(2 * WIDE + 3)] == [0, 0, 1, 1, 2, 3, 4]


def test_prompts_that_share_nothing_are_hardly_credited() -> None:
    prompts = [fresh(random.Random(number), 400) for number in range(300)]
    values = {row.figure.id: row.figure.value for row in figures("unshared", iter(prompts))}
    assert values == {row.figure.id: row.figure.value for row in figures("unshared", iter(prompts))}
    assert values["unshared_parting_wrong"] < 1 < values["unshared_8_bits_wrong"]
    assert values["unshared_parting_lost_tokens"] == 0
