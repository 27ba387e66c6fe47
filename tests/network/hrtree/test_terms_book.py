"""A group comes to hold one issuer's terms whatever the order; nobody who is not trusted learns a secret."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.chain_records import DirectoryEntry, DirectoryRecord
from network.codec import decode, encode
from network.crypto import SigningKey, exchange_public, sha256
from network.directory import Directory
from network.geometry import HYBRID_PRIVATE
from network.hpke import OnionPrivate, Opener, hybrid_public
from network.hrtree.delta import Refused, Signed, SignedKind, sign
from network.hrtree.fingerprint import ChunkPlan
from network.hrtree.terms import MAX_ANSWER, Given, Proposal, Terms, TermsAnswer, asked_id, encode_answer, give, issue, rank
from network.hrtree.terms_book import ANSWER_PAUSE_S, MOST_REPLACED, TURN_S, TermsBook
from network.ids import Role, node_id

PLAN = ChunkPlan()
KEYS = [SigningKey(bytes([number + 1] * 32)) for number in range(5)]
IDS = [node_id(key.public) for key in KEYS]
ONION = [OnionPrivate(bytes([number + 40] * 32)) for number in range(5)]
HELLO = b"a hello"
COUNT = 4


def entry(number: int, *, trusted: bool = True, hybrid: bytes = b"") -> DirectoryEntry:
    return DirectoryEntry(
        node_id=IDS[number],
        signing_key=KEYS[number].public,
        onion_key=exchange_public(ONION[number].x25519),
        role=Role.MODEL,
        group="m",
        reputation=5 * 10**8,
        trusted=trusted,
        hybrid_key=hybrid,
    )


def directory(*entries: DirectoryEntry, epoch: int = 1) -> Directory:
    found = entries or tuple(entry(number) for number in range(COUNT))
    return Directory(DirectoryRecord("chain", epoch, 1, b"", tuple(sorted(found, key=lambda each: each.node_id))), 1)


def book(number: int, *, where: Directory | None = None, opener: Opener | None = None) -> TermsBook:
    state = [number * 1000]

    def rng(size: int) -> bytes:
        state[0] += 1
        return sha256(state[0].to_bytes(8, "big"))[:size]

    made = TermsBook(IDS[number], KEYS[number], "m", PLAN, opener or Opener(ONION[number]), rng)
    made.on_directory(where or directory())
    return made


def ask(one: TermsBook, two: TermsBook, now: float) -> list[Any]:
    """`one` fetches what `two` holds."""
    return one.on_answer(two.own, two.answer(one.own, HELLO, now), HELLO)


def in_order(number: int) -> list[int]:
    return sorted(range(COUNT), key=lambda each: rank(number, IDS[each]))


def everybody(_: bytes) -> bool:
    return True


def nobody(_: bytes) -> bool:
    return False


def test_the_best_lot_issues_and_all_others_take_it() -> None:
    books = [book(number) for number in range(COUNT)]
    first, second, *others = in_order(0)
    assert [each.due(everybody, 0.0) for each in books].count(0) == 1
    assert books[first].due(everybody, 0.0) == 0
    held = books[first].issue(0)
    assert books[first].due(everybody, 0.0) is None
    for now, number in enumerate((second, *others), 1):
        assert books[number].due(everybody, 0.0) is None
        (taken,) = ask(books[number], books[first], now)
        assert taken.secret == held.secret
    assert len({each.id for each in books}) == 1
    assert ask(books[second], books[first], 9.0) == []
    assert "secret" not in repr(held)
    assert held.secret.hex() not in repr(held)


def test_who_knows_a_secret_tells_it_though_its_issuer_has_gone() -> None:
    first, second, third, _ = in_order(0)
    issuer, heir, late = book(first), book(second), book(third)
    held = issuer.issue(0)
    ask(heir, issuer, 0.0)
    (taken,) = ask(late, heir, 0.0)
    assert taken.secret == held.secret
    assert taken.terms.issuer == IDS[first]


def test_a_turn_each_when_better_lots_stay_silent() -> None:
    first, second, *_ = in_order(0)
    waits = book(second)
    assert waits.due(everybody, 10.0) is None
    assert waits.due(everybody, 10.0 + TURN_S) == 0
    assert waits.due(lambda node: node != IDS[first], 10.0) == 0
    alone = book(0, where=directory(entry(0)))
    assert alone.due(nobody, 0.0) == 0


def test_the_next_generation_is_agreed_on_in_the_second_half() -> None:
    first, second, *_ = in_order(1)
    best, next_best = book(first), book(second)
    for each in (best, next_best):
        each.issue(0)
        each.on_directory(directory(epoch=29))
        assert each.due(everybody, 0.0) is None
        each.on_directory(directory(epoch=30))
    assert best.due(everybody, 0.0) == 1
    assert next_best.due(everybody, 0.0) is None
    next_best.on_directory(directory(epoch=31))
    assert next_best.due(everybody, 0.0) == 1
    best.issue(1)
    (taken,) = [held for held in ask(next_best, best, 0.0) if held.terms.generation == 1]
    assert next_best.due(everybody, 0.0) is None
    for epoch, kept in ((60, {0, 1}), (120, {1}), (180, {1})):
        next_best.on_directory(directory(epoch=epoch))
        assert {number for number in range(4) if next_best.held(number)} == kept
    assert next_best.held(1) == taken


def test_hybrid_keys_are_sealed_to_where_they_are_named() -> None:
    private = OnionPrivate(ONION[0].x25519, bytes(range(HYBRID_PRIVATE % 256)) + bytes(HYBRID_PRIVATE - HYBRID_PRIVATE % 256))
    where = directory(entry(0, hybrid=hybrid_public(private.hybrid)), entry(1))
    one, two = book(1, where=where), book(0, where=where, opener=Opener(private))
    held = one.issue(0)
    one.issue(1)
    raw = one.answer(two.own, HELLO, 0.0)
    assert len(raw) < MAX_ANSWER
    assert two.on_answer(one.own, raw, HELLO)[0].secret == held.secret


def test_who_is_not_trusted_is_told_nothing_and_issues_nothing() -> None:
    where = directory(entry(0), entry(1, trusted=False))
    trusted, other = book(0, where=where), book(1, where=where)
    trusted.issue(0)
    assert other.due(everybody, 99.0) is None
    for caller in (IDS[1], IDS[4], bytes(20)):
        with pytest.raises(Refused) as refused:
            trusted.answer(caller, HELLO, 0.0)
        assert refused.value.reason == "untrusted"
    with pytest.raises(Refused):
        other.answer(IDS[0], HELLO, 0.0)


def test_nothing_can_be_sealed_to_a_node_without_an_onion_key() -> None:
    one = book(0, where=directory(entry(0), replace(entry(1), onion_key=b"")))
    one.issue(0)
    with pytest.raises(Refused):
        one.answer(IDS[1], HELLO, 0.0)


def test_terms_of_an_untrusted_issuer_do_not_count() -> None:
    first, second, *_ = in_order(0)
    cheat, honest = book(first), book(second)
    cheat.issue(0)
    assert ask(honest, cheat, 0.0)
    judge = book(second, where=directory(*(entry(number, trusted=number != first) for number in range(COUNT))))
    with pytest.raises(Refused):
        judge.on_answer(IDS[first], cheat.answer(judge.own, HELLO, 1.0), HELLO)
    witness = book(in_order(0)[2])
    ask(witness, honest, 1.0)
    assert judge.on_answer(witness.own, witness.answer(judge.own, HELLO, 1.0), HELLO) == []
    assert judge.counts["unknown-issuer"] == 1
    assert judge.held(0) is None


def test_nobody_is_answered_all_the_time() -> None:
    one = book(0)
    one.answer(IDS[1], HELLO, 0.0)
    with pytest.raises(Refused) as refused:
        one.answer(IDS[1], HELLO, ANSWER_PAUSE_S / 2)
    assert refused.value.reason == "too-often"
    one.answer(IDS[2], HELLO, ANSWER_PAUSE_S / 2)
    one.answer(IDS[1], HELLO, ANSWER_PAUSE_S)


def _swap(given_: Given, **fields: Any) -> bytes:
    return encode_answer(TermsAnswer(IDS[0], asked_id(HELLO), (replace(given_, **fields),)), KEYS[0], "chain")


def _terms(**fields: Any) -> Signed:
    return sign(SignedKind.TERMS, replace(Terms("m", 0, IDS[0], (), 0, bytes(32)), **fields), KEYS[0], "chain")


@pytest.mark.parametrize(
    ("reason", "build"),
    [
        ("garbage", lambda given_: _swap(given_, terms=None)),
        ("garbage", lambda given_: _swap(given_, terms=_terms())),
        ("garbage", lambda given_: _swap(given_, sealed=b"")),
        ("garbage", lambda given_: _swap(given_, sealed=given_.sealed[:-1] + bytes([given_.sealed[-1] ^ 1]))),
        ("garbage", lambda given_: _swap(given_, terms=_terms(lengths=(4,), fixed=64))),
        ("garbage", lambda given_: _swap(given_, terms=_terms(lengths=(64,), fixed=0))),
        ("foreign-group", lambda given_: _swap(given_, terms=_terms(group="other"))),
        ("signature", lambda given_: _swap(given_, terms=replace(given_.terms, signature=bytes(64)))),
        (
            "signature",
            lambda given_: _swap(given_, terms=sign(SignedKind.TERMS, decode(Terms, given_.terms.body), KEYS[3], "chain")),
        ),
    ],
)
def test_bad_terms_are_counted_and_change_nothing(reason: str, build: Callable[[Given], bytes]) -> None:
    one, two = book(0), book(1)
    good = give(one.issue(0), entry(1), "chain")
    assert two.on_answer(IDS[0], build(good), HELLO) == []
    assert two.counts == {reason: 1}
    assert two.held(0) is None
    assert two.on_answer(IDS[0], _swap(good), HELLO)


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        ("garbage", b"\x0a\x00"),
        ("oversized", bytes(MAX_ANSWER + 1)),
        ("garbage", encode(sign(SignedKind.HEAD, TermsAnswer(IDS[0], asked_id(HELLO)), KEYS[0], "chain"))),
        ("signature", encode_answer(TermsAnswer(IDS[0], asked_id(HELLO)), KEYS[1], "chain")),
        ("signature", encode_answer(TermsAnswer(IDS[0], asked_id(HELLO)), KEYS[0], "another chain")),
        ("not-for-us", encode_answer(TermsAnswer(IDS[0], asked_id(b"another hello")), KEYS[0], "chain")),
        ("not-for-us", encode_answer(TermsAnswer(IDS[1], asked_id(HELLO)), KEYS[0], "chain")),
    ],
)
def test_an_answer_that_is_none_is_refused(reason: str, raw: bytes) -> None:
    two = book(1)
    with pytest.raises(Refused) as refused:
        two.on_answer(IDS[0], raw, HELLO)
    assert refused.value.reason == reason
    assert two.held(0) is None


def test_a_secret_sealed_to_another_opens_nothing() -> None:
    one, two = book(0), book(1)
    raw = encode_answer(TermsAnswer(IDS[0], asked_id(HELLO), (give(one.issue(0), entry(2), "chain"),)), KEYS[0], "chain")
    assert two.on_answer(IDS[0], raw, HELLO) == []
    assert two.counts == {"garbage": 1}


def test_an_issuer_that_changes_its_mind_is_heard_so_many_times() -> None:
    first, second, *_ = in_order(0)
    victim, where = book(second), entry(second)
    made = [issue("m", 0, Proposal(), bytes([number]) * 32, IDS[first], KEYS[first], "chain") for number in range(64)]
    taken = 0
    for held in sorted(made, key=lambda each: each.rank, reverse=True):
        raw = encode_answer(TermsAnswer(IDS[first], asked_id(HELLO), (give(held, where, "chain"),)), KEYS[first], "chain")
        taken += len(victim.on_answer(IDS[first], raw, HELLO))
    assert taken == MOST_REPLACED + 1
    assert victim.counts["churn"] == 64 - taken


def test_a_plan_needs_most_of_the_reputation_and_stays_sane() -> None:
    first = in_order(0)[0]
    issuer = book(first)
    wild = Proposal(2**20, (16,) * 100, 16)
    tame = Proposal(500, (64, 64, 72, 16), 256)
    others = [number for number in range(COUNT) if number != first]
    for number, proposal in zip(others, (wild, tame, tame), strict=True):
        voter = book(number)
        voter.proposal = proposal
        ask(issuer, voter, 0.0)
    issuer.proposal = tame
    terms = issuer.issue(0).terms
    assert ChunkPlan(terms.lengths, terms.fixed).ends(300)[:4].tolist() == [64, 128, 200, 216]  # type: ignore[attr-defined]
    assert min(terms.lengths) >= 16
    assert max(terms.lengths) <= 1024


calls = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), max_size=20)


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, COUNT - 1), min_size=1), calls, st.permutations(range(COUNT)))
def test_any_issuers_any_order_one_outcome(issuers: set[int], earlier: list[tuple[int, int]], order: list[int]) -> None:
    """Whoever issued while apart, and whoever spoke to whom: once each has heard each, all hold the same."""
    books = [book(number) for number in range(COUNT)]
    for number in issuers:
        books[number].issue(0)
    now = 0.0
    for one, two in earlier:
        now += 1.0
        if one != two:
            ask(books[one], books[two], now)
    for _ in range(2):
        for one in order:
            for two in order:
                now += 1.0
                if one != two:
                    ask(books[one], books[two], now)
    best = min(issuers, key=lambda number: rank(0, IDS[number]))
    held = [each.held(0) for each in books]
    assert len({each.id for each in books}) == 1
    assert {each.terms.issuer for each in held if each} == {IDS[best]}
    assert len({each.secret for each in held if each}) == 1


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 700), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_answer_changes_nothing(at: int, noise: bytes, cut: bool) -> None:
    first, second = in_order(0)[:2]
    one, two = book(first), book(second)
    one.issue(0)
    good = one.answer(two.own, HELLO, 0.0)
    raw = good[:at] if cut else good[:at] + noise + good[at + len(noise) :]
    if raw == good:
        return
    with pytest.raises(Refused):
        two.on_answer(one.own, raw, HELLO)
    assert two.held(0) is None
