"""What a relay does per cell and per set-up, and what a path set costs its user; cores only, no sockets."""

import os
import random
import time
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evals.overlay.messages import NONCE, NOW
from evals.overlay.rounds import Round, in_turns, repeated, through, timed
from evals.report import Row, row
from network.cell import CellKind, credit_cell, decode_cell, encode_cell
from network.chain_records import DirectoryEntry, DirectoryRecord
from network.circuit import Circuit, State
from network.commands import Command, SendCell, SendCells, TellWhenWritten
from network.crypto import derive, exchange, exchange_public
from network.directory import Directory
from network.events import CellArrived, FrameArrived, LinkReady
from network.geometry import CELLS_PER_FRAME, GEOMETRY
from network.handshake import HopIdentity, OnionKey, UserHandshake
from network.ids import Role
from network.onion import HopKeys, RelayLayer, UserLayers, keystream
from relay.core import RelayCore
from relay.limits import Limits

CELLS = 200
CREATES = 25
UNHURRIED = Limits(creates_per_second=2**40, creates_burst_per_link=2**40)  # no puzzles: the clock stands still here
USERS_LINK = 1  # as the user numbers it
# Tor, C: 15 MB/s planned of one daemon (tor-relays list, 2013), AES-CTR layers of 58 ns per cell (issue 41075).
TOR_CELLS = ("Tor, one core, 15 MB/s (2013) in cells of this size", 15_000.0)
TOR_LAYER = ("Tor, one AES-CTR layer of a 509-byte cell", 0.058)
OPEN_1K, STREAM_1K = "one AES-256-GCM opening of 1 KiB", "AES-256-CTR over 1 KiB"


class Chain:
    """Three relay cores in a row and nobody else, in memory."""

    def __init__(self, draw: random.Random) -> None:
        self._privates = [draw.randbytes(32) for _ in range(GEOMETRY.hops)]
        names = [f"relay-{number}" for number in range(GEOMETRY.hops)]
        self._entries = [
            DirectoryEntry(draw.randbytes(20), draw.randbytes(32), exchange_public(private), Role.RELAY, name, name, name)
            for name, private in zip(names, self._privates, strict=True)
        ]
        listed = tuple(sorted(self._entries, key=lambda each: each.node_id))
        self._directory = Directory(DirectoryRecord("bench", 1, 1, b"", listed), 1)
        self.directory = self._directory.name
        self.hops = [HopIdentity(each.node_id, each.onion_key) for each in self._entries]
        self.cores = [self.fresh_core(number) for number in range(GEOMETRY.hops)]

    def fresh_core(self, number: int = 0, limits: Limits = UNHURRIED) -> RelayCore:
        """A relay of this chain that carries nothing yet."""
        entry = self._entries[number]
        onion_keys = [OnionKey(self._privates[number], entry.onion_key)]
        return RelayCore(entry.node_id, onion_keys, lambda: self._directory, os.urandom, limits)

    def open(self) -> tuple[Circuit, tuple[int, int], float]:
        """A circuit through all three, the first relay's links in and out, and the seconds that the user's end took."""
        started = time.thread_time()
        circuit = Circuit(self.hops, self.directory, USERS_LINK, os.urandom)
        sent = last_cell(circuit.build(NOW))
        spent = time.thread_time() - started
        links = []
        for core in self.cores:
            arrived_on = core.new_link()
            sent = last_cell(core.on_event(FrameArrived(arrived_on, sent.cell), NOW))
            links.append((arrived_on, sent.link))
        for core, (_, outward) in zip(self.cores[-2::-1], links[-2::-1], strict=True):
            sent = last_cell(core.on_event(FrameArrived(outward, sent.cell), NOW))
        started = time.thread_time()
        circuit.on_event(CellArrived(USERS_LINK, sent.cell), NOW)
        spent += time.thread_time() - started
        assert circuit.state is State.OPEN
        return circuit, links[0], spent


def last_cell(commands: list[Command]) -> SendCell:
    """The cell that a core sends last."""
    for command in reversed(commands):
        if isinstance(command, SendCells):
            return SendCell(command.link, command.cells[-1])
        if isinstance(command, SendCell):
            return command
    raise AssertionError(f"no cell among {commands}")


def layers(draw: random.Random, repeat: int) -> list[Row]:
    """One relay's layer alone: opened forward, added backward."""
    keys = [HopKeys(*(draw.randbytes(32) for _ in range(4))) for _ in range(GEOMETRY.hops)]
    user, first, data = UserLayers(keys), RelayLayer(keys[0]), draw.randbytes(GEOMETRY.forward_body)
    body, kilobyte = draw.randbytes(GEOMETRY.cell_body), draw.randbytes(1024)
    stream = keystream(draw.randbytes(32))
    forward = through(lambda: [user.wrap(data) for _ in range(CELLS)], first.peel)
    backward, limit = repeated(CELLS, lambda: first.wrap(body)), repeated(CELLS, lambda: stream.update(kilobyte))
    return [
        timed("relay_layer_forward", repeat, forward, opening(draw), OPEN_1K, published=TOR_LAYER, at_most=3.0),
        timed("relay_layer_backward", repeat, backward, limit, STREAM_1K, published=TOR_LAYER, at_most=1.5),
    ]


