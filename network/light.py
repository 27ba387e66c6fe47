"""A light client of CometBFT v0.38: may this block be trusted, given one that already is?

Skipping verification: a later header counts when validators with more than 1/3 of the trusted power and more than 2/3 of
its own set's power signed it; where the sets have drifted too far apart, blocks between are asked for (`skip`). Trust
expires, heights and times only rise (`docs/light-client.md` section 1). The clock is an argument.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from network.crypto import sha256, verify
from network.light_headers import (
    FLAG_COMMIT,
    Header,
    LightBlock,
    SignedHeader,
    Timestamp,
    Validator,
    ValidatorSet,
    header_hash,
    precommit_bytes,
)
from network.proof import ProofRejected

CLOCK_DRIFT = 10.0


class TrustExpired(ProofRejected):
    """The trusted block is older than the trusting period: those who signed it may have left, and nobody vouches for them."""


class NotEnoughTrust(ProofRejected):
    """The trusted set's signatures under a later header do not exceed 1/3 of its power; a block between may help."""


class ForkDetected(ProofRejected):
    """Two conflicting headers that both verify: more than 1/3 of the committee signed a lie. Nothing may be believed."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """What later blocks are checked against: a height, its time, and the validators whose word counts from there."""

    height: int
    time: Timestamp
    validators: ValidatorSet
    next_validators_hash: bytes


class GenesisTrust:
    """The trust root in a genesis file: chain id, first height, time, and the first validator set."""

    __slots__ = ("chain_id", "initial_height", "time", "validator_set")

    def __init__(self, chain_id: str, initial_height: int, validators: Iterable[Validator], time: Timestamp) -> None:
        """Raises ValueError when the validators cannot be a set."""
        self.chain_id = chain_id
        self.initial_height = max(1, initial_height)
        self.validator_set = ValidatorSet(validators)
        self.time = time

    @property
    def validators(self) -> tuple[Validator, ...]:
        """The first validators, in CometBFT's order."""
        return self.validator_set.validators

    @property
    def trusted(self) -> Trusted:
        """The state before the first block, whose time is the genesis file's own."""
        before = Timestamp(self.time.seconds - 1, self.time.nanos)
        return Trusted(self.initial_height - 1, before, self.validator_set, self.validator_set.hash)

    @property
    def digest(self) -> bytes:
        """What a memory of this chain is marked with, so that it is never used for another."""
        named = f"{self.chain_id}\0{self.initial_height}\0{self.time.seconds}.{self.time.nanos}"
        return sha256(named.encode(), self.validator_set.hash)


def trusted(block: LightBlock) -> Trusted:
    """A block that has been verified, as what later ones are checked against."""
    header = block.header
    return Trusted(header.height, header.time, block.validators, header.next_validators_hash)


def seconds(time: Timestamp) -> float:
    """A header's time as seconds since 1970."""
    return time.seconds + time.nanos / 1e9


def check_block(chain_id: str, block: LightBlock) -> None:
    """Whether a block is whole: of this chain, its hash and set its own, and more than 2/3 of that set signed it.

    That makes it no more trustworthy than its set. Raises ProofRejected.
    """
    _check_form(chain_id, block)
    _Votes(chain_id, block.signed).check_two_thirds(block.validators)


def check_step(chain_id: str, base: Trusted, block: LightBlock, *, now: float, trusting_period: float) -> None:
    """Whether `block` may be trusted because `base` is. Raises ProofRejected, TrustExpired or NotEnoughTrust."""
    header = block.header
    if seconds(base.time) + trusting_period <= now:
        days = (now - seconds(base.time)) / 86400
        raise TrustExpired(
            f"the trusted block at height {base.height} is {days:.1f} days old, more than the trusting period of "
            f"{trusting_period / 86400:.1f} days: take a newer block's height and hash from a source you trust and set "
            "node.trust_height and node.trust_hash (commands: --trust HEIGHT:HASH)"
        )
    _check_form(chain_id, block)
    if header.height <= base.height:
        raise ProofRejected(f"the header's height {header.height} is not above the trusted {base.height}")
    if header.time <= base.time:
        raise ProofRejected(f"the header at height {header.height} is not later than the trusted one at {base.height}")
    if seconds(header.time) >= now + CLOCK_DRIFT:
        ahead = seconds(header.time) - now
        raise ProofRejected(f"the header is {ahead:.0f} s in the future: this machine's clock is wrong, or the header forged")
    votes = _Votes(chain_id, block.signed)
    if header.height == base.height + 1:
        if header.validators_hash != base.next_validators_hash:
            raise ProofRejected(f"the header at height {header.height} names another validator set than the one before it")
    else:
        votes.check_one_third(base.validators)
    votes.check_two_thirds(block.validators)


