"""By whom a run is told of, from its start to its end."""

from collections.abc import Generator
from contextlib import contextmanager

from assay.domain.errors import AssayError, Fatal
from assay.ports.lineage import Lineage, Untold
from assay_adapters.openlineage.config import OpenLineageConfig
from assay_adapters.openlineage.job import Job


@contextmanager
def lineage(config: OpenLineageConfig, job: Job) -> Generator[Lineage]:
    """Tells of a run for as long as the block lasts; what is left then has a moment to go out.

    A run that has begun and whose end nobody has told by then has failed, or was stopped.

    Raises:
        Fatal: it is to be told of, and the package is missing, or nothing says where.
    """
    if not config.events:
        yield Untold()
        return
    try:
        from assay_adapters.openlineage.events import Events  # noqa: PLC0415 - who wants none waits for none of it
    except ModuleNotFoundError as error:
        raise Fatal(
            f"ASSAY_OPENLINEAGE__EVENTS needs the package {error.name}:"
            " pip install 'assay-adapters[openlineage]'"
        ) from None
    events = Events(job, config.every)
    try:
        yield events
    except Exception as error:
        # The message of another may hold what nobody is to be told.
        code, why = 1, type(error).__name__
        if isinstance(error, AssayError):
            code, why = error.exit_code, str(error)
        events.end(code, why)
        raise
    except BaseException:
        events.end(0, is_stopped=True)
        raise
    finally:
        events.close()
