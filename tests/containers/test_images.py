"""The images: what is in them, what they need, and that the books balance with nothing else."""

import hashlib
import json
import time
from urllib.request import urlopen

import pytest
from containers.engine import ROOT, Engine
from containers.services import CONTRACTS, TARGETS, Services, ended, free_port
from demo import samples

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1_200)]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_the_product_and_nothing_else(containers: Engine, target: str) -> None:
    """No right is needed; no tool of its building and no test is in it, but a list of what is."""
    image = containers.client.images.get(f"assay-{target}:test")
    config = image.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert isinstance(config["Entrypoint"], list)  # signals reach the process
    asked = (
        "set -e; id -u; for each in uv gcc cc make; do ! command -v $each; done;"
        " find /app -path '*assay*' -name 'test_*.py' | head; ! ls /src 2>/dev/null"
    )
    found = containers.client.containers.run(
        image, ["-c", asked], entrypoint="sh", network_mode="none", remove=True
    )
    assert found.decode().split() == ["10001"]
    bill = containers.read(f"assay-{target}:test", "/app/sbom.cdx.json")
    names = {each["name"] for each in json.loads(bill)["components"]}
    assert {"pydantic", "apache-airflow" if target == "airflow" else "polars"} <= names
    assert not {"pytest", "ruff", "pyright"} & names
    record = json.loads(containers.read(f"assay-{target}:test", "/app/build.json"))
    project = ROOT / "application/orchestration" if target == "airflow" else ROOT
    lock = hashlib.sha256((project / "uv.lock").read_bytes()).hexdigest()
    assert (record["revision"], record["lock"]) == ("unknown", lock[:12])


def test_a_batch_and_a_stream_balance_in_containers(
    services: Services, bucket: str, api: str
) -> None:
    """Migrations, the API, a batch run, a producer and a consumer, each from its image."""
    assert api == services.environment["ASSAY_API__URL"]
    assert services.run("cli", "migrate").code == 0
    uri = f"s3://{bucket}/cards.csv"
    services.objects.write(uri, samples.csv(2_000, seed=1))
    run = ("batch", "run", uri, "--contract", "/contracts/transactions.odcs.yaml")
    done = services.run("batch", *run, mounts=CONTRACTS)
    assert done.code == 0, done.err
    assert done.summary["classified"] > 1_900
    again = services.run("batch", *run, mounts=CONTRACTS)
    assert again.code == 99, again.err

    assert services.run("streaming", "stream", "topics").code == 0
    produced = services.run(
        "streaming", "stream", "produce", "--rate", "max", "--records", "5000", "--faults", "0.01"
    )
    assert produced.code == 0, produced.err
    consumed = services.run("streaming", "stream", "consume", "--until-idle", "1")
    assert (consumed.code, consumed.summary["read"]) == (0, 5_000), consumed.err
    books = services.run("cli", "reconcile", "--json")
    assert (books.code, books.summary["balanced"]) == (0, True), books.out


def test_a_consumer_hears_its_signals(services: Services, api: str) -> None:
    """As the first process of a container; it is healthy, and ends as it should."""
    del api
    assert services.run("cli", "migrate").code == 0
    assert services.run("streaming", "stream", "topics").code == 0
    port = str(free_port())
    status = {"ASSAY_STREAM__STATUS_PORT": port}
    consumer = services.start("streaming", "stream", "consume", environment=status)
    over = time.monotonic() + 60
    while "partitions are assigned" not in consumer.logs().decode():
        assert time.monotonic() < over, consumer.logs().decode()
        time.sleep(0.2)
    with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as answer:
        assert answer.status == 200
    consumer.kill("SIGTERM")
    done = ended(consumer)
    assert (done.code, done.summary["status"]) == (0, "stopped"), done.err
