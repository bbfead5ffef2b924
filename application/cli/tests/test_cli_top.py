"""`assay top`: what running services say, computed and drawn."""

import json
import os
import platform
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from sqlalchemy import Engine, text

from assay.domain import metrics
from assay_adapters.postgres.runs import end_run, start_run
from assay_adapters.prometheus.meter import CONTENT_TYPE, PrometheusMeter
from assay_adapters.status.server import served
from assay_cli.picture import Picture, drawn
from assay_cli.services import Named, Reading, Service, distinct, lags, named, reading, unread
from assay_cli.services import facts as facts_of

Assay = Callable[..., subprocess.CompletedProcess[str]]

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def at(seconds: float, classified: float = 0, rejected: float = 0, **facts: Any) -> Reading:
    samples = [
        ("assay_records_total", {"pipeline": "stream", "door": "classified"}, classified),
        ("assay_records_total", {"pipeline": "stream", "door": "rejected"}, rejected),
        *(
            ("assay_lag_records", {"pipeline": "stream", "partition": each}, 7_654_321.0)
            for each in facts.get("partitions", ())
        ),
        *((name, {"pipeline": "stream"}, value) for name, value in facts.pop("pace", {}).items()),
    ]
    return reading(seconds, samples, facts, is_ready=True)


def pace(records: int, under_way: int) -> dict[str, float]:
    """What a consumer tells of how much it takes on at a time."""
    return {
        "assay_chunk_records_limit": records,
        "assay_call_records_limit": records,
        "assay_classifier_calls_limit": 3,
        "assay_classifier_calls": under_way,
    }


def service(url: str = "http://127.0.0.1:9400", **about: Any) -> Service:
    return Service(Named(url, "stream", "kafka/transactions", "here", **about))


def row(url: str, host: str) -> dict[str, Any]:
    return {
        "run_id": "r",
        "kind": "stream",
        "source": "kafka/t",
        "host": host,
        "status_url": url,
        "age": 5.0,
    }


# ---------------------------------------------------------------- what is computed


