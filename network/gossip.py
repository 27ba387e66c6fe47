"""Gossip: what relays and model nodes tell each other about who is there, sans-IO.

Every period a node asks two random listed peers: it names what it knows (a digest), pushes its own heartbeat and the newest
others, and gets what the peer knows better. Users only pull, and say nothing. Every table, message and amount of work is
bounded; what a signature does not cover is not believed, and what the proven directory does not list is known but never
used. Implements `docs/overlay.md` section 11.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median, median_low

from network.chain_params import MAX_NODES
from network.chain_records import DirectoryEntry
from network.codec import Message, blobs, decode, encode, repeated
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import RemoteProtocolError
from network.freshness import Rng
from network.heartbeat import FRESH_MS, Heartbeat, is_authentic, is_timely, make_heartbeat
from network.ids import Role, node_id
from network.liveness import BEATS_PER_SECOND, Liveness
from network.rates import Allowance

PEERS = 2
PUSHED = 32
NEWCOMERS = 64
SPACING_MS = 500  # a node's heartbeats closer together than this are one
OFTEN = 64  # times out of 256 that a peer is asked which seems dead
SLICE = 64  # heartbeats that are verified before others get a turn
EVERYTHING_SECONDS = 1.0
REQUEST_LIMIT = 96 * 1024
ANSWER_LIMIT = 1280 * 1024
GOSSIP_PATH = "/gossip"
GOSSIP_ROLES = (Role.RELAY, Role.MODEL)

GossipStatus = dict[str, int | bool | float | None]

_PREFIX, _TIME = 10, 6


@dataclass(frozen=True, slots=True)
class GossipMessage(Message):
    """A question (digest, and a few heartbeats pushed) or an answer (heartbeats). A digest row is node id 10 | time 6."""

    digest: tuple[bytes, ...] = blobs(1, count=MAX_NODES + NEWCOMERS, size=_PREFIX + _TIME)
    beats: tuple[Heartbeat, ...] = repeated(2, Heartbeat, count=MAX_NODES + NEWCOMERS)


@dataclass(frozen=True, slots=True)
class _Heard:
    beat: Heartbeat
    at: float


class Gossip:
    """One process's table of heartbeats; with a `key` it beats itself. What it learns goes to `liveness`."""

    def __init__(
        self,
        chain_id: str,
        directory: Callable[[], Directory],
        liveness: Liveness,
        rng: Rng,
        *,
        key: SigningKey | None = None,
        address: str = "",
    ) -> None:
        self._chain_id = chain_id
        self._directory = directory
        self._liveness = liveness
        self._rng = rng
        self._key = key
        self._own_id = None if key is None else node_id(key.public)
        self._address = address
        self._most_strangers = 0 if key is None else NEWCOMERS
        self._heard: dict[bytes, _Heard] = {}
        self._strangers: dict[bytes, _Heard] = {}
        self._pushed = Allowance(PUSHED * 8, MAX_NODES)
        self._pulled = Allowance(2 * BEATS_PER_SECOND, MAX_NODES)
        self._everything = b""
        self._everything_at = float("-inf")
        self.counts: Counter[str] = Counter()

    def period(self) -> float:
        """Seconds between two of a node's heartbeats, and between its questions."""
        return self._liveness.period()

    def peers(self, now: float) -> list[DirectoryEntry]:
        """Whom to ask this time: listed nodes, the silent ones seldom, so that two halves of a split find each other again."""
        usable: list[DirectoryEntry] = []
        others: list[DirectoryEntry] = []
        for entry in self._directory().record.entries:
            if entry.role in GOSSIP_ROLES and entry.node_id != self._own_id:
                (usable if self._liveness.usable(entry, now) else others).append(entry)
        if others and (not usable or self._rng(1)[0] < OFTEN):
            return [*_some(usable, PEERS - 1, self._rng), *_some(others, 1, self._rng)]
        return _some(usable, PEERS, self._rng)

    def question(self, now: float) -> bytes:
        """What to ask a peer, with our own heartbeat in it."""
        self._forget_old(now)
        if self._own_id is not None and self._directory().get(self._own_id) is not None:
            self._liveness.heard(self._own_id, now)
        rows = self._live(now)
        newest = sorted(rows, key=lambda row: -row.at)[: PUSHED - 1]
        digest = tuple(row.beat.node_id[:_PREFIX] + row.beat.time.to_bytes(_TIME, "big") for row in rows)
        return encode(GossipMessage(digest, (*self._own(now), *(row.beat for row in newest))))

    def on_question(self, raw: bytes, now: float) -> bytes:
        """The answer to a peer. Raises RemoteProtocolError."""
        message = decode(GossipMessage, raw)
        if len(message.beats) > PUSHED:
            raise RemoteProtocolError("more heartbeats were pushed than anybody may push")
        for _ in self._take(message.beats, now, self._pushed):
            pass
        known = {row[:_PREFIX]: int.from_bytes(row[_PREFIX:], "big") for row in message.digest}
        return self._answer(now, known)

    def everything(self, now: float) -> bytes:
        """The answer to a user, who says nothing about itself; made once a second, however many ask."""
        if not 0 <= now - self._everything_at < EVERYTHING_SECONDS:
            self._everything, self._everything_at = self._answer(now, {}), now
        return self._everything

    def on_answer(self, raw: bytes, now: float) -> Iterator[None]:
        """Learn what a peer said, a slice at a time so that cells need not wait. Raises RemoteProtocolError."""
        self._forget_old(now)
        return self._take(decode(GossipMessage, raw).beats, now, self._pulled)

    def newcomers(self, now: float) -> int:
        """How many nodes beat that the directory does not list yet."""
        return sum(self._directory().get(row.beat.node_id) is None for row in self._live(now))

    def height(self, now: float) -> int:
        """The directory height that half of the listed nodes have reached by their own word; 0 when nobody was heard."""
        heights = [row.beat.height for row in self._live(now) if self._directory().get(row.beat.node_id) is not None]
        return median_low(heights) if heights else 0

    def clock_offset(self, now: float) -> float | None:
        """By how many seconds the neighbours' clocks are ahead of ours, less the seconds that their heartbeats travel."""
        offsets = [row.beat.time / 1000 - row.at for row in self._live(now)]
        return round(median(offsets), 1) if offsets else None

    def status(self, now: float) -> GossipStatus:
        """What an operator may read: counts of nodes, and no node's name."""
        return {
            "heard": len(self._live(now)),
            "newcomers": self.newcomers(now),
            "silent_relays": self._liveness.silent_relays(now),
            "doubted": self._liveness.is_doubted(now),
            "height": self.height(now),
            "clock_offset_s": self.clock_offset(now),
        }

    def failed(self, node_id: bytes, now: float) -> None:
        """A peer did not answer, or not properly."""
        self._liveness.failed(node_id, now)

    def worked(self, node_id: bytes) -> None:
        """A peer answered."""
        self._liveness.worked(node_id)

    def _own(self, now: float) -> tuple[Heartbeat, ...]:
        if self._key is None:
            return ()
        return (make_heartbeat(self._key, self._chain_id, now, self._address, self._directory().record.height),)

    def _answer(self, now: float, known: dict[bytes, int]) -> bytes:
        held = [row.beat for row in self._live(now)]
        newer = [beat for beat in held if beat.time >= known.get(beat.node_id[:_PREFIX], 0) + SPACING_MS]
        return encode(GossipMessage((), (*self._own(now), *newer)))

    def _take(self, beats: Iterable[Heartbeat], now: float, allowance: Allowance) -> Iterator[None]:
        """Believe what is newer, timely and signed. One bad signature ends it: no honest peer passes it on."""
        verified = strangers = 0
        for beat in beats:
            if len(beat.signing_key) == 0 or not self._is_news(beat, now):
                continue
            # Anybody can sign for keys of his own: who makes up nodes must not use up the work that listed ones are due.
            is_stranger = self._directory().get(beat.node_id) is None
            strangers += is_stranger
            if is_stranger and strangers > self._most_strangers:
                continue
            if not allowance.take(now):
                self.counts["over_allowance"] += 1
                return
            if not is_authentic(beat, self._chain_id):
                self.counts["bad_signature"] += 1
                raise RemoteProtocolError("a heartbeat's signature does not verify")
            self._keep(beat, now)
            verified += 1
            if verified % SLICE == 0:
                yield

    def _is_news(self, beat: Heartbeat, now: float) -> bool:
        name = beat.node_id
        held = self._heard.get(name) or self._strangers.get(name)
        if name == self._own_id or not is_timely(beat, now) or (held is not None and beat.time < held.beat.time + SPACING_MS):
            return False
        entry = self._directory().get(name)
        return entry is None or entry.role in GOSSIP_ROLES

    def _keep(self, beat: Heartbeat, now: float) -> None:
        name = beat.node_id
        self.counts["heartbeats"] += 1
        self._strangers.pop(name, None)
        entry = self._directory().get(name)
        if entry is None:
            self._heard.pop(name, None)
            if len(self._strangers) >= NEWCOMERS:
                del self._strangers[next(iter(self._strangers))]
            self._strangers[name] = _Heard(beat, now)
            return
        self._heard[name] = _Heard(beat, now)
        if beat.address == entry.address:  # elsewhere nobody would find it
            self._liveness.heard(name, now)

    def _forget_old(self, now: float) -> None:
        """A heartbeat that is too old to be taken again need not be remembered."""
        oldest = int(now * 1000) - FRESH_MS
        for table in (self._heard, self._strangers):
            for name in [name for name, row in table.items() if row.beat.time < oldest]:
                del table[name]

    def _live(self, now: float) -> list[_Heard]:
        """What may be passed on: a heartbeat that is no longer news says nothing."""
        patience = self._liveness.patience()
        rows = [*self._heard.values(), *self._strangers.values()]
        return [row for row in rows if now - row.at <= patience][: MAX_NODES + NEWCOMERS - 1]


def _some(entries: list[DirectoryEntry], count: int, rng: Rng) -> list[DirectoryEntry]:
    """`count` of these, at random."""
    return sorted(entries, key=lambda _: rng(8))[:count]
