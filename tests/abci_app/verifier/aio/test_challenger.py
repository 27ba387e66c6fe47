"""One challenge over a scripted overlay: what becomes a transcript, what counts as missing, and what is nobody's fault."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from abci_app.state.params import DEFAULT
from abci_app.verifier.agenda import owned_challenges, request_of
from abci_app.verifier.aio.challenger import Challenger
from network.chain_records import UNIT, DirectoryEntry, DirectoryRecord, EpochRecord
from network.chain_tx import Transcript, challenge_hash
from network.codec import decode, encode
from network.crypto import SigningKey, sha256
from network.directory import Directory
from network.errors import ModelUnreachable, NoCircuits, ReplyTimeout
from network.gateway.openai_request import Defaults, parse
from network.ids import Role, node_id
from network.inference import (
    STATEMENT_DOMAIN,
    Endpoint,
    Finish,
    FrameKind,
    InferenceRequest,
    ReplyFailure,
    ReplyFinal,
    ReplyFrame,
    ReplyStatement,
    statement_bytes,
)

MODEL_HASH = sha256(b"model")
KEYS = [SigningKey(sha256(b"node", bytes((n,)))) for n in range(2)]
NODES = tuple(
    DirectoryEntry(node_id(key.public), key.public, role=Role.MODEL, name="m", group="g", model_hash=MODEL_HASH) for key in KEYS
)
DIRECTORY = Directory(DirectoryRecord("chain", entries=tuple(sorted(NODES, key=lambda entry: entry.node_id))), 5)
ALL = replace(DEFAULT, assignment=UNIT)
CHALLENGE = owned_challenges(SigningKey(bytes(32)), EpochRecord(1, 2, sha256(b"b")), ALL, "g", NODES[:1])[0]


class Overlay:
    """Answers every request with the same frames, or the same error."""

    def __init__(self, *frames: ReplyFrame, error: Exception | None = None) -> None:
        self.frames = frames
        self.error = error
        self.asked: list[InferenceRequest] = []

    async def ask(self, request: bytes, entry: DirectoryEntry) -> AsyncGenerator[ReplyFrame, None]:
        assert entry == NODES[0]
        self.asked.append(decode(InferenceRequest, request))
        for frame in self.frames:
            yield frame
        if self.error is not None:
            raise self.error


def final(key: SigningKey = KEYS[0], **changes: Any) -> ReplyFrame:
    statement = ReplyStatement(
        STATEMENT_DOMAIN,
        CHALLENGE.nonce,
        node_id(key.public),
        MODEL_HASH,
        sha256(b"p"),
        CHALLENGE.sampling,
        (1, 2),
        Finish.STOP,
    )
    signature = key.sign(statement_bytes(statement))
    statement = replace(statement, **changes)
    return ReplyFrame(1, FrameKind.FINAL, encode(ReplyFinal(statement, signature, 9, 2, 0, (node_id(key.public),))))


async def outcome(overlay: Overlay) -> Transcript | None:
    return await Challenger(overlay, lambda: DIRECTORY, "g").ask(CHALLENGE)


async def test_a_signed_reply_becomes_a_transcript() -> None:
    made = await outcome(Overlay(ReplyFrame(0, FrameKind.ACCEPTED), final()))
    assert made is not None and made.statement.token_ids == (1, 2) and made.answered_by == NODES[0].node_id
    forwarded = await outcome(Overlay(final(KEYS[1])))
    assert forwarded is not None and forwarded.answered_by == NODES[1].node_id


@pytest.mark.parametrize(
    "overlay",
    [
        Overlay(),
        Overlay(final(token_ids=(7,))),
        Overlay(final(SigningKey(bytes(32)))),
        Overlay(error=ReplyTimeout("late")),
        Overlay(error=ModelUnreachable("gone")),
        Overlay(ReplyFrame(0, FrameKind.FAILED, encode(ReplyFailure("engine_failed", 503, "no")))),
    ],
)
async def test_no_proven_reply_is_a_missing_one(overlay: Overlay) -> None:
    assert await outcome(overlay) == Transcript(challenge_hash(CHALLENGE))


async def test_our_own_lack_of_circuits_accuses_nobody() -> None:
    assert await outcome(Overlay(error=NoCircuits("no relays"))) is None


async def test_a_challenge_is_what_the_gateway_would_send() -> None:
    """The same chat through the gateway's parser gives the same bytes, field by field."""
    overlay = Overlay(final())
    await outcome(overlay)
    sent = overlay.asked[0]
    sampling = sent.sampling
    raw = (
        b'{"model":"g","temperature":%f,"max_tokens":%d,"messages":' % (sampling.temperature_milli / 1000, sampling.max_tokens)
        + sent.body[len(b'{"messages":') : -1]
        + (b',"top_p":%f' % (sampling.top_p_milli / 1000) if sampling.top_p_milli else b"")
        + b"}"
    )
    users = parse(Endpoint.CHAT, raw, Defaults("g", 600, 256), lambda count: CHALLENGE.nonce[:count]).inference
    assert encode(users) == encode(sent) == encode(request_of(CHALLENGE, "g"))
