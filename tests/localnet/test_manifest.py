"""The manifest: the shipped one, and every kind of mistake in one."""

from pathlib import Path

import pytest

from localnet.aio.commands import DEFAULT_MANIFEST
from localnet.manifest import parse
from network.errors import ConfigError

TEXT = Path(DEFAULT_MANIFEST).read_text()


def test_the_default_network_is_the_one_the_issue_asks_for() -> None:
    manifest = parse(TEXT)
    assert (manifest.validators, manifest.relays, manifest.families, len(manifest.model_nodes)) == (4, 16, 16, 4)
    assert [node.honest for node in manifest.model_nodes] == [True, True, True, False]
    assert manifest.model_nodes[3].engine_model != manifest.groups[0].model


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('chain_id = "planetserve-localnet"', "chain_id = 7", "chain_id must be a word"),
        ('chain_id = "planetserve-localnet"', "", "chain_id is missing"),
        ("[gateway]", "[gateway]\nspeed = 3", "gateway.speed is not a key"),
        ('tls = "off-loopback"', 'tls = "never"', "none of off-loopback, always"),
        ("[ports]", "[ports", "not TOML"),
        ("relay = 8800", "relay = true", "ports.relay must be an integer"),
        ("relay = 8800", "relay = 80", "1024..65535"),
        ("count = 16", "count = 101", "relays.count"),
        ('engine.model = "Q4_0"', "engine.model = 4", "engine.model must be a word"),
        ('engine.model = "Q4_0"', 'engine.speed = "x"', "engine.speed is not a key"),
        ('engine.model = "Q4_0"', 'routing.policy = "luck"', "none of none, round-robin"),
        ('name = "model-3"', 'name = "model-2"', "same name"),
        ('name = "model-3"', 'name = "relay-03"', "same name"),
        ('name = "model-3"', 'name = "../model"', "letters, digits and hyphens"),
        ("epoch_blocks = 60", "epoch_blocks = 1.5", "params.epoch_blocks"),
    ],
)
def test_a_mistake_is_named(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        parse(TEXT.replace(old, new, 1))


def test_a_group_that_nobody_declared_is_named() -> None:
    head, last = TEXT.rsplit('group = "smollm2-135m-instruct"', 1)
    with pytest.raises(ConfigError, match=r"no \[\[group\]\] is named 'other'"):
        parse(f'{head}group = "other"{last}')
