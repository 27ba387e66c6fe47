"""CometBFT's JSON: what has another shape is refused by name, never a KeyError."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import ConfigError
from network.light_headers import Timestamp
from network.light_json import (
    abci_value,
    genesis_trust,
    header,
    included_tx,
    light_block,
    parse_time,
    proof_ops,
    signed_header,
    validators_page,
)
from network.proof import ProofRejected

FOLDER = Path(__file__).parent.parent / "vectors"
HEADERS = json.loads((FOLDER / "comet_headers.json").read_text())
ANSWERS = json.loads((FOLDER / "ledger_answers.json").read_text())
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-21T13:34:23.403236786Z", Timestamp(1_795_268_063, 403_236_786)),
        ("2026-11-21T13:34:23.4Z", Timestamp(1_795_268_063, 400_000_000)),
        ("1970-01-01T00:00:00Z", Timestamp(0, 0)),
        ("0001-01-01T00:00:00Z", Timestamp(-62_135_596_800, 0)),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, time: Timestamp) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize("text", ["", "2026-11-21", "2026-11-21T13:34:23+01:00", "2026-11-21T13:34:23.1234567890Z"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UTC"):
        parse_time(text)


@given(ANY_JSON)
def test_answers_of_any_other_shape_are_refused(value: Any) -> None:
    for read in (signed_header, included_tx):
        with pytest.raises(ProofRejected):
            read(value)
    if not isinstance(value, dict):
        with pytest.raises(ProofRejected):
            abci_value(value)
        with pytest.raises(ProofRejected):
            proof_ops(value)


@pytest.mark.parametrize(
    "path", [("header",), ("header", "height"), ("header", "app_hash"), ("commit",), ("commit", "signatures")]
)
def test_a_header_that_lacks_a_field_is_refused(path: tuple[str, ...]) -> None:
    answer = deepcopy(HEADERS["commits"][1])
    row = answer["signed_header"]
    for name in path[:-1]:
        row = row[name]
    del row[path[-1]]
    with pytest.raises(ProofRejected):
        signed_header(answer)


def test_an_answer_without_operators_has_none() -> None:
    assert proof_ops({"proofOps": None}) == () == proof_ops({})
    assert len(proof_ops(ANSWERS["query"])) == 2


@pytest.mark.parametrize("number", ["9223372036854775808", "-1", 1.0, float("inf"), "x", None])
def test_a_number_that_comet_could_not_hash_is_refused(number: Any) -> None:
    for part, name in (("header", "height"), ("commit", "height"), ("commit", "round")):
        answer = deepcopy(HEADERS["commits"][1])
        answer["signed_header"][part][name] = number
        with pytest.raises(ProofRejected):
            signed_header(answer)


def test_text_that_cannot_be_hashed_is_refused() -> None:
    answer = deepcopy(HEADERS["commits"][1])
    answer["signed_header"]["header"]["chain_id"] = "\ud800"
    with pytest.raises(ProofRejected):
        signed_header(answer)


@given(ANY_JSON)
def test_blocks_headers_and_validators_of_any_other_shape_are_refused(value: Any) -> None:
    for read in (light_block, header, validators_page):
        with pytest.raises(ProofRejected):
            read(value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"[" * 100_000, b'{"chain_id":"c","validators":[]}', b'{"chain_id":"c","validators":[{"power":"1"}]}'],
)
def test_a_file_that_is_no_genesis_stops_the_start(raw: bytes) -> None:
    with pytest.raises(ConfigError, match="genesis"):
        genesis_trust(raw)


def test_validators_of_another_key_type_stop_the_start() -> None:
    genesis = deepcopy(HEADERS["genesis"])
    genesis["validators"][0]["pub_key"]["type"] = "tendermint/PubKeySecp256k1"
    with pytest.raises(ConfigError, match="Secp256k1"):
        genesis_trust(json.dumps(genesis).encode())
