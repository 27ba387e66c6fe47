"""Whose keys and addresses go into the committee's files."""

from pathlib import Path

from localnet.aio.commands import DEFAULT_MANIFEST
from localnet.committee import comet_settings, consensus_key, genesis_groups, genesis_validators, p2p_key
from localnet.manifest import parse
from localnet.plan import Files, plan
from network.crypto import SigningKey

MANIFEST = parse(DEFAULT_MANIFEST.read_text())
SEED = bytes(32)
NETWORK = plan(MANIFEST, SEED, Files("c", {"F16": "a", "Q4_0": "b"}, {"F16": "ab" * 32}, "r"))


def test_genesis_names_the_keys_that_the_validators_hold() -> None:
    members = genesis_validators(MANIFEST, SEED)
    for member, node in zip(members, NETWORK.of("validator"), strict=True):
        held = SigningKey(bytes.fromhex(node.keys["verifier_keys.json"]["signing_seed"]))
        assert (member.name, member.verifier_key) == (node.name, held.public)
        assert member.consensus_key == consensus_key(SEED, node.name).public
    keys = {key for member in members for key in (member.consensus_key, member.verifier_key)}
    keys |= {p2p_key(SEED, member.name).public for member in members}
    assert len(keys) == 12


def test_the_ledger_gets_the_hash_of_the_published_model_only() -> None:
    assert [(group.name, group.model_hash) for group in genesis_groups(MANIFEST, {"F16": "ab" * 32})] == [
        ("smollm2-135m-instruct", b"\xab" * 32)
    ]


def test_everybody_else_is_a_peer() -> None:
    node = NETWORK.of("validator")[1]
    settings = comet_settings(NETWORK, node, Path("/net/validator-1"), SEED)
    assert settings.socket == Path("/net/validator-1/app.sock") and str(settings.rpc) == node.address
    assert len(settings.peers) == 3 and not any(str(settings.p2p) in peer for peer in settings.peers)
