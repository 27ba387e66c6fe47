"""Worse cryptography with the same shape: what stands in for a primitive while its defence is switched off."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from network.geometry import KEY, TAG, Seal

_FIRST_BLOCK = (2).to_bytes(4, "big")  # where GCM's counter stands when the text begins


class Unchecked:
    """AES-256-GCM that decrypts and does not look at the tag."""

    def __init__(self, key: bytes) -> None:
        self._key = bytes(key)
        self._sound = AESGCM(key)

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
        """As it should be."""
        return self._sound.encrypt(nonce, data, aad)

    def encrypt_into(self, nonce: bytes, data: bytes, aad: bytes | None, buffer: Any) -> int:
        """As it should be."""
        return self._sound.encrypt_into(nonce, data, aad, buffer)

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
        """Whatever comes out."""
        return Cipher(AES(self._key), CTR(bytes(nonce) + _FIRST_BLOCK)).decryptor().update(bytes(data)[:-TAG])

    def decrypt_into(self, nonce: bytes, data: bytes, aad: bytes | None, buffer: Any) -> int:
        """Whatever comes out."""
        plain = self.decrypt(nonce, data, aad)
        memoryview(buffer)[: len(plain)] = plain
        return len(plain)


class Uncounted:
    """AES-256-GCM that uses one nonce for everything."""

    def __init__(self, key: bytes) -> None:
        self._sound = AESGCM(key)

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
        """Under nonce 0."""
        return self._sound.encrypt(bytes(len(nonce)), data, aad)

    def encrypt_into(self, nonce: bytes, data: bytes, aad: bytes | None, buffer: Any) -> int:
        """Under nonce 0."""
        return self._sound.encrypt_into(bytes(len(nonce)), data, aad, buffer)

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes | None) -> bytes:
        """Under nonce 0."""
        return self._sound.decrypt(bytes(len(nonce)), data, aad)

    def decrypt_into(self, nonce: bytes, data: bytes, aad: bytes | None, buffer: Any) -> int:
        """Under nonce 0."""
        return self._sound.decrypt_into(bytes(len(nonce)), data, aad, buffer)


def seal_in_clear(seal: Seal, public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """A "sealed" clove that anybody can read, of the right length."""
    return bytes((seal,)).ljust(seal.overhead, b"\0") + plaintext


def open_in_clear(opener: Any, sealed: bytes, info: bytes) -> bytes:
    """What `seal_in_clear` made; nothing is checked."""
    return bytes(sealed[Seal(sealed[0]).overhead :])


class ClearOpener:
    """What somebody without the key can do: take the clove as it lies."""

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The bytes after the seal's."""
        return bytes(sealed[Seal.X25519.overhead :])


def share_openly(drawn: bytes, n: int, k: int) -> list[bytes]:
    """n "shares" that are the key."""
    return [drawn[:KEY]] * n


def recover_openly(indices: Sequence[int], shares: Sequence[bytes], n: int, k: int) -> bytes:
    """The key of `share_openly`."""
    return shares[0]
