"""What a machine does with the bytes that pass it: nothing, when it is honest; anything, when it is not.

A behaviour stands between a machine's links and its core, so a malicious relay is a real relay with a hand in its wires:
it may alter, hold back, repeat, drop and forge what its core is told and what its core sends, and look at the core itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Later:
    """Let these bytes pass after so many seconds."""

    seconds: float
    raw: bytes


Passed = Sequence[bytes | Later]
Change = Callable[[int, bytes], Passed]  # (link, cell or message) -> what passes instead


class Behaviour:
    """The honest one. `machine` is set when a machine takes it on."""

    machine: Any = None

    def incoming(self, link: int, raw: bytes) -> Passed:
        """One cell or message arrived: what the core is told instead."""
        return (raw,)

    def outgoing(self, link: int, raw: bytes) -> Passed:
        """The core sends one cell or message: what is sent instead."""
        return (raw,)


class Altered(Behaviour):
    """A behaviour made of two functions."""

    def __init__(self, incoming: Change | None = None, outgoing: Change | None = None) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    def incoming(self, link: int, raw: bytes) -> Passed:
        """As the first function says."""
        return (raw,) if self._incoming is None else self._incoming(link, raw)

    def outgoing(self, link: int, raw: bytes) -> Passed:
        """As the second function says."""
        return (raw,) if self._outgoing is None else self._outgoing(link, raw)
