"""What the benchmarks of single parts measure, and that figures count for what was done."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import latency
import numpy as np
import pytest
import steady
from confluent_kafka import Consumer, TopicPartition
from found import Found, Level, Part, from_json
from harness import Bench, Stub
from latency import Looked, committed_rate, levels, spans_of
from stream import make_topic
from written import merge, read

from assay_local import Local

ABOUT = {
    "date": "2026-01-02",
    "machine": {"cores": 2},
    "versions": {"python": "3.11"},
    "settings": {"ids": "scattered", "warm": 3.0},
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
