"""What `planetserve doctor` concludes from what it found: one finding per question, each with what to do; sans-IO.

It looks at one node of this machine: a relay, a model node or a gateway. What the running process knows (its gossip, its path
sets, who could call it back) comes from its own operator's port and names no other node.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from network.chain_records import NodeRecord
from network.config import Address
from network.directory import Directory
from network.heartbeat import FRESH_MS
from network.ids import ROLE_WORDS, Role

OK, WARNING, BAD, SKIPPED = "ok", "warning", "bad", "skipped"
FAILED, UNREACHABLE, KEYS = 1, 4, 5

BLOCK_AGE_S = 60.0
CLOCK_WARNING_S = 30.0
CLOCK_BAD_S = FRESH_MS / 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One question's answer. `code` is the exit code that a bad one asks for."""

    check: str
    verdict: str
    says: str
    todo: str = ""
    code: int = FAILED


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found; None where it could not be found out."""

    role: Role
    now: float
    listen: Address
    public: Address
    node_id: bytes | None = None
    key_problem: str = ""
    chain_problem: str = ""
    directory: Directory | None = None
    block_time: float | None = None
    record: NodeRecord | None = None
    listens: bool = False
    status: Mapping[str, Any] | None = None
    reachability: Mapping[str, Any] | None = None

    @property
    def is_public(self) -> bool:
        """Whether others call this node."""
        return self.role is not Role.USER


def examine(facts: Facts) -> list[Finding]:
    """Every question in the order in which the answers depend on each other."""
    questions: tuple[Callable[[Facts], Finding], ...] = (
        _keys,
        _chain,
        _clock,
        _process,
        _port,
        _registered,
        _listed,
        _reachable,
        _gossip,
        _paths,
        _guards,
    )
    return [question(facts) for question in questions]


def exit_code(findings: list[Finding]) -> int:
    """0 when nothing is bad, else the first bad finding's code."""
    return next((finding.code for finding in findings if finding.verdict == BAD), 0)


def _keys(facts: Facts) -> Finding:
    if facts.key_problem:
        return Finding("keys", BAD, facts.key_problem, "restore the key file, or move it away for a new identity", KEYS)
    if facts.node_id is None:
        return Finding("keys", WARNING, "no key file yet", "it is made when the node first starts")
    return Finding("keys", OK, f"node {facts.node_id.hex()}")


def _chain(facts: Facts) -> Finding:
    if facts.chain_problem:
        todo = "check node.rpc and this machine's way out; several addresses may be named"
        return Finding("chain", BAD, facts.chain_problem, todo, UNREACHABLE)
    assert facts.directory is not None
    entries = facts.directory.record.entries
    words = f"{len(facts.directory.relays())} relays and {len(entries)} nodes listed, proven at height {facts.directory.height}"
    if facts.block_time is not None and facts.now - facts.block_time > BLOCK_AGE_S:
        age = facts.now - facts.block_time
        return Finding(
            "chain", BAD, f"the newest block is {age:.0f} s old; {words}", "the chain stands still, or this clock runs ahead"
        )
    return Finding("chain", OK, words)


def _clock(facts: Facts) -> Finding:
    """Against block time where this clock is behind, against the neighbours' heartbeats in both directions."""
    offset = None if facts.status is None else facts.status.get("gossip", {}).get("clock_offset_s")
    ahead = None if facts.block_time is None else facts.block_time - facts.now
    if offset is None and ahead is None:
        return Finding("clock", SKIPPED, "nobody to compare with")
    off = max((abs(value) for value in (offset, max(0.0, ahead or 0.0)) if value is not None), default=0.0)
    words = f"within {off:.1f} s of {'the neighbours' if offset is not None else 'the chain'}"
    todo = "set this machine's clock (NTP): nodes whose clocks differ by 5 minutes refuse each other"
    if off >= CLOCK_BAD_S:
        return Finding("clock", BAD, f"off by {off:.0f} s", todo)
    return Finding("clock", WARNING, f"off by {off:.0f} s", todo) if off >= CLOCK_WARNING_S else Finding("clock", OK, words)


def _process(facts: Facts) -> Finding:
    word = ROLE_WORDS[facts.role]
    if facts.status is None:
        return Finding("process", BAD, "does not answer on its metrics port", f"start it: planetserve {_command(facts)} start")
    if facts.status.get("role") != word:
        return Finding(
            "process", BAD, f"a {facts.status.get('role')} answers on its metrics port", "give each node its own ports"
        )
    if not facts.status.get("ready"):
        return Finding(
            "process", BAD, str(facts.status.get("reason")), "wait a minute after a start; else see the findings below"
        )
    return Finding("process", OK, "ready")


