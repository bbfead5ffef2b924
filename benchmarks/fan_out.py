"""What it costs to classify from topic to topic, and what each connector costs after that."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final
from urllib.parse import quote
from urllib.request import Request, urlopen
from zlib import crc32

import polars as pl
import psycopg
import typer
from batch import s3_client
from compare import environ, make_tables
from contenders import ASSAY
from deltalake import DeltaTable
from figures import Figure, about, spread
from found import Part
from harness import Bench, WrongResult, console, contents, ended_in_words, started
from measure import run
from rich import box
from rich.console import Console
from rich.table import Table
from sample import CHECKSUM, LEAST, Sample
from stream import consumed, sent
from written import OUT, merge

from assay_local import databases

SERVERS: Final = ("postgres", "kafka", "api", "s3", "opensearch", "questdb")
WAYS: Final = ("consume", "classify", "postgres", "archive", "lake", "search", "series")
"""The direct consumer, the classifier, and the connectors; a webhook's rate is that of who takes
its requests."""

OWN: Final = "own"
"""What stands for the process itself among those that spend CPU; a server may have its name."""

_AT_ONCE: Final = {"ASSAY_STREAM__LINGER": "1"}
"""The last file would be waited for a minute, as for one that may grow yet."""

_OF: Final = {
    "classify": ("kafka", "api"),
    "postgres": ("kafka", "postgres"),
    "archive": ("kafka", "s3"),
    "lake": ("kafka", "s3"),
    "search": ("kafka", "opensearch"),
    "series": ("kafka", "questdb"),
}
"""The servers that each uses."""


def fan_out(
    *,
    records: Annotated[int, typer.Option(min=LEAST, help="On the topic.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each, in turns.")] = 3,
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the classifier from topic to topic, and each connector, one after the other.

    Servers of its own, a stub in the API's place. Each reads a full topic to its end. The direct
    consumer into PostgreSQL does its work in turns with them. A figure counts once its target was
    found to hold what was sent.
    """
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        found = measured_fan_out(bench, records=records, runs=runs)
        settings = about(bench.local, "scattered", api="stub", records=records)
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
    else:
        _print(found)
    merge(out, fan_out=Part(settings, found))


def measured_fan_out(bench: Bench, *, records: int, runs: int) -> list[Figure]:
    """The figures of all, in turns.

    Args:
        bench: with the servers of `SERVERS`.
        records: on the topic.
        runs: of each.

    Raises:
        WrongResult: a target does not hold what was sent.
        CommandFailed: one did not end as it should.
    """
    with console.status(f"Preparing {records:,} records …"):
        topic, sample = sent(bench, records, days=1)  # as in a stream: files are cut by day
    found: list[Figure] = []
    for number in range(runs):
        turn = _Turn(bench, topic, sample, f"{topic}-{number}")
        for way in WAYS:
            with console.status(f"{way}, run {number + 1} of {runs} …"):
                found.append(turn.once(way))
            console.print(f"{way}: {found[-1].rate:,.0f} records/s")
    return found


