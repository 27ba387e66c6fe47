"""HPKE (RFC 9180), base mode, HKDF-SHA256, AES-256-GCM: what seals a clove to a model node.

Two suites: DHKEM(X25519, HKDF-SHA256), and the hybrid MLKEM768-X25519 that also holds against a quantum computer that
reads today's recordings. A sealed text begins with its suite's number (`docs/overlay.md` section 5).
"""

from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from network.crypto import HYBRID_KEY_LENGTH
from network.errors import CryptoError
from network.geometry import HYBRID_PRIVATE, KEY, Seal

_SUITES = {
    Seal.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    Seal.HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}


def seal_to(seal: Seal, public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """`plaintext` for the holder of the key `public`: suite 1, encapsulated key, ciphertext, tag 16."""
    try:
        key = _hybrid_public(public) if seal is Seal.HYBRID else _x25519_public(public)
        return bytes((seal,)) + _SUITES[seal].encrypt(plaintext, key, info)
    except ValueError as error:
        raise CryptoError(f"an unusable public key for {seal.name} seals") from error


def hybrid_public(private: bytes) -> bytes:
    """The public hybrid key of a private one."""
    kem, exchange = _hybrid_parts(private)
    return kem.public_key().public_bytes_raw() + exchange.public_key().public_bytes_raw()


@dataclass(frozen=True, slots=True)
class OnionPrivate:
    """What opens set-ups and cloves for a day: an X25519 key and, on a model node, a hybrid one (else empty)."""

    x25519: bytes
    hybrid: bytes = b""

    def __repr__(self) -> str:
        return "OnionPrivate(...)"


_Keys = dict[int, X25519PrivateKey | MLKEM768X25519PrivateKey]


class Opener:
    """Opens what was sealed to one node's private keys, newest first; the key objects are made once."""

    __slots__ = ("_generations",)

    def __init__(self, *generations: OnionPrivate) -> None:
        self._generations: list[_Keys] = []
        self.turn(*generations)

    def turn(self, *generations: OnionPrivate) -> None:
        """From now on only these keys open."""
        self._generations = [_key_objects(each) for each in generations]

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The plaintext of `seal_to`. Raises CryptoError."""
        suite = sealed[0] if sealed else 0
        if suite not in _SUITES or len(sealed) < Seal(suite).overhead:
            raise CryptoError("a sealed clove of an unknown suite, or shorter than its overhead")
        for keys in self._generations:
            try:
                if suite in keys:
                    return _SUITES[Seal(suite)].decrypt(memoryview(sealed)[1:], keys[suite], info)
            except (InvalidTag, ValueError):
                continue
        raise CryptoError("a sealed clove does not open")


def _key_objects(private: OnionPrivate) -> _Keys:
    keys: _Keys = {Seal.X25519: X25519PrivateKey.from_private_bytes(private.x25519)}
    if private.hybrid:
        keys[Seal.HYBRID] = MLKEM768X25519PrivateKey(*_hybrid_parts(private.hybrid))
    return keys


def _x25519_public(public: bytes) -> X25519PublicKey:
    if len(public) != KEY:
        raise ValueError(f"an X25519 public key has {KEY} bytes, not {len(public)}")
    return X25519PublicKey.from_public_bytes(public)


@lru_cache(maxsize=256)  # reading one takes half as long as sealing to it, and a request seals four times
def _hybrid_public(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != HYBRID_KEY_LENGTH:
        raise ValueError(f"a hybrid public key has {HYBRID_KEY_LENGTH} bytes, not {len(public)}")
    kem = MLKEM768PublicKey.from_public_bytes(public[:-KEY])
    return MLKEM768X25519PublicKey(kem, X25519PublicKey.from_public_bytes(public[-KEY:]))


def _hybrid_parts(private: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(private) != HYBRID_PRIVATE:
        raise ValueError(f"a hybrid private key has {HYBRID_PRIVATE} bytes, not {len(private)}")
    return MLKEM768PrivateKey.from_seed_bytes(private[:-KEY]), X25519PrivateKey.from_private_bytes(private[-KEY:])
