"""The queue before the slots, as a transcript with a clock of its own."""

import pytest

from serving_node.admission import WAITING_PER_SLOT, Admission
from serving_node.failure import OVERLOADED, ServeError
from serving_node.generation import EngineSample


def test_first_come_first_served() -> None:
    book = Admission(slots=2)
    tickets = [book.admit(10, float(at), 1e9) for at in range(3)]
    assert book.start_next(5.0) == tickets[:2] and book.start_next(5.0) == []
    assert (book.running, book.waiting) == (2, 1)
    book.leave(tickets[0], 6.0, answered=True)
    assert book.start_next(6.0) == [tickets[2]]


def test_a_waiting_request_may_leave() -> None:
    book = Admission(slots=1)
    first, second, third = (book.admit(10, 0.0, 1e9) for _ in range(3))
    assert book.start_next(0.0) == [first]
    book.leave(second, 1.0, answered=False)
    book.leave(first, 1.0, answered=True)
    assert book.start_next(1.0) == [third]


def test_the_queue_is_bounded() -> None:
    book = Admission(slots=1)
    for _ in range(WAITING_PER_SLOT):
        book.admit(1, 0.0, 1e9)
    with pytest.raises(ServeError) as refused:
        book.admit(1, 0.0, 1e9)
    assert refused.value.code == OVERLOADED and refused.value.retry_after >= 1


def test_a_request_that_could_not_begin_in_time_is_refused_at_once() -> None:
    book = Admission(slots=1)
    first = book.admit(10, 0.0, 1e9)
    book.start_next(0.0)
    book.leave(first, 10.0, answered=True)  # an answer takes 10 s
    second = book.admit(10, 10.0, 1e9)
    book.start_next(10.0)
    with pytest.raises(ServeError) as refused:
        book.admit(10, 11.0, 15.0)
    assert refused.value.retry_after == 9
    book.admit(10, 11.0, 25.0)
    assert second.started_at == 10.0


def test_queued_tokens_are_those_the_engine_has_not_read() -> None:
    book = Admission(slots=1)
    first, _second = book.admit(100, 0.0, 1e9), book.admit(50, 0.0, 1e9)
    book.start_next(0.0)
    assert book.load(EngineSample(), 0).queued_tokens == 150
    book.prefilled(first, 80, 20)
    assert book.load(EngineSample(), 0).queued_tokens == 70
    book.first_text(first, 1.0)
    load = book.load(EngineSample(), 4096)
    assert (load.queued_tokens, load.running, load.waiting, load.slots, load.cache_tokens) == (50, 1, 1, 1, 4096)
    assert load.capacity_tokens_per_s == 80.0  # 100 less 20 cached, in one second


def test_an_engine_that_others_use_shows_in_its_own_figures() -> None:
    load = Admission(slots=4).load(EngineSample(running=3, waiting=2, prefill_tokens_per_s=500.0), 0)
    assert (load.running, load.waiting, load.capacity_tokens_per_s) == (3, 2, 500.0)


def test_what_is_believed_to_be_cached_makes_no_queue_until_the_engine_says_otherwise() -> None:
    book = Admission(1)
    first, second = book.admit(1000, 0.0, 99.0, 900), book.admit(50, 0.0, 99.0, 900)
    assert book.load(EngineSample(), 0).queued_tokens == 100
    book.start_next(0.0)
    book.prefilled(first, 200, 200)
    assert first.unprocessed_tokens == 800
    assert second.unprocessed_tokens == 0
