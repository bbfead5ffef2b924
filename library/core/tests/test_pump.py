"""What the pump does with each kind of record and each kind of fault, over memory adapters."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import count
from time import process_time

import polars as pl
import pytest

from assay.domain import metrics
from assay.domain.chunk import Chunk
from assay.domain.errors import Fatal, Fenced, Refused, RejectLimitExceeded, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import Partition, Position, Range
from assay.domain.tally import Tally
from assay.memory.classifier import MemoryClassifier
from assay.memory.source import MemorySource
from assay.memory.store import MemoryStore
from assay.memory.tracer import MemoryTracer
from assay.pipeline.pace import Pace
from assay.pipeline.pump import Policy
from assay.ports.source import AskPositions
from assay.testing.plant import Plant

DEFAULT = Policy()
GOOD = [f"id-{number};a purchase".encode() for number in range(10)]


def codes(store: MemoryStore) -> Counter[object]:
    return Counter(letter["code"] for letter in store.letters.values())


def test_every_kind_of_record_leaves_through_its_door() -> None:
    """Good ones are classified, broken ones rejected with their code, known ones duplicates."""
    log = [
        b"one;a purchase",
        b"no semicolon here",
        b"two;",
        b"one;a purchase",
        b"one;another purchase",
        b"poison;a purchase",
        b"unwanted;a purchase",
        b"hopeless;a purchase",
        b"later;a purchase",
    ]
    classifier = MemoryClassifier(
        poison={"poison"}, rejects={"unwanted"}, retries=Counter(hopeless=99, later=2)
    )
    plant = Plant.of({"a": log}, classifier=classifier)

    report = plant.pump.run()

    assert report.tally == Tally(read=9, classified=2, rejected=6, duplicate=1)
    assert set(plant.store.transactions) == {"one", "later"}
    assert codes(plant.store) == Counter(
        {
            "no_semicolon": 1,
            "missing_description": 1,
            "conflicting_duplicate": 1,
            "classifier_refused": 1,
            "unknown_text": 1,
            "classifier_gave_up": 1,
        }
    )
    assert plant.store.stands["logs", "a"] == Position(9, "finished")
    assert plant.source.acked["a"] == Position(9, "finished")


def test_a_letter_holds_the_record_and_its_origin() -> None:
    """A dead letter names source, partition and position and keeps the record's own bytes."""
    plant = Plant.of({"a": [b"one;a purchase", None, b"broken"]})
    plant.pump.run()
    letter = plant.store.letters["logs", "a", 2]
    assert (letter["raw"], letter["stage"], letter["retriable"]) == (b"broken", "decode", False)
    assert (letter["run_id"], letter["destination"]) == ("run-1", "memory:errors")


def test_holes_are_not_counted() -> None:
    """What is read is counted, not subtracted: a partition may have holes."""
    plant = Plant.of({"a": [None, b"one;x", None, None, b"two;x", None]})
    assert plant.pump.run().tally == Tally(read=2, classified=2)
    assert plant.store.stands["logs", "a"].next == 6


def test_an_outage_of_the_classifier_makes_no_dead_letter() -> None:
    """The breaker opens, one probe at a time goes out, and all is classified when it is back."""
    plant = Plant.of({"a": GOOD})
    plant.classifier.faults.plan("classify", *[Unavailable("away")] * 40)
    open_seen = 0.0
    while plant.step():
        open_seen = max(
            open_seen,
            plant.meter.value(metrics.BREAKER_OPEN, pipeline="test", dependency="classifier"),
        )
        if len(plant.classifier.faults.planned["classify"]) < 30 and plant.pump.away:
            assert len(plant.executor.queue) <= 1
    assert open_seen == 1
    assert plant.pump.report.tally == Tally(read=10, classified=10)


def test_retry_after_is_obeyed() -> None:
    """A dependency that asks for 60 s is not called before they have passed."""
    plant = Plant.of({"a": GOOD[:3]})
    plant.classifier.faults.plan("classify", Unavailable("busy", retry_after=60))
    plant.pump.run()
    assert plant.clock.now() >= 60


def test_retry_after_is_obeyed_within_reason() -> None:
    """One that asks for a day is asked again after five minutes."""
    plant = Plant.of({"a": GOOD[:3]})
    plant.classifier.faults.plan("classify", Unavailable("busy", retry_after=86_400))
    plant.pump.run()
    assert 300 <= plant.clock.now() < 330


