"""Jars from Maven Central, kept once for all data folders of this user.

A lock file beside this module names each with its sha256. What was fetched differs from that? Then
it is not used.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import tomllib
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from assay_local.errors import LocalError, SetupError

CACHE = "ASSAY_LOCAL__CACHE"
MAVEN = "ASSAY_LOCAL__MAVEN"
CENTRAL = "https://repo.maven.apache.org/maven2"
AT_ONCE = 8


@dataclass(frozen=True)
class Lock:
    """What a lock file says.

    Attributes:
        name: Of the software.
        version: Of the software.
        megabytes: How much there is to fetch.
        jars: From coordinates, `group:artifact:version`, to sha256 in hexadecimal. What is no jar
            has `group:artifact:packaging:classifier:version`.
        digest: It changes with the jars.
    """

    name: str
    version: str
    megabytes: int
    jars: dict[str, str]
    digest: str

    @property
    def folder(self) -> Path:
        """Where the jars are kept; no other jars are."""
        return cache() / f"{self.name}-{self.version}-{self.digest}"


def read(path: Path) -> Lock:
    """Reads a lock file; its own name, up to the first dot, names the software."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Lock(path.name.partition(".")[0], digest=digest, **tomllib.loads(content.decode()))


def cache() -> Path:
    """The folder for what is fetched once."""
    if chosen := os.environ.get(CACHE):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "assay"


@contextmanager
def alone(lock: Lock) -> Generator[None]:
    """One block at a time, of all processes and threads, for what belongs to this lock file.

    Raises:
        SetupError: The cache cannot be written.
    """
    try:
        cache().mkdir(parents=True, exist_ok=True)
        file = lock.folder.with_name(f"{lock.folder.name}.lock").open("a")
    except OSError as error:
        raise SetupError(
            f"Cannot use {cache()}: {error}. Name another folder in {CACHE}."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installed(lock: Lock) -> list[Path]:
    """The jars, fetched if they are not there; sorted, and each as the lock file has it.

    Raises:
        LocalError: They could not be fetched.
        SetupError: One that is there is not as it was, one is missing, or one is too many.
    """
    if not lock.folder.exists():
        with alone(lock):
            if not lock.folder.exists():  # Another process was quicker.
                _install(lock)
    _verify(lock, lock.folder, "Delete that folder, and it is fetched again")
    return _held(lock.folder)


def _install(lock: Lock) -> None:
    """Fetches the jars, all or none."""
    fresh = Path(tempfile.mkdtemp(prefix=f"{lock.folder.name}.", dir=cache()))
    try:
        _fetch(lock, fresh)
        _verify(lock, fresh, f"Ask whoever runs {_source()}")
        fresh.chmod(0o755)
        fresh.rename(lock.folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _source() -> str:
    return os.environ.get(MAVEN, CENTRAL).rstrip("/")


def _fetch(lock: Lock, folder: Path) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415 - needed once for each version

    # A repository of our own: what another program left in ~/.m2 is its business.
    repository = folder / "repository"
    maven = MavenContext(repo_cache=repository, local_repos=[], remote_repos={"central": _source()})

    def fetch(coordinates: str) -> None:
        at = _located(coordinates)
        component = maven.project(at.group, at.artifact).at_version(at.version)
        jar = component.artifact(at.classifier, at.packaging).resolve()
        jar.rename(folder / jar.name)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(fetch, lock.jars))
        except (OSError, RuntimeError) as error:  # Away; not there.
            pool.shutdown(cancel_futures=True)
            raise LocalError(
                f"{lock.name} {lock.version} ({lock.megabytes} MB, once) could not be fetched from "
                f"{_source()}: {error}. Check the network, name a proxy in HTTPS_PROXY or a mirror "
                f"in {MAVEN}, or copy {lock.folder} from a machine that has it."
            ) from error
    shutil.rmtree(repository)


def _verify(lock: Lock, folder: Path, advice: str) -> None:
    wanted = {_name(coordinates): sha256 for coordinates, sha256 in lock.jars.items()}
    found = {path.name: _sha256(path) for path in _held(folder)}
    wrong = [
        *(f"{name} is missing" for name in sorted(wanted.keys() - found.keys())),
        *(f"{name} does not belong there" for name in sorted(found.keys() - wanted.keys())),
        *(
            f"{name} is not the one that was released"
            for name in sorted(wanted.keys() & found.keys())
            if wanted[name] != found[name]
        ),
    ]
    if wrong:
        raise SetupError(
            f"The jars of {lock.name} in {folder} are not used: {'; '.join(wrong)}. {advice}."
        )


def _held(folder: Path) -> list[Path]:
    """What a folder holds that is fetched; servers keep caches of their own beside it."""
    return sorted(path for path in folder.iterdir() if path.name.endswith((".jar", ".tar.gz")))


class _Coordinates(NamedTuple):
    """Of a file, as Maven has them; of a jar packaging and classifier are not written."""

    group: str
    artifact: str
    packaging: str
    classifier: str
    version: str


def _located(coordinates: str) -> _Coordinates:
    group, artifact, *kind, version = coordinates.split(":")
    packaging, classifier = kind or ("jar", "")
    return _Coordinates(group, artifact, packaging, classifier, version)


def _name(coordinates: str) -> str:
    """Of the file, as Maven has it."""
    at = _located(coordinates)
    return f"{'-'.join(filter(None, (at.artifact, at.version, at.classifier)))}.{at.packaging}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
