"""Connections with TLS and credentials, to servers that take no others."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from encrypted import (
    PASSWORD,
    Broker,
    Certificates,
    behind_tls,
    broker,
    certificates,
    database,
    model_api,
)
from system import System

from assay_local import Local
from assay_local.pytest_plugin import S3Settings

KEY: Final = "a-key-that-is-as-long-as-keys-are"
CSV: Final = (
    "id;description;amount;timestamp;merchant;operation_type;side\n"
    "t-1;CORNER BISTRO;12,50;2026-01-02T10:11:12Z;;payment;debit\n"
    "t-2;CORNER BISTRO;wrong;2026-01-02T10:11:12Z;;payment;debit\n"
)


@dataclass(frozen=True)
class Secure:
    """Servers that take nothing but TLS, and settings by which all of them are reached."""

    own: Certificates
    broker: Broker
    api: str
    s3: str
    secrets: Path

    @property
    def settings(self) -> dict[str, str]:
        ca = str(self.own.ca)
        return {
            "ASSAY_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{self.broker.password}",
            "ASSAY_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "ASSAY_KAFKA__SASL_USERNAME": "assay",
            "ASSAY_KAFKA__SASL_PASSWORD_FILE": self.file("kafka", PASSWORD),
            "ASSAY_KAFKA__SSL_CA_LOCATION": ca,
            "ASSAY_API__URL": self.api,
            "ASSAY_API__CA_BUNDLE": ca,
            "ASSAY_API__API_KEY_FILE": self.file("api", KEY),
            "ASSAY_S3__ENDPOINT_URL": self.s3,
            "ASSAY_S3__CA_BUNDLE": ca,
        }

    def file(self, name: str, secret: str) -> str:
        """A secret's file."""
        path = self.secrets / name
        path.write_text(f"{secret}\n")
        return str(path)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The certificates of this module."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(
    local: Local,
    s3_settings: S3Settings,
    own: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Secure]:
    """Kafka, S3 and the model API."""
    place = tmp_path_factory.mktemp("secure")
    for name in ("kafka", "api", "secrets"):
        (place / name).mkdir()
    local.s3.start()
    with (
        broker(place / "kafka", own) as kafka,
        model_api(place / "api", own, API_KEYS=f"another-key, {KEY}") as api,
        behind_tls(s3_settings.endpoint_url, own) as s3,
    ):
        yield Secure(own, kafka, api, s3, place / "secrets")


@pytest.fixture
def there(system: System, secure: Secure) -> System:
    """A system that reaches these servers."""
    system.environment |= secure.settings
    return system


def test_files_and_streams_over_tls(there: System) -> None:
    """A batch run with its rejects and archive, a stream with its dead letters; books balance."""
    for words in (("stream", "topics"), ("doctor",)):
        one = there.fork(*words)
        assert one.end().exit_code == 0, one.out.read_text() + one.err.read_text()
    there.put("inbox/day.csv", CSV.encode())
    done = there.batch(there.uri("inbox/"), "--reject-limit", "1", "--archive")
    assert done.exit_code == 0, done.errors
    assert (done.summary["classified"], done.summary["rejected"]) == (1, 1)
    produce = ("stream", "produce", "--rate", "max", "--records", "300", "--faults", "0.1")
    done = there.quick(*produce, "--seed", "1")
    assert done.exit_code == 0, done.errors
    done = there.quick("stream", "consume", "--until-idle", "0.3", "--reject-limit", "1")
    assert done.exit_code == 0, done.errors
    assert done.summary["read"] >= 300
    assert done.summary["rejected"] > 0
    done = there.quick("stream", "dead-letters", "--once", "--no-retry")
    assert done.exit_code == 0, done.errors
    assert there.query("SELECT count(*) FROM dead_letters WHERE published_at IS NULL") == [(0,)]
    assert there.balances()


