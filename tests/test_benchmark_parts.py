"""What the benchmarks of single parts measure, and that figures count for what was done."""

import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import compare
import duplicates
import latency
import layouts
import numpy as np
import polars as pl
import psycopg
import pytest
import scaling
import steady
import tables
import typer
import warm
from confluent_kafka import Consumer, TopicPartition
from document import markdown
from figures import TIMES, Figure
from found import Filled, Found, Level, Part, Repeated, Scaled, Warmed, from_json
from harness import Bench, Rejects, Stub, WrongResult, check
from latency import Looked, committed_rate, levels, spans_of
from planning import costs, plan, size
from sample import MASK, MULTIPLIER, Sample, Sorts, Traffic, make
from scaling import combinations
from stream import make_topic
from written import merge, planned, read

from assay_local import Local, LocalError, databases

DOCS: Final = Path(__file__).parents[1] / "docs"

ABOUT = {
    "date": "2026-01-02",
    "machine": {"cores": 2},
    "versions": {"python": "3.11"},
    "settings": {"ids": "scattered", "warm": 3.0, "api": "model", "maximum": "measured"},
}


@pytest.fixture
def bench(local: Local, kafka_servers: str, tmp_path: Path) -> Generator[Bench]:
    """Servers of the tests, and an API with a fixed answer."""
    del kafka_servers  # it is started
    stub = Stub(tmp_path)
    yield Bench(local, tmp_path, keep=False, stub=stub)
    stub.close()


# ---------------------------------------------------------------- latency


def looked(stands: list[list[int]], rate: float = 10.0) -> Looked:
    """A look each second, from the moment when the first of ten records was due."""
    times = np.arange(100.0, 100.0 + len(stands), dtype=np.float64)
    late = {"late_p99": 0.01, "late_highest": 0.02}
    return Looked(rate, 10, 100.0, times, np.array(stands), late)


def level(rate: float, share: float | None = None, behind: float = 0.1) -> Level:
    return Level(20_000.0, share, rate, 60_000, 0.2, 0.3, 0.4, 0.5, 0.01, 0.02, behind)


def test_a_record_counts_from_when_it_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the first look that found its offset committed; the warm-up does not count."""
    monkeypatch.setattr(latency, "WARM", 0.0)
    spans = spans_of(looked([[0, 0], [2, 1], [5, 1], [5, 5]]))
    # Even ones are on the first partition: 0 and 2 are seen a second after the first was due.
    assert spans == pytest.approx([1.0, 0.9, 0.8, 2.7, 1.6, 2.5, 1.4, 2.3, 1.2, 2.1])
    monkeypatch.setattr(latency, "WARM", 0.75)
    assert spans_of(looked([[0, 0], [2, 1], [5, 1], [5, 5]])) == pytest.approx([1.2, 2.1])


def test_the_highest_rate_is_from_commit_to_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "WARM", 0.0)
    moving = looked([[0, 0], [1, 0], [2, 1], [2, 1], [4, 3], [4, 3], [5, 5]], rate=10 / 6)
    assert committed_rate(moving) == pytest.approx(9 / 5)
    with pytest.raises(Exception, match="two commits"):
        committed_rate(looked([[0, 0], [5, 5]]))


def test_latency_is_measured_of_a_real_consumer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All records are committed, and none before it was due."""
    monkeypatch.setattr(latency, "WARM", 0.5)
    (found,) = levels(bench, 300, [], None, seconds=1, api="stub")
    assert (found.share, found.maximum, found.rate, found.records) == (None, None, 300, 300)
    assert 0.01 < found.p50 <= found.p99 <= found.p999 <= found.highest < 30
    assert 0 <= found.late_p99 <= found.late_highest < found.highest


