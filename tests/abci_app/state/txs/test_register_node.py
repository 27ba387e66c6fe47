"""What a registration may say."""

from dataclasses import replace

import pytest

from abci_app.state.errors import BAD_FIELD, TxError
from abci_app.state.txs.register_node import check_stateless
from network.chain_tx import RegisterNode
from network.crypto import exchange_public
from network.ids import Role

ONION = exchange_public(b"\x07" * 32)
MODEL = RegisterNode(Role.MODEL, "model-1", ONION, "127.0.0.1:8900", "family-1", "tiny", b"\x01" * 32)
RELAY = RegisterNode(Role.RELAY, "relay-1", ONION, "relay.example.org:443", "family-1")
HYBRID = bytes(1184) + ONION
USER = RegisterNode(Role.USER, "gateway", ONION)


@pytest.mark.parametrize("body", [MODEL, RELAY, USER, replace(MODEL, hybrid_key=HYBRID), replace(RELAY, address="[::1]:1")])
def test_sound_registrations(body: RegisterNode) -> None:
    check_stateless(body)


@pytest.mark.parametrize(
    "body",
    [
        replace(RELAY, role=0),
        replace(RELAY, name=""),
        replace(RELAY, name="Relay 1"),
        replace(RELAY, name="rélai"),
        replace(RELAY, name="a\nb"),
        replace(RELAY, onion_key=b""),
        replace(RELAY, onion_key=bytes(32)),
        replace(RELAY, onion_key=b"\x01" + bytes(31)),
        replace(RELAY, address=""),
        replace(RELAY, address="127.0.0.1"),
        replace(RELAY, address=":80"),
        replace(RELAY, address="host:0"),
        replace(RELAY, address="host:080"),
        replace(RELAY, address="host:65536"),
        replace(RELAY, address="host:٣"),
        replace(RELAY, address="ho st:80"),
        replace(RELAY, address="http://host/:80"),
        replace(RELAY, family=""),
        replace(RELAY, group="tiny"),
        replace(RELAY, model_hash=b"\x01" * 32),
        replace(MODEL, group=""),
        replace(MODEL, model_hash=b""),
        replace(USER, address="127.0.0.1:80"),
        replace(USER, family="f"),
        replace(USER, hybrid_key=HYBRID),
        replace(RELAY, hybrid_key=HYBRID),
        replace(MODEL, hybrid_key=HYBRID[:-1]),
        replace(MODEL, hybrid_key=b"\x01\x0d" + HYBRID[2:]),
        replace(MODEL, hybrid_key=b"\x00\x10\xd0" + HYBRID[3:]),
        replace(MODEL, hybrid_key=HYBRID[:-32] + bytes(32)),
    ],
)
def test_what_can_never_be_valid(body: RegisterNode) -> None:
    with pytest.raises(TxError) as caught:
        check_stateless(body)
    assert caught.value.code == BAD_FIELD
