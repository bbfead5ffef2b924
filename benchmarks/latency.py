"""How long a record takes from when it is due to its committed row, at steady rates."""

import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import psycopg
import typer
from compare import environ, make_tables
from contenders import ASSAY
from figures import about
from found import Level, Part, middle
from harness import Api, Bench, WrongResult, alone, console, ended_in_words, numbers, started
from measure import CommandFailed, end, run
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from sample import send
from stream import PARTITIONS, SERVERS, make_topic
from written import OUT, merge

from assay_local import databases

WARM: Final = 3.0
"""Seconds at the beginning whose records do not count: a consumer's first chunk takes longer."""

_LOOK: Final = 0.005  # seconds between two looks at the positions: how exact a figure is
_PATIENCE: Final = 120.0  # seconds from the last record until all must be committed
_STEADY: Final = str(Path(__file__).with_name("steady.py"))


def latency(
    *,
    rate: Annotated[int, typer.Option(min=1, help="Records a second, whatever can be done.")] = (
        2_000
    ),
    shares: Annotated[
        str, typer.Option(help="Per cent of the highest rate, with commas; '' for none.")
    ] = "10,50,80",
    maximum: Annotated[
        float | None, typer.Option(min=1, help="That rate; measured unless it is given.")
    ] = None,
    records: Annotated[
        int, typer.Option(min=1_000, help="Read from a full topic to find that rate.")
    ] = 1_000_000,
    seconds: Annotated[int, typer.Option(min=1, help="How long each rate is kept.")] = 30,
    runs: Annotated[int, typer.Option(min=1, help="Of all rates, in turns.")] = 3,
    api: Annotated[Api, typer.Option(help="Which API is asked: a stub, or the model's.")] = "model",
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the time from when a record is due to its commit, with the default settings.

    First the highest rate: as many records as a consumer reads from a full topic are sent each
    second, and what is committed meanwhile counts. Then shares of it, and --rate. Each on a fresh
    database and a topic of three partitions, with one consumer and a producer of its own process.
    A record that is produced late counts from when it was due. The positions in PostgreSQL, which
    move in the same transaction as the rows, are looked at every 5 ms.
    """
    parts = numbers(shares)
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        settings = {"api": api, "seconds": seconds, "warm": WARM, "maximum": maximum or "measured"}
        if parts and maximum is None:
            maximum = _maximum(bench, records, seconds, api)
            console.print(f"at most {maximum:,.0f} records/s")
        found = [
            each
            for _ in range(runs)
            for each in levels(bench, rate, parts, maximum, seconds=seconds, api=api)
        ]
        found_on = about(bench.local, "ascending", **settings)
    if as_json:
        print(json.dumps({"about": found_on, "runs": [asdict(each) for each in found]}))
    else:
        _print(found)
    merge(out, latency=Part(found_on, found))


def levels(
    bench: Bench,
    rate: float,
    shares: Sequence[int],
    maximum: float | None,
    *,
    seconds: int,
    api: Api,
) -> list[Level]:
    """The figures at a rate, and at shares of the highest one, from low to high.

    Args:
        bench: with the servers of `SERVERS`.
        rate: records a second.
        shares: per cent of the maximum.
        maximum: records a second; not None where there are shares.
        seconds: how long each rate is kept.
        api: which API is asked.

    Raises:
        WrongResult: not all records were committed.
        CommandFailed: consumer or producer did not end as they should.
    """
    asked: list[tuple[float, float | None]] = [(rate, None)]
    asked += [((maximum or 0) * each / 100, each / 100) for each in shares]
    found: list[Level] = []
    for each, share in sorted(asked, key=lambda one: one[0]):
        with console.status(f"{each:,.0f} records a second for {seconds} s …"):
            looked = _looked(bench, each, seconds, api)
        found.append(_level(looked, share and maximum, share))
        console.print(f"{each:,.0f} records/s: half within {found[-1].p50:.3f} s")
    return found


@dataclass(frozen=True)
class Looked:
    """What was seen of one rate.

    Attributes:
        rate: records a second.
        records: how many were produced, in turns on the partitions.
        began: when the first one was due.
        times: of the looks.
        stands: by look and partition: how many of its records were committed.
        late: what the producer said of itself: `late_p99`, `late_highest`.
    """

    rate: float
    records: int
    began: float
    times: NDArray[np.float64]
    stands: NDArray[np.int64]
    late: dict[str, float]


def _maximum(bench: Bench, records: int, seconds: int, api: Api) -> float:
    """Records a second that are committed while more are produced."""
    name = _name()
    with console.status(f"The highest rate: {records:,} records …"):
        topic = make_topic(bench)
        alone(send, bench.local.kafka.url, topic, records, "scattered")
        environment = _fresh(bench, name, api)
        options = ["--topic", topic, "--group", name, "--until-idle", "0"]
        spent = run([ASSAY, "stream", "consume", *options], environment, {})
    databases.drop(bench.local.postgres.url, name)
    offered = records / json.loads(spent.output)["seconds"]
    console.print(f"{offered:,.0f} records/s from a full topic")
    with console.status(f"The highest rate: {offered:,.0f} records a second, {seconds} s …"):
        return committed_rate(_looked(bench, offered, seconds, api))


def _fresh(bench: Bench, name: str, api: Api) -> dict[str, str]:
    """The environment of a consumer on a database of its own, beside an API started anew."""
    url = databases.create(bench.local.postgres.url, name)
    environment = environ(bench, url, bench.fresh_api(api))
    make_tables("assay", url, environment)
    return environment


def _name() -> str:
    return f"latency_{secrets.token_hex(4)}"


def _looked(bench: Bench, rate: float, seconds: float, api: Api) -> Looked:
    records = max(1, round(rate * (WARM + seconds)))
    name = _name()
    environment = _fresh(bench, name, api)
    topic = make_topic(bench)
    with (
        _consuming(environment, topic),
        psycopg.connect(environment["ASSAY_POSTGRES__URL"], autocommit=True) as connection,
    ):
        _wait_until_assigned(connection)
        command = [sys.executable, _STEADY, bench.local.kafka.url, topic, str(rate), str(records)]
        with _producing(command) as producer:
            assert producer.stdout is not None
            began: float = json.loads(producer.stdout.readline() or "{}").get("began", 0)
            times: list[float] = []
            stands: list[list[int]] = []
            while not stands or sum(stands[-1]) < records:
                rows = connection.execute("SELECT partition, next FROM positions").fetchall()
                stand = {int(each): next_ for each, next_ in rows}
                times.append(time.monotonic())
                stands.append([stand.get(each, 0) for each in range(PARTITIONS)])
                if producer.poll():
                    raise CommandFailed(f"the producer exited {producer.returncode}")
                if times[-1] > began + records / rate + _PATIENCE:
                    raise WrongResult(f"not all records were committed after {_PATIENCE:.0f} s")
                time.sleep(_LOOK)
            late = json.loads(producer.stdout.readline())
    databases.drop(bench.local.postgres.url, name)
    return Looked(rate, records, began, np.array(times), np.array(stands), late)


@contextmanager
def _producing(command: Sequence[str]) -> "Generator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            end(process)


@contextmanager
def _consuming(environment: dict[str, str], topic: str) -> Generator[None]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [ASSAY, "stream", "consume", "--topic", topic],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        end(process)
    if process.returncode:
        raise CommandFailed(f"the consumer exited {process.returncode}")


def _wait_until_assigned(connection: psycopg.Connection[Any]) -> None:
    """Until the consumer owns its partitions, so that its start does not count."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = connection.execute("SELECT status_url FROM runs WHERE kind = 'stream'").fetchone()
        if row is not None:
            try:
                with urllib.request.urlopen(f"{row[0]}/health/ready", timeout=2) as answer:  # noqa: S310 - our own
                    if len(json.load(answer)["partitions"]):
                        return
            except OSError:
                pass
        time.sleep(0.1)
    raise WrongResult("the consumer did not come up within a minute")


def committed_rate(looked: Looked) -> float:
    """Records a second that were committed while they came, after the beginning."""
    last = looked.began + looked.records / looked.rate
    window = (looked.times >= looked.began + WARM) & (looked.times <= last)
    times, sums = looked.times[window], looked.stands[window].sum(axis=1)
    # From one commit to another: what is under way at either end would count for nothing.
    moved = np.flatnonzero(np.diff(sums)) + 1
    if moved.size <= 1:
        raise WrongResult("there were not two commits in this time; try more --seconds")
    first, final = moved[0], moved[-1]
    return float((sums[final] - sums[first]) / (times[final] - times[first]))


def _level(looked: Looked, maximum: float | None, share: float | None) -> Level:
    spans = spans_of(looked)
    p50, p99, p999 = (float(each) for each in np.quantile(spans, [0.5, 0.99, 0.999]))
    last = looked.began + (looked.records - 1) / looked.rate
    return Level(
        maximum=maximum,
        share=share,
        rate=looked.rate,
        records=spans.size,
        p50=p50,
        p99=p99,
        p999=p999,
        highest=float(spans.max()),
        **looked.late,
        behind=float(looked.times[-1]) - last,
    )


def spans_of(looked: Looked) -> NDArray[np.float64]:
    """Seconds from when each record was due to the first look that found it committed."""
    partitions = looked.stands.shape[1]
    number: NDArray[np.int64] = np.arange(looked.records)
    due = looked.began + number / looked.rate
    seen = np.empty(looked.records)
    for each in range(partitions):
        offsets = number[each::partitions] // partitions
        stands = looked.stands[:, each]
        seen[each::partitions] = looked.times[np.searchsorted(stands, offsets, side="right")]
    return (seen - due)[due >= looked.began + WARM]


def _print(found: Sequence[Level]) -> None:
    table = Table(
        "records/s", "of the highest", box=box.SIMPLE_HEAD, title="seconds from due to committed"
    )
    table.title_justify = "left"
    for name in ("p50", "p99", "p99.9", "highest", "producer late"):
        table.add_column(name, justify="right")
    for each in middle(found):
        spans = (each.p50, each.p99, each.p999, each.highest, each.late_highest)
        table.add_row(
            f"{each.rate:,.0f}",
            "" if each.share is None else f"{each.share:.0%}",
            *(f"{span:.3f}" for span in spans),
        )
    Console(width=80, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(latency)
