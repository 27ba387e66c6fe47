"""One prompt over four paths, as transcripts: the model node's end is the real codec, driven by hand."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.cell import CloseReason, Command, HandOverReader, decode_data, encode_data
from network.chain_records import DirectoryEntry
from network.clove import Clove, open_clove
from network.commands import BlamePath, DeliverFrame, EndSession, ReplacePath, SendData
from network.crypto import exchange_public
from network.errors import (
    DecodeError,
    LocalProtocolError,
    ModelUnreachable,
    NoCircuits,
    ReplyTimeout,
    ReplyTruncated,
    RequestTooLong,
)
from network.events import LinkLost, PathData, PathLost, PathNotReplaced, PathReplaced
from network.geometry import GEOMETRY, Seal
from network.hpke import OnionPrivate, Opener
from network.ids import Role
from network.inference import FrameKind, ReplyFrame
from network.message import pack_message, unpack_message
from network.modes import PACES, Mode
from network.reply import ReplyWriter, stream_of
from network.resume import is_proven, open_note
from network.session import (
    FIRST_PIECE_SECONDS,
    LAG_SECONDS,
    MAX_REPLACEMENTS,
    NEXT_FRAME_SECONDS,
    NEXT_PIECE_SECONDS,
    Session,
)
from network.sida import combine

NOW = 1_800_000_000.0
ACCEPTED = ReplyFrame(0, FrameKind.ACCEPTED)
DELTA = ReplyFrame(1, FrameKind.DELTA, b"{}")
FINAL = ReplyFrame(2, FrameKind.FINAL, b"end")


class ModelEnd:
    """The model node's side of one session."""

    def __init__(self, session: Session, private: bytes, node: bytes) -> None:
        readers: dict[int, HandOverReader] = {}
        for send in session.start(NOW):
            assert isinstance(send, SendData)
            command, payload = decode_data(send.data)
            if command is Command.HAND_OVER:
                readers[send.path] = HandOverReader(payload)
            else:
                readers[send.path].add(payload)
        self.cloves: dict[int, Clove] = {}
        for path, reader in readers.items():
            sealed = reader.clove()
            assert sealed is not None and reader.model_node == node
            self.cloves[path] = open_clove(sealed, Opener(OnionPrivate(private)))
            assert self.cloves[path].token == reader.token
        self.path_of = {clove.slice.index: path for path, clove in self.cloves.items()}
        first = self.cloves[0]
        slices = {clove.slice.index: clove.slice for clove in self.cloves.values()}
        secret, self.mode, self.request = unpack_message(combine(slices, first.n, first.k, first.total))
        self.secret, self.message_id = secret, first.message_id
        self.arrived = 0b1111
        self.sequence = 0
        self.writer = ReplyWriter(secret, first.message_id)
        for clove in self.cloves.values():
            self.writer.attach(clove.slice.index, clove.token)

    def write(self, *frames: ReplyFrame, end: bool = False, paths: Any = range(4), number: int | None = None) -> list[PathData]:
        """Events that carry these frames as one piece, in the order of the paths given."""
        order = {path: at for at, path in enumerate(paths)}
        indices = [self.cloves[path].slice.index for path in paths]
        number, self.sequence = (self.sequence, self.sequence + 1) if number is None else (number, self.sequence)
        cloves = self.writer.write(number, stream_of(frames), end=end, arrived=self.arrived, indices=indices)
        events = [PathData(self.path_of[i], encode_data(Command.REPLY, raw, GEOMETRY.backward_body)) for i, raw in cloves]
        return sorted(events, key=lambda event: order[event.path])


def closed(path: int, reason: CloseReason) -> PathData:
    return PathData(path, encode_data(Command.CLOSED, bytes((reason,)), GEOMETRY.backward_body))


@pytest.fixture
def session(model_node: Any, draw: Callable[[int], bytes]) -> Session:
    return Session(b"a prompt", model_node[1], NOW, draw, Mode.SPEEDY)


