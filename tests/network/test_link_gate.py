"""A public port takes so many links, and so many from one host."""

from hypothesis import given
from hypothesis import strategies as st

from network.link_gate import LinkGate


def test_links_are_bounded_in_all_and_by_host() -> None:
    gate = LinkGate(links=4, links_per_host=2)
    assert [gate.admit("203.0.113.1") for _ in range(3)] == [True, True, False]
    assert gate.admit("203.0.113.2") and gate.admit("203.0.113.3")
    assert not gate.admit("203.0.113.4"), "four in all"
    gate.leave("203.0.113.1")
    assert gate.admit("203.0.113.1")


def test_an_ipv6_network_is_one_host_and_so_is_an_ipv4_address_in_ipv6() -> None:
    gate = LinkGate(links_per_host=1)
    assert gate.admit("2001:db8::1") and not gate.admit("2001:db8::2") and gate.admit("2001:db8:0:1::1")
    assert gate.admit("203.0.113.1") and not gate.admit("::ffff:203.0.113.1")


def test_loopback_is_bounded_in_all_only() -> None:
    gate = LinkGate(links=5, links_per_host=1)
    loopback = ["127.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1", None, "127.0.0.1"]
    assert [gate.admit(remote) for remote in loopback] == [True] * 5 + [False]


@given(st.lists(st.sampled_from(["203.0.113.1", "203.0.113.2", "2001:db8::1", "::1", None]), max_size=30))
def test_what_comes_and_goes_leaves_nothing_behind(remotes: list[str | None]) -> None:
    gate = LinkGate(links=8, links_per_host=3)
    for remote in [remote for remote in remotes if gate.admit(remote)]:
        gate.leave(remote)
    assert len(gate) == 0 and not gate._hosts