def test_levels_are_shares_of_the_highest_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """From low to high, with the rate that was given among them."""
    monkeypatch.setattr(latency, "WARM", 0.0)

    def see(bench: Any, rate: float, seconds: float, api: str) -> Looked:
        del bench, seconds, api
        return looked([[0, 0], [5, 5]], rate)

    monkeypatch.setattr(latency, "_looked", see)
    found = levels(cast("Any", None), 30, [50, 10], 200.0, seconds=1, api="stub")
    assert [(each.rate, each.share) for each in found] == [(20, 0.1), (30, None), (100, 0.5)]
    assert [each.maximum for each in found] == [200.0, None, 200.0]
    assert [each.behind for each in found] == pytest.approx([0.55, 0.7, 0.91])


def test_the_producer_tells_how_late_it_is(bench: Bench) -> None:
    """Offsets follow the numbers of the records; what is not handed over in time is late."""
    servers, topic = bench.local.kafka.url, make_topic(bench, 2)
    told = subprocess.run(
        [sys.executable, steady.__file__, servers, topic, "10000000", "20001"],
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    late = json.loads(told[1])
    assert 0.001 < late["late_p99"] <= late["late_highest"] < 30
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic})
    try:
        for partition, offset, number in ((0, 10_000, 20_000), (1, 9_999, 19_999)):
            consumer.assign([TopicPartition(topic, partition, offset)])
            (message,) = consumer.consume(1, timeout=30)
            value = json.loads(message.value() or b"")
            assert value["transaction_id"] == f"L{number}"
            assert value["side"] in {"debit", "credit"}
    finally:
        consumer.close()


# ---------------------------------------------------------------- the document


def test_parts_are_merged_into_the_same_figures(tmp_path: Path) -> None:
    """A part takes the place of the same one, and leaves the others."""
    merge(tmp_path, latency=Part(ABOUT, [level(2_000)]))
    fresh = Part(ABOUT | {"date": "2026-01-03"}, [level(2_000), level(16_000, 0.8)])
    merge(tmp_path, latency=fresh)
    assert read(tmp_path) == Found(latency=fresh)
    assert "2026-01-03" in (tmp_path / "benchmarks.md").read_text("utf-8")
    assert (tmp_path / "benchmarks/latency.png").exists()
    assert from_json((tmp_path / "benchmarks/figures.json").read_text("utf-8")).scaling is None
    merge(None, latency=fresh)


def test_the_document_tells_what_was_kept_up(tmp_path: Path) -> None:
    merge(tmp_path, latency=Part(ABOUT, [level(2_000), level(16_000, 0.8, behind=4.0)]))
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "At 2,000 records/s half of them are committed within 0.20 s" in text
    assert "within 0.40 s.\n" in text
    assert "within 0.40 s; **it was not kept up**" in text
    assert "The highest rate, 20,000 records/s" in text


# ---------------------------------------------------------------- scaling


