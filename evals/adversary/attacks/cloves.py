"""What proxies and the model node try with the cloves they handle: read them, spoil them, tell their users apart."""

from evals.adversary.attack import Attack, Outcome, standing
from evals.adversary.behaviour import Altered, Later
from evals.adversary.network import VirtualNetwork
from evals.adversary.user import Asked, UserMachine
from evals.adversary.weak import ClearOpener, Unchecked, open_in_clear, recover_openly, seal_in_clear, share_openly
from evals.adversary.wires import Carries, Sighting
from network.clove import Clove, open_clove
from network.errors import CryptoError, DecodeError
from network.geometry import GEOMETRY, HYBRID_PRIVATE, KEY, LINK_ID, MESSAGE_ID
from network.handover import Handover, decode_handover
from network.hpke import OnionPrivate, Opener
from network.inference import FrameKind
from network.message import unpack_message
from network.sealing import Sealing
from network.sida import combine

PROMPT = b"my name is Rosalind and my address is 12 Chestnut Lane"
PROXIES = ("r02", "r05", "r08", "r11")
FIRST = ("r00", "r03", "r06", "r09")
FORWARD, BACKWARD = 3, 4


def cloves_of(seen: list[Sighting]) -> list[bytes]:
    """The sealed cloves among hand-over messages."""
    messages = [decode_handover(s.raw) for s in seen if s.carries is Carries.CLOVES]
    return [body for kind, _, body in messages if kind is Handover.CLOVE]


def _read(sealed: bytes, opener: object) -> Clove | None:
    try:
        return open_clove(sealed, opener)  # type: ignore[arg-type]
    except (CryptoError, DecodeError):
        return None


def _put_together(cloves: list[Clove]) -> bytes | None:
    slices = {clove.slice.index: clove.slice for clove in cloves}
    if len(slices) < GEOMETRY.k:
        return None
    return unpack_message(combine(slices, GEOMETRY.n, GEOMETRY.k, cloves[0].total))[2]


def _asked(network: VirtualNetwork, user: UserMachine, prompt: bytes = PROMPT) -> Asked:
    asked = user.ask(prompt, network.model.entry, user.path_set(network.paths()))
    assert _ended(network, asked)
    return asked


def _ended(network: VirtualNetwork, asked: Asked) -> bool:
    return network.run_until(lambda: asked.ended)


def colluding_proxies(defended: bool) -> Outcome:
    """Three proxies of one prompt put their cloves together."""
    with standing(defended, network__clove__seal_to=seal_in_clear, network__hpke__Opener__open=open_in_clear):
        network = VirtualNetwork()
        seen = network.tap(at=PROXIES[:3])
        assert _asked(network, network.add_user()).whole
        read = [clove for sealed in cloves_of(seen) if (clove := _read(sealed, ClearOpener())) is not None]
        prompt = _put_together(read)
        assert len(cloves_of(seen)) == GEOMETRY.k
        return Outcome(prompt == PROMPT, f"cloves read: {len(read)} of {GEOMETRY.k}; prompt read: {'yes' if prompt else 'no'}")


def two_recorded_paths(defended: bool) -> Outcome:
    """Two paths were recorded, the model node's key is stolen later. The two are those that hold the prompt's bytes."""
    with standing(defended, network__sida__share_key=share_openly, network__sida___recover=recover_openly):
        network = VirtualNetwork()
        seen = network.tap(at=PROXIES)
        assert _asked(network, network.add_user()).whole
        opener = Opener(network.model.private)
        cloves = [clove for sealed in cloves_of(seen) if (clove := _read(sealed, opener)) is not None]
        held = sorted(cloves, key=lambda clove: clove.slice.index)[: GEOMETRY.k - 1]
        ciphertext = b"".join(clove.slice.fragment for clove in held)
        tries = {clove.slice.share for clove in held}
        read = [PROMPT in Unchecked(key).decrypt(bytes(12), ciphertext + bytes(16), None) for key in tries]
        return Outcome(any(read), f"cloves opened: {len(held)} of {GEOMETRY.k}; prompt read: {'yes' if any(read) else 'no'}")


def broken_exchange(defended: bool) -> Outcome:
    """All four links to the model node were recorded; later, X25519 falls and its private keys are known to everybody."""
    network = VirtualNetwork()
    model, user = network.add_model(hybrid=True), network.add_user()
    seen = network.tap(at=[model.name])
    sealing = Sealing() if defended else Sealing(seal="x25519")
    asked = user.ask(PROMPT, model.entry, user.path_set(network.paths()), sealing=sealing)
    assert _ended(network, asked) and asked.whole
    guessed = network.rng("guess")(HYBRID_PRIVATE - KEY) + model.private.hybrid[-KEY:]
    opener = Opener(OnionPrivate(model.private.x25519, guessed))
    read = [clove for sealed in cloves_of(seen) if (clove := _read(sealed, opener)) is not None]
    prompt = _put_together(read)
    return Outcome(prompt == PROMPT, f"cloves opened: {len(read)} of {GEOMETRY.n}; prompt read: {'yes' if prompt else 'no'}")


def _spoil(link: int, raw: bytes) -> list[bytes | Later]:
    return [raw[:-1] + bytes((raw[-1] ^ 1,)) if raw[0] == Handover.CLOVE else raw]


def corrupted_clove(defended: bool) -> Outcome:
    """One proxy changes a byte of every clove that it hands over, and is the fastest of the four."""
    with standing(defended, network__clove__seal_to=seal_in_clear, network__hpke__Opener__open=open_in_clear):
        network = VirtualNetwork(delay=lambda source, target: 0.01 if source in ("r00", "r01", "r02") else 0.02)
        network.relays["r02"].behave(Altered(outgoing=_spoil))
        asked = _asked(network, network.add_user())
        named = {path for path, _ in asked.blamed} == {0}
        said = f"answered: {'yes' if asked.whole else 'no'}; offender named: {'yes' if named else 'no'}"
        return Outcome(not (asked.whole and named), said)


