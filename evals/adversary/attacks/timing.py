"""What clocks tell: cloves of one prompt that leave together, and answers whose rhythm shows on the wire."""

import random
from functools import partial

from evals.adversary.attack import Attack, Outcome
from evals.adversary.attacks.cloves import cloves_of
from evals.adversary.machines import Timed
from evals.adversary.network import VirtualNetwork
from evals.adversary.wires import Carries
from network.cell import CellKind
from network.clove import open_clove
from network.geometry import LINK_ID
from network.hpke import Opener
from network.inference import FrameKind, ReplyFrame
from network.modes import Mode

USERS = 30
WINDOW = 0.2  # seconds in which all of them send


def sister_cloves(defended: bool) -> Outcome:
    """Two proxies serve all users, and pair by their clocks what they handed over. Links delay everything alike."""
    network = VirtualNetwork()
    draw = random.Random(9)
    users = [network.add_user() for _ in range(USERS)]
    circuits = [user.path_set(network.paths()) for user in users]
    seen = {name: network.tap(at=[name]) for name in ("r02", "r05")}
    mode = Mode.DEFAULT if defended else Mode.SPEEDY
    for user, own in zip(users, circuits, strict=True):
        ask = partial(user.ask, b"a question", network.model.entry, own, mode=mode)
        network.clock.after(draw.uniform(0, WINDOW), ask)
    network.run(5.0)
    opener = Opener(network.model.private)
    order = [
        [open_clove(sealed, opener).message_id for s in seen[name] if s.carries is Carries.CLOVES for sealed in cloves_of([s])]
        for name in ("r02", "r05")
    ]
    assert len(order[0]) == len(order[1]) == USERS
    right = sum(one == other for one, other in zip(*order, strict=True))
    return Outcome(right > USERS / 2, f"pairs of cloves matched: {right} of {USERS}, sent within {WINDOW:.1f} s")


def _spoken(words: int, first: float, gap: float) -> list[Timed]:
    deltas = [(first + gap * number, ReplyFrame(kind=FrameKind.DELTA, payload=b"word ")) for number in range(words)]
    return [(0.0, ReplyFrame(kind=FrameKind.ACCEPTED)), *deltas, (deltas[-1][0] + gap, ReplyFrame(kind=FrameKind.FINAL))]


def _rhythm(answer: list[Timed], mode: Mode) -> list[float]:
    """When cells of the answer reach the user over its first path, from the first one on, in milliseconds."""
    network = VirtualNetwork(answer=lambda request: answer)
    user = network.add_user()
    circuits = user.path_set(network.paths())
    seen = network.tap(at=["u00"])
    asked = user.ask(b"a question", network.model.entry, circuits, mode=mode)
    assert network.run_until(lambda: asked.ended) and asked.whole
    times = [s.arrives for s in seen if s.source[0] == "r00" for cell in s.cells() if cell[LINK_ID] == CellKind.BACKWARD]
    return [round(1000 * (at - times[0])) for at in times]


def answers_rhythm(defended: bool) -> Outcome:
    """A first relay listens to two answers: a cached one of five words at once, one of twenty that begins late."""
    mode = Mode.DEFAULT if defended else Mode.SPEEDY
    short, long = _rhythm(_spoken(5, 0.02, 0.01), mode), _rhythm(_spoken(20, 0.3, 0.015), mode)
    said = f"cells and milliseconds: {len(short)} in {short[-1]} and {len(long)} in {long[-1]}"
    return Outcome(short != long, said)


def cached_prefix(defended: bool) -> Outcome:
    """A first relay wants to know whether the model node has seen the beginning of a prompt before."""
    mode = Mode.DEFAULT if defended else Mode.SPEEDY
    known, new = _rhythm(_spoken(8, 0.02, 0.02), mode), _rhythm(_spoken(8, 0.42, 0.02), mode)
    return Outcome(known != new, f"the last cell after {known[-1]} ms where it was known, after {new[-1]} ms where not")


TIMING = (
    Attack(
        "sister-cloves",
        "Timing correlation across the four cloves",
        "two proxies with exact clocks",
        "every clove waits for a time of its own, 20 ms in the mean (`network/modes.py`)",
        "mode speedy: cloves leave at once",
        sister_cloves,
    ),
    Attack(
        "answers-rhythm",
        "Response traffic analysis",
        "a first relay that knows how models speak",
        "a piece of one length at every tick, up to a bucket (`serving_node/replying.py`)",
        "mode speedy: the last piece is the end",
        answers_rhythm,
    ),
    Attack(
        "cached-prefix",
        "Prefix-cache probing",
        "a first relay that measures the time to the first text",
        "pieces tick from acceptance on, text or not (`serving_node/replying.py`)",
        "mode speedy: the last piece is the end",
        cached_prefix,
    ),
)