def _port(facts: Facts) -> Finding:
    if facts.listens:
        return Finding("port", OK, f"listens on {facts.listen}")
    return Finding("port", BAD, f"nothing listens on {facts.listen}", "start the node, or correct node.listen")


def _registered(facts: Facts) -> Finding:
    if facts.directory is None or facts.node_id is None:
        return Finding("registered", SKIPPED, "cannot be known")
    if facts.record is None:
        return Finding("registered", BAD, "not on the ledger", "the running node registers itself; its log says why not")
    if facts.record.retired:
        return Finding("registered", BAD, "retired", "a new identity is needed: move the key file away", KEYS)
    if facts.is_public and facts.record.address != str(facts.public):
        says = f"at {facts.record.address}, but the settings say {facts.public}"
        return Finding("registered", BAD, says, "the running node announces its new address once others can call it")
    return Finding("registered", OK, f"as {facts.record.name}, renewed in epoch {facts.record.renewed_epoch}")


def _listed(facts: Facts) -> Finding:
    if facts.directory is None or facts.node_id is None:
        return Finding("listed", SKIPPED, "cannot be known")
    entry = facts.directory.get(facts.node_id)
    if entry is None:
        todo = "the directory is rewritten within an epoch of a registration" if facts.record else ""
        return Finding("listed", BAD, "not in the directory: nobody routes by this node", todo)
    if facts.role is Role.MODEL and not entry.trusted:
        return Finding(
            "listed", WARNING, "listed, but not trusted: it answers only what enters at it", "see planetserve query node"
        )
    return Finding("listed", OK, f"in the directory of height {facts.directory.record.height}")


def _reachable(facts: Facts) -> Finding:
    if not facts.is_public:
        return Finding("reachable", OK, "only dials out, so NAT and firewalls do not matter")
    if facts.public.is_loopback:
        return Finding("reachable", OK, f"{facts.public} is for this machine alone")
    found = facts.reachability
    if found is None:
        return Finding("reachable", SKIPPED, "only the running node can ask")
    words = f"from {found['reached']} of {found['asked']} listed relays asked"
    if not found["listed"]:
        return Finding("reachable", SKIPPED, "no other relay is listed that could call back")
    return Finding("reachable", OK, words) if found["enough"] else Finding("reachable", BAD, words, str(found["explanation"]))


def _gossip(facts: Facts) -> Finding:
    gossip = None if facts.status is None else facts.status.get("gossip")
    if not gossip:
        return Finding("neighbours", SKIPPED, "the node does not say")
    relays = len(facts.directory.relays()) if facts.directory is not None else 0
    words = f"{gossip['heard']} nodes heard lately, {gossip['silent_relays']} of {relays} relays silent"
    if gossip["doubted"]:
        todo = "this machine is cut off from most relays, or most are down; nobody is taken for dead until then"
        return Finding("neighbours", WARNING, words, todo)
    return Finding("neighbours", OK, words)


def _paths(facts: Facts) -> Finding:
    if facts.is_public:
        return Finding("paths", SKIPPED, "this role builds none")
    if facts.status is None or "path_sets_ready" not in facts.status:
        return Finding("paths", SKIPPED, "the node does not say")
    ready = facts.status["path_sets_ready"]
    words = f"{ready} path sets ready, {facts.status.get('circuits_open', 0)} circuits open"
    if not ready:
        return Finding("paths", BAD, words, "see reason under process; a path set needs relays of twelve families")
    return Finding("paths", OK, words)


def _guards(facts: Facts) -> Finding:
    if facts.is_public:
        return Finding("guards", SKIPPED, "this role has none")
    if facts.status is None or "guards_wanted" not in facts.status:
        return Finding("guards", SKIPPED, "the node does not say")
    answering, wanted = facts.status["guards_answering"], facts.status["guards_wanted"]
    words = f"{answering} of {wanted} guards answer"
    if behind := facts.status.get("directory_epochs_behind"):
        todo = "this node's chain endpoint lags or withholds: name another, or several, in node.rpc"
        return Finding("guards", WARNING, f"{words}; they route by a directory {behind} epochs newer than ours", todo)
    if answering < wanted:
        return Finding("guards", WARNING, words, "look at this machine's own connection; guards that are down are tried again")
    return Finding("guards", OK, words)


def _command(facts: Facts) -> str:
    return {Role.USER: "gateway", Role.RELAY: "relay", Role.MODEL: "node"}[facts.role]
