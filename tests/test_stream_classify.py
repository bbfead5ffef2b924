"""`assay stream classify`: from topic to topic, and every record through exactly one door."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest
from streams import Stream, many, record, until
from system import Forked

from assay.wire.ledger import Entry, decode
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.reading import letters_on
from assay_local.topics import ends


@dataclass
class Topics:
    """What classifiers have written."""

    stream: Stream

    def origins(self) -> Counter[tuple[str, int]]:
        """How often each record was classified."""
        origins = (each["origin"] for each in self.stream.values("predictions"))
        return Counter((each["partition"], each["position"]) for each in origins)

    def letters(self) -> Counter[tuple[str, int]]:
        """How often each record was rejected."""
        config = KafkaConfig(bootstrap_servers=self.stream.servers)
        found = [each for each, _ in letters_on(config, f"{self.stream.name}-dead")]
        return Counter(key for each in found for key in each.select("partition", "position").rows())

    def ledger(self) -> list[Entry]:
        return sorted(
            (decode(each.value()) for each in self.stream.on("ledger")),
            key=lambda each: (each.partition, each.first),
        )

    def balance(self, records: int) -> None:
        """Each record has gone through one door, and the ledger says so."""
        classified, rejected = self.origins(), self.letters()
        assert set((classified | rejected).values()) == {1}
        assert not classified.keys() & rejected.keys()
        assert len(classified) + len(rejected) == records
        entries = self.ledger()
        assert sum(each.read for each in entries) == records
        assert sum(each.classified for each in entries) == len(classified)
        assert sum(each.rejected for each in entries) == len(rejected)
        for before, after in pairwise(entries):
            assert after.partition != before.partition or after.first == before.next


@pytest.fixture
def topics(stream: Stream) -> Topics:
    """Made, and empty."""
    stream.make()
    return Topics(stream)


def _classify(stream: Stream, *words: str) -> Forked:
    idle = ("--until-idle", "0.3", "--reject-limit", "1")
    return stream.system.fork("stream", "classify", *idle, *words)


def test_records_become_predictions_and_letters(stream: Stream, topics: Topics) -> None:
    """With the transaction, what a model said, where it is from, and all of it in the ledger."""
    first = record("t-1", note="unknown names stay in the record")
    stream.put(first, b"no transaction", record("t-2", side="neither"), record("t-1"), None)
    done = _classify(stream).end()
    assert done.exit_code == 0, done.errors
    assert (done.summary["read"], done.summary["classified"], done.summary["rejected"]) == (5, 2, 3)
    topics.balance(5)
    said = next(
        each for each in topics.stream.values("predictions") if each["origin"]["position"] == 0
    )
    assert (said["transaction_id"], said["amount"]) == ("t-1", "12.50")
    assert said["origin"] == {
        "source": f"kafka/{stream.topic}",
        "partition": "1",
        "position": 0,
        "key": "key 0",
        "key_base64": None,
        "record_base64": None,
        "record": first.decode(),
    }
    assert said["run_id"] == done.summary["run_id"]
    (entry,) = topics.ledger()
    assert entry.predictions == f"kafka/{stream.name}-predictions"
    assert entry.group == f"{stream.name}-classify"


def test_a_second_one_goes_on_where_the_first_has_stopped(stream: Stream, topics: Topics) -> None:
    """Nothing is read twice, and nothing is left out."""
    stream.put(record("t-1"), record("t-2"))
    assert _classify(stream).end().summary["read"] == 2
    stream.put(record("t-3"))
    assert _classify(stream).end().summary["read"] == 1
    topics.balance(3)


def test_killed_at_any_time_each_record_has_one_door(stream: Stream, topics: Topics) -> None:
    """What a killed one has left open is taken back, and read again."""
    records, ledger = 60_000, f"{stream.name}-ledger"
    stream.put(*many(records - 1), b"broken")
    few = {"ASSAY_STREAM__CHUNK_RECORDS": "250"}
    words = ("stream", "classify", "--instance-id", "only", "--until-idle", "0.3")
    for entries in (1, 3, 5):
        least = sum(ends(stream.servers, ledger)) + entries
        running = stream.system.fork(*words, **few)
        until(lambda least=least: sum(ends(stream.servers, ledger)) > least)
        running.process.kill()
        running.process.join()
    assert sum(each.read for each in topics.ledger()) < records
    done = stream.system.fork(*words, **few).end()
    assert done.exit_code == 0, done.errors
    topics.balance(records)


def test_two_share_the_partitions(stream: Stream, topics: Topics) -> None:
    """One that comes later takes its share, and nothing is classified twice."""
    for partition in range(3):
        stream.put(*many(3000), partition=partition)
    few = {"ASSAY_STREAM__CHUNK_RECORDS": "200"}
    words = ("stream", "classify", "--until-idle", "1")
    first = stream.system.fork(*words, **few)
    until(lambda: len(topics.ledger()) > 1)
    second = stream.system.fork(*words, **few)
    assert [first.end().exit_code, second.end().exit_code] == [0, 0]
    topics.balance(9000)


def test_the_limit_of_rejects_is_remembered(stream: Stream, topics: Topics) -> None:
    """One that is started again judges by what the ledger on its topic says."""
    stream.put(*[b"broken"] * 900, *(record(f"t-{n}") for n in range(1000)))
    words = ("stream", "classify", "--until-idle", "0.3")
    few = {"ASSAY_STREAM__CHUNK_RECORDS": "1900"}
    assert stream.system.fork(*words, **few).end().exit_code == 0
    stream.put(*[b"broken"] * 900)
    stopped = stream.system.fork(*words, **few).end()
    assert (stopped.exit_code, stopped.summary["status"]) == (65, "failed")
    assert "were rejected" in stopped.errors
    topics.balance(1900)
