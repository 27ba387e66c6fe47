"""Present values kept in memory: the same answers as from the database, whatever is written, replaced or removed."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.aio import versions
from abci_app.aio.versions import Rows

KEYS = st.binary(min_size=1, max_size=1)
VALUES = st.none() | st.binary(min_size=1, max_size=3) | st.just(bytes(versions._REMEMBERED_BYTES + 1))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=5) | KEYS, max_size=30), st.integers(0, 4))
def test_what_is_remembered_is_what_is_there(steps: list[dict[bytes, bytes | None] | bytes], remember: int) -> None:
    database: dict[bytes, bytes] = {}
    rows = Rows(database, 1, remember)
    for step in steps:
        if isinstance(step, bytes):
            assert rows.read(step, 1) == rows.present(step) == database.get(step)
            continue
        for key, value in step.items():
            if value is None:
                database.pop(key, None)
            else:
                database[key] = value
        rows.wrote(step)
        assert len(rows._present) <= remember
    assert all(value is None or len(value) < 10 for value in rows._present.values())
    rows.forget()
    assert all(rows.present(key) == value for key, value in database.items())


class Counted(dict[bytes, bytes]):
    """A database in memory that counts the entries that scans have read."""

    read = 0

    @contextmanager
    def iterator(self, *, start: bytes, stop: bytes) -> Iterator[Iterator[tuple[bytes, bytes]]]:
        held = sorted((key, value) for key, value in self.items() if start <= key < stop)
        yield self._counting(held)

    def _counting(self, rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for row in rows:
            self.read += 1
            yield row


def test_a_page_of_an_old_height_costs_a_page_not_its_history() -> None:
    """[F17] 50 blocks that each replaced 200 of 1,000 rows: 25 rows of the oldest height."""
    names = [b"k%03d" % at for at in range(1000)]
    database = Counted({versions.ROW + name: b"now" for name in names})
    for height in range(2, 52):
        for name in names[height % 5 :: 5]:
            database[versions.undo_key(height, versions.ROW + name)] = b"\x01" + str(height).encode()
    found = list(islice(Rows(database, 51).scan(b"k", b"", 1), 25))
    assert [key for key, _ in found] == names[:25]
    assert all(value == (str(2 + (at - 2) % 5).encode()) for at, (_, value) in enumerate(found))
    assert database.read < 25 * 12 + 2 * 51
