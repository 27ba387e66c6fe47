"""Thin facade over PyNaCl and `cryptography`: one place where each primitive is chosen.

Signatures are Ed25519 (RFC 8032), key agreement X25519 (RFC 7748), AEAD AES-256-GCM (NIST SP 800-38D), key
derivation HKDF-SHA256 (RFC 5869). PyNaCl verifies in half the time of `cryptography`; `cryptography` seals five
times faster than PyNaCl (`docs/adr/0004-crypto-libraries.md`).
"""

from hashlib import sha256 as _sha256

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from network.errors import CryptoError

Buffer = bytes | memoryview
KEY_LENGTH = 32
MLKEM768_KEY_LENGTH = 1184
HYBRID_KEY_LENGTH = MLKEM768_KEY_LENGTH + KEY_LENGTH  # ML-KEM-768, X25519
SIGNATURE_LENGTH = 64
TAG_LENGTH = 16
NONCE_LENGTH = 12


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenated parts."""
    return _sha256(b"".join(parts)).digest()


class SigningKey:
    """An Ed25519 private key; `seed` is its 32-byte secret."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_LENGTH:
            raise ValueError(f"an Ed25519 seed has {KEY_LENGTH} bytes, not {len(seed)}")
        self.seed = seed
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`."""
        signed: bytes = nacl.bindings.crypto_sign(message, self._secret)
        return signed[:SIGNATURE_LENGTH]

    def exchange_private(self) -> bytes:
        """The X25519 private key of the same holder, for whoever is known by a signing key alone."""
        private: bytes = nacl.bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)
        return private

    def agree(self, public: bytes) -> bytes:
        """The X25519 secret shared with the holder of another Ed25519 key, both mapped to Curve25519 (RFC 7748 section 4.1).

        One key may serve both uses (Thormarker, "On using the same key pair for Ed25519 and an X25519 based KEM", 2021).
        Raises CryptoError for a public key that is no point of large order.
        """
        return exchange(self.exchange_private(), exchange_key_of(public))

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` was made by the holder of `public` (32 bytes)."""
    if len(public) != KEY_LENGTH or len(signature) != SIGNATURE_LENGTH:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def exchange_key_of(signing_public: bytes) -> bytes:
    """The X25519 public key that belongs to an Ed25519 public key. CryptoError when that is no key."""
    try:
        public: bytes = nacl.bindings.crypto_sign_ed25519_pk_to_curve25519(signing_public)
    except nacl.exceptions.CryptoError as error:
        raise CryptoError("not an Ed25519 public key") from error
    return public


def exchange_public(private: bytes) -> bytes:
    """The X25519 public key of a 32-byte private key."""
    public: bytes = nacl.bindings.crypto_scalarmult_base(private)
    return public


def exchange(private: bytes, public: bytes) -> bytes:
    """The X25519 shared secret. Raises CryptoError for a low-order public key."""
    if len(public) != KEY_LENGTH:
        raise CryptoError(f"an X25519 public key has {KEY_LENGTH} bytes, not {len(public)}")
    try:
        shared: bytes = nacl.bindings.crypto_scalarmult(private, public)
    except nacl.exceptions.RuntimeError as error:
        raise CryptoError("an X25519 public key of low order") from error
    return shared


MLKEM_MODULUS = 3329
# u-coordinates of the points of order 1, 2, 4 and 8 on Curve25519 and its twist, as encoded, the ones above the prime too:
# with these alone, X25519 agrees on zeros whatever the private key (RFC 7748 section 6.1; libsodium keeps the same list).
_LOW_ORDER = frozenset(
    value.to_bytes(KEY_LENGTH, "little")
    for value in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        2**255 - 20,
        2**255 - 19,
        2**255 - 18,
    )
)


def is_low_order(public: bytes) -> bool:
    """Whether `exchange` refuses this 32-byte X25519 public key, without the work of an exchange."""
    return public[:-1] + bytes((public[-1] & 0x7F,)) in _LOW_ORDER


def is_hybrid_key(public: bytes) -> bool:
    """Whether this is a public key of both kinds: ML-KEM-768's 768 numbers of 12 bits below 3329 (FIPS 203), X25519's point."""
    if len(public) != HYBRID_KEY_LENGTH:
        return False
    vectors = public[: MLKEM768_KEY_LENGTH - KEY_LENGTH]
    for low, middle, high in zip(vectors[::3], vectors[1::3], vectors[2::3], strict=True):
        if low | (middle & 15) << 8 >= MLKEM_MODULUS or middle >> 4 | high << 4 >= MLKEM_MODULUS:
            return False
    return not is_low_order(public[MLKEM768_KEY_LENGTH:])


def derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869): `length` bytes from `secret`, bound to `salt` and `info`."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def seal_joined(key: bytes, nonce: bytes, head: bytes, rest: bytes, associated: bytes, into: memoryview) -> None:
    """`seal` of head | rest, written to the front of `into`: what is large is neither joined nor copied first."""
    encryptor = Cipher(AES256(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated)
    end = encryptor.update_into(head, into)
    end += encryptor.update_into(rest, into[end:])
    encryptor.finalize()
    into[end : end + TAG_LENGTH] = encryptor.tag


def open_split(key: bytes, nonce: bytes, sealed: memoryview, head: int, associated: bytes = b"") -> tuple[bytes, bytes]:
    """The plaintext of `seal` in two parts, the first `head` bytes long. Raises CryptoError when the tag does not verify."""
    decryptor = Cipher(AES256(key), GCM(nonce)).decryptor()
    decryptor.authenticate_additional_data(associated)
    opened = decryptor.update(sealed[:head]), decryptor.update(sealed[head:-TAG_LENGTH])
    try:
        decryptor.finalize_with_tag(bytes(sealed[-TAG_LENGTH:]))
    except InvalidTag as error:
        raise CryptoError("an AEAD tag does not verify") from error
    return opened


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes = b"") -> bytes:
    """AES-256-GCM: ciphertext followed by its 16-byte tag. A (key, nonce) pair must never repeat."""
    return AESGCM(key).encrypt(nonce, plaintext, associated)


def open_sealed(key: bytes, nonce: bytes, sealed: Buffer, associated: bytes = b"") -> bytes:
    """The plaintext of `seal`. Raises CryptoError when the tag does not verify."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except InvalidTag as error:
        raise CryptoError("an AEAD tag does not verify") from error
