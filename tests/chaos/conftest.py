"""A topic, a database, and what an undisturbed run makes of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.driver import Books, Record, Stream, Topic, books
from system import System

from assay_local import topics


@pytest.fixture
def make_stream(
    make_system: Callable[[], System], tmp_path: Path
) -> Iterator[Callable[[Topic], Stream]]:
    """Makes databases with consumers of a topic, which end with the test."""
    made: list[Stream] = []

    def make(topic: Topic) -> Stream:
        folder = tmp_path / f"stream-{len(made)}"
        folder.mkdir()
        made.append(Stream(make_system(), topic, folder))
        return made[-1]

    yield make
    for stream in made:
        for each in stream.alive:
            each.kill()


@pytest.fixture
def stream(make_stream: Callable[[Topic], Stream], kafka_servers: str, topic: str) -> Stream:
    """One on an empty topic."""
    return make_stream(Topic(kafka_servers, topic))


@pytest.fixture(scope="session")
def remembered() -> dict[int, Books]:
    """What undisturbed runs have made, by the load's digest."""
    return {}


@pytest.fixture
def undisturbed(
    make_stream: Callable[[Topic], Stream], kafka_servers: str, remembered: dict[int, Books]
) -> Callable[[list[Record]], Books]:
    """What one consumer makes of a load that nothing disturbs."""

    def run(records: list[Record]) -> Books:
        key = hash(tuple(records))
        if key not in remembered:
            name = topics.create(kafka_servers, f"undisturbed-{key & (1 << 63) - 1:x}")
            stream = make_stream(Topic(kafka_servers, name))
            stream.topic.put(records)
            stream.start(ASSAY_STREAM__CHUNK_RECORDS="5000")
            stream.finish()
            assert stream.system.balances()
            remembered[key] = books(stream.system)
        return remembered[key]

    return run
