"""What an engine is asked to generate and what it gives back, whichever engine it is."""

from collections.abc import Mapping
from dataclasses import dataclass

from network.inference import Finish, Sampling
from serving_node.asked import Asked


@dataclass(frozen=True, slots=True)
class Job:
    """One generation: the rendered prompt's ids, signed sampling, the seed that follows from the nonce, and a token limit.

    An engine keeps nothing of an `unshared` prompt, and what it caches under a `salt` serves only that salt.
    """

    asked: Asked
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    seed: int
    max_tokens: int
    unshared: bool = False
    salt: bytes = b""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A sampled token, its log-probability, and the most likely tokens of its position."""

    token: str
    raw: tuple[int, ...]
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class Prefilled:
    """The engine has begun: how much of the prompt it holds, and how much of that it had cached."""

    processed_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of the answer, or tool calls as OpenAI deltas."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_calls: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete. `token_ids` are all that were sampled, the end-of-sequence token included."""

    finish: Finish
    token_ids: tuple[int, ...]
    cached_tokens: int


GenerationEvent = Prefilled | Piece | Ended


@dataclass(frozen=True, slots=True)
class EngineSample:
    """The engine's own figures. `prefill_tokens_per_s` is 0 until it has measured one."""

    running: int = 0
    waiting: int = 0
    prefill_tokens_per_s: float = 0.0