def scaled(partitions: int, consumers: int, rate: float, cpu: float) -> Scaled:
    """A million records; each consumer takes 2 CPU seconds to start."""
    return Scaled(
        api="model",
        partitions=partitions,
        consumers=consumers,
        rows=1_000_000,
        seconds=1_000_000 / rate,
        cpu={"assay": cpu + 2 * consumers, "postgres": 5.0, "kafka": 1.0, "api": 4.0},
        start=2.0 * consumers,
        read=[1_000_000 // consumers] * consumers,
        peaks=[512 << 20] * consumers,
        held={"postgres": 300 << 20, "kafka": 400 << 20, "api": 200 << 20},
        others=0.0,
        load=0.1,
    )


SCALING = Part(ABOUT, [scaled(3, 1, 60_000, 6.0), scaled(12, 1, 50_000, 7.0)])
SCALING.runs.extend([scaled(12, 4, 40_000, 10.5), scaled(12, 4, 42_000, 10.5)])


def test_consumers_without_a_partition_are_left_out() -> None:
    assert combinations([12, 1, 3], [4, 1, 2]) == [
        (1, 1),
        (3, 1),
        (3, 2),
        (12, 1),
        (12, 2),
        (12, 4),
    ]
    with pytest.raises(typer.BadParameter):
        combinations([1], [2])


def test_a_group_is_measured_and_its_work_is_checked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every consumer counts; what the tables do not hold makes the figure worth nothing."""
    monkeypatch.setattr(scaling, "STARTS", 1)
    checked: list[int] = []

    def checks(url: str, way: str, sample: Sample, rejects: Rejects) -> int:
        checked.append(check(url, way, sample, rejects))
        with pytest.raises(WrongResult):
            check(url, way, replace(sample, checksum=0), rejects)
        return 0

    monkeypatch.setattr(scaling, "check", checks)
    (found,) = scaling.measured_scaling(bench, [(2, 2)], records=2_000, runs=1, api="stub")
    assert (found.partitions, found.consumers, found.rows) == (2, 2, 2_000)
    assert len(found.peaks) == len(found.read) == 2
    assert sum(found.read) == 2_000
    assert min(found.peaks) > 50 << 20
    assert found.held.keys() == {"postgres", "kafka", "api"}
    assert min(found.held.values()) > 1 << 20
    # Of so few records the work is less than what two starts differ by.
    assert 0.1 < found.start < 2 * found.cpu["assay"]
    assert 0.1 < found.seconds < 100
    assert checked


def test_the_document_tells_what_carries_over_of_scaling(tmp_path: Path) -> None:
    """CPU seconds without the start, and the ratios of most consumers to fewest."""
    merge(tmp_path, scaling=SCALING)
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "| 12, 4 | 41,000 ± 1,000 | 25% ± 0% | 10.5 ± 0.0 | 5.0 ± 0.0 | 4.0 ± 0.0 |" in text
    assert "(2.0 s each)" in text
    assert (
        f"On 12 partitions, 4 consumers in place of 1: 0.82 {TIMES} the rate on the same cores;"
        f" per million records 1.50 {TIMES} the consumers' CPU and 1.21 {TIMES} that of all" in text
    )
    assert "On 3 partitions" not in text
    assert "hardly shared" not in text
    lonely = replace(SCALING.runs[-1], read=[600_000, 200_000, 200_000, 0])
    merge(tmp_path, scaling=Part(ABOUT, [SCALING.runs[1], lonely]))
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "With 4 consumers on 12 partitions one of them has read 60%: **the work was" in text
    assert (tmp_path / "benchmarks/scaling.png").exists()


# ---------------------------------------------------------------- table size


def filled(layout: str, present: int, cpu: float) -> Filled:
    """A million records, in rows of 300 and 100 bytes."""
    stored = present + 1_000_000
    return Filled(
        layout=layout,
        present=present,
        rows=1_000_000,
        seconds=20.0 + cpu,
        cpu={"assay": 6.0, "postgres": cpu, "kafka": 1.0, "api": 1.0},
        wal=500_000_000 + 10 * present,
        heap=300 * stored,
        indexes=100 * stored,
        stored=stored,
        others=0.0,
        load=0.1,
    )


TABLES = Part(
    ABOUT,
    [
        filled(layout, present, cpu)
        for layout, least, most in (("plain", 5.0, 10.0), ("hash", 6.0, 9.0), ("month", 6.0, 7.5))
        for present, cpu in ((0, least), (50_000_000, most))
    ],
)


def test_the_document_tells_what_rows_before_cost(tmp_path: Path) -> None:
    merge(tmp_path, tables=TABLES)
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "| one table, 50,000,000 | 33,333 | 10.0 | 954 | 300 | 100 |" in text
    assert f"One table: 50,000,000 rows before, against none: 2.00 {TIMES} PostgreSQL's CPU" in text
    assert (
        f"By month, against one table, with 50,000,000 rows before: 0.75 {TIMES} PostgreSQL's CPU,"
        f" 1.00 {TIMES} the log and 1.09 {TIMES} the rate." in text
    )
    assert (tmp_path / "benchmarks/tables.png").exists()


def scattered(number: int) -> str:
    """The id of a record."""
    return f"T{number * MULTIPLIER & MASK:013}"


def test_rows_are_multiplied_under_ids_that_never_come(local: Local, template: str) -> None:
    """A hash keeps the key; months weaken it, and all rows find their month."""
    for layout, weaker in (("hash", False), ("month", True)):
        name = f"layout_{secrets.token_hex(4)}"
        url = databases.create(local.postgres.url, name, template=template)
        with psycopg.connect(url, autocommit=True) as connection:
            keys = layouts.cut(connection, layout)
            execute = connection.execute
            for number in range(20):
                values = {
                    "id": scattered(number),
                    "number": (1 << 24) + number,
                    "day": f"2024-04-{number + 1}",
                }
                execute(
                    "INSERT INTO transactions VALUES (%(id)s, %(number)s, 'CAFE', 1, 'EUR',"
                    " %(day)s, NULL, 'payment', 'debit', NULL,"
                    " decode(repeat('00', 16), 'hex'), 1, 1)",
                    values,
                )
                execute(
                    "INSERT INTO predictions VALUES (%(number)s, 'm', '1', 'Travel', 1, false,"
                    " NULL, 1, 'stream')",
                    values,
                )
            layouts.seed(connection)
            for table in layouts.TABLES:
                layouts.drop_keys(connection, table, keys[table])
                for copy in (1, 2):
                    layouts.multiply(connection, table, copy, 20)
                layouts.make_keys(connection, table, keys[table])
            both = "SELECT transaction_id FROM transactions JOIN predictions USING (number)"
            ids = [row[0] for row in execute(both)]
            assert sorted(ids) == sorted(map(scattered, range(60)))
            heap, indexes = layouts.sizes(connection)
            assert heap > 60 * 300
            assert indexes > 16 * 8192
            again = (
                "INSERT INTO transactions SELECT transaction_id, number, description, amount,"
                " currency, timestamp - interval '1 day', merchant, operation_type, side, mcc,"
                " content_hash,"
                " entry, position FROM seed_transactions"
            )
            if weaker:
                execute(again)
            else:
                with pytest.raises(psycopg.errors.UniqueViolation):
                    execute(again)
            layouts.remove(connection, 0, 60)
            assert execute("SELECT count(*) FROM transactions").fetchone() == (0,)
        databases.drop(local.postgres.url, name)


def test_a_stream_into_filled_tables_is_measured_and_checked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the rows that came are held against the sample; the others stay."""
    checked: list[int | None] = []

    def checks(url: str, way: str, sample: Sample, rejects: Rejects, since: int | None) -> int:
        checked.append(since)
        return check(url, way, sample, rejects, since)

    monkeypatch.setattr(tables, "check", checks)
    empty, full = tables.measured_tables(
        bench, [0, 3_500], ["hash"], records=2_000, runs=1, api="stub"
    )
    assert (empty.layout, empty.present, empty.stored) == ("hash", 0, 1_998)
    assert (full.layout, full.present, full.stored) == ("hash", 3_500, 3 * 1_998)
    assert full.heap > empty.heap > 1_998 * 200
    assert min(empty.wal, full.wal) > 1_998 * 200
    assert checked[0] == 0
    assert (checked[1] or 0) > 0


# ---------------------------------------------------------------- duplicates


def repeated(every: int, sorts: str, seconds: float) -> Repeated:
    """A million records, of which some come again."""
    again = 1_000_000 // every if every else 0
    rows, cpu = 1_000_000 + again, {"assay": 6.0, "postgres": seconds}
    figure = Figure("stream", "stub", "assay", rows, seconds, seconds, cpu, 0.0, 0.1, 400 << 20)
    return Repeated(every, sorts, again, figure)


def test_records_that_come_again_are_counted_as_duplicates(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is in the tables once; a ledger that says otherwise makes the figure worth nothing.

    So do other bytes among the dead letters, and other predictions than those before.
    """
    checked: list[int] = []

    def checks(url: str, way: str, sample: Sample, rejects: Rejects, *, half: bool) -> int:
        assert not half
        with pytest.raises(WrongResult, match="ledger"):
            check(url, way, replace(sample, again=sample.again - 1), rejects)
        with pytest.raises(WrongResult, match="other bytes aside"):
            check(url, way, replace(sample, letters=1), rejects)
        said = check(url, way, sample, rejects)
        with psycopg.connect(url) as connection:
            connection.execute(
                "UPDATE predictions SET needs_review = true WHERE number ="
                " (SELECT min(number) FROM predictions)"
            )
        assert check(url, way, sample, rejects) != said
        checked.append(sample.again)
        return check(url, way, sample, rejects)

    monkeypatch.setattr(compare, "check", checks)
    cases: list[tuple[int, Sorts]] = [(10, "first"), (2, "last")]
    few, many = duplicates.measured_duplicates(bench, cases, records=2_000, runs=1, api="stub")
    assert (few.every, few.sorts, few.figure.rows, few.again) == (10, "first", 2_200, 200)
    assert (many.every, many.sorts, many.figure.rows, many.again) == (2, "last", 3_000, 1_000)
    assert checked == [200, 1_000]


def test_the_document_tells_what_duplicates_cost(tmp_path: Path) -> None:
    """Each case beside the rate without any."""
    part = Part(ABOUT, [repeated(0, "", 10.0), repeated(1_000, "last", 20.0)])
    merge(tmp_path, duplicates=part)
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "| nothing | 100,000 | 100% | 100,000 | 6.0 | 10.0 |" in text
    assert "| one of 1,000, sorts last | 50,050 | 50% | 50,000 | 6.0 | 20.0 |" in text


# ---------------------------------------------------------------- memory, repeated descriptions


def test_an_api_that_remembers_is_measured_beside_one_that_does_not(bench: Bench) -> None:
    """Cold and warm in turns, of descriptions that come equally often and of skewed ones."""
    bench.local.start("api")
    found = warm.measured_warm(bench, records=2_000, runs=1)
    cases = [(each.traffic, each.is_warm) for each in found]
    assert cases == [("even", False), ("even", True), ("skewed", False), ("skewed", True)]
    assert all(each.figure.rows == 2_000 for each in found)
    assert min(each.figure.per_million("api") for each in found) > 0


def test_skewed_descriptions_are_as_many_and_some_come_often() -> None:
    """A fifth of the records are distinct either way."""
    most: dict[Traffic, int] = {}
    kinds: tuple[Traffic, ...] = ("even", "skewed")
    for traffic in kinds:
        said: list[str] = []

        def put(frame: pl.DataFrame, said: list[str] = said) -> int:
            said += [
                json.loads(each)["description"] for each in frame.drop_nulls("stored")["message"]
            ]
            return 0

        make(2_000, "ascending", put, traffic=traffic)
        counts = Counter(said)
        assert 390 < len(counts) <= 400
        most[traffic] = counts.most_common(1)[0][1]
    assert most["even"] <= 6
    assert most["skewed"] > 100


def test_the_document_tells_memory_and_what_a_warm_api_brings(tmp_path: Path) -> None:
    runs = [
        Figure("stream", "stub", "assay", rows, 10.0, 9.0, {"assay": 1.0}, 0.0, 0.1, peak << 20)
        for rows, peak in ((1_000_000, 400), (20_000_000, 420))
    ]
    warmed = replace(runs[0], api="model", cpu={"assay": 6.0, "api": 2.0})
    merge(
        tmp_path,
        memory=Part(ABOUT, runs),
        warm=Part(ABOUT, [Warmed("skewed", is_warm=True, figure=warmed)]),
    )
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "| 20,000,000 | 420 | +5% | 2,000,000 |" in text
    assert "| a few very often, warm | 100,000 | 6.0 | 2.0 |" in text


# ---------------------------------------------------------------- goals


def test_a_goal_that_is_missed_is_told_as_plainly_as_one_that_is_met(tmp_path: Path) -> None:
    """Whether a figure may be more or less."""
    level = Level(None, None, 2_000, 60_000, 0.13, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0)
    merge(tmp_path, latency=Part(ABOUT, [level]))
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    half = "| latency at 2,000 records/s: half of them | at most 120 ms | 130 ms | **missed** |"
    assert half in text
    assert "| latency at 2,000 records/s: 99 % | at most 400 ms | 200 ms | met |" in text


# ---------------------------------------------------------------- planning

FOUND = Found(scaling=SCALING, tables=TABLES)


def test_a_plan_is_of_what_was_dearest() -> None:
    """Four consumers took most; PostgreSQL took most in the largest table as it is migrated."""
    cost = costs(FOUND)
    assert cost.cpu == {"assay": 10.5, "postgres": 10.0, "kafka": 1.0, "api": 4.0}
    assert (cost.heap, cost.indexes, cost.wal) == (300, 100, 1_000)
    assert cost.memory == {"assay": 512 << 20, "api": 200 << 20}
    assert cost.present == 50_000_000
    stub = Part(ABOUT, [replace(each, api="stub") for each in SCALING.runs])
    for found, missing in (
        (Found(tables=TABLES), "scaling"),
        (Found(scaling=SCALING), "tables"),
        (Found(scaling=stub, tables=TABLES), "scaling"),
    ):
        with pytest.raises(LocalError, match=missing):
            costs(found)


def test_a_plan_follows_its_formula() -> None:
    """864 million a day are 10,000 a second, and 40,000 at the peak."""
    found = plan(costs(FOUND), 864_000_000, peak=4, days=10)
    assert (found.rate, found.peak_rate) == (10_000, 40_000)
    assert found.cores == pytest.approx(
        {"assay": 0.6, "postgres": 4 / 7, "kafka": 0.4 / 7, "api": 1.6 / 7}
    )
    assert (found.consumers, found.api_processes, found.partitions) == (1, 1, 3)
    assert found.connections == 10
    assert found.disk == 864_000_000 * 10 * 400
    assert (found.wal, found.wal_rate) == (864_000_000_000, 40_000_000)
    tenfold = plan(costs(FOUND), 8_640_000_000, peak=4, days=10)
    assert (tenfold.consumers, tenfold.api_processes, tenfold.partitions) == (6, 3, 12)
    assert tenfold.connections == 35
    assert tenfold.memory == {"assay": 6 * (512 << 20), "api": 3 * (200 << 20)}


def test_bytes_are_written_as_people_write_them() -> None:
    assert [size(each) for each in (512, 1_536, 300 << 20, 5 << 40, 5_000 << 40)] == [
        *("512 B", "1.5 KiB", "300 MiB", "5.0 TiB", "5,000 TiB"),
    ]


def test_the_page_on_planning_is_written_from_the_figures(tmp_path: Path) -> None:
    """Its words stay; written again it is the same."""
    page = tmp_path / "planning.md"
    page.write_text("Words.\n\n<!-- planned -->\nold\n<!-- /planned -->\n\nMore.\n", "utf-8")
    merge(tmp_path, scaling=SCALING)
    assert "Not measured yet: a plan needs figures of `poe bench tables" in page.read_text("utf-8")
    merge(tmp_path, tables=TABLES)
    text = page.read_text("utf-8")
    assert text.startswith("Words.\n\n<!-- planned -->\nWhat was measured:")
    assert text.endswith("<!-- /planned -->\n\nMore.\n")
    assert "| records/s at the peak | 46 | 463 | 4,630 | 46,296 |" in text
    assert "old" not in text
    assert planned(text, FOUND) == text


def test_the_documents_are_from_their_figures() -> None:
    """Whatever was measured last is what they tell."""
    found = read(DOCS)
    text = (DOCS / "planning.md").read_text("utf-8")
    assert planned(text, found) == text
    if found != Found():
        assert (DOCS / "benchmarks.md").read_text("utf-8") == markdown(found, "benchmarks")
