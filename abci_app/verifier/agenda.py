"""What a verifier has to do in an epoch, and when: its challenges, its commitments, and the window of each step.

Everything is derived from its key, the epoch's beacon and the directory, so that a restart derives it again. Pure.
"""

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum

from abci_app.state.challenge import (
    SLOTS_PER_NODE,
    assignment_input,
    challenge_nonce,
    leader_input,
    owns,
    selection,
)
from abci_app.verifier.prompts import challenge_prompt
from network import vrf
from network.chain_records import DirectoryEntry, EpochRecord, Params
from network.chain_tx import Challenge, CommitChallenges, OpenChallenges, ProveVrf, challenge_hash
from network.crypto import SigningKey, sha256
from network.gateway.openai_request import inference_request
from network.inference import Endpoint, InferenceRequest

PROMPT_DOMAIN = b"planetserve/challenge-prompt/1"
SALT_DOMAIN = b"planetserve/challenge-salt/1"
DUMMY_DOMAIN = b"planetserve/challenge-dummy/1"
SHEET_DOMAIN = b"planetserve/sheet-salt/1"
EARLY_BLOCKS = 6  # after the send window: by then most transcripts are published, and scoring can begin


class Step(StrEnum):
    """What a verifier does in an epoch, in this order."""

    PROVE = "prove"
    COMMIT = "commit"
    SEND = "send"
    OPEN = "open"
    PUBLISH = "publish"
    PRESCORE = "prescore"
    SCORE = "score"
    REVEAL = "reveal"


def window(step: Step, params: Params) -> tuple[int, int]:
    """The block offsets (first, end) within which a step may begin. A transaction sent at offset n is in block n + 1."""
    first, end = {
        Step.PROVE: (0, params.vrf_end),
        Step.COMMIT: (0, params.commit_end),
        Step.SEND: (params.commit_end, params.send_end + 1),
        Step.OPEN: (params.send_end, params.publish_end),
        Step.PUBLISH: (params.send_end + 1, params.publish_end),
        Step.PRESCORE: (min(params.send_end + EARLY_BLOCKS, params.publish_end), params.publish_end + 1),
        Step.SCORE: (params.publish_end + 1, params.score_end),
        Step.REVEAL: (params.score_end, params.reveal_end),
    }[step]
    return first, end - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One verifier's epoch: what it proves, commits, sends and opens."""

    leader_proof: bytes
    assignment_proof: bytes
    challenges: tuple[Challenge, ...]
    commitments: tuple[bytes, ...]

    def prove(self, epoch: int) -> ProveVrf:
        """The transaction of step PROVE."""
        return ProveVrf(epoch, self.leader_proof)

    def commit(self, epoch: int) -> CommitChallenges:
        """The transaction of step COMMIT."""
        return CommitChallenges(epoch, self.commitments)

    def open(self, epoch: int, asked: Container[bytes]) -> OpenChallenges:
        """The transaction of step OPEN: what was asked; the rest stays closed like a dummy."""
        opened = tuple(challenge for challenge in self.challenges if challenge_hash(challenge) in asked)
        return OpenChallenges(epoch, opened, self.assignment_proof)


def owned_challenges(
    key: SigningKey, epoch: EpochRecord, params: Params, group: str, nodes: Sequence[DirectoryEntry]
) -> tuple[Challenge, ...]:
    """The challenges this verifier owes. `nodes` are the live model nodes of `group`; the surest selected fill the slots."""
    output = vrf.output(vrf.prove(key.seed, assignment_input(epoch.beacon)))
    owned = [
        (selection(output, node.node_id, slot), node.node_id, slot)
        for node in nodes
        for slot in range(SLOTS_PER_NODE)
        if owns(output, node.node_id, slot, params)
    ]
    return tuple(
        _challenge(key, output, epoch.number, group, node_id, slot) for _, node_id, slot in sorted(owned)[: params.slots]
    )


def plan(key: SigningKey, epoch: EpochRecord, params: Params, challenges: Sequence[Challenge]) -> Plan:
    """The epoch's proofs and commitments around these challenges, dummies filling the slots."""
    proof = vrf.prove(key.seed, assignment_input(epoch.beacon))
    hashes = [challenge_hash(challenge) for challenge in challenges]
    dummies = [sha256(DUMMY_DOMAIN, key.seed, epoch.beacon, bytes((at,))) for at in range(params.slots - len(hashes))]
    return Plan(vrf.prove(key.seed, leader_input(epoch.beacon)), proof, tuple(challenges), tuple(sorted(hashes + dummies)))


def request_of(challenge: Challenge, group: str) -> InferenceRequest:
    """The request that carries a challenge, made where a user's is made."""
    return inference_request(group, Endpoint.CHAT, json.loads(challenge.body), challenge.sampling, challenge.nonce)


def sheet_salt(key: SigningKey, epoch: EpochRecord) -> bytes:
    """The salt of the epoch's score sheet: secret, and the same after a restart."""
    return sha256(SHEET_DOMAIN, key.seed, epoch.beacon)


def _challenge(key: SigningKey, output: bytes, epoch: int, group: str, node_id: bytes, slot: int) -> Challenge:
    """The challenge of an owned pair; its prompt follows from the output, which stays secret until the opening."""
    pair = node_id + bytes((slot,))
    prompt = challenge_prompt(sha256(PROMPT_DOMAIN, output, pair))
    nonce = challenge_nonce(output, node_id, slot)
    messages = [{"role": role, "content": content} for role, content in prompt.messages]
    request = inference_request(group, Endpoint.CHAT, {"messages": messages}, prompt.sampling, nonce)
    salt = sha256(SALT_DOMAIN, key.seed, output, pair)
    return Challenge(epoch, node_id, slot, nonce, prompt.sampling, request.body, salt)
