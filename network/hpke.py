"""HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM: what seals a clove to a model node."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from network.errors import CryptoError
from network.geometry import KEY, SEAL_OVERHEAD

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal_to(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """`plaintext` for the holder of the X25519 key `public`: encapsulated key 32, ciphertext, tag 16."""
    if len(public) != KEY:
        raise CryptoError(f"an X25519 public key has {KEY} bytes, not {len(public)}")
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
    except ValueError as error:
        raise CryptoError("an X25519 public key of low order") from error


class Opener:
    """Opens what was sealed to one private key; the key object is made once."""

    __slots__ = ("_private",)

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The plaintext of `seal_to`. Raises CryptoError."""
        if len(sealed) < SEAL_OVERHEAD:
            raise CryptoError("a sealed clove is shorter than its overhead")
        try:
            return _SUITE.decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError) as error:
            raise CryptoError("a sealed clove does not open") from error
