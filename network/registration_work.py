"""The hash puzzle of a registration: what keeps anybody from making nodes without end where nothing costs money.

A solution is a counter such that SHA-256(domain | SHA-256(chain id) | epoch u64 | signer | counter u64) begins with the
chain's `registration_work` zero bits. It is bound to the signer and to a recent epoch, so it can be neither lent nor hoarded.
"""

from hashlib import sha256

WORK_DOMAIN = b"planetserve/registration-work/1"
WORK_EPOCHS = 2  # how many epochs old a solution may be


def solve(chain_id: str, epoch: int, signer: bytes, bits: int) -> int:
    """The lowest counter that solves the puzzle: 2^bits hashes on average, 0.1 s for 16 bits."""
    prefix = _prefix(chain_id, epoch, signer)
    counter = 0
    while not _holds(prefix, counter, bits):
        counter += 1
    return counter


def is_solved(chain_id: str, epoch: int, signer: bytes, counter: int, bits: int) -> bool:
    """Whether the counter solves the puzzle."""
    return _holds(_prefix(chain_id, epoch, signer), counter, bits)


def _prefix(chain_id: str, epoch: int, signer: bytes) -> bytes:
    return WORK_DOMAIN + sha256(chain_id.encode()).digest() + epoch.to_bytes(8, "big") + signer


def _holds(prefix: bytes, counter: int, bits: int) -> bool:
    digest = sha256(prefix + counter.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits) == 0
