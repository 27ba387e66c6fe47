"""Obstacles are found before anything starts, all of them at once."""

import shutil
import socket
from types import SimpleNamespace

import pytest

from localnet.aio import preflight
from localnet.aio.home import Home
from localnet.aio.perturb import node_of
from localnet.errors import LocalnetError
from localnet.setup.pins import Layout


def test_taken_ports_are_named_with_their_nodes(home: Home) -> None:
    relay = node_of(home, "relay-02")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        busy = SimpleNamespace(name=relay.name, ports=(port,))
        with pytest.raises(LocalnetError, match=rf"in use: {port} \(relay-02\)") as caught:
            preflight.check(home, [busy])  # type: ignore[list-item]
    assert caught.value.code == 3 and "--port-base" in str(caught.value)
    preflight.check(home, [busy])  # type: ignore[list-item]


def test_missing_files_and_a_full_disk_come_in_one_report(home: Home, place: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight.check(home, [])
    place.reference.unlink()
    place.model("Q4_0").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    with pytest.raises(LocalnetError) as caught:
        preflight.check(home, [])
    words = str(caught.value)
    assert "f32.npy is missing" in words and "Q4_0.gguf is missing" in words and "1 MB are free" in words
    assert caught.value.code == 3


def test_an_unknown_node_is_answered_with_the_names_there_are(home: Home) -> None:
    with pytest.raises(LocalnetError, match="relay-00") as caught:
        node_of(home, "relay-99")
    assert caught.value.code == 2
