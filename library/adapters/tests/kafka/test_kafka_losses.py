"""Records that are gone, and topics that are others than they were, are never passed over."""

import time
from collections.abc import Sequence

import pytest
from trial import MakeTopic, places, read, values

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import Fatal, Renumbered
from assay.domain.position import Partition, Position, Positions
from assay_adapters.kafka.topics import Topic, Topics


def test_records_deleted_before_they_were_read_stop_it(make_topic: MakeTopic) -> None:
    """Whether at its start or while it reads: it says how many, and nothing is passed over."""
    topic = make_topic()
    topic.put(*[b"x"] * 10)
    topic.cut(7)
    source = topic.source()
    with pytest.raises(Fatal, match=r"4 offsets .* were deleted before they were read"):
        read(source, lambda: False, {"0": Position(3)})


def test_records_deleted_under_a_reader_stop_it(make_topic: MakeTopic) -> None:
    """What retention takes from somebody who is slow is told as well."""
    topic = make_topic()
    topic.put(*[b"x" * 1_000] * 3_000)
    source = topic.source(chunk_records=10, queue_bytes=1 << 10)
    stands: dict[Partition, Position] = {}
    read(source, lambda: bool(stands), stands)
    topic.cut(2_990)
    happened: list[object] = []
    with pytest.raises(Fatal, match="were deleted before they were read"):
        happened.extend(source.events(lambda _: stands))
    assert Revoked(frozenset("0")) in happened  # what is under way of it is void


@pytest.mark.parametrize("records", [2, 20], ids=["fewer", "more"])
def test_a_topic_that_was_made_anew_stops_it(make_topic: MakeTopic, records: int) -> None:
    """Whether its offsets are lower or higher than those in the books."""
    topic = make_topic()
    topic.put(*[b"x"] * 10)
    source = topic.source()
    stands: dict[Partition, Position] = {}
    read(source, None, stands)
    assert stands["0"].next == 10
    source.close()
    topic.make_anew()
    topic.put(*[b"y"] * records)
    with pytest.raises(Renumbered, match="was made anew"):
        read(topic.source(), lambda: False, stands)


def test_a_topic_made_anew_under_a_reader_stops_it(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed while it is read, not only at the next start."""
    monkeypatch.setattr("assay_adapters.kafka.source._LOOK", 0.2)
    topic = make_topic()
    topic.put(*[b"x"] * 10)
    source = topic.source()
    stands: dict[Partition, Position] = {}
    read(source, None, stands)
    topic.make_anew()
    topic.put(*[b"y"] * 20)
    with pytest.raises(Renumbered, match="was made anew"):
        read(source, lambda: False, stands)


def test_a_topic_deleted_under_a_reader_stops_it(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be made anew meanwhile: what lets its books go on is said as well."""
    monkeypatch.setattr("assay_adapters.kafka.source._LOOK", 0.2)
    topic = make_topic()
    topic.put(b"x")
    source = topic.source()
    stands: dict[Partition, Position] = {}
    read(source, None, stands)
    topic.delete()
    said = f"no topic {topic.name}; `assay stream topics` .* accept-gap --topic {topic.name}"
    with pytest.raises(Fatal, match=said):
        read(source, lambda: False, stands)


def test_nothing_of_another_topic_is_handed_out(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before the topic was known to be the same waits; it is void where it is not."""
    monkeypatch.setattr("assay_adapters.kafka.source._LOOK", 1_000)
    named = Topics.named
    answers: list[Topic] = []

    def told(topics: Topics, name: str, *, is_read: bool) -> Topic:
        if not answers:
            return named(topics, name, is_read=is_read)
        time.sleep(0.2)  # longer than a tick
        return answers.pop()

    monkeypatch.setattr(Topics, "named", told)
    topic = make_topic()
    source = topic.source()
    stands: dict[Partition, Position] = {}
    topic.put(b"old")
    read(source, None, stands)
    topic.put(b"new")
    answers.append(Topic(topic.name, "another", (0,)))
    came: list[object] = []
    for event in source.events(lambda _: stands):
        came += [] if isinstance(event, Idle) else [event]
        if isinstance(event, Chunk):
            break
    assert [type(each) for each in came] == [Revoked, Chunk]
    assert values([each for each in came if isinstance(each, Chunk)]) == [b"new"]


def test_a_position_after_the_end_stops_it(make_topic: MakeTopic) -> None:
    """Also where nothing else tells that the topic is another one."""
    topic = make_topic()
    topic.put(*[b"x"] * 10)
    with pytest.raises(Renumbered, match=r"ends at 10, and the books stand at 11"):
        read(topic.source(), lambda: False, {"0": Position(11)})
    assert read(topic.source(), None, {"0": Position(10)}) == []


def test_a_position_that_is_newer_than_the_end_that_was_told_is_none_after_the_end(
    make_topic: MakeTopic,
) -> None:
    """Another owner may have read and committed between the brokers' answer and the store's."""
    topic = make_topic()
    topic.put(*[b"x"] * 10)
    put_meanwhile = [b"y"]

    def positions(_: Sequence[Partition]) -> Positions:
        while put_meanwhile:
            topic.put(put_meanwhile.pop())
        return {"0": Position(11)}

    source = topic.source()
    happened = source.events(positions)
    while not source.lags():
        next(happened)
    topic.put(b"z")
    chunk = next(each for each in happened if isinstance(each, Chunk))
    assert places([chunk]) == [("0", 11)]
