"""The pure parts of the ledger's bench: transactions made beforehand, rates, percentiles, and the figures' form."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import ceil

from evals.report import Figure
from network.chain_tx import RegisterNode, TxKind, UpdateNode, build_tx
from network.crypto import SigningKey, exchange_public, sha256
from network.ids import Role

CHAIN_ID = "ledger-bench"
ADDRESS = "node." * 24 + "net:8800"  # 128 characters, as long as an address may be: it makes 300 bytes of a transaction
FIRST_NONCE = 1_700_000_000_000  # of the size that clients use: milliseconds since 1970


def figure(
    name: str,
    value: float,
    unit: str,
    baseline: str = "",
    base: float | None = None,
    *,
    most: float | None = None,
    least: float | None = None,
    most_ratio: float | None = None,
    least_ratio: float | None = None,
) -> Figure:
    """A row; ratio, goal and whether it holds follow from the values and the bounds. Without a bound there is no goal."""
    ratio = value / base if base else None
    bounds = [
        ("<= ", "", most, most is None or value <= most),
        (">= ", "", least, least is None or value >= least),
        ("<= ", " x", most_ratio, most_ratio is None or (ratio is not None and ratio <= most_ratio)),
        (">= ", " x", least_ratio, least_ratio is None or (ratio is not None and ratio >= least_ratio)),
    ]
    set_ones = [(f"{sign}{bound:g}{unit_}", kept) for sign, unit_, bound, kept in bounds if bound is not None]
    goal = " and ".join(text for text, _ in set_ones)
    return Figure(
        name,
        round(value, 3),
        unit,
        baseline,
        None if base is None else round(base, 3),
        None if ratio is None else round(ratio, 3),
        goal,
        all(kept for _, kept in set_ones) if set_ones else None,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed; infinite when there are none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else float("inf")


def block_rate(blocks: Sequence[tuple[float, int]], start: float, end: float) -> float:
    """Transactions per second of (time, transactions) blocks within `start`..`end`: the first one only starts the clock."""
    inside = [(when, count) for when, count in blocks if start <= when <= end]
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        return 0.0
    return sum(count for _, count in inside[1:]) / (inside[-1][0] - inside[0][0])


# No puzzles and no quotas to speak of: the load is to meet the ledger, not its doors.
OPEN_DOORS = {"registration_work": 0, "tx_quota": 10**9, "registrations_per_block": 10**9}


def signers(count: int) -> list[SigningKey]:
    """The keys that send, the same in every run."""
    return [SigningKey(sha256(b"evals/ledger", number.to_bytes(4, "big"))) for number in range(count)]


def registration(number: int, key: SigningKey, chain_id: str) -> bytes:
    """The signed transaction by which a relay joins."""
    onion = exchange_public(sha256(b"onion", key.public))
    body = RegisterNode(Role.RELAY, f"relay-{number:06}", onion, ADDRESS, f"family-{number:06}")
    return build_tx(TxKind.REGISTER_NODE, body, key=key, chain_id=chain_id, nonce=FIRST_NONCE)


def renewal(key: SigningKey, turn: int, chain_id: str) -> bytes:
    """The signed transaction by which a relay says that it lives, and where: its `turn`-th, from 1."""
    body = UpdateNode(exchange_public(sha256(b"onion", key.public)), ADDRESS)
    return build_tx(TxKind.UPDATE_NODE, body, key=key, chain_id=chain_id, nonce=FIRST_NONCE + turn)


def pair_like(raw: bytes) -> bytes:
    """A transaction as CometBFT's kvstore takes it, `key=value`, of the same length and as hard to compress to a hash."""
    name = sha256(raw).hex()
    return f"{name}={(raw.hex() * 2)[: len(raw) - len(name) - 1]}".encode()


def wire(raw: bytes) -> str:
    """A transaction as CometBFT's JSON carries it."""
    return base64.b64encode(raw).decode()


def document(commit: str, machine: str, figures: Sequence[Figure]) -> str:
    """The figures as the one JSON document of design section 10."""
    rows = [asdict(row) for row in figures]
    return json.dumps({"name": "ledger", "commit": commit, "machine": machine, "figures": rows}, indent=2)


def table(commit: str, machine: str, figures: Sequence[Figure]) -> str:
    """The figures for people."""
    lines = [f"{'figure':34} {'value':>11} {'unit':6} {'baseline':>11} {'ratio':>7}  goal"]
    for row in figures:
        base = "" if row.baseline_value is None else f"{row.baseline_value:.2f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        verdict = "" if row.holds is None else ("  holds" if row.holds else "  MISSED")
        lines.append(f"{row.id:34} {row.value:11.2f} {row.unit:6} {base:>11} {ratio:>7}  {row.goal}{verdict}")
    notes = dict.fromkeys(row.baseline for row in figures if row.baseline)
    lines += [f"baseline of {', '.join(r.id for r in figures if r.baseline == note)}: {note}" for note in notes]
    return "\n".join([*lines, f"{machine}; commit {commit}"])