@pytest.fixture
def model(session: Session, model_node: Any) -> ModelEnd:
    return ModelEnd(session, model_node[0], model_node[1].node_id)


def ends_with(kind: type[Exception]) -> Callable[[Any], bool]:
    return lambda command: isinstance(command, EndSession) and type(command.error) is kind


def test_a_whole_session(session: Session, model: ModelEnd, playbook: Any) -> None:
    assert model.request == b"a prompt"
    assert sorted(clove.slice.index for clove in model.cloves.values()) == [0, 1, 2, 3]
    book = playbook(session)
    one, two, three, four = model.write(ACCEPTED)
    (book >> two).nothing()
    (book >> four).nothing()
    book >> one << DeliverFrame(ACCEPTED)
    (book >> three).nothing()
    one, two, three, four = model.write(DELTA, FINAL, end=True)
    (book >> one >> two).nothing()
    book >> three << [DeliverFrame(DELTA), DeliverFrame(FINAL), EndSession(None)]
    (book >> four).nothing()
    assert session.ended and session.next_deadline() is None


@given(st.binary(max_size=20_000), st.sampled_from(Mode))
@settings(max_examples=20, deadline=None)
def test_messages_round_trip(request_bytes: bytes, mode: Mode) -> None:
    message, cells = pack_message(b"s" * 32, request_bytes, mode)
    assert len(message) == GEOMETRY.padded_message(cells, Seal.X25519.overhead)
    assert unpack_message(message) == (b"s" * 32, mode, request_bytes)


def test_messages_that_are_not_as_specified() -> None:
    good, _ = pack_message(b"s" * 32, b"abc")
    for wrong in (good[:20], good[:-1] + b"\x01", good[:33] + b"\xff\xff\xff\xff" + good[37:], good[:32] + b"\x04" + good[33:]):
        with pytest.raises(DecodeError):
            unpack_message(wrong)
    with pytest.raises(RequestTooLong):
        pack_message(b"s" * 32, bytes(800_000))


def accept(book: Any, model: ModelEnd, paths: Any = range(4)) -> None:
    """The first piece comes over these paths."""
    for event in model.write(ACCEPTED, paths=paths):
        book >> event
        book.pending.clear()
    assert book.core.started


def test_cloves_wait_for_their_moment(model_node: Any, draw: Callable[[int], bytes], playbook: Any) -> None:
    session = Session(b"a prompt", model_node[1], NOW, draw, Mode.STRICT)
    left: list[tuple[float, int]] = []
    assert session.start(NOW) == []
    while len(left) < 4:
        deadline = session.next_deadline()
        assert deadline is not None and deadline > NOW
        commands = session.expire(deadline)
        left += [(deadline, command.path) for command in commands if isinstance(command, SendData)]
    assert len({at for at, _ in left}) == 4 and left == sorted(left) and {path for _, path in left} == {0, 1, 2, 3}
    assert left[-1][0] - NOW < 10 * PACES[Mode.STRICT].jitter_s
    assert session.marks.sent == left[2][0] and session.marks.left == 4, "the third clove is the one that is waited for"


def test_a_path_that_is_lost_while_its_clove_waits_sends_nothing(model_node: Any, draw: Callable[[int], bytes]) -> None:
    session = Session(b"a prompt", model_node[1], NOW, draw, Mode.STRICT)
    assert session.start(NOW) == [] == session.on_event(PathLost(2), NOW)
    assert {command.path for command in session.expire(NOW + 10) if isinstance(command, SendData)} == {0, 1, 3}


