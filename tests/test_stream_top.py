"""`assay top` beside a consumer that runs."""

import signal
import time

from system import System


def test_top_shows_a_running_consumer(system: System, kafka_servers: str, topic: str) -> None:
    """What it has read, its partitions and their lag; when it has ended, nothing is there."""
    system.environment |= {
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS": kafka_servers,
        "ASSAY_STREAM__TOPIC": topic,
        "ASSAY_STREAM__STATUS_HOST": "0.0.0.0",  # noqa: S104 - as in a container
    }
    consumer = system.start("stream", "consume")
    produced = system.run("stream", "produce", "--rate", "max", "--records", "300")
    assert produced.exit_code == 0, produced.errors
    deadline = time.monotonic() + 120
    looked = system.run("top", "--once", "--json")
    while looked.exit_code or not looked.summary["services"][0].get("commit_seconds"):
        assert consumer.poll() is None
        assert time.monotonic() < deadline
        looked = system.run("top", "--once", "--json")
    (service,) = looked.summary["services"]
    assert (service["kind"], service["source"]) == ("stream", f"kafka/{topic}")
    assert service["state"] == "ready"
    assert service["records"] == {"classified": 300, "rejected": 0, "duplicate": 0}
    assert set(service["rates"]) == {"classified", "rejected", "duplicate"}
    assert (service["partitions"], service["breakers_open"]) == (["0", "1", "2"], [])
    lag = [(each["source"], each["partition"], each["lag"]) for each in looked.summary["lag"]]
    assert lag == [(f"kafka/{topic}", each, 0) for each in ("0", "1", "2")]

    consumer.send_signal(signal.SIGTERM)
    assert system.end(consumer).exit_code == 0
    assert system.run("top", "--once").exit_code == 99