@dataclass(frozen=True)
class _Turn:
    """One turn of all, on topics and targets of its own."""

    bench: Bench
    topic: str
    sample: Sample
    name: str

    def once(self, way: str) -> Figure:
        """One run of one of them."""
        if way == "consume":
            reached = self.bench.fresh_api("stub")
            figure = consumed(
                self.bench, self.topic, self.sample, self.name, api="stub", reached=reached
            )
            own = figure.cpu.pop("assay")
            return replace(figure, way=way, cpu={OWN: own, **figure.cpu})
        make: dict[str, Callable[[], tuple[dict[str, str], Callable[[], int]]]] = {
            "classify": self._topics,
            "postgres": self._postgres,
            "archive": self._archive,
            "lake": self._lake,
            "search": self._search,
            "series": self._series,
        }
        own, count = make[way]()
        good = self.sample.rows - self.sample.broken
        figure = self._run(way, own, self.sample.rows if way == "classify" else good)
        if (there := count()) != good:
            raise WrongResult(f"{way} has put {there:,} there, not {good:,}")
        return figure

    def _run(self, way: str, own: dict[str, str], rows: int) -> Figure:
        words = ["stream", "classify"] if way == "classify" else ["connect", way]
        environment = {**self._environment(), **own}
        load = os.getloadavg()[0]
        command = [ASSAY, *words, "--until-idle", "0"]
        spent = run(command, environment, self.bench.processes(_OF[way], "stub"))
        return Figure(
            job="fan-out",
            api="stub",
            way=way,
            rows=rows,
            seconds=spent.seconds,
            inner_seconds=json.loads(spent.output)["seconds"],
            cpu={OWN: spent.cpu, **spent.servers},
            others=spent.others,
            load=load,
            peak=spent.peak,
        )

    def _environment(self) -> dict[str, str]:
        suffixes = ("prediction", "ledger", "dead_letter")
        topics = {f"ASSAY_STREAM__{each.upper()}_TOPIC": self._on(each) for each in suffixes}
        own = {"ASSAY_STREAM__TOPIC": self.topic, "ASSAY_STREAM__GROUP": self.name}
        return {**environ(self.bench, self._url, self.bench.stub.settings), **topics, **own}

    def _on(self, kind: str) -> str:
        return f"{self.name}-{kind}"

    @property
    def _url(self) -> str:
        return f"{self.bench.local.postgres.url.rpartition('/')[0]}/{self._database}"

    @property
    def _database(self) -> str:
        return f"{self.name}_connect".replace("-", "_")

    def _topics(self) -> tuple[dict[str, str], Callable[[], int]]:
        self.bench.fresh_api("stub")
        run([ASSAY, "stream", "topics"], self._environment(), {})
        servers = self.bench.local.kafka.url

        def count() -> int:
            letters = list(contents(servers, self._on("dead_letter")))
            if sum(map(crc32, letters)) != self.sample.letters:
                raise WrongResult("classify has put other bytes aside than came broken")
            return sum(1 for _ in contents(servers, self._on("prediction")))

        return {}, count

    def _postgres(self) -> tuple[dict[str, str], Callable[[], int]]:
        url = databases.create(self.bench.local.postgres.url, self._database)
        make_tables("assay", url, self._environment() | {"ASSAY_POSTGRES__URL": url})

        def count() -> int:
            with psycopg.connect(url) as connection:
                (checksum,) = connection.execute(CHECKSUM.encode()).fetchone() or (0,)
                (rows,) = connection.execute("SELECT count(*) FROM predictions").fetchone() or (0,)
            databases.drop(self.bench.local.postgres.url, self._database)
            if checksum != self.sample.checksum:
                raise WrongResult("the connector stored other content than was sent")
            return int(rows)

        return {"ASSAY_POSTGRES__URL": url}, count

    def _archive(self) -> tuple[dict[str, str], Callable[[], int]]:
        uri = f"s3://{self._bucket('archive')}/"

        def count() -> int:
            files = pl.scan_parquet(f"{uri}**/*.parquet", storage_options=self._storage())
            return files.select(pl.len()).collect().item()

        return {"ASSAY_ARCHIVE__URI": uri, **_AT_ONCE}, count

    def _lake(self) -> tuple[dict[str, str], Callable[[], int]]:
        uri = f"s3://{self._bucket('lake')}/table"
        return {"ASSAY_LAKE__URI": uri, **_AT_ONCE}, lambda: DeltaTable(
            uri, storage_options=self._storage()
        ).count()

    def _search(self) -> tuple[dict[str, str], Callable[[], int]]:
        url, index = self.bench.local.opensearch.url, self.name

        def count() -> int:
            _ask(f"{url}/{index}/_refresh", "POST")
            found = int(_ask(f"{url}/{index}/_count")["count"])
            _ask(f"{url}/{index}", "DELETE")
            return found

        return {"ASSAY_SEARCH__INDEX": index}, count

    def _series(self) -> tuple[dict[str, str], Callable[[], int]]:
        name = self.name.replace("-", "_")
        base = self.bench.local.questdb.settings["ASSAY_SERIES__URL"].removesuffix("/write")
        query = quote(f"SELECT sum(count) FROM {name}")  # noqa: S608 - our own name
        ask = partial(_ask, f"{base}/exec?query={query}")

        def count() -> int:
            good, found = self.sample.rows - self.sample.broken, 0
            for _ in range(200):  # it shows what it has taken a moment later
                if (found := int(ask()["dataset"][0][0] or 0)) == good:
                    break
                time.sleep(0.05)
            return found

        return {"ASSAY_SERIES__MEASUREMENT": name}, count

    def _bucket(self, kind: str) -> str:
        settings, name = self.bench.local.s3.settings, f"{self.name}-{kind}"
        place = {"LocationConstraint": settings["ASSAY_S3__REGION"]}
        client = s3_client(self.bench.local)
        client.create_bucket(Bucket=name, CreateBucketConfiguration=place)
        return name

    def _storage(self) -> dict[str, str]:
        settings = self.bench.local.s3.settings
        return {
            "endpoint_url": settings["ASSAY_S3__ENDPOINT_URL"],
            "aws_access_key_id": settings["ASSAY_S3__ACCESS_KEY_ID"],
            "aws_secret_access_key": settings["ASSAY_S3__SECRET_ACCESS_KEY"],
            "region": settings["ASSAY_S3__REGION"],
            "allow_http": "true",
        }


def _ask(url: str, method: str = "GET") -> Any:
    request = Request(url, method=method)  # noqa: S310 - our own
    with urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        return json.load(answer)


def _print(found: Sequence[Figure]) -> None:
    table = Table("", box=box.SIMPLE_HEAD, title="Classified once, delivered to each")
    table.title_justify = "left"
    for name in ("records/s", "own CPU s of 1 M", "Kafka's", "peak MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for way in dict.fromkeys(each.way for each in found):
        same = [each for each in found if each.way == way]
        table.add_row(
            way,
            spread([each.rate for each in same], ",.0f"),
            f"{median(each.per_million(OWN) for each in same):.1f}",
            f"{median(each.per_million('kafka') for each in same):.1f}",
            f"{median(each.peak for each in same) / (1 << 20):,.0f}",
        )
    Console(width=80, highlight=False).print(table)
