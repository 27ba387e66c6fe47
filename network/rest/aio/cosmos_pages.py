"""The Cosmos routes that block explorers call: blocks, validator sets, transactions, and the committee as stakers."""

import base64
import binascii
from importlib.metadata import PackageNotFoundError, version

from network.aio.chain_client import KEY_NOT_FOUND
from network.aio.chain_rpc import RpcError
from network.aio.ledger_reader import LedgerReader, Row, loaded
from network.chain_records import QUERY_PATH, VALIDATOR_PREFIX, ValidatorRecord, validator_key
from network.light_headers import LightBlock
from network.light_json import abci_value
from network.light_render import time_json
from network.proof import ProofRejected
from network.rest import blocks, staking, txs
from network.rest.aio.chain_history import ChainHistory
from network.rest.asked import Answer, Asked
from network.rest.bech32 import OPERATOR, decode
from network.rest.pagination import Pagination, cut, number, parse, said
from network.rest.refusal import Refusal

RECORDS_ASKED = 100
MOST_RECORDS = 500


class CosmosPages:
    """One method per route."""

    def __init__(self, reader: LedgerReader, history: ChainHistory) -> None:
        self._reader = reader
        self._client = reader.client
        self._history = history

    async def node_info(self, _asked: Asked) -> Answer:
        return Answer(blocks.node_info(await self._client.call("status", {}), release()), None, False)

    async def syncing(self, _asked: Asked) -> Answer:
        try:
            behind = bool((await self._client.call("status", {}))["sync_info"]["catching_up"])
        except (KeyError, TypeError) as error:
            raise ProofRejected("the answer is not a node's status") from error
        return Answer({"syncing": behind}, None, False)

    async def latest_block(self, _asked: Asked) -> Answer:
        return await self._block(await self._client.height())

    async def block(self, asked: Asked) -> Answer:
        return await self._block(_height(asked))

    async def latest_set(self, asked: Asked) -> Answer:
        return await self._set(await self._client.height(), parse(asked.query))

    async def set(self, asked: Asked) -> Answer:
        return await self._set(_height(asked), parse(asked.query))

    async def abci_query(self, asked: Asked) -> Answer:
        """As the node answers it; a row asked for with `prove` is checked before it is passed on."""
        path, data = asked.query.get("path", ""), _data(asked.query.get("data", ""))
        response = await self._reader.query(path, data, asked.height, prove=asked.prove)
        answer = abci_value(response)
        proven = path == QUERY_PATH and asked.prove and answer.code in (0, KEY_NOT_FOUND)
        if proven:
            row = await self._reader.perhaps(data, answer.height)
            if (row.value if row is not None else None) != answer.value:
                raise ProofRejected("the answer is not what its proof says")
        told = {
            "code": answer.code,
            "log": answer.log,
            "info": "",
            "index": "0",
            "key": base64.b64encode(answer.key).decode(),
            "value": base64.b64encode(answer.value or b"").decode(),
            "proof_ops": (response or {}).get("proofOps"),
            "height": str(answer.height),
            "codespace": str((response or {}).get("codespace") or ""),
        }
        return Answer(told, answer.height or None, proven)

    async def txs(self, asked: Asked) -> Answer:
        """A search. That it is complete, and what the results are, is a node's word."""
        wanted = txs.search([asked.query.get("query", ""), asked.query.get("events", "")])
        pages = parse(asked.query)
        limit = min(number(asked.query.get("limit", ""), "limit", 0) or pages.limit, txs.PAGE_MOST)
        page = number(asked.query.get("page", ""), "page", 0) or pages.offset // limit + 1
        if "page" not in asked.query and pages.offset % limit:
            raise Refusal("bad_request", "pagination.offset must be a multiple of pagination.limit")
        falling = pages.reverse or asked.query.get("order_by", "") in ("ORDER_BY_DESC", "2")
        search: dict[str, object] = {"query": wanted, "prove": False, "page": str(page), "per_page": str(limit)}
        try:
            result = await self._client.call("tx_search", {**search, "order_by": "desc" if falling else "asc"})
        except RpcError as error:
            if "page should be within" in error.detail:
                empty = {"txs": [], "tx_responses": [], "pagination": said(Pagination(), 0), "total": "0"}
                return Answer(empty, None, False)
            raise Refusal("bad_request", f"the search was refused: {error.detail[:300]}") from error
        rows, total = txs.found(result)
        times = await self._history.times(height for _, height, _ in rows)
        told = {
            "txs": [txs.tx_view(raw) for raw, _, _ in rows],
            "tx_responses": [txs.tx_response(raw, height, outcome, times[height]) for raw, height, outcome in rows],
            "pagination": said(Pagination((page - 1) * limit, limit), total),
            "total": str(total),
        }
        return Answer(told, None, False)

    async def tx(self, asked: Asked) -> Answer:
        name = txs.tx_name(asked.words["hash"])
        found = await self._client.transaction(name)
        if found is None:
            raise Refusal("not_found", f"no block holds transaction {name.hex()}")
        outcome = await self._history.result(name, found.raw)
        time = time_json((await self._client.block(found.height)).header.time)
        told = {"tx": txs.tx_view(found.raw), "tx_response": txs.tx_response(found.raw, found.height, outcome, time)}
        return Answer(told, found.height, False)

    async def block_txs(self, asked: Asked) -> Answer:
        found = await self._block(_height(asked))
        rows = [base64.b64decode(tx) for tx in found.document["block"]["data"]["txs"]]
        page, pagination = cut(rows, parse(asked.query))
        return Answer(
            {"txs": [txs.tx_view(raw) for raw in page], **found.document, "pagination": pagination}, found.height, found.proven
        )

    async def slashing_params(self, _asked: Asked) -> Answer:
        return Answer(staking.slashing_params(), None, True)

    async def signing_infos(self, asked: Asked) -> Answer:
        height, rows = await self._records()
        missed = await self._history.missed(height, staking.WINDOW)
        infos = [staking.signing_info(_address(row), loaded(ValidatorRecord, row), missed(_address(row))) for row in rows]
        page, pagination = cut(infos, parse(asked.query))
        return Answer({"info": page, "pagination": pagination}, height, False)

    async def staking_validators(self, asked: Asked) -> Answer:
        status = asked.query.get("status", "")
        if status not in staking.STATUSES:
            raise Refusal("bad_request", f"status must be one of {', '.join(staking.STATUSES[1:])}")
        height, rows = await self._records()
        views = [staking.validator_view(_address(row), loaded(ValidatorRecord, row)) for row in rows]
        wanted = [view for view in views if status in ("", staking.STATUSES[1], view["status"])]
        page, pagination = cut(sorted(wanted, key=lambda view: -int(view["tokens"])), parse(asked.query))
        return Answer({"validators": page, "pagination": pagination}, height, True)

    async def staking_validator(self, asked: Asked) -> Answer:
        try:
            prefix, address = decode(asked.words["address"])
        except ValueError as error:
            raise Refusal("bad_request", f"address: {error}") from error
        if prefix != OPERATOR:
            raise Refusal("bad_request", f"address must begin with {OPERATOR}1")
        row = await self._reader.row(validator_key(address), 0, f"there is no validator {asked.words['address']}")
        return Answer({"validator": staking.validator_view(address, loaded(ValidatorRecord, row))}, row.height, True)

    async def pool(self, _asked: Asked) -> Answer:
        height, _ = await self._reader.now(0)
        return Answer(staking.pool_view((await self._client.block(height + 1)).validators.total_power), height, True)

    async def staking_params(self, _asked: Asked) -> Answer:
        return Answer(staking.staking_params(), None, True)

    async def _block(self, height: int) -> Answer:
        block = await self._light(height)
        result = await self._client.call("block", {"height": str(height)})
        return Answer(blocks.block_view(result), height, blocks.binds(block, result))

    async def _set(self, height: int, pages: Pagination) -> Answer:
        block = await self._light(height)
        priorities = await self._history.priorities(height, len(block.validators.validators))
        page, pagination = cut(block.validators.validators, pages)
        rows = [
            blocks.validator_row(_hex(entry.address), entry.public_key, entry.power, priorities.get(entry.address, "0"))
            for entry in page
        ]
        return Answer(blocks.validators_view(height, rows, pagination), height, True)

    async def _light(self, height: int) -> LightBlock:
        try:
            return await self._client.block(height)
        except RpcError as error:
            raise Refusal("height_unavailable", f"height {height}: {error.detail[:200]}") from error

    async def _records(self) -> tuple[int, list[Row]]:
        """Every validator record, proven, by the nodes' list of them."""
        height, _ = await self._reader.now(0)
        rows: list[Row] = []
        following = ""
        while len(rows) < MOST_RECORDS:
            path = f"/validators?limit={RECORDS_ASKED}&key={following}"
            page, following = await self._reader.listed(path, "validators", VALIDATOR_PREFIX, height)
            rows += page
            if not following or not page:
                break
        return height, rows


def release() -> str:
    """The version that is installed."""
    try:
        return version("planetserve")
    except PackageNotFoundError:
        return "0"


def _height(asked: Asked) -> int:
    height = asked.number("height")
    if height < 1:
        raise Refusal("height_unavailable", "heights begin with 1")
    return height


def _address(row: Row) -> bytes:
    return row.key[len(VALIDATOR_PREFIX) :]


def _hex(address: bytes) -> str:
    return address.hex().upper()


def _data(text: str) -> bytes:
    try:
        return bytes.fromhex(text[2:]) if text.startswith("0x") else base64.b64decode(text.replace(" ", "+"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refusal("bad_request", "data must be base64, or hexadecimal after 0x") from error
