"""The error tree of the overlay: whose fault it is decides the class.

`LocalProtocolError` is our own caller's mistake, `RemoteProtocolError` is something a peer sent (drop it and
count it). A bug is neither, and crashes.
"""


class PlanetServeError(Exception):
    """Root of every error this project raises on purpose."""


class LocalProtocolError(PlanetServeError):
    """Our own caller asked for something the protocol does not allow."""


class RemoteProtocolError(PlanetServeError):
    """A peer sent bytes that break the protocol; the receiver drops them and counts them."""


class DecodeError(RemoteProtocolError):
    """Bytes that are not the canonical encoding of the message they claim to be."""


class CryptoError(RemoteProtocolError):
    """A signature, tag, proof or sealed box that does not verify."""


class ConfigError(PlanetServeError):
    """A configuration value that cannot be used; the process that reads it must not start."""
