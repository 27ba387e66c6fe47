"""What one prompt costs its user before it leaves: S-IDA, the seal, the whole request, and its bytes on the wire."""

import os
import random
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evals.overlay.rounds import repeated, timed
from evals.report import Row, row
from network.chain_records import DirectoryEntry
from network.clove import Clove, open_clove, seal_clove
from network.codec import encode
from network.commands import Command, SendData
from network.crypto import exchange, exchange_public
from network.freshness import minute_of
from network.geometry import COMMITMENT, GEOMETRY, TAG, Seal
from network.hpke import OnionPrivate, Opener, seal_to
from network.ids import Role
from network.inference import Endpoint, InferenceRequest
from network.modes import Mode
from network.session import Session
from network.sida import combine, split

NOW = 1_800_000_000.0
NONCE = bytes(12)
SIZES = {"1k": 1024, "8k": 8192, "32k": 32_768, "128k": 131_072, "1m": 1_048_576}
BATCH = {"1k": 200, "8k": 200, "32k": 100, "128k": 40, "1m": 4}
SPLIT_AT_MOST = {"1k": 8.0, "8k": 10.0, "32k": 14.0, "128k": 30.0}
PARITY_AT_MOST = {"8k": 10.0, "32k": 15.0, "1m": 400.0}
SEALING, OPENING = "AES-256-GCM of the same bytes", "AES-256-GCM opening the same bytes"


def dispersal(label: str, draw: random.Random, repeat: int) -> list[Row]:
    """S-IDA of one size: split, combine, and combine when the first slice is lost."""
    size, batch, n, k = SIZES[label], BATCH[label], GEOMETRY.n, GEOMETRY.k
    message, aead = draw.randbytes(size), AESGCM(draw.randbytes(32))
    sealed, total = aead.encrypt(NONCE, message, None), size + COMMITMENT + TAG
    slices = {each.index: each for each in split(message, n, k, os.urandom)}
    first = {index: slices[index] for index in range(k)}
    parity = {index: slices[index] for index in range(1, n)}
    seal = repeated(batch, lambda: aead.encrypt(NONCE, message, None))
    opening = repeated(batch, lambda: aead.decrypt(NONCE, sealed, None))
    splitting = repeated(batch, lambda: split(message, n, k, os.urandom))
    whole = repeated(batch, lambda: combine(first, n, k, total))
    repaired = repeated(batch, lambda: combine(parity, n, k, total))
    at_ratio = 1.6 if label == "1m" else None
    return [
        timed(f"split.{label}", repeat, splitting, seal, SEALING, at_most=SPLIT_AT_MOST.get(label), ratio_at_most=at_ratio),
        timed(f"combine.{label}", repeat, whole, opening, OPENING),
        timed(f"combine_parity.{label}", repeat, repaired, opening, OPENING, at_most=PARITY_AT_MOST.get(label)),
    ]


def seals(draw: random.Random, repeat: int) -> list[Row]:
    """One clove that fills one cell, sealed and opened."""
    private, other = draw.randbytes(32), draw.randbytes(32)
    public, aead = exchange_public(private), AESGCM(draw.randbytes(32))
    message = draw.randbytes(GEOMETRY.padded_message(1, Seal.X25519.overhead))
    part = split(message, GEOMETRY.n, GEOMETRY.k, os.urandom)[0]
    total = len(message) + COMMITMENT + TAG
    clove = Clove(GEOMETRY.n, GEOMETRY.k, minute_of(NOW), draw.randbytes(16), draw.randbytes(16), total, part)
    sealed, opener = seal_clove(clove, public), Opener(OnionPrivate(private))
    inner = aead.encrypt(NONCE, sealed, None)

    def least_to_seal() -> None:
        exchange_public(other)
        exchange(other, public)
        aead.encrypt(NONCE, sealed, None)

    def least_to_open() -> None:
        exchange(private, public)
        aead.decrypt(NONCE, inner, None)

    ours = repeated(20, lambda: seal_clove(clove, public)), repeated(20, lambda: open_clove(sealed, opener))
    agreed = "X25519 key generation and exchange, AES-256-GCM of the same bytes"
    return [
        timed("clove_seal", repeat, ours[0], repeated(20, least_to_seal), agreed),
        timed("clove_open", repeat, ours[1], repeated(20, least_to_open), "X25519 exchange, AES-256-GCM of the same bytes"),
    ]


def requests(draw: random.Random, repeat: int) -> list[Row]:
    """A request made ready whole, from its bytes to the data of all cells."""
    entry = model_node(draw)
    rows = []
    for label in ("1k", "8k", "32k", "128k"):
        request = prompt_of(SIZES[label], draw)
        ours = repeated(5, partial(prepare, request, entry))
        base = repeated(5, partial(seal_to, Seal.X25519, entry.onion_key, request, b"bench"))
        rows.append(timed(f"request_prepare.{label}", repeat, ours, base, "the request sealed once by HPKE, sent as it is"))
    return rows


def prepare(request: bytes, entry: DirectoryEntry) -> list[Command]:
    """All that a user node does before the first cell leaves."""
    return Session(request, entry, NOW, os.urandom, Mode.SPEEDY).start(NOW)


def wire(draw: random.Random) -> list[Row]:
    """Bytes on the user's links per byte of prompt; worst and mean over sizes spaced evenly by their logarithm."""
    entry = model_node(draw)
    rows = []
    for label in ("1k", "8k", "32k", "128k"):
        cells = sum(isinstance(command, SendData) for command in prepare(prompt_of(SIZES[label], draw), entry))
        limit = None if label == "1k" else 2.2
        rows.append(_per_byte(f"wire_per_prompt_byte.{label}", cells * GEOMETRY.cell / SIZES[label], limit))
    found = []
    for step in range(401):
        size = round(8192 * 16 ** (step / 400))
        bucket = GEOMETRY.bucket(len(prompt_of(size, draw)), Seal.X25519.overhead)
        assert bucket is not None
        found.append(bucket * GEOMETRY.n * GEOMETRY.cell / size)
    rows.append(_per_byte("wire_per_prompt_byte.8k_to_128k", sum(found) / len(found), 2.2, found))
    rows.append(_per_byte("wire_per_prompt_byte.worst", max(found), 2.2))
    return rows


def _per_byte(name: str, value: float, limit: float | None, samples: list[float] | None = None) -> Row:
    least = GEOMETRY.n / GEOMETRY.k
    baseline = f"{GEOMETRY.n}/{GEOMETRY.k}: the least for {GEOMETRY.n} slices of which {GEOMETRY.k} suffice"
    return row(name, value, "B/B", baseline=baseline, baseline_value=least, at_most=limit, samples=samples or ())


def prompt_of(size: int, draw: random.Random) -> bytes:
    """A request whose prompt has `size` bytes."""
    return encode(InferenceRequest("bench", Endpoint.CHAT, draw.randbytes(32), None, draw.randbytes(size), 60_000))


def model_node(draw: random.Random) -> DirectoryEntry:
    """Somebody to seal to."""
    public = exchange_public(draw.randbytes(32))
    return DirectoryEntry(draw.randbytes(20), draw.randbytes(32), public, Role.MODEL, "model", "127.0.0.1:1", "family")
