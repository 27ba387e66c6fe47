"""What lying model nodes cost the users of honest ones; whether they are believed is in `test_attacks.py`."""

import pytest

from evals.forwarding.liars import LIES, Damage, Lie, measured, workload

PROMPTS = 160
BY_NAME = {lie.name: lie for lie in LIES}


def truthful(lie: Lie, prompts: int) -> Damage:
    """The same machines, whose owners say how it is."""
    return measured(Lie("", speed=lie.speed, cache_blocks=lie.cache_blocks), workload(prompts))


@pytest.mark.parametrize("name", ["hides-load", "inflates-speed"])
def test_a_lie_about_load_or_speed_is_found_out(name: str) -> None:
    """It draws its first prompts, whose answers must come back before anybody can know; then nothing."""
    lying, honest = measured(BY_NAME[name], workload(PROMPTS)), truthful(BY_NAME[name], PROMPTS)
    assert lying.later_s <= 1.25 * honest.later_s, (lying, honest)
    assert lying.mean_s <= 2.5 * honest.mean_s, (lying, honest)
    assert lying.honest_weight > 0.9
    assert lying.audited <= 0.02  # one in 256 in the mean, of 120 prompts


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES, ids=[lie.name for lie in LIES])
def test_what_a_lie_costs_is_bounded_and_the_liar_pays(lie: Lie) -> None:
    defended, bare, honest = measured(lie, workload(480)), measured(lie, workload(480), defended=False), truthful(lie, 480)
    print(f"\n{lie.name}: {defended.later_s:.3f} s; undefended {bare.later_s:.3f} s; truthful {honest.later_s:.3f} s")
    assert defended.later_s <= max(1.5 * honest.later_s, 0.7 * bare.later_s), (defended, bare, honest)
    assert defended.honest_weight > 0.9
    assert defended.honest_weight > defended.liars_weight
    assert defended.audited <= 0.02
