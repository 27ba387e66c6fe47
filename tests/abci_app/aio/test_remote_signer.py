"""A validator whose key lies elsewhere: a signer of thirty lines dials CometBFT's socket, and the chain goes on by it.

The wire is CometBFT's privval protocol; over a unix socket it is length-prefixed protobuf, nothing more.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from abci_app.aio.guard import mark_path
from abci_app.aio.settings import load_config
from abci_app.config import consensus_address
from network.codec import decode_varint, encode_varint
from network.crypto import SigningKey

PUB_KEY, SIGN_VOTE, SIGN_PROPOSAL, PING = 1, 3, 5, 7  # each answer's number is one higher
VOTE_SIGNATURE, PROPOSAL_SIGNATURE = 8, 7
NIL = b"\x12\x00"  # a block id that names no block


def fields(raw: bytes) -> dict[int, Any]:
    """Varints and length-delimited fields by number, the last one of each."""
    found: dict[int, Any] = {}
    at = 0
    while at < len(raw):
        tag, at = decode_varint(raw, at)
        value, at = decode_varint(raw, at)
        if tag & 7 == 2:
            value, at = raw[at : at + value], at + value
        found[tag >> 3] = value
    return found


def part(number: int, raw: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(raw)) + raw


def fixed(number: int, value: int) -> bytes:
    return encode_varint(number << 3 | 1) + value.to_bytes(8, "little") if value else b""


def sign_bytes(message: dict[int, Any], chain_id: str, proposal: bool) -> bytes:
    """The canonical form of a vote or proposal, as CometBFT's types/canonical.go makes it."""
    raw = encode_varint(8) + encode_varint(message[1]) + fixed(2, message.get(2, 0)) + fixed(3, message.get(3, 0))
    if proposal and message.get(4):
        raw += encode_varint(4 << 3) + encode_varint(message[4])
    block, moment, chain = (5, 6, 7) if proposal else (4, 5, 6)
    if message.get(block, NIL) != NIL:
        raw += part(block, message[block])
    raw += part(moment, message[moment]) + part(chain, chain_id.encode())
    return encode_varint(len(raw)) + raw


class Signer(threading.Thread):
    """Dials the socket and signs what it is asked to, until `stop`."""

    def __init__(self, key: SigningKey, path: Path) -> None:
        super().__init__(daemon=True)
        self.key, self.path = key, path
        self.signed = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
                link.settimeout(1.0)
                link.connect(str(self.path))
                self.serve(link)
            time.sleep(0.05)

    def serve(self, link: socket.socket) -> None:
        buffer = b""
        while not self.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                data = link.recv(65536)
                if not data:
                    return
                buffer += data
            while buffer:
                length, at = decode_varint(buffer, 0)
                if len(buffer) < at + length:
                    break
                answer = self.answer(buffer[at : at + length])
                link.sendall(encode_varint(len(answer)) + answer)
                buffer = buffer[at + length :]

    def answer(self, raw: bytes) -> bytes:
        ((kind, body),) = fields(raw).items()
        request = fields(body)
        if kind == PUB_KEY:
            return part(kind + 1, part(1, part(1, self.key.public)))
        if kind == PING:
            return part(kind + 1, b"")
        wanted = sign_bytes(fields(request[1]), request[2].decode(), kind == SIGN_PROPOSAL)
        self.signed += 1
        number = PROPOSAL_SIGNATURE if kind == SIGN_PROPOSAL else VOTE_SIGNATURE
        return part(kind + 1, part(1, request[1] + part(number, self.key.sign(wanted))))


@contextlib.contextmanager
def signing(key: SigningKey, path: Path) -> Iterator[Signer]:
    signer = Signer(key, path)
    signer.start()
    yield signer
    signer.stopped.set()
    signer.join()


def test_a_validator_signs_by_a_remote_signer(make_chain: Callable[..., Any]) -> None:
    validator = make_chain(1).validators[0]
    config = validator.home / "config.toml"
    path = validator.home / "signer.sock"
    config.write_text(config.read_text().replace("[app]", f'priv_validator_laddr = "unix://{path}"\n\n[app]'))
    for name in ("config/priv_validator_key.json", "data/priv_validator_state.json"):
        (validator.home / "comet" / name).unlink()
    with signing(validator.key, path) as signer:
        validator.start()
        validator.wait_height(4)
        assert signer.signed >= 9, "a proposal and two votes for each height"
        assert validator.stop() == 0
    assert not mark_path(load_config(config)).exists(), "the signer guards its key itself"
    made = json.loads((validator.home / "comet" / "config" / "priv_validator_key.json").read_text())
    assert made["address"] != consensus_address(validator.key.public), "CometBFT makes itself a key that nobody asks for"
