"""Composes the service from its settings, model and adapters."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from fastapi import FastAPI

from assay.ports.objects import Objects
from assay_adapters.environment.models import ModelsConfig
from assay_adapters.environment.settings import Settings, load, load_section
from assay_adapters.files.location import located
from assay_adapters.files.objects import LocalObjects
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_adapters.otel.config import OtelConfig
from assay_adapters.otel.start import tracing
from assay_adapters.prometheus.meter import CONTENT_TYPE, PrometheusMeter
from assay_ml_api.app import create_app
from assay_ml_api.config import ServerConfig
from assay_ml_api.metrics import METRICS
from assay_ml_api.reload import Watcher, pinned, promoted
from assay_ml_api.serving import Serving, State
from assay_model.predict import Model
from assay_model.registry import Registry


class ServiceSettings(Settings):
    """The settings of the model API."""

    models: ModelsConfig = ModelsConfig()
    server: ServerConfig = ServerConfig()
    log: LogConfig = LogConfig()
    otel: OtelConfig = OtelConfig()


def settings() -> ServiceSettings:
    """Reads the settings and sets up the log.

    Raises:
        Fatal: they are wrong.
    """
    found = load(ServiceSettings)
    configure(found.log.level)
    return found


def application() -> FastAPI:
    """The model API, with the model that is to be served.

    Raises:
        Unavailable: the registry is away.
        Fatal: the settings are wrong, or the model cannot be loaded.
    """
    found = settings()
    meter = PrometheusMeter(METRICS)
    registry = None if found.models.registry is None else _registry(found.models.registry)
    is_pinned = found.models.version is not None
    if found.models.version is not None:
        state = pinned(registry, found.models.version, meter)
    elif registry is not None:
        state = promoted(registry, meter)
    else:
        state = State(Model.load())
    serving = Serving(state, meter)
    # Before the routes are made, which are to know it; until the last call is answered.
    stack = ExitStack()
    traced = stack.enter_context(tracing(found.otel, "assay-ml-api"))

    @contextmanager
    def watching() -> Generator[None]:
        with stack:
            if registry is None:
                yield
                return
            watcher = Watcher(registry, serving, meter, found.models.poll, is_pinned=is_pinned)
            watcher.start()
            yield
            watcher.close()

    app = create_app(
        serving,
        found.server,
        meter,
        lambda: (meter.exposition(), CONTENT_TYPE),
        watching,
        step=traced.step,
    )
    if found.otel.traces:
        app.add_middleware(traced.served)
    return app


def _registry(root: str) -> Registry:
    if root.startswith("s3://"):
        return Registry(_s3(), root)
    return Registry(LocalObjects(), located(root))


def _s3() -> Objects:
    # A service that needs no S3 neither waits for its library nor holds it in memory.
    from assay_adapters.s3.config import S3Config, s3_client  # noqa: PLC0415 - a folder needs none
    from assay_adapters.s3.objects import S3Objects  # noqa: PLC0415 - the same

    return S3Objects(s3_client(load_section("s3", S3Config)))
