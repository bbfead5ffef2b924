"""The fixtures for other packages' tests, in a pytest of their own."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from assay_local import servers

TESTS = """
import boto3
import psycopg

seen = set()

def ask(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchone()

def test_first(postgres_url):
    seen.add(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE t (n int)")

def test_second(postgres_url):
    assert postgres_url not in seen
    assert ask(postgres_url, "SELECT to_regclass('t')") == (None,)

def test_killing(postgres_url, local):
    local.postgres.kill()

def test_after_it(postgres_url):
    assert ask(postgres_url, "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'") == (1,)

def test_bucket(bucket, s3_settings):
    client = boto3.client(
        "s3",
        endpoint_url=s3_settings.endpoint_url,
        aws_access_key_id=s3_settings.access_key_id,
        aws_secret_access_key=s3_settings.secret_access_key,
        region_name=s3_settings.region,
    )
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] == s3_settings.region
    client.close()
"""


def run_tests(folder: Path, *words: str) -> str:
    """The summary of a pytest that uses the plugin."""
    (folder / "test_inner.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "assay_local.pytest_plugin", "-W", "error", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_every_test_has_a_database_and_a_bucket_of_its_own(project: Path) -> None:
    """Databases are empty, go with their test, and outlast a test that kills the server."""
    assert "5 passed" in run_tests(project)
    assert not (project / ".env").exists()
    assert not (project / ".assay").exists()


def test_databases_are_made_on_the_server_that_the_environment_names(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an external server the tests run there, and leave it as it was."""
    with servers("postgres", durable=False, environment={}) as local:
        monkeypatch.setenv("ASSAY_POSTGRES__URL", local.postgres.url)
        assert "3 passed" in run_tests(project, "-k", "first or second or after")
        with psycopg.connect(local.postgres.url) as connection:
            left = connection.execute("SELECT count(*) FROM pg_database").fetchone()
        assert left == (4,)
