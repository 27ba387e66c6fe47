"""Where a request enters its model group: the node that knows the conversation, else a random trusted one."""

import difflib
from collections.abc import Callable

from network.chain_records import DirectoryEntry
from network.directory import Directory
from network.gateway.api_error import ApiError
from network.ids import Role

ATTEMPTS = 3
Rng = Callable[[int], bytes]


def choose_entries(
    directory: Directory,
    model: str,
    preferred: bytes | None,
    rng: Rng,
    usable: Callable[[DirectoryEntry], bool] = lambda _: True,
) -> list[DirectoryEntry]:
    """The nodes to try, in order, those that seem dead last. Raises ApiError when nobody trusted serves the model now."""
    trusted = list(directory.models(model))
    if not trusted:
        raise _nobody(directory, model)
    trusted.sort(key=lambda _: rng(8))  # a random order from the injected randomness
    trusted.sort(key=lambda entry: (not usable(entry), entry.node_id != preferred))
    return trusted[:ATTEMPTS]


def served_models(directory: Directory) -> tuple[str, ...]:
    """Every model that any live node claims to serve, trusted or not, sorted."""
    return tuple(sorted({entry.group for entry in directory.record.entries if entry.role == Role.MODEL and entry.group}))


def _nobody(directory: Directory, model: str) -> ApiError:
    known = served_models(directory)
    if model in known:
        return ApiError("no_capacity", f"no trusted node serves {model!r} at the moment", param="model")
    if not directory.record.entries:
        return ApiError("starting", "the list of live nodes has not been read from the chain yet")
    near = difflib.get_close_matches(model, known, n=1)
    suggestion = f"; did you mean {near[0]!r}?" if near else f"; served now: {', '.join(known)}" if known else ""
    return ApiError("model_not_found", f"no node of the network serves {model!r}{suggestion}", param="model")
