"""Dead letters go to a topic and come back."""

import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import polars as pl
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from polars.testing import assert_frame_equal

from assay.domain.errors import Fatal, NotTaken, Unavailable, Unreadable
from assay.domain.reject import LETTERS
from assay.ports.letters import Claim
from assay_adapters.kafka import events, letters
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.events import KafkaEvents
from assay_adapters.kafka.letters import HEADS, KafkaLetters
from assay_adapters.kafka.reading import WholeRecords, letters_on
from assay_local import Local, topics

MIB = 1 << 20


def letter(position: int, topic: str, **columns: Any) -> dict[str, Any]:
    raw = columns.get("raw", b'{"transaction_id": "t"}')
    return {
        "source": "kafka/transactions",
        "partition": "1",
        "position": position,
        "key": b"k",
        "raw": raw,
        "length": 0 if raw is None else len(raw),
        "stage": "validate",
        "code": "missing_side",
        "field": "side",
        "retriable": False,
        "attempt": 1,
        "run_id": "r",
        "destination": f"kafka:{topic}",
    } | columns


def claim(*rows: dict[str, Any]) -> Claim:
    return Claim(secrets.token_hex(4), pl.DataFrame(list(rows), LETTERS, orient="row"))


def on(kafka: KafkaConfig, topic: str) -> pl.DataFrame:
    """The letters on a topic in the order of their positions."""
    while True:
        try:
            found = [letters for letters, _ in letters_on(kafka, topic)]
            break
        except Unavailable:  # a topic that was made just now has no leader yet
            continue
    return pl.concat([pl.DataFrame(schema=LETTERS), *found]).sort("position", "attempt")


@pytest.fixture
def publisher(kafka: KafkaConfig) -> Iterator[KafkaLetters]:
    publisher = KafkaLetters(kafka)
    yield publisher
    publisher.close()


def in_time(publisher: KafkaLetters, published: Claim) -> None:
    """Publishes as a relay does, again and again."""
    while True:
        try:
            publisher.publish(published)
        except Unavailable:
            continue
        return


def make_topic(kafka: KafkaConfig, **config: str) -> str:
    name = f"test-{secrets.token_hex(8)}"
    admin: Any = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, config=config)])[name].result(30)
    return name


def delete_topic(kafka: KafkaConfig, name: str) -> None:
    admin: Any = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.delete_topics([name])[name].result(30)


def make_again(kafka: KafkaConfig, name: str) -> None:
    """With one partition."""
    admin: Any = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    while True:
        try:
            admin.create_topics([NewTopic(name, 1)])[name].result(30)
        except KafkaException as error:  # it is deleted in the background
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            continue
        return


def test_letters_come_back_from_a_topic(
    kafka: KafkaConfig, publisher: KafkaLetters, topic: str
) -> None:
    """With their own key and bytes, nulls included; a second publication changes nothing."""
    rows = [
        letter(0, topic),
        letter(1, topic, key=None, raw=None, code="no_json"),
        letter(2, topic, key=b"\xff\x00", raw=b"", message="is empty", attempt=3, retriable=True),
    ]
    published = claim(*rows)
    assert publisher.publish(published) == f"kafka:{topic}"
    assert_frame_equal(on(kafka, topic), published.letters)
    assert publisher.publish(published) == f"kafka:{topic}"
    assert on(kafka, topic).height == 3


def test_letters_with_one_id_are_messages_of_their_own(
    kafka: KafkaConfig, publisher: KafkaLetters, topic: str
) -> None:
    """One that was imported and one that was rejected here, also where they say the same."""
    published = claim(letter(0, topic), letter(0, topic, run_id="import"), letter(0, topic))
    for _ in range(2):
        publisher.publish(published)
        assert sorted(on(kafka, topic)["run_id"]) == ["import", "r", "r"]
    publisher.publish(Claim(published.name, published.letters[1:]))
    assert on(kafka, topic).height == 3


