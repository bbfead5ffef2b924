"""Traces, over the wire: from a producer through Kafka's headers to the API and the commit."""

import json
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from collector import Collector, Span, collector
from demo.samples import HEADER
from streams import Stream, record, until

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
"""Kinds of spans, as OTLP numbers them."""


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as found:
        yield found


@contextmanager
def model_api(environment: Mapping[str, str]) -> Generator[str]:
    """The model API as a process; its address."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "assay_ml_api"],
        env={**environment, "ASSAY_SERVER__PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said: dict[str, Any] = {}
        while said.get("event") != "listening":
            said = json.loads(process.stderr.readline())
        yield f"http://127.0.0.1:{said['port']}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def messages(stream: Stream, suffix: str) -> list[list[tuple[str, bytes]]]:
    """The headers of what is on a topic."""
    found: list[Any] = [each.headers() or [] for each in stream.on(suffix)]
    return found


@pytest.fixture
def followed(stream: Stream, collected: Collector) -> list[Span]:
    """What is told of a producer and a consumer of fifty records."""
    stream.make()
    made = stream.run("stream", "produce", "--records", "50", **collected.environment)
    assert made.exit_code == 0, made.errors
    environment = {**stream.system.environment, **collected.environment}
    with model_api(environment) as url:
        done = stream.run(
            "stream", "consume", "--until-idle", "0.3", **collected.environment, ASSAY_API__URL=url
        )
    assert (done.exit_code, done.summary["classified"]) == (0, 50), done.errors
    assert done.summary["run_id"]
    return collected.spans


def test_one_trace_goes_from_the_producer_to_the_commit(
    stream: Stream, followed: list[Span], collected: Collector
) -> None:
    """A chunk is linked to who has sent its messages; the API is a part of it, and the commit."""
    sent = collected.named("assay-produce")
    assert {(each.name, each.kind) for each in sent} == {(f"send {stream.topic}", PRODUCER)}
    assert sum(each.attributes["messaging.batch.message_count"] for each in sent) == 50
    chunks = collected.named("assay-consume", f"process {stream.topic}")
    assert {each.kind for each in chunks} == {CONSUMER}
    assert {each.parent for each in (*sent, *chunks)} == {""}
    assert {link for each in chunks for link in each.links} == {each.id for each in sent}
    assert not {each.trace for each in sent} & {each.trace for each in chunks}
    assert sum(each.attributes["assay.classified"] for each in chunks) == 50
    for chunk in chunks:
        inside = {each.name: each for each in followed if each.parent == chunk.id}
        assert inside.keys() == {"read", "decode", "classify", "commit"}
        assert {each.trace for each in inside.values()} == {chunk.trace}
        assert inside["commit"].kind == CLIENT
        assert inside["commit"].attributes["db.system.name"] == "postgresql"
        (served,) = (each for each in followed if each.parent == inside["classify"].id)
        assert (served.service, served.name) == ("assay-ml-api", "POST /predict")
        assert (served.kind, served.trace) == (SERVER, chunk.trace)
        assert served.attributes["http.response.status_code"] == 200
        parts = {each.name for each in followed if each.parent == served.id}
        assert parts == {"read", "predict"}
        assert served.seconds <= inside["classify"].seconds <= chunk.seconds


def test_one_message_of_what_is_sent_at_once_carries_the_header(
    stream: Stream, followed: list[Span], collected: Collector
) -> None:
    """The others have none, and nothing of a record is in a span."""
    found = [each for each in messages(stream, "in") if each]
    assert len(found) == len(collected.named("assay-produce"))
    assert {name for each in found for name, _ in each} == {"traceparent"}
    known = {each.decode() for record in stream.on("in") if (each := record.key())}
    texts = {each["description"] for each in stream.values("in")}
    told = repr(followed)
    assert not [each for each in known | texts if each in told]


def test_a_classifier_hands_the_trace_on(stream: Stream, collected: Collector) -> None:
    """One prediction of a chunk carries what it was sent in, and a connector is linked to that."""
    stream.make()
    stream.put(*(record(f"t-{number}") for number in range(20)))
    idle = ("--until-idle", "0.3")
    assert stream.run("stream", "classify", *idle, **collected.environment).exit_code == 0
    sent = collected.named("assay-classify", f"send {stream.name}-predictions")
    commits = {each.id: each for each in collected.named("assay-classify", "commit")}
    assert {each.parent for each in sent} <= commits.keys()
    assert {each.attributes["messaging.system"] for each in commits.values()} == {"kafka"}
    assert sum(each.attributes["messaging.batch.message_count"] for each in sent) == 20
    assert len([each for each in messages(stream, "predictions") if each]) == len(sent) > 0
    done = stream.run("connect", "postgres", *idle, **collected.environment)
    assert (done.exit_code, done.summary["classified"]) == (0, 20), done.errors
    chunks = collected.named("assay-connect-postgres", f"process {stream.name}-predictions")
    assert {link for each in chunks for link in each.links} == {each.id for each in sent}


def test_a_batch_run_is_followed_and_its_log_lines_name_it(
    stream: Stream, collected: Collector
) -> None:
    """Each chunk by its file's range; each line of the log says the run."""
    system = stream.system
    system.put("in.csv", f"{HEADER}\n1;A SHOP;1,00;2026-01-02 10:11:12;;payment;neither".encode())
    done = system.batch(system.uri("in.csv"), **collected.environment)
    assert done.exit_code == 0
    lines = [json.loads(each) for each in done.errors.splitlines() if each.startswith("{")]
    assert {each["run_id"] for each in lines} == {done.summary["run_id"]}
    chunks = [each for each in collected.named("assay-batch") if each.name.startswith("process ")]
    assert {each.attributes["assay.run_id"] for each in chunks} == {done.summary["run_id"]}
    assert sum(each.attributes["assay.rejected"] for each in chunks) == 1


