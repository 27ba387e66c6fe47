"""Counts every circuit once for having stood until it was needed, and once for how its use ended; says what that comes to."""

import logging
from collections.abc import Callable, Iterable, Sequence

from network.aio.circuits import OpenCircuit
from network.path_chooser import Finding, Path, PathChooser
from network.path_scores import Level

log = logging.getLogger(__name__)


class CircuitOutcomes:
    """The circuits that have not been counted to their end. Relays are named in this log and nowhere else."""

    def __init__(self, chooser: PathChooser, clock: Callable[[], float]) -> None:
        self._chooser = chooser
        self._clock = clock
        self._in_use: dict[OpenCircuit, bool] = {}

    def __len__(self) -> int:
        """How many circuits are held."""
        return len(self._in_use)

    def built(self, circuit: OpenCircuit) -> None:
        """It stands, and nobody uses it yet."""
        self._in_use[circuit] = False

    def not_built(self, path: Path, seconds: float) -> None:
        """It could not be set up although the link to its guard stands."""
        _say(self._chooser.not_built(path, seconds, self._clock()))

    def used(self, circuits: Iterable[OpenCircuit | None]) -> None:
        """These stood until they were needed, or to the end of their time; from now on their use counts."""
        for circuit in circuits:
            if circuit is not None and self._in_use.get(circuit) is False:
                self._in_use[circuit] = True
                _say(self._chooser.stood(circuit.relays))

    def worked(self, circuits: Iterable[OpenCircuit | None]) -> None:
        """The session over these ended well."""
        for circuit in circuits:
            if circuit is not None and circuit.is_open and self._in_use.pop(circuit, False):
                _say(self._chooser.ended_well(circuit.relays))

    def blamed(self, circuit: OpenCircuit, reason: str) -> None:
        """A session found that the relays of this one misbehave."""
        if self._in_use.pop(circuit, False):
            log.info("a path misbehaved and its relays are avoided for a while: %s", reason)
            _say(self._chooser.blamed(circuit.relays, self._clock()))

    def lost(self, circuit: OpenCircuit, *, linked: bool) -> None:
        """It ended and it was not us; `linked`: the link to its guard still stands."""
        used = self._in_use.pop(circuit, None)
        if used is not None:
            _say(self._chooser.lost(circuit.relays, self._clock(), linked=linked, used=used))

    def ended(self, circuits: Iterable[OpenCircuit | None]) -> None:
        """We end these, which says nothing about their relays."""
        for circuit in circuits:
            if circuit is not None:
                self._in_use.pop(circuit, None)


def _say(findings: Sequence[Finding]) -> None:
    for finding in findings:
        level = logging.WARNING if finding.level > Level.NOTICE else logging.INFO
        what = "guard" if finding.is_guard else "relay"
        when = f"while {finding.stage.value} ({finding.level.name.lower()})"
        log.log(level, "%s %s loses more circuits than chance explains %s", what, finding.relay.name, when)