def test_what_is_no_letter_is_counted(
    kafka: KafkaConfig, publisher: KafkaLetters, topic: str
) -> None:
    """Kafka Connect's own dead letters among them; a letter that is damaged is named."""
    publisher.publish(claim(letter(0, topic)))
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, b"x", headers=[("__connect.errors.topic", b"transactions")])
    producer.produce(topic, b"x")
    assert producer.flush(10) == 0
    assert sum(others for _, others in letters_on(kafka, topic)) == 2
    assert on(kafka, topic).height == 1
    producer.produce(topic, b"secret", headers=[("assay.id", b"secret")], partition=2)
    assert producer.flush(10) == 0
    with pytest.raises(Unreadable, match=f"{topic}/2@") as caught:
        on(kafka, topic)
    assert "secret" not in str(caught.value)


def test_an_empty_topic_has_no_letters(kafka: KafkaConfig, topic: str) -> None:
    """It is read to its end at once; one that does not exist is named."""
    assert on(kafka, topic).is_empty()
    with pytest.raises(Fatal, match="no topic missing"):
        on(kafka, "missing")


def test_a_topic_that_is_missing_is_waited_for(publisher: KafkaLetters) -> None:
    """By its name. It is not made by the way, with limits that are too small."""
    for _ in range(2):
        with pytest.raises(Unavailable, match="no topic nowhere: `assay stream topics` makes it"):
            publisher.publish(claim(letter(0, "nowhere")))


def one_that_fails(publisher: KafkaLetters, topic: str) -> Claim:
    """The first claim that is not published: a topic is deleted in the background."""
    while True:
        tried = claim(letter(1, topic), letter(2, topic))
        try:
            publisher.publish(tried)
        except Unavailable:
            return tried


def test_a_topic_that_is_made_anew_is_written_to(kafka: KafkaConfig, topic: str) -> None:
    """Also by what was under way when it went, though it has fewer partitions now."""
    publisher = KafkaLetters(kafka, patience=0.3)
    in_time(publisher, claim(letter(0, topic)))
    delete_topic(kafka, topic)
    one_that_fails(publisher, topic)
    published = claim(*(letter(number, topic, key=b"%d" % number) for number in range(10, 30)))
    with pytest.raises(Unavailable, match="20 dead letters are under way"):
        publisher.publish(published)
    make_again(kafka, topic)
    in_time(publisher, published)
    found = on(kafka, topic)["position"].to_list()
    assert [each for each in found if each >= 10] == list(range(10, 30))
    publisher.close()


def test_a_topic_that_was_away_for_long_is_written_to(kafka: KafkaConfig, topic: str) -> None:
    """What had failed is sent anew, but for a letter that was tried again meanwhile."""
    at_once = kafka.model_copy(update={"properties": {"topic.metadata.propagation.max.ms": "0"}})
    publisher = KafkaLetters(at_once)
    in_time(publisher, claim(letter(0, topic)))
    delete_topic(kafka, topic)
    failed = one_that_fails(publisher, topic)
    make_again(kafka, topic)
    in_time(publisher, Claim(failed.name, failed.letters[1:]))
    assert on(kafka, topic)["position"].to_list() == [2]
    publisher.close()


def test_a_letter_that_is_too_large_is_cut(kafka: KafkaConfig, publisher: KafkaLetters) -> None:
    """Its head is published, with length and sha256 of the whole, and holds up no other."""
    topic = make_topic(kafka, **{"max.message.bytes": "200000"})
    large = secrets.token_bytes(MIB)
    rows = [letter(0, topic), letter(1, topic, raw=large), letter(2, topic)]
    published = claim(*rows)
    publisher.publish(published)
    found = on(kafka, topic)
    assert found["position"].to_list() == [0, 1, 2]
    assert found["raw"].to_list() == [rows[0]["raw"], large[: HEADS[0]], rows[2]["raw"]]
    assert found["length"].to_list() == [each["length"] for each in rows]
    assert found["sha256"].to_list() == [None, sha256(large).digest(), None]


