"""What all benchmarks share: servers of their own, and the check of what came of the work."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal
from zlib import crc32

import psutil
import psycopg
import typer
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from contenders import ASSAY
from measure import CommandFailed, run
from psycopg import sql
from rich.console import Console
from sample import CHECKSUM, Sample

from assay_local import Local, LocalError, processes, servers
from assay_local.ports import choose
from assay_local.service import HOST, Launch, answers_ok

Api = Literal["stub", "model"]
"""Which API is asked: one with a fixed answer (see `stub`), or the product's with its model."""

_STUB: Final = str(Path(__file__).with_name("stub.py"))
_PATIENCE: Final = 60.0
_SOON: Final = 0.2  # seconds that a call waits for messages

# Counts per door, and a sum over all predictions, which every way has to agree on.
_RESULT: Final = """
    SELECT (SELECT count(*) FROM transactions), (SELECT count(*) FROM predictions),
           (SELECT coalesce(sum(crc32(convert_to(concat_ws('|', transaction_id, category,
               confidence, needs_review, model_version), 'UTF8'))), 0)::bigint FROM {})
"""
_LETTERS: Final = "SELECT coalesce(sum(crc32(raw)), 0)::bigint FROM {}"
_LEDGER: Final = "SELECT sum(read), sum(classified), sum(rejected), sum(duplicate) FROM ledger"

console: Final = Console(stderr=True, highlight=False)


def alone(function: Callable[..., Sample], *arguments: Any) -> Sample:
    """Makes a sample in a process of its own: what is measured starts with the memory of this."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class WrongResult(Exception):
    """The tables do not hold what was sent, so that the figure does not count."""


class Stub:
    """The stub API, a process of its own, which ends with this one in whatever way that ends."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "stub.log"
        (self._port,) = choose(1, set())
        self.settings = {"ASSAY_API__URL": f"http://{HOST}:{self._port}"}
        self._guarded: processes.Guarded | None = None

    @property
    def process(self) -> psutil.Process | None:
        """The process, where it runs."""
        return processes.find(self._guarded.identity) if self._guarded else None

    def restart(self) -> None:
        """Starts it anew; returns when it answers.

        Raises:
            WrongResult: it does not.
        """
        self.close()
        launch = Launch([sys.executable, _STUB, str(self._port)], os.environ)
        self._guarded = processes.start(launch, signal.SIGTERM, self._log)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError):
                if answers_ok(self._port, "/health/ready"):
                    return
            time.sleep(0.05)
        raise WrongResult("the stub API did not come up within a minute")

    def close(self) -> None:
        """Ends it."""
        if self._guarded is not None:
            self._guarded.end()
            self._guarded = None


@dataclass(frozen=True)
class Bench:
    """The servers, and a folder for files."""

    local: Local
    folder: Path
    keep: bool
    stub: Stub

    def fresh_api(self, api: Api) -> dict[str, str]:
        """Starts this API anew, so that it remembers nothing; returns how it is reached."""
        if api == "stub":
            self.stub.restart()
            return self.stub.settings
        self.local.api.restart()
        return self.local.api.settings

    def processes(self, names: Sequence[str], api: Api) -> dict[str, psutil.Process]:
        """The processes of these servers; `api` is the one of this API."""
        found = {each: getattr(self.local, each).process for each in names}
        if api == "stub":
            found["api"] = self.stub.process
        return {name: process for name, process in found.items() if process is not None}


def numbers(text: str, least: int = 1) -> list[int]:
    """The whole numbers of a list with commas.

    Raises:
        BadParameter: one is none, or less than the least.
    """
    found = [each.strip().replace("_", "") for each in text.split(",") if each.strip()]
    if wrong := [each for each in found if not each.isdecimal() or int(each) < least]:
        raise typer.BadParameter(f"{wrong[0]} is no number from {least} on")
    return list(map(int, found))


