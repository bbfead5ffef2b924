"""Several servers on one data folder."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from assay_local import folder, ports, processes
from assay_local.catalogue import CLUSTERS, KNOWN, SERVICES, USUAL
from assay_local.errors import LocalError, PortTakenError, SetupError
from assay_local.server import Server, Started
from assay_local.service import Service

PORT_ATTEMPTS = 3

Report = Callable[[str, Started | LocalError], None]
"""Told of each server when it is there, or why it is not; called from several threads."""


def _unheard(name: str, result: Started | LocalError) -> None:
    del name, result


class Local:
    """The servers of one data folder, each started when it is first asked for.

    Attributes:
        data: The folder.
    """

    def __init__(
        self,
        data: Path,
        *,
        durable: bool,
        environment: Mapping[str, str],
        brokers: int | None = None,
    ) -> None:
        self.data = data
        self._durable = durable
        self._brokers = brokers
        self._environment = dict(environment)
        self._servers: dict[str, Server] = {}
        self._opening = threading.RLock()

    @property
    def postgres(self) -> Server:
        """PostgreSQL."""
        return self._started("postgres")

    @property
    def s3(self) -> Server:
        """The S3 emulator."""
        return self._started("s3")

    @property
    def kafka(self) -> Server:
        """Apache Kafka; of several brokers the first."""
        return self._started("kafka")

    @property
    def brokers(self) -> list[Server]:
        """All brokers of Apache Kafka."""
        names = self.kafka.entry.cluster
        return [self._servers[name] for name in names]

    @property
    def api(self) -> Server:
        """The model API."""
        return self._started("api")

    @property
    def opensearch(self) -> Server:
        """OpenSearch."""
        return self._started("opensearch")

    @property
    def questdb(self) -> Server:
        """QuestDB."""
        return self._started("questdb")

    @property
    def apicurio(self) -> Server:
        """Apicurio Registry."""
        return self._started("apicurio")

    @property
    def settings(self) -> dict[str, str]:
        """The variables of all servers asked for so far, as clients read them."""
        return {
            key: value
            for server in self._servers.values()
            for key, value in server.settings.items()
        }

    def _started(self, name: str) -> Server:
        with self._opening:
            if name not in self._servers:
                self.start(name)
            return self._servers[name]

    def start(self, *names: str, report: Report = _unheard) -> None:
        """Brings up these servers, all at the same time, or the usual ones if none is named.

        Raises:
            SetupError: There is no service of that name, the folder or account is at fault, or the
                folder was made with another number of brokers.
            LocalError: The first of the servers that did not come up; the others are up.
        """
        named = [service_named(name) for name in dict.fromkeys(names or USUAL)]
        abandoned = threading.Event()

        def bring_up(service: Service) -> LocalError | None:
            try:
                result = self._bring_up(service, abandoned.is_set)
            except OSError as error:  # No room, no right.
                failure = LocalError(f"{service.name} could not be prepared: {error}")
                report(service.name, failure)
                return failure
            except LocalError as error:
                report(service.name, error)
                return error
            report(service.name, result)
            return None

        with self._opening:
            wanted = [member for service in named for member in self._members(service)]
            for service in wanted:
                self._open(service)
            pool = ThreadPoolExecutor(len(wanted))
        with pool:
            try:
                failures = [error for error in pool.map(bring_up, wanted) if error]
            except BaseException:
                abandoned.set()
                raise
        for error in failures:
            raise error

    def _members(self, service: Service) -> Sequence[Service]:
        """What a name stands for: one server, or all of a cluster, whose number never changes."""
        name = service.name
        if name not in CLUSTERS or external_settings(service, self.data, self._environment):
            return [service]
        entries = folder.read(self.data)
        first = entries.get(name)
        asked = self._brokers or (len(first.cluster) if first else 1)
        if first and len(first.cluster) != asked:
            raise SetupError(
                f"{name} in {self.data} was made with --brokers {len(first.cluster)}, which cannot "
                f"become {asked}: go on with those, or delete all data with assay down --wipe."
            )
        members = CLUSTERS[name][:asked]
        cluster = tuple(member.name for member in members)
        secret = first.secret if first else folder.new_secret()
        for member in members:
            if member.name not in entries:
                chosen = ports.choose(member.ports, _ports_of(entries))
                entries[member.name] = folder.Entry(chosen, secret, cluster=cluster)
                folder.remember(self.data, member.name, entries[member.name])
        return members

    def _bring_up(self, service: Service, abandoned: Callable[[], bool]) -> Started:
        for _ in range(PORT_ATTEMPTS - 1):
            try:
                return self._servers[service.name].start(abandoned)
            except PortTakenError:  # Since we looked.
                self._open(service)
        return self._servers[service.name].start(abandoned)

    def _open(self, service: Service) -> None:
        """Settles where the server is to be found."""
        external = external_settings(service, self.data, self._environment)
        if external is None:
            self._settle_ports(service)
        server = Server(service, self.data, external, self._environment)
        self._servers.setdefault(service.name, server)

    def _settle_ports(self, service: Service) -> None:
        """Keeps the ports that the server had, or gives it others if a program has taken one.

        Raises:
            LocalError: One is taken, and others that run know the server by it.
        """
        entries = folder.read(self.data)
        entry = entries.get(service.name)
        if entry is not None and processes.find(entry.process) is not None:
            return
        taken = _ports_of(entries)
        if entry is None:
            entry = folder.Entry(ports.choose(service.ports, taken), folder.new_secret())
        elif ports.wait_free(entry.ports, seconds=1 if entry.process else 0):
            entry = replace(entry, moved_from=None)
        else:
            if any(processes.find(entries[each].process) for each in entry.cluster):
                raise LocalError(
                    f"{service.name} found port {entry.ports[0]} or {entry.ports[-1]} taken by "
                    "another program, and the other brokers know it by these: assay down, then up."
                )
            fresh = ports.choose(service.ports, taken)
            entry = replace(entry, ports=fresh, moved_from=entry.ports[0])
        folder.remember(self.data, service.name, replace(entry, durable=self._durable))

    def release(self) -> None:
        """Lets all servers go on when this process ends."""
        for server in self._servers.values():
            server.release()

    def close(self) -> None:
        """Stops the servers that would end with this process, all at the same time."""
        _at_once(Server.close, self._servers.values())


def _ports_of(entries: Mapping[str, folder.Entry]) -> set[int]:
    return {port for entry in entries.values() for port in entry.ports}


def service_named(name: str) -> Service:
    """The service of that name.

    Raises:
        SetupError: There is none.
    """
    try:
        return SERVICES[name]
    except KeyError:
        raise SetupError(
            f"There is no service {name!r}; there are {', '.join(SERVICES)}."
        ) from None


def external_settings(
    service: Service, data: Path, environment: Mapping[str, str]
) -> dict[str, str] | None:
    """The settings of a server that the environment names, unless it is the one of this folder."""
    named = environment.get(service.keys[0])
    if not named:
        return None
    entry = folder.read(data).get(service.name)
    if entry is not None and service.values(folder.site(data, service.name, entry))[0] == named:
        return None
    return {key: environment[key] for key in service.keys if environment.get(key)}


@contextmanager
def servers(
    *names: str,
    data: Path | None = None,
    durable: bool = True,
    environment: Mapping[str, str] | None = None,
    brokers: int | None = None,
    report: Report = _unheard,
) -> Generator[Local]:
    """Servers that end with this block, and with this process in whatever way it ends.

    Servers of this folder that run already are used and left running.

    Args:
        names: What to start now; other servers start when they are first asked for.
        data: The folder for their data, which is kept; without one, the data goes with the servers.
        durable: Whether PostgreSQL forces to disk what it acknowledges. Without, it is quicker,
            and still loses nothing when it is killed.
        environment: What it names is used instead of being started; os.environ by default.
        brokers: How many of Apache Kafka, 1 to 3; by default as the folder was made, or one.
        report: Told of each server named.

    Raises:
        LocalError: A server named did not come up, or another process holds the folder.
    """
    with _data_folder(data) as place:
        folder.prepare(place)
        with folder.claim(place, session=True):
            local = Local(
                place,
                durable=durable,
                environment=os.environ if environment is None else environment,
                brokers=brokers,
            )
            try:
                if names:
                    local.start(*names, report=report)
                yield local
            finally:
                local.close()


@contextmanager
def _data_folder(data: Path | None) -> Generator[Path]:
    if data is not None:
        yield data.absolute()
        return
    place = Path(tempfile.mkdtemp(prefix="assay-local-"))
    try:
        place.chmod(0o711)  # PostgreSQL may run as another account, which must be able to pass.
        yield place
    finally:
        if (place / folder.MARKER).exists():
            folder.wipe(place)
        else:
            shutil.rmtree(place)


def up(
    *names: str,
    data: Path,
    environment: Mapping[str, str],
    brokers: int | None = None,
    report: Report = _unheard,
) -> None:
    """Brings up servers that go on when this process ends; those of the folder that serve are kept.

    The arguments are those of `servers`; without names it is the usual ones and all others that the
    folder has.

    Raises:
        LocalError: As `Local.start` does; those servers that did come up go on.
    """
    for name in names:
        service_named(name)
    folder.prepare(data)
    with folder.claim(data):
        local = Local(data, durable=True, environment=environment, brokers=brokers)
        # Others that were started here before go on, too.
        known = folder.read(data)
        usual = [each for each in SERVICES if each in USUAL or each in known]
        try:
            local.start(*(names or usual), report=report)
        except LocalError:
            local.release()
            raise
        except BaseException:
            local.close()
            raise
        local.release()


def down(*, data: Path, wipe: bool) -> list[str]:
    """Stops the servers of a folder, whoever started them; returns the names of those that ran.

    Args:
        data: The folder.
        wipe: Whether to delete it.

    Raises:
        SetupError: The folder is not one of ours.
        LocalError: Another process holds the folder.
    """
    if not data.exists():
        return []
    if not (data / folder.MARKER).is_file():
        raise SetupError(f"{data} is not a folder of local servers: left alone.")
    with folder.claim(data):
        entries = folder.read(data)
        known = [Server(KNOWN[name], data, None) for name in KNOWN if name in entries]
        running = [server for server in known if server.process]
        _at_once(Server.stop, running)
        if wipe:
            folder.wipe(data)
    return [server.name for server in running]


def _at_once(action: Callable[[Server], None], chosen: Iterable[Server]) -> None:
    if chosen := list(chosen):
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(action, chosen))
