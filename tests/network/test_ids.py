"""Node ids are CometBFT addresses of Ed25519 keys; role numbers and words are on the ledger and in scripts."""

from hashlib import sha256

from network.ids import ROLE_WORDS, Role, node_id


def test_a_node_id_is_the_first_twenty_bytes_of_the_key_hash() -> None:
    key = bytes(range(32))
    assert node_id(key) == sha256(key).digest()[:20]


def test_role_numbers_are_permanent() -> None:
    assert {role.name: role.value for role in Role} == {"USER": 1, "RELAY": 2, "MODEL": 3}


def test_the_words_that_scripts_rely_on() -> None:
    assert ROLE_WORDS == {Role.USER: "gateway", Role.RELAY: "relay", Role.MODEL: "model"}
