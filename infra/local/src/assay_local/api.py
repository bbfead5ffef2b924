"""The model API of Assay, as a process of its own."""

import importlib.metadata
import os
import signal
import sys

from assay_local.service import HOST, Launch, Service, Site, answers_ok


def _version() -> str:
    try:
        return importlib.metadata.version("assay-ml-api")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _values(site: Site) -> tuple[str, ...]:
    return (f"http://{HOST}:{site.port}",)


def _settle(site: Site) -> None:
    """It keeps nothing in its folder."""
    del site


def _launch(site: Site) -> Launch:
    address = {"ASSAY_SERVER__HOST": HOST, "ASSAY_SERVER__PORT": str(site.port)}
    # -P: a folder of that name beside the working directory is not what is meant.
    return Launch(
        argv=[sys.executable, "-P", "-m", "assay_ml_api"],
        env={**os.environ, **address},
        cwd=site.folder,
    )


def _answers(site: Site) -> bool:
    return answers_ok(site.port, "/health/ready")


SERVICE = Service(
    name="api",
    about="the model API",
    keys=("ASSAY_API__URL",),
    values=_values,
    version=_version,
    settle=_settle,
    launch=_launch,
    answers=_answers,
    stop=signal.SIGTERM,
    obeys="ASSAY_MODELS__",
)
