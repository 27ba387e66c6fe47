"""Light blocks as RPC servers tell them, and the walk of verification over them.

What is fetched is unverified; what a walk returns has been verified from the state it began at.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable

from network.aio.chain_rpc import ChainRpc
from network.light import GenesisTrust, Trusted, skip
from network.light_headers import LightBlock, Validator, ValidatorSet
from network.light_json import signed_header, validators_page
from network.proof import ProofRejected

SETS_KEPT = 16
PAGE = 100


class BlockSource:
    """Fetches the blocks of one chain; validator sets are asked for only when a header names an unknown one."""

    def __init__(self, rpc: ChainRpc, genesis: GenesisTrust, trusting_period: float, clock: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._rpc = rpc
        self._chain_id = genesis.chain_id
        self._period = trusting_period
        self._clock = clock
        self._sets: OrderedDict[bytes, ValidatorSet] = OrderedDict({genesis.validator_set.hash: genesis.validator_set})

    async def walk(self, base: Trusted, target: LightBlock, source: str | None = None) -> list[LightBlock]:
        """Verify `target` from `base`, fetching what lies between, from one address or from any."""
        walk = skip(self._chain_id, base, target, now=self._clock(), trusting_period=self._period)
        try:
            wanted = next(walk)
            while True:
                _, block = await self.fetch(wanted, source)
                wanted = walk.send(block)
        except StopIteration as done:
            verified: list[LightBlock] = done.value
            self.counts["verified"] += len(verified)
            return verified

    async def fetch(self, height: int, source: str | None = None) -> tuple[str, LightBlock]:
        """A block as an address tells it, unverified, and which address that was."""
        address, answer = await self._rpc.ask("commit", {"height": str(height)}, source)
        signed = signed_header(answer)
        if signed.height != height or signed.header.height != height:
            raise ProofRejected(f"asked for the header at height {height}, got {signed.header.height}")
        self.counts["fetched"] += 1
        wanted = signed.header.validators_hash
        validators = self._sets.get(wanted)
        if validators is None:
            validators = await self._fetch_set(height, source)
            if validators.hash != wanted:
                raise ProofRejected(f"the validators given for height {height} are not the set that its header names")
            self.keep_set(validators)
        return address, LightBlock(signed, validators)

    def keep_set(self, validators: ValidatorSet) -> None:
        """A set is known by its hash, so nobody can pass off another for it."""
        self._sets[validators.hash] = validators
        self._sets.move_to_end(validators.hash)
        if len(self._sets) > SETS_KEPT:
            self._sets.popitem(last=False)

    async def _fetch_set(self, height: int, source: str | None) -> ValidatorSet:
        """The validator set of one height, page by page."""
        rows: list[Validator] = []
        page, total = 1, 1
        while len(rows) < total:
            asked = {"height": str(height), "page": str(page), "per_page": str(PAGE)}
            at, total, part = validators_page((await self._rpc.ask("validators", asked, source))[1])
            if at != height or len(part) != min(PAGE, total - len(rows)) or not part:
                raise ProofRejected(f"asked for the validators at height {height}, got {len(part)} of those at {at}")
            rows += part
            page += 1
        try:
            return ValidatorSet(rows)
        except ValueError as error:
            raise ProofRejected(f"the validators given for height {height} are no set: {error}") from error
