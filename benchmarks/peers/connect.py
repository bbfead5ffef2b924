"""Kafka Connect with Debezium's JDBC sink: half of the work.

It fills the table of transactions, and no other: it asks no API, stores no predictions and holds no
record against a rule. Its converter reads JSON by a schema; what it cannot read goes to the
dead-letter topic (`errors.tolerance=all`). A record that PostgreSQL refuses stops its task for good,
so that its topic has, of the broken records, only those that are no JSON. A standalone worker, three
tasks for three partitions, 10,000 records a poll and a batch, many rows in one INSERT
(`reWriteBatchedInserts`).

At least once: killed between the commit of PostgreSQL and that of the offsets, it fails at the
first key that is there already; `insert.mode=upsert` would write it again. The worker has no end: it
is stopped once it has committed the position of the last record, which it does every half second.

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
from typing import Final
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


def _committed(port: int) -> int:
    """The sum of the positions that the connector has committed, as the worker says it."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/connectors/transactions/offsets", timeout=5
        ) as answer:
            found = json.load(answer)["offsets"]
    except OSError:  # it does not listen yet
        return 0
    return sum(each["offset"]["kafka_offset"] for each in found)


def main(topic: str, group: str, records: int, letters: str) -> None:
    """Runs a worker until it has committed so many records; the last line has the time."""
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        worker = subprocess.Popen(
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
            while _committed(port) < records:
                if worker.poll() is not None:
                    raise SystemExit("the worker has ended by itself")
                time.sleep(_LOOK)
        finally:
            worker.terminate()
            worker.wait()
    print(json.dumps({"seconds": round(time.monotonic() - began, 3)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
