"""Prompts on their way: counted until their answer, a report that shows them, or too long a time."""

from serving_node.bookings import BOOKING_S, KEPT, OVERDUE_S, SETTLES_S, Bookings

NEVER = float("-inf")


def unseen(book: Bookings, node: bytes, reported_at: float, now: float, shown: int | None = None) -> int:
    return book.backlog(node, reported_at, 0.0, 0.01, now, shown)[1]


def test_a_booking_counts_until_a_report_can_show_it() -> None:
    book = Bookings()
    book.book(1, b"a", 100, 10.0)
    book.book(2, b"a", 50, 11.0)
    assert unseen(book, b"a", NEVER, 11.0) == 150
    assert unseen(book, b"a", 10.5 + SETTLES_S, 12.0) == 50
    assert unseen(book, b"b", NEVER, 12.0) == 0
    assert book.open(b"a") == 2


def test_answers_settle_the_prompt_they_answer() -> None:
    book = Bookings()
    book.book(1, b"a", 100, 0.0)
    book.book(2, b"a", 50, 0.0)
    book.settle(2)
    book.settle(2)
    book.settle(77)
    assert (unseen(book, b"a", NEVER, 0.0), book.open(b"a")) == (100, 1)
    book.forget(b"a")
    book.settle(1)
    assert (unseen(book, b"a", NEVER, 0.0), book.open(b"a")) == (0, 0)


def test_what_is_never_answered_expires_and_memory_is_bounded() -> None:
    book = Bookings()
    book.book(1, b"a", 100, 0.0)
    assert unseen(book, b"a", NEVER, BOOKING_S + 0.1) == 0
    for number in range(2, KEPT + 100):
        book.book(number, b"a", 1, 0.0)
    assert book.open(b"a") == KEPT


def test_a_report_that_hides_what_we_sent_there_is_not_believed() -> None:
    book = Bookings()
    for number, tokens in ((1, 100), (2, 50), (3, 25)):
        book.book(number, b"a", tokens, 0.0)
    # A report of a minute later shows three, two, none of the prompts that we still wait for.
    assert [unseen(book, b"a", 60.0, 60.0, shown) for shown in (3, 2, 0)] == [0, 25, 175]
    book.settle(2)
    assert unseen(book, b"a", 60.0, 60.0, 1) == 25
    assert unseen(book, b"a", 60.0, OVERDUE_S + 0.1, 0) == 0


def test_work_is_done_in_turn_while_time_passes() -> None:
    """A report of 2 s of work at 10 s; 1 s of work came at 11 s, and another at 15 s, when all before was done."""
    book = Bookings()
    book.book(1, b"a", 100, 11.0)
    assert book.backlog(b"a", 10.0, 2.0, 0.01, 11.0) == (2.0, 100)
    assert book.backlog(b"a", 10.0, 2.0, 0.01, 12.5) == (0.5, 100)
    book.book(2, b"a", 100, 15.0)
    assert book.backlog(b"a", 10.0, 2.0, 0.01, 15.25) == (0.75, 200)
    assert book.backlog(b"a", 10.0, 2.0, 0.01, 20.0) == (0.0, 200)
    assert book.backlog(b"b", 10.0, 2.0, 0.01, 11.5) == (0.5, 0)
    assert book.backlog(b"b", NEVER, 0.0, 0.01, 11.5) == (0.0, 0)