def skip(
    chain_id: str, base: Trusted, target: LightBlock, *, now: float, trusting_period: float
) -> Generator[int, LightBlock, list[LightBlock]]:
    """Verify `target` from `base`; yields the heights of the blocks it needs between, and returns all that it verified.

    Raises what `check_step` raises; never NotEnoughTrust, because neighbours name each other's sets.
    """
    waiting, at, verified = [target], 0, list[LightBlock]()
    while waiting:
        try:
            check_step(chain_id, base, waiting[at], now=now, trusting_period=trusting_period)
        except NotEnoughTrust:
            at += 1
            if at == len(waiting):
                pivot = (base.height + waiting[-1].height) // 2
                block = yield pivot
                if block.height != pivot:
                    raise ProofRejected(f"asked for the block at height {pivot}, got {block.height}") from None
                waiting.append(block)
            continue
        verified.append(waiting[at])
        base = trusted(waiting[at])
        waiting, at = waiting[:at], 0  # the farthest block may be within reach now
    return verified


def check_age(header: Header, *, now: float, max_age: float) -> None:
    """Whether a header is recent enough to be called the present. Raises ProofRejected."""
    age = now - seconds(header.time)
    if age > max_age:
        raise ProofRejected(
            f"the header is {age:.0f} s old, more than {max_age:.0f} s: the node asked is behind, the chain stands still, "
            "or this machine's clock is wrong"
        )


def _check_form(chain_id: str, block: LightBlock) -> None:
    """Chain, hash and validator set are the header's own; nothing about signatures."""
    header, signed = block.header, block.signed
    if header.chain_id != chain_id:
        raise ProofRejected(f"the header is of chain {header.chain_id!r}, not {chain_id!r}")
    if header.height != signed.height or header_hash(header) != signed.block_id.hash:
        raise ProofRejected("the commit is for another header than the one it came with")
    if header.validators_hash != block.validators.hash:
        raise ProofRejected(f"the validators given for height {header.height} are not the set that its header names")


class _Votes:
    """The votes of one commit for its block; each signature is verified at most once."""

    def __init__(self, chain_id: str, signed: SignedHeader) -> None:
        self._chain_id = chain_id
        self._signed = signed
        self._right: set[int] = set()

    def check_one_third(self, validators: ValidatorSet) -> None:
        """More than 1/3 of this set's power is among the signers, wherever they stand in the commit."""
        found: dict[bytes, int] = {}
        for at, place in enumerate(self._signed.signatures):
            if place.flag == FLAG_COMMIT and place.validator in validators.by_address:
                if place.validator in found:
                    raise ProofRejected(f"validator {place.validator.hex()} stands twice in a commit")
                found[place.validator] = at
        if 3 * sum(validators.by_address[address].power for address in found) <= validators.total_power:
            raise NotEnoughTrust(f"too few of the trusted validators signed the header at height {self._signed.height}")
        power = 0
        for address, at in found.items():
            power += self._verified(at, validators.by_address[address])
            if 3 * power > validators.total_power:
                return

    def check_two_thirds(self, validators: ValidatorSet) -> None:
        """More than 2/3 of the header's own set signed, each at its place; one bad signature refuses the commit."""
        places = self._signed.signatures
        if len(places) != len(validators.validators):
            raise ProofRejected(f"the commit has {len(places)} places for {len(validators.validators)} validators")
        power = 0
        for at, (place, validator) in enumerate(zip(places, validators.validators, strict=True)):
            if place.flag != FLAG_COMMIT:
                continue
            if place.validator != validator.address:
                raise ProofRejected("a signature stands at another validator's place")
            power += self._verified(at, validator)
            if 3 * power > 2 * validators.total_power:
                return
        raise ProofRejected(f"only {power} of {validators.total_power} voting power signed the header; more than 2/3 must")

    def _verified(self, at: int, validator: Validator) -> int:
        """The power behind the signature at this place, once it has been verified."""
        place = self._signed.signatures[at]
        if at not in self._right:
            message = precommit_bytes(self._signed, place.time, self._chain_id)
            if not verify(validator.public_key, message, place.signature):
                raise ProofRejected(f"the signature of validator {place.validator.hex()} does not verify")
            self._right.add(at)
        return validator.power