def test_a_path_lost_in_mid_answer_is_replaced_and_costs_nothing(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    book >> PathLost(1) << ReplacePath(1)
    (book >> PathLost(1)).nothing()
    one, _, three, four = model.write(DELTA, FINAL, end=True)
    (book >> four >> one).nothing()
    book >> three << [DeliverFrame(DELTA), DeliverFrame(FINAL), EndSession(None)]


def test_a_fresh_circuit_joins_the_reply(session: Session, model: ModelEnd, model_node: Any, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    lost = model.write(DELTA)  # sent while only one circuit stands: nobody can read it yet
    book >> PathLost(0) << ReplacePath(0)
    book >> PathLost(1) << ReplacePath(1)
    book >> PathLost(2) << ReplacePath(2)
    (book >> lost[3]).nothing()
    cells: list[Any] = []
    for path in (0, 2):
        book >> PathReplaced(path) << (lambda command: cells.append(command) is None and isinstance(command, SendData))
    readers = {cell.path: HandOverReader(decode_data(cell.data)[1], resumes=True) for cell in cells}
    for path, reader in readers.items():
        assert decode_data(cells[0].data)[0] is Command.RESUME
        note, proof = open_note(reader.clove() or b"", Opener(OnionPrivate(model_node[0])))
        assert (note.released, note.message_id, note.token) == (1, model.message_id, reader.token)
        assert is_proven(note, proof, model.secret) and model.path_of[note.index] == path
        model.writer.attach(note.index, note.token)
    one, three = model.write(DELTA, paths=(0, 2), number=1)
    (book >> one).nothing()
    book >> three << DeliverFrame(DELTA)
    assert session.marks.resumed == 2


def test_circuits_that_cannot_be_had_are_asked_for_again_until_enough_is_enough(
    session: Session, model: ModelEnd, playbook: Any
) -> None:
    book = playbook(session)
    accept(book, model)
    book >> PathLost(0) << ReplacePath(0)
    book >> PathLost(1) << ReplacePath(1)
    for _ in range(MAX_REPLACEMENTS - 2):
        book >> PathNotReplaced(0) << ReplacePath(0)
    (book >> PathNotReplaced(1)).nothing()
    book >> PathNotReplaced(0) << ends_with(ReplyTruncated)


def test_a_reply_that_takes_no_more_ways_is_not_asked_again(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    book >> PathLost(0) << ReplacePath(0)
    book >> PathReplaced(0) << SendData
    (book >> closed(0, CloseReason.REFUSED)).nothing()
    book >> PathLost(1) << ReplacePath(1)
    book >> PathReplaced(1) << SendData
    book >> closed(1, CloseReason.REFUSED) << ends_with(ReplyTruncated)


def test_two_lost_paths_before_the_first_frame_may_be_retried(session: Session, playbook: Any) -> None:
    book = playbook(session)
    (book >> PathLost(1)).nothing()
    book >> PathLost(2) << ends_with(NoCircuits)
    assert not session.started


def test_a_path_that_was_lost_before_the_reply_began_is_replaced_then(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    (book >> PathLost(1)).nothing()
    one, _, three, four = model.write(ACCEPTED)
    (book >> one >> three).nothing()
    book >> four << [DeliverFrame(ACCEPTED), ReplacePath(1)]


def test_no_path_left_truncates_the_reply_at_once(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    for path in (0, 3, 1):
        book >> PathLost(path) << ReplacePath(path)
    book >> PathLost(2) << ends_with(ReplyTruncated)


def test_a_path_that_falls_silent_is_replaced(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    book.now = NOW + LAG_SECONDS + 1
    one, two, _, four = model.write(DELTA)
    (book >> one >> two).nothing()
    (
        book
        >> four
        << [DeliverFrame(DELTA), (lambda command: isinstance(command, BlamePath) and command.path == 2), ReplacePath(2)]
    )


def test_paths_that_hang_are_replaced_though_no_piece_comes_together(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    book.now = NOW + 100  # a pause of all is no one's fault
    for _ in range(16):
        book.now += 0.25
        for event in model.write(paths=(0, 1)):
            (book >> event).nothing()
    book.now = NOW + 100.25 + LAG_SECONDS + 1
    (one,) = model.write(paths=(0,))
    stuck = [lambda command, path=path: isinstance(command, BlamePath) and command.path == path for path in (2, 3)]
    book >> one << [stuck[0], ReplacePath(2), stuck[1], ReplacePath(3)]


def test_a_hidden_end_is_waited_for_after_the_caller_has_everything(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    one, two, three, four = model.write(DELTA, FINAL)
    (book >> one >> two).nothing()
    book >> three << [DeliverFrame(DELTA), DeliverFrame(FINAL)]
    assert session.finished and not session.ended
    (book >> PathLost(3) >> four).nothing()
    one, two, three = model.write(end=True, paths=(0, 1, 2))
    (book >> one >> two).nothing()
    book >> three << EndSession(None)


def test_a_hidden_end_is_not_waited_for_for_ever(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    for event in model.write(DELTA, FINAL)[:3]:
        book >> event
        book.pending.clear()
    deadline = session.next_deadline()
    assert deadline is not None and deadline < NOW + 30
    book.at(deadline) << EndSession(None)


def test_a_path_that_alters_cloves_is_named(session: Session, model: ModelEnd, playbook: Any) -> None:
    events = model.write(ACCEPTED)
    broken = bytearray(events[2].data)
    broken[300] ^= 1
    book = playbook(session)
    (book >> events[0]).nothing()
    book >> PathData(2, bytes(broken)) << (lambda command: isinstance(command, BlamePath) and command.path == 2)
    (book >> events[1]).nothing()
    book >> events[3] << DeliverFrame(ACCEPTED)
    assert session.dropped == 1


def test_garbage_from_a_proxy_is_its_fault(session: Session, playbook: Any) -> None:
    book = playbook(session)
    book >> PathData(0, b"\xff" * GEOMETRY.backward_body) << BlamePath
    book >> PathData(1, encode_data(Command.HAND_OVER, b"", GEOMETRY.backward_body)) << BlamePath
    book << ends_with(NoCircuits)


def test_proxies_that_cannot_reach_the_model_node(session: Session, playbook: Any) -> None:
    book = playbook(session)
    (book >> closed(0, CloseReason.UNREACHABLE)).nothing()
    book >> closed(3, CloseReason.UNREACHABLE) << ends_with(ModelUnreachable)


def test_a_refused_clove_blames_its_path_alone(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    book >> closed(2, CloseReason.REFUSED) << BlamePath
    one, two, four = model.write(ACCEPTED, FINAL, paths=(0, 1, 3))
    (book >> one >> two).nothing()
    book >> four << DeliverFrame


def test_a_reply_without_its_final_frame_is_truncated(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    events = model.write(ACCEPTED, DELTA, end=True)
    (book >> events[0] >> events[1]).nothing()
    book >> events[2] << [DeliverFrame(ACCEPTED), DeliverFrame(DELTA), ends_with(ReplyTruncated)]


def test_a_missing_frame_is_noticed(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    events = model.write(ACCEPTED, FINAL, end=True)
    (book >> events[0] >> events[1]).nothing()
    book >> events[2] << [DeliverFrame(ACCEPTED), ends_with(ReplyTruncated)]


def test_a_finished_path_is_not_a_lost_one(session: Session, model: ModelEnd, playbook: Any) -> None:
    """Fast paths may say that the reply is over before a slow one has brought its share."""
    book = playbook(session)
    one, two, three, _ = model.write(ACCEPTED, DELTA, FINAL, end=True)
    (book >> one >> closed(0, CloseReason.FINISHED) >> two >> closed(1, CloseReason.FINISHED)).nothing()
    book >> three << [DeliverFrame, DeliverFrame, DeliverFrame, EndSession(None)]


def test_silence_times_out(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    book.at(NOW + FIRST_PIECE_SECONDS - 1).nothing()
    accept(book, model)
    accepted = book.now
    book.at(accepted + NEXT_PIECE_SECONDS - 1).nothing()
    book.at(accepted + NEXT_PIECE_SECONDS) << ends_with(ReplyTimeout)


def test_ticks_without_an_answer_do_not_go_on_for_ever(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    accept(book, model)
    for second in range(1, int(NEXT_FRAME_SECONDS)):
        book.now = NOW + second
        for event in model.write():
            (book >> event).nothing()
        book.at(NOW + second).nothing()
    book.at(NOW + NEXT_FRAME_SECONDS) << ends_with(ReplyTimeout)


def test_a_path_that_lags_is_named_at_the_end(session: Session, model: ModelEnd, playbook: Any) -> None:
    book = playbook(session)
    for number in range(10):
        for event in model.write(ReplyFrame(number, FrameKind.DELTA), paths=(0, 1, 2)):
            book >> event
            book.pending.clear()
    one, two, three = model.write(ReplyFrame(10, FrameKind.FINAL), end=True, paths=(0, 1, 2))
    (book >> one >> two).nothing()
    book >> three << [DeliverFrame, lambda command: isinstance(command, BlamePath) and command.path == 3, EndSession(None)]


def test_other_events_are_our_own_mistake(session: Session) -> None:
    with pytest.raises(LocalProtocolError):
        session.on_event(LinkLost(1), NOW)


def test_a_path_whose_clove_did_not_arrive_is_named_at_the_end(session: Session, model: ModelEnd, playbook: Any) -> None:
    model.arrived = 0b1111 & ~(1 << model.cloves[2].slice.index)
    book = playbook(session)
    one, two, three, _ = model.write(ACCEPTED, ReplyFrame(1, FrameKind.FINAL), end=True)
    (book >> one >> two).nothing()
    book >> three << [DeliverFrame, DeliverFrame, BlamePath(2, "its clove did not arrive"), EndSession(None)]


HAPPENINGS = st.one_of(
    st.tuples(st.sampled_from(["lost", "replaced", "not replaced", "piece", "late piece", "garbage"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(list(CloseReason)), st.integers(0, 3)),
    st.tuples(st.just("time"), st.integers(1, 40)),
)


@given(st.lists(HAPPENINGS, max_size=60), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_a_session_ends_once_and_delivers_in_order(happenings: list[tuple[Any, int]], seed: int) -> None:
    draw = random.Random(seed).randbytes
    private = draw(32)
    entry = DirectoryEntry(draw(20), draw(32), exchange_public(private), role=Role.MODEL)
    session = Session(b"a prompt", entry, NOW, draw, Mode.SPEEDY)
    model, now = ModelEnd(session, private, entry.node_id), NOW
    commands: list[Any] = []
    pending: set[int] = set()
    brought = dict.fromkeys(range(4), 0)
    for what, number in happenings:
        ended = any(isinstance(command, EndSession) for command in commands)
        before = len(commands)
        if what == "time":
            now += number
            commands += session.expire(now)
        elif what in ("replaced", "not replaced"):
            if number in pending:
                pending.discard(number)
                commands += session.on_event((PathReplaced if what == "replaced" else PathNotReplaced)(number), now)
        elif what == "lost":
            commands += session.on_event(PathLost(number), now)
        elif what == "garbage":
            commands += session.on_event(PathData(number, draw(GEOMETRY.backward_body)), now)
        elif isinstance(what, CloseReason):
            commands += session.on_event(closed(number, what), now)
        else:
            frame = ReplyFrame(brought[number], FrameKind.DELTA if brought[number] else FrameKind.ACCEPTED)
            (event,) = model.write(frame, paths=(number,), number=brought[number])
            brought[number] += 1
            commands += session.on_event(event, now)
        pending |= {command.path for command in commands[before:] if isinstance(command, ReplacePath)}
        assert not ended or len(commands) == before, "nothing comes after the end"
        assert (session.next_deadline() is None) == session.ended
    delivered = [command.frame.sequence for command in commands if isinstance(command, DeliverFrame)]
    assert delivered == list(range(len(delivered)))
    assert sum(isinstance(command, ReplacePath) for command in commands) <= MAX_REPLACEMENTS
