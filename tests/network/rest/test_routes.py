"""One table: the document, the OpenAPI file and the error catalogue say the same."""

import re
from pathlib import Path

import pytest

from network.rest.asked import Asked
from network.rest.refusal import CATALOGUE, Refusal, from_ledger
from network.rest.routes import MEANINGS, ROUTES, openapi

DOCUMENT = (Path(__file__).parents[3] / "docs" / "rest.md").read_text()


def test_the_document_lists_every_path_and_what_is_proven_of_it() -> None:
    listed = dict(re.findall(r"^\| `(/[^`]*)` \|.*\| (all|none|part) \|$", DOCUMENT, re.MULTILINE))
    assert listed == {route.path: route.proven for route in ROUTES}


def test_the_document_lists_every_error() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\d+) \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert rows == [(str(row.code), word, str(row.status), row.meaning) for word, row in CATALOGUE.items()]


def test_openapi_is_whole() -> None:
    document = openapi("1.2.3")
    assert set(document["paths"]) == {route.path for route in ROUTES} and document["info"]["version"] == "1.2.3"
    operations = [path["get"] for path in document["paths"].values()]
    assert len({each["operationId"] for each in operations}) == len(ROUTES)
    assert {name for route in ROUTES for name in route.query} == set(MEANINGS)
    for path, item in document["paths"].items():
        in_path = {each["name"] for each in item["get"]["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))


def test_the_ledger_s_codes_stay_its_own() -> None:
    assert from_ledger(3, "too old").body() == {"code": 3, "codespace": "planetserve/query", "message": "too old"}
    assert [from_ledger(code, "").status for code in (1, 2, 3, 4, 5, 255)] == [404, 400, 404, 400, 400, 400]
    assert Refusal("busy", "wait").retry_after == 1


@pytest.mark.parametrize(
    "query", [{"height": "x"}, {"prove": "x"}, {"limit": "0"}, {"limit": "101"}, {"key": "a/b"}, {"key": "a" * 300}]
)
def test_arguments_are_checked(query: dict[str, str]) -> None:
    asked = Asked({}, query)
    with pytest.raises(Refusal):
        _ = (asked.height, asked.prove, asked.limit, asked.key)
