"""HPKE against the key schedule of RFC 9180 written out from its text, and what must not open."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from network.crypto import exchange, exchange_public
from network.errors import CryptoError
from network.geometry import SEAL_OVERHEAD
from network.hpke import Opener, seal_to

PRIVATE = bytes(range(1, 33))
PUBLIC = exchange_public(PRIVATE)


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    full = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + full + bytes([counter]), hashlib.sha256)
        out += block
    return out[:length]


def _open_by_the_rfc(sealed: bytes, info: bytes) -> bytes:
    """Sections 4.1 and 5.1 for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, base mode."""
    encapsulated, body = sealed[:32], sealed[32:]
    kem = b"KEM" + (0x0020).to_bytes(2, "big")
    suite = b"HPKE" + (0x0020).to_bytes(2, "big") + (0x0001).to_bytes(2, "big") + (0x0002).to_bytes(2, "big")
    shared = exchange(PRIVATE, encapsulated)
    prk = _extract(kem, b"", b"eae_prk", shared)
    secret = _expand(kem, prk, b"shared_secret", encapsulated + PUBLIC, 32)
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    schedule = _extract(suite, secret, b"secret", b"")
    key, nonce = _expand(suite, schedule, b"key", context, 32), _expand(suite, schedule, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, body, b"")


def test_agrees_with_the_rfcs_key_schedule() -> None:
    sealed = seal_to(PUBLIC, b"a clove", b"info")
    assert len(sealed) == len(b"a clove") + SEAL_OVERHEAD
    assert _open_by_the_rfc(sealed, b"info") == b"a clove"
    assert Opener(PRIVATE).open(sealed, b"info") == b"a clove"


def test_nothing_else_opens() -> None:
    opener, sealed = Opener(PRIVATE), seal_to(PUBLIC, b"a clove", b"info")
    for wrong in (sealed[:-1], sealed[:40], b"", bytes(len(sealed)), bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(CryptoError):
            opener.open(wrong, b"info")
    with pytest.raises(CryptoError):
        opener.open(sealed, b"other info")
    with pytest.raises(CryptoError):
        Opener(bytes(range(2, 34))).open(sealed, b"info")


def test_bad_public_keys_are_refused() -> None:
    for wrong in (bytes(32), b"short"):
        with pytest.raises(CryptoError):
            seal_to(wrong, b"a clove", b"info")
