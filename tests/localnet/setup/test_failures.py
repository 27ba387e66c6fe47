"""A tool's output becomes words that help."""

import pytest

from localnet.setup.failures import explain


@pytest.mark.parametrize(
    ("output", "cause", "remedy"),
    [
        ("go: dial tcp: lookup proxy: no such host", "network", "check the connection"),
        ("NewConnectionError(...): Network is unreachable", "network", "HTTPS_PROXY"),
        ("WARNING: NewConnectionError('x')\nERROR: No matching distribution found for x==1", "network", "check the connection"),
        ("OSError: [Errno 28] No space left on device", "disk is full", "make room"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "locked", "do not use it"),
        ("verifying module: checksum mismatch", "locked", "do not use it"),
        ("ERROR: No matching distribution found for x==1", "no package", "Python version"),
        ("The virtual environment was not created: ensurepip is not available", "virtual environments", "python3-venv"),
        ("mkdir: Permission denied", "cannot be written", "owner"),
    ],
)
def test_known_symptoms(output: str, cause: str, remedy: str) -> None:
    error = explain("installing", f"Collecting a\n{output}\nnext line\n", "setup.log")
    assert (
        cause in error.cause
        and output.splitlines()[0][:40] in error.cause
        and remedy in error.remedy
        and "setup.log" in error.remedy
    )
    assert str(error).startswith("installing\n  why:  ")


def test_anything_else_shows_its_last_line() -> None:
    assert explain("building", "a\nfatal: odd thing\n\n", "setup.log").cause == "fatal: odd thing"
    assert explain("building", "", "setup.log").cause == "the tool said nothing"
