"""One recorded network for all tests that look at its bytes."""

import pytest

from evals.anonymity.views import Circuit, record


@pytest.fixture(scope="session")
def circuits() -> list[Circuit]:
    """Two users, four circuits each."""
    return record(5, request=20_000, answer=20_000)
