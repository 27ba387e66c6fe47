"""A directory named in one short message."""

from network.chain_records import DirectoryRecord
from network.codec import decode, encode
from network.directory import Directory
from network.directory_summary import SUMMARY_LIMIT, DirectorySummary, summary_of


def test_the_summary_names_the_record_and_fits_its_limit() -> None:
    directory = Directory(DirectoryRecord("c" * 64, 2**63 - 1, 2**63 - 1, b"", ()), 7)
    summary = summary_of(directory)
    assert summary == DirectorySummary("c" * 64, 2**63 - 1, 2**63 - 1, directory.hash)
    raw = encode(summary)
    assert len(raw) <= SUMMARY_LIMIT and decode(DirectorySummary, raw) == summary
