"""The puzzle that a busy relay asks for: work at the user's end, one hash at the relay's, nothing remembered.

A solution belongs to one ephemeral key at one relay under one directory, so it can be neither stocked nor used twice
(the replay set holds the ephemeral key). Implements `docs/overlay.md` section 3.
"""

from hashlib import sha256

from network.geometry import SOLUTION

_LABEL = b"planetserve/puzzle/1"


def puzzle(directory: bytes, onion_key: bytes, ephemeral: bytes) -> bytes:
    """What a solution is appended to."""
    return _LABEL + directory + onion_key + ephemeral


def is_solved(question: bytes, solution: bytes, bits: int) -> bool:
    """Whether the hash of the question with this solution begins with `bits` zero bits."""
    return int.from_bytes(sha256(question + solution).digest(), "big") >> (256 - bits) == 0


def solve(question: bytes, bits: int, start: int, tries: int) -> bytes | None:
    """A solution out of `tries` candidates that follow `start`, or None."""
    begun = sha256(question)
    for candidate in range(start, start + tries):
        solution = (candidate & (1 << 8 * SOLUTION) - 1).to_bytes(SOLUTION, "big")
        attempt = begun.copy()
        attempt.update(solution)
        if int.from_bytes(attempt.digest(), "big") >> (256 - bits) == 0:
            return solution
    return None
