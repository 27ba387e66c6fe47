"""What one node says about its own cache: numbered, chained deltas, a log of the last ones, and a snapshot for who is behind.

Pure: the caller says when to flush and carries the bytes. Changes wait in `record` and `report` until `flush` numbers them.
Every `SEAL_EVERY` deltas, and when `seal` asks for it, a delta is sealed: it tells the digest of all that is held, and the
head of the chain after it is signed. Rules of sequence numbers: `docs/forwarding.md` section 4.3.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from network.codec import encode
from network.crypto import SigningKey
from network.hrtree.delta import (
    DIGEST_LENGTH,
    MAX_DELTA,
    MAX_SNAPSHOT,
    MAX_SNAPSHOT_SYMBOLS,
    PAGE_DIGEST_LENGTH,
    PAGES,
    ChangeKind,
    Delta,
    Head,
    LoadReport,
    Seal,
    Section,
    Signed,
    SignedKind,
    Snapshot,
    first_link,
    group_tag,
    next_link,
    sign,
)
from network.hrtree.index import HRIndex
from network.hrtree.load import load_codes, rounded
from network.hrtree.recent import Recent, write_paths, write_section

LOG_LENGTH = 64
CHANGES_PER_DELTA = 256
SYMBOLS_PER_DELTA = 16 * 1024
SEAL_EVERY = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One delta of the log: its bytes, the signature over the head after it when it is sealed, and what it unfolds to."""

    body: bytes
    signature: bytes
    symbols: int


class Journal:
    """Our own log. `sequence` is the number of the last delta made; `incarnation` tells one run of this node from the next."""

    def __init__(self, own: bytes, key: SigningKey, index: HRIndex, incarnation: int) -> None:
        self.own = own
        self.incarnation = incarnation
        self.sequence = 0
        self.sealed = 0
        self.chain = first_link(index.group, own, incarnation)
        self.load: LoadReport | None = None
        self._key = key
        self._index = index
        self._pending: list[tuple[int, ChangeKind, bytes]] = []
        self._load_changed = False
        self._seal_asked = False
        self._log: deque[Entry] = deque(maxlen=LOG_LENGTH)
        self._recent = Recent()
        self._last_space = (0, b"")

    @property
    def dirty(self) -> bool:
        """Whether a flush would make a delta."""
        return bool(self._pending) or self._load_changed or self._seal_asked or bool(self._moved())

    @property
    def oldest(self) -> int:
        """The lowest sequence number still in the log; `sequence + 1` when the log is empty."""
        return self.sequence - len(self._log) + 1

    def record(self, generation: int, kind: ChangeKind, path: bytes) -> None:
        """Notes that a path is held, or dropped with all below it."""
        self._pending.append((generation, kind, path))

    def report(self, load: LoadReport) -> None:
        """Notes a new load; only one that its receivers could tell from the last makes a delta."""
        load = rounded(load)
        self._load_changed = self._load_changed or load != self.load
        self.load = load

    def seal(self) -> None:
        """Notes that the next flush must seal, unless the last delta is sealed: a node with no news still proves its head."""
        self._seal_asked = self._seal_asked or self.sealed < self.sequence

    def forget(self, generation: int) -> None:
        """What was noted of a generation and not flushed yet is not said: its paths belong to a space that is gone."""
        self._pending = [change for change in self._pending if change[0] != generation]

    def flush(self) -> int:
        """Numbers everything noted since the last flush; returns how many deltas that made."""
        made = 0
        self._pending = _merged(change for change in self._pending if self._index.accepts(change[0]))
        while self.dirty:
            taken = self._take()
            sections = self._sections([*self._moved(), *taken])
            self.sequence += 1
            # What is held is what has been said only once nothing waits any more.
            sealed = not self._pending and (self._seal_asked or self.sequence >= self.sealed + SEAL_EVERY)
            load = load_codes(self.load) if self.load and self._load_changed else ()
            body = encode(Delta(sections, load, sealed, self._seals() if sealed else ()))
            # CHANGES_PER_DELTA and SYMBOLS_PER_DELTA keep every delta we make far below what receivers accept.
            assert len(body) <= MAX_DELTA
            self.chain = next_link(self.chain, body)
            self._log.append(Entry(body, self.head().signature if sealed else b"", sum(len(path) for _, _, path in taken)))
            self._load_changed = False
            if sealed:
                self.sealed, self._seal_asked = self.sequence, False
            made += 1
        return made

    def head(self) -> Signed:
        """The head of our chain, signed."""
        head = Head(group_tag(self._index.group), self.own, self.incarnation, self.sequence, self.chain)
        return sign(SignedKind.HEAD, head, self._key, self._index.chain_id)

    def since(self, sequence: int) -> tuple[Entry, ...]:
        """The deltas after `sequence`, oldest first; none when the log does not reach back to it."""
        if sequence + 1 < self.oldest:
            return ()
        return tuple(self._log)[sequence + 1 - self.oldest :]

    def snapshot(self, pages: Sequence[bytes] = ()) -> Signed:
        """Everything this node holds; given an asker's page digests, only the pages that differ. *Flushes.*"""
        self.flush()
        own = {number: leaves(self._index, number, self.own) for number in self._live()}
        differ = [not pages or pages[at] != digest for at, digest in enumerate(page_digests(own))]
        sections = tuple(
            write_paths(number, self._index.space(number).id, self._listed(number, own[number], differ)) for number in own
        )
        generation, space = self._last_space
        snapshot = Snapshot(
            group=self._index.group,
            origin=self.own,
            incarnation=self.incarnation,
            sequence=self.sequence,
            chain=self.chain,
            sections=tuple(section for section in sections if section.codes),
            load=load_codes(self.load) if self.load else (),
            newest=self._recent.newest,
            generation=generation,
            space=space,
            partial=bool(pages),
            pages=sum(1 << at for at, unlike in enumerate(differ) if unlike) if pages else 0,
        )
        return sign(SignedKind.SNAPSHOT, snapshot, self._key, self._index.chain_id)

    def _listed(self, generation: int, held: dict[bytes, float], differ: list[bool]) -> list[tuple[bytes, int, bool]]:
        """Recent paths all, then what is held in the pages asked for, newest first until it would be too long; sorted."""
        recent = self._recent.numbers(generation)
        chosen = dict.fromkeys(recent)
        symbols, room = MAX_SNAPSHOT_SYMBOLS // 2, MAX_SNAPSHOT // 4
        for path in sorted(held, key=lambda path: -held[path]):
            if not differ[page_of(path)]:
                continue
            symbols -= len(path)
            room -= len(path) + 8
            if symbols < 0 or room < 0:
                break
            chosen[path] = None
        return [(path, recent.get(path, 0), path in held and differ[page_of(path)]) for path in sorted(chosen)]

    def _live(self) -> list[int]:
        """Generations of which there is something to tell, held or recent."""
        told = {number for number in self._recent.spaces if self._index.accepts(number)}
        return sorted(told | {number for number in self._index.generations() if self._index.tree(number).held(self.own)})

    def _seals(self) -> tuple[Seal, ...]:
        return tuple(
            Seal(number, self._index.space(number).id, digest(leaves(self._index, number, self.own))) for number in self._live()
        )

    def _moved(self) -> list[tuple[int, ChangeKind | None, bytes]]:
        """Generations whose space is another than we last spoke in: an empty section tells, and both ends start it anew."""
        told = self._recent.spaces
        stale = [number for number in told if self._index.accepts(number) and self._index.space(number).id != told[number]]
        if told and self._index.generation > max(told):
            stale.append(self._index.generation)
        return [(number, None, b"") for number in stale]

    def _take(self) -> list[tuple[int, ChangeKind, bytes]]:
        """The next run of pending changes that fits one delta."""
        symbols = count = 0
        for _, _, path in self._pending[:CHANGES_PER_DELTA]:
            symbols += len(path)
            if count and symbols > SYMBOLS_PER_DELTA:
                break
            count += 1
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _sections(self, taken: Sequence[tuple[int, ChangeKind | None, bytes]]) -> tuple[Section, ...]:
        written: list[Section] = []
        for number in sorted({generation for generation, _, _ in taken}):
            space = self._index.space(number).id
            changes = [(kind, path) for at, kind, path in taken if at == number and kind]
            section = write_section(self._recent, number, space, changes)
            if (number, space) == self._last_space:
                section = Section(0, b"", section.codes, section.symbols)
            self._last_space = (number, space)
            written.append(section)
        return tuple(written)