def test_patience_ends() -> None:
    """A run that may not wait for ever ends as temporary, with nothing lost and nothing written."""
    plant = Plant.of({"a": GOOD}, policy=Policy(patience=30))
    plant.classifier.faults.plan("classify", *[Unavailable("connection refused")] * 1000)
    with pytest.raises(Unavailable, match=r"connection refused, and has been for") as error:
        plant.pump.run()
    assert error.value.exit_code == 75
    assert not plant.store.ledger


def test_patience_counts_from_where_the_first_attempt_begins() -> None:
    """However long it takes to fail."""
    plant = Plant.of({"a": GOOD[:3]}, policy=Policy(patience=20))

    def fail(_: str) -> None:
        plant.clock.move(9)
        raise Unavailable("silent")

    plant.classifier.faults.always = fail
    with pytest.raises(Unavailable, match="silent"):
        plant.pump.run()
    assert 20 < plant.clock.now() < 29


def test_a_store_that_is_away_at_the_start_is_waited_for() -> None:
    """Positions are asked again until the store answers."""
    plant = Plant.of({"a": GOOD})
    plant.store.faults.plan("positions", *[Unavailable("starting up")] * 12)
    assert plant.pump.run().tally.classified == 10


def test_a_commit_whose_answer_is_lost_counts_once() -> None:
    """A store that dies after its commit and before its answer tells the same tally again."""
    plant = Plant.of({"a": GOOD})
    plant.store.faults.plan("commit.done", *[Unavailable("connection reset")] * 3)
    assert plant.pump.run().tally == Tally(read=10, classified=10)
    assert sum(entry.tally.read for entry in plant.store.ledger) == 10


def test_a_source_that_breaks_is_resumed() -> None:
    """A source that is away goes on after what it has handed out."""
    plant = Plant.of({"a": GOOD})
    plant.source.faults.plan("events", *[Unavailable("no route")] * 8)
    assert plant.pump.run().tally == Tally(read=10, classified=10)


def test_the_window_is_the_back_pressure() -> None:
    """A slow classifier stops the reading, not the memory."""
    plant = Plant.of({"a": GOOD * 100}, policy=Policy(window_chunks=4))
    plant.clock.while_waiting = None  # nobody works
    for _ in range(200):
        plant.step()
    assert plant.meter.value(metrics.WINDOW_CHUNKS, pipeline="test") == 4


def test_bisecting_finds_few_culprits_in_few_calls() -> None:
    """Three culprits among 1,024 records take about 3 · log2(1024) calls, not 1,024."""
    log = [f"id-{number};a purchase".encode() for number in range(1024)]
    plant = Plant.of({"a": log}, size=1024)
    plant.classifier.poison = {"id-7", "id-500", "id-501"}
    assert plant.pump.run().tally == Tally(read=1024, classified=1021, rejected=3)
    assert len(plant.classifier.calls) <= 2 * 3 * 10 + 10


def test_bisecting_takes_time_that_is_linear_in_the_culprits() -> None:
    """Two thousand culprits are found in seconds, where all of them are to be accepted."""
    log = [f"id-{number};a purchase".encode() for number in range(2_000)]
    plant = Plant.of({"a": log}, size=2_000, policy=Policy(reject_limit=1.0))
    plant.classifier.poison = {f"id-{number}" for number in range(2_000)}
    start = process_time()
    assert plant.pump.run().tally == Tally(read=2_000, rejected=2_000)
    assert process_time() - start < 15


def test_what_is_too_large_is_asked_in_parts() -> None:
    """A classifier that takes a hundred at once refuses few calls, and not again each chunk."""
    log = [f"id-{number};a purchase".encode() for number in range(4_000)]
    plant = Plant.of({"a": log}, size=1_000, pace=Pace(1_000))
    plant.classifier.most = 100
    assert plant.pump.run().tally == Tally(read=4_000, classified=4_000)
    assert (
        plant.meter.value(
            metrics.ATTEMPTS, pipeline="test", dependency="classifier", result="refused"
        )
        <= 20
    )
    assert plant.meter.value(metrics.CALL_RECORDS_LIMIT, pipeline="test") <= 200
    assert plant.meter.value(metrics.CHUNK_RECORDS_LIMIT, pipeline="test") == 1_000


