"""Requests, replies and the statement a model node signs."""

from hypothesis import given
from hypothesis import strategies as st

from network.codec import decode, encode
from network.inference import (
    STATEMENT_DOMAIN,
    Finish,
    InferenceRequest,
    ReplyStatement,
    Sampling,
    prompt_hash,
    sampling_seed,
    statement_bytes,
)


def test_the_seed_is_a_public_function_of_the_nonce_with_vectors() -> None:
    nonce, node, model = bytes(range(32)), bytes(20), bytes(32)
    assert sampling_seed(nonce, node, model) == sampling_seed(nonce, node, model)
    assert sampling_seed(nonce, node, model) == 1096951974
    assert sampling_seed(nonce, bytes([1] * 20), model) != sampling_seed(nonce, node, model)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=20, max_size=20))
def test_the_seed_is_never_the_engines_word_for_random(nonce: bytes, node: bytes) -> None:
    assert 0 <= sampling_seed(nonce, node, bytes(32)) < 0xFFFFFFFF


def test_prompt_hash_depends_on_order_and_value() -> None:
    assert prompt_hash((1, 2)) != prompt_hash((2, 1)) != prompt_hash((258,))


def test_a_statement_begins_with_its_domain_and_round_trips() -> None:
    statement = ReplyStatement(
        STATEMENT_DOMAIN,
        bytes([7] * 32),
        bytes([1] * 20),
        bytes([2] * 32),
        bytes([3] * 32),
        Sampling(600, 0, 0, 48),
        (5, 0, 49_151),
        Finish.STOP,
    )
    raw = statement_bytes(statement)
    assert raw[2 : 2 + len(STATEMENT_DOMAIN)] == STATEMENT_DOMAIN
    assert decode(ReplyStatement, raw) == statement


def test_greedy_sampling_survives_the_codec_although_its_fields_are_defaults() -> None:
    request = InferenceRequest("m", 1, bytes([1] * 32), Sampling(), b"{}", 1000)
    assert decode(InferenceRequest, encode(request)).sampling == Sampling()
