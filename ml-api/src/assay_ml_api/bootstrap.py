"""Composes the service from its settings, model and adapters."""

from fastapi import FastAPI

from assay_adapters.environment.settings import Settings, load
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_adapters.prometheus.meter import CONTENT_TYPE, PrometheusMeter
from assay_ml_api.app import create_app
from assay_ml_api.config import ServerConfig
from assay_ml_api.metrics import METRICS
from assay_model.predict import Model


class ServiceSettings(Settings):
    """The settings of the model API."""

    server: ServerConfig = ServerConfig()
    log: LogConfig = LogConfig()


def settings() -> ServiceSettings:
    """Reads the settings and sets up the log.

    Raises:
        Fatal: they are wrong.
    """
    found = load(ServiceSettings)
    configure(found.log.level)
    return found


def application() -> FastAPI:
    """The model API, with the model that the package carries.

    Raises:
        Fatal: the settings are wrong, or the model cannot be loaded.
    """
    meter = PrometheusMeter(METRICS)
    return create_app(
        Model.load(), settings().server, meter, lambda: (meter.exposition(), CONTENT_TYPE)
    )
