"""What one prompt costs its user before it leaves: S-IDA, the seal, the whole request, and its bytes on the wire."""

import os
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evals.overlay.rounds import Round, repeated, through, timed
from evals.report import Row, row
from network.cell import Command as DataCommand
from network.cell import HandOverReader, decode_data
from network.chain_records import DirectoryEntry
from network.clove import Clove, open_clove, seal_clove
from network.codec import encode
from network.commands import Command, SendData, StartReply
from network.crypto import exchange, exchange_public
from network.events import HandoverArrived
from network.freshness import minute_of
from network.geometry import COMMITMENT, GEOMETRY, TAG, Seal
from network.handover import Handover, encode_handover
from network.hpke import OnionPrivate, Opener, hybrid_public, seal_to
from network.ids import Role
from network.inference import Endpoint, InferenceRequest
from network.modes import Mode
from network.sealing import DEFAULT_SEALING, Sealing
from network.session import Session
from network.sida import combine, split
from serving_node.inbox import Inbox

NOW = 1_800_000_000.0
NONCE = bytes(12)
SIZES = {"1k": 1024, "8k": 8192, "32k": 32_768, "128k": 131_072, "1m": 1_048_576}
BATCH = {"1k": 200, "8k": 200, "32k": 100, "128k": 40, "1m": 4}
SPLIT_AT_MOST = {"1k": 8.0, "8k": 10.0, "32k": 14.0, "128k": 30.0}
PARITY_AT_MOST = {"8k": 10.0, "32k": 15.0, "1m": 400.0}
# Reference code in C++ (-O2), 2-vCPU AMD EPYC at 2.6 GHz; its splitting and combining alone.
PUBLISHED_CODE = "the published C++ code, -O2, measured on a 2.6 GHz AMD EPYC"
PUBLISHED_SPLIT = {"1k": 51.8, "8k": 256.0, "32k": 1057.0, "128k": 4353.0, "1m": 34760.0}
PUBLISHED_COMBINE = {"1k": 43.8, "8k": 308.0, "32k": 1281.0, "128k": 5273.0, "1m": 42480.0}
PUBLISHED_WIRE = ("the published C++ code, unpadded", 5.3)
SEAL_TEXT = "X25519 key generation and exchange, AES-256-GCM of the same bytes"
OPEN_TEXT = "X25519 exchange, AES-256-GCM of the same bytes"
PLAIN_TEXT = "the same request in plain cloves, the published design's (a hash of every clove instead of seals)"
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
    split_there, combine_there = (PUBLISHED_CODE, PUBLISHED_SPLIT[label]), (PUBLISHED_CODE, PUBLISHED_COMBINE[label])
    limits = {"at_most": SPLIT_AT_MOST.get(label), "ratio_at_most": at_ratio}
    most = PARITY_AT_MOST.get(label)
    return [
        timed(f"split.{label}", repeat, splitting, seal, SEALING, published=split_there, **limits),
        timed(f"combine.{label}", repeat, whole, opening, OPENING, published=combine_there),
        timed(f"combine_parity.{label}", repeat, repaired, opening, OPENING, published=combine_there, at_most=most),
    ]


def seals(draw: random.Random, repeat: int) -> list[Row]:
    """One clove of the shortest message, sealed and opened under both suites."""
    private, other = OnionPrivate(draw.randbytes(32), draw.randbytes(96)), draw.randbytes(32)
    public, aead = {Seal.X25519: exchange_public(private.x25519), Seal.HYBRID: hybrid_public(private.hybrid)}, AESGCM(other)
    message = draw.randbytes(GEOMETRY.padded_message(1, Seal.X25519.overhead))
    part = split(message, GEOMETRY.n, GEOMETRY.k, os.urandom)[0]
    total = len(message) + COMMITMENT + TAG
    clove = Clove(GEOMETRY.n, GEOMETRY.k, minute_of(NOW), draw.randbytes(16), draw.randbytes(16), total, part)
    sealed = {seal: seal_clove(clove, key, seal) for seal, key in public.items()}
    opener, plain = Opener(private), sealed[Seal.X25519]
    inner = aead.encrypt(NONCE, plain, None)

    def least_to_seal() -> None:
        exchange_public(other)
        exchange(other, public[Seal.X25519])
        aead.encrypt(NONCE, plain, None)

    def least_to_open() -> None:
        exchange(private.x25519, public[Seal.X25519])
        aead.decrypt(NONCE, inner, None)

    rows = []
    for suffix, seal in (("", Seal.X25519), (".hybrid", Seal.HYBRID)):
        sealing = repeated(20, partial(seal_clove, clove, public[seal], seal))
        opening = repeated(20, partial(open_clove, sealed[seal], opener))
        rows.append(timed(f"clove_seal{suffix}", repeat, sealing, repeated(20, least_to_seal), SEAL_TEXT))
        rows.append(timed(f"clove_open{suffix}", repeat, opening, repeated(20, least_to_open), OPEN_TEXT))
    return rows


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


def prepare(request: bytes, entry: DirectoryEntry, sealing: Sealing = DEFAULT_SEALING) -> list[Command]:
    """All that a user node does before the first cell leaves."""
    return Session(request, entry, NOW, os.urandom, Mode.SPEEDY, sealing).start(NOW)


