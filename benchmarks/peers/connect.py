"""Kafka Connect with Debezium's JDBC sink: half of the work.

It fills the table of transactions, and no other: it asks no API, stores no predictions and holds
no record against a rule. Its converter reads JSON by a schema; what it cannot read goes to the
dead-letter topic (`errors.tolerance=all`). A record that PostgreSQL refuses stops its task for
good, as does a key that comes twice; so it reads a topic of its own, whose broken records are all
no JSON. A standalone worker, three tasks for three partitions, 10,000 records a poll and a batch,
many rows in one INSERT (`reWriteBatchedInserts`, which is as quick here as the sink's `unnest`, and
keeps amounts exact). Serial GC, a heap of up to 1 GiB.

At least once: killed between the commit of PostgreSQL and that of the offsets, it fails at the
first key that is there already; `insert.mode=upsert` would write it again. The worker has no end:
it is stopped once it has committed the position of the last record. It commits every half second,
and is asked four times a second, which is up to 0.8 s in its rate.

Run as a process: `connect.py TOPIC GROUP RECORDS LETTERS`; `BENCHMARK_CONNECT_JARS` names the
folder of its jars, `BENCHMARK_JAVA` a Java to run them.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_CONFIG: Final = Path(__file__).with_name("connect")
_LOOK: Final = 0.25  # seconds between two looks at its positions
_JAVA: Final = (
    "-Xms256m",
    "-Xmx1g",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def _environment(topic: str, group: str, letters: str, port: int, folder: str) -> dict[str, str]:
    """What the two files of properties ask for."""
    url = urlsplit(os.environ["ASSAY_POSTGRES__URL"])
    return {
        **os.environ,
        "BENCHMARK_TOPIC": topic,
        "BENCHMARK_GROUP": group,
        "BENCHMARK_LETTERS": letters,
        "BENCHMARK_LISTENER": f"http://127.0.0.1:{port}",
        "BENCHMARK_OFFSETS": str(Path(folder, "offsets")),
        "BENCHMARK_JDBC": f"jdbc:postgresql://{url.hostname}:{url.port}{url.path}"
        "?reWriteBatchedInserts=true&stringtype=unspecified",
        "BENCHMARK_USER": url.username or "",
        "BENCHMARK_PASSWORD": url.password or "",
    }


def _said(port: int, what: str) -> Any:
    """What the worker says of the connector; None where it does not know it yet."""
    url = f"http://127.0.0.1:{port}/connectors/transactions/{what}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def _committed(port: int) -> int:
    """The sum of the positions that the connector has committed."""
    said = _said(port, "offsets")
    return sum(each["offset"]["kafka_offset"] for each in said["offsets"]) if said else 0


def _follow(worker: "subprocess.Popen[bytes]", port: int, records: int) -> None:
    """Returns when all are committed; a task that has failed is the end as well."""
    before = 0
    while (committed := _committed(port)) < records:
        if worker.poll() is not None:
            raise SystemExit("the worker has ended by itself")
        if committed == before:
            said = _said(port, "status")
            tasks: list[dict[str, str]] = said["tasks"] if said else []
            if failed := [each["trace"] for each in tasks if each["state"] == "FAILED"]:
                raise SystemExit(failed[0])
        before = committed
        time.sleep(_LOOK)


def main(topic: str, group: str, records: int, letters: str) -> None:
    """Runs a worker until it has committed so many records; the last line has the time."""
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        worker = subprocess.Popen(  # noqa: S603 - our own command
            [
                os.environ["BENCHMARK_JAVA"],
                *_JAVA,
                "-cp",
                f"{os.environ['BENCHMARK_CONNECT_JARS']}/*",
                "org.apache.kafka.connect.cli.ConnectStandalone",
                str(_CONFIG / "worker.properties"),
                str(_CONFIG / "sink.properties"),
            ],
            env=_environment(topic, group, letters, port, folder),
        )
        try:
            _follow(worker, port, records)
        finally:
            worker.terminate()
            worker.wait()
    print(json.dumps({"seconds": round(time.monotonic() - began, 3)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
