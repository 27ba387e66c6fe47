"""Which blocks of a chain this process trusts, and from where it goes on: root, memory, newest block.

One RPC address answers, the others are witnesses; nobody is believed without proof. Trust begins at the genesis file's
validators, or at a block that the configuration vouches for, or at the block remembered from an earlier run.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path

from network.aio.chain_rpc import ChainRpc
from network.aio.light_memory import recall, remember
from network.aio.light_source import BlockSource
from network.aio.light_witnesses import Witnesses
from network.config import TrustRoot
from network.light import ForkDetected, GenesisTrust, Trusted, check_block, trusted
from network.light_headers import LightBlock
from network.proof import ProofRejected

BLOCKS_KEPT = 32
SAVE_EVERY_S = 60.0
FORK_FILE = "light-fork.json"


class LightClient:
    """The verified blocks of one chain."""

    def __init__(
        self,
        rpc: ChainRpc,
        genesis: GenesisTrust,
        *,
        root: TrustRoot | None,
        trusting_period: float,
        memory: Path | None,
        clock: Callable[[], float],
    ) -> None:
        self._genesis = genesis
        self._root = root
        self._digest = genesis.digest if root is None else root.hash
        self._memory = memory
        self._source = BlockSource(rpc, genesis, trusting_period, clock)
        fork_file = None if memory is None else memory.with_name(FORK_FILE)
        self._witnesses = Witnesses(rpc, self._source, genesis.initial_height, fork_file)
        self._lock = asyncio.Lock()
        self._roots: list[Trusted] | None = None
        self._blocks: OrderedDict[int, LightBlock] = OrderedDict()
        self._newest: LightBlock | None = None
        self._saved_at = float("-inf")

    @property
    def newest(self) -> LightBlock | None:
        """The highest verified block; None before the first."""
        return self._newest

    @property
    def fork(self) -> ForkDetected | None:
        """Set once the chain has forked: nothing is verified any more."""
        return self._witnesses.fork

    @property
    def counts(self) -> Counter[str]:
        """How many blocks were fetched, verified, confirmed by a witness, left unconfirmed; and witnesses dropped."""
        return self._source.counts

    async def block(self, height: int) -> LightBlock:
        """The verified block at `height`. Raises ProofRejected, ForkDetected, RpcError or ChainUnavailable."""
        async with self._lock:
            self._witnesses.recall_fork()
            if self._roots is None:
                self._roots = await self._start()
            known = self._blocks.get(height)
            return known if known is not None else await self._verify(height)

    def save(self) -> None:
        """Write the newest block to the memory file."""
        if self._memory is not None and self._newest is not None and self.fork is None:
            remember(self._memory, self._newest, self._digest)
            self._saved_at = time.monotonic()

    async def _verify(self, height: int) -> LightBlock:
        base = self._base(height)
        primary, target = await self._source.fetch(height)
        steps = await self._source.walk(base, target)
        await self._witnesses.compare(primary, base, steps)
        for block in steps:
            self._blocks[block.height] = block
        while len(self._blocks) > BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        if self._newest is None or height > self._newest.height:
            self._newest = target
            if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
                self.save()
        return target

    def _base(self, height: int) -> Trusted:
        """The highest trusted state below `height`."""
        states: list[Trusted] = [*(self._roots or ()), *(trusted(block) for block in self._blocks.values())]
        if self._newest is not None:
            states.append(trusted(self._newest))
        below = [state for state in states if state.height < height]
        if not below:
            lowest = min(state.height for state in states)
            raise ProofRejected(
                f"height {height} lies before the trusted height {lowest}, and trust is never carried backwards: "
                "start from an older trust root"
            )
        return max(below, key=lambda state: state.height)

    async def _start(self) -> list[Trusted]:
        """The trust root, and the block remembered from an earlier run as the newest."""
        if self._memory is not None:
            found = recall(self._memory, self._genesis.chain_id, self._digest)
            if found is not None:
                self._newest = self._blocks[found.height] = found
                self._source.keep_set(found.validators)
        if self._root is None:
            return [self._genesis.trusted]
        return [] if self._newest is not None else [trusted(await self._vouched(self._root))]

    async def _vouched(self, root: TrustRoot) -> LightBlock:
        """The block that the configured trust root names. Its hash makes it trusted."""
        _, block = await self._source.fetch(root.height)
        check_block(self._genesis.chain_id, block)
        if block.hash != root.hash:
            raise ProofRejected(
                f"the block at the trusted height {root.height} has the hash {block.hash.hex()}, not the trusted "
                f"{root.hash.hex()}: node.trust_hash is wrong, or the RPC server shows another chain"
            )
        self._newest = self._blocks[root.height] = block
        return block