def test_what_takes_longer_than_it_may_is_asked_in_parts() -> None:
    """A call that finds no answer in time is not made again as it was; nothing is refused by it."""
    log = [f"id-{number};a purchase".encode() for number in range(3_000)]
    told: list[dict[str, int]] = []

    class Slow(MemoryClassifier):
        """A hundred records/s, for callers that wait for two seconds."""

        def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
            plant.clock.move(min(transactions.height / 100, 2))
            verdicts = super().classify(transactions)
            if transactions.height > 200:
                raise Unavailable("no answer in time", too_much=True)
            return verdicts

    def tell(pace: Pace) -> None:
        told.append(pace.limits)

    plant = Plant.of(
        {"a": log}, size=1_000, classifier=Slow(), pace=Pace(1_000, least=10, goal=2), paced=tell
    )
    assert plant.pump.run().tally == Tally(read=3_000, classified=3_000)
    late = [each for each in plant.classifier.calls if each > 200]
    assert len(late) <= 6
    assert plant.clock.now() < 30 + 2 * len(late) + 10
    assert len(told) == 1  # once for all that follows
    assert told[0]["call_records"] < 1_000


def test_a_worker_is_left_for_the_commit() -> None:
    """However many parts of chunks wait to be asked about."""
    log = [f"id-{number};a purchase".encode() for number in range(120)]
    plant = Plant.of({"a": log}, size=12, pace=Pace(2, calls=5, least=1))
    plant.clock.while_waiting = None
    most = 0
    for _ in range(2_000):
        if not plant.step():
            break
        most = max(most, len(plant.executor.queue))
        plant.executor.step(most)
    assert plant.pump.report.tally == Tally(read=120, classified=120)
    assert set(plant.classifier.calls) == {2}
    assert 3 < most <= 6


def test_parts_of_a_chunk_are_asked_at_once() -> None:
    """The first chunk's come first, so that it is not held up by those behind it."""
    log = [f"id-{number};a purchase".encode() for number in range(40)]
    plant = Plant.of({"a": log}, size=20, pace=Pace(5, calls=3))
    plant.clock.while_waiting = None
    plant.step()
    plant.step()
    for _ in range(2):  # both decoded
        plant.executor.step()
    plant.step()
    calls = plant.meter.value(metrics.CALLS, pipeline="test")
    assert calls == plant.meter.value(metrics.CALLS_LIMIT, pipeline="test") == 3
    while not plant.store.stands:
        plant.executor.step()
        plant.step()
    assert plant.store.stands["logs", "a"] == Position(20)
    assert sum(plant.classifier.calls) < 40


def test_an_outage_leaves_the_chunks_as_they_are() -> None:
    """How long it lasts says nothing of how many records are too many."""
    log = [f"id-{number};a purchase".encode() for number in range(30)]
    plant = Plant.of({"a": log}, size=10, pace=Pace(10, least=1))
    plant.classifier.faults.plan("classify", *[Unavailable("away")] * 20)
    plant.store.faults.plan("commit", *[Unavailable("away")] * 20)
    assert plant.pump.run().tally.classified == 30
    assert plant.clock.now() > 20
    assert plant.meter.value(metrics.CHUNK_RECORDS_LIMIT, pipeline="test") == 10
    assert plant.meter.value(metrics.CALL_RECORDS_LIMIT, pipeline="test") == 10
    assert plant.meter.value(metrics.CALLS_LIMIT, pipeline="test") == 3


def test_a_slow_store_gets_smaller_chunks() -> None:
    """A source that asks the pace cuts them so that a commit takes a second or two."""
    pace = Pace(1_000, least=10, goal=2)

    class Slow(MemoryStore):
        """A hundred records/s."""

        def commit(self, outcome: Outcome) -> Tally:
            plant.clock.move(outcome.records.height / 100)
            return super().commit(outcome)

    source = MemorySource({"a": [*GOOD * 400]}, owned={"a"}, size=lambda: pace.chunk_records)
    plant = Plant(source, store=Slow(), pace=pace)
    plant.pump.run()
    read = [entry.tally.read for entry in plant.store.ledger]
    assert read[0] == 1_000
    assert all(100 <= each <= 200 for each in read[5:-1])
    assert plant.meter.value(metrics.CALL_RECORDS_LIMIT, pipeline="test") == 1_000


