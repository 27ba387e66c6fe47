"""What keeps a validator from signing twice: CometBFT's last signing state, and the highest one ever seen. Pure.

CometBFT refuses to sign at or below the height, round and step of its `priv_validator_state.json`. That file protects
nothing when it is lost or replaced by an older copy, so the supervisor keeps a mark of its own and compares both before
CometBFT starts. Neither ever goes back.
"""

import json
from dataclasses import dataclass

from network.errors import ConfigError


@dataclass(frozen=True, slots=True, order=True)
class Signed:
    """The last thing a consensus key signed: height, round, and step (1 proposal, 2 prevote, 3 precommit)."""

    height: int = 0
    round: int = 0
    step: int = 0

    def __str__(self) -> str:
        return f"height {self.height} round {self.round} step {self.step}"


def parse_signed(raw: bytes, where: str) -> Signed:
    """The state in CometBFT's file or ours. Raises ConfigError naming `where`."""
    try:
        document = json.loads(raw)
        signed = Signed(int(document["height"]), int(document["round"]), int(document["step"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{where} is not a signing state ({error!r}); put its newest copy back, see `validator guard`"
        ) from error
    if min(signed.height, signed.round, signed.step) < 0:
        raise ConfigError(f"{where} holds a negative number; put its newest copy back, see `validator guard`")
    return signed


def render_signed(signed: Signed) -> str:
    """The file of a state without a signature: CometBFT signs nothing at it or below it."""
    return json.dumps({"height": str(signed.height), "round": signed.round, "step": signed.step}) + "\n"


def refuse_older(state: Signed | None, mark: Signed | None, where: str) -> None:
    """Raises ConfigError when CometBFT's state is missing or behind the mark."""
    remedy = (
        "put the newest copy back; if it is lost, `planetserve validator guard --raise-to HEIGHT` writes one with a HEIGHT "
        "that the chain has not reached yet, and the validator signs again from there on"
    )
    if state is None:
        seen = f", and this key has signed {mark}" if mark is not None else ""
        raise ConfigError(f"comet.home: {where} is missing; it guards against signing twice{seen}: {remedy}")
    if mark is not None and state < mark:
        raise ConfigError(
            f"comet.home: {where} says {state}, but this key has signed {mark}: an older copy was put in its place, and "
            f"CometBFT would sign those heights twice; {remedy}"
        )
