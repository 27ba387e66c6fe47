"""The chain's parameters: defaults of a new network, and what any set of them must satisfy.

They live in state under PARAMS_KEY; nothing reads them from a file after genesis. Offsets count blocks from an epoch's
first; amounts are in units of 1e-9. Each field's meaning: `docs/ledger.md` section 6.
"""

from collections.abc import Mapping
from dataclasses import fields, replace

from network.chain_params import MAX_BLOCK_BYTES, MAX_NODES, MAX_WORK_BITS, UNIT, Params
from network.chain_tx import MAX_SLOTS
from network.codec import MAX_UINT
from network.errors import ConfigError

PROFILES = ("seeded", "typical", "paper")
LEAST_QUOTA = 8  # tokens: a node must be able to register, renew and move within one epoch
LEAST_VERIFIER_QUOTA = 512  # tokens: an epoch's commitments, challenges, transcripts and scores at their largest
# What is voted is enacted at an epoch's end: no vote may put that, or the next vote, out of the committee's reach.
LONGEST_EPOCH, LEAST_VOTING, LONGEST_VOTING = 1_000_000, 5, 10_000_000
LEAST_BLOCK_BYTES = 1024 * 1024  # a block must be able to hold the evidence that genesis allows in one

DEFAULT = Params(
    epoch_blocks=60,
    vrf_end=8,
    commit_end=9,
    send_end=22,
    publish_end=34,
    score_end=53,
    reveal_end=58,
    slots=16,
    assignment=650_000_000,
    alpha=400_000_000,
    beta=600_000_000,
    tau=400_000_000,
    gamma_inverse=5,
    window=5,
    threshold=400_000_000,
    initial_reputation=500_000_000,
    evidence_limit=13_816,
    lifetime_epochs=10,
    directory_blocks=3,
    profile="seeded",
    max_nodes=MAX_NODES,
    tx_quota=16,
    verifier_quota=4_096,
    registration_work=16,
    registrations_per_block=32,
    voting_blocks=86_400,
    evidence_blocks=100_000,
    max_block_bytes=0,
    suspicion_limit=18_421,
)


def validate(params: Params) -> Params:
    """`params` as they are. Raises ConfigError naming the field that no chain may have."""
    for entry in fields(params):
        number = getattr(params, entry.name)
        fits = not isinstance(number, int) or 0 <= number <= MAX_UINT
        _require(fits, entry.name, f"{number} must lie within 0..{MAX_UINT}")
    windows = ("vrf_end", "commit_end", "send_end", "publish_end", "score_end", "reveal_end")
    before = 0
    for name in windows:
        offset: int = getattr(params, name)
        _require(offset > before, name, f"{offset} must be greater than the offset before it, {before}")
        before = offset
    held = params.epoch_blocks
    _require(held >= before, "epoch_blocks", f"{held} must be at least reveal_end, {before}")
    _require(
        held <= LONGEST_EPOCH, "epoch_blocks", f"{held} must not exceed {LONGEST_EPOCH}: votes are enacted at an epoch's end"
    )
    for name in ("assignment", "alpha", "beta", "tau", "threshold", "initial_reputation"):
        amount: int = getattr(params, name)
        _require(0 <= amount <= UNIT, name, f"{amount} must lie within 0..{UNIT}")
    _require(params.alpha + params.beta <= UNIT, "beta", f"alpha + beta must not exceed {UNIT}")
    _require(params.assignment > 0, "assignment", "0 would challenge nobody")
    _require(1 <= params.slots <= MAX_SLOTS, "slots", f"{params.slots} must lie within 1..{MAX_SLOTS}")
    _require(1 <= params.gamma_inverse <= 1000, "gamma_inverse", f"{params.gamma_inverse} must lie within 1..1000")
    _require(1 <= params.window <= 64, "window", f"{params.window} must lie within 1..64")
    _require(params.evidence_limit > 0, "evidence_limit", "0 would condemn every node")
    _require(params.lifetime_epochs >= 1, "lifetime_epochs", "nodes must live for an epoch at least")
    _require(params.directory_blocks >= 1, "directory_blocks", "must be 1 at least")
    _require(params.profile in PROFILES, "profile", f"{params.profile!r} is none of {', '.join(PROFILES)}")
    _require(1 <= params.max_nodes <= MAX_NODES, "max_nodes", f"{params.max_nodes} must lie within 1..{MAX_NODES}")
    _validate_admission(params)
    return params


def _validate_admission(params: Params) -> None:
    """What keeps floods out, and what governs: quotas, the registration puzzle, voting, evidence, block size."""
    _require(params.tx_quota >= LEAST_QUOTA, "tx_quota", f"{params.tx_quota} must be at least {LEAST_QUOTA}")
    held, least = params.verifier_quota, LEAST_VERIFIER_QUOTA
    _require(held >= least, "verifier_quota", f"{held} must be at least {least}, or the committee could not do its work")
    bits = params.registration_work
    _require(0 <= bits <= MAX_WORK_BITS, "registration_work", f"{bits} bits must lie within 0..{MAX_WORK_BITS}")
    _require(params.registrations_per_block >= 1, "registrations_per_block", "0 would let nobody join")
    held = params.voting_blocks
    in_reach = LEAST_VOTING <= held <= LONGEST_VOTING
    _require(in_reach, "voting_blocks", f"{held} must lie within {LEAST_VOTING}..{LONGEST_VOTING}")
    _require(params.evidence_blocks >= 1, "evidence_blocks", "must be 1 at least")
    size = params.max_block_bytes
    fits = size == 0 or LEAST_BLOCK_BYTES <= size <= MAX_BLOCK_BYTES
    _require(fits, "max_block_bytes", f"{size} must be 0 or lie within {LEAST_BLOCK_BYTES}..{MAX_BLOCK_BYTES}")


def params_from_mapping(raw: Mapping[str, object], base: Params = DEFAULT) -> Params:
    """`base` with the named fields replaced. Raises ConfigError for an unknown field or a wrong type."""
    known = {field.name: type(getattr(DEFAULT, field.name)) for field in fields(DEFAULT)}
    given: dict[str, object] = {}
    for name in sorted(raw):
        value = raw[name]
        _require(name in known, name, "no such parameter")
        _require(type(value) is known[name], name, f"{value!r} must be of type {known[name].__name__}")
        given[name] = value
    return validate(replace(base, **given))  # type: ignore[arg-type]


def _require(holds: bool, name: str, why: str) -> None:
    if not holds:
        raise ConfigError(f"params.{name}: {why}")
