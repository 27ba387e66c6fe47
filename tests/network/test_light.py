"""The light client against real CometBFT headers, against every way to bend them, and against its naive sequential twin."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.crypto import SigningKey
from network.light import (
    GenesisTrust,
    NotEnoughTrust,
    Trusted,
    TrustExpired,
    check_age,
    check_block,
    check_step,
    skip,
    trusted,
)
from network.light_headers import FLAG_COMMIT, LightBlock, SignedHeader, Timestamp, Validator, ValidatorSet, header_hash
from network.light_json import genesis_trust, signed_header
from network.proof import ProofRejected

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "comet_headers.json").read_text())
HEADERS = [signed_header(commit) for commit in VECTORS["commits"]]
GENESIS_TIME = VECTORS["commits"][0]["signed_header"]["header"]["time"]  # a chain's first block has the genesis file's time
TRUST = genesis_trust(json.dumps({**VECTORS["genesis"], "genesis_time": GENESIS_TIME}).encode())
KEYS = [SigningKey(bytes([at]) * 32) for at in range(1, 13)]
CHAIN, START, PERIOD = "test-chain", 1_700_000_000, 1_000.0
Sign = Callable[..., LightBlock]
Members = list[tuple[SigningKey, int]]


def check(signed: SignedHeader, trust: GenesisTrust = TRUST, *, later: float = 1.0) -> None:
    block = LightBlock(signed, trust.validator_set)
    check_step(trust.chain_id, trust.trusted, block, now=signed.header.time.seconds + later, trusting_period=PERIOD)


def with_header(signed: SignedHeader, **changes: Any) -> SignedHeader:
    """The header changed, and the commit's block id made to match, as a forger would."""
    header = replace(signed.header, **changes)
    return replace(signed, header=header, height=header.height, block_id=replace(signed.block_id, hash=header_hash(header)))


@pytest.mark.parametrize("signed", HEADERS, ids=lambda signed: f"height-{signed.height}")
def test_real_headers_verify(signed: SignedHeader) -> None:
    check(signed)
    check_block(TRUST.chain_id, LightBlock(signed, TRUST.validator_set))


def flip(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, header=replace(s.header, app_hash=flip(s.header.app_hash))), "another header"),
        (lambda s: with_header(s, app_hash=flip(s.header.app_hash)), "does not verify"),
        (lambda s: with_header(s, height=s.height + 1), "does not verify"),
        (lambda s: with_header(s, time=Timestamp(s.header.time.seconds, 1)), "does not verify"),
        (lambda s: with_header(s, chain_id="vectors-2"), "of chain 'vectors-2'"),
        (lambda s: with_header(s, validators_hash=flip(s.header.validators_hash)), "not the set"),
        (lambda s: replace(s, height=s.height + 1), "another header"),
        (lambda s: replace(s, round=1), "does not verify"),
        (lambda s: replace(s, block_id=replace(s.block_id, parts_hash=b"\0" * 32)), "does not verify"),
        (lambda s: replace(s, signatures=s.signatures[:3]), "places for"),
        (lambda s: replace(s, signatures=(*s.signatures[1:], s.signatures[0])), "another validator's place"),
        (lambda s: replace(s, signatures=(s.signatures[0],) * 4), "stands twice"),
    ],
)
def test_tampering_is_refused(change: Callable[[SignedHeader], SignedHeader], words: str) -> None:
    with pytest.raises(ProofRejected, match=words):
        check(change(HEADERS[1]))


def test_two_thirds_of_the_power_are_not_enough() -> None:
    keep = {0: 20, 1: 10}  # 30 of 47 is below 2/3
    places = tuple(p if at in keep else replace(p, flag=1) for at, p in enumerate(HEADERS[1].signatures))
    with pytest.raises(ProofRejected, match="only 30 of 47"):
        check(replace(HEADERS[1], signatures=places))


def test_a_vote_for_nil_does_not_count() -> None:
    places = tuple(replace(place, flag=3) for place in HEADERS[0].signatures)
    with pytest.raises(ProofRejected, match="only 0 of 47"):
        check(replace(HEADERS[0], signatures=places))


def test_another_validator_set_is_refused() -> None:
    stranger = GenesisTrust(TRUST.chain_id, 1, [Validator(bytes([at]) * 32, 10) for at in range(4)], TRUST.time)
    with pytest.raises(ProofRejected, match="not the set"):
        check(HEADERS[1], stranger)
    real = LightBlock(HEADERS[1], TRUST.validator_set)
    with pytest.raises(NotEnoughTrust):
        check_step(TRUST.chain_id, stranger.trusted, real, now=real.header.time.seconds + 1.0, trusting_period=PERIOD)
    first = LightBlock(HEADERS[0], TRUST.validator_set)
    with pytest.raises(ProofRejected, match="another validator set than the one before"):
        check_step(TRUST.chain_id, stranger.trusted, first, now=first.header.time.seconds + 1.0, trusting_period=PERIOD)


