"""Breaking servers on purpose, as the fault tests of other packages do."""

import http.client
import json
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from types_boto3_s3 import S3Client
from types_boto3_s3.type_defs import CreateBucketConfigurationTypeDef

from assay_local import Local, LocalError, Server, ServerError, databases, processes, servers
from assay_local.account import unprivileged
from assay_local.service import Launch


@pytest.fixture(scope="module")
def broken() -> Iterator[Local]:
    """Servers that these tests break and mend again."""
    with servers("postgres", "s3", durable=False, environment={}) as local:
        yield local


def client_of(server: Server, key: str) -> S3Client:
    """A client as Assay's services make theirs."""
    return boto3.client(  # pyright: ignore[reportUnknownMemberType] - stubs of S3 alone are installed
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=key,
        aws_secret_access_key=server.settings["ASSAY_S3__SECRET_ACCESS_KEY"],
        region_name=server.settings["ASSAY_S3__REGION"],
    )


def test_a_killed_postgres_loses_nothing_and_comes_back_at_its_address(broken: Local) -> None:
    """Kill leaves no process, also none of a busy session; start recovers at the same address."""
    server = broken.postgres
    url = server.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        process = server.process
        assert process
        members = [process, *process.children(recursive=True)]
        server.kill()
        assert processes.wait_gone(members, 0)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert server.start() == "started"
    assert server.url == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_stale_claim_on_the_data_does_not_hinder_a_start(broken: Local) -> None:
    """The claim of a dead server is ignored, though its process number was given to another."""
    server = broken.postgres
    server.kill()
    claim = server.site.folder.resolve() / "data/postmaster.pid"
    lines = claim.read_text().splitlines()
    account = unprivileged()
    other = processes.start(
        Launch(argv=["/bin/sleep", "600"], account=account), signal.SIGTERM, server.log
    )
    try:
        claim.write_text("\n".join([str(other.identity.pid), *lines[1:]]) + "\n")
        server.start()
        assert processes.find(other.identity)
    finally:
        other.end()


def test_a_server_whose_record_is_lost_is_replaced(broken: Local) -> None:
    """A PostgreSQL that nobody remembers gives way to the next one on its data."""
    server = broken.postgres
    lost = server.process
    assert lost
    state = broken.data / "state.json"
    remembered = json.loads(state.read_text())
    remembered["postgres"]["process"] = None
    state.write_text(json.dumps(remembered))
    server.start()
    assert processes.wait_gone([lost], 0)
    assert server.answers()


def test_a_paused_server_keeps_its_clients_waiting(broken: Local) -> None:
    """While paused it answers nobody; resumed, it goes on where it was."""
    with psycopg.connect(broken.postgres.url) as connection:
        broken.postgres.pause()
        assert not broken.postgres.answers()
        broken.postgres.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_guard_sleeps_after_a_pause(broken: Local) -> None:
    """That the server was stopped and goes on wakes it once, not for ever."""
    broken.postgres.pause()
    broken.postgres.resume()
    server = broken.postgres.process
    assert server is not None
    guard = server.parent()
    assert guard is not None
    before = guard.cpu_times().user
    time.sleep(1)
    assert guard.cpu_times().user - before < 0.3


def test_a_killed_s3_keeps_its_objects(broken: Local) -> None:
    """What was put is there after kill and start, at the same address."""
    server = broken.s3
    client = client_of(server, server.settings["ASSAY_S3__ACCESS_KEY_ID"])
    region: CreateBucketConfigurationTypeDef = {"LocationConstraint": "eu-central-1"}
    client.create_bucket(Bucket="kept", CreateBucketConfiguration=region)
    client.put_object(Bucket="kept", Key="a/b", Body=b"content")
    server.kill()
    server.start()
    assert client.get_object(Bucket="kept", Key="a/b")["Body"].read() == b"content"
    client.close()


def test_s3_refuses_an_unknown_key(broken: Local) -> None:
    """An access key that nobody gave out is refused, as S3 does."""
    client = client_of(broken.s3, "somebody")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client.create_bucket(Bucket="theirs")
    client.close()


def test_s3_is_all_that_the_emulator_serves(broken: Local) -> None:
    """The emulator's other services are off, and it listens on one local port only."""
    process = broken.s3.process
    assert process
    listening = [each.laddr for each in process.net_connections() if each.status == "LISTEN"]
    assert listening == [("127.0.0.1", broken.s3.site.port)]
    connection = http.client.HTTPConnection(urlsplit(broken.s3.url).netloc)
    connection.request("GET", "/_ministack/health")
    assert b'"services": {"s3": "available"}' in connection.getresponse().read()
    connection.close()


def test_a_server_that_is_down_cannot_be_killed(broken: Local) -> None:
    """Breaking what does not run is an error of the test, and said."""
    broken.s3.stop()
    for action in (Server.kill, Server.pause, Server.resume):
        with pytest.raises(LocalError, match="s3 is not running"):
            action(broken.s3)
    broken.s3.restart()
    assert broken.s3.answers()


def test_databases_are_copied_and_dropped(broken: Local) -> None:
    """A database made from a template has its tables; a drop does not mind who is connected."""
    url = broken.postgres.url
    name = f"template_{secrets.token_hex(4)}"
    with psycopg.connect(databases.create(url, name)) as connection:
        connection.execute("CREATE TABLE copied (number int)")
    copy = databases.create(url, f"{name}_copy", template=name)
    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM copied").fetchone() == (0,)
    with closing(psycopg.connect(copy)):
        databases.drop(url, f"{name}_copy")
    databases.drop(url, name)
    databases.drop(url, name)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)


def test_postgres_runs_with_the_settings_that_it_names(broken: Local) -> None:
    """Version, sort order, time zone and durability are as documented."""
    asked = """
        SELECT current_setting('server_version_num')::int / 10000, current_setting('fsync'),
               current_setting('TimeZone'), current_setting('password_encryption'), 'Z' < 'a'
    """
    with psycopg.connect(broken.postgres.url) as connection:
        assert connection.execute(asked).fetchone() == (18, "off", "UTC", "scram-sha-256", True)


def test_a_server_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    """A command that the system does not start is told with the system's reason."""
    with pytest.raises(processes.StartError, match="No such file"):
        processes.start(Launch(argv=["/nonexistent"]), signal.SIGTERM, tmp_path / "log")


def test_a_port_taken_while_a_server_was_down_is_said(broken: Local) -> None:
    """A server keeps its address: where another program has taken it, the start fails."""
    broken.s3.stop()
    with (
        socket.create_server(("127.0.0.1", broken.s3.site.port)),
        pytest.raises(ServerError, match="taken by another program"),
    ):
        broken.s3.start()
    broken.s3.start()