def cores(draw: random.Random, repeat: int) -> list[Row]:
    """The whole core of a first relay, from a full frame's arrival to the command that passes its cells on; per cell."""
    chain = Chain(draw)
    circuit, (inward, outward), _ = chain.open()
    core, data = chain.cores[0], draw.randbytes(GEOMETRY.forward_body)
    sent = last_cell(core.on_event(FrameArrived(inward, last_cell(circuit.send(data)).cell), NOW))
    outward_id, inward_id = decode_cell(sent.cell)[0], circuit.link_id
    returning = encode_cell(outward_id, CellKind.BACKWARD, draw.randbytes(GEOMETRY.cell_body)) * CELLS_PER_FRAME

    def carry(arrived_on: int, frame: bytes, onward: int, credit: bytes) -> None:
        """One frame through the core, and what the other end owes for it: credit and word that all was written."""
        for command in core.on_event(FrameArrived(arrived_on, frame), NOW):
            if isinstance(command, TellWhenWritten):
                core.on_event(LinkReady(command.link), NOW)
        core.on_event(FrameArrived(onward, credit), NOW)

    def frames() -> list[bytes]:
        made = []
        for _ in range(CELLS // CELLS_PER_FRAME):
            made.append(b"".join(last_cell(circuit.send(data)).cell for _ in range(CELLS_PER_FRAME)))
            circuit.on_event(CellArrived(USERS_LINK, credit_cell(inward_id, CELLS_PER_FRAME)), NOW)
        return made

    given_out, given_in = credit_cell(outward_id, CELLS_PER_FRAME), credit_cell(inward_id, CELLS_PER_FRAME)
    forward = per_cell(through(frames, lambda frame: carry(inward, frame, outward, given_out)))
    backward = per_cell(repeated(CELLS // CELLS_PER_FRAME, lambda: carry(outward, returning, inward, given_in)))
    rows = [
        timed("relay_core_forward", repeat, forward, opening(draw), OPEN_1K, at_most=3.0),
        timed("relay_core_backward", repeat, backward, opening(draw), OPEN_1K, at_most=3.0),
    ]
    rate = 1e6 / rows[0].figure.value
    rows.append(row("relay_core_cells", rate, "1/s", at_least=100_000.0, published=TOR_CELLS))
    lost = {name: n for name, n in core.counts.items() if name.startswith("dropped")}
    assert not lost, f"cells were dropped instead of carried: {lost}"
    return rows


def per_cell(frames: Round) -> Round:
    """A round of full frames, by the cell."""
    return lambda: frames() / CELLS_PER_FRAME


def creates(draw: random.Random, repeat: int) -> list[Row]:
    """Set-ups that one relay core accepts in a second of CPU time."""
    chain = Chain(draw)
    private, peer = draw.randbytes(32), exchange_public(draw.randbytes(32))

    def least() -> None:
        exchange_public(private)
        secret = exchange(private, peer) + exchange(private, peer)
        derive(secret, salt=peer, info=b"bench", length=HopKeys.LENGTH)

    found = in_turns(repeat, through(lambda: fresh_set_ups(chain), accepted), repeated(CREATES, least))
    mine, theirs = ([1 / seconds for seconds in side] for side in found)
    text = "one X25519 key generation, two exchanges, one HKDF"
    rate, limit = median(mine), median(theirs)
    return [row("relay_creates", rate, "1/s", baseline=text, baseline_value=limit, at_least=8000.0, samples=mine)]


def fresh_set_ups(chain: Chain) -> list[tuple[RelayCore, FrameArrived]]:
    """Set-ups for a relay that carries nothing yet, and it."""
    core = chain.fresh_core()
    link = core.new_link()
    bodies = [UserHandshake(chain.hops, chain.directory, os.urandom).create(NOW, os.urandom) for _ in range(CREATES)]
    return [(core, FrameArrived(link, encode_cell(os.urandom(8), CellKind.CREATE, body))) for body in bodies]


def accepted(item: tuple[RelayCore, FrameArrived]) -> None:
    """What one of them costs the relay."""
    assert item[0].on_event(item[1], NOW), "a set-up was refused"


def path_sets(draw: random.Random, repeat: int) -> list[Row]:
    """CPU time of a user who builds four circuits of three hops."""
    chain, hops = Chain(draw), GEOMETRY.n * GEOMETRY.hops
    private, peer = draw.randbytes(32), exchange_public(draw.randbytes(32))

    def least() -> None:
        for _ in range(hops):
            exchange_public(private)
            exchange(private, peer)
            exchange(private, peer)

    mine, theirs = in_turns(repeat, lambda: sum(chain.open()[2] for _ in range(GEOMETRY.n)), repeated(1, least))
    text = f"{hops} X25519 key generations, {2 * hops} exchanges"
    spent = [seconds * 1e3 for seconds in mine]
    limit = median(theirs) * 1e3
    return [row("path_set_client_cpu", median(spent), "ms", baseline=text, baseline_value=limit, at_most=2.0, samples=spent)]


def opening(draw: random.Random) -> Round:
    """The baseline of work per cell."""
    aead = AESGCM(draw.randbytes(32))
    sealed = aead.encrypt(NONCE, draw.randbytes(1024), None)
    return repeated(CELLS, lambda: aead.decrypt(NONCE, sealed, None))
