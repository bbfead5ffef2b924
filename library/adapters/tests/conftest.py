"""What tests of adapters share."""

from collections.abc import Iterator

import pytest
from answering import Server, answering


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on 127.0.0.1 that answers as it is told."""
    with answering() as state:
        yield state
