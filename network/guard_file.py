"""The guards as one JSON text: what is kept between starts. Times are whole Unix seconds; the file names its chain.

A text that is not exactly of this form is refused whole: guards that are silently chosen anew are what an attacker would want.
"""

import json
from collections.abc import Mapping

from network.errors import DecodeError
from network.guards import Guard, GuardRules, GuardSet
from network.ids import NODE_ID_LENGTH
from network.path_scores import MOST_TRIES, RelayScore, Score

VERSION = 1
LONGEST_FILE = 65_536
_TIMES = ("sampled_at", "expires_at", "failed_at", "tried_at", "retry_at", "unlisted_since")
_COUNTS = ("confirmed", "failures")
_LATEST = 2**40


def guards_to_json(guards: GuardSet, chain_id: str) -> str:
    """The text to keep."""
    return json.dumps({"version": VERSION, "chain_id": chain_id, "guards": [_row(guard) for guard in guards.guards]}, indent=1)


def guards_from_json(text: str, chain_id: str, rules: GuardRules) -> GuardSet:
    """The guards in `text`; none when they were chosen on another chain. Raises DecodeError."""
    try:
        document = json.loads(text)
        if document["version"] != VERSION or not isinstance(document["chain_id"], str):
            raise ValueError(f"version {document['version']} is not known")
        guards = [_guard(row) for row in document["guards"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DecodeError(f"not a list of guards: {error}") from error
    if len({guard.node_id for guard in guards}) != len(guards) or len(guards) > rules.most_sample:
        raise DecodeError("not a list of guards: one is named twice, or there are too many")
    return GuardSet(rules, guards if document["chain_id"] == chain_id else ())


def _row(guard: Guard) -> dict[str, object]:
    numbers = {name: int(getattr(guard, name)) for name in (*_TIMES, *_COUNTS)}
    scores = {"set_up": _counts(guard.score.set_up), "use": _counts(guard.score.use)}
    return {"node_id": guard.node_id.hex(), "demoted": guard.demoted, **scores, **numbers}


def _counts(score: Score) -> list[int]:
    return [score.successes, score.tries]


def _guard(row: Mapping[str, object]) -> Guard:
    node_id = bytes.fromhex(str(row["node_id"]))
    if len(node_id) != NODE_ID_LENGTH or not isinstance(row["demoted"], bool):
        raise ValueError("a node id or a mark has the wrong form")
    times = {name: float(_number(row, name)) for name in _TIMES}
    return Guard(
        node_id,
        times["sampled_at"],
        times["expires_at"],
        confirmed=_number(row, "confirmed"),
        failures=_number(row, "failures"),
        failed_at=times["failed_at"],
        tried_at=times["tried_at"],
        retry_at=times["retry_at"],
        unlisted_since=times["unlisted_since"],
        demoted=row["demoted"],
        score=RelayScore(_score(row["set_up"]), _score(row["use"])),
    )


def _score(counts: object) -> Score:
    if not isinstance(counts, list) or len(counts) != 2:
        raise ValueError("a score is not a pair")
    successes, tries = (_bounded(value, "a score") for value in counts)
    if not successes <= tries <= MOST_TRIES:
        raise ValueError("more successes than tries")
    return Score(tries, successes, successes / tries if tries else 1.0)


def _number(row: Mapping[str, object], name: str) -> int:
    return _bounded(row[name], name)


def _bounded(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LATEST:
        raise ValueError(f"{name} is not a number within bounds")
    return value
