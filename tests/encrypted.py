"""Servers that demand TLS and credentials, with certificates made for them."""

# A broker is made by the steps of `assay_local.kafka`, with other settings.
# pyright: reportPrivateUsage=false

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from assay_local import api, kafka, ports, postgres, processes
from assay_local.account import home, remove_elsewhere, unprivileged
from assay_local.service import HOST, Launch, Service, Site

PASSWORD: Final = "sesame-open"
"""Of the user `assay`, at Kafka and PostgreSQL."""


@dataclass(frozen=True)
class Certificates:
    """An authority, what it has signed for this host, and another authority; all as files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    another_ca: Path


def certificates(place: Path) -> Certificates:
    """Made anew; the server's is for 127.0.0.1 and for no name, the client's for `assay`."""
    authority = trustme.CA()
    server = authority.issue_cert(HOST)
    client = authority.issue_cert("client.example", common_name="assay")

    def written(name: str, *parts: bytes) -> Path:
        path = place / name
        path.touch(mode=0o600)
        path.write_bytes(b"".join(parts))
        return path

    return Certificates(
        written("ca.pem", authority.cert_pem.bytes()),
        written("server.pem", *(each.bytes() for each in server.cert_chain_pems)),
        written("server.key", _key(server)),
        written("client.pem", *(each.bytes() for each in client.cert_chain_pems)),
        written("client.key", _key(client)),
        written("another.pem", trustme.CA().cert_pem.bytes()),
    )


def _key(certificate: trustme.LeafCert) -> bytes:
    """In PKCS #8, the only form that Java reads."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Broker:
    """Kafka: one port wants a password, the other a certificate."""

    password: int
    certificate: int


@contextmanager
def broker(place: Path, own: Certificates) -> Generator[Broker]:
    """A broker that speaks TLS with everybody, itself included."""
    chosen = ports.choose(3, set())
    site = Site(place, chosen[:2], secret="00" * 16, cluster=(chosen[:2],))
    (place / "tmp").mkdir()
    keystore = place / "keystore.pem"
    keystore.write_bytes(own.server_key.read_bytes() + own.server.read_bytes())
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    settings = {
        "listeners": f"SASL_SSL://{HOST}:{chosen[0]},SSL://{HOST}:{chosen[2]},"
        f"CONTROLLER://{HOST}:{chosen[1]}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            f'{login} username="assay" password="{PASSWORD}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(own.ca),
        "listener.name.ssl.ssl.client.auth": "required",
    }
    file = kafka._write_settings(site, "data")
    with file.open("a") as more:
        more.writelines(f"{name}={value}\n" for name, value in settings.items())
    scram = f"SCRAM-SHA-512=[name=assay,password={PASSWORD}]"
    format_it = ["kafka.tools.StorageTool", "format", "--cluster-id", "A" * 22]
    archive = f"-XX:SharedArchiveFile={kafka._archive()}"
    java = [*kafka.JAVA, archive, "-cp", kafka._class_path()]
    kafka._run([*java, *format_it, "--config", str(file), "--add-scram", scram], place)
    with _running(kafka._launch_of(site, [archive]), kafka.SERVICE, place, chosen[0]):
        yield Broker(chosen[0], chosen[2])


@contextmanager
def database(place: Path, programs: Path, own: Certificates) -> Generator[str]:
    """PostgreSQL that takes no connection without TLS.

    The database `assay` wants a password, `certified` the client's certificate in its place.

    Args:
        place: an empty folder.
        programs: of a server that was built with TLS; the wheel's was not.
        own: certificates.

    Yields:
        The URL of server and user, without database.
    """
    account = unprivileged()
    folder = home(account, place)
    (port,) = ports.choose(1, set())

    def run(*command: str, given: str = "") -> None:
        subprocess.run(
            [programs / command[0], *command[1:]],
            input=given,
            text=True,
            check=True,
            capture_output=True,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def put(name: str, content: bytes) -> None:
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
        if account:
            os.chown(folder / name, account.uid, account.gid)

    put("password", PASSWORD.encode())
    data, first = folder / "data", ("--username=assay", f"--pwfile={folder}/password")
    run("initdb", f"--pgdata={data}", *first, "--encoding=UTF8", "--locale=C", "--no-sync")
    for name in ("assay", "certified"):
        create = f"CREATE DATABASE {name};\n"
        run("postgres", "--single", "-F", "-D", str(data), "postgres", given=create)
    put("data/server.crt", own.server.read_bytes())
    put("data/server.key", own.server_key.read_bytes())
    put("data/root.crt", own.ca.read_bytes())
    lines = (
        "hostssl assay     all 127.0.0.1/32 scram-sha-256",
        "hostssl certified all 127.0.0.1/32 cert",
    )
    put("data/pg_hba.conf", "\n".join(lines).encode())
    settings = (
        "ssl=on",
        "ssl_ca_file=root.crt",
        f"port={port}",
        *postgres.SETTINGS,
        *postgres.NOT_DURABLE,
    )
    options = [word for each in settings for word in ("-c", each)]
    launch = Launch([str(programs / "postgres"), "-D", str(data), *options], account=account)
    with _running(launch, postgres.SERVICE, place.parent, port):
        yield f"postgresql://assay:{PASSWORD}@{{host}}:{port}"
    remove_elsewhere(place)


@contextmanager
def model_api(place: Path, own: Certificates, **settings: str) -> Generator[str]:
    """The model API with TLS; its URL."""
    (port,) = ports.choose(1, set())
    clean = {name: each for name, each in os.environ.items() if not name.startswith("ASSAY_")}
    given = {
        "PORT": str(port),
        "CERTIFICATE": str(own.server),
        "CERTIFICATE_KEY": str(own.server_key),
    }
    launch = Launch(
        [sys.executable, "-P", "-m", "assay_ml_api"],
        clean | {f"ASSAY_SERVER__{name}": value for name, value in (given | settings).items()},
        place,
    )
    with _running(launch, api.SERVICE, place, port):
        yield f"https://{HOST}:{port}"


@contextmanager
def _running(launch: Launch, service: Service, place: Path, port: int) -> Generator[None]:
    log = place / f"{service.name}.log"
    server = processes.start(launch, service.stop, log)
    try:
        deadline = time.monotonic() + 60
        while not _accepts(port):
            running = processes.find(server.identity) is not None
            assert running, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        yield
    finally:
        server.end()


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=2):
        return True
    return False


@contextmanager
def behind_tls(url: str, own: Certificates) -> Generator[str]:
    """What another server says, by HTTPS; its URL."""
    address = urlsplit(url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.server, own.server_key)
    listener = socket.create_server((HOST, 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                target.sendall(block)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=meet, args=(plain,), daemon=True).start()

    def meet(plain: socket.socket) -> None:
        with (
            plain,
            suppress(OSError),
            context.wrap_socket(plain, server_side=True) as secure,
            socket.create_connection((address.hostname, address.port)) as there,
        ):
            back = threading.Thread(target=pump, args=(there, secure), daemon=True)
            back.start()
            pump(secure, there)
            back.join()

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    yield f"https://{HOST}:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    serving.join()
