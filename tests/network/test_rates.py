"""Allowances refill with time and are bounded in number."""

from network.rates import Allowance, Allowances

NOW = 1_800_000_000.0


def test_a_burst_then_the_rate() -> None:
    allowance = Allowance(2.0, 3)
    assert [allowance.take(NOW) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(NOW + 0.5), allowance.take(NOW + 0.5)] == [True, False]
    assert not allowance.take(NOW - 100), "a clock that is set back gives nothing"
    assert [allowance.take(NOW + 1e6) for _ in range(4)] == [True, True, True, False]


def test_hosts_have_their_own_and_the_oldest_is_forgotten() -> None:
    allowances = Allowances(0.0, 1, hosts=2)
    assert allowances.take("a", NOW) and not allowances.take("a", NOW)
    assert allowances.take("b", NOW) and allowances.take("c", NOW)
    assert allowances.take("a", NOW), "it was pushed out by c"
