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


class SessionError(PlanetServeError):
    """A session that cannot end well. `code` is stable; `hint` says what the caller can do."""

    code = "session_failed"
    hint = "Try again."


class NoCircuits(SessionError):
    """Fewer than k circuits can be had, so no prompt can be sent."""

    code = "no_circuits"
    hint = "Too few relays answer. Wait for the network to settle, then try again."


class ModelUnreachable(NoCircuits):
    """Circuits stand, but their proxies cannot hand over to the model node."""

    code = "model_unreachable"
    hint = "The model node does not answer its proxies. Ask another one."


class RequestTooLong(SessionError):
    """The request does not fit the largest message of the overlay."""

    code = "request_too_long"
    hint = "Shorten the prompt."


class ReplyTimeout(SessionError):
    """The model node did not answer in time."""

    code = "reply_timeout"
    hint = "The model node is slow or gone. Try again, or ask another one."


class ReplyTruncated(SessionError):
    """The reply broke off before its final frame."""

    code = "reply_truncated"
    hint = "The answer is incomplete. Ask again."
