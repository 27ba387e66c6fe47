"""Why a localnet command cannot do what it was asked: words for the reader, and the exit code (design section 10)."""

from network.errors import PlanetServeError

FAILED, USAGE, PREFLIGHT, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 130


class LocalnetError(PlanetServeError):
    """What happened, why, and what to do; `code` is the command's exit code."""

    def __init__(self, what: str, remedy: str, code: int = FAILED) -> None:
        self.code = code
        super().__init__(f"{what}\n  do:  {remedy}" if remedy else what)