def test_a_letter_that_is_not_taken_holds_up_no_other(
    kafka: KafkaConfig, publisher: KafkaLetters
) -> None:
    """It is named by its row; the others are on the topic, where it is not sent before that."""
    topic = make_topic(kafka, **{"max.message.bytes": "5000"})
    noise = secrets.token_hex(5_000)
    published = claim(letter(0, topic), letter(1, topic, code=noise), letter(2, topic))
    with pytest.raises(NotTaken, match=r"1 dead letters: raise its max\.message\.bytes") as caught:
        publisher.publish(published)
    assert (caught.value.place, caught.value.rows) == (f"kafka:{topic}", (1,))
    assert on(kafka, topic)["position"].to_list() == [0, 2]


def test_an_id_that_is_too_long_is_left_out(kafka: KafkaConfig, publisher: KafkaLetters) -> None:
    """Of a letter that has one from elsewhere."""
    topic = make_topic(kafka, **{"max.message.bytes": "100000"})
    publisher.publish(
        claim(letter(0, topic, transaction_id=secrets.token_hex(200_000)), letter(1, topic))
    )
    assert on(kafka, topic)["transaction_id"].to_list() == [None, None]


def test_a_claim_is_not_forgotten_for_those_of_other_topics(
    local: Local, kafka: KafkaConfig, topic: str
) -> None:
    """However many are published before it comes again: none of its letters is there twice."""
    slow = make_topic(kafka)
    publisher = KafkaLetters(kafka, patience=0.5)
    in_time(publisher, claim(letter(0, slow)))
    published = claim(*(letter(number, slow) for number in range(1, 5)))
    local.kafka.pause()
    try:
        with pytest.raises(Unavailable, match="4 dead letters are under way"):
            publisher.publish(published)
    finally:
        local.kafka.resume()
    for number in range(10):
        in_time(publisher, claim(letter(number, topic)))
    in_time(publisher, published)
    assert on(kafka, slow)["position"].to_list() == list(range(5))
    publisher.close()


def test_a_topic_that_takes_nothing_blocks_no_process(
    kafka: KafkaConfig, publisher: KafkaLetters
) -> None:
    """Where not even a short head is taken, it says what to do."""
    topic = make_topic(kafka, **{"max.message.bytes": "100"})
    with pytest.raises(Unavailable, match=r"max\.message\.bytes"):
        publisher.publish(claim(letter(0, topic)))


def test_a_broker_that_is_away_is_waited_for(local: Local, kafka: KafkaConfig, topic: str) -> None:
    """What was under way when it went is on the topic once when it is back, whatever is set."""
    short = {"message.timeout.ms": "200", "delivery.timeout.ms": "200"}
    publisher = KafkaLetters(kafka.model_copy(update={"properties": short}), patience=0.5)
    in_time(publisher, claim(letter(0, topic)))
    published = claim(*(letter(number, topic) for number in range(1, 200)))
    local.kafka.pause()
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match="199 dead letters are under way"):
                publisher.publish(published)
    finally:
        local.kafka.resume()
    in_time(publisher, published)
    assert on(kafka, topic)["position"].to_list() == list(range(200))
    publisher.close()


class BrokenOff(Producer):
    """Tells nothing, and that it can send nothing more as soon as it is fatal."""

    is_fatal = False

    def poll(self, timeout: float = -1) -> int:  # noqa: ARG002 - as librdkafka has it
        if self.is_fatal:
            raise KafkaException(
                KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "lost", fatal=True)
            )
        return 0


