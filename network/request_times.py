"""Where one request's time went, in numbers only: no text, no node, no moment of the day. It stays on the user's machine."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Marks:
    """Moments of one session, as its clock tells them; 0 while something has not happened."""

    began: float
    sent: float = 0.0  # enough cloves had left
    accepted: float = 0.0  # the first piece of the reply was there
    first_text: float = 0.0
    finished: float = 0.0
    pieces: int = 0
    resumed: int = 0
    left: int = 0  # cloves that have left


@dataclass(frozen=True, slots=True)
class RequestTimes:
    """One request, in milliseconds. A part that was never reached is None."""

    number: int
    mode: str
    outcome: str
    attempts: int
    circuits_ms: float
    sealing_ms: float
    jitter_ms: float | None
    to_acceptance_ms: float | None
    to_first_text_ms: float | None
    streaming_ms: float | None
    pieces: int
    resumed: int

    def row(self) -> dict[str, object]:
        """As JSON shows it."""
        return asdict(self)


def times_of(
    number: int, mode: str, outcome: str, attempts: int, circuits_s: float, sealing_s: float, marks: Marks | None
) -> RequestTimes:
    """The parts of one request's time; `marks` are those of its last attempt, None if there was none."""
    seen = marks or Marks(0.0)
    return RequestTimes(
        number,
        mode,
        outcome,
        attempts,
        round(circuits_s * 1e3, 1),
        round(sealing_s * 1e3, 1),
        _between(seen.began, seen.sent),
        _between(seen.sent, seen.accepted),
        _between(seen.accepted, seen.first_text),
        _between(seen.first_text, seen.finished),
        seen.pieces,
        seen.resumed,
    )


def _between(start: float, end: float) -> float | None:
    return round((end - start) * 1e3, 1) if start and end else None
