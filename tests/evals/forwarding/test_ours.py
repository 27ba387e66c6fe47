"""Our own side: fronts whose files the front accepts, all on loopback, all of one cluster."""

import tomllib
from pathlib import Path

from evals.forwarding.ours import ours, table
from network.aio.keys import load
from serving_node.front.config import from_mapping
from serving_node.front.members import check_own

ENGINES = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]


def test_every_front_has_a_file_of_its_own_and_the_same_members(tmp_path: Path) -> None:
    forwarding, bare = ours(len(ENGINES))
    launches = forwarding.launches(list(range(7000, 7000 + forwarding.ports)), ENGINES, tmp_path)
    configs = [from_mapping(tomllib.loads(Path(launch.argv[-1]).read_text()), tmp_path) for launch in launches]
    assert [str(config.engine) for config in configs] == [engine.removeprefix("http://") for engine in ENGINES]
    assert len({config.members for config in configs}) == 1
    for config, launch in zip(configs, launches, strict=True):
        assert config.listen.port == launch.entry and launch.counters == f"http://{config.ops}/metrics"
        assert config.listen.is_loopback and config.policy == "ttft"
        check_own(config, load(config.keys).signing.public)
    (first, *_) = bare.launches(list(range(7000, 7000 + bare.ports)), ENGINES, tmp_path)
    assert tomllib.loads(Path(first.argv[-1]).read_text())["front"]["policy"] == "none"


def test_tables_are_toml() -> None:
    assert tomllib.loads(table("a", {"b": 'quote " and \\ path'})) == {"a": {"b": 'quote " and \\ path'}}
    assert tomllib.loads(table("a", {"b": "c"}, many=True) * 2) == {"a": [{"b": "c"}, {"b": "c"}]}
