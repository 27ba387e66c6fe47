"""Where a request's time went: parts add up, what was never reached is not a number, and nothing else is kept."""

from network.request_times import Marks, times_of


def test_parts_of_a_request_add_up() -> None:
    marks = Marks(began=100.0, sent=100.02, accepted=100.1, first_text=100.25, finished=101.0, pieces=9, resumed=1)
    times = times_of(4, "default", "ok", 2, 0.5, 0.0012, marks)
    assert (times.circuits_ms, times.sealing_ms, times.attempts, times.pieces, times.resumed) == (500.0, 1.2, 2, 9, 1)
    parts = (times.jitter_ms, times.to_acceptance_ms, times.to_first_text_ms, times.streaming_ms)
    assert parts == (20.0, 80.0, 150.0, 750.0)


def test_what_was_not_reached_is_none_and_no_moment_is_told() -> None:
    for marks in (None, Marks(began=1_800_000_000.0, sent=1_800_000_000.5)):
        row = times_of(1, "strict", "no_circuits", 3, 10.0, 0.0, marks).row()
        assert row["to_acceptance_ms"] is row["to_first_text_ms"] is row["streaming_ms"] is None
        assert all(not isinstance(value, float) or value < 1e6 for value in row.values())
