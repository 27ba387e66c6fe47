"""From what an engine gives back to the payloads of DELTA frames: OpenAI deltas as JSON."""

import json
from typing import Any

from network.inference import Endpoint
from serving_node.generation import Piece, TokenLogprob


class DeltaWriter:
    """Writes the deltas of one answer; the first of a chat names the role, completions count text offsets."""

    __slots__ = ("_endpoint", "_first", "_offset", "_top")

    def __init__(self, endpoint: Endpoint, top_logprobs: int) -> None:
        self._endpoint = endpoint
        self._top = top_logprobs
        self._first = True
        self._offset = 0

    def write(self, piece: Piece) -> bytes:
        """The payload of one DELTA frame."""
        document = self._chat(piece) if self._endpoint == Endpoint.CHAT else self._completion(piece)
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def _chat(self, piece: Piece) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant"} if self._first else {}
        self._first = False
        if piece.text or not piece.tool_calls:
            delta["content"] = piece.text
        if piece.tool_calls:
            delta["tool_calls"] = list(piece.tool_calls)
        document: dict[str, Any] = {"delta": delta}
        if piece.logprobs:
            document["logprobs"] = {"content": [_entry(token, self._top) for token in piece.logprobs]}
        return document

    def _completion(self, piece: Piece) -> dict[str, Any]:
        document: dict[str, Any] = {"text": piece.text}
        if piece.logprobs:
            offsets = []
            for token in piece.logprobs:
                offsets.append(self._offset)
                self._offset += len(token.token)
            document["logprobs"] = {
                "tokens": [token.token for token in piece.logprobs],
                "token_logprobs": [token.logprob for token in piece.logprobs],
                "top_logprobs": [{seen.token: seen.logprob for seen in token.top[: self._top]} for token in piece.logprobs],
                "text_offset": offsets,
            }
        return document


def _entry(token: TokenLogprob, top: int) -> dict[str, Any]:
    plain = {"token": token.token, "logprob": token.logprob, "bytes": list(token.raw)}
    return {**plain, "top_logprobs": [_entry_alone(seen) for seen in token.top[:top]]}


def _entry_alone(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.raw)}
