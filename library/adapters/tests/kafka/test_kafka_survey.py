"""The brokers are asked beside the loop."""

import threading
from typing import cast

import pytest

from assay.domain.errors import Unavailable
from assay.domain.position import Position
from assay_adapters.kafka.survey import Standing, Survey, standing
from assay_adapters.kafka.topics import Topic, Topics


class SlowTopics:
    """Answers when it may; each answer is another topic's."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()

    def named(self, name: str, *, is_read: bool) -> Topic:
        assert is_read
        self.asked += 1
        topic = Topic(name, f"id-{self.asked}", (0,))
        if not self.may_answer.wait(20):
            raise Unavailable("Kafka is away")
        return topic

    def bounds(self, topic: Topic, *, whole: bool) -> dict[int, tuple[int, int]]:
        assert not whole
        return dict.fromkeys(topic.partitions, (0, 7))


@pytest.fixture
def topics() -> SlowTopics:
    return SlowTopics()


@pytest.fixture
def survey(topics: SlowTopics) -> Survey[Standing]:
    return Survey(lambda: standing(cast("Topics", topics), "t"))


def test_nobody_waits_for_an_answer(survey: Survey[Standing], topics: SlowTopics) -> None:
    """While the brokers are silent there is no answer, and no second question."""
    assert survey.ask(0) is None
    assert survey.ask(0.01) is None
    topics.may_answer.set()
    standing = survey.ask(10)
    assert standing is not None
    assert (standing.topic.id, standing.bounds) == ("id-1", {0: (0, 7)})
    assert topics.asked == 1


def test_an_answer_is_given_once(survey: Survey[Standing], topics: SlowTopics) -> None:
    """The next question is asked anew."""
    topics.may_answer.set()
    first, second = survey.ask(10), survey.ask(10)
    assert first is not None
    assert second is not None
    assert (first.topic.id, second.topic.id) == ("id-1", "id-2")


def test_what_was_asked_before_does_not_count(survey: Survey[Standing], topics: SlowTopics) -> None:
    """Bounds from before a partition came may end before where its last owner committed."""
    assert survey.ask(0.1) is None
    survey.forget()
    topics.may_answer.set()
    standing = survey.ask(10)
    assert standing is not None
    assert standing.topic.id == "id-2"


def test_what_is_left_of_a_topic_is_known_of_all_its_partitions() -> None:
    """Of one that was added since nothing is read; what belongs to another topic says nothing."""
    found = Standing(Topic("t", "id", (0, 1)), {0: (2, 7), 1: (0, 3)})
    assert found.left({"0": Position(7, None, "id"), "1": Position(3, None, None)}) == 0
    assert found.left({"0": Position(6, None, "id")}) == 4
    assert found.left({}) is None
    assert found.left({"0": Position(8, None, "id")}) is None
    assert found.left({"0": Position(7, None, "another")}) is None
    headless = Standing(Topic("t", "id", (0, 1)), {0: (2, 7)})
    assert headless.left({"0": Position(7, None, "id"), "1": Position(3, None, "id")}) is None


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a defect")])
def test_a_failure_is_told_where_it_was_asked(
    survey: Survey[Standing], topics: SlowTopics, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Also what nobody expects, which must not leave a loop waiting for ever."""

    def fail(_: str, **__: bool) -> Topic:
        raise error

    monkeypatch.setattr(topics, "named", fail)
    with pytest.raises(type(error), match=str(error)):
        survey.ask(10)
