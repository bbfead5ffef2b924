"""Fixtures that run tests on real servers: `pytest_plugins = ["assay_local.pytest_plugin"]`.

A server starts when a test first needs it, and ends with the session, however that ends; three
brokers of Kafka end with the module. Where the environment names a server already
(ASSAY_POSTGRES__URL, ASSAY_S3__ENDPOINT_URL, ASSAY_API__URL, ASSAY_KAFKA__BOOTSTRAP_SERVERS), that
one is used. A server that cannot be had fails the test.
"""

import http.client
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from assay_local import Local, servers


@dataclass(frozen=True)
class S3Settings:
    """Where object storage is, and with which keys."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str


@pytest.fixture(scope="session")
def local() -> Iterator[Local]:
    """The servers of this test session, each started when it is first asked for."""
    with servers(durable=False) as running:
        yield running


@pytest.fixture
def postgres_url(local: Local) -> Iterator[str]:
    """The URL of an empty database, for this test alone."""
    # Imported here, as below: a run without these tests need not wait for it.
    from assay_local import databases  # noqa: PLC0415

    name = f"test_{secrets.token_hex(8)}"
    server = local.postgres
    server.start()  # A test before may have killed it.
    yield databases.create(server.url, name)
    server.start()
    databases.drop(server.url, name)


@pytest.fixture(scope="session")
def s3_settings(local: Local) -> S3Settings:
    """Where object storage is."""
    settings = local.s3.settings
    return S3Settings(
        endpoint_url=settings["ASSAY_S3__ENDPOINT_URL"],
        access_key_id=settings["ASSAY_S3__ACCESS_KEY_ID"],
        secret_access_key=settings["ASSAY_S3__SECRET_ACCESS_KEY"],
        region=settings["ASSAY_S3__REGION"],
    )


@pytest.fixture
def bucket(local: Local, s3_settings: S3Settings) -> str:
    """The name of an empty bucket, for this test alone; it is not deleted."""
    from botocore.auth import S3SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    local.s3.start()  # A test before may have killed it.
    name = f"test-{secrets.token_hex(8)}"
    request = AWSRequest(
        method="PUT",
        url=f"{s3_settings.endpoint_url}/{name}",
        data=(
            "<CreateBucketConfiguration><LocationConstraint>"
            f"{s3_settings.region}"
            "</LocationConstraint></CreateBucketConfiguration>"
        ),
    )
    keys = Credentials(s3_settings.access_key_id, s3_settings.secret_access_key)
    S3SigV4Auth(keys, "s3", s3_settings.region).add_auth(request)
    address = urlsplit(s3_settings.endpoint_url)
    secure = address.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(address.netloc, timeout=30)
    try:
        connection.request("PUT", f"{address.path}/{name}", request.data, dict(request.headers))
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            pytest.fail(f"No bucket to be had: {response.read().decode()}")
    finally:
        connection.close()
    return name


@pytest.fixture
def kafka_servers(local: Local) -> str:
    """Where Kafka is: the bootstrap servers of a broker that serves."""
    local.kafka.start()  # A test before may have killed it.
    return local.kafka.url


@pytest.fixture
def topic(kafka_servers: str) -> str:
    """The name of an empty topic with three partitions, for this test alone; it is not deleted."""
    from assay_local import topics  # noqa: PLC0415

    return topics.create(kafka_servers, f"test-{secrets.token_hex(8)}")


@pytest.fixture(scope="module")
def local_cluster() -> Iterator[Local]:
    """Three brokers of Apache Kafka for a test module, started when they are asked for.

    Kept, they would slow down all tests that come after: a broker is never idle.
    """
    with servers(durable=False, environment={}, brokers=3) as running:
        yield running


@pytest.fixture
def kafka_cluster(local_cluster: Local) -> Local:
    """The same, all three serving: `kafka.url` names them, `brokers` holds them."""
    local_cluster.start("kafka")  # A test before may have killed some.
    return local_cluster
