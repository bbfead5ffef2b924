"""`assay connect postgres`: what was classified on topics, in the tables, and the books of all."""

import json
from typing import Any, cast

import pytest
from confluent_kafka import Producer
from streams import Stream, cut, many, record, until
from system import Done

from assay_local import topics


@pytest.fixture
def made(stream: Stream) -> Stream:
    """A stream whose topics are there."""
    stream.make()
    return stream


def _classify(stream: Stream, **environment: str) -> Done:
    idle = ("--until-idle", "0.3", "--reject-limit", "1")
    done = stream.run("stream", "classify", *idle, **environment)
    assert done.exit_code == 0, done.errors
    return done


def _connect(stream: Stream) -> Done:
    idle = ("--until-idle", "0.3", "--reject-limit", "1")
    return stream.run("connect", "postgres", *idle)


def _reconciled(stream: Stream) -> dict[str, Any]:
    done = stream.system.run("reconcile", "--json")
    assert done.exit_code == 0, done.summary
    return done.summary


def test_the_whole_way_balances(made: Stream) -> None:
    """From the topic of transactions over predictions, letters and ledger to the tables."""
    original = record("t-1", note="kept")
    made.put(original, record("t-2"), b"broken", record("t-3", side="neither"))
    _classify(made)
    done = _connect(made)
    assert done.exit_code == 0, done.errors
    assert (done.summary["read"], done.summary["classified"]) == (2, 2)
    rows = made.system.query("SELECT transaction_id FROM transactions ORDER BY 1")
    assert rows == [("t-1",), ("t-2",)]
    letters = made.system.query(
        "SELECT code, published_at IS NOT NULL FROM dead_letters ORDER BY 1"
    )
    assert letters == [("invalid_json", True), ("invalid_side", True)]
    books = _reconciled(made)
    assert books["on_the_way"] == []
    assert (books["read"], books["delivered"], books["rejected"]) == (6, 2, 2)


def test_a_second_time_nothing_changes(made: Stream) -> None:
    """What was copied before is known."""
    made.put(record("t-1"), b"broken")
    _classify(made)
    for read in (1, 0):
        assert _connect(made).summary["read"] == read
    # As if its group had forgotten all.
    done = made.run(
        "connect", "postgres", "--until-idle", "0.3", "--group", "another", "--reject-limit", "1"
    )
    assert (done.exit_code, done.summary["read"]) == (0, 0)
    assert _reconciled(made)["on_the_way"] == []


def test_ids_are_judged_where_the_database_is(made: Stream) -> None:
    """The same again is a duplicate; another content is a letter with the record as it came."""
    other = record("t-1", amount="99.00")
    made.put(record("t-1"), record("t-1"), other)
    assert _classify(made).summary["classified"] == 3
    done = _connect(made)
    assert (done.summary["classified"], done.summary["duplicate"], done.summary["rejected"]) == (
        1,
        1,
        1,
    )
    ((source, code, raw, key),) = made.system.query(
        "SELECT source, code, raw, key FROM dead_letters"
    )
    assert source == f"kafka/{made.name}-predictions"
    assert (code, bytes(raw), bytes(key)) == ("conflicting_duplicate", other, b"key 2")
    _reconciled(made)


def test_what_is_no_prediction_is_a_letter(made: Stream) -> None:
    """With its own bytes, and the rest goes on."""
    made.put(record("t-1"))
    _classify(made)
    producer = Producer({"bootstrap.servers": made.servers})
    producer.produce(f"{made.name}-predictions", b"{}")
    producer.flush()
    done = _connect(made)
    assert (done.summary["classified"], done.summary["rejected"]) == (1, 1)
    ((code, raw),) = made.system.query("SELECT code, raw FROM dead_letters")
    assert (code, bytes(raw)) == ("unreadable_prediction", b"{}")


def test_predictions_that_are_not_here_yet_are_told(made: Stream) -> None:
    """Without a difference while they are young; with one once they are not."""
    made.put(record("t-1"), record("t-2"))
    _classify(made)
    _connect(made)
    made.system.query("DELETE FROM predictions RETURNING 1")
    made.system.query("DELETE FROM transactions RETURNING 1")
    made.system.query(
        "DELETE FROM ledger WHERE source = %s RETURNING 1", f"kafka/{made.name}-predictions"
    )
    made.system.query(
        "DELETE FROM positions WHERE source = %s RETURNING 1", f"kafka/{made.name}-predictions"
    )
    done = made.system.run("reconcile", "--json")
    assert [each["found"] for each in done.summary["on_the_way"]] == [0]
    _grow_old(made)
    done = made.system.run("reconcile", "--json")
    assert done.exit_code == 65
    (difference,) = done.summary["differences"]
    assert (difference["expected"], difference["found"]) == (2, 0)


