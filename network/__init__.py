"""The overlay's vocabulary and protocol cores: the ground floor every other package stands on.

Nothing here imports a sibling package. Outside `aio/`, `cli/` and `__main__.py`, nothing touches the
network, the disk, a clock or a random source: bytes, `now` and `rng` are arguments.
"""
