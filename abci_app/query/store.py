"""Answering a query: which height it is about, then one proven row, or a friendly path's document."""

import json

from abci_app.query.answer import (
    BAD_KEY,
    HEIGHT_UNAVAILABLE,
    KEY_NOT_FOUND,
    NOT_PROVEN,
    QueryAnswer,
    Refused,
    Version,
    Versions,
)
from abci_app.query.paths import document
from abci_app.query.request import parse
from abci_app.state.app_hash import EMPTY_LEAF, leaf_hash
from abci_app.tree import Tree
from network.chain_records import QUERY_PATH

PEER_FILTER = "/p2p/filter/"


def answer(versions: Versions, path: str, key: bytes, height: int, prove: bool) -> QueryAnswer:
    """One row under `QUERY_PATH`, else the document that the path names. Every failure is a code, never an exception."""
    if path.startswith(PEER_FILTER):
        return QueryAnswer()
    try:
        if path == QUERY_PATH:
            return _row(versions, key, height, prove)
        asked = parse(path)
        if prove:
            raise Refused(NOT_PROVEN, f"a document has no proof; ask each of its keys under {QUERY_PATH}")
        at = _readable(versions, height, prove=False)
        found = {"height": at, **document(versions.version(at), asked)}
    except Refused as refused:
        return QueryAnswer(refused.code, refused.log, key)
    value = json.dumps(found, sort_keys=True, separators=(",", ":")).encode()
    return QueryAnswer(value=value, height=at)


def _readable(versions: Versions, height: int, *, prove: bool) -> int:
    """The height to answer from. Height 0 and every proof mean one below the latest: its app hash stands in a header."""
    newest = versions.height if height and not prove else versions.height - 1
    at = height or newest
    oldest = max(1, versions.oldest)
    if not oldest <= at <= newest:
        readable = f"heights {oldest} to {newest} can be read" if newest >= oldest else "wait for the next block"
        raise Refused(HEIGHT_UNAVAILABLE, f"height {at} is not available: {readable}")
    return at


def _row(versions: Versions, key: bytes, height: int, prove: bool) -> QueryAnswer:
    at = _readable(versions, height, prove=prove)
    if not key or key.startswith(b"x:"):
        raise Refused(BAD_KEY, "a key is needed, and none begins with 'x:'")
    version: Version = versions.version(at)
    value = version.get(key)
    proof = Tree(version.nodes).prove(key) if prove else None
    if proof is not None:
        expected = EMPTY_LEAF if value is None else leaf_hash(key, value)
        assert proof.leaf == expected, "a row and its leaf differ: the store is corrupt"
    if value is None:
        return QueryAnswer(KEY_NOT_FOUND, "key not found", key, height=at, proof=proof)
    return QueryAnswer(key=key, value=value, height=at, proof=proof)
