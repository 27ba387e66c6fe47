"""Look-ups in a verified directory."""

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.directory import REMEMBERED, SETTLE_SECONDS, Directory, empty
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


def test_the_hash_names_the_content() -> None:
    one = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES), 11)
    same = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES), 12)
    other = Directory(DirectoryRecord("chain", 1, 10, b"", ENTRIES[1:]), 11)
    assert one.hash == same.hash != other.hash


def test_an_empty_directory_knows_nobody() -> None:
    assert empty("chain").relays() == ()


def _at(height: int, previous: bytes = b"") -> DirectoryRecord:
    return DirectoryRecord("chain", 1, height, previous, ENTRIES)


def test_a_directory_remembers_the_names_of_those_before_it() -> None:
    one = Directory(_at(10), 11, empty("chain"), 100.0)
    two = Directory(_at(20, one.hash), 21, one, 200.0)
    assert two.name == two.hash[:16] and two.names == (two.name, one.name)
    assert two.settled_name(200.0 + SETTLE_SECONDS - 1) == one.name
    assert two.settled_name(200.0 + SETTLE_SECONDS) == two.name


def test_one_that_came_and_went_unseen_is_remembered_too() -> None:
    one, unseen = Directory(_at(10), 11, None, 100.0), Directory(_at(20), 21)
    three = Directory(_at(30, unseen.hash), 31, one, 300.0)
    assert three.names == (three.name, unseen.name, one.name) and three.settled_name(300.0) == unseen.name
    fresh = Directory(_at(30, unseen.hash), 31, empty("chain"), 300.0)
    assert fresh.names == (three.name, unseen.name)


def test_only_the_last_few_names_are_remembered() -> None:
    directory = empty("chain")
    for height in range(1, 3 * REMEMBERED):
        directory = Directory(_at(height), height, directory, 0.0)
    assert len(set(directory.names)) == REMEMBERED