def test_who_is_refused_is_told_what_to_do(there: System, secure: Secure) -> None:
    """By Kafka, the model API and S3, within seconds: 78, or 75 where it might pass."""
    another, own = str(secure.own.another_ca), secure.own
    password, certificate = secure.broker.password, secure.broker.certificate
    mutual = {
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{certificate}",
        "ASSAY_KAFKA__SECURITY_PROTOCOL": "SSL",
    }
    files = {"ssl.certificate.location": own.client, "ssl.key.location": own.client_key}
    properties = json.dumps({name: str(each) for name, each in files.items()})
    by_name = f"localhost:{password}"
    login, tls = "ASSAY_KAFKA__SASL_…", "ASSAY_KAFKA__SSL_CA_LOCATION"
    topics, run = ("stream", "topics"), ("doctor",)
    api, s3 = "ASSAY_API__CA_BUNDLE", "ASSAY_S3__CA_BUNDLE"
    wrong_key = secure.file("wrong", "geheim")
    cases: list[tuple[Sequence[str], Mapping[str, str], int, str]] = [
        (topics, {"ASSAY_KAFKA__SASL_PASSWORD_FILE": wrong_key}, 78, login),
        (topics, {"ASSAY_KAFKA__SASL_USERNAME": "nobody"}, 78, login),
        (topics, {"ASSAY_KAFKA__SASL_MECHANISM": "PLAIN"}, 78, login),
        (topics, {tls: another}, 78, tls),
        (topics, {"ASSAY_KAFKA__BOOTSTRAP_SERVERS": by_name}, 78, "host names"),
        (topics, {"ASSAY_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT"}, 75, "if it wants TLS"),
        (topics, mutual, 78, "the client's own in ASSAY_KAFKA__PROPERTIES"),
        (topics, mutual | {"ASSAY_KAFKA__PROPERTIES": properties}, 0, ""),
        (run, {api: another}, 78, api),
        (run, {"ASSAY_API__URL": secure.api.replace("127.0.0.1", "localhost")}, 78, api),
        (run, {"ASSAY_API__URL": secure.api.replace("https", "http")}, 75, "begin with https://"),
        (run, {"ASSAY_API__API_KEY_FILE": wrong_key}, 78, "ASSAY_API__API_KEY"),
        (run, {s3: another}, 78, s3),
        (run, {"ASSAY_S3__ENDPOINT_URL": secure.s3.replace("127.0.0.1", "localhost")}, 78, s3),
        (run, {"ASSAY_S3__ACCESS_KEY_ID": "nobody"}, 78, "ASSAY_S3__ACCESS_KEY_ID"),
    ]
    began = [there.fork(*words, **settings) for words, settings, _, _ in cases]
    for each, (_, settings, code, said) in zip(began, cases, strict=True):
        done = each.end()
        shown = done.errors + each.out.read_text()
        assert done.exit_code == code, f"{settings}: {shown}"
        assert " ".join(said.split()) in " ".join(shown.split()), f"{settings}: {shown}"
        assert "geheim" not in shown


PROGRAMS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.mark.postgres_tls
def test_postgresql_over_tls(
    system: System, own: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Migrations, doctor, COPY and books, with a password or a certificate; what is refused."""
    place = tmp_path_factory.mktemp("encrypted") / "postgres"
    place.mkdir()
    with database(place, PROGRAMS[-1], own) as address:

        def url(parameters: str, name: str = "assay", host: str = "127.0.0.1") -> dict[str, str]:
            return {"ASSAY_POSTGRES__URL": f"{address.format(host=host)}/{name}?{parameters}"}

        verified = f"sslmode=verify-full&sslrootcert={own.ca}"
        certified = f"{verified}&sslcert={own.client}&sslkey={own.client_key}"
        system.put("inbox/day.csv", CSV.encode())
        for settings in (url(verified), url(certified, "certified")):
            done = system.quick("migrate", **settings)
            assert done.exit_code == 0, done.errors
            doctor = system.fork("doctor", **settings)
            doctor.end()  # 78: no Kafka is named
            assert "ok     migrations" in doctor.out.read_text()
            done = system.batch(system.uri("inbox/"), "--reject-limit", "1", **settings)
            assert done.exit_code == 0, done.errors
            assert (done.summary["classified"], done.summary["rejected"]) == (1, 1)
            done = system.quick("reconcile", **settings)
            assert done.exit_code == 0, done.errors
        wrong = {
            "certificate verify failed": url(f"sslmode=verify-full&sslrootcert={own.another_ca}"),
            "does not match host name": url(verified, host="localhost"),
            "user and password": url(verified) | {"ASSAY_POSTGRES__PASSWORD": "geheim"},
            "ASSAY_POSTGRES__URL": url("sslmode=disable"),
            "certificate": url(verified, "certified"),
            "root certificate file": url("sslmode=verify-full&sslrootcert=/missing.pem"),
        }
        for said, settings in wrong.items():
            done = system.quick("migrate", **settings)
            assert done.exit_code == 78, f"{said}: {done.errors}"
            assert said in done.errors, done.errors
            assert PASSWORD not in done.errors
            assert "geheim" not in done.errors
