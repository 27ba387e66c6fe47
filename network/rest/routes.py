"""Every path of the gateway: what it answers, what may be asked with it, and whether the light client vouches for it.

The server is wired, the OpenAPI file is made, and `docs/rest.md` is checked from this one table.
"""

from dataclasses import dataclass
from typing import Any

PAGES = ("pagination.limit", "pagination.offset", "pagination.key", "pagination.reverse")
HEIGHT = ("height",)
LISTED = ("height", "prove", "limit", "key")
BASE, TX = "/cosmos/base/tendermint/v1beta1", "/cosmos/tx/v1beta1"
SLASHING, STAKING, LEDGER = "/cosmos/slashing/v1beta1", "/cosmos/staking/v1beta1", "/ledger/v1"

MEANINGS = {
    "height": "a height that the nodes still keep; without it, the newest that can be proven",
    "prove": "true adds the proven key and value of each row, as the stock light proxy takes them",
    "limit": "rows of a page",
    "key": "what the page before answered as next",
    "epoch": "an epoch's number; without it, the last one that ended",
    "registered": "true lists every node that ever registered, not the live ones alone",
    "path": "the path of an ABCI query",
    "data": "the query's data: base64, as Cosmos has it, or hexadecimal after 0x",
    "query": "a search: message.sender='HEX', tx.height=5; several are joined by AND",
    "events": "the same in older clients' words",
    "order_by": "ORDER_BY_ASC or ORDER_BY_DESC",
    "page": "the page's number, from 1",
    "status": "BOND_STATUS_BONDED or BOND_STATUS_UNBONDED",
    "pagination.limit": "rows of a page",
    "pagination.offset": "rows to leave out",
    "pagination.key": "the next_key of the page before",
    "pagination.reverse": "true turns the order round",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `proven` says what the light client vouches for: all, none, or a part that the summary names."""

    path: str
    name: str
    proven: str
    summary: str
    query: tuple[str, ...] = ()


ROUTES = (
    Route(f"{LEDGER}/params", "params", "all", "the chain's parameters", ("height", "prove")),
    Route(f"{LEDGER}/nodes", "nodes", "all", "live nodes, by the directory", (*LISTED, "registered")),
    Route(f"{LEDGER}/nodes/{{id}}", "node", "all", "one node", ("height", "prove")),
    Route(f"{LEDGER}/nodes/{{id}}/reputation", "reputation", "all", "a node's results, newest epoch first", LISTED),
    Route(f"{LEDGER}/epochs", "epochs", "all", "epochs, newest first, without results", LISTED),
    Route(f"{LEDGER}/epochs/{{number}}", "epoch", "all", "one epoch with its results; current is the running one", LISTED),
    Route(f"{LEDGER}/challenges", "challenges", "all", "an epoch's opened challenges", (*LISTED, "epoch")),
    Route(f"{LEDGER}/challenges/{{hash}}", "challenge", "all", "one opened challenge", ("height", "prove", "epoch")),
    Route(f"{LEDGER}/committee", "committee", "all", "the members that sign headers", ("height", "prove")),
    Route(f"{LEDGER}/validators", "validators", "all", "every validator record, jailed ones too", LISTED),
    Route(f"{LEDGER}/directory", "directory", "all", "the directory record", ("height", "prove")),
    Route(f"{LEDGER}/proposals", "proposals", "all", "proposals, newest first", LISTED),
    Route(f"{LEDGER}/proposals/{{number}}", "proposal", "all", "one proposal with its votes", ("height", "prove")),
    Route(f"{LEDGER}/upgrade", "upgrade", "all", "the version that runs, and the planned one", ("height", "prove")),
    Route(f"{LEDGER}/evidence", "evidence", "all", "infractions that were punished", LISTED),
    Route(f"{BASE}/node_info", "node_info", "none", "the node behind this gateway, by its own word"),
    Route(f"{BASE}/syncing", "syncing", "none", "whether that node is catching up, by its own word"),
    Route(f"{BASE}/blocks/latest", "latest_block", "all", "the newest block"),
    Route(f"{BASE}/blocks/{{height}}", "block", "all", "one block; evidence in it is not compared"),
    Route(f"{BASE}/validatorsets/latest", "latest_set", "all", "the newest block's validators; not their priorities", PAGES),
    Route(f"{BASE}/validatorsets/{{height}}", "set", "all", "a block's validators; not their priorities", PAGES),
    Route(f"{BASE}/abci_query", "abci_query", "part", "an ABCI query; proven for rows (/store/main/key) alone",
          ("path", "data", "height", "prove")),
    Route(f"{TX}/txs", "txs", "none", "a search for transactions", ("query", "events", "order_by", "page", "limit", *PAGES)),
    Route(f"{TX}/txs/{{hash}}", "tx", "part", "one transaction; proven to be in its block, its result is a node's word"),
    Route(f"{TX}/txs/block/{{height}}", "block_txs", "all", "a block and its transactions", PAGES),
    Route(f"{SLASHING}/params", "slashing_params", "all", "how signatures are counted"),
    Route(f"{SLASHING}/signing_infos", "signing_infos", "part", "missed signatures; the counts are a node's word", PAGES),
    Route(f"{STAKING}/validators", "staking_validators", "all", "the committee as staking validators", ("status", *PAGES)),
    Route(f"{STAKING}/validators/{{address}}", "staking_validator", "all", "one of them, by operator address"),
    Route(f"{STAKING}/pool", "pool", "all", "all voting power, as bonded tokens"),
    Route(f"{STAKING}/params", "staking_params", "all", "the staking parameters that an explorer asks for"),
    Route("/status", "status", "none", "this gateway: ready or why not"),
    Route("/metrics", "metrics", "none", "Prometheus metrics of this gateway"),
    Route("/openapi.json", "openapi", "none", "this list, as OpenAPI 3.1"),
)  # fmt: skip


def openapi(release: str) -> dict[str, Any]:
    """The OpenAPI document of the table."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PlanetServe ledger",
            "version": release,
            "description": "The ledger as proven JSON, and the Cosmos routes that block explorers call. Read only. "
            "The header X-Planetserve-Proven says of each answer whether the light client vouches for it.",
        },
        "paths": {route.path: {"get": _operation(route)} for route in ROUTES},
        "components": {"schemas": {"Error": _ERROR}},
    }


def _operation(route: Route) -> dict[str, Any]:
    in_path = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path]
    parameters += [
        {"name": name, "in": "query", "description": MEANINGS[name], "schema": {"type": "string"}} for name in route.query
    ]
    failed = {"description": "an error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    kind = "text/plain" if route.name == "metrics" else "application/json"
    return {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "parameters": parameters,
        "x-planetserve-proven": route.proven,
        "responses": {"200": {"description": route.summary, "content": {kind: {}}}, "default": failed},
    }


_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["code", "codespace", "message"],
    "properties": {"code": {"type": "integer"}, "codespace": {"type": "string"}, "message": {"type": "string"}},
}
