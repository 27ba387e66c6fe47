"""F17: queries without end, for much, for long ago, and by readers who do not read; consensus does not notice."""

import re
import socket
import threading
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from abci_app.abci.framing import frame
from abci_app.abci.pb import abci_pb2 as abci

PATHS = (
    "/store/main/key",
    "/nodes",
    "/nodes?limit=100000000",
    "/epochs?limit=1000",
    "/directory",
    "/epochs/99999999",
    "/" + "x" * 3000,
)


def mean_seconds(validator: Any, method: str, since: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """(sum, count) of the method's durations after those of `since`."""
    text = validator.metrics()
    found = []
    for part in ("sum", "count"):
        (value,) = re.findall(rf'^planetserve_abci_duration_seconds_{part}{{method="{method}"}} (\S+)$', text, re.MULTILINE)
        found.append(float(value))
    return found[0] - since[0], found[1] - since[1]


def blocks(validator: Any, number: int, until: Any, stamp: Any) -> tuple[float, float]:
    """Seconds per block, and per FinalizeBlock and Commit within it, over the next blocks."""
    before = [mean_seconds(validator, method) for method in ("finalize_block", "commit")]
    first = validator.height() + 1
    until(lambda: validator.height() >= first + number, validator.log)
    calls = [mean_seconds(validator, m, since) for m, since in zip(("finalize_block", "commit"), before, strict=True)]
    return (stamp(validator, first + number) - stamp(validator, first)) / number, sum(total / n for total, n in calls)


@pytest.mark.slow
def test_f17_a_flood_of_queries_does_not_reach_consensus(
    make_chain: Any,
    fast: Any,
    registration: Any,
    until: Any,
    committed: Any,
    stamp: Any,
    same_as_undisturbed: Any,
    measured: Any,
) -> None:
    validator = make_chain(1, params=fast, interval_ms=300).validators[0]
    validator.start()
    validator.wait_height(2)
    for number in range(20):
        committed(validator, registration(number))
    calm, calm_calls = blocks(validator, 15, until, stamp)
    stop, asked = threading.Event(), [0] * 6

    def ask(at: int) -> None:
        while not stop.is_set():
            asked[at] += 1
            with suppress(OSError, RuntimeError, ValueError):
                path = PATHS[(at + asked[at]) % len(PATHS)]
                height = str(asked[at] % 5)
                validator.call("abci_query", path=path, data=b"\x03params".hex(), height=height, prove=asked[at] % 2 == 0)

    threads = [threading.Thread(target=ask, args=(at,), daemon=True) for at in range(len(asked))]
    with ExitStack() as stack:
        for _ in range(4):  # they ask for hundreds of answers at once, and read none
            link = stack.enter_context(socket.socket(socket.AF_UNIX))
            link.connect(str(validator.home / "app.sock"))
            link.setblocking(False)
            request = abci.Request(query=abci.RequestQuery(path="/nodes"))
            with suppress(BlockingIOError):
                for _ in range(300):
                    link.sendall(frame(request.SerializeToString()) * 100)
        for thread in threads:
            thread.start()
        flooded, flooded_calls = blocks(validator, 15, until, stamp)
        stop.set()
        for thread in threads:
            thread.join()
    measured(
        "F17",
        queries_per_s=round(sum(asked) / (15 * flooded)),
        block_calm_s=round(calm, 3),
        block_flooded_s=round(flooded, 3),
        calls_calm_ms=round(1000 * calm_calls, 2),
        calls_flooded_ms=round(1000 * flooded_calls, 2),
    )
    assert flooded <= 2 * calm
    assert validator.status()["ready"]
    same_as_undisturbed(validator)
