"""What one node says about its own cache: numbered, signed deltas, a log of the last ones, and a snapshot for who is behind.

Pure: the caller says when to flush and carries the bytes. Changes wait in `record` and `report` until `flush` numbers them.
Rules of sequence numbers: `docs/forwarding.md` section 4.3.
"""

from collections import deque

from network.crypto import SigningKey
from network.hrdelta import (
    MAX_DELTA,
    MAX_SNAPSHOT,
    MAX_SNAPSHOT_SYMBOLS,
    Change,
    ChangeKind,
    LoadReport,
    Section,
    Signed,
    SignedKind,
    Update,
    fold,
    sign,
)
from network.hrindex import HRIndex

LOG_LENGTH = 64
CHANGES_PER_DELTA = 256
SYMBOLS_PER_DELTA = 16 * 1024


class Journal:
    """Our own log. `sequence` is the number of the last delta made; `incarnation` tells one run of this node from the next."""

    def __init__(self, own: bytes, key: SigningKey, index: HRIndex, incarnation: int) -> None:
        self.own = own
        self.incarnation = incarnation
        self.sequence = 0
        self.load: LoadReport | None = None
        self._key = key
        self._index = index
        self._pending: list[tuple[int, ChangeKind, bytes]] = []
        self._load_changed = False
        self._log: deque[Signed] = deque(maxlen=LOG_LENGTH)

    @property
    def dirty(self) -> bool:
        """Whether a flush would make a delta."""
        return bool(self._pending) or self._load_changed

    @property
    def oldest(self) -> int:
        """The lowest sequence number still in the log; `sequence + 1` when the log is empty."""
        return self.sequence - len(self._log) + 1

    def record(self, generation: int, kind: ChangeKind, path: bytes) -> None:
        """Notes that a path is held, or dropped with all below it. A hold that extends the last one replaces it."""
        if self._pending and kind is ChangeKind.HOLD:
            last_generation, last_kind, last_path = self._pending[-1]
            if last_kind is kind and last_generation == generation and path.startswith(last_path):
                self._pending.pop()
        self._pending.append((generation, kind, path))

    def report(self, load: LoadReport) -> None:
        """Notes a new load; only a different one makes a delta."""
        self._load_changed = self._load_changed or load != self.load
        self.load = load

    def forget(self, generation: int) -> None:
        """What was noted of a generation and not flushed yet is not said: its paths belong to a space that is gone."""
        self._pending = [change for change in self._pending if change[0] != generation]

    def flush(self) -> int:
        """Numbers and signs everything noted since the last flush; returns how many deltas that made."""
        made = 0
        while self.dirty:
            sections = self._sections(self._take())
            self.sequence += 1
            update = Update(self._index.group, self.own, self.incarnation, self.sequence, sections, self.load)
            signed = sign(SignedKind.DELTA, update, self._key, self._index.chain_id)
            # CHANGES_PER_DELTA and SYMBOLS_PER_DELTA keep every delta we make far below what receivers accept.
            assert len(signed.body) <= MAX_DELTA
            self._log.append(signed)
            self._load_changed = False
            made += 1
        return made

    def since(self, sequence: int) -> tuple[Signed, ...]:
        """The deltas after `sequence`, oldest first; as much as the log still has."""
        skip = max(0, sequence + 1 - self.oldest)
        return tuple(self._log)[skip:]

    def snapshot(self) -> Signed:
        """Everything this node holds, newest paths first to go in when it would be too long.

        It may run ahead of `sequence`: changes not flushed yet come again in the next delta; applying one twice is harmless.
        """
        sections = tuple(
            Section(generation, self._index.space(generation).id, self._held(generation))
            for generation in self._index.generations()
            if self._index.tree(generation).held(self.own)
        )
        update = Update(self._index.group, self.own, self.incarnation, self.sequence, sections, self.load)
        return sign(SignedKind.SNAPSHOT, update, self._key, self._index.chain_id)

    def _held(self, generation: int) -> tuple[Change, ...]:
        newest = sorted(self._index.tree(generation).paths(self.own), reverse=True)
        # Two generations may be full; a change costs at most 12 bytes beside its symbols.
        symbols, room = MAX_SNAPSHOT_SYMBOLS // 2, MAX_SNAPSHOT // 4
        chosen: list[bytes] = []
        for _, path in newest:
            symbols -= len(path)
            room -= len(path) + 12
            if symbols < 0 or room < 0:
                break
            chosen.append(path)
        return fold((ChangeKind.HOLD, path) for path in sorted(chosen))

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

    def _sections(self, taken: list[tuple[int, ChangeKind, bytes]]) -> tuple[Section, ...]:
        generations = sorted({generation for generation, _, _ in taken if self._index.accepts(generation)})
        return tuple(
            Section(number, self._index.space(number).id, fold((kind, path) for at, kind, path in taken if at == number))
            for number in generations
        )
