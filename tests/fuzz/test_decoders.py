"""Every decoder under a thousand bent inputs. `python -m evals.fuzz --inputs N` (`make fuzz`) goes on for as long as wanted."""

import pytest

from evals.fuzz.__main__ import ROOMS
from evals.fuzz.codecs import message_classes
from evals.fuzz.engine import FuzzFailure, Target, fuzz
from network.chain_tx import BODIES


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__.split(".")[-1])
def test_decoders_refuse_in_their_own_words(room: object) -> None:
    for target in room.targets():  # type: ignore[attr-defined]
        report = fuzz(target, 1_000, seed=0)
        assert report.taken > 0, f"{target.name}: nothing was taken, so nothing behind the decoder was reached"


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__.split(".")[-1])
def test_nor_do_many_more_inputs_break_them(room: object) -> None:
    for target in room.targets():  # type: ignore[attr-defined]
        fuzz(target, 50_000, seed=1)


def test_every_transaction_body_has_a_fuzzer() -> None:
    assert set(BODIES.values()) <= set(message_classes())


def test_a_failure_carries_the_input_that_repeats_it() -> None:
    def run(raw: bytes) -> str:
        if b"\xff" in raw:
            raise KeyError("oops")
        return "taken"

    with pytest.raises(FuzzFailure) as caught:
        fuzz(Target("broken", "", [b"seed"], run), 10_000, seed=3)
    assert b"\xff" in caught.value.raw and "oops" in str(caught.value)
    again = pytest.raises(FuzzFailure)
    with again as second:
        fuzz(Target("broken", "", [b"seed"], run), 10_000, seed=3)
    assert second.value.raw == caught.value.raw