def sealed_requests(draw: random.Random, repeat: int) -> list[Row]:
    """What sealing costs both ends of a request: each suite beside plain cloves, which every proxy could read a share of."""
    private, hybrid_private = draw.randbytes(32), draw.randbytes(96)
    entry = replace(model_node(draw), onion_key=exchange_public(private), hybrid_key=hybrid_public(hybrid_private))
    request = prompt_of(SIZES["8k"], draw)

    def preparing(seal: str) -> Round:
        return repeated(5, partial(prepare, request, entry, Sealing(seal)))

    def opening(seal: str) -> Round:
        inboxes = [Inbox(private, hybrid_private, accept_plain=True) for _ in range(5)]
        make = partial(_arrivals, request, entry, Sealing(seal))
        return through(lambda: [(inbox, make()) for inbox in inboxes], lambda pair: _open(*pair))

    rows = []
    for seal in ("x25519", "hybrid"):
        rows.append(timed(f"sealed_prepare.8k.{seal}", repeat, preparing(seal), preparing("plain"), PLAIN_TEXT))
        rows.append(timed(f"sealed_open.8k.{seal}", repeat, opening(seal), opening("plain"), PLAIN_TEXT))
    return rows


def _arrivals(request: bytes, entry: DirectoryEntry, sealing: Sealing) -> list[HandoverArrived]:
    """The first k cloves of a request, as their proxies hand them over."""
    cloves = sealed_cloves(prepare(request, entry, sealing))
    return [HandoverArrived(1, encode_handover(Handover.CLOVE, *clove)) for clove in cloves[: GEOMETRY.k]]


def sealed_cloves(commands: Iterable[object]) -> list[tuple[bytes, bytes]]:
    """(return token, sealed clove) of every path, as its proxy puts them together from what the user node sends."""
    readers: dict[int, HandOverReader] = {}
    for command in commands:
        assert isinstance(command, SendData)
        kind, payload = decode_data(command.data)
        if kind is DataCommand.HAND_OVER:
            readers[command.path] = HandOverReader(payload)
        else:
            readers[command.path].add(payload)
    return [(reader.token, reader.clove() or b"") for reader in readers.values()]


def _open(inbox: Inbox, arrivals: list[HandoverArrived]) -> None:
    commands = [command for event in arrivals for command in inbox.on_event(event, NOW)]
    assert any(isinstance(command, StartReply) for command in commands)


def wire(draw: random.Random) -> list[Row]:
    """Bytes on the user's links per byte of prompt, by seal and padding: means over sizes spaced evenly by their logarithm."""
    hybrid = model_node(draw)
    rows = []
    for label in ("1k", "8k", "32k", "128k"):
        cells = sum(isinstance(command, SendData) for command in prepare(prompt_of(SIZES[label], draw), hybrid))
        rows.append(_per_byte(f"wire_per_prompt_byte.{label}", [cells * GEOMETRY.cell / SIZES[label]], None))
    for seal, padding, most in (
        ("hybrid", "pow2", 2.2),
        ("x25519", "pow2", 2.2),
        ("hybrid", "padme", 1.6),
        ("x25519", "padme", 1.6),
    ):
        found = _wire_between(8192, 131_072, Sealing(seal, padding), hybrid, draw)
        rows.append(_per_byte(f"wire_8k_to_128k.{seal}.{padding}", found, most))
    return rows


def _wire_between(low: int, high: int, sealing: Sealing, entry: DirectoryEntry, draw: random.Random) -> list[float]:
    """Bytes per byte of prompts from `low` to `high`, by the same rule that packs them."""
    chosen = sealing.choose(entry)
    assert chosen is not None
    found = []
    for step in range(401):
        size = round(low * (high / low) ** (step / 400))
        cells = GEOMETRY.bucket(len(prompt_of(size, draw)), chosen[0].overhead, sealing.sizes)
        assert cells is not None
        found.append(cells * GEOMETRY.n * GEOMETRY.cell / size)
    return found


def _per_byte(name: str, found: list[float], limit: float | None) -> Row:
    least = GEOMETRY.n / GEOMETRY.k
    text = f"{GEOMETRY.n}/{GEOMETRY.k}: the least for {GEOMETRY.n} slices of which {GEOMETRY.k} suffice"
    mean, samples = sum(found) / len(found), found if len(found) > 1 else ()
    return row(name, mean, "B/B", baseline=text, baseline_value=least, at_most=limit, samples=samples, published=PUBLISHED_WIRE)


def prompt_of(size: int, draw: random.Random) -> bytes:
    """A request whose prompt has `size` bytes."""
    return encode(InferenceRequest("bench", Endpoint.CHAT, draw.randbytes(32), None, draw.randbytes(size), 60_000))


def model_node(draw: random.Random) -> DirectoryEntry:
    """Somebody to seal to."""
    public, hybrid = exchange_public(draw.randbytes(32)), hybrid_public(draw.randbytes(96))
    return DirectoryEntry(
        draw.randbytes(20), draw.randbytes(32), public, Role.MODEL, "model", "127.0.0.1:1", "family", hybrid_key=hybrid
    )
