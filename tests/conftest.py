"""Whole flows: the real commands on real servers."""

import functools
import os
import secrets
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from impostor import Impostor, impostor
from pydantic import SecretStr
from streams import Stream
from system import System

from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.migrate import migrate
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_local import Local, databases
from assay_local.pytest_plugin import S3Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def template(local: Local) -> str:
    """The name of a migrated database, to make others from."""
    name = f"flow_template_{os.urandom(4).hex()}"  # other sessions may share the server
    migrate(PostgresConfig(url=SecretStr(databases.create(local.postgres.url, name))))
    return name


@functools.cache
def _client(settings: S3Settings) -> "S3Client":
    """One for all tests: to make one takes longer than to make a database."""
    return s3_client(S3Config.model_validate(vars(settings)))


@contextmanager
def _systems(
    local: Local, template: str, s3_settings: S3Settings, folder: Path
) -> Generator[Callable[[], System]]:
    local.start("postgres", "s3", "api")  # a test before may have killed one
    made: list[tuple[System, str]] = []

    def make() -> System:
        name = f"flow_{os.getpid()}_{len(made)}_{os.urandom(4).hex()}"
        url = databases.create(local.postgres.url, name, template=template)
        keys = {f"ASSAY_S3__{name.upper()}": value for name, value in vars(s3_settings).items()}
        api = {"ASSAY_API__URL": local.api.url, "ASSAY_POSTGRES__URL": url, "COLUMNS": "80"}
        bucket = name.replace("_", "-")
        client = _client(s3_settings)
        client.create_bucket(
            Bucket=bucket,
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        system = System({**os.environ, **keys, **api}, bucket, S3Objects(client), folder)
        made.append((system, name))
        return system

    yield make
    local.start("postgres")
    for system, name in made:
        for process in system.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()
        databases.drop(local.postgres.url, name)


@pytest.fixture
def make_system(
    local: Local,
    template: str,
    s3_settings: S3Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], System]]:
    """Makes systems that share the servers and nothing else."""
    with _systems(local, template, s3_settings, tmp_path_factory.mktemp("said")) as make:
        yield make


@pytest.fixture
def system(make_system: Callable[[], System]) -> System:
    """A system of its own."""
    return make_system()


@pytest.fixture(scope="module")
def shared_system(
    local: Local,
    template: str,
    s3_settings: S3Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """One system for all tests of a module, which look at what one run has done."""
    with _systems(local, template, s3_settings, tmp_path_factory.mktemp("run")) as make:
        yield make()


@pytest.fixture
def api() -> Iterator[Impostor]:
    """What answers in the model API's place."""
    with impostor() as state:
        yield state


@pytest.fixture
def stream(system: System, kafka_servers: str, api: Impostor) -> Stream:
    """A system with topics of its own, which are not made yet."""
    return Stream(system, kafka_servers, api, f"s{secrets.token_hex(4)}")
