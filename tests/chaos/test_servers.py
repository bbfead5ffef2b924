"""PostgreSQL, the model API and brokers fail under load: nothing is lost, doubled or diverted."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from chaos.driver import Books, Record, Stream, Topic, codes, load, numbered, prove, wait_for
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from impostor import Answer, Impostor, Reply, answers, impostor

from assay_local import Local, topics

SHORT_AND_LONG = [
    pytest.param(1, id="once"),
    pytest.param(8, id="often", marks=pytest.mark.chaos),
]


def feed(stream: Stream, records: list[Record], seconds: float) -> threading.Thread:
    """Puts records on the topic in the background."""
    feeding = threading.Thread(
        target=stream.topic.put, args=(records,), kwargs={"rate": len(records) / seconds}
    )
    feeding.start()
    return feeding


@pytest.mark.parametrize("times", SHORT_AND_LONG)
def test_postgres_killed_under_load(
    local: Local, stream: Stream, undisturbed: Callable[[list[Record]], Books], times: int
) -> None:
    """Consumers wait for it, and go on by themselves when it is back."""
    records = load(times * 3_000 + 3_000)
    expected = undisturbed(records)
    feeding = feed(stream, records, times * 2.0)
    stream.start()
    stream.start()
    for number in range(times):
        stream.wait_read(number * 2_000 + 1)
        local.postgres.kill()
        time.sleep(0.5 if number % 2 else 2.5)
        local.postgres.start()
    feeding.join()
    stream.finish()
    prove(stream, expected)


def test_postgres_frozen_under_load(
    local: Local, stream: Stream, undisturbed: Callable[[list[Record]], Books]
) -> None:
    """It never answers: the consumer says that it waits, lives, and ends in time when asked to."""
    records = load(6_000)
    expected = undisturbed(records)
    stream.topic.put(records)
    runner = stream.start(ASSAY_STREAM__STALL="8", ASSAY_POSTGRES__CONNECT_TIMEOUT="1")
    stream.wait_read(1)
    local.postgres.pause()
    try:
        time.sleep(10)  # longer than the stall
        assert runner.asks("/health/live")[0] == 200
        wait_for(lambda: runner.asks("/health/ready")[0] == 503, why=lambda: runner.log)
        runner.stop()
        assert runner.end(seconds=30) == 0
        assert runner.summary["status"] == "stopped"
    finally:
        local.postgres.resume()
    stream.start()
    stream.finish()
    prove(stream, expected)


@pytest.mark.parametrize("times", SHORT_AND_LONG)
def test_the_model_killed_under_load(
    local: Local, stream: Stream, undisturbed: Callable[[list[Record]], Books], times: int
) -> None:
    """It is waited for: no record becomes a dead letter because the model is away."""
    records = load(times * 3_000 + 3_000)
    expected = undisturbed(records)
    feeding = feed(stream, records, times * 2.0)
    runner = stream.start(ASSAY_STREAM__STALL="3")
    for number in range(times):
        stream.wait_read(number * 2_000 + 1)
        local.api.kill()
        try:
            wait_for(lambda: runner.asks("/health/ready")[0] == 503)
            if number == 0:
                time.sleep(4)  # longer than the stall
            assert runner.asks("/health/live")[0] == 200
        finally:
            local.api.start()
    feeding.join()
    wait_for(lambda: runner.asks("/health/ready")[0] == 200)
    stream.finish()
    prove(stream, expected)


@pytest.fixture
def model(stream: Stream) -> object:
    """A server in the model's place."""
    with impostor() as server:
        stream.system.environment["ASSAY_API__URL"] = server.url
        yield server


def test_a_model_that_trips_over_one_record(stream: Stream, model: Impostor) -> None:
    """500 for whatever call holds it: it alone is rejected, and all the others are classified."""

    def behave(ids: list[str]) -> list[Answer] | Reply:
        return Reply(500) if "t-517" in ids else answers(ids)

    model.behaviour = behave
    stream.topic.put(numbered(1_000))
    stream.start()
    stream.finish()
    assert stream.system.balances()
    assert stream.system.query("SELECT transaction_id, code FROM dead_letters") == [
        ("t-517", "classifier_refused")
    ]
    assert stream.system.query("SELECT count(*) FROM transactions") == [(999,)]


def test_a_model_that_asks_for_patience(stream: Stream, model: Impostor) -> None:
    """429 with `Retry-After`: it is left alone for as long, and then all is classified."""
    refused: list[float] = []

    def behave(ids: list[str]) -> list[Answer] | Reply:
        if not refused or time.monotonic() < refused[0] + 1.5:
            refused.append(time.monotonic())
            return Reply(429, {"retry-after": "2"})
        return answers(ids)

    model.behaviour = behave
    stream.topic.put(numbered(300))
    stream.start()
    stream.finish()
    # Calls that were under way already may have been refused as well.
    assert max(refused) - refused[0] < 0.5
    assert min(at for at, _ in model.asked if at > max(refused)) - refused[0] >= 2
    assert stream.system.query("SELECT count(*) FROM transactions") == [(300,)]
    assert not codes(stream.system)


