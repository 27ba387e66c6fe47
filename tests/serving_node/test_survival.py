"""How long claims last: the prior first, then what answers show; never more likely with age."""

from hypothesis import given
from hypothesis import strategies as st

from serving_node.survival import AGE_HALF_LIFE_S, Survival


def test_before_any_answer_age_halves() -> None:
    curve = Survival()
    assert curve.chance(0.0) == curve.chance(-1.0) == 1.0
    assert 0.4 < curve.chance(AGE_HALF_LIFE_S) < 0.6


def test_a_cache_that_turns_over_in_two_minutes_is_learned() -> None:
    curve = Survival()
    for at in range(200):
        age = float(at * 7 % 600)
        curve.saw(age, 1.0 if age < 120 else 0.0)
    assert curve.chance(10.0) > 0.9
    assert curve.chance(300.0) < 0.2
    assert curve.chance(20_000.0) < 0.2


def test_a_node_with_few_answers_is_like_the_others() -> None:
    everybody = Survival()
    for _ in range(100):
        everybody.saw(200.0, 0.0)
    alone = Survival(everybody)
    assert alone.chance(200.0) < 0.1
    for _ in range(100):
        alone.saw(200.0, 1.0)
    assert alone.chance(200.0) > 0.9


@given(st.lists(st.tuples(st.floats(-10, 1e7), st.floats(-1, 2)), max_size=60), st.lists(st.floats(0, 1e7), max_size=20))
def test_a_chance_is_a_chance_and_never_grows(answers: list[tuple[float, float]], ages: list[float]) -> None:
    curve = Survival(Survival())
    for age, share in answers:
        curve.saw(age, share)
    chances = [curve.chance(age) for age in sorted(ages)]
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances, reverse=True)
