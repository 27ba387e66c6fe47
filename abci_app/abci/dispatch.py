"""ABCI's requests to the application's methods and back: the only file that knows both protobuf and Application.

A request that cannot be answered truthfully raises, and the shell decides what dies (`abci_app/README.md` section 3).
Vote extensions are answered honestly: there are none, and an empty one is the only right one.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from abci_app.abci.pb import abci_pb2 as abci
from abci_app.abci.pb import types_pb2 as types
from abci_app.abci.results import events, tx_result
from abci_app.application import ADMITTED, RELEASE, Application
from abci_app.query.answer import QUERY_CODESPACE, QueryAnswer
from abci_app.snapshot import FORMAT
from abci_app.state.app_hash import DEPTH, EMPTY_LEAF, app_hash, inner_hash
from abci_app.state.context import BlockContext, ConsensusChange, Misbehavior
from abci_app.state.genesis import Genesis
from abci_app.state.params import LEAST_BLOCK_BYTES
from abci_app.state.transition import TxResult
from abci_app.state_sync import Offer
from abci_app.tree import Proof
from network.chain_records import STORE_NAME
from network.codec import encode_varint
from network.crypto import sha256
from network.errors import ConfigError, RemoteProtocolError

# The answer to most CheckTx: made once.
_ADMITTED = abci.Response(check_tx=abci.ResponseCheckTx())
VALUE_OP, ABSENCE_OP = "simple:v", "planetserve:absent"
ACCEPT, REJECT = 1, 2
# Methods whose failure leaves the replica's state unknown or unequal to the others': the process must end.
CONSENSUS_METHODS = frozenset(
    {
        "init_chain",
        "prepare_proposal",
        "process_proposal",
        "extend_vote",
        "verify_vote_extension",
        "finalize_block",
        "commit",
    }
)
# Nor may it go on when it could not restore what it was given.
FATAL_METHODS = CONSENSUS_METHODS | {"offer_snapshot", "apply_snapshot_chunk"}


class UnknownMethod(RemoteProtocolError):
    """A request of a kind that ABCI 2.0 does not have."""


def decode_request(raw: bytes) -> tuple[str, Any]:
    """The method's name and its request. Raises RemoteProtocolError."""
    try:
        request = abci.Request.FromString(raw)
    except DecodeError as error:
        raise RemoteProtocolError("a message that is not an ABCI request") from error
    method = request.WhichOneof("value")
    if method is None:
        raise UnknownMethod("a request of a kind that ABCI 2.0 does not have; CometBFT v0.38 is expected")
    return method, getattr(request, method)


def exception(message: str) -> bytes:
    """The encoded answer after which CometBFT stops."""
    return abci.Response(exception=abci.ResponseException(error=message)).SerializeToString()


def is_consensus(raw: bytes) -> bool | None:
    """Whether a message is a consensus call; None when it tells nothing, as Echo and Flush, or bytes that are not ABCI."""
    try:
        method, _ = decode_request(raw)
    except RemoteProtocolError:
        return None
    return None if method in ("echo", "flush") else method in CONSENSUS_METHODS


def respond(app: Application, method: str, request: Any) -> abci.Response:
    """The response to one decoded request."""
    if method == "check_tx":
        result = app.check_tx(request.tx)
        return _ADMITTED if result is ADMITTED else abci.Response(check_tx=_checked(result))
    return abci.Response(**{method: _METHODS[method](app, request)})


def answer(app: Application, method: str, request: Any) -> bytes:
    """The encoded response to one decoded request."""
    return respond(app, method, request).SerializeToString()


def query_failure(log: str) -> bytes:
    """The answer to a query that the application could not work out."""
    return abci.Response(query=abci.ResponseQuery(code=255, log=log, codespace=QUERY_CODESPACE)).SerializeToString()


def check_failure(code: int, log: str, codespace: str) -> bytes:
    """The answer to a transaction that the application could not judge."""
    return abci.Response(check_tx=abci.ResponseCheckTx(code=code, log=log, codespace=codespace)).SerializeToString()


def _echo(_app: Application, request: abci.RequestEcho) -> abci.ResponseEcho:
    return abci.ResponseEcho(message=request.message)


