"""One stream reaches four targets, one of which is away for a while and catches up."""

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import polars as pl
import psycopg
from deltalake import DeltaTable

from demo.batch import BUCKET, bucket
from demo.steps import Started, assay, console, last_line, require, running, table

_CATEGORY = "Restaurant"
_PRODUCER = ("stream", "produce", "--rate", "1500", "--faults", "0.02", "--seconds", "10")
_CLASSIFIER = ("stream", "classify")
_CONNECTORS = ("postgres", "archive", "lake", "webhook")
_PATIENCE = 60  # seconds until the demo gives up


class _Listener:
    """Takes what a webhook is told, and counts it."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        lock, ids = Lock(), self.ids

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    ids.add(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the same
                """Says nothing."""

        # Bound and not listening yet: nobody else takes the port, and nobody answers.
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.server_bind()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    @contextmanager
    def listening(self) -> Generator[None]:
        """Answers while the block lasts."""
        self._server.server_activate()
        thread = Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()

    def close(self) -> None:
        """Gives the port back."""
        self._server.server_close()


def show(environment: Mapping[str, str]) -> None:
    """Shows it; the tables are there."""
    console.rule("Fan-out", align="left")
    listener = _Listener()
    try:
        bucket(environment)
        own = {
            **environment,
            "ASSAY_ARCHIVE__URI": f"s3://{BUCKET}/archive/",
            "ASSAY_LAKE__URI": f"s3://{BUCKET}/lake",
            "ASSAY_WEBHOOK__URL": listener.url,
            "ASSAY_WEBHOOK__SECRET": "a secret of the demo",
            "ASSAY_WEBHOOK__CATEGORIES": _CATEGORY,
        }
        _show(own, listener)
    finally:
        listener.close()


def _show(environment: Mapping[str, str], listener: _Listener) -> None:
    _say_run("1.", "stream", "topics")
    assay(environment, "stream", "topics")
    console.print("\n2. Records are classified once. Four connectors take them to four places.")
    # Files every two seconds; as a rule it is every minute.
    often = {**environment, "ASSAY_STREAM__LINGER": "2"}
    connectors = [("connect", name) for name in _CONNECTORS]
    for each in (_PRODUCER, _CLASSIFIER, *connectors):
        _say_run("  ", *each)
    with running(environment, _CLASSIFIER) as classifiers, running(often, *connectors) as started:
        sent = last_line(assay(environment, *_PRODUCER))["delivered"]
        with console.status("Waiting until three of them have read all there is …"):
            _wait(lambda: _read(environment) == sent, [*classifiers, *started])
            _wait(lambda: _behind(environment) == {"assay-webhook"}, started)
        console.print("\n3. Nobody listens to the webhook. That holds up nobody else:\n")
        _say_run("  ", "connect", "status")
        assay(environment, "connect", "status", show=True)
        console.print("4. Now somebody does.")
        with listener.listening():
            began = time.monotonic()
            with console.status("Waiting until it has caught up …"):
                _wait(lambda: not _behind(environment), started)
            console.print(
                f"   {time.monotonic() - began:.1f} s later all are told: {len(listener.ids):,} "
                f"requests for {_CATEGORY}, signed."
            )
            console.print("   SIGTERM ends all of them.")
            done = [each.stop() for each in started]
            classified = classifiers[0].stop()
    _hold_against(
        environment, sent, classified, dict(zip(_CONNECTORS, done, strict=True)), listener
    )


def _hold_against(
    environment: Mapping[str, str],
    sent: int,
    classified: Mapping[str, Any],
    done: Mapping[str, Mapping[str, Any]],
    listener: _Listener,
) -> None:
    console.print("\n5. What is there, held against what was classified.")
    require(classified["read"] == sent, f"{classified['read']:,} of {sent:,} were read")
    found = {
        "postgres": _rows(environment),
        "archive": _archived(environment),
        "lake": _in_lake(environment),
        "webhook": len(listener.ids),
    }
    names = ("read", "classified", "rejected", "duplicate")
    shown = table("target", *names, "there", numbers=(*names, "there"))
    for name, each in done.items():
        doors = (each[door] for door in names)
        shown.add_row(name, *(f"{number:,}" for number in doors), f"{found[name]:,}")
        require(each["read"] == classified["classified"], f"{name} has read {each['read']:,}")
    console.print(shown)
    for name in ("postgres", "archive", "lake"):
        require(found[name] == done[name]["classified"], f"{name} holds {found[name]:,}")
    console.print(f"   The webhook wanted {_CATEGORY} only; PostgreSQL alone knows ids, so the")
    console.print("   others have those that came again, too.")
    console.print("\n6. The books of the whole way, from the topic to the rows.")
    _say_run("  ", "reconcile")
    books = json.loads(assay(environment, "reconcile", "--json"))
    require(books["balanced"] and not books["on_the_way"], "the books do not balance")
    console.print(f"   [green]The books balance[/], over {books['entries']:,} ledger entries.\n")


def _read(environment: Mapping[str, str]) -> int:
    """How many records the classifier has read, as the copied ledger says."""
    return _number(
        environment,
        "SELECT coalesce(sum(read), 0)::bigint FROM ledger WHERE source = 'kafka/transactions'",
    )


def _rows(environment: Mapping[str, str]) -> int:
    return _number(environment, "SELECT count(*) FROM transactions")


def _number(environment: Mapping[str, str], query: str) -> int:
    with psycopg.connect(environment["ASSAY_POSTGRES__URL"]) as connection:
        row = connection.execute(query.encode()).fetchone()
    return 0 if row is None else row[0]


def _behind(environment: Mapping[str, str]) -> set[str]:
    """The groups that have not read all predictions yet."""
    readers = json.loads(assay(environment, "connect", "status", "--json"))["readers"]
    behind = {each["group"] for each in readers if any(each["lag"].values())}
    missing = {f"assay-{name}" for name in _CONNECTORS} - {each["group"] for each in readers}
    return behind | missing


def _storage(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        "endpoint_url": environment["ASSAY_S3__ENDPOINT_URL"],
        "aws_access_key_id": environment["ASSAY_S3__ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["ASSAY_S3__SECRET_ACCESS_KEY"],
        "region": environment["ASSAY_S3__REGION"],
        "allow_http": "true",
    }


def _archived(environment: Mapping[str, str]) -> int:
    files = f"{environment['ASSAY_ARCHIVE__URI']}**/*.parquet"
    return (
        pl.scan_parquet(files, storage_options=_storage(environment))
        .select(pl.len())
        .collect()
        .item()
    )


def _in_lake(environment: Mapping[str, str]) -> int:
    table = DeltaTable(environment["ASSAY_LAKE__URI"], storage_options=_storage(environment))
    return table.count()


def _wait(holds: Callable[[], bool], services: list[Started]) -> None:
    until = time.monotonic() + _PATIENCE
    while not holds():
        for each in services:
            each.require_running()
        require(time.monotonic() < until, f"not so after {_PATIENCE} s")
        time.sleep(0.2)


def _say_run(before: str, *command: str) -> None:
    console.print(f"{before} [bold]assay {' '.join(command)}[/]")
