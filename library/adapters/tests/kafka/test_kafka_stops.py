"""Where the store says that a range must end, it ends there: no record sooner, and none later."""

from collections import Counter

import pytest
from trial import MakeTopic, Trial, is_read, read, values

from assay.domain.position import Partition, Position

_TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def ten(make_topic: MakeTopic) -> Trial:
    """A topic of two partitions with ten records each."""
    topic = make_topic(2)
    topic.put_into_both(*_TEN)
    return topic


@pytest.mark.parametrize("most", [2, 100])
def test_the_first_range_ends_where_it_was_begun_to(ten: Trial, most: int) -> None:
    """It is a chunk of its own, whatever a chunk may hold otherwise; then it goes on as usual."""
    stands: dict[Partition, Position] = {"0": Position(1, stop=8), "1": Position(0)}
    chunks = read(ten.source(chunk_records=most), None, stands)
    (begun,) = [each for each in chunks if each.ranges[0].first == 1]
    (range_,) = begun.ranges
    assert (range_.partition, range_.next, range_.read) == ("0", 8, 7)
    assert values([begun]) == _TEN[1:8]
    assert Counter(values(chunks)) == Counter(_TEN[1:] + _TEN)
    assert {name: at.next for name, at in stands.items()} == {"0": 10, "1": 10}


def test_of_several_each_ends_where_it_was_begun_to(ten: Trial) -> None:
    """One after another, so that what they hold together is bounded."""
    stands: dict[Partition, Position] = {"0": Position(0, stop=9), "1": Position(3, stop=4)}
    chunks = read(ten.source(), None, stands)
    found = [(each.partition, each.first, each.next) for chunk in chunks for each in chunk.ranges]
    assert {("0", 0, 9), ("1", 3, 4)} < set(found)
    assert Counter(values(chunks)) == Counter(_TEN + _TEN[3:])


def test_a_range_may_end_where_the_topic_does(ten: Trial) -> None:
    """Nothing needs to come for it to be handed out."""
    stands: dict[Partition, Position] = {"0": Position(4, stop=10), "1": Position(10)}
    (chunk,) = read(ten.source(), None, stands)
    assert values([chunk]) == _TEN[4:]


def test_a_range_may_end_in_holes(make_topic: MakeTopic) -> None:
    """It ends behind them, where those who began it have seen them end."""
    topic = make_topic()
    producer = topic.transactional()
    for each in (b"1", b"2"):
        producer.begin_transaction()
        producer.produce(topic.name, each, partition=0)
        producer.commit_transaction(30)
    stands: dict[Partition, Position] = {"0": Position(0, stop=2)}
    first, *rest = read(topic.source(), None, stands)
    assert [(each.next, each.read) for each in first.ranges] == [(2, 1)]
    assert values(rest) == [b"2"]


def test_a_range_is_begun_again_after_a_rewind(ten: Trial) -> None:
    """With the end that the store says by then; what came before is forgotten."""
    stands: dict[Partition, Position] = {"0": Position(0, stop=5), "1": Position(10)}
    source = ten.source()
    for _ in zip(range(20), source.events(lambda _: stands), strict=False):
        if source.assigned:
            break
    source.rewind(["0"])
    stands["0"] = Position(2, stop=3)
    chunks = read(source, lambda: is_read(source) and stands["0"].next == 10, stands)
    assert [(each.first, each.next) for each in chunks[0].ranges] == [(2, 3)]
    assert values(chunks) == _TEN[2:]
