"""F5: a validator, or one of its processes, stands still for a while and goes on."""

import os
import signal
import time
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("what", "seconds"), [("validator", 10), ("validator", 60), ("app", 20), ("comet", 20)])
def test_f05_a_paused_validator_catches_up(
    make_chain: Any,
    fast: Any,
    until: Any,
    registration: Any,
    committed: Any,
    in_a_block: Any,
    same_everywhere: Any,
    measured: Any,
    what: str,
    seconds: int,
) -> None:
    chain = make_chain(4, params=fast, interval_ms=200)
    chain.start()
    chain.wait_height(3)
    paused, other = chain.validators[3], chain.validators[0]
    children = paused.children()

    def signal_it(number: int) -> None:
        if what == "validator":
            os.killpg(paused.process.pid, number)
        else:
            os.kill(children[what], number)

    signal_it(signal.SIGSTOP)
    height = other.height()
    time.sleep(seconds)
    progress = other.height() - height
    assert progress >= seconds / 5, "three of four go on"
    raw = registration(1)
    assert committed(other, raw).get("code", 0) == 0
    signal_it(signal.SIGCONT)
    height = other.height()
    caught_up = until(lambda: paused.height() >= height, paused.log)
    measured("F5", what=what, paused_s=seconds, blocks_meanwhile=progress, caught_up_s=round(caught_up, 2))
    assert in_a_block(paused, raw).get("code", 0) == 0
    same_everywhere(chain)
    assert paused.children() == children, "nothing died of standing still"


def test_f05_a_paused_application_goes_on(make_chain: Any, fast: Any, until: Any, same_everywhere: Any, measured: Any) -> None:
    """A chain of one: nothing happens while its application stands still, and nothing dies."""
    chain = make_chain(1, params=fast)
    chain.start()
    chain.wait_height(2)
    validator = chain.validators[0]
    children = validator.children()
    os.kill(children["app"], signal.SIGSTOP)
    time.sleep(4)
    os.kill(children["app"], signal.SIGCONT)
    height = validator.height()
    seconds = until(lambda: validator.height() >= height + 2, validator.log)
    measured("F5", what="app of one", paused_s=4, recovered_s=round(seconds, 2))
    assert validator.children() == children
    same_everywhere(chain)