@pytest.mark.parametrize("first", ["consume", "classify"])
def test_tables_hold_the_books_of_a_topic_once(made: Stream, first: str) -> None:
    """Who would mix those of a consumer with copies of a classifier's is told so."""
    made.put(record("t-1"))
    if first == "classify":
        _classify(made)
        assert _connect(made).exit_code == 0
        done = made.consume()
    else:
        assert made.consume().exit_code == 0
        done = _connect(made)
    assert done.exit_code == 78
    assert "use another database" in done.errors


def test_killed_at_any_time_the_books_balance(made: Stream) -> None:
    """Nothing is lost or doubled of what classifier and connector had under way."""
    records = 20_000
    made.put(*many(records - 1), b"broken")
    few = {"ASSAY_STREAM__CHUNK_RECORDS": "1000"}
    classify = ("stream", "classify", "--instance-id", "c")
    connect = ("connect", "postgres", "--instance-id", "p")

    def stored() -> int:
        return made.system.query("SELECT count(*) FROM transactions")[0][0]

    for least in (1, 5_000, 9_000):
        both = [made.system.fork(*words, **few) for words in (classify, connect)]
        until(lambda least=least: stored() >= least)
        for each in both:
            each.process.kill()
            each.process.join()
    assert stored() < records
    for words in (classify, connect):
        done = made.system.fork(*words, "--until-idle", "0.3", **few).end()
        assert done.exit_code == 0, done.errors
    assert stored() == records - 1
    assert _reconciled(made)["on_the_way"] == []


def test_letters_of_a_consumer_are_not_the_classifier_s(made: Stream) -> None:
    """Both read one topic, and their letters share one; each has its own in its own books."""
    made.put(record("t-1"), b"broken", record("t-1", amount="99.00"))
    done = made.consume()
    assert done.summary["rejected"] == 2, done.errors
    assert made.run("stream", "dead-letters", "--once", "--no-retry").exit_code == 0
    for table in ("ledger", "positions", "predictions", "transactions", "dead_letters"):
        made.system.query(f"DELETE FROM {table} RETURNING 1")  # noqa: S608 - as another database
    _classify(made)
    assert _connect(made).summary["rejected"] == 1
    _grow_old(made)
    books = _reconciled(made)
    assert (books["delivered"], books["on_the_way"]) == (2, [])
    codes = made.system.query("SELECT code FROM dead_letters ORDER BY code")
    assert codes == [("conflicting_duplicate",), ("invalid_json",)]
    imported = made.run("dead-letters", "import", "--topic", f"{made.name}-dead")
    assert imported.summary["imported"] == 1  # the consumer's conflict alone


def test_a_letter_that_is_lost_is_missed_whatever_comes_after_it(made: Stream) -> None:
    """It is held against its own range, so that younger ones do not stand in for it."""
    made.put(*[b"broken"] * 10)
    _classify(made)
    assert _connect(made).exit_code == 0
    _grow_old(made)
    _reconciled(made)
    made.system.query("UPDATE dead_letters SET position = 777 WHERE position = 3 RETURNING 1")
    made.put(*[b"broken"] * 2)
    _classify(made)
    assert _connect(made).exit_code == 0
    done = made.run("reconcile", "--json")
    assert done.exit_code == 65
    assert [each["what"] for each in done.summary["differences"]] == [
        "dead letters of a classifier"
    ]


def test_groups_have_books_of_their_own(made: Stream) -> None:
    """A classifier that got another name begins anew, and both are proved."""
    made.put(*many(20), b"broken", partition=0)
    _classify(made)
    done = made.run("stream", "classify", "--until-idle", "0.3", "--group", "another")
    assert done.exit_code == 0, done.errors
    assert _connect(made).summary["duplicate"] == 20
    _grow_old(made)
    books = _reconciled(made)
    assert (books["delivered"], books["on_the_way"]) == (40, [])
    letters = made.system.query("SELECT split_part(books, '/', 1) FROM dead_letters ORDER BY 1")
    assert letters == [("another",), (f"{made.name}-classify",)]


