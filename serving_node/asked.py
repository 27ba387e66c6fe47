"""One OpenAI request, checked: what the body of an `InferenceRequest` asks of an engine.

Sampling fields do not come from the body: they travel beside it, because they are signed. What else shapes the choice of
tokens (penalties, biases, a schema, tools) stays in the body, which a challenge's opening shows as well.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from network.inference import Endpoint, InferenceRequest
from serving_node.failure import INVALID_REQUEST, ServeError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_STOPS = 16
MAX_TOP_LOGPROBS = 20
MAX_BIASES = 1024
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to answer. `prompt` is text or token ids (completions); `messages` are for chats."""

    endpoint: Endpoint
    messages: tuple[Json, ...] = ()
    prompt: str | tuple[int, ...] = ""
    stops: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    schema: Json | None = None
    tools: Json = field(default_factory=dict)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[str, float] = field(default_factory=dict)

    @property
    def wants_tools(self) -> bool:
        """Whether the engine's own chat endpoint must run, because only it knows the model's tool format."""
        return "tools" in self.tools


def read_request(request: InferenceRequest) -> Asked:
    """The checked request. Raises ServeError(invalid_request) saying which field is wrong."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise _bad("the request body is not JSON") from error
    if not isinstance(body, dict):
        raise _bad("the request body must be a JSON object")
    if body.get("n") not in (None, 1) or body.get("best_of") not in (None, 1):
        raise _bad("n and best_of must be 1: one answer per request")
    if request.endpoint == Endpoint.CHAT:
        return _chat(body)
    if request.endpoint == Endpoint.COMPLETION:
        return _completion(body)
    raise _bad(f"endpoint {request.endpoint} is not known; 1 is chat, 2 is completion")


def _chat(body: Json) -> Asked:
    count = body.get("top_logprobs") or 0
    return Asked(
        Endpoint.CHAT,
        messages=_messages(body.get("messages")),
        stops=_stops(body.get("stop")),
        logprobs=_flag(body, "logprobs"),
        top_logprobs=_integer("top_logprobs", count, MAX_TOP_LOGPROBS),
        schema=_schema(body.get("response_format")),
        tools=_tools(body),
        presence_penalty=_penalty(body, "presence_penalty"),
        frequency_penalty=_penalty(body, "frequency_penalty"),
        logit_bias=_bias(body),
    )


def _completion(body: Json) -> Asked:
    wanted = body.get("logprobs")
    if body.get("echo") or body.get("suffix"):
        raise _bad("echo and suffix are not supported")
    return Asked(
        Endpoint.COMPLETION,
        prompt=_prompt(body.get("prompt")),
        stops=_stops(body.get("stop")),
        logprobs=wanted is not None and wanted is not False,
        top_logprobs=_integer("logprobs", wanted or 0, MAX_TOP_LOGPROBS),
        schema=_schema(body.get("response_format")),
        presence_penalty=_penalty(body, "presence_penalty"),
        frequency_penalty=_penalty(body, "frequency_penalty"),
        logit_bias=_bias(body),
    )


def _messages(value: object) -> tuple[Json, ...]:
    if not isinstance(value, list) or not value:
        raise _bad("messages must be a list of at least one message")
    return tuple(_message(index, message) for index, message in enumerate(value))


def _message(index: int, message: object) -> Json:
    if not isinstance(message, dict):
        raise _bad(f"messages[{index}] must be an object")
    role = message.get("role")
    if role not in ROLES:
        raise _bad(f"messages[{index}].role must be one of {', '.join(ROLES)}")
    kept = {key: message[key] for key in ("name", "tool_calls", "tool_call_id") if message.get(key) is not None}
    content = _content(index, message.get("content"), required="tool_calls" not in kept)
    return {"role": "system" if role == "developer" else role, "content": content, **kept}


def _content(index: int, content: object, *, required: bool) -> str:
    if content is None and not required:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
        raise _bad(f"messages[{index}].content holds parts that are not text; models of this network read text only")
    raise _bad(f"messages[{index}].content must be text")


def _prompt(value: object) -> str | tuple[int, ...]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(type(item) is int and 0 <= item < 2**31 for item in value):
        return tuple(value)
    raise _bad("prompt must be one text, not empty, or one list of token ids")


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise _bad(f"stop must be a text or a list of at most {MAX_STOPS} texts, none of them empty")
    return tuple(stops)


def _schema(value: object) -> Json | None:
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(value, dict) and kind == "text":
        return None
    if isinstance(value, dict) and kind == "json_object":
        return {"type": "object"}
    if isinstance(value, dict) and kind == "json_schema":
        outer = value.get("json_schema")
        schema = outer.get("schema") if isinstance(outer, dict) else None
        if isinstance(schema, dict):
            return schema
        raise _bad("response_format.json_schema.schema must be a JSON schema object")
    raise _bad("response_format.type must be text, json_object or json_schema")


def _tools(body: Json) -> Json:
    tools = body.get("tools")
    if not tools or body.get("tool_choice") == "none":
        return {}
    if not isinstance(tools, list) or not all(isinstance(t, dict) and isinstance(t.get("function"), dict) for t in tools):
        raise _bad("tools must be a list of {type: function, function: {...}}")
    names = ("tools", "tool_choice", "parallel_tool_calls")
    return {name: body[name] for name in names if body.get(name) is not None}


def _penalty(body: Json, name: str) -> float:
    value = body.get(name) or 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not -2 <= value <= 2:
        raise _bad(f"{name} must be a number within -2..2")
    return float(value)


def _bias(body: Json) -> dict[str, float]:
    value = body.get("logit_bias") or {}
    if not isinstance(value, dict) or len(value) > MAX_BIASES:
        raise _bad(f"logit_bias must be an object of at most {MAX_BIASES} entries")
    for token, amount in value.items():
        if not token.isdecimal() or isinstance(amount, bool) or not isinstance(amount, int | float) or abs(amount) > 100:
            raise _bad("logit_bias must map token ids to numbers within -100..100")
    return {token: float(amount) for token, amount in value.items()}


def _flag(body: Json, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _bad(f"{name} must be true or false")
    return bool(value)


def _integer(name: str, value: object, limit: int) -> int:
    if value is True:  # completions of some clients send true for "the chosen token only"
        return 0
    if not isinstance(value, int) or not 0 <= value <= limit:
        raise _bad(f"{name} must be an integer within 0..{limit}")
    return value


def _bad(message: str) -> ServeError:
    return ServeError(INVALID_REQUEST, message)
