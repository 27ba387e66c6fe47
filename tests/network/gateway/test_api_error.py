"""The catalogue of errors: OpenAI's shape, sound statuses, a node's words passed on with care, and a documented table."""

import re
from pathlib import Path

import pytest

from network import errors
from network.errors import SessionError
from network.gateway.aio.asking import from_session
from network.gateway.api_error import CATALOGUE, ApiError, error_type, from_node
from network.inference import ReplyFailure

DOCUMENT = Path(__file__).parent.parent.parent.parent / "docs" / "gateway.md"


def test_the_document_lists_the_catalogue() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: row.status for code, row in CATALOGUE.items()}


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_error_has_openais_shape(code: str) -> None:
    error = ApiError(code, "what happened", param="model")
    assert error.body("req_1") == {
        "error": {
            "message": "what happened",
            "type": error_type(error.status),
            "param": "model",
            "code": code,
            "hint": CATALOGUE[code].hint,
            "request_id": "req_1",
        }
    }
    assert (error.status in (429, 503)) == bool(error.retry_after)


@pytest.mark.parametrize(
    ("failure", "code", "status"),
    [
        (ReplyFailure("context_length_exceeded", 400, "m"), "context_length_exceeded", 400),
        (ReplyFailure("queue_full", 503, "m", 2), "queue_full", 503),
        (ReplyFailure("", 0, ""), "node_failed", 502),
        (ReplyFailure("<script>", 200, "m"), "node_failed", 502),
        (ReplyFailure("No Such", 404, "m"), "node_failed", 404),
    ],
)
def test_a_nodes_failure_is_passed_on_with_care(failure: ReplyFailure, code: str, status: int) -> None:
    error = from_node(failure)
    assert (error.code, error.status, error.retry_after) == (code, status, failure.retry_after)
    assert error.message and error.hint


def test_every_error_of_the_overlay_has_a_code_here() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SessionError)]
    assert len(kinds) > 4
    for kind in kinds:
        assert from_session(kind("why")).code in CATALOGUE
