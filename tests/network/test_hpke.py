"""HPKE against the key schedule of RFC 9180 and the hybrid KEM written out from their texts, and what must not open."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from network.crypto import MLKEM768_KEY_LENGTH, exchange, exchange_public
from network.errors import CryptoError
from network.geometry import KEY, Seal
from network.hpke import OnionPrivate, Opener, hybrid_public, seal_to

PRIVATE = bytes(range(1, 33))
PUBLIC = exchange_public(PRIVATE)
HYBRID = bytes(range(96))
HYBRID_PUBLIC = hybrid_public(HYBRID)
BOTH = OnionPrivate(PRIVATE, HYBRID)
TO = {Seal.X25519: PUBLIC, Seal.HYBRID: HYBRID_PUBLIC}


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    full = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + full + bytes([counter]), hashlib.sha256)
        out += block
    return out[:length]


def _x25519_secret(encapsulated: bytes, private: bytes = PRIVATE) -> bytes:
    """RFC 9180 section 4.1: DHKEM(X25519, HKDF-SHA256)."""
    kem = b"KEM" + (0x0020).to_bytes(2, "big")
    prk = _extract(kem, b"", b"eae_prk", exchange(private, encapsulated))
    return _expand(kem, prk, b"shared_secret", encapsulated + exchange_public(private), 32)


def _hybrid_secret(encapsulated: bytes) -> bytes:
    """X-Wing (draft-connolly-cfrg-xwing-kem), which draft-ietf-hpke-pq names MLKEM768-X25519."""
    first = MLKEM768PrivateKey.from_seed_bytes(HYBRID[:64]).decapsulate(encapsulated[:-32])
    second = exchange(HYBRID[64:], encapsulated[-32:])
    return hashlib.sha3_256(first + second + encapsulated[-32:] + HYBRID_PUBLIC[-32:] + bytes.fromhex("5c2e2f2f5e5c")).digest()


def _key_and_nonce(secret: bytes, info: bytes, kem: int, aead: int, size: int) -> tuple[bytes, bytes]:
    """RFC 9180 section 5.1 for HKDF-SHA256, base mode."""
    suite = b"HPKE" + kem.to_bytes(2, "big") + (0x0001).to_bytes(2, "big") + aead.to_bytes(2, "big")
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    schedule = _extract(suite, secret, b"secret", b"")
    return _expand(suite, schedule, b"key", context, size), _expand(suite, schedule, b"base_nonce", context, 12)


def test_the_key_schedule_written_out_here_is_the_rfcs() -> None:
    """RFC 9180, appendix A.1.1: the library has no way to choose the ephemeral key, so its own vectors are met half-way."""
    private = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    enc = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    sealed = bytes.fromhex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a")
    key, nonce = _key_and_nonce(_x25519_secret(enc, private), info, 0x0020, aead=0x0001, size=16)
    assert AESGCM(key).decrypt(nonce, sealed, b"Count-0") == b"Beauty is truth, truth beauty"


@pytest.mark.parametrize("seal", [Seal.X25519, Seal.HYBRID])
def test_agrees_with_the_rfcs_key_schedule(seal: Seal) -> None:
    sealed = seal_to(seal, TO[seal], b"a clove", b"info")
    assert len(sealed) == len(b"a clove") + seal.overhead and sealed[0] == seal
    assert Opener(BOTH).open(sealed, b"info") == b"a clove"
    kem, length, secret = {Seal.X25519: (0x0020, 32, _x25519_secret), Seal.HYBRID: (0x647A, 1120, _hybrid_secret)}[seal]
    key, nonce = _key_and_nonce(secret(sealed[1 : length + 1]), b"info", kem, aead=0x0002, size=32)
    assert AESGCM(key).decrypt(nonce, sealed[length + 1 :], b"") == b"a clove"


@pytest.mark.parametrize("seal", [Seal.X25519, Seal.HYBRID])
def test_nothing_else_opens(seal: Seal) -> None:
    opener, sealed = Opener(BOTH), seal_to(seal, TO[seal], b"a clove", b"info")
    last = bytes([sealed[-1] ^ 1])
    for wrong in (sealed[:-1], sealed[:40], sealed[:1], b"", bytes(len(sealed)), b"\x03" + sealed[1:], sealed[:-1] + last):
        with pytest.raises(CryptoError):
            opener.open(wrong, b"info")
    with pytest.raises(CryptoError):
        opener.open(sealed, b"other info")
    with pytest.raises(CryptoError):
        Opener(OnionPrivate(bytes(range(2, 34)), bytes(range(1, 97)))).open(sealed, b"info")


@pytest.mark.parametrize("seal", [Seal.X25519, Seal.HYBRID])
def test_yesterdays_keys_open_until_they_are_turned_away(seal: Seal) -> None:
    today = OnionPrivate(bytes(range(2, 34)), bytes(range(1, 97)))
    opener, sealed = Opener(today, BOTH), seal_to(seal, TO[seal], b"a clove", b"info")
    assert opener.open(sealed, b"info") == b"a clove"
    opener.turn(today)
    with pytest.raises(CryptoError):
        opener.open(sealed, b"info")


def test_keys_do_not_show() -> None:
    assert repr(BOTH) == "OnionPrivate(...)"


def test_a_node_without_a_hybrid_key_opens_no_hybrid_seal() -> None:
    with pytest.raises(CryptoError):
        Opener(OnionPrivate(PRIVATE)).open(seal_to(Seal.HYBRID, HYBRID_PUBLIC, b"a clove", b"info"), b"info")


def test_a_seal_is_not_taken_for_another_suites() -> None:
    sealed = seal_to(Seal.HYBRID, HYBRID_PUBLIC, b"a clove", b"info")
    with pytest.raises(CryptoError):
        Opener(BOTH).open(bytes((Seal.X25519,)) + sealed[1:], b"info")


def test_bad_public_keys_are_refused() -> None:
    for wrong in (bytes(32), b"short"):
        with pytest.raises(CryptoError):
            seal_to(Seal.X25519, wrong, b"a clove", b"info")
    out_of_range = b"\xff" * MLKEM768_KEY_LENGTH + PUBLIC
    for wrong in (b"short", PUBLIC, HYBRID_PUBLIC[:-KEY] + bytes(KEY), out_of_range):
        with pytest.raises(CryptoError):
            seal_to(Seal.HYBRID, wrong, b"a clove", b"info")