def test_what_others_write_on_the_topics_is_passed_over(made: Stream) -> None:
    """Entries and letters that nobody could keep, and messages that are no predictions."""
    made.put(record("t-1"), b"broken")
    _classify(made)
    ((_, entry),) = [(each.key(), each.value()) for each in made.on("ledger") if each.value()][:1]
    (letter,) = made.on("dead")
    producer = Producer({"bootstrap.servers": made.servers})
    given = json.loads(entry or b"")
    for wrong in (
        {"next": given["first"]},
        {"read": 7},
        {"next": 1 << 62, "read": 1 << 62, "classified": 1 << 62},
        {"run_id": "a\0b"},
        {"needs_review": given["classified"] + 1},
    ):
        changed = given | {"partition": "9"} | wrong
        producer.produce(f"{made.name}-ledger", json.dumps(changed).encode())
    headers: dict[str, bytes] = dict(cast(Any, letter.headers()))
    far = "9" * 9_000
    id_ = f"{headers['assay.source'].decode()}/{far}@0".encode()
    changed = headers | {"__connect.errors.partition": far.encode(), "assay.id": id_}
    changed.pop("assay.topic.id")
    for each in changed, headers | {"assay.code": b"x" * 9_000}:
        producer.produce(f"{made.name}-dead", b"x", headers=list(each.items()))
    for value in (None, b"", b"[]", b"\xff\xfe"):
        producer.produce(f"{made.name}-predictions", value)
    producer.flush()
    done = _connect(made)
    assert (done.exit_code, done.summary["classified"], done.summary["rejected"]) == (0, 1, 4)
    assert done.errors.count("passed over in the books") == 7
    _grow_old(made)
    assert _reconciled(made)["on_the_way"] == []


def test_who_begins_late_misses_what_was_before(made: Stream) -> None:
    """Which is no difference: the ledger tells of all, and reading began where it did."""
    made.put(*many(30))
    _classify(made)
    late = ("--from", "latest", "--until-idle", "0.3")
    assert made.run("connect", "postgres", *late).summary["read"] == 0
    made.put(*many(50)[30:])
    _classify(made)
    assert _connect(made).summary["read"] == 20
    _grow_old(made)
    books = _reconciled(made)
    assert (books["delivered"], books["on_the_way"]) == (20, [])


def _grow_old(stream: Stream) -> None:
    """As if all that was committed had been so for a while: by now it must have come."""
    stream.system.query(
        "UPDATE ledger SET committed_at = committed_at - interval '11 min',"
        " copied_at = copied_at - interval '11 min' RETURNING 1"
    )


def _make_anew(stream: Stream, topic: str) -> None:
    stream.delete(topic)
    topics.create(stream.servers, topic, partitions=3)


def test_the_topic_of_transactions_is_made_anew(made: Stream) -> None:
    """Its positions begin at 0 again: the books of both are kept, and every letter."""
    for first in (0, 20):
        made.put(b"broken", *many(first + 30)[first:], partition=0)
        _classify(made)
        assert _connect(made).exit_code == 0
        _make_anew(made, made.topic)
    _grow_old(made)
    books = _reconciled(made)
    assert books["on_the_way"] == []
    assert (books["delivered"], books["classified"]) == (60, 60 + 50)
    letters = made.system.query("SELECT partition, position FROM dead_letters")
    assert letters == [("0", 0), ("0", 0)]


def test_predictions_that_are_gone_are_accepted(made: Stream) -> None:
    """They were classified and never come here, which is no difference any more."""
    predictions = f"{made.name}-predictions"
    accept = ("stream", "accept-gap", "--topic", predictions)
    made.put(*many(30), partition=0)
    _classify(made)
    assert _connect(made).exit_code == 0
    made.put(*many(60)[30:], partition=0)
    _classify(made)
    (end, *_) = topics.ends(made.servers, predictions)
    cut(made, predictions, 0, end)
    done = _connect(made)
    assert done.exit_code == 78
    assert " ".join(("assay", *accept)) in done.errors
    assert made.run(*accept).exit_code == 0
    done = _connect(made)
    assert done.exit_code == 0, done.errors
    came = 30 + done.summary["read"]
    assert 30 < came < 60
    _grow_old(made)
    books = _reconciled(made)
    assert (books["delivered"], books["on_the_way"]) == (came, [])
    # More than what the gap can have held is missing.
    made.system.query("DELETE FROM predictions RETURNING 1")
    made.system.query("DELETE FROM transactions RETURNING 1")
    made.system.query(
        "DELETE FROM ledger WHERE source = %s AND read > 0 RETURNING 1", f"kafka/{predictions}"
    )
    found = made.system.run("reconcile", "--json").summary["differences"]
    assert [each["found"] for each in found if "predictions of a" in each["what"]] == [0]


def test_the_topic_of_predictions_is_made_anew(made: Stream) -> None:
    """What was not read by then is given up; what comes after that is held against the ledger."""
    predictions = f"{made.name}-predictions"
    made.put(*many(30), partition=0)
    _classify(made)
    assert _connect(made).exit_code == 0
    made.put(*many(40)[30:], partition=0)
    _classify(made)
    _make_anew(made, predictions)
    made.put(*many(60)[40:], partition=0)
    _classify(made)
    assert _connect(made).exit_code == 78
    assert made.run("stream", "accept-gap", "--topic", predictions).exit_code == 0
    assert _connect(made).summary["read"] == 20
    _grow_old(made)
    books = _reconciled(made)
    assert (books["delivered"], books["on_the_way"]) == (50, [])
