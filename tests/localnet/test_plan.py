"""The plan: the ports of design section 10, keys from one seed, and no two nodes on one port."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet.aio.commands import DEFAULT_MANIFEST
from localnet.manifest import parse
from localnet.plan import Files, Plan, plan, secret
from network.errors import ConfigError

MANIFEST = parse(DEFAULT_MANIFEST.read_text())
FILES = Files("/bin/cometbft", {"F16": "/m/f16", "Q4_0": "/m/q4"}, {"F16": "ab" * 32}, "/m/ref")
SEED = bytes(32)


def made(port_base: int | None = None) -> Plan:
    return plan(MANIFEST, SEED, FILES, port_base)


def test_the_default_ports_are_those_that_scripts_rely_on() -> None:
    network = made()
    assert network.gateway.address == "127.0.0.1:8700"
    assert [node.address for node in network.of("relay")] == [f"127.0.0.1:{8800 + i}" for i in range(16)]
    assert [node.address for node in network.of("model")] == [f"127.0.0.1:{8900 + i}" for i in range(4)]
    assert network.rpc == tuple(f"127.0.0.1:{port}" for port in (26657, 26667, 26677, 26687))
    for node in network.nodes[4:]:
        assert int(node.metrics.rpartition(":")[2]) == int(node.address.rpartition(":")[2]) + 1000


def test_every_node_speaks_tls_where_the_manifest_says_so() -> None:
    text = DEFAULT_MANIFEST.read_text().replace('tls = "off-loopback"', 'tls = "always"')
    found = {node.config["node"]["tls"] for node in plan(parse(text), SEED, FILES).nodes}
    assert found == {"always"} and {node.config["node"]["tls"] for node in made().nodes} == {"off-loopback"}


@given(st.integers(1024, 31_400))
def test_a_port_base_moves_every_port_and_none_collides(base: int) -> None:
    ports = [port for node in made(base).nodes for port in node.ports]
    assert len(set(ports)) == len(ports)
    if base != MANIFEST.ports.gateway:
        assert min(ports) == base and max(ports) < base + 1300


@pytest.mark.parametrize("base", [80, 40_000, 32_000])
def test_a_port_base_out_of_range_is_refused(base: int) -> None:
    with pytest.raises(ConfigError, match="outside 1024"):
        made(base)


def test_two_nodes_on_one_port_are_refused() -> None:
    crowded = replace(MANIFEST, ports=replace(MANIFEST.ports, model=MANIFEST.ports.relay))
    with pytest.raises(ConfigError, match="would both listen"):
        plan(crowded, SEED, FILES)


def test_keys_depend_on_seed_name_and_use_only() -> None:
    assert made() == made()
    secrets = [value for node in made().nodes for keys in node.keys.values() for value in keys.values()]
    assert len(set(secrets)) == len(secrets)
    assert secret(SEED, "a", "b") != secret(bytes([1]) * 32, "a", "b")


def test_the_dishonest_node_claims_what_it_does_not_load() -> None:
    honest, liar = made().of("model")[0], made().of("model")[3]
    assert (honest.honest, liar.honest) == (True, False)
    assert honest.config["engine"]["model_hash"] == liar.config["engine"]["model_hash"]
    assert honest.config["engine"]["model_path"] != liar.config["engine"]["model_path"]


def test_relays_are_of_as_many_families_as_the_manifest_says() -> None:
    assert len({node.config["node"]["family"] for node in made().of("relay")}) == 16


def test_a_home_may_lie_unused_for_years() -> None:
    assert {node.config["node"]["trusting_period_s"] for node in made().nodes} == {10 * 365 * 24 * 3600}


def test_every_node_has_another_validator_first() -> None:
    firsts = [node.config["node"]["rpc"][0] for node in made().of("relay")]
    assert len(set(firsts)) == 4