def dropped_cloves(defended: bool) -> Outcome:
    """One relay passes the set-up on and nothing after it."""
    network = VirtualNetwork()
    network.relays["r01"].behave(
        Altered(incoming=lambda link, cell: [] if cell[LINK_ID] == FORWARD else [cell]),
    )
    user = network.add_user()
    paths = network.paths() if defended else [network.path("r00", "r01", "r02")] * GEOMETRY.n
    asked = user.ask(PROMPT, network.model.entry, user.path_set(paths))
    assert _ended(network, asked)
    named = (0, "its clove did not arrive") in asked.blamed
    return Outcome(not asked.whole, f"answered: {'yes' if asked.whole else 'no'}; offender named: {'yes' if named else 'no'}")


def delayed_cloves(defended: bool) -> Outcome:
    """A proxy holds everything that comes back for ten seconds."""
    network = VirtualNetwork()
    network.relays["r02"].behave(Altered(outgoing=lambda link, raw: [Later(10.0, raw)] if raw[LINK_ID] == BACKWARD else [raw]))
    user = network.add_user()
    paths = network.paths() if defended else [network.path("r00", "r01", "r02")] * GEOMETRY.n
    asked, asked_at = user.ask(PROMPT, network.model.entry, user.path_set(paths)), network.clock.now
    assert network.run_until(lambda: FrameKind.FINAL in [frame.kind for frame in asked.frames])
    waited = network.clock.now - asked_at
    return Outcome(waited > 5.0, f"the caller had the answer after {waited:.1f} s")


def clove_lengths(defended: bool) -> Outcome:
    """A first relay counts the cells of two prompts, of 6,000 and 9,000 bytes."""
    with standing(defended, network__sealing__CELL_BUCKETS=tuple(range(1, 257))):
        counts = []
        for length in (6000, 9000):
            network = VirtualNetwork()
            user = network.add_user()
            circuits = user.path_set(network.paths())
            seen = network.tap(at=["u00"])
            asked = user.ask(bytes(length), network.model.entry, circuits)
            assert _ended(network, asked) and asked.whole
            cells = [(s.target[0], cell) for s in seen if s.source[0] == "u00" for cell in s.cells()]
            counts.append(sorted([target for target, cell in cells if cell[LINK_ID] == FORWARD].count(name) for name in FIRST))
        assert all(len(set(each)) == 1 for each in counts), "the four paths differ"
        return Outcome(counts[0] != counts[1], f"cells per path: {counts[0][0]} and {counts[1][0]}")


def two_requests_of_one_user(defended: bool) -> Outcome:
    """The model node looks for anything that two requests have in common."""
    network = VirtualNetwork()
    user = network.add_user()
    views = []
    for prompt in (b"first question", b"second question"):
        circuits = user.path_set(network.paths())
        if not defended:
            user.rng = network.rng("u00/session")  # ids from a user's own seed instead of fresh ones
        seen = network.tap(at=["m00"])
        asked = user.ask(prompt, network.model.entry, circuits)
        assert _ended(network, asked)
        opener = Opener(network.model.private)
        cloves = [clove for sealed in cloves_of(seen) if (clove := _read(sealed, opener)) is not None]
        views.append({clove.message_id for clove in cloves} | {clove.token for clove in cloves})
    common = views[0] & views[1]
    assert all(len(each) == MESSAGE_ID for view in views for each in view)
    return Outcome(bool(common), f"ids and tokens in common: {len(common)} of {len(views[0] | views[1])}")


CLOVES = (
    Attack(
        "colluding-proxies",
        "Proxy learns destination",
        "three of a prompt's four proxies",
        "every clove is sealed to the model node (`network/hpke.py`)",
        "cloves travel in clear",
        colluding_proxies,
    ),
    Attack(
        "two-paths-recorded",
        "Harvest now, decrypt later",
        "who recorded two of four paths and later has the model node's key",
        "fewer than k shares of the key are random bytes (`network/sida.py`)",
        "every clove carries the key itself",
        two_recorded_paths,
    ),
    Attack(
        "broken-exchange",
        "Harvest now, decrypt later",
        "who recorded everything and breaks X25519 in some years",
        "hybrid seals with ML-KEM-768 to model nodes that name a key (`network/hpke.py`)",
        "the user seals with X25519 only",
        broken_exchange,
    ),
    Attack(
        "corrupted-clove",
        "Drop or corrupt cloves",
        "the fastest of four proxies",
        "each clove has its own tag, any three decode, the reply says which came (`serving_node/inbox.py`)",
        "cloves carry no tag",
        corrupted_clove,
    ),
    Attack(
        "dropped-cloves",
        "Drop or corrupt cloves",
        "a relay that swallows all cells after set-up",
        "four disjoint paths, three suffice (`network/paths.py`)",
        "all four circuits take one path",
        dropped_cloves,
    ),
    Attack(
        "delayed-cloves",
        "Drop or corrupt cloves",
        "a proxy that holds replies back",
        "any three of four cloves release a piece (`network/reply.py`)",
        "all four circuits take one path",
        delayed_cloves,
    ),
    Attack(
        "clove-lengths",
        "Clove-length correlation",
        "a first relay",
        "messages are padded to nine sizes (`network/geometry.py`)",
        "every count of cells is allowed",
        clove_lengths,
    ),
    Attack(
        "linked-requests",
        "Session id at the model node",
        "the model node",
        "message ids, tokens and reply secrets are drawn for each attempt (`network/session.py`)",
        "a user's ids follow from one seed",
        two_requests_of_one_user,
    ),
)
