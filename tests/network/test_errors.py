"""Whose fault it is decides the class of an error."""

from network import errors


def test_what_a_peer_sent_is_a_remote_error_and_what_we_did_is_not() -> None:
    assert issubclass(errors.DecodeError, errors.RemoteProtocolError)
    assert issubclass(errors.CryptoError, errors.RemoteProtocolError)
    assert not issubclass(errors.LocalProtocolError, errors.RemoteProtocolError)
    assert issubclass(errors.ConfigError, errors.PlanetServeError)
