"""The virtual network carries prompts over real cores, deterministically, and its malice and taps work."""

from evals.adversary.behaviour import Altered, Later
from evals.adversary.network import VirtualNetwork, seeded_delays
from evals.adversary.wires import Carries
from network.errors import NoCircuits
from network.geometry import GEOMETRY


def test_a_prompt_and_its_answer() -> None:
    network = VirtualNetwork(seed=1, delay=seeded_delays(1))
    user = network.add_user()
    circuits = user.path_set(network.paths())
    assert all(circuit.is_open for circuit in circuits)
    asked = user.ask(b"hello", network.model.entry, circuits)
    assert network.run_until(lambda: asked.ended)
    assert asked.whole and asked.answer == b"hello" and network.model.requests == [b"hello"]
    network.run(1)
    assert network.open_circuits() == 0, "every relay forgets a circuit that its user has ended"


def test_the_same_seed_is_the_same_run() -> None:
    def run(seed: int) -> list[object]:
        network = VirtualNetwork(seed, delay=seeded_delays(seed))
        seen = network.tap()
        user = network.add_user()
        asked = user.ask(b"hello", network.model.entry, user.path_set(network.paths()))
        assert network.run_until(lambda: asked.ended)
        return list(seen)

    # HPKE draws its ephemeral key from the operating system, so sealed cloves differ; moments, ends and lengths do not.
    shape = [[(s.left, s.arrives, s.source, s.target, len(s.raw)) for s in run(seed)] for seed in (3, 3, 4)]  # type: ignore[attr-defined]
    assert shape[0] == shape[1] != shape[2]


def test_frames_keep_order_and_hold_at_most_sixteen_cells() -> None:
    network = VirtualNetwork(seed=2, delay=seeded_delays(2, jitter=0.1))
    seen = network.tap()
    user = network.add_user()
    asked = user.ask(bytes(100_000), network.model.entry, user.path_set(network.paths()))
    assert network.run_until(lambda: asked.ended) and asked.whole
    arrivals: dict[object, list[float]] = {}
    for sighting in seen:
        arrivals.setdefault((sighting.source, sighting.target), []).append(sighting.arrives)
        if sighting.carries is Carries.CELLS:
            assert len(sighting.raw) in {count * GEOMETRY.cell for count in range(1, 17)}
    assert all(times == sorted(times) for times in arrivals.values())
    assert max(len(sighting.cells()) for sighting in seen) == 16


def test_a_behaviour_stands_between_links_and_core() -> None:
    network = VirtualNetwork(seed=1)
    user = network.add_user()
    circuits = user.path_set(network.paths())
    held: list[int] = []

    def hold(link: int, raw: bytes) -> list[bytes | Later]:
        held.append(len(raw))
        return [Later(5.0, raw)]

    network.relays["r00"].behave(Altered(incoming=hold))
    network.relays["r03"].behave(Altered(outgoing=lambda link, raw: []))
    started = network.clock.now
    asked = user.ask(b"hello", network.model.entry, circuits)
    assert network.run_until(lambda: asked.ended) and asked.whole
    assert network.clock.now - started > 10.0 and set(held) == {GEOMETRY.cell}


def test_a_machine_that_stops_takes_its_links_with_it() -> None:
    network = VirtualNetwork(seed=1)
    user = network.add_user()
    circuits = user.path_set(network.paths())
    for name in ("r01", "r05"):
        network.kill(name)
    network.settle()
    assert [circuit.is_open for circuit in circuits] == [False, False, True, True]
    assert [circuit.is_open for circuit in user.path_set(network.paths())] == [False, False, True, True]
    asked = user.ask(b"hello", network.model.entry, circuits)
    assert isinstance(asked.error, NoCircuits)
    assert not network.run_until(lambda: False, patience=5.0)


def test_taps_see_what_passes_one_machine() -> None:
    network = VirtualNetwork(seed=1)
    seen = network.tap(at=["r01"])
    user = network.add_user()
    user.opened(network.path("r00", "r01", "r02"))
    assert [(s.source[0], s.target[0]) for s in seen] == [("r00", "r01"), ("r01", "r02"), ("r02", "r01"), ("r01", "r00")]
