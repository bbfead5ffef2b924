"""A container engine without a daemon, and images in place of those that a registry would give.

Podman builds the Dockerfiles as they are and speaks Docker's API, so that Compose and Airflow's
DockerOperator do not know the difference. What the Dockerfiles build on is made here, of Debian's
packages and this machine's Python, under the names that they use: a stand-in.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import uv
from docker import DockerClient
from docker.models.containers import Container

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "infra" / "docker" / "Dockerfile"
PACKAGES: Final = ROOT / ".ci" / "containers"
"""Installs what is needed here; `poe test-containers` runs it first."""

_CONFIG: Final = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Engine:
    """Podman with images and containers of its own.

    Attributes:
        folder: where it keeps them.
        url: where it speaks Docker's API.
        client: speaks it.
    """

    folder: Path
    url: str
    client: DockerClient

    def build(
        self, target: str, name: str, *, file: Path = DOCKERFILE, context: Path = ROOT
    ) -> None:
        """Builds a target of a Dockerfile, as it is."""
        options = ("--format=docker", "--isolation=chroot", "--network=host", "--pull-never")
        places = ("--file", str(file), "--target", target, "--tag", name, str(context))
        self.podman("build", *options, *places)

    def run(
        self,
        image: str,
        *command: str,
        environment: Mapping[str, str],
        mounts: Mapping[Path, str] | None = None,
    ) -> Container:
        """Starts a container as it is meant to run: without rights, or a place to write but /tmp.

        Args:
            image: its name.
            command: after the entry point.
            environment: of the container.
            mounts: folders that are read there, and where.
        """
        binds = {str(place): {"bind": at, "mode": "ro"} for place, at in (mounts or {}).items()}
        return self.client.containers.run(
            image,
            list(command),
            environment=dict(environment),
            volumes=binds,
            network_mode="host",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            tmpfs={"/tmp": ""},  # noqa: S108 - the container's
            detach=True,
        )

    def check_health(self, container: str) -> None:
        """What Docker does by itself, and podman leaves to systemd; it may be gone meanwhile."""
        command = [*_podman(self.folder), "healthcheck", "run", container]
        subprocess.run(command, env=_environment(self.folder), capture_output=True, check=False)

    def read(self, image: str, path: str) -> bytes:
        """A file of an image."""
        container = self.client.containers.create(image)
        try:
            blocks, _ = container.get_archive(path)
            with tarfile.open(fileobj=BytesIO(b"".join(blocks))) as packed:
                (member,) = packed.getmembers()
                content = packed.extractfile(member)
                assert content is not None, path
                return content.read()
        finally:
            container.remove()

    def podman(self, *words: str, stdin: int | None = None) -> str:
        """Runs podman.

        Raises:
            AssertionError: it fails.
        """
        done = subprocess.run(
            [*_podman(self.folder), *words],
            env=_environment(self.folder),
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"podman {words[0]}: {done.stdout[-3_000:]}{done.stderr[-3_000:]}"
        )
        return done.stdout


@contextmanager
def engine(folder: Path) -> Generator[Engine]:
    """One that keeps its images in a folder, and ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(_CONFIG)
    url = f"unix://{folder}/podman.sock"
    (folder / "podman.sock").unlink(missing_ok=True)
    with (folder / "podman.log").open("wb") as log:
        service = subprocess.Popen(
            [*_podman(folder), "system", "service", "--time=0", url],
            env=_environment(folder),
            stdout=log,
            stderr=log,
        )
    try:
        made = Engine(folder, url, _client(url))
        _stand_ins(made)
        try:
            yield made
        finally:
            made.podman("rm", "--all", "--force", "--time=2")
            made.client.close()
    finally:
        service.terminate()
        service.wait()


def _client(url: str) -> DockerClient:
    over = time.monotonic() + 30
    while not Path(url.removeprefix("unix://")).is_socket():
        assert time.monotonic() < over, "podman does not listen"
        time.sleep(0.05)
    return DockerClient(base_url=url, timeout=300)


def _podman(folder: Path) -> list[str]:
    podman = shutil.which("podman")
    assert podman is not None, f"podman is missing: {PACKAGES} installs it"
    places = (f"--root={folder}/images", f"--runroot={folder}/run", "--cgroup-manager=cgroupfs")
    return [podman, "--log-level=error", *places]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}


def _stand_ins(made: Engine) -> None:
    """Images under the names that the Dockerfile builds on, unless they are there."""
    for name in re.findall(r"^FROM (\S+:\S+) AS", DOCKERFILE.read_text(), re.MULTILINE):
        if made.podman("images", "--quiet", name):
            continue
        tree = made.folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        if "/uv:" in name:
            tree.mkdir()
            shutil.copy(uv.find_uv_bin(), tree / "uv")
        else:
            _debian(tree)
        changes = f"--change=ENV=SSL_CERT_FILE={_CERTIFICATES}"
        with subprocess.Popen(
            ["/bin/tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE
        ) as packed:
            assert packed.stdout is not None
            made.podman("import", changes, "-", name, stdin=packed.stdout.fileno())
        shutil.rmtree(tree)


def _debian(tree: Path) -> None:
    """This machine's release of Debian, with its certificates and this Python."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    own = Path(sys.base_prefix)
    packages = ["ca-certificates"] + (["python3"] if own == Path("/usr") else [])
    _run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(tree))
    shutil.copy(_CERTIFICATES, tree / _CERTIFICATES.relative_to("/"))
    if own == Path("/usr"):
        (tree / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    else:
        shutil.copytree(own, tree / "usr/local", ignore=_added, symlinks=True, dirs_exist_ok=True)
        _run("chroot", str(tree), "ldconfig")


def _added(folder: str, names: list[str]) -> list[str]:
    """What is no part of Python itself: packages, and commands that they have brought."""
    where = Path(folder).name
    if where == "bin":
        return [each for each in names if not each.startswith("python")]
    return names if where in {"site-packages", "test", "include"} else []


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-3_000:]}{done.stderr[-3_000:]}"
