"""The prompt's token ids as the engine computes them: chat template, then byte-level BPE.

The template comes from the published file; it runs in jinja2's sandbox, as it is data from strangers.
"""

import json
from collections.abc import Sequence

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from abci_app.verifier.reference.layout import ReferenceInfo


class UnreadablePrompt(ValueError):
    """A request body whose prompt this reference cannot reproduce: abstain, do not condemn."""


class PromptReader:
    """Renders and tokenises request bodies for one model."""

    def __init__(self, info: ReferenceInfo) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(info.chat_template)
        self._tokenizer = Tokenizer.from_str(info.tokenizer)

    def tokens(self, body: bytes) -> tuple[int, ...]:
        """The prompt's ids for a chat (`messages`) or completion (`prompt`) body. Raises UnreadablePrompt."""
        try:
            fields = json.loads(body)
        except ValueError as error:
            raise UnreadablePrompt("the body is not JSON") from error
        if not isinstance(fields, dict):
            raise UnreadablePrompt("the body is not a JSON object")
        if set(fields) == {"prompt"} and isinstance(fields["prompt"], str):
            text = fields["prompt"]
        elif set(fields) == {"messages"}:
            text = self._rendered(fields["messages"])
        else:  # a bias, a penalty or a tool changes the distribution in ways that the reference does not compute
            raise UnreadablePrompt("the body asks for more than an answer to a prompt")
        ids: Sequence[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tuple(ids)

    def _rendered(self, messages: object) -> str:
        if not isinstance(messages, list) or not all(_is_plain(message) for message in messages) or not messages:
            raise UnreadablePrompt("messages are not plain text turns")
        try:
            return self._template.render(messages=messages, add_generation_prompt=True)
        except TemplateError as error:
            raise UnreadablePrompt(f"the chat template refuses the messages: {error}") from error


def _is_plain(message: object) -> bool:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        return False
    return isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