def test_a_passing_refusal_condemns_nobody() -> None:
    """A single record is rejected only when it is refused twice."""
    plant = Plant.of({"a": [b"one;a purchase"]})
    plant.classifier.faults.plan("classify", Refused("500"))
    assert plant.pump.run().tally == Tally(read=1, classified=1)


def test_a_flood_of_rejects_stops_a_stream() -> None:
    """Half of the last 1,000 rejected: the run ends with 65, before the chunk is committed."""
    log = [b"broken" if number % 10 < 6 else GOOD[0] for number in range(3000)]
    plant = Plant.of({"a": log}, size=100)
    with pytest.raises(RejectLimitExceeded, match="--reject-limit 1") as error:
        plant.pump.run()
    assert error.value.exit_code == 65
    assert "mend the producer" in str(error.value)
    assert sum(entry.tally.read for entry in plant.store.ledger) == 900


def test_a_restart_remembers_the_flood() -> None:
    """The ledger is asked for the latest records, so a restart does not begin at zero."""
    log = [b"broken" if number % 10 < 6 else GOOD[0] for number in range(3000)]
    store = MemoryStore()
    for _ in range(2):
        plant = Plant.of({"a": log}, size=100, store=store)
        with pytest.raises(RejectLimitExceeded):
            plant.pump.run()
    assert sum(entry.tally.read for entry in store.ledger) == 900


def test_what_was_accepted_does_not_count_later() -> None:
    """Ranges committed under a raised limit leave no trace in the next run's judgement."""
    store = MemoryStore()
    accepting = Policy(reject_limit=1.0)
    Plant.of({"a": [b"broken"] * 2000}, size=100, store=store, policy=accepting).pump.run()
    again = Plant.of({"b": [*GOOD * 10, b"broken"]}, size=100, store=store, run_id="run-2")
    assert again.pump.run().tally.rejected == 1


def test_a_flood_that_was_accepted_is_over() -> None:
    """What was committed before the limit was raised counts no longer either."""
    store = MemoryStore()
    log = [b"broken"] * 2_000
    with pytest.raises(RejectLimitExceeded):
        Plant.of({"a": log}, size=100, store=store).pump.run()
    accepting = Policy(reject_limit=1.0)
    Plant.of({"a": log}, size=100, store=store, run_id="2", policy=accepting).pump.run()
    again = Plant.of({"b": GOOD * 10}, size=100, store=store, run_id="3")
    assert again.pump.run().tally.read == 100


def test_a_bad_deploy_is_not_bisected_to_the_end() -> None:
    """When every call is refused the run stops after about a thousand records' worth of proof."""
    log = [f"id-{number};a purchase".encode() for number in range(20_000)]
    plant = Plant.of({"a": log}, size=20_000)
    plant.classifier.poison = {f"id-{number}" for number in range(20_000)}
    with pytest.raises(RejectLimitExceeded):
        plant.pump.run()
    assert len(plant.classifier.calls) < 4_000
    assert not plant.store.ledger


def test_one_bad_file_does_not_stop_the_others() -> None:
    """A file over the limit is given up alone; it is judged at its end from 20 records on."""
    logs: dict[str, list[bytes]] = {
        "bad": [b"broken"] * 15 + GOOD,
        "good": GOOD,
        "short": [b"broken"] * 19,
    }
    plant = Plant.of(logs, size=100, policy=Policy(alone=True))
    report = plant.pump.run()
    assert set(report.given_up) == {"bad"}
    assert isinstance(report.given_up["bad"], RejectLimitExceeded)
    assert "mend the contract" in str(report.given_up["bad"])
    assert report.tally == Tally(read=29, classified=10, rejected=19)
    assert ("logs", "bad") not in plant.store.stands


def test_a_file_that_another_run_works_on_is_left_to_it() -> None:
    """The first to commit goes on; the other is fenced for that file alone."""
    store = MemoryStore()
    logs: dict[str, list[bytes]] = {"a": GOOD * 2, "b": GOOD}
    first = Plant.of(logs, store=store, policy=Policy(alone=True))
    second = Plant.of({"a": logs["a"]}, store=store, run_id="run-2", policy=Policy(alone=True))
    while not store.ledger:
        first.step()
        second.step()
    theirs, ours = second.pump.run(), first.pump.run()
    assert (
        sum(
            isinstance(each, Fenced)
            for report in (theirs, ours)
            for each in report.given_up.values()
        )
        == 1
    )
    winner, loser = (ours, theirs) if theirs.given_up else (theirs, ours)
    assert set(loser.given_up) == {"a"}
    assert not winner.given_up
    assert sum(entry.tally.read for entry in store.ledger if entry.range.partition == "a") == 20