def test_off_it_is_not_there(stream: Stream) -> None:
    """No header, and nothing of OpenTelemetry is imported."""
    stream.make()
    assert stream.run("stream", "produce", "--records", "5").exit_code == 0
    assert not any(messages(stream, "in"))
    for module, unwanted in (
        ("assay_streaming.bootstrap.fan_out", "opentelemetry"),
        ("assay_batch.bootstrap", "opentelemetry"),
        ("assay_cli.bootstrap.rescore", "opentelemetry"),
        ("assay_ml_api.bootstrap", "opentelemetry.sdk"),  # FastAPI looks for the API by itself
    ):
        code = (
            f"import sys, {module}\n"
            "from assay_adapters.otel.config import OtelConfig\n"
            "from assay_adapters.otel.start import tracing\n"
            "with tracing(OtelConfig(), 'x') as traced: assert traced.tracer is None\n"
            f"print([each for each in sys.modules if each.startswith('{unwanted}')])"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == "[]"


def test_without_its_packages_it_says_what_to_install(stream: Stream) -> None:
    """Exit 78, before anything is read."""
    code = (
        "import sys\n"
        "sys.modules['opentelemetry.exporter'] = None\n"
        "sys.argv = ['assay-streaming', 'produce', '--records', '1']\n"
        "from assay_streaming.cli import main\n"
        "main()\n"
    )
    stream.make()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**stream.system.environment, "ASSAY_OTEL__TRACES": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "pip install 'assay-adapters[otel]'" in done.stderr


def test_a_collector_that_is_away_holds_nobody_up(stream: Stream) -> None:
    """All is done, the end waits a moment, and one line says why there are no traces."""
    nowhere = {
        "ASSAY_OTEL__TRACES": "true",
        "OTEL_TRACES_SAMPLER_ARG": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    stream.make()
    stream.put(*(record(f"t-{number}") for number in range(200)))
    few = {"ASSAY_STREAM__CHUNK_RECORDS": "10"}
    done = stream.run("stream", "consume", "--until-idle", "0.3", **nowhere, **few)
    assert (done.exit_code, done.summary["classified"]) == (0, 200), done.errors
    assert done.summary["seconds"] < 20
    assert done.errors.count("no collector takes the traces") == 1
    assert "Transient" not in done.errors
    assert "urllib3" not in done.errors
    until(stream.balances)