def test_a_slow_and_a_silent_model(stream: Stream, model: Impostor) -> None:
    """Slow answers are waited for; a call without answer is asked again, and explains the halt."""
    silent = threading.Event()

    def behave(ids: list[str]) -> list[Answer] | Reply:
        if not silent.is_set():
            return Reply(silence=True)
        time.sleep(0.3)
        return answers(ids)

    model.behaviour = behave
    stream.topic.put(numbered(300))
    runner = stream.start(ASSAY_API__TIMEOUT="1.5", ASSAY_STREAM__STALL="3")
    alive: list[int] = []
    until = time.monotonic() + 7
    while time.monotonic() < until:
        alive.append(runner.asks("/health/live")[0])
        time.sleep(0.1)
    assert set(alive) == {200}
    silent.set()
    model.released.set()
    stream.finish()
    assert stream.system.query("SELECT count(*) FROM transactions") == [(300,)]
    assert not codes(stream.system)


def behind(servers: str, topic: str | None = None) -> list[str]:
    """The partitions without a leader, or with fewer copies up to date than they should have."""
    admin: Any = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    return [
        f"{name}/{partition.id}: {partition.isrs} of {partition.replicas}"
        for name, each in admin.list_topics(topic, timeout=10).topics.items()
        for partition in each.partitions.values()
        if partition.leader < 0 or len(partition.isrs) < len(partition.replicas)
    ]


@pytest.mark.parametrize(
    "rounds", [pytest.param(1, id="one"), pytest.param(6, id="all", marks=pytest.mark.chaos)]
)
def test_brokers_killed_one_after_another(
    kafka_cluster: Local,
    make_stream: Callable[[Topic], Stream],
    undisturbed: Callable[[list[Record]], Books],
    rounds: int,
) -> None:
    """Under load of two consumers and a producer; with two of three the group goes on."""
    records = load(rounds * 3_000 + 3_000)
    url = kafka_cluster.kafka.url
    name = topics.create(url, f"brokers-{rounds}-{time.time_ns()}")
    stream = make_stream(Topic(url, name))
    feeding = feed(stream, records, rounds * 4.0)
    stream.start()
    stream.start()
    stream.wait_read(1)
    for number in range(rounds):
        # One that comes back has to catch up before it counts as one of the two.
        wait_for(lambda: not behind(url), seconds=120, why=lambda: str(behind(url)))
        broker = kafka_cluster.brokers[number % 3]
        before = stream.read()
        broker.kill()
        stream.wait_read(min(before + 500, len(records)), seconds=90)
        broker.start()
    feeding.join()
    stream.finish(seconds=150)
    prove(stream, undisturbed(records))


@pytest.mark.chaos
def test_a_partition_without_a_leader_holds_up_no_other(
    kafka_cluster: Local,
    make_stream: Callable[[Topic], Stream],
    undisturbed: Callable[[list[Record]], Books],
) -> None:
    """Each is on one broker; while one of these is away, the others' records are classified."""
    records = load(3_000)
    url = kafka_cluster.kafka.url
    admin: Any = AdminClient({"bootstrap.servers": url, "log_level": 0})
    name, config = f"leader-{time.time_ns()}", {"min.insync.replicas": "1"}
    alone = [[each] for each in sorted(admin.list_topics(timeout=10).brokers)]
    made = NewTopic(name, len(alone), replica_assignment=alone, config=config)
    admin.create_topics([made])[name].result(30)
    wait_for(lambda: not behind(url, name))
    stream = make_stream(Topic(url, name))
    stream.topic.put(records[:1_000])
    stream.start()
    stream.wait_done()
    broker = kafka_cluster.brokers[1]
    broker.kill()
    try:
        wait_for(lambda: behind(url, name))
        found = admin.list_topics(name, timeout=10).topics[name].partitions
        (without,) = (number for number, each in found.items() if each.leader < 0)
        rest = [each for each in records[1_000:] if each.partition != without]
        stream.topic.put(rest)
        stream.wait_done(seconds=45)
    finally:
        broker.start()
    stream.topic.put([each for each in records[1_000:] if each.partition == without])
    stream.finish(seconds=150)
    prove(stream, undisturbed(records))


@pytest.mark.parametrize(
    ("seconds", "session"),
    [
        pytest.param(4, 2_000, id="longer than the stall"),
        # It loses its partitions while the breaker is open.
        pytest.param(60, 45_000, id="longer than the session", marks=pytest.mark.chaos),
    ],
)
def test_a_broker_that_is_away_is_waited_for(
    stream: Stream,
    undisturbed: Callable[[list[Record]], Books],
    local: Local,
    seconds: float,
    session: int,
) -> None:
    """The only broker killed: the consumer says so, lives, and goes on when it is back."""
    records = load(6_000)
    expected = undisturbed(records)
    stream.topic.put(records[:1_500])
    properties = json.dumps({"session.timeout.ms": str(session)})
    runner = stream.start(ASSAY_STREAM__STALL="3", ASSAY_KAFKA__PROPERTIES=properties)
    stream.wait_read(1)
    local.kafka.kill()
    try:
        wait_for(lambda: runner.asks("/health/ready")[0] == 503, why=lambda: runner.log)
        time.sleep(seconds)
        assert runner.asks("/health/live")[0] == 200
    finally:
        local.kafka.start()
    stream.topic.put(records[1_500:])
    stream.finish()
    prove(stream, expected)


def test_it_ends_while_brokers_are_away(stream: Stream, local: Local) -> None:
    """SIGTERM is obeyed within seconds, though nobody can be told that it leaves the group."""
    stream.topic.put(load(500))
    runner = stream.start()
    stream.wait_read(1)
    local.kafka.kill()
    try:
        began = time.monotonic()
        runner.stop()
        assert runner.end(seconds=30) == 0
        assert time.monotonic() - began < 15
    finally:
        local.kafka.start()
