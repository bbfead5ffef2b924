"""A time series database as a target: QuestDB itself, and a server in the place of others."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from answering import Reply, Server

from assay.domain.errors import Fatal, Unavailable
from assay.testing.frames import outcome, together, transaction
from assay_adapters.series.config import SeriesConfig
from assay_adapters.series.target import SeriesTarget
from assay_local import Local

_NOON = datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)


Open = Callable[..., SeriesTarget]


@pytest.fixture
def opened(server: Server) -> Iterator[Open]:
    """Opens targets on a server that answers as it is told, closed at the end."""
    with ExitStack() as stack:

        def target(kind: str, path: str = "/write", **settings: Any) -> SeriesTarget:
            given = {"url": server.url + path, "kind": kind} | settings
            now = (_NOON + timedelta(days=60)).timestamp
            made = SeriesTarget(SeriesConfig.model_validate(given), now=now)
            stack.callback(made.close)
            return made

        yield target


class Place:
    """A table of its own in QuestDB."""

    def __init__(self, url: str) -> None:
        self.base = url.removesuffix("/write")
        self.config = SeriesConfig.model_validate(
            {"url": url, "kind": "questdb", "measurement": f"t_{uuid4().hex}"}
        )
        self.target = SeriesTarget(self.config)

    def rows(self, query: str, least: int = 1) -> list[list[Any]]:
        """What a query finds, once it finds so many rows: QuestDB shows lines a moment later."""
        until = time.monotonic() + 20
        while True:
            text = query.format(f'"{self.config.measurement}"')
            answer = httpx.get(f"{self.base}/exec", params={"query": text})
            assert answer.is_success, answer.text
            if len(found := answer.json()["dataset"]) >= least:
                return found
            assert time.monotonic() < until, found
            time.sleep(0.05)

    def counts(self, total: int) -> dict[str, int]:
        """Records by category, once there are so many; none is added within a moment after that."""
        until, found = time.monotonic() + 20, dict[str, int]()
        while sum(found.values()) != total:
            assert time.monotonic() < until, found
            found = {
                name: int(count)
                for name, count in self.rows("SELECT category, sum(count) FROM {}", 0)
            }
        return found


@pytest.fixture
def place(local: Local) -> Iterator[Place]:
    """One on QuestDB, not made yet."""
    local.questdb.start()
    made = Place(local.questdb.settings["ASSAY_SERIES__URL"])
    yield made
    made.target.close()


def test_records_are_counted_and_summed_by_category_and_minute(place: Place) -> None:
    """And by currency and side, since amounts of others cannot be added."""
    rows = [
        transaction("a", timestamp=_NOON, amount=Decimal("1.50"), confidence=0.5),
        transaction("b", timestamp=_NOON + timedelta(seconds=50), amount=Decimal("2.25")),
        transaction("c", timestamp=_NOON + timedelta(minutes=1)),
        transaction("d", timestamp=_NOON, category="Home, sweet = home"),
        transaction("e", timestamp=_NOON, currency="CHF"),
    ]
    assert place.target.deliver(outcome(rows)).is_empty()
    query = (
        "SELECT category, currency, timestamp_floor('m', timestamp) AS minute, sum(count),"
        " sum(amount) FROM {} ORDER BY category, currency, minute"
    )
    found = place.rows(query, 4)
    assert [(row[0], row[1], row[2][11:16], row[3]) for row in found] == [
        ("Food", "CHF", "12:00", 1),
        ("Food", "EUR", "12:00", 2),
        ("Food", "EUR", "12:01", 1),
        ("Home, sweet = home", "EUR", "12:00", 1),
    ]
    assert found[1][4] == 3.75


def test_what_comes_again_counts_once(place: Place) -> None:
    """A range is told by where it begins; what comes later in the same minute is added to it."""
    first = outcome(["a", "b"])
    place.target.deliver(first)
    place.target.deliver(first)
    place.target.deliver(together(first, outcome(["c"], partition="transactions/1")))
    place.target.deliver(outcome(["d"], first=2))
    assert place.counts(4) == {"Food": 4}
    time.sleep(1)
    assert place.counts(4) == {"Food": 4}


def test_what_is_late_is_added_to_its_minute(place: Place) -> None:
    """However late."""
    place.target.deliver(outcome([transaction("a", timestamp=_NOON)]))
    place.target.deliver(outcome([transaction("b", timestamp=_NOON + timedelta(days=30))], first=1))
    place.target.deliver(outcome([transaction("c", timestamp=_NOON)], first=2))
    query = "SELECT timestamp_floor('d', timestamp) AS day, sum(count) FROM {} ORDER BY day"
    until = time.monotonic() + 20
    while [row[1] for row in place.rows(query)] != [2, 1]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_rejects_and_what_has_left_do_not_count(place: Place) -> None:
    """They leave by other doors."""
    both = together(outcome(["a"]), outcome(["b"], partition="transactions/1"))
    place.target.deliver(both.without(["transactions/0"]))
    place.target.deliver(outcome(["c"], first=9, rejected=["x"]))
    assert place.counts(2) == {"Food": 2}


def test_what_is_not_kept_becomes_a_reject(server: Server, opened: Open) -> None:
    """By its time, or since its category has no place in a line."""
    target = opened("influxdb", keep_days=30)
    rows = [
        transaction("old", timestamp=_NOON),
        transaction("new", timestamp=_NOON + timedelta(days=59)),
        transaction("odd", timestamp=_NOON + timedelta(days=59), category="two\nlines"),
    ]
    refused = target.deliver(outcome(rows))
    assert refused["transaction_id"].to_list() == ["old", "odd"]
    assert set(refused["code"]) == {"target_refused"}
    (asked,) = server.questions
    assert len(asked.body.splitlines()) == 1


def test_influxdb_is_spoken_as_well(server: Server, opened: Open) -> None:
    """One line a point, at its minute and as many nanoseconds as its range begins at."""
    target = opened("influxdb", "/api/v2/write?org=o&bucket=b", token="t")
    row = transaction("a", timestamp=_NOON, category="a b", amount=Decimal("1.50"), confidence=0.5)
    target.deliver(outcome([row], first=7))
    (asked,) = server.questions
    assert (asked.path, asked.headers["authorization"]) == (
        "/api/v2/write?org=o&bucket=b",
        "Token t",
    )
    assert asked.body == (
        rb"transactions,category=a\ b,currency=EUR,side=debit,partition=files/None/transactions/0"
        b" count=1i,amount=1.50,confidence=0.5,first=7i 1767355200000000007\n"
    )


@pytest.mark.parametrize("status", [430, 499])
def test_a_status_that_nobody_knows_stops_it(server: Server, opened: Open, status: int) -> None:
    server.reply = lambda _: Reply(status)
    with pytest.raises(Fatal, match=f"answered {status}"):
        opened("influxdb", "/write").deliver(outcome(["a"]))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_who_is_away_is_waited_for_as_long_as_it_asks(
    server: Server, opened: Open, status: int
) -> None:
    """It is no reason to stop."""
    server.reply = lambda _: Reply(status, {"retry-after": "7"})
    with pytest.raises(Unavailable, match=f"answered {status}") as away:
        opened("questdb").deliver(outcome(["a"]))
    assert away.value.retry_after == 7


@pytest.mark.parametrize(
    ("status", "said"), [(401, "TOKEN"), (403, "may not"), (404, "URL"), (400, "KIND")]
)
def test_a_wrong_setting_stops_it(server: Server, opened: Open, status: int, said: str) -> None:
    """The message says which."""
    server.reply = lambda _: Reply(status)
    with pytest.raises(Fatal, match=said):
        opened("influxdb").deliver(outcome(["a"]))
