"""The book at the engine's door."""

from serving_node.front.door import Door
from serving_node.load_factor import EngineLoad


def test_prefill_is_first_come_first_served() -> None:
    door = Door(2, 8)
    one, two, three = (door.enter(100, cached, 1.0) for cached in (0, 40, 400))
    assert door.load(7) == EngineLoad(2, 1, 160, 0.0, 2, 7) and not door.changed
    door.spoke(one, 3.0)
    assert door.changed and door.load().queued_tokens == 60
    door.spoke(two, 4.0)
    door.spoke(three, 4.5)
    assert (one.queue_s, two.queue_s, three.queue_s) == (0.0, 2.0, 3.0)
    for visit in (one, two, two, three):
        door.leave(visit)
    assert door.inside == 0 and door.load() == EngineLoad(0, 0, 0, 0.0, 2, 0)


def test_one_that_leaves_before_its_first_byte_no_longer_queues() -> None:
    door = Door(0, 1)
    visit = door.enter(50, 0, 0.0)
    assert door.full and door.load() == EngineLoad(1, 0, 50)
    door.leave(visit)
    assert not door.full and door.load().queued_tokens == 0


def test_a_shut_door_is_told() -> None:
    door = Door(0, 1)
    door.load()
    door.shut(True)
    assert door.changed and door.load().draining
    door.shut(False)
    assert door.changed and not door.load().draining and not door.changed
