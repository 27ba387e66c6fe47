"""Hands a request to a peer of the group, and its frames back: until the first text another node can still take over.

After it the reply ends as failed when the peer is lost, because the sampling noise belongs to the node that began.
"""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from network.chain_records import DirectoryEntry
from network.codec import decode, encode
from network.crypto import SigningKey
from network.directory import Directory
from network.errors import DecodeError, PlanetServeError
from network.inference import FrameKind, InferenceRequest, ReplyFailure, ReplyFinal, ReplyFrame
from serving_node.aio.peers import PeerClient, PeerFailed
from serving_node.breaker import Fault
from serving_node.failure import ENGINE_FAILED, OVERLOADED, ServeError
from serving_node.forwarding import Forward, seal

# What a peer's failure before its first text is worth: another try elsewhere.
_ELSEWHERE = {OVERLOADED: Fault.FULL, ENGINE_FAILED: Fault.BROKEN}


@dataclass(frozen=True, slots=True)
class Errand:
    """One request on its way through this node: where it has been, when it is too late, and where its reply goes."""

    request: InferenceRequest
    visited: tuple[bytes, ...]
    deadline: float
    send: Callable[[ReplyFrame], None]


@dataclass(frozen=True, slots=True)
class Handed:
    """What came of it: the peer's own last word, when the reply was complete, and the seconds to its first text."""

    final: ReplyFinal | None
    ttft_s: float


class Handover:
    """One node's way of asking others to answer."""

    def __init__(
        self, key: SigningKey, own: bytes, directory: Callable[[], Directory], peers: PeerClient, rng: Callable[[int], bytes]
    ) -> None:
        self._key = key
        self._own = own
        self._directory = directory
        self._peers = peers
        self._rng = rng

    async def hand(self, errand: Errand, peer: DirectoryEntry) -> Handed:
        """Have a peer answer. Raises PeerFailed as long as another could still, ServeError once none can."""
        started, text_at = time.monotonic(), 0.0
        final: ReplyFinal | None = None
        envelope = self._envelope(errand, peer, errand.deadline - started)
        try:
            async with aclosing(self._peers.ask(peer, envelope)) as frames:
                async for frame in frames:
                    if frame.kind == FrameKind.FAILED and not text_at:
                        _raise_if_elsewhere(frame)
                    if frame.kind == FrameKind.DELTA and not text_at:
                        text_at = time.monotonic()
                    if frame.kind == FrameKind.FINAL:
                        final = _final(frame)
                    errand.send(frame)
        except PeerFailed as error:
            if text_at:
                raise PeerLost(error.fault) from error
            raise
        return Handed(final, (text_at or time.monotonic()) - started)

    def _envelope(self, errand: Errand, peer: DirectoryEntry, left_s: float) -> bytes:
        onward = replace(errand.request, deadline_ms=max(1, int(left_s * 1000)))
        forward = Forward(
            chain_id=self._directory().record.chain_id,
            receiver=peer.node_id,
            sent_ms=time.time_ns() // 1_000_000,
            id=self._rng(16),
            visited=(*errand.visited, self._own),
            request=encode(onward),
        )
        return seal(self._key, forward)


class PeerLost(ServeError):
    """A peer was lost in mid-answer: nobody else can go on."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(ENGINE_FAILED, "the model node that was answering has been lost; ask again")
        self.fault = fault


def _final(frame: ReplyFrame) -> ReplyFinal:
    try:
        return decode(ReplyFinal, frame.payload)
    except DecodeError as error:
        raise ServeError(ENGINE_FAILED, "a peer's reply ended with something else than a signed statement") from error


def _raise_if_elsewhere(frame: ReplyFrame) -> None:
    try:
        failure = decode(ReplyFailure, frame.payload)
    except PlanetServeError as error:
        raise PeerFailed("its failure is garbage", Fault.BROKEN) from error
    if failure.code in _ELSEWHERE:
        raise PeerFailed(failure.code, _ELSEWHERE[failure.code])
