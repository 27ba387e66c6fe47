"""The Sentry finds where prompts part, keeps no prompt, and what a group makes of many Sentries stays sane."""

from array import array
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.hrtree.fingerprint import ChunkPlan, Space
from network.hrtree.index import HRIndex
from network.hrtree.sentry import DEEPEST, ENOUGH, FRONTIER, GRID, MOST_COUNTERS, WINDOW, Sentry, merge, plan_for
from network.hrtree.terms import LONGEST, MAX_LENGTHS, SHORTEST, Proposal, is_sane, plan_of

PLAN = ChunkPlan()


def packed(tokens: list[int]) -> bytes:
    return array("I", tokens).tobytes()


def words(rng: Random, count: int) -> list[int]:
    return rng.choices(range(1, 50_000), k=count)


def feed(sentry: Sentry, prompts: list[list[int]], plan: ChunkPlan = PLAN) -> HRIndex:
    """Prompts through an index with this plan, as claims go through it."""
    index = HRIndex("c", "m", plan)
    for at, tokens in enumerate(prompts):
        raw = packed(tokens)
        held = index.match(raw).get(b"own")
        matched = held.tokens if held else 0
        sentry.observe(raw, matched, plan)
        index.tree(0).insert(index.path(raw), b"own", at)
    return index


def ends(proposal: Proposal, up_to: int = DEEPEST) -> list[int]:
    return list(plan_of(proposal, PLAN).ends(up_to))


def shared_preambles(lengths: tuple[int, ...], count: int, seed: int = 1) -> list[list[int]]:
    rng = Random(seed)
    preambles = [words(rng, length) for length in lengths]
    return [rng.choice(preambles) + words(rng, rng.randrange(40, 400)) for _ in range(count)]


def test_it_finds_three_shared_lengths_and_a_small_chunk_after_each() -> None:
    sentry = Sentry(bytes(32), PLAN)
    feed(sentry, shared_preambles((345, 1210, 2500), 600))
    found = ends(sentry.propose())
    for length in (345, 1210, 2500):
        boundary = length // GRID * GRID
        assert boundary in found
        assert boundary + GRID in found
    assert found[:2] == [64, 128]


def test_traffic_without_shared_lengths_keeps_the_default_plan() -> None:
    rng = Random(2)
    sentry = Sentry(bytes(32), PLAN)
    talks: list[list[int]] = [words(rng, 512)]
    prompts = []
    for _ in range(1100):
        talk = rng.choice(talks[-60:])
        grows = len(talk) < 2048 and rng.random() < 0.6
        talk = [*talk, *words(rng, 512)] if grows else words(rng, 512)
        talks.append(talk)
        prompts.append(talk)
    feed(sentry, prompts)
    found = sentry.propose()
    assert found.prompts == WINDOW
    assert plan_of(found, PLAN) == PLAN


def test_too_few_prompts_propose_nothing() -> None:
    sentry = Sentry(bytes(32), PLAN)
    feed(sentry, shared_preambles((345,), ENOUGH - 1))
    assert sentry.propose() == Proposal()
    assert Sentry(bytes(32), PLAN).propose() == Proposal()


def test_it_forgets_what_is_no_longer_asked() -> None:
    sentry = Sentry(bytes(32), PLAN)
    feed(sentry, shared_preambles((345,), 1024))
    feed(sentry, shared_preambles((700,), 4 * 1024, seed=3))
    found = ends(sentry.propose())
    assert 700 // GRID * GRID in found
    assert 345 // GRID * GRID not in found


def test_memory_is_bounded_and_holds_no_token() -> None:
    rng = Random(4)
    sentry = Sentry(rng.randbytes(32), PLAN)
    for _ in range(1500):
        sentry.observe(packed(words(rng, 300)), 0, PLAN)
    assert len(sentry) <= MOST_COUNTERS + FRONTIER
    assert len(sentry._final) <= DEEPEST // GRID
    assert all(len(point) == 16 for point in sentry._counts)


def test_another_key_counts_other_points() -> None:
    one, two = Sentry(bytes(32), PLAN), Sentry(bytes([1]) * 32, PLAN)
    for sentry in (one, two):
        sentry.observe(packed(list(range(320))), 0, PLAN)
    assert not set(one._counts) & set(two._counts)


def test_a_short_or_empty_prompt_is_no_trouble() -> None:
    sentry = Sentry(bytes(32), PLAN)
    for _ in range(ENOUGH):
        sentry.observe(b"", 0, PLAN)
        sentry.observe(b"abc", 0, PLAN)
        sentry.observe(packed([1, 2, 3]), 0, PLAN)
    assert is_sane(sentry.propose().lengths, sentry.propose().fixed)


def test_most_of_the_weight_decides() -> None:
    one, two = Proposal(500, (64, 64, 72, 16), 256), Proposal(500, (64, 64, 32, 16), 256)
    merged = plan_of(merge([(3, one), (1, two), (1, two)], PLAN), PLAN)
    assert list(merged.ends(240))[:4] == [64, 128, 200, 216]
    assert merge([(1, one), (1, two)], PLAN) == Proposal()
    assert merge([(5, Proposal(ENOUGH - 1, (64, 64, 72), 256))], PLAN) == Proposal()
    assert merge([], PLAN) == Proposal()


proposals = st.builds(
    Proposal,
    st.integers(0, 2**20),
    st.lists(st.integers(1, LONGEST), max_size=40).map(tuple),
    st.integers(0, LONGEST),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10**9), proposals), max_size=6))
def test_whatever_is_proposed_the_outcome_is_sane(votes: list[tuple[int, Proposal]]) -> None:
    merged = merge(votes, PLAN)
    assert is_sane(merged.lengths, merged.fixed)
    plan = plan_of(merged, PLAN)
    assert len(plan.ends(32_768)) <= 32_768 // SHORTEST
    Space("c", "m", 1, plan=plan).path(bytes(4 * 5000))


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 40_000), st.floats(0.01, 1000), max_size=40))
def test_whatever_is_seen_a_plan_is_sane_and_covers_the_whole_prompt(final: dict[int, float]) -> None:
    lengths, fixed = plan_for(final, sum(final.values()), PLAN)
    assert is_sane(lengths, fixed)
    assert not lengths or sum(lengths) == DEEPEST


@pytest.mark.parametrize(
    ("lengths", "fixed", "sane"),
    [
        ((), 0, True),
        ((64,), 64, True),
        ((64,), 0, False),
        ((), 8, False),
        ((LONGEST + 1,), 64, False),
        ((SHORTEST - 1,), 64, False),
        ((64,) * (MAX_LENGTHS + 1), 64, False),
    ],
)
def test_what_is_sane(lengths: tuple[int, ...], fixed: int, sane: bool) -> None:
    assert is_sane(lengths, fixed) is sane