def test_a_store_that_does_not_say_where_it_stands_is_what_is_away() -> None:
    """It is named, and not the source that asked it; the run begins when it is back."""

    class Frank(MemorySource):
        """Lets through what the store says, as the source of files does."""

        def _ask(self, positions: AskPositions, partitions: Sequence[Partition]) -> None:
            found = positions(partitions)
            super()._ask(lambda _: found, partitions)

    plant = Plant(Frank({"a": list[bytes | None](GOOD)}, owned={"a"}, size=3))
    plant.store.faults.plan("positions", *[Unavailable("away")] * 8)
    away: set[str] = set()
    while plant.step():
        away.update(plant.pump.away)
    assert away == {"store"}
    assert plant.pump.report.tally == Tally(read=10, classified=10)


def test_an_outage_after_a_loss_is_got_over() -> None:
    """That partitions went away leaves no call open that would count against the next ones."""
    plant = Plant(MemorySource({"a": [*GOOD]}, owned={"a"}, finite=False))
    plant.source.revoke({"a"})
    plant.step()
    plant.source.faults.plan("events", *[Unavailable("away")] * 6)
    while not plant.pump.away:
        plant.step()
    plant.source.assign({"a"})
    for _ in range(2_000):
        plant.step()
    assert plant.pump.away == ()
    assert plant.pump.report.tally == Tally(read=10, classified=10)


def test_what_is_read_again_counts_once() -> None:
    """A partition went and came back while its commit was under way."""
    plant = Plant(MemorySource({"a": [*GOOD]}, owned={"a"}, size=10, finite=False))
    plant.clock.while_waiting = None
    while not plant.classifier.calls:
        plant.step()
        plant.executor.step()
    plant.step()  # begins to commit
    plant.source.revoke({"a"})
    plant.source.assign({"a"})
    for _ in range(6):
        plant.step()  # reads it again
    for _ in range(60):
        plant.executor.step()
        plant.step()
    assert plant.pump.report.tally == Tally(read=10, classified=10)


def test_stop_commits_what_is_in_the_window() -> None:
    """A run that is asked to stop reads nothing more and commits what it has read."""
    plant = Plant.of({"a": GOOD * 100})
    plant.step()
    plant.pump.stop()
    report = plant.pump.run()
    assert 0 < report.tally.read < 1000
    assert plant.store.stands["logs", "a"].next == report.tally.read


def test_stop_does_not_wait_for_what_is_away() -> None:
    """A stop while a dependency is away leaves the window to the next run."""
    plant = Plant.of({"a": GOOD})
    plant.classifier.faults.plan("classify", *[Unavailable("away")] * 10_000)
    while not plant.pump.away:
        plant.step()
    plant.pump.stop()
    assert plant.pump.run().tally == Tally()
    again = Plant.of({"a": GOOD}, store=plant.store, run_id="run-2")
    assert again.pump.run().tally == Tally(read=10, classified=10)


def test_stop_does_not_try_again() -> None:
    """One failure is enough to leave the window to the next run, long before the breaker opens."""
    plant = Plant.of({"a": GOOD})
    plant.classifier.faults.plan("classify", *[Unavailable("busy", retry_after=60)] * 4)
    while not plant.pump.is_failing:
        plant.step()
    plant.pump.stop()
    assert plant.pump.run().tally == Tally()
    assert plant.clock.now() < 1


def test_stop_leaves_what_takes_too_long() -> None:
    """What the model is still to be asked when the time is over is left to the next run."""
    policy = Policy(drain=1, attempts=1_000)
    slow = MemoryClassifier(retries=Counter({"id-0": 1_000}))
    plant = Plant.of({"a": GOOD}, classifier=slow, policy=policy)
    while not slow.calls:
        plant.step()
    plant.pump.stop()
    assert plant.pump.run().tally == Tally()
    assert 1 <= plant.clock.now() < 3


