"""The friendly paths: each answers one JSON document, and names every store key that it was made from.

A document is convenience, not proof. `key` and `keys` are what to ask under `/store/main/key` with `prove` for what it says.
"""

from collections.abc import Callable
from typing import Any

from abci_app.query.answer import KEY_NOT_FOUND, UNKNOWN_PATH, Refused, Version
from abci_app.query.pages import MOST_BYTES, Page, item_page, row_page, without_items
from abci_app.query.request import Asked, identifier, number
from abci_app.state.epoch import KEPT_RESULTS
from network.chain_records import (
    CURRENT_EPOCH_KEY,
    DIRECTORY_KEY,
    EVIDENCE_PREFIX,
    GOVERNANCE_KEY,
    GROUP_PREFIX,
    NODE_PREFIX,
    PARAMS_KEY,
    PROPOSAL_PREFIX,
    UPGRADE_KEY,
    VALIDATOR_PREFIX,
    VERSION_KEY,
    Account,
    DirectoryRecord,
    EpochRecord,
    EvidenceRecord,
    GovernanceRecord,
    ModelGroup,
    NodeRecord,
    Params,
    ProposalRecord,
    TranscriptRecord,
    ValidatorRecord,
    VersionRecord,
    account_key,
    epoch_key,
    kept_epochs,
    node_key,
    proposal_key,
    transcript_key,
)
from network.chain_tx import UpgradePlan
from network.chain_views import (
    directory_view,
    epoch_view,
    member_view,
    node_view,
    params_view,
    proposal_view,
    record_view,
    transcript_view,
)
from network.codec import decode
from network.ids import NODE_ID_LENGTH

Document = dict[str, Any]
Handler = Callable[[Version, Asked], Document]
RESULTS_FIELD, ENTRIES_FIELD = 6, 5  # the last fields of EpochRecord and of DirectoryRecord
EPOCH_PREFIX = epoch_key(0)[:1]
LONGEST_GROUP = 128
MOST_PROPOSALS = 50  # of a page: each holds a vote per member
EVIDENCE_KEY_LENGTH = 8 + NODE_ID_LENGTH + 1


def document(version: Version, asked: Asked) -> Document:
    """The document that a path names. Raises Refused."""
    name = asked.words[0] if asked.words else ""
    handler = _PATHS.get((name, len(asked.words) - 1))
    if handler is None:
        known = ", ".join("/" + "/".join([word, *["…"] * more]) for word, more in _PATHS)
        raise Refused(UNKNOWN_PATH, f"unknown path {'/' + '/'.join(asked.words)[:100]!r}; known: /store/main/key, {known}")
    return handler(version, asked)


def _params(version: Version, _asked: Asked) -> Document:
    return {"key": PARAMS_KEY.hex(), "params": params_view(decode(Params, _one(version, PARAMS_KEY, "no parameters")))}


def _nodes(version: Version, asked: Asked) -> Document:
    found = row_page(version, NODE_PREFIX, asked.key, asked.limit, NODE_ID_LENGTH)
    return _listing("nodes", found, lambda name, raw: (node_key(name), node_view(name, decode(NodeRecord, raw))))


def _node(version: Version, asked: Asked) -> Document:
    name = identifier(asked.words[1], NODE_ID_LENGTH, "a node's id")
    key = node_key(name)
    return {"key": key.hex(), "node": node_view(name, decode(NodeRecord, _one(version, key, f"no node {name.hex()}")))}