def leaves(index: HRIndex, generation: int, holder: bytes) -> dict[bytes, float]:
    """The longest paths that a holder holds, each with its last touch; all else it holds begins one of them."""
    return {path: touched for touched, path in index.tree(generation).paths(holder)}


def digest(paths: Iterable[bytes]) -> bytes:
    """What two copies of a set of paths are compared by."""
    running = blake2b(digest_size=DIGEST_LENGTH, person=b"ps-group-digest")
    for path in sorted(paths):
        running.update(len(path).to_bytes(4, "big") + path)
    return running.digest()


def page_of(path: bytes) -> int:
    """Which of the pages a path belongs to: spread evenly, whatever prompts have in common."""
    return blake2b(path, digest_size=1).digest()[0] % PAGES


def page_digests(held: dict[int, dict[bytes, float]]) -> tuple[bytes, ...]:
    """A digest for every page of what is held, over all generations."""
    pages: list[list[bytes]] = [[] for _ in range(PAGES)]
    for generation, paths in held.items():
        for path in paths:
            pages[page_of(path)].append(generation.to_bytes(8, "big") + path)
    return tuple(digest(page)[:PAGE_DIGEST_LENGTH] for page in pages)


def _merged(changes: Iterable[tuple[int, ChangeKind, bytes]]) -> list[tuple[int, ChangeKind, bytes]]:
    """Without holds that a later hold extends or repeats before anything was dropped."""
    kept: list[tuple[int, ChangeKind, bytes]] = []
    holds: dict[tuple[int, bytes], None] = {}
    for generation, kind, path in changes:
        if kind is ChangeKind.HOLD:
            holds.pop((generation, path), None)
            holds[generation, path] = None
            continue
        kept += _longest(holds)
        holds.clear()
        kept.append((generation, kind, path))
    return [*kept, *_longest(holds)]


def _longest(holds: dict[tuple[int, bytes], None]) -> list[tuple[int, ChangeKind, bytes]]:
    ordered = sorted(holds)
    covered = {one for one, two in pairwise(ordered) if one[0] == two[0] and two[1].startswith(one[1])}
    return [(generation, ChangeKind.HOLD, path) for generation, path in holds if (generation, path) not in covered]
