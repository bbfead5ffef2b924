"""Images of this checkout, built once, and the servers that their containers use."""

import os
import secrets
import time
from collections.abc import Generator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from containers.engine import Engine, engine
from containers.services import TARGETS, Services, free_port

from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_local import Local, databases


@pytest.fixture(scope="session")
def containers() -> Generator[Engine]:
    """An engine, with an image `assay-<target>:test` of each target."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    with engine(cache / "assay" / "containers") as running:
        for each in TARGETS:
            running.build(each, f"assay-{each}:test")
        yield running


@pytest.fixture
def services(containers: Engine, local: Local) -> Generator[Services]:
    """Containers on an empty database, and topics and a group of their own."""
    name = f"c{secrets.token_hex(4)}"
    local.start("postgres", "kafka", "s3")
    settings = {**local.postgres.settings, **local.kafka.settings, **local.s3.settings}
    settings |= {
        "ASSAY_POSTGRES__URL": databases.create(local.postgres.url, name),
        **{
            f"ASSAY_STREAM__{setting}": f"{name}-{setting.lower()}"
            for setting in (
                *("TOPIC", "DEAD_LETTER_TOPIC", "EVENT_TOPIC", "PREDICTION_TOPIC"),
                *("LEDGER_TOPIC", "GROUP"),
            )
        },
        "ASSAY_STREAM__STATUS_PORT": "0",
        "ASSAY_STREAM__STATUS_HOST": "127.0.0.1",
    }
    s3 = {name.removeprefix("ASSAY_S3__").lower(): each for name, each in local.s3.settings.items()}
    objects = S3Objects(s3_client(S3Config.model_validate(s3)))
    made = Services(containers, settings, objects)
    yield made
    for each in made.started:
        each.remove(force=True)
    databases.drop(local.postgres.url, name)


@pytest.fixture
def api(services: Services) -> str:
    """The address of a model API in a container, ready; the services are told of it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = {"ASSAY_SERVER__HOST": "127.0.0.1", "ASSAY_SERVER__PORT": str(port)}
    container = services.start("api", environment=server)
    services.environment["ASSAY_API__URL"] = url
    over = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"{url}/health/ready", timeout=5):  # noqa: S310 - our own
                return url
        except URLError:
            assert time.monotonic() < over, container.logs().decode()
            time.sleep(0.2)
