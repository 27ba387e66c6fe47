"""Compares every newly trusted block with what the other RPC addresses have, and stops at a fork.

A witness that shows another block which verifies, too, means that the committee forked: nothing is believed from then on
(`ForkDetected`), and the evidence goes to both sides. One whose block does not verify is no witness any more. Silent
witnesses contradict nobody; the log tells when none is left, and what they missed is asked again when one is back.
"""

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import NoReturn

from network.aio.chain_rpc import ChainRpc, ChainUnavailable, RpcError
from network.aio.light_memory import keep_evidence
from network.aio.light_source import BlockSource
from network.light import ForkDetected, Trusted, trusted
from network.light_headers import LightBlock, header_hash
from network.light_json import header
from network.light_render import Fork, attack_evidence
from network.proof import ProofRejected

log = logging.getLogger(__name__)

PATIENCE = (0.3, 0.6)
WITNESS_S = 3.0
UNCONFIRMED_KEPT = 32
WHAT_TO_DO = (
    "Ask the committee which side is right; then move that file away and set node.trust_height and node.trust_hash to a "
    "block of that side"
)


class Witnesses:
    """The other addresses of one light client."""

    def __init__(self, rpc: ChainRpc, source: BlockSource, first_height: int, fork_file: Path | None) -> None:
        self.fork: ForkDetected | None = None
        self._rpc = rpc
        self._source = source
        self._first_height = first_height
        self._fork_file = fork_file
        self._dropped: set[str] = set()
        self._unconfirmed: deque[tuple[str, Trusted, list[LightBlock]]] = deque(maxlen=UNCONFIRMED_KEPT)
        self._alone = False

    def recall_fork(self) -> None:
        """A fork that an earlier run has seen holds until a person has moved the evidence away. Raises ForkDetected."""
        if self.fork is None and self._fork_file is not None and self._fork_file.exists():
            self.fork = ForkDetected(f"the chain forked, and {self._fork_file} holds the evidence. {WHAT_TO_DO}")
        if self.fork is not None:
            raise self.fork

    async def compare(self, primary: str, base: Trusted, steps: list[LightBlock]) -> None:
        """Ask the other addresses for the newly trusted block. Raises ForkDetected."""
        agreed = False
        for patience in (*PATIENCE, 0.0):
            witnesses = [address for address in self._witnesses() if address != primary]
            agreed = await self._ask_witnesses(witnesses, primary, base, steps)
            if agreed or not witnesses or not patience:
                break
            await asyncio.sleep(patience)  # the block may be newer than what they have
        if agreed and self._unconfirmed:  # what nobody could confirm at its time
            for earlier in list(self._unconfirmed):
                await self._ask_witnesses([address for address in self._witnesses() if address != earlier[0]], *earlier)
            self._unconfirmed.clear()
        if not agreed:
            self._unconfirmed.append((primary, base, steps))
        self._tell(agreed, primary, steps[-1].height)

    def _witnesses(self) -> list[str]:
        return [address for address in self._rpc.addresses if address not in self._dropped and not self._rpc.rests(address)]

    def _tell(self, agreed: bool, primary: str, height: int) -> None:
        """Say in the log when witnesses go and come."""
        self._source.counts["confirmed" if agreed else "unconfirmed"] += 1
        fields = {"server": primary, "height": height}
        if not agreed and not self._alone:
            log.warning(
                "no witness confirms what the chain's RPC server says; it is believed as long as its proofs hold: "
                "name another operator's server in node.rpc",
                extra={"fields": fields},
            )
        if agreed and self._alone:
            log.info("a witness confirms what the chain's RPC server says", extra={"fields": fields})
        self._alone = not agreed

    async def _ask_witnesses(self, witnesses: list[str], primary: str, base: Trusted, steps: list[LightBlock]) -> bool:
        """Whether at least one of them has the same block. Raises ForkDetected."""
        found = await asyncio.gather(*(self._witness(address, base, steps) for address in witnesses))
        for address, outcome in zip(witnesses, found, strict=True):
            if isinstance(outcome, Fork):
                await self._stop(outcome, primary, address)
        return any(outcome is True for outcome in found)

    async def _witness(self, address: str, base: Trusted, steps: list[LightBlock]) -> bool | Fork:
        """Whether a witness has the same block, or the fork that it shows; False when it does not say."""
        target = steps[-1]
        try:
            async with asyncio.timeout(WITNESS_S):
                _, answer = await self._rpc.ask("header", {"height": str(target.height)}, address)
                return header_hash(header(answer)) == target.hash or await self._examine(address, base, steps)
        except TimeoutError:
            self._rpc.rest(address)
            return False
        except (ChainUnavailable, RpcError):
            return False
        except ProofRejected as error:
            self._dropped.add(address)
            self._source.counts["dropped"] += 1
            fields = {"server": address, "height": target.height, "reason": error}
            log.warning("a witness is dropped: what it shows does not verify", extra={"fields": fields})
            return False

    async def _examine(self, address: str, base: Trusted, steps: list[LightBlock]) -> Fork:
        """The first height at which a witness's chain differs and verifies. Raises ProofRejected when it does not verify."""
        for ours in steps:
            _, theirs = await self._source.fetch(ours.height, address)
            await self._source.walk(base, theirs, address)
            if theirs.hash != ours.hash:
                return Fork(base, ours, theirs)
            base = trusted(ours)
        raise ProofRejected("it showed another header first, and then the same one")

    async def _stop(self, fork: Fork, primary: str, witness: str) -> NoReturn:
        """Believe nobody any more, say so, and tell each side what the other signed."""
        height, first = fork.ours.height, self._first_height
        reports = {
            witness: attack_evidence(fork.ours, fork.theirs, fork.common, first),
            primary: attack_evidence(fork.theirs, fork.ours, fork.common, first),
        }
        where = "" if self._fork_file is None else f" Evidence is in {self._fork_file}."
        self.fork = ForkDetected(
            f"the chain forked at height {height}: {primary} shows block {fork.ours.hash.hex()} and {witness} "
            f"{fork.theirs.hash.hex()}, both signed by the committee. This node follows neither.{where} {WHAT_TO_DO}"
        )
        log.critical("the chain forked", extra={"fields": {"height": height, "reason": self.fork}})
        if self._fork_file is not None:
            keep_evidence(self._fork_file, list(reports.values()))
        for address, evidence in reports.items():
            try:
                await self._rpc.ask("broadcast_evidence", {"evidence": evidence}, address)
            except (ChainUnavailable, RpcError) as error:
                log.warning("evidence was not taken", extra={"fields": {"server": address, "reason": error}})
        raise self.fork