def test_the_clock_is_asked() -> None:
    check(HEADERS[1], later=-9.0)
    with pytest.raises(ProofRejected, match="in the future"):
        check(HEADERS[1], later=-11.0)
    with pytest.raises(TrustExpired, match="trust_height"):
        check(HEADERS[1], later=PERIOD)
    now = HEADERS[1].header.time.seconds
    check_age(HEADERS[1].header, now=now + 60.0, max_age=60.0)
    with pytest.raises(ProofRejected, match="62 s old"):
        check_age(HEADERS[1].header, now=now + 62.0, max_age=60.0)


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 511))
def test_no_bit_of_a_signature_is_free(at: int, bit: int) -> None:
    place = HEADERS[2].signatures[at]
    if place.flag != FLAG_COMMIT:
        return
    raw = bytearray(place.signature)
    raw[bit // 8] ^= 1 << bit % 8
    places = list(HEADERS[2].signatures)
    places[at] = replace(place, signature=bytes(raw))
    with pytest.raises(ProofRejected, match="does not verify"):
        check(replace(HEADERS[2], signatures=tuple(places)))


# A chain whose validators change.


def members(*powers: int) -> Members:
    """Validators by place: members(0, 5, 5) are the second and third key with power 5."""
    return [(key, power) for key, power in zip(KEYS, powers, strict=False) if power]


def history(sign: Sign, sets: list[Members]) -> dict[int, LightBlock]:
    """Blocks 1.. signed by all of their set, a second apart."""
    after = [*sets[1:], sets[-1]]
    rows = enumerate(zip(sets, after, strict=True), 1)
    return {at: sign(now, coming, height=at, time=Timestamp(START + at, 0)) for at, (now, coming) in rows}


def root(first: Members, at: int = START + 1) -> Trusted:
    return GenesisTrust(CHAIN, 1, [Validator(key.public, power) for key, power in first], Timestamp(at, 0)).trusted


def walk(blocks: dict[int, LightBlock], base: Trusted, target: int, *, now: float = START + 500.0) -> list[LightBlock]:
    """Drive `skip` over these blocks."""
    steps = skip(CHAIN, base, blocks[target], now=now, trusting_period=PERIOD)
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(blocks[wanted])
    except StopIteration as done:
        verified: list[LightBlock] = done.value
        return verified


def heights(verified: list[LightBlock]) -> list[int]:
    return [block.height for block in verified]


def test_a_far_header_takes_one_step_while_more_than_a_third_stays(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(10, 10, 10)] * 50 + [members(0, 0, 10, 1, 1, 1)] * 50)
    assert heights(walk(blocks, root(members(10, 10, 10)), 50)) == [50]
    with pytest.raises(NotEnoughTrust):  # the one who stayed held exactly a third, which is not more than a third
        now = START + 500.0
        check_step(CHAIN, trusted(blocks[50]), blocks[99], now=now, trusting_period=PERIOD)
    assert heights(walk(blocks, trusted(blocks[50]), 99)) == [51, 99]


def test_a_set_replaced_at_once_needs_the_neighbours(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(1, 1, 1)] * 40 + [members(0, 0, 0, 1, 1, 1)] * 40)
    verified = heights(walk(blocks, root(members(1, 1, 1)), 80))
    assert {40, 41, 80} <= set(verified) and len(verified) < 12


def test_heights_and_times_never_go_back(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(1, 1, 1)] * 5)
    now = START + 100.0
    for target in (3, 5):
        with pytest.raises(ProofRejected, match="not above"):
            check_step(CHAIN, trusted(blocks[5]), blocks[target], now=now, trusting_period=PERIOD)
    early = sign_block(members(1, 1, 1), height=6, time=Timestamp(START + 5, 0))
    with pytest.raises(ProofRejected, match="not later"):
        check_step(CHAIN, trusted(blocks[5]), early, now=now, trusting_period=PERIOD)


def test_trust_ends_with_its_period(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(1, 1, 1)] * 3)
    base = trusted(blocks[1])
    walk(blocks, base, 3, now=START + PERIOD)
    with pytest.raises(TrustExpired, match="days old"):
        walk(blocks, base, 3, now=START + 1 + PERIOD)


def test_a_neighbour_must_be_of_the_announced_set(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(1, 1, 1)] * 3)
    usurped = sign_block(members(1, 1, 1, 2), height=2, time=Timestamp(START + 2, 0))
    with pytest.raises(ProofRejected, match="another validator set than the one before"):
        check_step(CHAIN, trusted(blocks[1]), usurped, now=START + 9.0, trusting_period=PERIOD)


