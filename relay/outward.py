"""The links that a relay opened itself: one for each node it sends to, closed once nothing has used it for a while."""

from collections.abc import Callable

from network.chain_records import DirectoryEntry
from network.commands import CloseLink, OpenCloveLink, OpenLink
from relay.courier import Courier


class OutwardLinks:
    """Links to other nodes, by node id. `numbers` gives each a number that no other link of this relay has."""

    __slots__ = ("_courier", "_idle_seconds", "_links", "_numbers", "_open", "_unused_since")

    def __init__(
        self,
        opening: type[OpenLink] | type[OpenCloveLink],
        numbers: Callable[[], int],
        courier: Courier,
        idle_seconds: float,
    ) -> None:
        self._open = opening
        self._numbers = numbers
        self._courier = courier
        self._idle_seconds = idle_seconds
        self._links: dict[bytes, int] = {}
        self._unused_since: dict[int, float | None] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, link: int) -> bool:
        return link in self._unused_since

    def to(self, node: DirectoryEntry) -> int:
        """The link to this node, opened if there is none."""
        link = self._links.get(node.node_id)
        if link is None:
            link = self._links[node.node_id] = self._numbers()
            self._unused_since[link] = None
            self._courier.order(self._open(link, node))
        return link

    def lost(self, link: int) -> None:
        """It broke, or was closed."""
        self._links = {node: held for node, held in self._links.items() if held != link}
        self._unused_since.pop(link, None)

    def close_unused(self, is_used: Callable[[int], bool], now: float) -> None:
        """Close what nothing has used since long enough ago."""
        for node, link in list(self._links.items()):
            since = self._unused_since[link]
            if is_used(link):
                self._unused_since[link] = None
            elif since is None:
                self._unused_since[link] = now
            elif now - since >= self._idle_seconds:
                del self._links[node]
                self._courier.order(CloseLink(link))
