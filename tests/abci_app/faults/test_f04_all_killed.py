"""F4: application and CometBFT killed together, and every validator of the network at once."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest


def kill_all(validators: list[Any], until: Any) -> None:
    """SIGKILL to every process of every validator, supervisors first, so that nobody restarts anything."""
    pids = [pid for validator in validators for pid in validator.children().values()]
    for validator in validators:
        validator.stop(signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), lambda: f"some of {pids} live on")


def all_killed_under_load(
    chain: Any, rounds: int, until: Any, registration: Any, committed: Any, in_a_block: Any, same_everywhere: Any, measured: Any
) -> None:
    chain.start()
    chain.wait_height(2)
    kept: dict[bytes, Any] = {}
    for number in range(rounds):
        validator = chain.validators[number % len(chain.validators)]
        raws = [registration(100 * number + at) for at in range(5)]
        for raw in raws:
            validator.send(raw)
        kept |= {raw: committed(validator, raw)["events"] for raw in raws[:3]}
        kill_all(chain.validators, until)
        began = time.monotonic()
        chain.start()
        height = 0
        for member in chain.validators:
            until(lambda v=member: v.height() > 0, member.log)
            height = max(height, member.height())
        for member in chain.validators:
            until(lambda v=member, h=height: v.height() >= h + 2, member.log)
        measured("F4", nodes=len(chain.validators), round=number, recovered_s=round(time.monotonic() - began, 2))
        for raw, events in kept.items():
            assert in_a_block(validator, raw)["events"] == events, "a committed transaction is lost"
    same_everywhere(chain)


@pytest.fixture
def tools(
    until: Any, registration: Any, committed: Any, in_a_block: Any, same_everywhere: Any, measured: Any
) -> tuple[Any, ...]:
    return until, registration, committed, in_a_block, same_everywhere, measured


def test_f04_application_and_cometbft_killed_together(make_chain: Any, fast: Any, tools: tuple[Any, ...]) -> None:
    all_killed_under_load(make_chain(1, params=fast), 2, *tools)


@pytest.mark.slow
def test_f04_all_four_validators_killed(make_chain: Any, fast: Any, tools: tuple[Any, ...]) -> None:
    all_killed_under_load(make_chain(4, params=fast, interval_ms=200), 5, *tools)
