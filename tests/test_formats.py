"""Transactions and predictions in Avro and Protobuf, on real servers, from topic to tables."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from streams import Stream, many, record, until

from assay_adapters.schema_registry.config import SchemaRegistryConfig
from assay_adapters.schema_registry.formats import Format, Kind
from assay_adapters.schema_registry.registry import SchemaRegistry
from assay_local import Local

_IDLE = ("--until-idle", "0.3", "--reject-limit", "1")
_BROKEN = b"\0\xff\xff\xff\xff\0"  # of a schema that nobody has


@pytest.fixture
def schemas(local: Local, stream: Stream) -> Iterator[SchemaRegistry]:
    """A registry, which the stream's commands know."""
    stream.system.environment |= local.apicurio.settings
    url = local.apicurio.settings["ASSAY_SCHEMA_REGISTRY__URL"]
    made = SchemaRegistry(SchemaRegistryConfig.model_validate({"url": url}))
    yield made
    made.close()


@pytest.fixture(params=["avro", "protobuf"])
def form(request: pytest.FixtureRequest, stream: Stream) -> Format:
    """The format of both topics."""
    stream.system.environment["ASSAY_STREAM__FORMAT"] = request.param
    return request.param


def _framed(schemas: SchemaRegistry, stream: Stream, form: Format, *values: bytes) -> list[bytes]:
    kind: Kind = "transaction"
    return schemas.frame(kind, form, stream.topic)(values)


def _read(schemas: SchemaRegistry, stream: Stream, suffix: str) -> list[dict[str, Any]]:
    """What is on a topic, none of it in JSON."""
    found = schemas.unframe([each.value() or b"" for each in stream.on(suffix)])
    return [json.loads(each) for each in found]


def test_from_topic_to_tables(stream: Stream, schemas: SchemaRegistry, form: Format) -> None:
    """By the classifier and a connector; the books balance, and letters keep what was read."""
    made = stream.run("stream", "topics")
    assert made.exit_code == 0, made.errors
    assert stream.run("stream", "topics").exit_code == 0
    records = many(300)
    nameless = record("t-1", currency=None)
    stream.put(*_framed(schemas, stream, form, *records[:200], nameless), _BROKEN)
    stream.put(*records[200:], partition=0)  # JSON stands beside them
    done = stream.run("stream", "classify", *_IDLE)
    assert (done.summary["classified"], done.summary["rejected"]) == (300, 2), done.errors
    letters = {each.value() for each in stream.on("dead")}
    assert letters == {_BROKEN, *_framed(schemas, stream, form, nameless)}
    found = _read(schemas, stream, "predictions")
    assert len(found) == 300
    assert sum(each["origin"]["record"] is None for each in found) <= 200

    done = stream.run("connect", "postgres", *_IDLE)
    assert (done.exit_code, done.summary["classified"]) == (0, 300), done.errors
    assert stream.balances()


def test_letters_are_tried_again(stream: Stream, schemas: SchemaRegistry, form: Format) -> None:
    """A consumer's rejects, once somebody has said what they lack."""
    stream.make()
    stream.put(*_framed(schemas, stream, form, record("t-1", currency=None), record("t-2")))
    stream.put(_BROKEN)
    assert stream.consume().summary["rejected"] == 2
    done = stream.run(
        *("dead-letters", "redrive", "--by", "ann", "--code", "missing_currency"),
        *("--edit", "currency=EUR"),
    )
    assert (done.exit_code, done.summary["classified"]) == (0, 1), done.errors
    codes = stream.system.query("SELECT code FROM dead_letters WHERE state = 'open'")
    assert codes == [("unknown_schema",)]
    done = stream.run("stream", "dead-letters", "--once", "--retry-delay", "0")
    assert done.exit_code == 0, done.errors
    assert stream.balances()


@pytest.mark.usefixtures("form")
def test_producers_write_it(stream: Stream, schemas: SchemaRegistry) -> None:
    """Invented transactions and those of files; what is broken on purpose stays as it was."""
    stream.make()
    produce = ("stream", "produce", "--rate", "max", "--records", "200", "--seed", "1")
    assert stream.run(*produce).exit_code == 0
    assert len(_read(schemas, stream, "in")) == 200
    assert stream.run(*produce, "--faults", "0.2").exit_code == 0
    assert len(stream.on("in")) > 300


def test_a_registry_that_is_away_is_waited_for(
    stream: Stream, schemas: SchemaRegistry, local: Local
) -> None:
    """Nothing becomes a dead letter; it goes on by itself."""
    stream.system.environment["ASSAY_STREAM__FORMAT"] = "avro"
    stream.make()
    stream.put(*_framed(schemas, stream, "avro", *many(50)))
    local.apicurio.kill()
    try:
        running = stream.system.fork("stream", "consume", "--instance-id", "only")
        until(lambda: "waiting for the schema registry" in running.err.read_text(), 60)
        assert running.process.is_alive()
    finally:
        local.apicurio.start()
    until(lambda: stream.system.query("SELECT count(*) FROM transactions") == [(50,)], 60)
    running.process.terminate()
    done = running.end()
    assert (done.exit_code, done.summary["rejected"]) == (0, 0), done.errors


def test_a_format_without_a_registry(stream: Stream) -> None:
    """It is said which setting is missing, before anything is read."""
    for words in (("stream", "topics"), ("stream", "classify"), ("stream", "produce")):
        done = stream.run(*words, ASSAY_STREAM__FORMAT="avro")
        assert done.exit_code == 78
        assert "set ASSAY_SCHEMA_REGISTRY__URL" in done.errors, words


@pytest.mark.usefixtures("schemas")
def test_predictions_are_not_refused_for_want_of_a_registry(stream: Stream) -> None:
    """They are Assay's own: a connector says what to set, and puts nothing aside."""
    registry = {"ASSAY_STREAM__FORMAT": "avro"}
    assert stream.run("stream", "topics", **registry).exit_code == 0
    stream.put(record("t-1"))
    classify = ("stream", "classify", "--until-idle", "0.3")
    assert stream.run(*classify, **registry).summary["classified"] == 1
    del stream.system.environment["ASSAY_SCHEMA_REGISTRY__URL"]
    done = stream.run("connect", "postgres", "--until-idle", "0.3")
    assert (done.exit_code, done.summary["rejected"]) == (78, 0)
    assert "set ASSAY_SCHEMA_REGISTRY__URL" in " ".join(done.errors.split())


def test_schemas_that_are_not_registered(stream: Stream, schemas: SchemaRegistry) -> None:
    """A classifier ends with what to do; nothing is lost, and what it had begun is taken back."""
    stream.make()
    stream.put(record("t-1"))
    done = stream.run("stream", "classify", *_IDLE, ASSAY_STREAM__FORMAT="avro")
    assert done.exit_code == 78
    assert "`assay stream topics` registers it" in done.errors
    assert stream.run("stream", "topics", ASSAY_STREAM__FORMAT="avro").exit_code == 0
    done = stream.run("stream", "classify", *_IDLE, ASSAY_STREAM__FORMAT="avro")
    assert (done.exit_code, done.summary["classified"]) == (0, 1), done.errors
    (found,) = _read(schemas, stream, "predictions")
    assert found["transaction_id"] == "t-1"
