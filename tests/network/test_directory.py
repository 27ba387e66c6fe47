"""Look-ups in a verified directory."""

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.directory import Directory, empty, family_names
from network.ids import Role


def entry(number: int, role: Role, *, trusted: bool = True, group: str = "") -> DirectoryEntry:
    return DirectoryEntry(
        node_id=bytes([number] * 20), role=role, family=f"family-{number}", group=group, trusted=trusted, reputation=1
    )


ENTRIES = (
    entry(1, Role.RELAY),
    entry(2, Role.MODEL, group="m"),
    entry(3, Role.MODEL, group="m", trusted=False),
    entry(4, Role.MODEL, group="other", trusted=False),
    entry(5, Role.USER),
)


def test_lookups_by_role_group_and_trust() -> None:
    directory = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES), 11)
    assert directory.relays() == ENTRIES[:1]
    assert directory.models("m") == ENTRIES[1:2]
    assert directory.models("m", trusted_only=False) == ENTRIES[1:3]
    assert directory.groups() == ("m",)
    assert directory.get(bytes([5] * 20)) == ENTRIES[4]
    assert directory.get(bytes(20)) is None
    assert family_names(directory.relays()) == {"family-1"}


def test_the_hash_names_the_content() -> None:
    one = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES), 11)
    same = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES), 12)
    other = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES[1:]), 11)
    assert one.hash == same.hash != other.hash


def test_an_empty_directory_knows_nobody() -> None:
    assert empty("chain").relays() == ()
