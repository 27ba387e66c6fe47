"""RegisterNode: the signer's key becomes a node that users, relays and model nodes can be routed to."""

from abci_app.state import directory
from abci_app.state.challenge import parameters, running_epoch
from abci_app.state.context import BlockContext, Event
from abci_app.state.errors import ALREADY_REGISTERED, BAD_FIELD, BAD_WORK, NODE_RETIRED, UNKNOWN_GROUP, TxError
from abci_app.state.label import require_label
from abci_app.state.state import State
from network.chain_records import ModelGroup, NodeRecord, group_key, node_key
from network.chain_tx import RegisterNode
from network.codec import Message
from network.crypto import KEY_LENGTH, is_hybrid_key, is_low_order
from network.ids import ROLE_WORDS, Role, node_id
from network.registration_work import WORK_EPOCHS, is_solved

# Stripped of all of these, a text of nothing else is empty: one call for every character.
_HOST = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"


def check_stateless(body: Message) -> None:
    """Role, name, keys and address are of the right shape, and only model nodes name a group."""
    assert isinstance(body, RegisterNode)
    if body.role not in (Role.USER, Role.RELAY, Role.MODEL):
        raise TxError(BAD_FIELD, f"role {body.role}: 1 user, 2 relay, 3 model")
    require_label(body.name, "name")
    require_onion_key(body.onion_key)
    if body.role == Role.USER:
        if body.address or body.family:
            raise TxError(BAD_FIELD, "a user node has neither address nor family: nobody connects to it")
    else:
        require_address(body.address)
        require_label(body.family, "family")
    if body.role == Role.MODEL:
        if not body.group or len(body.model_hash) != 32:
            raise TxError(BAD_FIELD, "a model node names its group and the hash of its model")
        if body.hybrid_key:
            require_hybrid_key(body.hybrid_key)
    elif body.group or body.model_hash or body.hybrid_key:
        raise TxError(BAD_FIELD, "only a model node names a group or a hybrid key")


def check_and_execute(body: Message, signer: bytes, state: State, block: BlockContext) -> list[Event]:
    """The puzzle is solved, the key is new, its model group exists with this model, and the directory has room."""
    assert isinstance(body, RegisterNode)
    _require_work(body, signer, state, block.chain_id)
    identifier = node_id(signer)
    held = state.load(NodeRecord, node_key(identifier))
    if held is not None:
        raise TxError(NODE_RETIRED if held.retired else ALREADY_REGISTERED, identifier.hex())
    if body.role == Role.MODEL:
        group = state.load(ModelGroup, group_key(body.group))
        if group is None or group.model_hash != body.model_hash:
            raise TxError(UNKNOWN_GROUP, body.group)
    directory.admit(state)
    params = parameters(state)
    record = NodeRecord(
        signing_key=signer,
        role=body.role,
        name=body.name,
        onion_key=body.onion_key,
        address=body.address,
        family=body.family,
        group=body.group,
        model_hash=body.model_hash,
        reputation=params.initial_reputation,
        trusted=params.initial_reputation >= params.threshold,
        registered_height=block.height,
        renewed_epoch=running_epoch(state).number,
        hybrid_key=body.hybrid_key,
    )
    state.save(node_key(identifier), record)
    return [Event("node_registered", (("node", identifier.hex()), ("role", ROLE_WORDS[Role(body.role)]), ("name", body.name)))]


def _require_work(body: RegisterNode, signer: bytes, state: State, chain_id: str) -> None:
    running, bits = running_epoch(state).number, parameters(state).registration_work
    if not bits:
        return
    if not running - WORK_EPOCHS <= body.work_epoch <= running:
        raise TxError(BAD_WORK, f"for epoch {body.work_epoch}, and epoch {running} is running")
    if not is_solved(chain_id, body.work_epoch, signer, body.work_counter, bits):
        raise TxError(BAD_WORK, f"{bits} zero bits are asked for")


def require_address(address: str) -> None:
    """host:port, the host a name or an IP address (IPv6 in brackets)."""
    host, _, port = address.rpartition(":")
    if not host or host.strip(_HOST):
        raise TxError(BAD_FIELD, "address: must be host:port")
    digits = port.isascii() and port.isdigit() and len(port) <= 5 and not port.startswith("0")
    if not digits or int(port) > 65535:
        raise TxError(BAD_FIELD, "address: the port must lie within 1..65535")


def require_onion_key(key: bytes) -> None:
    """An X25519 public key that agrees on a secret: of low order it would agree on zeros with everybody."""
    if len(key) != KEY_LENGTH or is_low_order(key):
        raise TxError(BAD_FIELD, "onion_key: not a usable X25519 public key")


def require_hybrid_key(key: bytes) -> None:
    """An ML-KEM-768 key and an X25519 key that cloves can be sealed to."""
    if not is_hybrid_key(key):
        raise TxError(BAD_FIELD, "hybrid_key: not a usable ML-KEM-768 and X25519 public key")
