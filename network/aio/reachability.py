"""The dial-back over HTTP: asks listed relays to call this node, calls others back, and answers such calls."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from aiohttp import web

from network.aio.dialer import UNREACHABLE, Dialer
from network.aio.requests import bounded_body, exchange
from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.config import Address
from network.crypto import SIGNATURE_LENGTH, SigningKey
from network.directory import Directory
from network.errors import DecodeError
from network.freshness import Rng
from network.ids import node_id
from network.rates import Allowance, Allowances
from network.reachability import (
    CALL_PATH,
    MESSAGE_LIMIT,
    NONCE,
    REACHABILITY_PATH,
    WANTED,
    DialBackAnswer,
    DialBackRequest,
    OpenNonces,
    Reachability,
    called_node,
    helpers,
    is_called_right,
    is_proof,
)

log = logging.getLogger(__name__)

CALL_SECONDS = 5.0
ASK_SECONDS = 12.0
RETRY_SECONDS = 60.0
WAIT_SECONDS = 1.0
HOST_RATE, HOST_BURST = 0.1, 8.0
RATE, BURST = 5.0, 20.0

_FAILED = (*UNREACHABLE, DecodeError)


class DialBacks:
    """What a node answers: calls others back, and proves itself to who calls."""

    def __init__(self, dialer: Dialer, nonces: OpenNonces, key: SigningKey, clock: Callable[[], float] = time.time) -> None:
        self._dialer = dialer
        self._nonces = nonces
        self._key = key
        self._clock = clock
        self._by_host = Allowances(HOST_RATE, HOST_BURST)
        self._all = Allowance(RATE, BURST)

    def routes(self) -> list[web.RouteDef]:
        """Beside the node's other endpoints."""
        return [web.post(REACHABILITY_PATH, self._asked), web.post(CALL_PATH, self._called)]

    async def _asked(self, request: web.Request) -> web.Response:
        host = request.remote or ""
        if not self._by_host.take(host, self._clock()) or not self._all.take(self._clock()):
            return web.Response(status=429)
        try:
            asked = decode(DialBackRequest, await bounded_body(request.content, MESSAGE_LIMIT, CALL_SECONDS))
        except (DecodeError, TimeoutError):
            return web.Response(status=400)
        node = called_node(asked, host)
        if node is None:
            return web.Response(status=400)
        return web.Response(body=encode(DialBackAnswer(node.address, await self._reaches(node, asked.nonce))))

    async def _reaches(self, node: DirectoryEntry, nonce: bytes) -> bool:
        try:
            proof = await exchange(self._dialer, "POST", node, CALL_PATH, SIGNATURE_LENGTH, CALL_SECONDS, nonce)
        except _FAILED:
            return False
        return is_proof(node.signing_key, nonce, proof)

    async def _called(self, request: web.Request) -> web.Response:
        try:
            nonce = await bounded_body(request.content, NONCE, CALL_SECONDS)
        except (DecodeError, TimeoutError):
            return web.Response(status=400)
        proof = self._nonces.bring(nonce, self._key)
        return web.Response(status=404) if proof is None else web.Response(body=proof)


class ReachabilityCheck:
    """What a node asks: whether others reach it where it advertises."""

    def __init__(
        self,
        advertised: Address,
        key: SigningKey,
        directory: Callable[[], Directory],
        dialer: Dialer,
        nonces: OpenNonces,
        rng: Rng,
    ) -> None:
        self._advertised = advertised
        self._key = key
        self._own_id = node_id(key.public)
        self._directory = directory
        self._dialer = dialer
        self._nonces = nonces
        self._rng = rng
        self.trouble = ""

    async def wait(self) -> None:
        """Until enough relays have called this node; tells why as long as they cannot.

        A node that is listed at this address already, or that only its own machine can reach, is not held up.
        """
        while not self._advertised.is_loopback:
            while not self._directory().height:
                await asyncio.sleep(WAIT_SECONDS)
            entry = self._directory().get(self._own_id)
            if entry is not None and entry.address == str(self._advertised):
                break
            found = await self.check()
            if found.explanation not in ("", self.trouble):
                log.error("not registered: others cannot reach this node", extra={"fields": {"reason": found.explanation}})
            self.trouble = found.explanation
            if found.is_enough:
                break
            await asyncio.sleep(RETRY_SECONDS)
        self.trouble = ""

    async def check(self) -> Reachability:
        """Ask until enough have got through, or there is nobody left to ask."""
        relays = helpers(self._directory().relays(), self._own_id, self._rng)
        resolved = await _resolve(self._advertised.host)
        asked = reached = 0
        called: list[str] = []
        while relays[asked:] and reached < WANTED:
            batch = relays[asked : asked + WANTED - reached]
            asked += len(batch)
            for address, arrived in await asyncio.gather(*(self._ask(relay) for relay in batch)):
                called += [address] if address else []
                reached += arrived and is_called_right(address, self._advertised, resolved)
        names = tuple(sorted(set(called)))
        return Reachability(str(self._advertised), len(relays), asked, len(called), reached, names)

    async def _ask(self, relay: DirectoryEntry) -> tuple[str, bool]:
        """(what it called or "", whether the call came here)."""
        nonce = self._nonces.open()
        question = encode(DialBackRequest(self._key.public, self._advertised.port, nonce))
        try:
            raw = await exchange(self._dialer, "POST", relay, REACHABILITY_PATH, MESSAGE_LIMIT, ASK_SECONDS, question)
            answer = decode(DialBackAnswer, raw)
        except _FAILED as error:
            log.info("relay %s did not call back: %s", relay.name, type(error).__name__)
            return "", False
        finally:
            arrived = self._nonces.close(nonce)
        return answer.called, arrived and answer.reached


async def _resolve(host: str) -> list[str]:
    """The IP addresses of a host; none when its name is unknown."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(row[4][0]) for row in found]
