"""Present values kept in memory: the same answers as from the database, whatever is written, replaced or removed."""

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
