"""Buffers are used again, and never while somebody holds a view."""

from network.buffers import BufferPool


def test_a_buffer_that_nobody_holds_is_used_again() -> None:
    pool = BufferPool()
    first = pool.take(1000)
    part, first[:] = first[10:20], b"a" * 1000
    second = pool.take(1000)
    second[:] = b"b" * 1000
    assert first == b"a" * 1000
    del first
    pool.take(500)[:] = b"c" * 500
    assert part == b"a" * 10, "a part holds the whole"
    del part
    third = pool.take(1000)
    assert bytes(third) != bytes(1000), "not from the system"
    assert second == b"b" * 1000


def test_few_are_kept() -> None:
    pool = BufferPool()
    views = [pool.take(100) for _ in range(10)]
    assert len({id(view.obj) for view in views}) == 10
    kept = {id(pool.take(100).obj) for _ in range(10)}
    assert len(kept) == 1