def test_a_producer_that_breaks_off_is_replaced_for_all_claims(
    kafka: KafkaConfig, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was under way when another one was told of it is published then."""
    publisher = KafkaLetters(kafka, patience=0.3)
    claims = [claim(letter(number, topic)) for number in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(letters, "Producer", BrokenOff)
        with pytest.raises(Unavailable, match="1 dead letters are under way"):
            publisher.publish(claims[0])
        patch.setattr(BrokenOff, "is_fatal", True)
        with pytest.raises(Unavailable, match="broke off"):
            publisher.publish(claims[1])
    for each in claims:
        in_time(publisher, each)
    assert set(on(kafka, topic)["position"]) == {0, 1}
    publisher.close()


def test_events_go_on_with_another_producer(
    kafka: KafkaConfig, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one can send nothing more; telling never fails."""
    dropped: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(events, "Producer", BrokenOff)
        patch.setattr(BrokenOff, "is_fatal", True)
        told = KafkaEvents(kafka, topic, dropped.append)
        patch.undo()
        told.tell([b"1"])
    told.tell([b"2"])
    told.close()
    assert b"2" in {value for _, value in topics.read(kafka.bootstrap_servers, topic)}


def test_a_whole_record_is_read_again(kafka: KafkaConfig, topic: str) -> None:
    """By its origin, one after the other in any order; null, gone or foreign ones are None."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for value in (b"a", b"b", None):
        producer.produce(topic, value, partition=1)
    assert producer.flush(10) == 0
    whole = WholeRecords(kafka)
    try:
        source = f"kafka/{topic}"
        assert [whole(source, "1", at) for at in (1, 0, 2, 3, 17)] == [b"b", b"a", None, None, None]
        assert whole(source, "0", 0) is None
        assert whole(source, "9", 0) is None
        assert whole("kafka/missing", "0", 0) is None
        assert whole("files/cards", "s3://a/b#1", 0) is None
    finally:
        whole.close()


def test_a_partition_without_a_leader_is_not_gone(
    kafka: KafkaConfig, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Librdkafka knows no such partition then, and a letter would count as one that is lost."""

    class Lost:
        def get_watermark_offsets(self, *_: object, timeout: float) -> None:
            assert timeout
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))

        def unassign(self) -> None: ...

    def consumer(_: KafkaConfig) -> Lost:
        return Lost()

    monkeypatch.setattr("assay_adapters.kafka.reading._consumer", consumer)
    whole = WholeRecords(kafka)
    with pytest.raises(Unavailable, match="partition 0 has no leader"):
        whole(f"kafka/{topic}", "0", 0)
    assert whole(f"kafka/{topic}", "99", 0) is None
    assert whole(f"kafka/{topic}-that-is-gone", "0", 0) is None


def test_a_broker_that_says_nothing_of_a_record_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many want one of it at the same time."""
    monkeypatch.setattr("assay_adapters.kafka.reading._ASK", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(8) as threads:
        _, port = silent.getsockname()
        whole = WholeRecords(KafkaConfig(bootstrap_servers=f"127.0.0.1:{port}"))
        began = time.monotonic()
        asked = [threads.submit(whole, "kafka/t", "0", number) for number in range(8)]
        for each in asked:
            with pytest.raises(Unavailable, match="Kafka is away"):
                each.result(10)
        assert time.monotonic() - began < 2
        whole.close()


def test_events_are_dropped_before_they_hold_anything_up(
    local: Local, kafka: KafkaConfig, topic: str
) -> None:
    """They come in order; while Kafka is away they are kept as far as there is room."""
    dropped: list[int] = []
    events = KafkaEvents(kafka, topic, dropped.append)
    events.tell([b"1", b"2"])
    events.close()
    events = KafkaEvents(kafka, topic, dropped.append)
    assert dropped == []
    local.kafka.pause()
    try:
        events.tell(b"x" for _ in range(100_005))
        assert dropped == [5]
        events.close()
        assert sum(dropped) == 100_005
    finally:
        local.kafka.resume()
    kept = {value for _, value in topics.read(kafka.bootstrap_servers, topic)}
    assert kept - {b"x"} == {b"1", b"2"}
