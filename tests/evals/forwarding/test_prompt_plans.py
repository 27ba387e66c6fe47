"""Plans of the side by side: the same seed the same plan, and what each scenario says of itself."""

import json
from collections import Counter

import pytest

from evals.forwarding.fake_engine import EngineSpeed, FakeEngine, rendered
from evals.forwarding.load import Ask
from evals.forwarding.prompt_plans import SCENARIOS, plan


def prompts(asks: list[Ask]) -> list[bytes]:
    return [rendered(json.loads(ask.body)) for ask in asks]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_is_a_plan(name: str) -> None:
    scenario = SCENARIOS[name]
    seconds = 80 / scenario.rate
    first, again, other = (plan(scenario, seconds, 4, seed, "fake") for seed in (1, 1, 2))
    assert first == again and first != other
    assert [ask.due_s for ask in first] == sorted(ask.due_s for ask in first)
    assert {ask.entry for ask in first} == {0, 1, 2, 3}
    assert [ask.counted for ask in first] == [ask.due_s >= 0.4 * seconds for ask in first]
    assert 0.6 < len(first) / 80 < 1.4


def test_half_of_the_conflict_shares_one_system_prompt() -> None:
    begins = Counter(prompt[:400] for prompt in prompts(plan(SCENARIOS["conflict"], 10.0, 4, 1, "fake")))
    (_, most), (_, second) = begins.most_common(2)
    assert 0.4 < most / begins.total() < 0.6 and second < most / 2


def test_conversations_contain_all_turns_before() -> None:
    asked = prompts(plan(SCENARIOS["conversations"], 6.0, 4, 1, "fake"))
    engine = FakeEngine(EngineSpeed(blocks=1 << 20), lambda: 0.0)
    for prompt in asked:
        engine.read(prompt)
    assert engine.counts.cached_tokens > engine.counts.prompt_tokens / 2
    assert max(map(len, asked)) > 2 * min(map(len, asked))


def test_the_caches_hold_all_of_uniform_and_a_part_of_conflict() -> None:
    uniform, conflict = SCENARIOS["uniform"], SCENARIOS["conflict"]
    assert uniform.prefixes * uniform.prefix_tokens < 4 * uniform.cache_tokens
    assert conflict.prefixes * conflict.prefix_tokens > 0.9 * 4 * conflict.cache_tokens
