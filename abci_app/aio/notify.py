"""Tells systemd that the validator is ready and alive, where systemd asked for it by NOTIFY_SOCKET."""

import socket
from contextlib import suppress


class Notifier:
    """One way to systemd; does nothing without an address."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._ready = False

    def ready(self) -> None:
        """Application and CometBFT run. How far they are is for `validator status`: a chain may wait for others."""
        if not self._ready:
            self._ready = True
            self._send(b"READY=1")

    def alive(self) -> None:
        """The supervisor does its rounds."""
        self._send(b"WATCHDOG=1")

    def stopping(self) -> None:
        """The validator was told to stop."""
        self._send(b"STOPPING=1")

    def _send(self, word: bytes) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(word, self._address)