def _flush(_app: Application, _request: abci.RequestFlush) -> abci.ResponseFlush:
    return abci.ResponseFlush()


def _info(app: Application, _request: abci.RequestInfo) -> abci.ResponseInfo:
    height, last = app.info()
    return abci.ResponseInfo(
        data="planetserve",
        version=RELEASE,
        app_version=app.app_version(),
        last_block_height=height,
        last_block_app_hash=last,
    )


def _init_chain(app: Application, request: abci.RequestInitChain) -> abci.ResponseInitChain:
    validators: list[tuple[bytes, int]] = []
    for update in request.validators:
        if update.pub_key.WhichOneof("sum") != "ed25519":
            raise RemoteProtocolError("a validator whose key is not Ed25519")
        validators.append((update.pub_key.ed25519, update.power))
    evidence = request.consensus_params.evidence.max_bytes
    if evidence > LEAST_BLOCK_BYTES:
        raise ConfigError(
            f"genesis consensus_params: evidence.max_bytes {evidence} is more than {LEAST_BLOCK_BYTES}, the smallest block "
            "that the committee may vote; CometBFT would stop at that vote"
        )
    genesis = Genesis(request.chain_id, max(1, request.initial_height), tuple(validators), request.app_state_bytes)
    first_hash = app.init_chain(genesis)
    change = ConsensusChange(block_max_bytes=app.max_block_bytes())
    params = _consensus_params(change) if change.block_max_bytes else None
    return abci.ResponseInitChain(app_hash=first_hash, consensus_params=params)


def _query(app: Application, request: abci.RequestQuery) -> abci.ResponseQuery:
    found = app.query(request.path, request.data, request.height, request.prove)
    return abci.ResponseQuery(
        code=found.code,
        log=found.log,
        key=found.key,
        value=found.value,
        height=found.height,
        codespace=QUERY_CODESPACE if found.code else "",
        proof_ops=_proof_ops(found) if found.proof is not None else None,
    )


def _checked(result: TxResult) -> abci.ResponseCheckTx:
    return abci.ResponseCheckTx(code=result.code, log=result.log, codespace=result.codespace)


def _commit(app: Application, _request: abci.RequestCommit) -> abci.ResponseCommit:
    return abci.ResponseCommit(retain_height=app.commit())


def _list_snapshots(app: Application, _request: abci.RequestListSnapshots) -> abci.ResponseListSnapshots:
    offers = app.shelf.offers()
    return abci.ResponseListSnapshots(snapshots=[types.Snapshot(**offer._asdict()) for offer in offers])


def _offer_snapshot(app: Application, request: abci.RequestOfferSnapshot) -> abci.ResponseOfferSnapshot:
    held = request.snapshot
    offer = Offer(held.height, held.format, held.chunks, held.hash, held.metadata)
    return abci.ResponseOfferSnapshot(result=app.offer_snapshot(offer, request.app_hash).value)


def _load_snapshot_chunk(app: Application, request: abci.RequestLoadSnapshotChunk) -> abci.ResponseLoadSnapshotChunk:
    known = request.format == FORMAT
    return abci.ResponseLoadSnapshotChunk(chunk=app.shelf.chunk(request.height, request.chunk) if known else b"")


def _apply_snapshot_chunk(app: Application, request: abci.RequestApplySnapshotChunk) -> abci.ResponseApplySnapshotChunk:
    applied = app.apply_snapshot_chunk(request.index, request.chunk, request.sender)
    return abci.ResponseApplySnapshotChunk(
        result=applied.outcome.value, refetch_chunks=applied.refetch, reject_senders=applied.rejected
    )


def _prepare_proposal(app: Application, request: abci.RequestPrepareProposal) -> abci.ResponsePrepareProposal:
    return abci.ResponsePrepareProposal(txs=app.prepare_proposal(request.txs, request.max_tx_bytes))


def _process_proposal(app: Application, request: abci.RequestProcessProposal) -> abci.ResponseProcessProposal:
    block = _block(app, request, request.proposed_last_commit)
    return abci.ResponseProcessProposal(status=ACCEPT if app.process_proposal(request.txs, block) else REJECT)


