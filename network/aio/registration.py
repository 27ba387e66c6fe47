"""Keeps a node registered: registers a new key, announces a changed address or changed keys, renews before it lapses.

The followed directory answers most questions for nothing; the node's own record is read only when the directory disagrees
or a renewal is due.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from network.aio.chain_client import ChainClient, ChainUnavailable, ProofRejected
from network.aio.keys import NodeKeys
from network.chain_records import CURRENT_EPOCH_KEY, PARAMS_KEY, DirectoryEntry, EpochRecord, NodeRecord, Params, node_key
from network.chain_tx import RegisterNode, TxKind, UpdateNode
from network.codec import Message
from network.errors import ConfigError
from network.registration_work import solve

log = logging.getLogger(__name__)

CHECK_S = 10.0
RETRY_S = 5.0
# Codes of abci_app/state/errors.py; the later ones pass: no tokens left, a puzzle solved too long ago, no room in the block.
ALREADY_REGISTERED = 7
TRY_LATER = (24, 25, 26)


class RegistrationRefused(ConfigError):
    """The chain refuses this node for good; the process should stop and say why."""


async def keep_registered(client: ChainClient, keys: NodeKeys, describe: Callable[[], RegisterNode]) -> None:
    """Register what `describe` says under `keys` and keep it alive until cancelled (a task beside `client.follow()`).

    Raises RegistrationRefused when the key has retired or the chain refuses the registration itself.
    """
    renewed_epoch = -1
    renew_after = 1
    while True:
        body = describe()
        entry = client.directory_now.get(keys.node_id)
        epoch = client.directory_now.record.epoch
        announced = entry is not None and _reached(entry) == _reached(body)
        if not announced or epoch - renewed_epoch >= renew_after:
            try:
                params, _ = await client.load(Params, PARAMS_KEY)
                renew_after = max(1, params.lifetime_epochs // 3) if params is not None else 1
                renewed_epoch = await announce(client, keys, body, epoch, renew_after)
            except (ChainUnavailable, ProofRejected) as error:
                log.warning("the registration could not be kept; it is tried again", extra={"fields": {"reason": error}})
                await asyncio.sleep(RETRY_S)
                continue
        await asyncio.sleep(CHECK_S)


async def announce(client: ChainClient, keys: NodeKeys, body: RegisterNode, epoch: int, renew_after: int) -> int:
    """Make the node's record say what `body` says, once. Returns the epoch in which the record was last renewed."""
    record, _ = await client.load(NodeRecord, node_key(keys.node_id))
    if record is None:
        code = await _submit(client, keys, TxKind.REGISTER_NODE, await with_work(client, keys, body))
        if code != ALREADY_REGISTERED:
            log.info("registered", extra={"fields": {"node": keys.node_id.hex(), "address": body.address}})
            return epoch
        record, _ = await client.load(NodeRecord, node_key(keys.node_id))
        if record is None:
            return -1
    if record.retired:
        raise RegistrationRefused(f"node {keys.node_id.hex()} has retired; a new key is needed: move its key file away")
    if record.role != body.role or record.group != body.group or record.model_hash != body.model_hash:
        raise RegistrationRefused(
            f"node {keys.node_id.hex()} is registered with another role or model; a new key is needed: move its key file away"
        )
    if _reached(record) != _reached(body):
        update = UpdateNode(onion_key=body.onion_key, address=body.address, hybrid_key=body.hybrid_key)
        await _submit(client, keys, TxKind.UPDATE_NODE, update)
        log.info("announced a new address or new keys", extra={"fields": {"address": body.address}})
        return epoch
    if epoch - record.renewed_epoch >= renew_after:
        await _submit(client, keys, TxKind.UPDATE_NODE, UpdateNode())
        return epoch
    return record.renewed_epoch


def _reached(node: RegisterNode | NodeRecord | DirectoryEntry) -> tuple[str, bytes, bytes]:
    """How to reach a node: what may change while it is registered."""
    return node.address, node.onion_key, node.hybrid_key


async def with_work(client: ChainClient, keys: NodeKeys, body: RegisterNode) -> RegisterNode:
    """`body` with the chain's puzzle solved for the running epoch: a tenth of a second at 16 bits, in a thread."""
    params, _ = await client.load(Params, PARAMS_KEY)
    epoch, _ = await client.load(EpochRecord, CURRENT_EPOCH_KEY)
    if params is None or epoch is None or not params.registration_work:
        return body
    counter = await asyncio.to_thread(solve, client.chain_id, epoch.number, keys.signing.public, params.registration_work)
    return replace(body, work_epoch=epoch.number, work_counter=counter)


async def _submit(client: ChainClient, keys: NodeKeys, kind: TxKind, body: Message) -> int:
    """Submit; code 0 or ALREADY_REGISTERED returns. Raises ChainUnavailable where a later try may do, else
    RegistrationRefused."""
    result = await client.submit(kind, body, keys.signing)
    if result.code in TRY_LATER:
        raise ChainUnavailable(f"the ledger does not take {kind.name} now: {result.log} (code {result.code})")
    if result.code not in (0, ALREADY_REGISTERED):
        raise RegistrationRefused(f"the chain refuses {kind.name}: {result.log} (code {result.code})")
    return result.code
