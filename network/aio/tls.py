"""TLS 1.3 between nodes, with pinned keys: no authorities, no host names, no dates, one key per node.

A node's certificate is signed by itself with its ledger signing key; who connects compares the key in it with the one
that the proven directory lists, as the last step of the handshake, before a byte of its own leaves
(`docs/adr/0105-tls-with-ledger-keys.md`). TLS signs what no ledger message can begin with, so one key serves both.
"""

import secrets
import ssl
import tempfile
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from network.crypto import SigningKey

# The same for every node and for ever: nothing in a certificate tells nodes apart but the key.
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "planetserve")])
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SERIAL = 1


class WrongKey(ssl.SSLCertVerificationError):
    """Another key than the directory's answers at a node's address."""


class _PinnedObject(ssl.SSLObject):
    """A client's end that ends the handshake unless the pinned key answered."""

    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        if not isinstance(context, PinnedContext) or public_key(self.getpeercert(True)) != context.expected:
            raise WrongKey("another key than the directory lists answers at this address")


class PinnedContext(ssl.SSLContext):
    """Settings for connections of an event loop to one node; `expected` is its signing key."""

    sslobject_class = _PinnedObject
    expected: bytes


@lru_cache(maxsize=1024)
def client_context(signing_key: bytes) -> PinnedContext:
    """Connect to the holder of this key and to nobody else."""
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # not unchecked: _PinnedObject compares the key itself
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.expected = signing_key
    return context


def server_context(signing: SigningKey) -> ssl.SSLContext:
    """Answer as the holder of this key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a resumed connection would show no certificate, and link two visits
    private = Ed25519PrivateKey.from_private_bytes(signing.seed)
    password = secrets.token_bytes(32).hex().encode()
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    # `ssl` reads keys from files only. This one is encrypted under a password that is forgotten here.
    with tempfile.TemporaryDirectory(prefix="planetserve-") as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(certificate(private) + key)
        context.load_cert_chain(path, password=password)
    return context


def certificate(private: Ed25519PrivateKey) -> bytes:
    """The one certificate of a key, as PEM."""
    builder = x509.CertificateBuilder(_NAME, _NAME, private.public_key(), _SERIAL, _FROM, _UNTIL)
    return builder.sign(private, None).public_bytes(Encoding.PEM)


def public_key(der: bytes | None) -> bytes | None:
    """The Ed25519 key in a certificate; None when there is none in it, or it is no certificate."""
    try:
        key = x509.load_der_x509_certificate(der or b"").public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