def test_a_fatal_error_stops_the_run() -> None:
    """What nothing helps against is not tried again."""
    plant = Plant.of({"a": GOOD})
    plant.classifier.faults.plan("classify", Fatal("wrong key: set ASSAY_API__API_KEY"))
    with pytest.raises(Fatal, match="ASSAY_API__API_KEY"):
        plant.pump.run()
    assert not plant.store.ledger


def test_a_commit_under_way_counts_where_the_run_fails() -> None:
    """What is told of a run that failed is what the ledger has of it."""
    told: list[Tally] = []

    def tell(_: Outcome, tally: Tally) -> None:
        told.append(tally)

    plant = Plant.of({"a": GOOD}, committed=tell)
    calls = count()

    def second(point: str) -> None:
        if point == "classify" and next(calls) == 1:
            raise Fatal("wrong key")

    plant.classifier.faults.always = second
    with pytest.raises(Fatal, match="wrong key"):
        plant.pump.run()
    while plant.executor.queue:
        plant.executor.step()
    assert [each.tally for each in plant.store.ledger] == told == [Tally(read=3, classified=3)]
    assert plant.pump.report.tally == told[0]


def test_an_empty_file_is_finished() -> None:
    """A file without records has an empty range, so that the next run has nothing to do with it."""
    plant = Plant.of({"a": []})
    assert plant.pump.run().tally == Tally()
    assert plant.store.stands["logs", "a"] == Position(0, "finished")
    assert len(plant.store.ledger) == 1


def test_counters_count_by_door() -> None:
    """`assay_records_total` tells the doors apart."""
    plant = Plant.of({"a": [*GOOD, b"broken", GOOD[0]]})
    plant.pump.run()
    doors = {
        door: plant.meter.value(metrics.RECORDS, pipeline="test", door=door)
        for door in ("classified", "rejected", "duplicate")
    }
    assert doors == {"classified": 10, "rejected": 1, "duplicate": 1}


def test_each_commit_is_told() -> None:
    """Whoever composed the pump hears of each outcome, with the tally that the ledger has."""
    told: list[tuple[int, Tally]] = []

    def tell(outcome: Outcome, tally: Tally) -> None:
        told.append((outcome.ranges[0].next, tally))

    plant = Plant.of({"a": [*GOOD, b"broken"]}, size=6, committed=tell)
    plant.pump.run()
    assert told == [(6, Tally(6, 6)), (11, Tally(5, 4, 1))]


def test_an_outage_is_told_once_and_its_end_once() -> None:
    """Not each failed attempt, and not a failure that passes before the breaker opens."""
    told: list[tuple[str, str | None]] = []

    def tell(dependency: str, error: Unavailable | None) -> None:
        told.append((dependency, None if error is None else str(error)))

    plant = Plant.of({"a": GOOD}, away=tell)
    plant.classifier.faults.plan("classify", *[Unavailable("refused")] * 12)
    plant.store.faults.plan("commit", Unavailable("a moment"))
    plant.pump.run()
    assert told == [("classifier", "refused"), ("classifier", None)]


def told_of(dependency: str, error: Unavailable, *, takes: float, until: float) -> list[float]:
    """When an outage is told, and its end; each attempt takes so many seconds."""
    told: list[float] = []

    def tell(_: str, __: Unavailable | None) -> None:
        told.append(plant.clock.now())

    plant = Plant.of({"a": GOOD[:3]}, away=tell)
    faults, point = {
        "source": (plant.source.faults, "events"),
        "classifier": (plant.classifier.faults, "classify"),
        "store": (plant.store.faults, "commit"),
        "store at the start": (plant.store.faults, "positions"),
    }[dependency]

    def fail(at: str) -> None:
        if at == point and plant.clock.now() < until:
            plant.clock.move(takes)
            raise error

    faults.always = fail
    assert plant.pump.run().tally == Tally(read=3, classified=3)
    return told


@pytest.mark.parametrize("dependency", ["source", "classifier", "store", "store at the start"])
def test_an_outage_is_told_after_ten_seconds(dependency: str) -> None:
    """Where each attempt takes long, five of them are not waited for."""
    began, ended = told_of(dependency, Unavailable("silent"), takes=6, until=60)
    assert 10 <= began < 14  # after the second one
    assert ended >= 60


def test_who_asks_for_patience_is_away() -> None:
    """After ten seconds without anything else to do than to wait, however few have been refused."""
    busy = partial(Unavailable, "busy")
    began, ended = told_of("classifier", busy(retry_after=300), takes=0, until=60)
    assert 10 <= began < 11
    assert ended >= 300
    assert told_of("classifier", busy(retry_after=8), takes=0, until=5) == []


