"""`planetserve query` against a served chain: the documents of design section 10, proven, for scripts and for people."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from network.aio.chain_client import ChainClient
from network.aio.ledger_reader import LedgerRefused
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    DIRECTORY_KEY,
    GOVERNANCE_KEY,
    PARAMS_KEY,
    CastVote,
    DirectoryEntry,
    DirectoryRecord,
    EpochRecord,
    GovernanceRecord,
    NodeRecord,
    NodeResult,
    OpenedChallenges,
    Params,
    ProposalRecord,
    ProposalStatus,
    TranscriptRecord,
    ValidatorRecord,
    epoch_key,
    node_key,
    opened_key,
    proposal_key,
    transcript_key,
    validator_key,
)
from network.chain_tx import EVIDENCE_OFFSET, Challenge, Propose, RetireNode, Score, TxKind, UpgradePlan
from network.cli import query as module
from network.cli.output import CommandFailed
from network.cli.query import Query, show
from network.codec import Message, decode, encode
from network.crypto import SigningKey

Ask = Callable[..., Awaitable[dict[str, Any]]]
MODEL, RELAY = b"\x01" * 20, b"\x02" * 20
NAME = b"\x31" * 32


def rows(chain: Any) -> dict[bytes, Message]:
    entry = DirectoryEntry(
        node_id=MODEL,
        role=3,
        name="model-0",
        address="127.0.0.1:8900",
        family="op-0",
        group="smollm",
        reputation=512_345_678,
        trusted=True,
    )
    relay = DirectoryEntry(node_id=RELAY, role=2, name="relay-00", address="127.0.0.1:8800", family="op-1", trusted=True)
    challenge = Challenge(epoch=3, node_id=MODEL, slot=1, nonce=b"\x05" * 32, body=b'{"messages":[]}')
    held: dict[bytes, Message] = {
        DIRECTORY_KEY: DirectoryRecord(chain_id="test-chain", epoch=3, height=9, entries=(entry, relay)),
        CURRENT_EPOCH_KEY: EpochRecord(number=4, first_height=240),
        PARAMS_KEY: Params(epoch_blocks=60, threshold=400_000_000, profile="seeded"),
        epoch_key(3): EpochRecord(number=3, first_height=180, ended_height=239, results=(NodeResult(node_id=MODEL, credit=5),)),
        node_key(MODEL): NodeRecord(role=3, name="model-0", group="smollm", reputation=512_345_678, credits=(1, 900_000_000)),
        opened_key(3, chain.trust.validators[1].address): OpenedChallenges((NAME,)),
        transcript_key(3, NAME): TranscriptRecord(
            author=RELAY, challenge=challenge, score=Score(NAME, 7, EVIDENCE_OFFSET - 3), votes=3
        ),
    }
    for at, validator in enumerate(chain.trust.validators):
        record = ValidatorRecord(validator.public_key, bytes([40 + at]) * 32, 10, f"validator-{at}")
        held[validator_key(validator.address)] = record
    return held


@pytest.fixture
async def ask(chain: Any) -> AsyncIterator[Ask]:
    chain.block({key: encode(record) for key, record in rows(chain).items()})
    chain.block()
    client = ChainClient([chain.url], chain.trust, clock=chain.clock)
    await client.start()

    async def question(*words: str) -> dict[str, Any]:
        arguments = module.parser().parse_args([*words])
        document: dict[str, Any] = await getattr(Query(client, arguments), arguments.what)()
        assert json.loads(json.dumps(document)) == document
        show(arguments.what, document)
        return document

    yield question
    await client.close()


async def test_nodes_is_the_document_of_the_design(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    document = await ask("nodes")
    assert set(document) == {"height", "epoch", "nodes"} and document["epoch"] == 4
    assert [row["role"] for row in document["nodes"]] == ["validator"] * 4 + ["model", "relay"]
    assert document["nodes"][4] == {
        "id": MODEL.hex(),
        "name": "model-0",
        "role": "model",
        "model": "smollm",
        "reputation": "0.512345678",
        "trusted": True,
        "address": "127.0.0.1:8900",
        "operator": "op-0",
    }
    assert all(set(row) == set(document["nodes"][4]) for row in document["nodes"])
    assert "relay-00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "key", "kind"),
    [
        (("nodes",), DIRECTORY_KEY, DirectoryRecord),
        (("directory",), DIRECTORY_KEY, DirectoryRecord),
        (("params",), PARAMS_KEY, Params),
        (("epoch",), CURRENT_EPOCH_KEY, EpochRecord),
        (("epoch", "3"), epoch_key(3), EpochRecord),
        (("epoch", "4"), CURRENT_EPOCH_KEY, EpochRecord),
        (("node", MODEL.hex()), node_key(MODEL), NodeRecord),
        (("node", "model-0"), node_key(MODEL), NodeRecord),
        (("transcript", NAME.hex()), transcript_key(3, NAME), TranscriptRecord),
        (("transcript",), transcript_key(3, NAME), TranscriptRecord),
    ],
)
async def test_a_proof_holds_the_key_and_value(ask: Ask, words: tuple[str, ...], key: bytes, kind: type[Message]) -> None:
    assert "proof" not in await ask(*words)
    document = await ask(*words, "--prove")
    proof = document["proof"]
    assert set(proof) == {"path", "key_hex", "value_hex", "height", "verified"}
    assert (proof["path"], proof["key_hex"], proof["verified"]) == ("/store/main/key", key.hex(), True)
    assert decode(kind, bytes.fromhex(proof["value_hex"])) and proof["height"] > 0


async def test_every_member_of_the_committee_is_proven(ask: Ask) -> None:
    document = await ask("committee", "--prove")
    assert [row["name"] for row in document["members"]] == [f"validator-{at}" for at in range(4)]
    assert document["power"] == 40 and all(row["proof"]["verified"] for row in document["members"])
    assert document["proof"] == document["members"][0]["proof"]


async def test_validators_without_power_are_listed_and_each_is_proven(chain: Any, ask: Ask) -> None:
    gone = ValidatorRecord(b"\x33" * 32, b"\x34" * 32, 0, "validator-gone")
    chain.put(validator_key(b"\x35" * 20), encode(gone))
    document = await ask("validators", "--prove")
    assert sorted(row["name"] for row in document["validators"])[-1] == "validator-gone" and len(document["validators"]) == 5
    assert all(row["proof"]["verified"] for row in document["validators"])
    assert len((await ask("committee"))["members"]) == 4


async def test_proposals_are_listed_newest_first_and_proven(chain: Any, ask: Ask) -> None:
    assert (await ask("proposals"))["proposals"] == []
    votes = (CastVote(MODEL, True), CastVote(RELAY, False))
    for number in (1, 2):
        proposal = Propose(title="tea", upgrade=UpgradePlan("tea", 900, 2))
        record = ProposalRecord(number, MODEL, proposal, ProposalStatus.PASSED, 5, 50, 6, votes)
        chain.put(proposal_key(number), encode(record))
    chain.put(GOVERNANCE_KEY, encode(GovernanceRecord(2)))
    document = await ask("proposals", "--prove")
    assert [row["id"] for row in document["proposals"]] == [2, 1] and document["proof"] == document["proposals"][0]["proof"]
    one = await ask("proposal", "2")
    assert (one["status"], one["change"], one["content"]["height"], one["decided_height"]) == ("passed", "upgrade", 900, 6)
    assert one["votes"][1] == {"validator": RELAY.hex(), "approve": False}


async def test_an_earlier_height_answers_as_it_was(chain: Any, ask: Ask) -> None:
    before = await ask("params")
    chain.put(PARAMS_KEY, encode(Params(epoch_blocks=61, threshold=400_000_000, profile="seeded")))
    assert (await ask("params"))["params"]["epoch_blocks"] == 61
    assert await ask("params", "--height", str(before["height"])) == before


async def test_a_transaction_is_told_and_proven(chain: Any, ask: Ask) -> None:
    client = ChainClient([chain.url], chain.trust, clock=chain.clock)
    await client.start()
    result = await client.submit(TxKind.RETIRE_NODE, RetireNode(), SigningKey(b"\x21" * 32))
    await client.close()
    document = await ask("tx", result.hash.hex(), "--prove")
    assert (document["kind"], document["height"], document["code"]) == ("retire_node", result.height, 0)
    assert document["proof"]["verified"] is True and document["proof"]["key_hex"] == result.hash.hex()


async def test_scores_and_ended_epochs_read_as_people_mean_them(ask: Ask) -> None:
    transcript = await ask("transcript", NAME.hex(), "--epoch", "3")
    assert transcript["score"]["evidence"] == -3 and transcript["score"]["credit"] == "0.000000007"
    assert transcript["challenge"]["body"] == '{"messages":[]}'
    assert (await ask("epoch", "3"))["state"] == "ended" and (await ask("epoch"))["ended_height"] is None
    assert (await ask("node", "model-0"))["credits"] == ["0.000000001", "0.900000000"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("node", "nobody"), 1),
        (("node", "ff" * 20), 1),
        (("epoch", "99"), 1),
        (("proposal", "7"), 1),
        (("proposal", "0"), 2),
        (("tx", "ab"), 2),
        (("tx", "ab" * 32), 1),
        (("transcript", "xyz"), 2),
        (("transcript", "ab" * 32), 1),
    ],
)
async def test_what_is_not_there_says_so(ask: Ask, words: tuple[str, ...], code: int) -> None:
    with pytest.raises((CommandFailed, LedgerRefused)) as raised:
        await ask(*words)
    assert raised.value.code == code
