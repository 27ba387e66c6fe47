"""A relay's connections to its neighbours and to model nodes, by the numbers its core gave them."""

import asyncio
import logging
from collections.abc import Sequence

from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.links import (
    CELL_FRAME_LIMIT,
    CELL_PATH,
    CLOVE_PATH,
    HANDOVER_LIMIT,
    CellLink,
    HandoverLink,
    OnEvent,
    Socket,
    carry,
)
from network.chain_records import DirectoryEntry
from network.events import LinkLost
from network.link_limits import DEFAULT, LinkLimits

log = logging.getLogger(__name__)


class Links:
    """Every link of this relay."""

    def __init__(self, on_event: OnEvent, dialer: Dialer, limits: LinkLimits = DEFAULT) -> None:
        self._on_event = on_event
        self._dialer = dialer
        self._limits = limits
        self._links: dict[int, CellLink | HandoverLink] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._links)

    def send_cells(self, link: int, cells: Sequence[bytes]) -> None:
        """Queue cells for a link; what is meant for a link that has gone is nobody's loss."""
        held = self._links.get(link)
        if isinstance(held, CellLink):
            held.send(cells)

    def send_message(self, link: int, raw: bytes) -> None:
        """Queue a message for a clove link."""
        held = self._links.get(link)
        if isinstance(held, HandoverLink):
            held.send(raw)

    def tell_when_written(self, link: int) -> None:
        """The core hears when a link has written nearly all that it was given."""
        held = self._links.get(link)
        if isinstance(held, CellLink):
            held.tell_when_written()

    def open_cells(self, link: int, node: DirectoryEntry) -> None:
        """Connect to another relay."""
        self._start(link, CellLink(link, self._on_event, self._limits), node, CELL_PATH, CELL_FRAME_LIMIT)

    def open_cloves(self, link: int, node: DirectoryEntry) -> None:
        """Connect to a model node."""
        self._start(link, HandoverLink(link, self._on_event, self._limits), node, CLOVE_PATH, HANDOVER_LIMIT)

    async def serve(self, link: int, socket: Socket) -> None:
        """Carry a link that a neighbour opened, until it ends."""
        held = CellLink(link, self._on_event, self._limits)
        self._links[link] = held
        try:
            await carry(socket, held.writer, held.on_frame)
        finally:
            del self._links[link]
            self._on_event(LinkLost(link))

    def drop(self, link: int) -> None:
        """Close a link that we opened."""
        task = self._tasks.get(link)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Close everything."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dialer.aclose()

    def _start(self, link: int, held: CellLink | HandoverLink, node: DirectoryEntry, path: str, limit: int) -> None:
        self._links[link] = held
        task = asyncio.create_task(self._connect_and_carry(link, held, node, path, limit))
        self._tasks[link] = task
        task.add_done_callback(lambda _: self._ended(link))

    async def _connect_and_carry(
        self, link: int, held: CellLink | HandoverLink, node: DirectoryEntry, path: str, limit: int
    ) -> None:
        try:
            socket = await self._dialer.open_socket(node, path, limit)
        except UNREACHABLE as error:
            log.info("cannot reach node %s: %s", node.name, type(error).__name__)
            return
        try:
            await carry(socket, held.writer, held.on_frame)
        finally:
            await socket.close()

    def _ended(self, link: int) -> None:
        self._tasks.pop(link, None)
        if self._links.pop(link, None) is not None:
            self._on_event(LinkLost(link))
