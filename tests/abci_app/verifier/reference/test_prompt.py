"""Request bodies to prompt ids: plain prompts only; anything that changes the distribution is not ours to judge."""

from typing import Any

import pytest

from abci_app.verifier.reference.prompt import UnreadablePrompt


def test_a_chat_is_rendered_by_the_template(tiny: Any) -> None:
    ids = tiny.reader.tokens(b'{"messages":[{"content":"hi","role":"user"}]}')
    assert ids == tiny.reader.tokens(b'{"prompt":"<|im_start|>user\\nhi<|im_end|>\\n"}')
    assert ids[0] == 1 and 2 in ids


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"messages":[]}',
        b'{"messages":"hi"}',
        b'{"messages":[{"role":"user"}]}',
        b'{"messages":[{"role":"user","content":["a"]}]}',
        b'{"messages":[{"role":"user","content":"a"}],"logit_bias":{"5":9}}',
        b'{"prompt":[1,2]}',
        b'{"prompt":"a","suffix":"b"}',
    ],
)
def test_anything_else_is_unreadable(tiny: Any, body: bytes) -> None:
    with pytest.raises(UnreadablePrompt):
        tiny.reader.tokens(body)