def test_strangers_with_all_the_power_of_their_own_set_are_nobody(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(1, 1, 1)] * 8)
    blocks[8] = sign_block(members(0, 0, 0, 9, 9, 9), height=8, time=Timestamp(START + 8, 0))
    with pytest.raises(ProofRejected, match="another validator set than the one before"):
        walk(blocks, root(members(1, 1, 1)), 8)


def test_a_block_between_of_another_height_is_refused(sign_block: Sign) -> None:
    blocks = history(sign_block, [members(1, 1, 1)] * 4 + [members(0, 0, 0, 1, 1, 1)] * 4)
    with pytest.raises(ProofRejected, match="asked for the block at height 4, got 3"):
        walk({**blocks, 4: blocks[3]}, root(members(1, 1, 1)), 8)


def sequential(blocks: dict[int, LightBlock], base: Trusted, target: int, now: float) -> bool:
    """The naive twin: every block from the base to the target is looked at, and each must be its neighbour's heir."""
    for height in range(base.height + 1, target + 1):
        block = blocks[height]
        power = {entry.address: entry.power for entry in block.validators.validators}
        signed = sum(power[place.validator] for place in block.signed.signatures if place.flag == FLAG_COMMIT)
        if block.validators.hash != base.next_validators_hash or 3 * signed <= 2 * sum(power.values()):
            return False
        if block.header.time <= base.time or block.header.time.seconds > now + 10:
            return False
        base = trusted(block)
    return True


@st.composite
def sets(draw: st.DrawFn) -> list[Members]:
    """Up to thirty heights: at each the set may lose, gain or reweigh members, or be replaced whole."""
    powers = draw(st.lists(st.integers(0, 5), min_size=12, max_size=12).filter(any))
    held: list[Members] = []
    for _ in range(draw(st.integers(2, 30))):
        change = draw(st.sampled_from(["keep", "keep", "one", "all"]))
        if change == "all":
            powers = draw(st.lists(st.integers(0, 5), min_size=12, max_size=12).filter(any))
        if change == "one":
            at = draw(st.integers(0, 11))
            powers = [draw(st.integers(0, 5)) if i == at else power for i, power in enumerate(powers)]
            powers = powers if any(powers) else [1] * 12
        held.append(members(*powers))
    return held


@settings(deadline=None)
@given(sets(), st.data())
def test_skipping_agrees_with_the_sequential_twin(sign_block: Sign, held: list[Members], data: st.DataObject) -> None:
    blocks, base, now = history(sign_block, held), root(held[0]), START + 500.0
    target = data.draw(st.integers(1, len(held)))
    verified = walk(blocks, base, target)
    assert sequential(blocks, base, target, now)
    assert verified[-1] is blocks[target] and heights(verified) == sorted(set(heights(verified)))


@settings(deadline=None)
@given(sets(), st.data())
def test_a_forged_branch_is_accepted_by_neither(sign_block: Sign, held: list[Members], data: st.DataObject) -> None:
    """From some height on, a coalition that never holds more than a third signs together with strangers of any power."""
    fork = data.draw(st.integers(1, len(held)))
    traitors: list[SigningKey] = []
    for key in KEYS:
        if all(3 * power_of(rows, [*traitors, key]) <= power_of(rows, KEYS) for rows in held):
            traitors.append(key)
    strangers = [(SigningKey(bytes([at]) * 32), 5) for at in range(100, 103)]
    forged = [[*(row for row in rows if row[0] in traitors), *strangers] for rows in held[fork - 1 :]]
    blocks = history(sign_block, [*held[: fork - 1], *forged])
    if fork > 1:  # the last honest block announces the honest heir
        time = Timestamp(START + fork - 1, 0)
        blocks[fork - 1] = sign_block(held[fork - 2], held[fork - 1], height=fork - 1, time=time)
    base, now = root(held[0]), START + 500.0
    assert not sequential(blocks, base, len(held), now)
    with pytest.raises(ProofRejected):
        walk(blocks, trusted(blocks[fork - 1]) if fork > 1 else base, len(held))


def power_of(rows: Members, keys: list[SigningKey]) -> int:
    return sum(power for key, power in rows if key in keys)


def test_a_validator_set_is_not_a_list_of_anything() -> None:
    with pytest.raises(ValueError, match="nobody"):
        GenesisTrust("c", 1, [], Timestamp(1, 0))
    assert GenesisTrust("c", 0, [Validator(KEYS[0].public, 1)], Timestamp(1, 0)).initial_height == 1
    assert ValidatorSet([Validator(KEYS[0].public, 1)]).total_power == 1
