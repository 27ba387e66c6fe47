"""Drawing relays that share neither an operator family nor a network: who may stand beside whom in one path set.

Networks are a /16 of IPv4 and a /32 of IPv6; a host name is its own network; loopback and private addresses have none, since
they say nothing about who runs a machine. No operator weighs more than one twelfth of the draw, however many relays it lists.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import log
from struct import unpack

from network.chain_records import DirectoryEntry
from network.freshness import Rng
from network.geometry import GEOMETRY

OPERATOR_SHARE = 1 / (GEOMETRY.n * GEOMETRY.hops)  # what each has in the smallest network in which there are path sets
NETWORK_BITS = {4: 16, 6: 32}

Rank = Callable[[DirectoryEntry], float]


@lru_cache(maxsize=8192)
def network_of(address: str) -> str | None:
    """The network that `host:port` lies in, or None for an address that everybody has."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]").lower()
    try:
        ip: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return None if host == "localhost" else host
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback or ip.is_private or ip.is_link_local or ip.is_unspecified:
        return None
    bits = NETWORK_BITS[ip.version]
    return f"v{ip.version}:{int(ip) >> (ip.max_prefixlen - bits):x}"


def share_nothing(relay: DirectoryEntry, others: Iterable[DirectoryEntry]) -> bool:
    """Whether this relay has neither family nor network in common with any of the others."""
    place = network_of(relay.address)
    return not any(
        relay.node_id == other.node_id
        or relay.family == other.family
        or (place is not None and place == network_of(other.address))
        for other in others
    )


def operator_weights(sizes: Mapping[str, int], share: float = OPERATOR_SHARE) -> dict[str, float]:
    """Each family's weight: its number of relays, but at most `share` of the sum of all weights where that is possible."""
    ordered = sorted(sizes.values(), reverse=True)
    rest = float(sum(ordered))
    for capped, largest in enumerate(ordered):
        level = share * rest / (1.0 - share * capped) if share * capped < 1.0 else 0.0
        if largest <= level:
            return {family: min(float(size), level) for family, size in sizes.items()}
        rest -= largest
    return dict.fromkeys(sizes, 1.0)  # so few families that each must weigh more than `share`: all weigh the same


def draw_disjoint(
    relays: Iterable[DirectoryEntry], count: int, rng: Rng, *, beside: Sequence[DirectoryEntry] = (), rank: Rank = lambda _: 0.0
) -> list[DirectoryEntry]:
    """`count` random relays that share nothing with each other or with `beside`; fewer only when no choice yields more.

    A family enters by its weight, then one of its relays uniformly. Lower ranks come first.
    """
    places, families = {network_of(other.address) for other in beside} - {None}, {other.family for other in beside}
    eligible = [each for each in relays if each.family not in families and network_of(each.address) not in places]
    ranks = [rank(relay) for relay in eligible]
    noise = _draws(rng, len(eligible))
    by_family: dict[str, list[DirectoryEntry]] = {}
    best: dict[str, float] = {}
    for at in sorted(range(len(eligible)), key=lambda at: (ranks[at], noise[at])):
        by_family.setdefault(eligible[at].family, []).append(eligible[at])
        best.setdefault(eligible[at].family, ranks[at])
    weights = operator_weights({family: len(each) for family, each in by_family.items()})
    # Waiting times to a first event at rate w: who waits least is drawn with probability w / sum.
    waits = {
        family: -log((draw + 1) / 2**64) / weights[family]
        for family, draw in zip(by_family, _draws(rng, len(by_family)), strict=True)
    }
    seats = _Seats(by_family)
    for family in sorted(by_family, key=lambda each: (best[each], waits[each])):
        if len(seats.held) == count:
            break
        seats.admit(family, set())
    return list(seats.held.values())


class _Seats:
    """A matching of families to networks. Who is in stays in, by another of its relays where that lets one more in."""

    def __init__(self, by_family: Mapping[str, Sequence[DirectoryEntry]]) -> None:
        self._by_family = by_family
        self._owner: dict[str | bytes, str] = {}
        self.held: dict[str, DirectoryEntry] = {}

    def admit(self, family: str, tried: set[str | bytes]) -> bool:
        for relay in self._by_family[family]:
            place: str | bytes = network_of(relay.address) or relay.node_id
            if place in tried:
                continue
            tried.add(place)
            owner = self._owner.get(place)
            if owner is None or self.admit(owner, tried):
                self._owner[place] = family
                self.held[family] = relay
                return True
        return False


def _draws(rng: Rng, count: int) -> tuple[int, ...]:
    """So many random numbers of 64 bits."""
    return unpack(f">{count}Q", rng(8 * count))
