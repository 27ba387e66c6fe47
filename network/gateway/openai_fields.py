"""The fields of an OpenAI request body, each with its type and bounds; whatever does not fit is an ApiError naming it."""

from typing import Any

from network.gateway.api_error import ApiError

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
MAX_MESSAGES = 2048
MAX_TOKEN_ID = 2**31


class Fields:
    """Typed access to a JSON object; null counts as absent, as in OpenAI's API."""

    __slots__ = ("_rows",)

    def __init__(self, rows: dict[str, Any]) -> None:
        self._rows = rows

    def raw(self, name: str) -> Any:
        """The value as it came."""
        return self._rows.get(name)

    def text(self, name: str) -> str:
        """A string; empty when absent."""
        value = self._rows.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid(name, "must be a string")
        return value or ""

    def flag(self, name: str) -> bool:
        """A boolean; false when absent."""
        value = self._rows.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid(name, "must be true or false")
        return bool(value)

    def integer(self, name: str, default: int | None, *, low: int, high: int) -> int | None:
        """An integer within low..high; `default` when absent."""
        value = self._rows.get(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise invalid(name, f"must be an integer within {low}..{high}")
        return value

    def number(self, name: str, default: float | None, *, low: float, high: float) -> float | None:
        """A number within low..high; `default` when absent."""
        value = self._rows.get(name)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise invalid(name, f"must be a number within {low:g}..{high:g}")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """An object; empty when absent."""
        value = self._rows.get(name)
        if value is not None and not isinstance(value, dict):
            raise invalid(name, "must be an object")
        return value or {}


def invalid(name: str, complaint: str) -> ApiError:
    """The error about one field."""
    return ApiError("invalid_request", f"{name} {complaint}", param=name)


def messages(value: Any) -> list[dict[str, Any]]:
    """The conversation, each message reduced to what a chat template reads."""
    if value is None or value == []:
        raise ApiError("empty_messages", "messages is empty: there is nothing to answer", param="messages")
    if not isinstance(value, list) or len(value) > MAX_MESSAGES:
        raise invalid("messages", f"must be a list of at most {MAX_MESSAGES} messages")
    return [_message(row, f"messages[{at}]") for at, row in enumerate(value)]


def _message(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise invalid(where, "must be an object with role and content")
    role = row.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid(f"{where}.role", f"must be one of {', '.join(ROLES)}")
    calls = row.get("tool_calls")
    message: dict[str, Any] = {"role": ROLES[role], "content": _content(row.get("content"), where, optional=bool(calls))}
    if calls:
        if role != "assistant" or not _objects(calls):
            raise invalid(f"{where}.tool_calls", "must be a list of objects in an assistant message")
        message["tool_calls"] = calls
    for name in ("name", "tool_call_id"):
        if row.get(name) is not None:
            if not isinstance(row[name], str):
                raise invalid(f"{where}.{name}", "must be a string")
            message[name] = row[name]
    return message


def _content(value: Any, where: str, *, optional: bool) -> str | None:
    """Text, from a string or from text parts; null only beside tool calls."""
    if isinstance(value, str):
        return value
    if value is None and optional:
        return None
    if not isinstance(value, list) or not _objects(value):
        raise invalid(f"{where}.content", "must be a string or a list of text parts")
    texts: list[str] = []
    for part in value:
        if part.get("type") != "text":
            raise ApiError("unsupported_parameter", f"{where}.content: only text parts are carried", param=f"{where}.content")
        if not isinstance(part.get("text"), str):
            raise invalid(f"{where}.content", "has a text part without text")
        texts.append(part["text"])
    return "".join(texts)


def prompt(value: Any) -> str | list[int]:
    """A completion's prompt: one text, or one list of token ids."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(_token(item) for item in value):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str | list) for item in value):
        raise ApiError("unsupported_parameter", "one prompt per request", param="prompt")
    raise invalid("prompt", "must be a text or a list of token ids, and not empty")


def stop(value: Any) -> list[str]:
    """The stop texts, at most four."""
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or len(texts) > 4 or not all(isinstance(text, str) and text for text in texts):
        raise invalid("stop", "must be a text or a list of at most four")
    return texts


def tool_fields(fields: Fields) -> dict[str, Any]:
    """The fields about tools, where tools are offered at all."""
    tools = fields.raw("tools")
    if not tools:
        return {}
    if not isinstance(tools, list) or len(tools) > 128 or not _objects(tools):
        raise invalid("tools", "must be a list of at most 128 objects")
    body: dict[str, Any] = {"tools": tools}
    choice = fields.raw("tool_choice")
    if choice is not None and choice != "auto":
        if not isinstance(choice, str | dict):
            raise invalid("tool_choice", "must be a word or an object")
        body["tool_choice"] = choice
    if fields.raw("parallel_tool_calls") is not None and not fields.flag("parallel_tool_calls"):
        body["parallel_tool_calls"] = False
    return body


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKEN_ID
