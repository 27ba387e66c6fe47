"""What an engine's answer says about its cache, read from the last bytes of the stream that passes by.

vLLM and OpenAI: `usage.prompt_tokens_details.cached_tokens`; llama.cpp: the same, or `timings.cache_n` and `prompt_n`. Text
of the answer cannot imitate them: inside a JSON string every quotation mark is escaped.
"""

import re
from collections import deque

_PIECES, _TAIL = 6, 8 * 1024
_CACHED = re.compile(rb'"(?:cached_tokens|cache_n)"\s*:\s*([0-9]{1,9})')
_PROMPT = re.compile(rb'"prompt_tokens"\s*:\s*([0-9]{1,9})')
_COMPUTED = re.compile(rb'"prompt_n"\s*:\s*([0-9]{1,9})')
# Text and tokens part unevenly: a shortfall within this share of the prompt is no eviction.
_UNEVEN = 0.1


class Tail:
    """The last pieces of a body."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque(maxlen=_PIECES)

    def add(self, data: bytes) -> None:
        """One more piece has passed."""
        self._pieces.append(data if len(data) <= _TAIL else data[-_TAIL:])

    def share(self) -> float | None:
        """The share of the prompt's tokens that came from the cache; None when the answer does not say."""
        text = b"".join(self._pieces)[-_TAIL:]
        cached, prompt, computed = (_last(pattern, text) for pattern in (_CACHED, _PROMPT, _COMPUTED))
        if cached is None:
            return None
        whole = prompt if prompt is not None else cached + computed if computed is not None else 0
        return min(1.0, cached / whole) if whole else None


def cached_words(share: float | None, words: int, claimed: int) -> int:
    """How many words of the prompt were cached; what was claimed, when the answer does not say or differs by rounding."""
    if share is None:
        return min(claimed, words)
    found = round(share * words)
    return claimed if found < claimed <= found + words * _UNEVEN else found


def _last(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    found = pattern.findall(text)
    return int(found[-1]) if found else None