def _epochs(version: Version, asked: Asked) -> Document:
    """Newest first. Numbers follow one another, so a page is one run of rows, read forwards and turned round; how many fit
    is judged by the newest, as records of one size follow one another, too."""
    running = _running(version).number
    top = min(number(asked.key, "key"), running) if asked.key else running
    newest = version.get(epoch_key(min(top, running - 1))) if running else None
    low = max(0, top + 1 - min(asked.limit, max(1, MOST_BYTES // len(newest or b" "))))
    rows: list[Document] = []
    for key, raw in version.scan(EPOCH_PREFIX, epoch_key(low)):
        if key > epoch_key(top):
            break
        rows.append(_epoch_row(key, raw))
    if top == running:
        rows.append(_epoch_row(CURRENT_EPOCH_KEY, _one(version, CURRENT_EPOCH_KEY, "no epoch yet")))
    following = low - 1 if low and version.get(epoch_key(low - 1)) is not None else None
    return {"epochs": rows[::-1], "next": str(following) if following is not None else ""}


def _epoch_row(key: bytes, raw: bytes) -> Document:
    view = epoch_view(without_items(EpochRecord, raw, RESULTS_FIELD))
    del view["results"]
    return {"key": key.hex(), **view}


def _epoch(version: Version, asked: Asked) -> Document:
    running = _running(version)
    at = running.number if asked.words[1] == "current" else number(asked.words[1], "an epoch")
    key = CURRENT_EPOCH_KEY if at == running.number else epoch_key(at)
    raw = _one(version, key, f"no epoch {at}; results are kept for {KEPT_RESULTS} epochs")
    record, following = item_page(EpochRecord, raw, RESULTS_FIELD, asked.key, asked.limit)
    return {"key": key.hex(), "epoch": epoch_view(record), "next": following}


def _transcripts(version: Version, asked: Asked) -> Document:
    """The opened challenges of one epoch, by default the last that has ended."""
    epoch = number(asked.epoch, "epoch") if asked.epoch else max(0, _running(version).number - 1)
    found = row_page(version, transcript_key(epoch, b""), asked.key, asked.limit, 32)
    listing = _listing(
        "transcripts",
        found,
        lambda name, raw: (transcript_key(epoch, name), transcript_view(name, decode(TranscriptRecord, raw))),
    )
    return {"epoch": epoch, **listing}


def _transcript(version: Version, asked: Asked) -> Document:
    """One opened challenge, looked for in the epoch given, else in every epoch whose transcripts are kept."""
    name = identifier(asked.words[1], 32, "a challenge's hash")
    running = _running(version).number
    epochs = [number(asked.epoch, "epoch")] if asked.epoch else kept_epochs(running)
    for epoch in epochs:
        key = transcript_key(epoch, name)
        raw = version.get(key)
        if raw is not None:
            return {"epoch": epoch, "key": key.hex(), "transcript": transcript_view(name, decode(TranscriptRecord, raw))}
    raise Refused(KEY_NOT_FOUND, f"no challenge {name.hex()} was opened in the epochs that the ledger keeps")


def _committee(version: Version, asked: Asked) -> Document:
    """The members that have power."""
    listing = _validators(version, asked)
    members = [row for row in listing["validators"] if row["power"]]
    return {"members": members, "power": sum(row["power"] for row in members), "next": listing["next"]}


def _validators(version: Version, asked: Asked) -> Document:
    found = row_page(version, VALIDATOR_PREFIX, asked.key, asked.limit, NODE_ID_LENGTH)
    return _listing("validators", found, lambda name, raw: (VALIDATOR_PREFIX + name, _member(name, raw)))


def _member(name: bytes, raw: bytes) -> Document:
    return member_view(name, decode(ValidatorRecord, raw))


def _proposals(version: Version, asked: Asked) -> Document:
    """Newest first, as epochs are."""
    raw = version.get(GOVERNANCE_KEY)
    last = decode(GovernanceRecord, raw).last_id if raw is not None else 0
    top = min(number(asked.key, "key"), last) if asked.key else last
    low = max(1, top + 1 - min(asked.limit, MOST_PROPOSALS))
    rows: list[Document] = []
    for key, value in version.scan(PROPOSAL_PREFIX, proposal_key(low)):
        if key > proposal_key(top):
            break
        rows.append({"key": key.hex(), **proposal_view(decode(ProposalRecord, value))})
    more = low > 1 and version.get(proposal_key(low - 1)) is not None
    return {"proposals": rows[::-1], "next": str(low - 1) if more else ""}


def _proposal(version: Version, asked: Asked) -> Document:
    key = proposal_key(number(asked.words[1], "a proposal"))
    record = decode(ProposalRecord, _one(version, key, f"no proposal {asked.words[1]}"))
    return {"key": key.hex(), "proposal": proposal_view(record)}


def _upgrade(version: Version, _asked: Asked) -> Document:
    """The version that the chain runs, and the upgrade that it is heading for."""
    runs = decode(VersionRecord, _one(version, VERSION_KEY, "no version"))
    planned = version.get(UPGRADE_KEY)
    plan = {"key": UPGRADE_KEY.hex(), **record_view(decode(UpgradePlan, planned))} if planned is not None else None
    return {"runs": {"key": VERSION_KEY.hex(), **record_view(runs)}, "plan": plan}


def _evidence(version: Version, asked: Asked) -> Document:
    """Infractions that were punished, by height."""
    found = row_page(version, EVIDENCE_PREFIX, asked.key, asked.limit, EVIDENCE_KEY_LENGTH)
    return _listing("evidence", found, lambda name, raw: (EVIDENCE_PREFIX + name, record_view(decode(EvidenceRecord, raw))))


def _directory(version: Version, asked: Asked) -> Document:
    raw = _one(version, DIRECTORY_KEY, "no directory yet: nobody has registered")
    record, following = item_page(DirectoryRecord, raw, ENTRIES_FIELD, asked.key, asked.limit)
    return {"key": DIRECTORY_KEY.hex(), "directory": directory_view(record), "next": following}


def _groups(version: Version, asked: Asked) -> Document:
    found = row_page(version, GROUP_PREFIX, asked.key, asked.limit, LONGEST_GROUP)
    return _listing("groups", found, lambda name, raw: (GROUP_PREFIX + name, record_view(decode(ModelGroup, raw))))


def _account(version: Version, asked: Asked) -> Document:
    signer = identifier(asked.words[1], 32, "an account's public key")
    key = account_key(signer)
    record = decode(Account, _one(version, key, f"no account of {signer.hex()}: it has sent no transaction"))
    return {"key": key.hex(), "account": {"signer": signer.hex(), **record_view(record)}}


def _one(version: Version, key: bytes, missing: str) -> bytes:
    raw = version.get(key)
    if raw is None:
        raise Refused(KEY_NOT_FOUND, missing)
    return raw


def _running(version: Version) -> EpochRecord:
    return decode(EpochRecord, _one(version, CURRENT_EPOCH_KEY, "no epoch yet"))


def _listing(name: str, found: Page, view: Callable[[bytes, bytes], tuple[bytes, Document]]) -> Document:
    """A page's rows as documents, each with its store key."""
    rows: list[Document] = []
    for rest, raw in found.rows:
        key, row = view(rest, raw)
        rows.append({"key": key.hex(), **row})
    return {name: rows, "next": found.next}


# (first word, words after it) -> handler
_PATHS: dict[tuple[str, int], Handler] = {
    ("params", 0): _params,
    ("nodes", 0): _nodes,
    ("node", 1): _node,
    ("epochs", 0): _epochs,
    ("epochs", 1): _epoch,
    ("transcripts", 0): _transcripts,
    ("transcripts", 1): _transcript,
    ("committee", 0): _committee,
    ("validators", 0): _validators,
    ("directory", 0): _directory,
    ("proposals", 0): _proposals,
    ("proposal", 1): _proposal,
    ("upgrade", 0): _upgrade,
    ("evidence", 0): _evidence,
    ("groups", 0): _groups,
    ("account", 1): _account,
}
