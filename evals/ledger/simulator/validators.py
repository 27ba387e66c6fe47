"""CometBFT's validator sets: whose turn it is to propose, and which updates of a set are legal.

Follows v0.38's `types/validator_set.go` step by step (priorities, rescaling, the handicap of a newcomer), so that the
simulator's proposers are the ones a real chain would have, and an update that would stop a real node stops the simulator.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from network.crypto import sha256
from network.ids import NODE_ID_LENGTH
from network.light_headers import Validator as SetEntry
from network.light_headers import validator_set_hash

MAX_TOTAL_POWER = (2**63 - 1) // 8
_WINDOW_FACTOR = 2


class IllegalUpdate(Exception):
    """A list of validator updates after which CometBFT would stop."""


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator: its Ed25519 key, power, and how long it has waited for its turn."""

    key: bytes
    power: int
    priority: int = 0

    @property
    def address(self) -> bytes:
        """CometBFT's address of the key."""
        return sha256(self.key)[:NODE_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """The validators of one height, and the proposer of its first round."""

    members: tuple[Validator, ...]
    proposer: bytes

    @property
    def total(self) -> int:
        """The power of all."""
        return sum(member.power for member in self.members)

    @property
    def hash(self) -> bytes:
        """What a header names this set by."""
        return validator_set_hash([SetEntry(member.key, member.power) for member in self.ordered()])

    def ordered(self) -> list[Validator]:
        """In the order of a commit's signatures: by power, then address."""
        return sorted(self.members, key=lambda member: (-member.power, member.address))

    def powers(self) -> dict[bytes, int]:
        """Power by address."""
        return {member.address: member.power for member in self.members}

    def rotated(self, times: int = 1) -> "ValidatorSet":
        """The set after this many turns: of a round, or of a height."""
        members = _centred(_rescaled(list(self.members), _WINDOW_FACTOR * self.total))
        proposer = self.proposer
        for _ in range(times):
            members = [replace(member, priority=member.priority + member.power) for member in members]
            turn = min(range(len(members)), key=lambda at: (-members[at].priority, members[at].address))
            members[turn] = replace(members[turn], priority=members[turn].priority - self.total)
            proposer = members[turn].address
        return ValidatorSet(tuple(members), proposer)

    def updated(self, changes: Iterable[tuple[bytes, int]]) -> "ValidatorSet":
        """The set with these (key, power) updates, before its next turn. Raises IllegalUpdate where CometBFT would stop."""
        held = {member.key: member for member in self.members}
        given: dict[bytes, int] = {}
        for key, power in changes:
            if key in given:
                raise IllegalUpdate(f"{key.hex()} is updated twice in one block")
            if not 0 <= power <= MAX_TOTAL_POWER:
                raise IllegalUpdate(f"power {power} of {key.hex()}")
            if power == 0 and key not in held:
                raise IllegalUpdate(f"{key.hex()} is removed but no validator")
            given[key] = power
        if not given:
            return self
        kept = {key: member for key, member in held.items() if given.get(key, 1)}
        powers = {key: member.power for key, member in kept.items()} | {key: power for key, power in given.items() if power}
        if not powers:
            raise IllegalUpdate("the set would be empty")
        if sum(powers.values()) > MAX_TOTAL_POWER:
            raise IllegalUpdate(f"the total power {sum(powers.values())} is more than {MAX_TOTAL_POWER}")
        # A newcomer starts behind everybody, measured before the removals, so that leaving and returning gains no turn.
        before_removals = sum(powers.values()) + sum(member.power for key, member in held.items() if key not in kept)
        handicap = -(before_removals + (before_removals >> 3))
        members = [Validator(key, power, held[key].priority if key in held else handicap) for key, power in powers.items()]
        total = sum(powers.values())
        members.sort(key=lambda member: member.address)
        members = sorted(
            _centred(_rescaled(members, _WINDOW_FACTOR * total)), key=lambda member: (-member.power, member.address)
        )
        return ValidatorSet(tuple(members), self.proposer)


def first_set(members: Iterable[tuple[bytes, int]]) -> ValidatorSet:
    """A genesis set, at its first turn."""
    return ValidatorSet((), b"").updated(members).rotated()


def _rescaled(members: list[Validator], most: int) -> list[Validator]:
    """Priorities at most `most` apart, divided as Go divides: towards zero."""
    if not members or most <= 0:
        return members
    spread = max(member.priority for member in members) - min(member.priority for member in members)
    if spread <= most:
        return members
    ratio = -(-spread // most)
    return [replace(member, priority=_towards_zero(member.priority, ratio)) for member in members]


def _centred(members: list[Validator]) -> list[Validator]:
    """Priorities around zero; the average is rounded down, as Go's big.Int.Div does with a positive divisor."""
    average = sum(member.priority for member in members) // len(members)
    return [replace(member, priority=member.priority - average) for member in members]


def _towards_zero(value: int, divisor: int) -> int:
    return -(-value // divisor) if value < 0 else value // divisor
