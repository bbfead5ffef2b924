"""Topics and sources of tests."""

import pytest


@pytest.fixture(scope="session")
def kafka_servers() -> str:
    return "127.0.0.1:29092"
