"""One index over several generations of fingerprint keys."""

from network.hrtree.fingerprint import ChunkPlan, Unit, pack_tokens
from network.hrtree.index import Held, HRIndex
from network.hrtree.tree import LEAST_BYTES

PROMPT = pack_tokens(list(range(40)))


def index() -> HRIndex:
    return HRIndex("chain", "m", ChunkPlan((), 4))


def hold(held: HRIndex, node: bytes, tokens: int, now: float, generation: int | None = None) -> None:
    number = held.generation if generation is None else generation
    held.tree(number).insert(held.space(number).path(PROMPT[: tokens * 4]), node, now)


def test_the_deepest_match_over_live_generations_counts() -> None:
    held = index()
    hold(held, b"a", 40, 1.0)
    held.advance(1)
    hold(held, b"a", 20, 2.0)
    hold(held, b"b", 8, 3.0, generation=2)
    assert held.match(PROMPT) == {b"a": Held(40, 1.0), b"b": Held(8, 3.0)}
    assert held.held(b"a") == 15
    assert held.holders() == {b"a", b"b"}
    held.check_integrity()


def test_a_generation_two_back_is_gone_and_time_never_runs_back() -> None:
    held = index()
    hold(held, b"a", 40, 1.0)
    held.advance(2)
    assert held.match(PROMPT) == {}
    held.advance(0)
    assert held.generation == 2
    assert [held.accepts(number) for number in range(5)] == [False, True, True, True, False]


def test_a_node_leaves_every_generation() -> None:
    held = index()
    hold(held, b"a", 40, 1.0)
    hold(held, b"a", 40, 1.0, generation=1)
    held.remove_node(b"a")
    assert (len(held), held.holders()) == (0, set())


def test_the_byte_cap_holds_over_all_generations() -> None:
    cap = 3 * LEAST_BYTES
    held = HRIndex("chain", "m", ChunkPlan((), 1), max_bytes=cap)
    for number in (0, 1):
        for start in range(400):
            prompt = pack_tokens(list(range(start, start + 17)))
            held.tree(number).insert(held.space(number).path(prompt), b"a", float(start))
    assert held.evicted() > 0
    assert held.most_bytes() <= cap
    held.check_integrity()


def test_a_match_does_not_end_where_many_prompts_part() -> None:
    """One symbol in 256 is alike by chance: below 200 beginnings an unseen prompt would mostly be credited with a chunk."""
    held = HRIndex("chain", "m", ChunkPlan((), 4))
    seen = [pack_tokens([number] * 8) for number in range(200)]
    for prompt in seen:
        held.tree(0).insert(held.path(prompt), b"a", 1.0)
    unseen = [pack_tokens([number] * 8) for number in range(1000, 1200)]
    assert sum(bool(held.match(prompt)) for prompt in unseen) <= 10
    assert all(held.match(prompt) == {b"a": Held(8, 1.0)} for prompt in seen)


def test_a_salted_prompt_is_held_for_its_salt_alone() -> None:
    held = index()
    held.tree(0).insert(held.path(PROMPT, b"tenant"), b"a", 1.0)
    assert held.match(PROMPT, b"tenant") == {b"a": Held(40, 1.0)}
    assert held.match(PROMPT).get(b"a", Held(0, 0.0)).tokens <= 4
    assert held.match(PROMPT, b"other").get(b"a", Held(0, 0.0)).tokens <= 4


def test_text_counts_four_bytes_a_token() -> None:
    held = HRIndex("chain", "m", ChunkPlan((), 4), unit=Unit.TEXT)
    prompt = "grüß dich, " * 20
    held.tree(0).insert(held.path(prompt.encode()), b"a", 1.0)
    assert held.match((prompt + "und weiter").encode()) == {b"a": Held(len(prompt.encode()) // 16 * 4, 1.0)}


def test_terms_of_a_generation_hold_until_a_later_one_has_its_own() -> None:
    held, coarse = index(), ChunkPlan((), 8)
    hold(held, b"a", 40, 1.0)
    before = held.space(0).id
    assert held.adopt(1, coarse, b"s" * 32) == (1,)
    assert held.space(0).id == before
    hold(held, b"a", 40, 1.0, generation=1)
    held.advance(1)
    assert (held.plan, held.space(2).plan, held.space(2).secret) == (coarse, coarse, b"s" * 32)
    assert held.match(PROMPT) == {b"a": Held(40, 1.0)}
    held.advance(9)
    assert (held.plan, held.space(9).secret) == (coarse, b"s" * 32)


def test_terms_that_change_symbols_drop_what_was_held_under_the_old_ones() -> None:
    held = index()
    hold(held, b"a", 40, 1.0)
    assert held.adopt(0, held.plan, b"") == ()
    assert held.match(PROMPT) == {b"a": Held(40, 1.0)}
    assert held.adopt(0, held.plan, b"s" * 32) == (0, 1)
    assert held.match(PROMPT) == {}
    hold(held, b"a", 40, 2.0)
    assert held.match(PROMPT) == {b"a": Held(40, 2.0)}
    assert held.adopt(7, ChunkPlan((), 1), b"") == ()
    assert held.space(0).secret == b"s" * 32
