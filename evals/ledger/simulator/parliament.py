"""The committee's politics in a simulated chain: random proposals, lawful or not, and votes on what is open.

Validators that may join are the members whose numbers have replicas; so the chain never depends on somebody who is not there.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from evals.ledger.simulator.committee import View
from evals.ledger.simulator.world import Member, Nonces
from network.chain_records import GOVERNANCE_KEY, UPGRADE_KEY, GovernanceRecord, ValidatorRecord, validator_key
from network.chain_tx import GroupChange, Propose, TxKind, UpgradePlan, ValidatorChange, Vote
from network.codec import decode
from network.crypto import sha256

FAR = 1_000_000  # blocks: a planned upgrade that nobody lives to see
KINDS = ("join", "power", "leave", "strange leave", "params", "group", "upgrade", "cancel")


class Parliament:
    """Proposes and votes with the verifier keys of `members`, whoever of them is in the committee just now."""

    def __init__(self, draw: random.Random, members: Sequence[Member], nonces: Nonces) -> None:
        self._draw = draw
        self._members = members
        self._nonces = nonces
        self._titles = 0
        self.approval = 0.9

    def propose(self, seen: View, kind: str) -> list[bytes]:
        """One member's proposal of this kind; none when nobody sits in the committee."""
        sitting = self.sitting(seen)
        if not sitting:
            return []
        self._titles += 1
        return [self._nonces.sign(self._draw.choice(sitting), TxKind.PROPOSE, self._change(seen, kind, sitting))]

    def put(self, seen: View, body: Propose) -> bytes:
        """This proposal, by the first member who sits."""
        return self._nonces.sign(self.sitting(seen)[0], TxKind.PROPOSE, body)

    def votes(self, seen: View) -> list[bytes]:
        """Everybody's vote on everything that is open; `approval` of them approve."""
        raw = seen.read(GOVERNANCE_KEY)
        pending = decode(GovernanceRecord, raw).pending if raw is not None else ()
        return [
            self._nonces.sign(one, TxKind.VOTE, Vote(entry.id, self._draw.random() < self.approval))
            for entry in pending
            if not entry.passed
            for one in self.sitting(seen)
        ]

    def sitting(self, seen: View) -> list[Member]:
        """The members with power."""
        rows = [(one, seen.read(validator_key(one.address))) for one in self._members]
        return [one for one, raw in rows if raw is not None and decode(ValidatorRecord, raw).power]

    def _change(self, seen: View, kind: str, sitting: list[Member]) -> Propose:
        title, draw = f"proposal {self._titles}", self._draw
        chosen = draw.choice([one for one in self._members if one not in sitting] or sitting)
        match kind:
            case "join":
                change = ValidatorChange(chosen.consensus.public, chosen.verifier.public, draw.randrange(5, 12), chosen.name)
                return Propose(title, validator=change)
            case "power":
                return Propose(
                    title, validator=ValidatorChange(draw.choice(sitting).consensus.public, power=draw.randrange(5, 12))
                )
            case "leave":
                return Propose(title, validator=ValidatorChange(draw.choice(sitting).consensus.public))
            case "strange leave":
                return Propose(title, validator=ValidatorChange(chosen.consensus.public))
            case "params":
                size = draw.choice((0, 1 << 20, 2 << 20))
                changed = replace(
                    seen.params, threshold=draw.randrange(10**9), max_block_bytes=size, slots=draw.randrange(6, 10)
                )
                return Propose(title, params=changed)
            case "group":
                name = f"group-{draw.randrange(3)}"
                added = draw.random() < 0.6
                return Propose(title, group=GroupChange(name, sha256(name.encode()), "scheme") if added else GroupChange(name))
            case "upgrade":
                return Propose(title, upgrade=UpgradePlan("later", seen.height + FAR, draw.choice((1, 2))))
        planned = seen.read(UPGRADE_KEY)
        return Propose(title, cancel=decode(UpgradePlan, planned).name if planned is not None else "nothing")
