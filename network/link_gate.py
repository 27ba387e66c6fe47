"""How many links a public port takes, in all and from one host. Knows addresses only while their links stand.

The hosts of one IPv6 /64 count as one. Loopback is not bounded by host: everybody there is one machine.
"""

from collections import Counter
from ipaddress import IPv6Address, ip_address


class LinkGate:
    """Ask `admit` for every link, and `leave` once for every one admitted."""

    __slots__ = ("_hosts", "_links", "_links_per_host", "_open")

    def __init__(self, links: int = 4_096, links_per_host: int = 64) -> None:
        self._links = links
        self._links_per_host = links_per_host
        self._open = 0
        self._hosts: Counter[str] = Counter()

    def admit(self, remote: str | None) -> bool:
        """Whether one more link from there is taken; it is counted if so."""
        host = _host(remote)
        if self._open >= self._links or (host and self._hosts[host] >= self._links_per_host):
            return False
        self._open += 1
        if host:
            self._hosts[host] += 1
        return True

    def leave(self, remote: str | None) -> None:
        """A link from there has ended."""
        host = _host(remote)
        self._open -= 1
        if host:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    def __len__(self) -> int:
        return self._open


def _host(remote: str | None) -> str:
    """What counts as one host; empty for loopback and for what has no address."""
    try:
        address = ip_address((remote or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return "" if address.is_loopback else str(IPv6Address(int(address) >> 64 << 64))
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)