def test_rates_are_taken_over_some_seconds() -> None:
    """A gust of one chunk does not make the rate jump; what is long ago does not count."""
    looked = service()
    looked.heard(at(0))
    assert looked.rates() is None
    for second in range(1, 11):
        looked.heard(at(second, classified=100 * (second // 2), rejected=second))
    rates = looked.rates()
    assert rates is not None
    assert rates["rejected"] == 1
    assert 40 <= rates["classified"] <= 60
    for second in range(11, 20):
        looked.heard(at(second, classified=500, rejected=10))
    rates = looked.rates()
    assert rates is not None
    assert rates["classified"] == rates["rejected"] == 0


def test_another_process_at_the_same_address_begins_anew() -> None:
    """A counter that falls makes no negative rate."""
    looked = service()
    looked.heard(at(0, classified=900))
    looked.heard(at(1, classified=1_000))
    looked.heard(at(2, classified=10))
    assert looked.rates() is None
    looked.heard(at(3, classified=30))
    rates = looked.rates()
    assert rates is not None
    assert rates["classified"] == 20


def test_one_that_answers_no_more_is_mourned_and_left_out() -> None:
    """It is silent for a minute; one that never answered is left out when it is old."""
    looked = service(age=1_000)
    looked.heard(at(100, classified=1))
    looked.missed()
    assert (looked.state, looked.rates()) == ("silent", None)
    assert not looked.is_gone(150)
    assert looked.is_gone(161)
    looked.heard(at(170, classified=2))
    assert not looked.is_gone(500)
    young, old = service(age=10), service(age=1_000)
    young.missed()
    old.missed()
    assert (young.is_gone(0), old.is_gone(0)) == (False, True)
    by_address = Service(Named("http://127.0.0.1:1"))
    by_address.heard(at(100, classified=1))
    by_address.missed()
    assert (by_address.state, by_address.is_gone(10_000)) == ("silent", False)


@pytest.mark.parametrize(
    ("facts", "is_ready", "state"),
    [
        ({"away": [], "stopping": False}, True, "ready"),
        ({"away": [], "stopping": False}, False, "starting"),
        ({"away": ["classifier"], "stopping": False}, False, "waiting"),
        ({"away": ["classifier"], "stopping": True}, False, "stopping"),
        ({"away": "what is this", "partitions": {}}, True, "ready"),
    ],
)
def test_states_are_told_apart(facts: Mapping[str, Any], is_ready: bool, state: str) -> None:  # noqa: FBT001 - a case
    """Readiness and what explains it make one word."""
    looked = service()
    looked.heard(reading(0, [], facts, is_ready=is_ready))
    assert looked.state == state


def test_what_the_dead_letter_service_publishes_is_shown() -> None:
    """Its letters are no records of a door."""
    looked = service()
    for second in (0, 2):
        samples = [
            ("assay_letters_published_total", {"destination": "kafka:a"}, 1_000.0 * second),
            ("assay_letters_waiting", {"destination": "kafka:a"}, 17.0),
            ("assay_letters_waiting", {"destination": "kafka:b"}, 3.0),
        ]
        looked.heard(reading(second, samples, {"waiting": 20}, is_ready=True))
    told = facts_of(looked)
    assert (told["published"], told["publish_rate"]) == (2_000, 1_000)
    assert told["waiting"] == {"kafka:a": 17, "kafka:b": 3}
    console = Console(width=80, file=StringIO())
    console.print(drawn(Picture(NOON, [looked], None, 0, [])))
    shown = cast(StringIO, console.file).getvalue()
    assert "stream :9400: 2,000 letters published (1,000/s), 20 wait" in shown


def test_the_partitions_of_a_silent_service_are_not_forgotten() -> None:
    """They are read by nobody, until somebody else has them."""
    killed, other = service("http://127.0.0.1:1"), service("http://127.0.0.1:2")
    killed.heard(at(0, partitions=["0", "10", "2"]))
    other.heard(at(0, partitions=["1"]))
    killed.missed()
    found = [(each.partition, each.url) for each in lags([killed, other])]
    assert found == [("0", None), ("1", "http://127.0.0.1:2"), ("2", None), ("10", None)]
    other.heard(at(1, partitions=["0", "1"]))
    assert lags([other, killed])[0].url == "http://127.0.0.1:2"


def test_partitions_without_a_consumer_are_named() -> None:
    """As far as the numbers of the others tell, and where all services are looked at."""
    one, other = service("http://127.0.0.1:1"), service("http://127.0.0.1:2")
    one.heard(at(0, partitions=["1"]))
    other.heard(at(0, partitions=["3"]))
    console = Console(width=80, file=StringIO())
    console.print(drawn(Picture(NOON, [one, other], None, 0, [])))
    shown = cast(StringIO, console.file).getvalue().splitlines()
    assert "transactions: partitions 0, 2: no consumer is seen" in shown
    assert any(line.endswith("to come, of the partitions that consumers own") for line in shown)
    one.named = other.named = Named("http://127.0.0.1:1")
    assert unread([one, other]) == {}


def test_addresses_are_those_that_can_be_asked_from_here() -> None:
    """A service that listens everywhere is found by its machine.

    One that listens to another machine only is not asked for here: somebody else would answer.
    """
    asked = [
        named(row("http://0.0.0.0:9400", "here"), "here"),
        named(row("http://0.0.0.0:9400", "there"), "here"),
        named(row("http://127.0.0.1:9400", "there"), "here"),
        named(row("http://[::]:9400", "fe80::1"), "here"),
        named(row("http://web-1:9400", "there"), "here"),
    ]
    assert [each and each.url for each in asked] == [
        "http://127.0.0.1:9400",
        "http://there:9400",
        None,
        "http://[fe80::1]:9400",
        "http://web-1:9400",
    ]
    first, again = Named("http://127.0.0.1:1", run_id="new"), Named("http://127.0.0.1:1")
    assert distinct([first, again]) == [first]


@pytest.mark.parametrize(("services", "partitions"), [(0, 0), (1, 1), (2, 3), (6, 12)])
def test_the_picture_fits_a_terminal_of_80_columns(services: int, partitions: int) -> None:
    """Up to six services and twelve partitions: no line is longer, no number is cut."""
    shown: list[Service] = []
    for number in range(services):
        each = service(f"http://10.0.0.{number}:4000{number}")
        owned = [str(one) for one in range(partitions) if one % services == number]
        for second in (0, 5):
            facts = {
                "partitions": owned,
                "away": ["classifier"] * (number == 1),
                "pace": pace(50_000, number % 4),
            }
            each.heard(at(second, 12_345_678 * second, 2_345 * second, **facts))
        shown.append(each)
    letters = {"open": 1_234, "closed": 5, "discarded": 0}
    console = Console(width=80, file=StringIO())
    console.print(drawn(Picture(NOON, shown, letters, 1, ["PostgreSQL is away"])))
    lines = cast(StringIO, console.file).getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert sum("61,728,390" in line for line in lines) == services
    assert sum(line.count("7,654,321 ") for line in lines if "to come" not in line) == partitions
    assert "dead letters: 1,234 open, 5 closed, 0 discarded" in lines
    assert len(lines) <= 24


def test_how_much_is_taken_on_at_a_time_is_shown() -> None:
    """Once for those that take the same, beside those that take less; not of what is silent."""
    shown = [service(f"http://127.0.0.1:{port}") for port in (1, 2, 3, 4)]
    for each, records in zip(shown, (50_000, 50_000, 1_500, 700), strict=True):
        each.heard(at(0, pace=pace(records, 2)))
    shown[3].missed()

    def lines(services: list[Service]) -> list[str]:
        console = Console(width=80, file=StringIO())
        console.print(drawn(Picture(NOON, services, None, 0, [])))
        found = cast(StringIO, console.file).getvalue().splitlines()
        return [line.rstrip() for line in found if "chunks up to" in line]

    most = "chunks up to 50,000 records, calls up to 50,000; 4 of 6 calls under way"
    assert lines(shown[:2]) == [most]
    several = lines(shown)
    assert len(several) == 2
    assert several[0].startswith("stream :1, stream :2: chunks up to 50,000 records, calls")
    assert several[1].startswith("stream :3: chunks up to 1,500 records, calls up to 1,500; 2 of 3")
    assert facts_of(shown[2])["pace"] == {
        "chunk_records": 1_500,
        "call_records": 1_500,
        "calls": 3,
        "calls_under_way": 2,
    }


def test_a_lag_is_not_known_while_kafka_is_away() -> None:
    """What it was before says nothing of now."""
    each = service()
    each.heard(at(0, partitions=["0"], away=["source"]))
    console = Console(width=80, file=StringIO())
    console.print(drawn(Picture(NOON, [each], None, 0, [])))
    shown = cast(StringIO, console.file).getvalue()
    assert [line.split() for line in shown.splitlines() if line.startswith("0 ")] == [
        ["0", "?", ":9400"]
    ]
    assert "to come" not in shown
    assert facts_of(each)["lags"] == {"0": None}


def test_the_picture_says_what_letters_wait_for() -> None:
    """Any of three may be away; a narrow terminal folds the line between words.

    What letters are read from is PostgreSQL.
    """
    each = Service(Named("http://127.0.0.1:9400", "letters", None, "here"))
    each.heard(at(0, away=["relay", "source"], waiting=3))
    console = Console(width=80, file=StringIO())
    console.print(drawn(Picture(NOON, [each], None, 0, [])))
    shown = " ".join(cast(StringIO, console.file).getvalue().split())
    assert "letters wait: the topic, Kafka or PostgreSQL is away, asked again" in shown
    assert "letters :9400: PostgreSQL is away, asked again" in shown


# ---------------------------------------------------------------- the command


@pytest.fixture
def serving() -> Iterator[str]:
    """A service that classifies a thousand records a second, and waits for the model."""
    meter = PrometheusMeter()
    began = time.monotonic()
    told = 0

    def exposed() -> bytes:
        nonlocal told
        due = int(1_000 * (time.monotonic() - began))
        meter.add(metrics.RECORDS, due - told, pipeline="stream", door="classified")
        told = due
        meter.set(metrics.LAG, 7, pipeline="stream", partition="2")
        meter.set(metrics.BREAKER_OPEN, 1, pipeline="stream", dependency="classifier")
        return meter.exposition()

    facts = {"partitions": ["2"], "lag": 7, "away": ["classifier"], "stopping": False}
    with served(
        "127.0.0.1",
        0,
        alive=lambda: (True, {}),
        ready=lambda: (False, facts),
        metrics=exposed,
        metrics_type=CONTENT_TYPE,
    ) as url:
        yield url


def test_services_are_found_in_the_runs(
    assay: Assay, books: Engine, serving: str, silent: str
) -> None:
    """Those that run are shown with rates; one that was killed is left out, days later silently."""
    about = {"kind": "stream", "source": "kafka/transactions", "version": "1"}
    start_run(books, "lives", status_url=serving, **about)
    start_run(books, "killed", status_url=f"http://{silent}", **about)
    start_run(books, "forgotten", status_url="http://127.0.0.1:2", **about)
    start_run(books, "ended", status_url="http://127.0.0.1:1", **about)
    end_run(books, "ended", status="stopped", summary={})
    with books.begin() as connection:
        for run, age in (("killed", "1 hour"), ("forgotten", "2 days")):
            connection.execute(
                text(
                    "UPDATE runs SET started_at = now() - CAST(:age AS interval)"
                    " WHERE run_id = :run"
                ),
                {"age": age, "run": run},
            )
    ended = assay("top", "--once", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    (shown,) = found["services"]
    assert (shown["run_id"], shown["state"]) == ("lives", "waiting")
    assert (shown["host"], shown["breakers_open"]) == (platform.node(), ["classifier"])
    assert 500 < shown["rates"]["classified"] < 2_000
    lag = {"source": "kafka/transactions", "partition": "2", "lag": 7, "url": serving}
    assert found["lag"] == [lag]
    assert found["letters"] == {"open": 3, "closed": 0, "discarded": 0}
    assert found["left_out"] == 1


def test_exit_codes_say_whether_anything_was_to_be_seen(
    assay: Assay, engine: Engine, silent: str, serving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """99 where none runs, 75 where none answers or PostgreSQL is away, 78 for what is no address.

    With addresses no PostgreSQL is needed.
    """
    assert assay("top").returncode == 99
    start_run(engine, "new", kind="stream", source="s", version="1", status_url=f"http://{silent}")
    ended = assay("top", "--once")
    assert (ended.returncode, "silent" in ended.stdout) == (75, True)
    assert assay("top", "--url", "127.0.0.1:9400").returncode == 78
    monkeypatch.setenv("ASSAY_POSTGRES__URL", "postgresql://assay@127.0.0.1:1/assay")
    assert assay("top").returncode == 75
    ended = assay("top", "--url", f"{serving}/", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["letters"]) == (0, None)
    monkeypatch.delenv("ASSAY_POSTGRES__URL")
    assert assay("top", "--url", serving).returncode == 0


def test_what_is_no_streaming_service_is_said_to_be_none(assay: Assay) -> None:
    """The model API answers for its health as well; it is no row of zeros."""
    with served(
        "127.0.0.1",
        0,
        alive=lambda: (True, {}),
        ready=lambda: (True, {"status": "ok"}),
        metrics=lambda: b"",
        metrics_type=CONTENT_TYPE,
    ) as url:
        ended = assay("top", "--once", "--url", url)
    assert ended.returncode == 75
    assert f"{url} is no streaming service" in ended.stdout


def test_on_a_terminal_it_goes_on_until_it_is_ended(serving: str) -> None:
    """The picture changes by itself; Ctrl-C leaves the terminal as it was, with 0."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("assay")), "top", "--url", serving],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(terminal)
    seen = b""

    def read(until: Callable[[], bool]) -> None:
        nonlocal seen
        deadline = time.monotonic() + 60
        with suppress(OSError):  # its other end is closed
            while not until() and time.monotonic() < deadline:
                if select.select([main], [], [], 0.1)[0]:
                    seen += os.read(main, 65_536)

    try:
        read(lambda: seen.count(b"assay top") >= 2)
        assert seen.count(b"assay top") >= 2, seen
        process.send_signal(signal.SIGINT)
        read(lambda: process.poll() is not None)
        assert process.wait(10) == 0
        assert b"breaker open" in seen
        assert seen.rstrip().endswith(b"\x1b[?1049l")
    finally:
        process.kill()
        process.wait()
        os.close(main)
