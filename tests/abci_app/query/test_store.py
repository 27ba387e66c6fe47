"""Queries end to end: heights, codes, and documents whose keys can be proven."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.query.answer import (
    BAD_ARGUMENT,
    BAD_KEY,
    HEIGHT_UNAVAILABLE,
    KEY_NOT_FOUND,
    NOT_PROVEN,
    UNKNOWN_PATH,
    QueryAnswer,
)
from abci_app.query.pages import MOST_BYTES
from abci_app.query.request import MOST_LIMIT
from abci_app.query.store import answer
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    DIRECTORY_KEY,
    GOVERNANCE_KEY,
    PARAMS_KEY,
    QUERY_PATH,
    VERSION_KEY,
    Account,
    CastVote,
    DirectoryEntry,
    DirectoryRecord,
    EpochRecord,
    EvidenceRecord,
    GovernanceRecord,
    ModelGroup,
    NodeRecord,
    NodeResult,
    Params,
    ProposalRecord,
    TranscriptRecord,
    ValidatorRecord,
    VersionRecord,
    account_key,
    epoch_key,
    evidence_key,
    group_key,
    node_key,
    proposal_key,
    transcript_key,
    validator_key,
)
from network.chain_tx import EVIDENCE_OFFSET, Challenge, GroupChange, Propose, Score
from network.codec import Message

NODES = [bytes([number]) * 20 for number in range(1, 8)]
CHALLENGES = [bytes([0x30 + number]) * 32 for number in range(3)]


def records() -> dict[bytes, Message]:
    results = tuple(NodeResult(node_id=name, credit=at) for at, name in enumerate(NODES))
    entries = tuple(DirectoryEntry(node_id=name, role=3, name=f"model-{at}") for at, name in enumerate(NODES))
    held: dict[bytes, Message] = {
        PARAMS_KEY: Params(epoch_blocks=60, threshold=400_000_000, profile="seeded"),
        CURRENT_EPOCH_KEY: EpochRecord(number=4, first_height=240),
        DIRECTORY_KEY: DirectoryRecord("c", 4, 200, b"\x01" * 32, entries),
        account_key(b"\x05" * 32): Account(nonce=9),
        group_key("smollm"): ModelGroup("smollm", b"\x07" * 32, "llamacpp-mt19937-v1"),
    }
    for at in range(4):
        held[epoch_key(at)] = EpochRecord(number=at, first_height=60 * at, ended_height=60 * at + 59, results=results)
        held[validator_key(bytes([at]) * 20)] = ValidatorRecord(bytes([at]) * 32, bytes([at]) * 32, 10 * at, f"v{at}")
    for at, name in enumerate(NODES):
        held[node_key(name)] = NodeRecord(role=3, name=f"model-{at}", reputation=500_000_000, credits=(1, 900_000_000))
    for at in range(1, 6):
        proposal = Propose(title=f"p{at}", group=GroupChange("g", b"\x08" * 32, "s"))
        held[proposal_key(at)] = ProposalRecord(at, NODES[0], proposal, at, 10, 20, votes=(CastVote(NODES[0], True),))
        held[evidence_key(at, NODES[1], 1)] = EvidenceRecord(NODES[1], 1, at, at + 1)
    held[GOVERNANCE_KEY] = GovernanceRecord(5)
    held[VERSION_KEY] = VersionRecord(1)
    for name in CHALLENGES:
        challenge = Challenge(epoch=3, node_id=NODES[0], body=b"{}")
        held[transcript_key(3, name)] = TranscriptRecord(NODES[1], challenge, score=Score(name, 7, EVIDENCE_OFFSET - 3))
    return held


@pytest.fixture(scope="session")
def versions(ledger: Any) -> Any:
    """The ledger that most questions here are about."""
    return ledger(records())


@pytest.fixture
def ask(versions: Any) -> Callable[..., Any]:
    def question(path: str, height: int = 0) -> Any:
        found = answer(versions, path, b"", height, False)
        assert found.code == 0, found.log
        document = json.loads(found.value)
        assert found.value == json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        assert document["height"] == found.height
        for key in _keys(document):
            assert answer(versions, QUERY_PATH, bytes.fromhex(key), found.height, True).proof is not None
        return document

    return question


def _keys(document: Any) -> list[str]:
    if isinstance(document, list):
        return [key for item in document for key in _keys(item)]
    if not isinstance(document, dict):
        return []
    own = [document["key"]] if "key" in document else []
    return own + [key for name, value in document.items() if name != "key" for key in _keys(value)]


def test_every_document_says_what_it_is_made_of(ask: Any) -> None:
    assert ask("/params") == {"height": 2, "key": PARAMS_KEY.hex(), "params": ask("/params")["params"]}
    assert ask("/params")["params"]["threshold"] == "0.400000000"
    assert ask("/node/" + NODES[2].hex())["node"]["credits"] == ["0.000000001", "0.900000000"]
    assert ask("/directory")["directory"]["written_height"] == 200
    assert [row["name"] for row in ask("/committee")["members"]] == ["v1", "v2", "v3"] and ask("/committee")["power"] == 60
    assert [row["power"] for row in ask("/validators")["validators"]] == [0, 10, 20, 30]
    assert ask("/groups")["groups"][0]["key"] == group_key("smollm").hex()
    assert ask("/upgrade")["runs"]["app_version"] == 1 and ask("/upgrade")["plan"] is None
    proposal = ask("/proposal/3")["proposal"]
    assert (proposal["status"], proposal["change"], proposal["content"]["name"]) == ("rejected", "group", "g")
    assert proposal["votes"] == [{"validator": NODES[0].hex(), "approve": True}]
    assert ask("/account/" + "05" * 32)["account"] == {
        "signer": "05" * 32,
        "nonce": 9,
        "epoch": 0,
        "spent": 0,
        "verifier": False,
    }
    assert ask("/epochs/current")["epoch"]["state"] == "running" and ask("/epochs/3")["epoch"]["state"] == "ended"
    assert ask("/transcripts/" + CHALLENGES[0].hex()) == ask("/transcripts/" + CHALLENGES[0].hex() + "?epoch=3")
    assert ask("/transcripts/" + CHALLENGES[0].hex())["transcript"]["score"]["evidence"] == -3
    assert [row["hash"] for row in ask("/transcripts")["transcripts"]] == [name.hex() for name in CHALLENGES]
    assert ask("/transcripts?epoch=2")["transcripts"] == []


@pytest.mark.parametrize(
    ("path", "rows", "name"),
    [
        ("/nodes", lambda found: found["nodes"], "id"),
        ("/epochs", lambda found: found["epochs"], "number"),
        ("/epochs/2", lambda found: found["epoch"]["results"], "node_id"),
        ("/directory", lambda found: found["directory"]["entries"], "id"),
        ("/transcripts", lambda found: found["transcripts"], "hash"),
        ("/validators", lambda found: found["validators"], "id"),
        ("/proposals", lambda found: found["proposals"], "id"),
        ("/evidence", lambda found: found["evidence"], "infraction_height"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_put_together_are_the_whole(ask: Any, path: str, rows: Any, name: str, limit: int) -> None:
    whole = [row[name] for row in rows(ask(path))]
    found, following = [], ""
    for _ in range(20):
        page = ask(f"{path}?limit={limit}" + (f"&key={following}" if following else ""))
        assert len(rows(page)) <= limit
        found += [row[name] for row in rows(page)]
        following = page["next"]
        if not following:
            break
    assert found == whole and len(set(whole)) == len(whole) > 2


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", UNKNOWN_PATH),
        ("/", UNKNOWN_PATH),
        ("/store/other/key", UNKNOWN_PATH),
        ("/weather", UNKNOWN_PATH),
        ("/node", UNKNOWN_PATH),
        ("/node/a/b", UNKNOWN_PATH),
        ("/params/x", UNKNOWN_PATH),
        ("/nodes?limit=0", BAD_ARGUMENT),
        (f"/nodes?limit={MOST_LIMIT + 1}", BAD_ARGUMENT),
        ("/nodes?limit=-1", BAD_ARGUMENT),
        ("/nodes?limit=" + "9" * 30, BAD_ARGUMENT),
        ("/nodes?limit=\u0663", BAD_ARGUMENT),
        ("/nodes?limit=1&limit=1", BAD_ARGUMENT),
        ("/nodes?order=asc", BAD_ARGUMENT),
        ("/nodes?limit", BAD_ARGUMENT),
        ("/nodes?key=zz", BAD_ARGUMENT),
        ("/nodes?key=" + "ff" * 21, BAD_ARGUMENT),
        ("/nodes?" + "&".join(["key=aa"] * 9), BAD_ARGUMENT),
        ("/" + "n" * 600, BAD_ARGUMENT),
        ("/epochs?key=0x1", BAD_ARGUMENT),
        ("/epochs/one", BAD_ARGUMENT),
        ("/epochs/99", KEY_NOT_FOUND),
        ("/proposal/99", KEY_NOT_FOUND),
        ("/proposal/x", BAD_ARGUMENT),
        ("/proposals?key=x", BAD_ARGUMENT),
        ("/node/zz", BAD_ARGUMENT),
        ("/node/" + "ff" * 20, KEY_NOT_FOUND),
        ("/transcripts/" + "ff" * 32, KEY_NOT_FOUND),
        ("/account/" + "ff" * 32, KEY_NOT_FOUND),
    ],
)
def test_what_cannot_be_answered_has_a_code(versions: Any, path: str, code: int) -> None:
    found = answer(versions, path, b"", 0, False)
    assert (found.code, found.value) == (code, b"") and found.log


def test_heights_are_honoured_and_bounded(ledger: Any) -> None:
    versions = ledger(records(), height=9, oldest=5)
    versions.versions[5] = ledger({**records(), PARAMS_KEY: Params(epoch_blocks=7)}).versions[1]
    for height, blocks in ((0, 60), (5, 7), (6, 60), (9, 60)):
        found = answer(versions, "/params", b"", height, False)
        assert found.height == (height or 8) and json.loads(found.value)["params"]["epoch_blocks"] == blocks
    for height in (-1, 4, 10, 2**62):
        assert answer(versions, "/params", b"", height, False).code == HEIGHT_UNAVAILABLE
    assert answer(versions, "/params", b"", 0, True).code == NOT_PROVEN
    assert answer(versions, QUERY_PATH, b"", 0, True).code == BAD_KEY
    for height in (0, 9):
        fresh = ledger(records(), height=height, oldest=height)  # nothing yet, or just restored from a snapshot
        found = answer(fresh, "/params", b"", 0, False)
        assert found.code == HEIGHT_UNAVAILABLE and "wait for the next block" in found.log


def test_before_anything_is_there(ledger: Any) -> None:
    versions = ledger({PARAMS_KEY: Params(epoch_blocks=60)})
    for path in ("/epochs", "/epochs/current", "/directory", "/transcripts"):
        assert answer(versions, path, b"", 0, False).code == KEY_NOT_FOUND
    assert json.loads(answer(versions, "/nodes", b"", 0, False).value) == {"height": 2, "next": "", "nodes": []}


def test_a_page_of_large_rows_ends_early_but_holds_one(ledger: Any) -> None:
    """[F17] Large transcripts and a directory of thousands: bounded bytes, bounded reads, the rest by `next`."""
    held = records()
    for at in range(50):
        held[transcript_key(3, bytes([at]) * 32)] = TranscriptRecord(NODES[1], Challenge(epoch=3, body=b"x" * 4096))
    entries = tuple(
        DirectoryEntry(node_id=at.to_bytes(20, "big"), role=1, name="n" * 60, address="a" * 120) for at in range(4096)
    )
    held[DIRECTORY_KEY] = DirectoryRecord("c", 4, 200, b"", entries)
    versions = ledger(held)
    found = json.loads(answer(versions, f"/transcripts?limit={MOST_LIMIT}", b"", 0, False).value)
    assert 1 < len(found["transcripts"]) < 50 and found["next"] and versions.versions[2].read < 50
    whole = answer(versions, f"/directory?limit={MOST_LIMIT}", b"", 0, False)
    assert len(json.loads(whole.value)["directory"]["entries"]) == MOST_LIMIT and len(whole.value) < 3 * MOST_BYTES


@settings(max_examples=150, deadline=None)
@given(
    path=st.text(max_size=60) | st.from_regex(r"/(nodes|epochs|node|transcripts|directory)(/[0-9a-f]{0,64})?\?.{0,40}"),
    key=st.binary(max_size=40),
    height=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5),
    prove=st.booleans(),
)
def test_no_question_raises(versions: Any, path: str, key: bytes, height: int, prove: bool) -> None:
    found: QueryAnswer = answer(versions, path, key, height, prove)
    assert found.code or found.value
