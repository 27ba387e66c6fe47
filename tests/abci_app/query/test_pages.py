"""Pages of one record's items are the record that decoding the whole gives, cut."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.query.pages import MOST_BYTES, item_page, page, without_items
from abci_app.query.paths import ENTRIES_FIELD, RESULTS_FIELD
from network.chain_records import DirectoryEntry, DirectoryRecord, EpochRecord, NodeResult
from network.codec import encode

NAMES = st.lists(st.binary(min_size=20, max_size=20), unique=True, max_size=12).map(sorted)


@pytest.mark.parametrize(("kind", "field"), [(EpochRecord, RESULTS_FIELD), (DirectoryRecord, ENTRIES_FIELD)])
def test_the_paged_field_is_the_last_one(kind: Any, field: int) -> None:
    assert max(entry.metadata["wire"].number for entry in fields(kind)) == field


@given(NAMES, st.integers(1, 14), st.data())
def test_a_page_of_items_is_a_cut_of_the_record(names: list[bytes], limit: int, data: Any) -> None:
    start = data.draw(st.sampled_from([b"", *names]) | st.binary(max_size=20))
    whole = EpochRecord(7, 9, b"\x01" * 32, results=tuple(NodeResult(node_id=name, credit=at) for at, name in enumerate(names)))
    found, following = item_page(EpochRecord, encode(whole), RESULTS_FIELD, start.hex(), limit)
    later = [result for result in whole.results if result.node_id >= start]
    assert found == replace(whole, results=tuple(later[:limit]))
    assert following == (later[limit].node_id.hex() if len(later) > limit else "")
    assert without_items(EpochRecord, encode(whole), RESULTS_FIELD) == replace(whole, results=())


def test_bytes_end_a_page_but_never_leave_it_empty() -> None:
    huge = [(b"a", bytes(MOST_BYTES + 1)), (b"b", b"x"), (b"c", b"y")]
    assert page(iter(huge), 5).rows == tuple(huge[:1]) and page(iter(huge), 5).next == b"b".hex()
    assert page(iter(huge[1:]), 5) == page(iter(huge[1:]), 2) and page(iter([]), 2).next == ""


def test_a_directory_entry_may_be_paged_too() -> None:
    entries = tuple(DirectoryEntry(node_id=bytes([at]) * 20, role=1, name=f"n{at}") for at in range(1, 4))
    record = DirectoryRecord("c", 1, 2, b"\x01" * 32, entries)
    found, following = item_page(DirectoryRecord, encode(record), ENTRIES_FIELD, "02" * 20, 1)
    assert found.entries == entries[1:2] and following == "03" * 20
