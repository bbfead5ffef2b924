"""A real Prometheus with the rules that are shipped, and real services that it watches."""

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from streams import Stream, record, until
from test_alerts import FOLDER, queries, selected

from assay_local import Local, topics
from assay_local.ports import choose

SECONDS: Final = 60.0
"""That anything may take here."""


@dataclass(frozen=True)
class Prometheus:
    """The server."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:  # noqa: S310 - our own
            return json.load(answer)["data"]

    def finds(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives just now."""
        return self.ask("query", query=query)["result"]

    def rules(self) -> list[dict[str, Any]]:
        """All rules, and how they are."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urlopen(f"{self.url}/-/ready", timeout=5):  # noqa: S310 - our own
                return True
        except URLError:
            return False

    def alerts(self) -> set[tuple[str, str]]:
        """The alerts that are pending or fire, each with what it is about."""
        found = [each["labels"] for each in self.ask("alerts")["alerts"]]
        return {
            (each["alertname"], each.get("dependency") or each.get("job", "")) for each in found
        }


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Generator[Prometheus]:
    """Prometheus as it is shipped, but for whom it asks, and how often.

    Args:
        folder: for its data and log.
        targets: an address for each job.
    """
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / each) for each in config["rule_files"]]
    assert set(targets) <= {each["job_name"] for each in config["scrape_configs"]}
    config["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [url.removeprefix("http://")]}]}
        for job, url in targets.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{choose(1, set())[0]}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [  # noqa: S607 - wherever it is installed
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            server = Prometheus(f"http://{address}")
            until(server.is_ready, SECONDS)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def addresses(stream: Stream) -> dict[str, str]:
    """Where services answer, by what they read."""
    return dict(stream.system.query("SELECT source, status_url FROM runs WHERE status_url <> ''"))


@pytest.mark.system
def test_prometheus_finds_all_that_dashboards_ask_for(
    local: Local, stream: Stream, tmp_path: Path
) -> None:
    """Each series is there, each query is taken, each rule evaluated; an outage raises alerts."""
    source = f"kafka/{stream.topic}"
    stream.system.environment["ASSAY_API__URL"] = local.api.url
    topics.create(stream.servers, stream.topic)
    # So many that the API tells of drift.
    stream.put(b"no json", *(record(f"t-{number}") for number in range(25_000)))
    consumer = stream.system.start("stream", "consume")
    with stream.service():
        until(lambda: {source, "dead_letters"} <= set(addresses(stream)), SECONDS)
        targets = {
            "assay-api": local.api.url,
            "assay-consumers": addresses(stream)[source],
            "assay-dead-letters": addresses(stream)["dead_letters"],
        }
        with prometheus(tmp_path, targets) as server:
            until(lambda: bool(server.finds("assay_letters_waiting > 0")), SECONDS)
            stream.make()  # the letter's topic, too
            assert stream.balances()
            wanted = {name for query in queries() for name, _ in selected(query)}

            def are_there() -> bool:
                stream.put(*[record("one more")] * 3, b"no json")  # rates are those of traffic
                return wanted <= set(server.ask("label/__name__/values"))

            until(are_there, SECONDS)
            for query in set(queries()):
                server.finds(query)
            until(lambda: {each["health"] for each in server.rules()} == {"ok"}, SECONDS)

            outage = {("AssayBreakerOpen", "classifier"), ("AssayTargetDown", "assay-api")}
            assert not outage & server.alerts()
            local.api.kill()
            try:
                stream.put(record("late"))
                until(lambda: outage <= server.alerts(), SECONDS)
            finally:
                local.api.start()
            until(lambda: not outage & server.alerts(), SECONDS)
    consumer.terminate()
    assert stream.system.end(consumer).exit_code == 0
