"""CometBFT's JSON, written and read back; and who is named in evidence of an attack, by CometBFT's rules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.crypto import SigningKey
from network.light import GenesisTrust, Trusted, trusted
from network.light_headers import LightBlock, Timestamp, Validator, ValidatorSet
from network.light_json import genesis_trust, light_block, parse_time, signed_header
from network.light_render import attack_evidence, header_json, light_block_json, time_json

Sign = Callable[..., LightBlock]
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "comet_headers.json").read_text())
TIME = VECTORS["commits"][0]["signed_header"]["header"]["time"]
SET = genesis_trust(json.dumps({**VECTORS["genesis"], "genesis_time": TIME}).encode()).validator_set
KEYS = [SigningKey(bytes([at]) * 32) for at in range(1, 5)]
MEMBERS = [(key, 10 * at) for at, key in enumerate(KEYS, 1)]
HERE = Timestamp(1_700_000_009, 0)


def test_real_blocks_are_written_as_comet_wrote_them() -> None:
    for raw in VECTORS["commits"]:
        written = light_block_json(LightBlock(signed_header(raw), SET))["signed_header"]
        real = raw["signed_header"]
        assert written["commit"] == {**real["commit"], "signatures": written["commit"]["signatures"]}
        for ours, comets in zip(written["commit"]["signatures"], real["commit"]["signatures"], strict=True):
            assert ours == comets
        assert {**written["header"], "version": None} == {**real["header"], "version": None}


@settings(deadline=None)
@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_times_are_written_as_they_are_read(seconds: int, nanos: int) -> None:
    assert parse_time(time_json(Timestamp(seconds, nanos))) == Timestamp(seconds, nanos)


def test_a_block_is_read_back_whole(sign_block: Sign) -> None:
    block = sign_block(MEMBERS, height=7, time=HERE, silent=KEYS[:1])
    back = light_block(json.loads(json.dumps(light_block_json(block))))
    assert back.signed == block.signed and back.validators.hash == block.validators.hash
    assert header_json(back.header)["height"] == "7"


def guilty(evidence: dict[str, Any]) -> list[int]:
    return [int(row["voting_power"]) for row in evidence["value"]["ByzantineValidators"] or []]


@pytest.fixture
def common(sign_block: Sign) -> Trusted:
    return trusted(sign_block(MEMBERS, height=5, time=Timestamp(1_700_000_005, 0)))


def test_a_lunatic_attack_names_the_common_validators_who_signed(sign_block: Sign, common: Trusted) -> None:
    right = sign_block(MEMBERS, height=9, time=HERE)
    strangers = [(SigningKey(b"\x77" * 32), 500)]
    lie = sign_block([*MEMBERS, *strangers], height=9, time=HERE, app_hash=b"\x66" * 32, silent=[KEYS[2]])
    value = (evidence := attack_evidence(lie, right, common, 1))["value"]
    assert guilty(evidence) == [40, 20, 10]
    assert (value["CommonHeight"], value["TotalVotingPower"]) == ("5", "100")
    assert value["Timestamp"] == "2023-11-14T22:13:25Z"


def test_an_equivocation_names_those_who_signed_both(sign_block: Sign, common: Trusted) -> None:
    right = sign_block(MEMBERS, height=9, time=HERE, silent=[KEYS[0]])
    lie = sign_block(MEMBERS, height=9, time=Timestamp(1_700_000_009, 5), silent=[KEYS[1]])
    evidence = attack_evidence(lie, right, common, 1)
    assert guilty(evidence) == [40, 30]
    assert (evidence["value"]["CommonHeight"], evidence["value"]["Timestamp"]) == ("9", "2023-11-14T22:13:29Z")


def test_an_amnesia_names_nobody(sign_block: Sign, common: Trusted) -> None:
    right = sign_block(MEMBERS, height=9, time=HERE)
    lie = sign_block(MEMBERS, height=9, time=Timestamp(1_700_000_009, 5), round_=1)
    assert attack_evidence(lie, right, common, 1)["value"]["ByzantineValidators"] is None


def test_before_the_first_block_the_evidence_names_the_first(sign_block: Sign) -> None:
    founders = ValidatorSet(Validator(key.public, power) for key, power in MEMBERS)
    base = GenesisTrust("test-chain", 4, founders.validators, Timestamp(1_700_000_000, 0)).trusted
    lie = sign_block(MEMBERS, height=9, time=HERE, app_hash=b"\x66" * 32)
    assert attack_evidence(lie, sign_block(MEMBERS, height=9, time=HERE), base, 4)["value"]["CommonHeight"] == "4"
