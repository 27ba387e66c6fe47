"""From a failed step's output to words that help: what failed, why, what to do. Pure.

The table is searched from top to bottom in the tail of the output; the first match names the cause. The network comes before
what pip concludes from it: that no such package exists.
"""

from dataclasses import dataclass


class SetupError(Exception):
    """A step that could not be done. `cause` is why, `remedy` is what the reader can do about it."""

    def __init__(self, what: str, cause: str, remedy: str) -> None:
        self.what, self.cause, self.remedy = what, cause, remedy
        super().__init__(f"{what}\n  why:  {cause}\n  do:   {remedy}")


@dataclass(frozen=True, slots=True)
class Symptom:
    """Words in a tool's output, the cause they mean, and the remedy."""

    words: tuple[str, ...]
    cause: str
    remedy: str


AGAIN = "then run the same command again: what is done is kept"
SYMPTOMS = (
    Symptom(
        ("No space left on device", "Errno 28"),
        "the disk is full",
        f"make room (a whole set-up needs about 4 GB), {AGAIN}",
    ),
    Symptom(
        ("DO NOT MATCH THE HASHES", "checksum mismatch", "SECURITY ERROR"),
        "a downloaded file is not the one that was locked",
        "do not use it: look for a proxy or mirror that changes files, then try again",
    ),
    Symptom(
        (
            "Temporary failure in name resolution",
            "Name or service not known",
            "no such host",
            "Network is unreachable",
            "Connection refused",
            "Connection timed out",
            "Max retries exceeded",
            "NewConnectionError",
            "i/o timeout",
            "dial tcp",
            "TLS handshake",
            "ReadTimeoutError",
            "ProxyError",
        ),
        "the network cannot be reached",
        f"check the connection (and HTTPS_PROXY, PIP_INDEX_URL, GOPROXY if you use them), {AGAIN}",
    ),
    Symptom(
        ("No matching distribution found", "from versions: none"),
        "no package for this Python or machine in the index that pip uses",
        "check `pip config list` and the Python version (3.11 or 3.12 on Linux x86_64 or aarch64)",
    ),
    Symptom(
        ("ensurepip is not available", "No module named ensurepip", "No module named venv"),
        "this Python cannot make virtual environments",
        "install its venv package (Debian and Ubuntu: apt install python3-venv), then run the same command again",
    ),
    Symptom(
        ("Permission denied", "Read-only file system"),
        "a folder cannot be written",
        "check the owner of the checkout and of the cache folder (XDG_CACHE_HOME moves the cache)",
    ),
)


def explain(what: str, output: str, log: str) -> SetupError:
    """The error for a step whose tool failed with this output; `log` is where all of it was kept."""
    tail = output[-20_000:]
    for symptom in SYMPTOMS:
        for words in symptom.words:
            if words in tail:
                line = next((row.strip() for row in reversed(tail.splitlines()) if words in row), words)
                return SetupError(what, f"{symptom.cause} ({line[:160]})", f"{symptom.remedy}; the whole output: {log}")
    rows = [row.strip() for row in tail.splitlines() if row.strip()]
    return SetupError(what, rows[-1][:200] if rows else "the tool said nothing", f"read the whole output: {log}")
