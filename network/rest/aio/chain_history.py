"""What only a node's word backs: block times of a search, results of transactions, proposer priorities, missed signatures.

Heights that have passed never change, so what was asked once is kept, within bounds.
"""

import base64
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from network.aio.chain_client import ChainClient
from network.aio.ledger_reader import gather
from network.light_headers import FLAG_COMMIT
from network.light_json import signed_header
from network.proof import ProofRejected

KEPT_TIMES, KEPT_COMMITS = 2_000, 400
PAGE = 100
V = TypeVar("V")


class ChainHistory:
    """A bounded memory of unproven history over one client."""

    def __init__(self, client: ChainClient) -> None:
        self._client = client
        self._times: OrderedDict[int, str] = OrderedDict()
        self._signers: OrderedDict[int, frozenset[bytes]] = OrderedDict()

    async def times(self, heights: Iterable[int]) -> dict[int, str]:
        """The time of each block."""
        wanted = sorted(set(heights))
        await gather(self._learn_time, [(height,) for height in wanted if height not in self._times])
        return {height: self._times[height] for height in wanted}

    async def result(self, name: bytes, raw: bytes) -> Mapping[str, Any]:
        """The result of a transaction whose bytes have been proven."""
        found = await self._client.call("tx", {"hash": base64.b64encode(name).decode(), "prove": False})
        try:
            if base64.b64decode(found["tx"]) != raw:
                raise ProofRejected("the result is another transaction's")
            result: Mapping[str, Any] = found["tx_result"]
        except (KeyError, TypeError, ValueError) as error:
            raise ProofRejected("the answer is not a transaction") from error
        return result

    async def priorities(self, height: int, count: int) -> dict[bytes, str]:
        """The proposer priority of each validator by address."""
        found: dict[bytes, str] = {}
        for page in range(1, count // PAGE + 2):
            if len(found) >= count:
                break
            asked = {"height": str(height), "page": str(page), "per_page": str(PAGE)}
            result = await self._client.call("validators", asked)
            try:
                found |= {
                    bytes.fromhex(row["address"]): str(row.get("proposer_priority") or "0") for row in result["validators"]
                }
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ProofRejected("the answer is not a validator set") from error
        return found

    async def missed(self, height: int, window: int) -> Callable[[bytes], int]:
        """How many of the `window` blocks up to `height` a validator did not sign."""
        wanted = range(max(1, height - window + 1), height + 1)
        await gather(self._learn_commit, [(at,) for at in wanted if at not in self._signers])
        held = [self._signers[at] for at in wanted if at in self._signers]
        return lambda address: sum(address not in signers for signers in held)

    async def _learn_time(self, height: int) -> None:
        result = await self._client.call("header", {"height": str(height)})
        try:
            _keep(self._times, height, str(result["header"]["time"]), KEPT_TIMES)
        except (KeyError, TypeError) as error:
            raise ProofRejected("the answer is not a header") from error

    async def _learn_commit(self, height: int) -> None:
        signed = signed_header(await self._client.call("commit", {"height": str(height)}))
        signers = frozenset(place.validator for place in signed.signatures if place.flag == FLAG_COMMIT)
        _keep(self._signers, height, signers, KEPT_COMMITS)


def _keep(held: OrderedDict[int, V], height: int, value: V, most: int) -> None:
    held[height] = value
    while len(held) > most:
        held.popitem(last=False)
