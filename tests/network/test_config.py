"""Settings: every complaint names its key, and nothing falls back."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.config import Address, Table, TrustRoot, known_tables, needs_tls, node_config, parse_address
from network.errors import ConfigError

HOME = Path("/net/relay-03")
NODE: dict[str, Any] = {
    "name": "relay-03",
    "chain_id": "planetserve-localnet",
    "listen": "127.0.0.1:8803",
    "metrics": "127.0.0.1:9803",
    "family": "family-03",
    "rpc": ["http://127.0.0.1:26657/", "http://127.0.0.1:26667"],
    "genesis": "../genesis.json",
    "keys": "keys.json",
    "log_level": "info",
}


def test_the_common_table_is_read() -> None:
    config = node_config({"node": NODE}, HOME)
    assert config.listen == Address("127.0.0.1", 8803)
    assert config.rpc == ("http://127.0.0.1:26657", "http://127.0.0.1:26667")
    assert config.genesis == Path("/net/genesis.json") and config.keys == HOME / "keys.json"


def test_a_trust_root_replaces_the_genesis_files() -> None:
    config = node_config({"node": NODE}, HOME)
    assert config.trust is None and config.trusting_period_s == 7 * 24 * 3600
    named = {"trust_height": 90, "trust_hash": "AB" * 32, "trusting_period_s": 86400}
    config = node_config({"node": {**NODE, **named}}, HOME)
    assert config.trust == TrustRoot(90, b"\xab" * 32) and config.trusting_period_s == 86400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "node.name"),
        ({"name": 3}, "node.name must be a string"),
        ({"name": "n" * 65}, "node.name"),
        ({"listen": "0.0.0.0:8803"}, "node.listen .* loopback only"),
        ({"listen": "example.org:80"}, "node.listen"),
        ({"listen": "127.0.0.1"}, "node.listen"),
        ({"listen": "127.0.0.1:0"}, "node.listen"),
        ({"metrics": "127.0.0.1:70000"}, "node.metrics"),
        ({"rpc": []}, "node.rpc"),
        ({"rpc": "http://127.0.0.1:1"}, "node.rpc"),
        ({"rpc": ["127.0.0.1:1"]}, "node.rpc"),
        ({"log_level": "loud"}, "node.log_level"),
        ({"log_format": "xml"}, "node.log_format"),
        ({"tls": "never"}, "node.tls"),
        ({"event_loop": "gevent"}, "node.event_loop"),
        ({"advertise": "1.2.3.4:5"}, "node.advertise"),
        ({"genesis": ""}, "node.genesis"),
        ({"colour": "red"}, "node.colour"),
        ({"trust_height": 5}, "node.trust_hash is missing"),
        ({"trust_hash": "ab" * 32}, "node.trust_height is missing"),
        ({"trust_height": 5, "trust_hash": "ab"}, "node.trust_hash must be 64"),
        ({"trusting_period_s": 0}, "node.trusting_period_s"),
    ],
)
def test_a_bad_value_names_its_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        node_config({"node": {**NODE, **change}}, HOME)


@pytest.mark.parametrize("key", [key for key in NODE if key not in ("family", "log_level")])
def test_a_missing_value_names_its_key(key: str) -> None:
    with pytest.raises(ConfigError, match=f"node.{key}"):
        node_config({"node": {name: value for name, value in NODE.items() if name != key}}, HOME)


def test_missing_and_unknown_tables_are_named() -> None:
    with pytest.raises(ConfigError, match=r"\[node\]"):
        node_config({}, HOME)
    with pytest.raises(ConfigError, match=r"\[nodes\]"):
        known_tables({"node": {}, "nodes": {}}, ("node",))


def test_typed_values_are_checked() -> None:
    raw = {"t": {"flag": 1, "digest": "zz", "number": True, "low": -1}}
    for read in (
        lambda table: table.flag("flag"),
        lambda table: table.digest("digest"),
        lambda table: table.integer("number"),
        lambda table: table.integer("low"),
    ):
        with pytest.raises(ConfigError, match=r"^t\."):
            read(Table(raw, "t"))
    table = Table({"t": {"flag": True, "digest": "ab" * 32, "number": 3}}, "t")
    assert (table.flag("flag"), table.digest("digest"), table.integer("number")) == (True, b"\xab" * 32, 3)
    table.done()


@pytest.mark.parametrize(
    ("change", "public", "tls"),
    [
        ({}, "127.0.0.1:8803", False),
        ({"tls": "always"}, "127.0.0.1:8803", True),
        ({"listen": "203.0.113.5:8803"}, "203.0.113.5:8803", True),
        ({"listen": "[2001:db8::5]:8803"}, "[2001:db8::5]:8803", True),
        ({"listen": "0.0.0.0:8803", "advertise": "relay.example:443"}, "relay.example:443", True),
        ({"listen": "127.0.0.1:8803", "advertise": "203.0.113.5:443"}, "203.0.113.5:443", True),
        ({"listen": "0.0.0.0:8803", "advertise": "127.0.0.1:8803", "tls": "always"}, "127.0.0.1:8803", True),
    ],
)
def test_a_public_port_speaks_tls_where_its_neighbours_do(change: dict[str, Any], public: str, tls: bool) -> None:
    config = node_config({"node": {**NODE, **change}}, HOME, "public")
    assert str(config.public) == public and config.serves_tls is tls
    assert needs_tls(parse_address(public), always=config.tls == "always") is tls


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"listen": "0.0.0.0:8803"}, "node.listen is 0.0.0.0:8803, which nobody can call"),
        ({"listen": "0.0.0.0:8803", "advertise": "0.0.0.0:8803"}, "node.advertise is"),
        ({"listen": "0.0.0.0:8803", "advertise": "localhost:8803"}, "node.advertise .* speak plainly"),
        ({"listen": "example.org:80"}, "node.listen .* IP address"),
        ({"advertise": "example.org"}, "node.advertise"),
    ],
)
def test_a_public_port_that_neighbours_could_not_use_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        node_config({"node": {**NODE, **change}}, HOME, "public")


def test_reachability_is_checked_unless_the_settings_say_so_and_only_where_others_call() -> None:
    assert node_config({"node": NODE}, HOME, "public").reachability == "check"
    assert node_config({"node": {**NODE, "reachability": "assume"}}, HOME, "public").reachability == "assume"
    with pytest.raises(ConfigError, match=r"node\.reachability"):
        node_config({"node": {**NODE, "reachability": "no"}}, HOME, "public")
    with pytest.raises(ConfigError, match=r"node\.reachability"):
        node_config({"node": {**NODE, "reachability": "assume"}}, HOME)


@given(st.text(max_size=30))
def test_an_address_is_read_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except ConfigError:
        return
    assert parse_address(str(address)) == address


def test_ipv6_addresses_have_brackets() -> None:
    assert str(parse_address("[::1]:80")) == "[::1]:80"
