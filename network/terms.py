"""What both ends of a link, and of a circuit, must agree on besides the layout of bytes. Tests make other terms."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """How many cells may be under way, and how long keys last.

    `window`: cells of one circuit and direction that a node may have received and not yet passed on or acknowledged.
    `credit_every`: cells passed on for which one CREDIT goes back. `rekey_every` and `most_cells`: per direction.
    """

    window: int = 128
    credit_every: int = 32
    rekey_every: int = 2**20
    most_cells: int = 2**32

    def __post_init__(self) -> None:
        if not 1 <= self.credit_every <= self.window < 2**16 or not 1 <= self.rekey_every <= self.most_cells:
            raise ValueError(f"terms that nobody can keep: {self}")


TERMS = Terms()