@contextmanager
def ended_in_words() -> Generator[None]:
    """Says why a benchmark ends early; SIGTERM ends all that was started, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (CommandFailed, LocalError, WrongResult) as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped")
        raise typer.Exit(130) from None


@contextmanager
def started(*names: str, keep: bool) -> Generator[Bench]:
    """Servers that end with the block."""
    with ExitStack() as stack:
        if keep:
            folder = Path(tempfile.mkdtemp(prefix="assay-benchmark-"))
            folder.chmod(0o711)  # PostgreSQL may run as another account, which must pass.
            console.print(f"kept in {folder}; `assay up --data {folder / 'servers'}` serves it")
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = folder / "servers" if keep else None
        # What the environment names is not used: it could not be measured.
        local = stack.enter_context(servers(data=data, environment={}))
        with console.status(f"Starting {', '.join(names)} …"):
            local.start(*names)
            if "kafka" in names:
                _settle(local)
        stub = Stub(folder)
        stack.callback(stub.close)
        yield Bench(local, folder, keep, stub)


def _settle(local: Local) -> None:
    """Kafka as it is in production: with topics of dead letters and events, and a group known.

    The first group of a new broker waits a second or two until the broker has made its own topic.
    """
    run([ASSAY, "stream", "topics"], {**os.environ, **local.settings}, {})
    first = Consumer({"bootstrap.servers": local.kafka.url, "group.id": "first", "log_level": 3})
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            first.committed([TopicPartition("transactions", 0)], timeout=_PATIENCE)
        except KafkaException:  # it looks for the coordinator once only
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            break
    first.close()


@dataclass(frozen=True)
class Rejects:
    """Where a contender leaves what breaks a rule: in a table, or on a topic.

    Attributes:
        table: its name.
        topic: its name; the table does not count then.
        servers: the topic's.
    """

    table: str = "errors"
    topic: str | None = None
    servers: str = ""

    def count(self, connection: psycopg.Connection) -> int:
        """How many there are."""
        if self.topic is not None:
            return messages(self.servers, self.topic)
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(self.table))
        row = connection.execute(count).fetchone()
        return int(row[0]) if row else 0

    def checksum(self, connection: psycopg.Connection) -> int:
        """The sum of the CRC-32 of the bytes of each."""
        if self.topic is not None:
            return sum(map(crc32, contents(self.servers, self.topic)))
        query = sql.SQL(_LETTERS).format(sql.Identifier(self.table))
        row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0


def contents(servers: str, topic: str) -> Generator[bytes]:
    """The values of the messages of a topic, of which none was deleted."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "benchmark-read",
            "enable.partition.eof": True,
            "log_level": 3,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions])
        ended = 0
        while ended < len(partitions):
            for each in consumer.consume(1_000, _SOON):
                if each.error() is None:
                    yield each.value() or b""
                else:
                    ended += 1
    finally:
        consumer.close()


def messages(servers: str, topic: str) -> int:
    """How many messages a topic has, of which none was deleted."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "benchmark-count", "log_level": 3}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        found = [consumer.get_watermark_offsets(TopicPartition(topic, each)) for each in partitions]
        return sum(high - low for low, high in found)
    finally:
        consumer.close()


# Under the same names, so that all that is asked of the tables is asked of these rows.
_SINCE: Final = "CREATE TEMP VIEW {0} AS SELECT * FROM public.{0} WHERE entry > {1}"


def check(
    url: str,
    way: str,
    sample: Sample,
    rejects: Rejects,
    since: int | None = None,
    *,
    half: bool = False,
) -> int:
    """Holds the tables against the sample; returns the sum over all predictions.

    Args:
        url: of the database.
        way: who has written them.
        sample: that was sent.
        rejects: where they are.
        since: the ledger entry after which rows count; None where all do.
        half: whether there are to be no predictions.

    Raises:
        WrongResult: something else came of it.
    """
    good = sample.rows - sample.broken
    with psycopg.connect(url) as connection:

        def first(query: str) -> tuple[Any, ...]:
            return connection.execute(query.encode()).fetchone() or ()

        if since is not None:
            for table in ("transactions", "predictions"):
                connection.execute(_SINCE.format(table, since).encode())
        by_number = "predictions JOIN transactions USING (number)"
        *counts, predicted = first(_RESULT.format(by_number if way == "assay" else "predictions"))
        counts.append(rejects.count(connection))
        wanted = [good, 0 if half else good, sample.broken]
        if counts != wanted:
            raise WrongResult(f"{way} stored {counts}, not {wanted}")
        if first(CHECKSUM) != (sample.checksum,):
            raise WrongResult(f"{way} stored other content than was sent")
        entered = (sample.rows + sample.again, good, sample.broken, sample.again)
        if sample.letters is not None and rejects.checksum(connection) != sample.letters:
            raise WrongResult(f"{way} has put other bytes aside than came broken")
        if way == "assay" and first(_LEDGER) != entered:
            raise WrongResult("the ledger does not say what the tables hold")
    return int(predicted)