def test_a_moment_after_which_nobody_asks_is_no_outage() -> None:
    """What came of the next attempt would tell, and there is none."""
    told: list[str] = []
    source = MemorySource({"a": [*GOOD[:3]]}, owned={"a"}, finite=False)

    def tell(dependency: str, _: Unavailable | None) -> None:
        told.append(dependency)

    plant = Plant(source, away=tell)
    plant.classifier.faults.plan("classify", Unavailable("a moment", retry_after=1))
    while not plant.pump.is_failing:
        plant.step()
    plant.source.revoke({"a"})
    for _ in range(1_000):
        plant.step()
    assert plant.clock.now() > 30
    assert told == []


def test_what_was_asked_for_a_revoked_partition_is_taken_up() -> None:
    """A call under way when its chunk leaves does not count as under way for ever."""
    plant = Plant.of({"a": GOOD}, size=10)
    plant.clock.while_waiting = None
    plant.step()
    plant.executor.step()  # decoded
    plant.step()  # asked
    plant.source.revoke({"a"})
    plant.step()
    plant.source.assign({"a"})
    plant.classifier.faults.plan("classify", *[Unavailable("away")] * 12)
    plant.clock.while_waiting = plant.executor.step
    for _ in range(5_000):
        if not plant.step():
            break
    assert plant.pump.report.tally == Tally(read=10, classified=10)


def shared(
    logs: dict[str, list[bytes | None]], *, policy: Policy = DEFAULT, size: int = 3
) -> Plant:
    """A plant over logs that never end, all of which it owns."""
    return Plant(MemorySource(logs, owned=set(logs), size=size, finite=False), policy=policy)


def test_what_is_asked_back_is_committed_and_acked_first() -> None:
    """What was read of a partition that moves is not read again by its next owner."""
    plant = shared({"a": [*GOOD], "b": [*GOOD]})
    plant.step()
    plant.step()
    plant.source.ask_back({"a"})
    plant.step()
    assert "a" not in plant.source.owned
    assert plant.store.stands["logs", "a"] == plant.source.acked["a"] == Position(6)
    for _ in range(50):
        plant.step()
    assert plant.store.stands["logs", "a"] == Position(6)
    assert plant.store.stands["logs", "b"] == Position(10)


def test_what_is_not_drained_in_time_is_dropped_without_harm() -> None:
    """The next owner reads it again; what else was in the chunk is committed, once."""
    plant = shared({"a": [*GOOD], "b": [*GOOD]}, policy=Policy(drain=2))
    plant.clock.while_waiting = None  # nobody works
    plant.step()
    before = plant.clock.now()
    plant.source.ask_back({"a"})
    plant.step()
    assert 2 <= plant.clock.now() - before < 2.5
    assert not plant.store.stands
    other = Plant(
        MemorySource(plant.source.logs, owned={"a"}, finite=False), store=plant.store, run_id="2"
    )
    plant.clock.while_waiting = plant.executor.step
    for _ in range(50):
        plant.step()
        other.step()
    assert plant.store.stands == dict.fromkeys([("logs", "a"), ("logs", "b")], Position(10))
    assert (plant.pump.report.tally.read, other.pump.report.tally.read) == (10, 10)
    assert "a" not in plant.source.acked


def test_a_commit_under_way_when_the_time_to_drain_is_over_counts() -> None:
    """It may still go through; then the next owner begins after it."""
    plant = shared({"a": [*GOOD]}, policy=Policy(drain=0))
    plant.clock.while_waiting = None
    plant.step()
    for _ in range(2):  # decoded, classified
        plant.executor.step()
        plant.step()
    plant.source.ask_back({"a"})
    plant.step()
    while plant.executor.queue:
        plant.executor.step()
    for _ in range(10):
        plant.step()
    assert plant.store.stands["logs", "a"].next == plant.pump.report.tally.read > 0
    assert "a" not in plant.source.acked


def test_nothing_is_drained_while_the_store_is_away() -> None:
    """Whoever waits for the partition does not wait for what cannot be done."""
    plant = shared({"a": [*GOOD]})
    plant.store.faults.plan("commit", *[Unavailable("away")] * 1000)
    while not plant.pump.away:
        plant.step()
    before = plant.clock.now()
    plant.source.ask_back({"a"})
    plant.step()
    assert plant.clock.now() - before <= DEFAULT.tick
    assert "a" not in plant.source.owned


