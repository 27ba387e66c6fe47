"""What a verifier keeps of the running epoch across a restart: a small JSON text. Everything else it derives again."""

import json
from dataclasses import dataclass, field

from abci_app.verifier.agenda import Step
from network.chain_tx import Challenge, ScoreSheet, Transcript
from network.codec import decode, encode


@dataclass(slots=True)
class Memory:
    """One epoch: finished steps, own challenges, those asked, what came back, and the committed score sheet."""

    epoch: int = 0
    beacon: bytes = b""
    done: list[Step] = field(default_factory=list)
    challenges: tuple[Challenge, ...] = ()
    asked: list[bytes] = field(default_factory=list)
    replies: list[Transcript] = field(default_factory=list)
    sheet: ScoreSheet | None = None

    def to_json(self) -> str:
        """The text of the memory file."""
        return json.dumps(
            {
                "epoch": self.epoch,
                "beacon": self.beacon.hex(),
                "done": [str(step) for step in self.done],
                "challenges": [encode(challenge).hex() for challenge in self.challenges],
                "asked": [name.hex() for name in self.asked],
                "replies": [encode(transcript).hex() for transcript in self.replies],
                "sheet": encode(self.sheet).hex() if self.sheet is not None else "",
            }
        )


def memory_from_json(raw: str) -> Memory:
    """The inverse of `to_json`. Raises ValueError or KeyError for a file that is not one."""
    fields = json.loads(raw)
    sheet = bytes.fromhex(fields["sheet"])
    return Memory(
        epoch=int(fields["epoch"]),
        beacon=bytes.fromhex(fields["beacon"]),
        done=[Step(word) for word in fields["done"]],
        challenges=tuple(decode(Challenge, bytes.fromhex(item)) for item in fields["challenges"]),
        asked=[bytes.fromhex(item) for item in fields["asked"]],
        replies=[decode(Transcript, bytes.fromhex(item)) for item in fields["replies"]],
        sheet=decode(ScoreSheet, sheet) if sheet else None,
    )
