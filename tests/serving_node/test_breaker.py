"""When a peer gets nothing, when one prompt, and that no refusal of a bad request counts against it."""

from serving_node.breaker import FAILURES, FULL_S, OPEN_FIRST_S, OPEN_MOST_S, TRIAL_S, Breaker, Fault, State


def opened(fault: Fault = Fault.BROKEN) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(fault, 0.0)
    return breaker


def test_failures_in_a_row_open_it_and_one_trial_closes_it() -> None:
    breaker = opened()
    assert (breaker.state(0.0), breaker.admits(OPEN_FIRST_S - 0.1)) == (State.OPEN, False)
    assert (breaker.state(OPEN_FIRST_S), breaker.admits(OPEN_FIRST_S)) == (State.HALF_OPEN, True)
    breaker.sent(OPEN_FIRST_S)
    assert not breaker.admits(OPEN_FIRST_S + 1)
    breaker.answered()
    assert (breaker.state(OPEN_FIRST_S + 1), breaker.admits(OPEN_FIRST_S + 1)) == (State.CLOSED, True)


def test_failures_with_answers_between_open_nothing() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(Fault.BROKEN, 0.0)
        breaker.failed(Fault.UNREACHABLE, 0.0)
        breaker.answered()
    assert breaker.state(0.0) is State.CLOSED


def test_refusals_open_nothing_and_a_full_peer_rests_a_moment() -> None:
    breaker = opened(Fault.REFUSED)
    assert breaker.admits(0.0)
    breaker.failed(Fault.FULL, 0.0)
    assert (breaker.state(0.0), breaker.admits(0.0), breaker.admits(FULL_S)) == (State.CLOSED, False, True)


def test_a_failed_trial_doubles_the_pause_up_to_a_minute() -> None:
    breaker, now = opened(), 0.0
    for doubled in range(20):
        pause = min(OPEN_MOST_S, OPEN_FIRST_S * 2**doubled)
        assert not breaker.admits(now + pause - 0.1)
        now += pause
        assert breaker.admits(now)
        breaker.sent(now)
        breaker.failed(Fault.BROKEN, now)


def test_a_trial_that_never_came_back_is_forgotten() -> None:
    breaker = opened()
    breaker.sent(OPEN_FIRST_S)
    assert not breaker.admits(OPEN_FIRST_S + TRIAL_S - 0.1)
    assert breaker.admits(OPEN_FIRST_S + TRIAL_S)