def test_a_fault_while_draining_ends_the_run() -> None:
    """What nothing helps against is raised by the loop, though it happens inside an event."""
    plant = shared({"a": [*GOOD]})
    plant.classifier.faults.plan("classify", Fatal("wrong key"))
    plant.step()
    plant.source.ask_back({"a"})
    with pytest.raises(Fatal, match="wrong key"):
        plant.step()
    assert not plant.store.ledger


def test_the_reject_limit_holds_while_draining() -> None:
    """A flood is not committed because its partition moves."""
    plant = shared({"a": [b"broken"] * 1_200}, size=1_200)
    plant.step()
    plant.source.ask_back({"a"})
    with pytest.raises(RejectLimitExceeded):
        plant.step()
    assert not plant.store.ledger


def test_who_loses_a_race_while_draining_gives_way() -> None:
    """Another owner went first: what is drained is fenced, and nothing is written twice."""
    plant = shared({"a": [*GOOD], "b": [*GOOD]})
    other = Plant(
        MemorySource(plant.source.logs, owned={"a"}, size=5, finite=False),
        store=plant.store,
        run_id="2",
    )
    plant.step()
    while not plant.store.ledger:
        other.step()
    plant.source.ask_back({"a"})
    plant.step()
    for _ in range(50):
        plant.step()
        other.step()
    assert plant.store.stands == dict.fromkeys([("logs", "a"), ("logs", "b")], Position(10))
    assert (plant.pump.report.tally.read, other.pump.report.tally.read) == (10, 10)


def test_counters_are_there_from_the_beginning() -> None:
    """At 0: what watches them sees the first reject and the first failure as an increase."""
    plant = Plant.of({})
    counted = Counter(name for name, _ in plant.meter.values)
    assert counted[metrics.RECORDS.name] == 3
    assert counted[metrics.ATTEMPTS.name] == 6
    assert set(plant.meter.values.values()) == {0}


def test_each_chunk_is_followed_to_its_end() -> None:
    """Every attempt at a step, and what was committed; what failed before by its kind."""
    tracer = MemoryTracer()
    plant = Plant.of({"a": GOOD[:5]}, tracer=tracer)
    plant.classifier.faults.plan("classify", Unavailable("away"))
    plant.store.faults.plan("commit", Unavailable("away"))
    plant.pump.run()
    first, second = tracer.traces
    assert first.steps == [
        ("decode", 3, None),
        ("classify", 3, "Unavailable"),
        ("classify", 3, None),
        ("commit", 3, "Unavailable"),
        ("commit", 3, None),
    ]
    assert (first.run_id, first.source) == ("run-1", "logs")
    assert (first.ends, second.ends) == ([Tally(3, 3)], [Tally(2, 2)])


def test_a_chunk_that_is_not_committed_ends_so() -> None:
    """Whether it is given up, lost, or left behind by what has stopped the pump."""
    given_up, stopped = MemoryTracer(), MemoryTracer()
    bad = [b"broken"] * 30
    Plant.of({"a": bad}, size=30, policy=Policy(alone=True), tracer=given_up).pump.run()
    assert given_up.traces[0].ends == [None]
    plant = Plant.of({"a": bad}, size=30, tracer=stopped, policy=Policy(reject_limit=0.0))
    plant.store.faults.plan("commit", Fatal("no rights"))
    plant.classifier.faults.plan("classify", Fatal("no rights"))
    with pytest.raises(Fatal):
        Plant.of({"a": GOOD}, tracer=stopped, classifier=plant.classifier).pump.run()
    assert {end for trace in stopped.traces for end in trace.ends} == {None}
    assert all(len(trace.ends) == 1 for trace in stopped.traces)


def test_what_leaves_a_chunk_takes_its_traces_along() -> None:
    """A chunk is linked to the records that are in it."""
    records = pl.DataFrame({"partition": ["a", "b"]})
    ranges = (Range("a", 0, 1, 1), Range("b", 0, 1, 1))
    chunk = Chunk(ranges, records, traced={("a", 0): "one", ("b", 0): "two"})
    assert chunk.without(["a"]).traced == {("b", 0): "two"}