def _extend_vote(_app: Application, _request: abci.RequestExtendVote) -> abci.ResponseExtendVote:
    return abci.ResponseExtendVote()


def _verify_vote_extension(_app: Application, request: abci.RequestVerifyVoteExtension) -> abci.ResponseVerifyVoteExtension:
    return abci.ResponseVerifyVoteExtension(status=REJECT if request.vote_extension else ACCEPT)


def _block(app: Application, request: Any, commit: types.CommitInfo) -> BlockContext:
    """A block as the state machine sees it, proposed or decided."""
    misbehavior = tuple(Misbehavior(found.type, found.validator.address, found.height) for found in request.misbehavior)
    return BlockContext(app.chain_id, request.height, request.hash, _commit_hash(request.hash, commit), misbehavior)


def _finalize_block(app: Application, request: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
    result, new_hash = app.finalize_block(_block(app, request, request.decided_last_commit), request.txs)
    return abci.ResponseFinalizeBlock(
        events=events(result.events),
        tx_results=[tx_result(found) for found in result.tx_results],
        validator_updates=[
            types.ValidatorUpdate(pub_key=types.PublicKey(ed25519=update.consensus_key), power=update.power)
            for update in result.validator_updates
        ],
        consensus_param_updates=_consensus_params(result.consensus_params),
        app_hash=new_hash,
    )


def _consensus_params(change: ConsensusChange | None) -> types.ConsensusParams | None:
    """Only the groups that change: CometBFT replaces a group as a whole."""
    if change is None:
        return None
    block = types.BlockParams(max_bytes=change.block_max_bytes, max_gas=-1) if change.block_max_bytes else None
    version = types.VersionParams(app=change.app_version) if change.app_version else None
    return types.ConsensusParams(block=block, version=version)


_METHODS: dict[str, Callable[[Application, Any], Any]] = {
    "echo": _echo,
    "flush": _flush,
    "info": _info,
    "init_chain": _init_chain,
    "query": _query,
    "commit": _commit,
    "list_snapshots": _list_snapshots,
    "offer_snapshot": _offer_snapshot,
    "load_snapshot_chunk": _load_snapshot_chunk,
    "apply_snapshot_chunk": _apply_snapshot_chunk,
    "prepare_proposal": _prepare_proposal,
    "process_proposal": _process_proposal,
    "extend_vote": _extend_vote,
    "verify_vote_extension": _verify_vote_extension,
    "finalize_block": _finalize_block,
}


def _proof_ops(found: QueryAnswer) -> types.ProofOps:
    """The row's proof up to the root, then the root's up to the app hash. An absent row's first operator has a type of our
    own, so that no stock client takes it for the proof of an empty value."""
    assert found.proof is not None
    proof: Proof = found.proof
    root = proof.leaf
    for level, aunt in enumerate(proof.aunts):
        root = inner_hash(aunt, root) if proof.index >> level & 1 else inner_hash(root, aunt)
    row = types.Proof(total=1 << DEPTH, index=proof.index, leaf_hash=proof.leaf, aunts=proof.aunts)
    kind = ABSENCE_OP if proof.leaf == EMPTY_LEAF else VALUE_OP
    return types.ProofOps(
        ops=[
            _proof_op(kind, found.key, row),
            _proof_op(VALUE_OP, STORE_NAME.encode(), types.Proof(total=1, index=0, leaf_hash=app_hash(root))),
        ]
    )


def _proof_op(kind: str, key: bytes, proof: types.Proof) -> types.ProofOp:
    return types.ProofOp(type=kind, key=key, data=types.ValueOp(key=key, proof=proof).SerializeToString())


def _commit_hash(block_hash: bytes, commit: types.CommitInfo) -> bytes:
    """The hash of the commit that decided the block before: who voted how, and the block's hash, whose header covers the
    signatures themselves."""
    parts = [b"planetserve/commit/1", block_hash, encode_varint(commit.round), encode_varint(len(commit.votes))]
    for vote in commit.votes:
        parts += [vote.validator.address, encode_varint(vote.validator.power), encode_varint(vote.block_id_flag)]
    return sha256(*parts)
